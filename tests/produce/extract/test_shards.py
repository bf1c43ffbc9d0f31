"""Single pixels of shards, decoded in parts, against Zarr's own reading of the same arrays."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec

from mmnet_maps.errors import WorkError
from mmnet_maps.produce.extract.shards import shard_reader


def _array(folder: Path, dtype: str, codecs: tuple[Any, ...], noise: int) -> zarr.Array[Any]:
    """Values with an edge that is no whole shard, and a shard that was never written."""
    array = zarr.create_array(
        folder, shape=(21, 300, 330), dtype=dtype, shards=(8, 256, 256), chunks=(4, 128, 128),
        compressors=codecs, fill_value=7,
    )  # fmt: skip
    random = np.random.default_rng(2)
    values = random.integers(0, noise, array.shape).astype(dtype)
    array[:16, :, :256] = values[:16, :, :256]
    array[16:] = values[16:]
    return array


@pytest.mark.parametrize("noise", [2, 3000, 60_000])
@pytest.mark.parametrize("shuffle", ["bitshuffle", "shuffle", "noshuffle"])
@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_pixels_are_those_that_zarr_reads(tmp_path: Path, dtype: str, shuffle: Any, noise: int) -> None:
    codecs = BloscCodec(cname="zstd", clevel=1, shuffle=shuffle, typesize=np.dtype(dtype).itemsize)
    array = _array(tmp_path / "a", dtype, (codecs, Crc32cCodec()), noise)
    random = np.random.default_rng(3)
    reader = shard_reader(array)
    assert reader is not None
    whole = array[:]
    for count, (begin, end) in ((1, (0, 21)), (3, (5, 6)), (400, (3, 19))):
        row, col = random.integers(0, 300, count), random.integers(0, 330, count)
        with ThreadPoolExecutor(2) as pool:
            found, waiting = reader.pixels(begin, end, row, col, pool)
        for part in waiting:
            part.result()
        np.testing.assert_array_equal(found, whole[begin:end, row, col])


def test_damaged_bytes_are_named(tmp_path: Path) -> None:
    array = _array(tmp_path / "a", "uint16", (BloscCodec(cname="zstd"), Crc32cCodec()), 3000)
    reader, path = shard_reader(array), tmp_path / "a" / "c" / "0" / "0" / "0"
    held = path.read_bytes()
    at = np.array([10])
    for damaged in (held[:3000], held[:50] + bytes([held[50] ^ 4]) + held[51:], b"", held[:-1]):
        path.write_bytes(damaged)
        with ThreadPoolExecutor(1) as pool:
            assert reader is not None
            _, waiting = reader.pixels(0, 4, at, at, pool)
        with pytest.raises(WorkError, match="a/c/0/0/0: stored values cannot be read"):
            waiting[0].result()


def test_other_forms_are_left_to_zarr(tmp_path: Path) -> None:
    shape: dict[str, Any] = {"shape": (4, 8, 8), "chunks": (2, 4, 4), "dtype": "int16"}
    for k, how in enumerate(
        ({"compressors": BloscCodec()}, {"shards": (4, 8, 8), "compressors": GzipCodec()}, {"zarr_format": 2})
    ):
        assert shard_reader(zarr.create_array(tmp_path / str(k), **shape, **how)) is None
