"""Damaged heaps of HDF5, in which the library never ends."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from mmnet_maps.errors import InputError
from mmnet_maps.sources.rasters.hdf5 import Hdf5
from mmnet_maps.sources.rasters.netcdf import NetCdf


def _written(path: Path) -> Path:
    values = np.ones((2, 3), dtype=np.float32)
    axes = {"lat": [1.0, 0.0], "lon": [0.0, 1.0, 2.0]}
    xr.Dataset({"pr": (("lat", "lon"), values)}, axes).to_netcdf(path, engine="h5netcdf")
    return path


def _free_space(content: bytes) -> int:
    """Where the free space of the first heap begins, walked by the objects' sizes."""
    at = content.index(b"GCOL") + 16
    while (found := struct.unpack_from("<HH4xQ", content, at))[0] != 0:
        at += 16 + (found[2] + 7) // 8 * 8
    return at


def test_a_heap_without_an_end_is_refused_before_the_library_walks_it(tmp_path: Path) -> None:
    path = _written(tmp_path / "pr.nc")
    content = bytearray(path.read_bytes())
    struct.pack_into("<Q", content, _free_space(bytes(content)) + 8, 0)
    path.write_bytes(content)
    for reader in (NetCdf(), Hdf5()):
        with pytest.raises(InputError, match=r"pr\.nc: cannot .* the heap at byte [0-9,]+ is damaged"):
            reader.header(path, {"pr": None}, "EPSG:4326")


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    assert NetCdf().header(_written(tmp_path / "pr.nc"), {"pr": None}, "EPSG:4326").grid.shape == (2, 3)
