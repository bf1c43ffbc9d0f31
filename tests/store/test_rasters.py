"""Rasters in an object store or on a web server, as the sources of a cube."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.jobs.cubes import build_cube
from mmnet_maps.prepare.cube.config import CubeConfig
from mmnet_maps.store import remote
from mmnet_maps.store.location import Remote
from tests.store.s3 import Server

FOLDER = Remote("s3://bucket", "a b/é%20")
VRT = """<VRTDataset rasterXSize="512" rasterYSize="512"><SRS>EPSG:32614</SRS>
<GeoTransform>500000,30,0,4000000,0,-30</GeoTransform><VRTRasterBand dataType="Int16" band="1"><SimpleSource>
<SourceFilename relativeToVRT="1">elevation.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource>
<NoDataValue>-9999</NoDataValue></VRTRasterBand></VRTDataset>"""


@pytest.fixture
def files(tmp_path: Path, s3: Server) -> Path:
    """A large raster as a COG, in a zip and below a VRT; here and in the store."""
    folder = tmp_path / "files"
    folder.mkdir()
    write(folder / "elevation.tif", 1)
    with zipfile.ZipFile(folder / "packed.zip", "w") as packed:
        packed.write(folder / "elevation.tif", "elevation.tif")
    (folder / "tiles.vrt").write_text(VRT)
    for file in folder.iterdir():
        (FOLDER / file.name).write_bytes(file)
    return folder


def write(path: Path, seed: int) -> None:
    values = np.random.default_rng(seed).integers(100, 1500, (512, 512)).astype("int16")
    profile = {"driver": "COG", "blocksize": 128, "nodata": -9999, "crs": "EPSG:32614", "dtype": "int16"}
    shape = {"height": 512, "width": 512, "count": 1, "transform": Affine(30, 0, 500_000, 0, -30, 4e6)}
    with rasterio.open(path, "w", **profile, **shape) as file:
        file.write(values, 1)


def build(path: str, out: Path, like: str | None = None) -> dict[str, Any]:
    grid = {"crs": "EPSG:32614", "resolution": 30} if like is None else {"like": like}
    # 100 x 100 pixels within the first block.
    region = {"box": (500_000, 3_997_000, 503_000, 4_000_000), "crs": "EPSG:32614"}
    sources = {"terrain": {"path": path, "variables": ["elevation"]}}
    return build_cube(CubeConfig.from_mapping({"grid": grid, "region": region, "sources": sources}), out)


def values(cube: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(cube)): path.read_bytes()
        for path in (cube / "terrain" / "elevation").rglob("*")
        if path.is_file()
    }


def test_a_cube_of_remote_rasters_is_that_of_local_ones_and_reads_what_it_needs(
    files: Path, s3: Server, tmp_path: Path
) -> None:
    local, there = str(files / "elevation.tif"), f"{FOLDER}/elevation.tif"
    for like, path, name in ((local, local, "like-local.zarr"), (there, there, "like-there.zarr")):
        build(path, tmp_path / name, like=like)
    assert values(tmp_path / "like-there.zarr") == values(tmp_path / "like-local.zarr")
    build(local, tmp_path / "local.zarr")
    block = 128 * 128 * 2  # of random numbers: not compressed
    web = f"http://127.0.0.1:{s3.port}/bucket/{FOLDER.key}"
    for number, address in enumerate(
        (there, f"{web}/elevation.tif", f"{FOLDER}/tiles.vrt", f"{FOLDER}/packed.zip")
    ):
        s3.sent, out = 0, tmp_path / f"{number}.zarr"
        build(address, out)
        assert values(out) == values(tmp_path / "local.zarr")
        assert s3.sent < 2.5 * block or address.endswith(".zip"), "headers, and the one block of the region"


def test_an_object_that_is_put_again_is_read_again_below_a_vrt_too(
    files: Path, s3: Server, tmp_path: Path
) -> None:
    for name in ("elevation.tif", "tiles.vrt"):
        write(files / "elevation.tif", 1)
        (FOLDER / "elevation.tif").write_bytes(files / "elevation.tif")
        out = tmp_path / f"{name}.zarr"
        assert build(f"{FOLDER}/{name}", out)["parts_built"] == 1
        assert build(f"{FOLDER}/{name}", out)["parts_built"] == 0
        write(files / "elevation.tif", 2)
        (FOLDER / "elevation.tif").write_bytes(files / "elevation.tif")
        assert build(f"{FOLDER}/{name}", out)["parts_built"] == 1
        build(str(files / "elevation.tif"), tmp_path / f"{name}.local")
        assert values(out) == values(tmp_path / f"{name}.local")


def test_what_is_not_there_is_one_line(
    files: Path, s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = f"http://127.0.0.1:{s3.port}/bucket"
    for path, said in (
        ("s3://bucket/none", r"^sources\.terrain: s3://bucket/none: no such file or folder$"),
        (f"{web}/a b", r"which a web server does not list: expected the address of each file"),
        ("ftp://host/a.tif", r"^ftp://host/a\.tif: expected a path or an address that begins with s3"),
    ):
        with pytest.raises(InputError, match=said):
            build(path, tmp_path / "c.zarr")
    with pytest.raises(InputError, match=r"^s3://bucket/none\.tif: no such raster \(grid\.like\)$"):
        build(f"{FOLDER}/elevation.tif", tmp_path / "c.zarr", like="s3://bucket/none.tif")
    monkeypatch.setattr(remote, "_PAUSES_S", ())
    s3.denies = True
    with pytest.raises((InputError, WorkError), match=r"elevation\.tif.*: the store denies access") as error:
        build(f"{FOLDER}/elevation.tif", tmp_path / "c.zarr")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "c.zarr").exists()
