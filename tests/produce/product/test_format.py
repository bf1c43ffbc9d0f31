"""Format 2 can grow, and format 1 is still read."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import zarr

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.extract.maps import open_maps
from mmnet_maps.produce.product.layers import LAYERS, MISSING, QUALITY, Layer, value_layers
from mmnet_maps.produce.product.ledger import Entry
from mmnet_maps.produce.product.store import check_current, open_product
from mmnet_maps.produce.run import work
from mmnet_maps.produce.run.predict import Request, predict_product
from mmnet_maps.produce.tile.flags import FLAG_TABLE, Flag, colour_of
from mmnet_maps.produce.tile.trust import MISSING_REASONS
from mmnet_maps.show.maps import day_figures, quality_classes
from mmnet_maps.show.product_report import product_body

Make = Callable[..., Any]
#: Bits of format 1, in order; the numbers are those of stores that exist, and never change.
FORMAT_1 = (
    "water_or_ice land_cover_missing snapshot_missing smap_missing series_missing snow_or_frozen urban "
    "outside_training_domain old_optical old_radar old_smap old_other window_gap_filled clipped no_interval "
    "not_computed"
).split()


def test_bits_keep_their_numbers_and_every_entry_is_sound() -> None:
    assert [FLAG_TABLE[name].bit for name in FORMAT_1] == list(range(16))
    bits = [flag.bit for flag in FLAG_TABLE.values()]
    assert bits == sorted(set(bits)) and bits[-1] < 32
    assert all(flag.colour.startswith("#") and len(flag.colour) == 7 for flag in FLAG_TABLE.values())
    assert int(MISSING_REASONS) == sum(flag.mask for flag in FLAG_TABLE.values() if flag.missing)
    assert next(iter(LAYERS)) == "soil_moisture"
    for layer in value_layers(LAYERS):
        assert layer.packing.dtype == "int16" and layer.packing.missing == MISSING


def _one_more() -> tuple[Flag, Layer]:
    bit = max(flag.bit for flag in FLAG_TABLE.values()) + 1
    flag = Flag("irrigated", bit, "the field is irrigated", False, "#123456")
    return flag, Layer("age", Packing(dtype="int16", missing=MISSING), "age of the optical input", "d")


def test_a_flag_and_a_layer_more_are_an_entry_in_each_table(
    make_product: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag, age = _one_more()
    monkeypatch.setitem(FLAG_TABLE, flag.name, flag)
    monkeypatch.setitem(LAYERS, age.name, age)
    grid = Grid("EPSG:32612", (30.0, 0.0, 500_010.0, 0.0, -30.0, 4_000_020.0), 20, 28)
    product = make_product(grid=grid, days=1, unfinished=("20210601-r000000-c000000",))
    unit = next(iter(product.layout.units()))
    shape = unit.days, unit.tile.height, unit.tile.width
    values = {name: np.full(shape, number, np.int16) for number, name in enumerate(product.layers, 1)}
    values["age"][:, 10:] = MISSING
    values[QUALITY] = np.full(shape, flag.mask | FLAG_TABLE["urban"].mask, np.uint32)
    outputs = product.write_unit(unit, values)
    product.ledger.write(unit.key, Entry(unit.first, unit.stop, {"bundle": product.about["bundle"]}, outputs))

    check_current(product)
    assert product.flags()["irrigated"] == flag.mask
    export_product(product, tmp_path / "maps")
    with rasterio.open(tmp_path / "maps" / "soil_moisture_20210601.tif") as file:
        assert file.descriptions == ("soil_moisture", "lower", "upper", "age")
        assert file.units[3] == "d" and file.scales[3] == 1.0
        np.testing.assert_array_equal(file.read(4), values["age"][0])
    with rasterio.open(tmp_path / "maps" / "quality_20210601.tif") as file:
        assert file.read(1)[5, 5] == flag.mask | 1 << 6
    item = json.loads((tmp_path / "maps" / "soil_moisture_20210601.json").read_text())
    field = item["assets"]["quality"]["bands"][0]["classification:bitfields"][-1]
    assert field["offset"] == flag.bit and field["description"] == flag.meaning
    maps = open_maps(tmp_path / "maps")
    assert maps.read("age", 0, slice(5, 6), slice(5, 6)).item() == 5 and maps.flags["irrigated"] == flag.mask
    classes, names, colours = quality_classes(np.array([[flag.mask]], np.uint32), product.flags())
    assert names[classes[0, 0]] == "irrigated" and colours[classes[0, 0]] == "#123456"
    assert colour_of(product.flags(), flag.mask) == "#123456"


def test_what_the_tile_program_adds_is_predicted_and_resumed(
    make_world: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second file that a flag and a layer touch is the program that gives their values."""
    flag, age = _one_more()
    monkeypatch.setitem(FLAG_TABLE, flag.name, flag)
    monkeypatch.setitem(LAYERS, age.name, age)
    program = work.predict_tiles

    def grown(*asked: Any, **options: Any) -> Iterator[tuple[Any, Any]]:
        for inputs, result in program(*asked, **options):
            days = np.arange(result.quality.shape[0], dtype=np.int16)[:, None] + np.zeros_like(result.lower)
            values = {name: getattr(result, name) for name in ("soil_moisture", "lower", "upper")}
            yield inputs, SimpleNamespace(**values, quality=result.quality | np.uint32(flag.mask), age=days)

    monkeypatch.setattr(work, "predict_tiles", grown)
    world = make_world()
    cube = world.cube(tmp_path / "cube.zarr")
    days = ("2020-03-02", "2020-03-04")
    request = Request(world.bundle, cube, *days, tmp_path / "product.zarr", tile=64, block_days=4)
    predict_product(request)
    product = open_product(tmp_path / "product.zarr")
    first = product.layout.start
    assert (product.read("age", first, first + 3) == np.arange(3)[:, None, None]).all()
    assert ((product.read("quality", first, first + 3) & flag.mask) != 0).all()
    assert predict_product(request)["units"]["done"] == 1
    monkeypatch.delitem(LAYERS, age.name)
    with pytest.raises(InputError, match=r"has the layers age, lower, quality, .*, new maps have lower"):
        predict_product(request)


