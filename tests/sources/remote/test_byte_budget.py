"""Of HDF5 and NetCDF behind HTTP, the chunks over the region and the structure are read, each byte once."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5netcdf
import h5py
import numpy as np
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from archive_standin import ArchiveStandIn

from mmnet_maps.jobs.cubes import build_cube

CELL = 9008.055210146
#: What describes a file of two dozen datasets: superblock, groups, object headers, B-trees of chunks.
STRUCTURE = 48 * 1024
SURFACE = "Geophysical_Data/sm_surface"


def granule(path: Path, chunks: tuple[int, int] | None) -> None:
    """Two dozen fields as SPL4SMGP holds them; chunks of 0.9 MB."""
    random = np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = -17367530.4 + (np.arange(1928) + 0.5) * CELL, 7314540.8 - np.arange(600) * CELL
        place = file.create_dataset("EASE2_global_projection", data=0)
        place.attrs["grid_mapping_name"] = "lambert_cylindrical_equal_area"
        place.attrs["standard_parallel"], place.attrs["longitude_of_central_meridian"] = 30.0, 0.0
        field = random.integers(0, 500, (600, 1928)).astype("float32") / 1000
        for name in ("a", "sm_surface", "z"):
            data = file.create_dataset(f"Geophysical_Data/{name}", data=field, chunks=chunks)
            data.attrs["_FillValue"], data.attrs["units"] = np.float32(-9999), b"m3 m-3"
        for k in range(20):
            file.create_dataset(f"Geophysical_Data/other_{k}", data=field[:50, :50], chunks=(25, 25))


def weather(path: Path) -> None:
    """A year of a variable in chunks of 61 days, as gridMET has them."""
    random = np.random.default_rng(2)
    lat, lon = 49.4 - np.arange(392) / 24, -107.0 + np.arange(231) / 24
    with h5netcdf.File(path, "w") as file:
        file.dimensions = {"day": 61, "lat": lat.size, "lon": lon.size}
        axes = {"day": (np.arange(61), "days since 2020-06-01"), "lat": (lat, "degrees_north")}
        for axis, (values, unit) in {**axes, "lon": (lon, "degrees_east")}.items():
            file.create_variable(axis, (axis,), data=values).attrs["units"] = unit
        stored = random.integers(0, 300, (61, 392, 231)).astype("u2")
        keys: dict[str, Any] = {"chunks": (61, 98, 231), "fillvalue": np.uint16(32767)}
        made = file.create_variable("precipitation_amount", ("day", "lat", "lon"), data=stored, **keys)
        made.attrs.update({"units": "mm", "scale_factor": 0.1})


@pytest.mark.parametrize("chunks", [(600, 241), None])
def test_at_most_1_3_times_what_the_region_needs(chunks: tuple[int, int] | None, tmp_path: Path) -> None:
    root = tmp_path / "archive"
    root.mkdir()
    for hour in (1, 4):
        granule(root / f"SMAP_L4_SM_gph_20200601T{hour:02d}3000_Vv8000_001.h5", chunks)
    weather(root / "pr_2020.nc")
    with ArchiveStandIn(root) as server:
        for path in sorted(root.glob("*.h5")):
            server.add(path.stem, "SPL4SMGP_008", "2020-06-01", [-180, -85, 180, 85], data=path)
        config = {
            "region": {"box": [-98.42, 36.38, -98.38, 36.41]},
            "grid": {"crs": "EPSG:32614", "resolution": 30},
            "start": "2020-06-01",
            "end": "2020-06-05",
            "http": {"first_wait_s": 0.01, "requests_per_second": 5000},
            "sources": {
                "smap": {
                    "kind": "stac",
                    "api": f"{server.url}/stac",
                    "collections": {"SPL4SMGP_008": {"SMAP": "*.h5"}},
                    "reader": "hdf5",
                    "cadence": "daily",
                    "variables": {"SMAP": {"band": SURFACE}},
                },
                "gridmet": {
                    "kind": "http",
                    "url": f"{server.url}/files/{{variable}}_{{year}}.nc",
                    "variables": ["pr"],
                },
            },
        }
        (tmp_path / "cube.yaml").write_text(yaml.safe_dump(config))
        build_cube(tmp_path / "cube.yaml", tmp_path / "cube.zarr", workers=2)
        needed = {"/files/pr_2020.nc": 61 * 98 * 231 * 2 + STRUCTURE}
        for path in sorted(root.glob("*.h5")):
            field = 600 * 241 * 4 if chunks else 4 * 1928 * 4
            needed[f"/files/{path.name}"] = field + (600 + 1928) * 8 + STRUCTURE
        for name, size in needed.items():
            assert server.given[name] <= 1.3 * size, (name, server.given[name], size)
            spans = sorted((a, b) for p, a, b in server.spans if p == name)
            assert all(b <= c for (_, b), (c, _) in pairwise(spans)), name
        # One search; of each file one question for its length, and few ranges.
        asked = Counter((kind, path.split("?")[0]) for kind, path, _ in server.seen)
        assert asked["POST", "/stac/search"] == 1
        assert max(n for (kind, _), n in asked.items() if kind == "HEAD") == 1
        assert max(n for (kind, path), n in asked.items() if kind == "GET") <= 12, asked
