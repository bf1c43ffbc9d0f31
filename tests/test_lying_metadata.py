"""Zarr metadata that lie about a cube or a product are refused with one line, and nothing hangs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.grid import Grid
from mmnet_maps.prepare.cube.audit import audit
from mmnet_maps.prepare.cube.config import Target
from mmnet_maps.prepare.cube.store import build_cube, open_cube
from mmnet_maps.produce.extract.maps import open_maps
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.show.site import Site
from tests.produce.conftest import make_readers

GRID = Grid("EPSG:32612", (30.0, 0.0, 420_000.0, 0.0, -30.0, 4_100_000.0), 10, 12)
HUGE = 10**12
ARRAY: dict[str, Callable[[dict[str, Any]], Any]] = {
    "negative shape": lambda m: m.update(shape=[-1, *m["shape"][1:]]),
    "huge shape": lambda m: m.update(shape=[HUGE, *m["shape"][1:]]),
    "another rank": lambda m: m.update(shape=m["shape"][:1]),
    "rank 5": lambda m: m.update(shape=[1, 1, *m["shape"]]),
    "wider": lambda m: m.update(shape=[*m["shape"][:-1], 5 * m["shape"][-1]]),
    "chunk 0": lambda m: m["chunk_grid"]["configuration"].update(chunk_shape=[0] * len(m["shape"])),
    "huge chunk": lambda m: m["chunk_grid"]["configuration"].update(chunk_shape=[HUGE] * len(m["shape"])),
    "huge shard": lambda m: m["chunk_grid"]["configuration"].update(
        chunk_shape=[2**31, *m["chunk_grid"]["configuration"]["chunk_shape"][1:]]
    ),
    "unknown codec": lambda m: m.update(codecs=[{"name": "secret"}]),
    "unknown type": lambda m: m.update(data_type="int4096"),
    "no type": lambda m: m.pop("data_type"),
    "format 2": lambda m: m.update(zarr_format=2),
}
#: No lie, or one that nothing rests on: a layer may be longer than the days of its product.
HARMLESS = {
    ("time", "another rank"),
    ("time", "huge chunk"),
    ("time", "chunk 0"),
    ("soil_moisture", "huge shape"),
    ("hls/time", "another rank"),
    ("hls/Red", "no type"),
    ("lower", "huge shape"),
    ("quality", "huge shape"),
    # No array, for Zarr: a store of other layers.
    ("lower", "no type"),
    ("quality", "no type"),
}
TEXT = {"empty": "", "broken": "{", "null": "null", "a list": "[]", "deep": "[" * 50_000, "text": "no JSON"}


def _lies(arrays: list[str]) -> list[tuple[str, str]]:
    return [(a, how) for a in arrays for how in (*ARRAY, *TEXT) if (a, how) not in HARMLESS]


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    readers = make_readers(GRID, GRID.crs, 30.0)
    path = tmp_path_factory.mktemp("cube") / "c.zarr"
    build_cube(Target(GRID, None, "test"), [readers["hls"], readers["terrain"]], path)
    return path


#: Attributes of `quality` that say nothing, or what cannot be.
FLAGS: dict[str, dict[str, Any]] = {
    "none": {},
    "of text": {"flag_masks": ["a"], "flag_meanings": "water"},
    "fewer": {"flag_masks": [1], "flag_meanings": "water snow"},
    "numbers": {"flag_masks": 5, "flag_meanings": 5},
}


def _lie(path: Path, how: str) -> None:
    if how in TEXT:
        path.write_text(TEXT[how])
        return
    metadata = json.loads(path.read_text())
    ARRAY[how](metadata)
    path.write_text(json.dumps(metadata))


@pytest.mark.parametrize(("array", "how"), _lies(["hls/Red", "hls/time"]))
def test_a_cube(cube: Path, tmp_path: Path, array: str, how: str) -> None:
    path = tmp_path / "c.zarr"
    shutil.copytree(cube, path)
    _lie(path / array / "zarr.json", how)
    with pytest.raises((InputError, WorkError)) as refused:
        audit(open_cube(path))
    assert len(str(refused.value)) < 800


@pytest.mark.parametrize(("array", "how"), _lies(["soil_moisture", "time"]))
def test_a_product(make_product: Callable[..., Any], array: str, how: str) -> None:
    product = make_product(days=2)
    _lie(product.path / array / "zarr.json", how)
    with pytest.raises((InputError, WorkError)) as refused:
        found = open_product(product.path)
        for tile in found.layout.tiles():
            found.read_checked(int(found.days[0]), tile)
    assert len(str(refused.value)) < 800


@pytest.mark.parametrize("said", FLAGS)
def test_flags_of_a_product(make_product: Callable[..., Any], said: str) -> None:
    path = make_product(days=2).path
    metadata = json.loads((path / "quality" / "zarr.json").read_text())
    metadata["attributes"] = FLAGS[said]
    (path / "quality" / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(InputError, match="is damaged"):
        open_product(path)


def _shown(path: Path) -> None:
    site = Site(open_maps(path))
    about = site.about(live=False)
    z, (x, y) = site.zoom[1], next(iter(site.tiles(site.zoom[1])))
    for name in ("soil_moisture", "width", "quality"):
        site.tile(name, about["days"][0]["date"], z, x, y)
    site.series(0, 0)


@pytest.mark.parametrize(("array", "how"), _lies(["quality", "lower", "time"]))
def test_maps_that_are_shown(make_product: Callable[..., Any], array: str, how: str) -> None:
    path = make_product(days=2).path
    _lie(path / array / "zarr.json", how)
    # The root repeats what the arrays say, and is what is read.
    root = json.loads((path / "zarr.json").read_text())
    root.pop("consolidated_metadata")
    (path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises((InputError, WorkError)) as refused:
        _shown(path)
    assert len(str(refused.value)) < 800


@pytest.mark.parametrize("how", ["empty", "half", "a folder"])
def test_a_shard_that_cannot_be_read(make_product: Callable[..., Any], how: str) -> None:
    path = make_product(days=2).path
    shard = path / "soil_moisture" / "c" / "0" / "0" / "0"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2] if how == "half" else b"")
    if how == "a folder":
        shard.unlink()
        shard.mkdir()
    with pytest.raises(WorkError, match=r"soil_moisture.* stored values cannot be read"):
        _shown(path)