@pytest.fixture
def format_1(tmp_path: Path) -> Path:
    """Product, export and values of a small product as the last version of format 1 wrote them."""
    with zipfile.ZipFile(Path(__file__).parent / "format_1.zip") as archive:
        archive.extractall(tmp_path / "old")
    (tmp_path / "old" / "product.zarr" / "ledger").mkdir(exist_ok=True)
    return tmp_path / "old"


def test_a_product_of_format_1_reads_as_it_did(format_1: Path, tmp_path: Path) -> None:
    product, expected = open_product(format_1 / "product.zarr"), np.load(format_1 / "expected.npz")
    for name in ("soil_moisture", "lower", "upper", "quality"):
        held = product.read(name, product.layout.start, product.layout.stop)
        assert held.dtype == expected[name].dtype
        np.testing.assert_array_equal(held, expected[name])
    assert list(product.flags()) == FORMAT_1 and product.finished_days().size == 2
    export_product(product, tmp_path / "maps")
    with rasterio.open(tmp_path / "maps" / "quality_20210602.tif") as file:
        np.testing.assert_array_equal(file.read(1), expected["quality"][1])
    assert "What is missing or weak" in "".join(product_body(product, None))
    assert len(next(day_figures(product, [product.layout.start], None, 16))[1]) == 3


def test_an_export_of_format_1_is_read_and_made_anew(format_1: Path) -> None:
    folder, expected = format_1 / "maps", np.load(format_1 / "expected.npz")
    export_product(product := open_product(format_1 / "product.zarr"), format_1 / "again")
    for source in (folder, format_1 / "again"):
        maps = open_maps(source)
        for name in ("soil_moisture", "lower", "upper", "quality"):
            np.testing.assert_array_equal(maps.read(name, 1, slice(None), slice(None)), expected[name][1])
    assert not list(folder.glob("quality_*"))
    assert len(export_product(product, folder).written) == 2
    assert (folder / "quality_20210601.tif").is_file()
    np.testing.assert_array_equal(
        open_maps(folder).read("quality", 0, slice(None), slice(None)), expected["quality"][0]
    )


def test_new_maps_are_not_added_to_an_older_product(format_1: Path, make_product: Make) -> None:
    with pytest.raises(InputError, match=r"product format 1, new maps have 2; give another --out"):
        check_current(open_product(format_1 / "product.zarr"))
    product = make_product(days=1)
    zarr.open_group(product.path, use_consolidated=False)["quality"].attrs["flag_meanings"] = "a b"
    zarr.open_group(product.path, use_consolidated=False)["quality"].attrs["flag_masks"] = [1, 2]
    with pytest.raises(InputError, match="has the flags of quality a, b, new maps have water_or_ice"):
        check_current(open_product(product.path))
