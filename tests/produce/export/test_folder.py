"""An export folder is one product's: others are refused, foreign files left alone, two exports kept apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.produce.export.collection import Publisher
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.store.lock import sole_writer

Make = Callable[..., Any]


def _state(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


def _collection(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "collection.json").read_text())
    return found


def test_another_region_is_refused_and_nothing_changes(make_product: Make, tmp_path: Path) -> None:
    out = tmp_path / "maps"
    export_product(make_product("one", days=2), out)
    before = _state(out)
    elsewhere = Grid("EPSG:32612", (30.0, 0.0, 600_000.0, 0.0, -30.0, 4_000_020.0), 96, 120)
    with pytest.raises(InputError, match=r"holds days of another grid .*600000.*; give another --out"):
        export_product(make_product("two", days=2, grid=elsewhere), out)
    same_pixels = Grid("EPSG:32613", (30.0, 0.0, 500_010.0, 0.0, -30.0, 4_000_020.0), 96, 120)
    with pytest.raises(InputError, match="holds days of another grid"):
        export_product(make_product("three", days=2, grid=same_pixels), out)
    assert _state(out) == before and sorted(p.name for p in tmp_path.iterdir()) == [
        "maps",
        "one",
        "three",
        "two",
    ]


def test_another_bundle_is_refused_unless_it_replaces_every_day(make_product: Make, tmp_path: Path) -> None:
    out, product = tmp_path / "maps", make_product("one", days=4)
    export_product(product, out)
    other = make_product("two", days=4)
    other = other.described({"bundle": "d" * 16})
    for path in other.ledger.path.glob("*-r*.json"):
        path.write_text(path.read_text().replace("b" * 16, "d" * 16))
    first = other.layout.start
    with pytest.raises(InputError, match="soil_moisture_20210602 is of bundle bbbbbbbbbbbb, the product"):
        export_product(other, out, first, first)
    assert len(export_product(other, out).written) == 4
    assert _collection(out)["summaries"]["mmnet_maps:bundle"] == ["d" * 16]


def test_a_collection_names_every_bundle_of_its_items(make_product: Make, tmp_path: Path) -> None:
    """Folders of earlier versions may hold several."""
    out, product = tmp_path / "maps", make_product(days=2)
    export_product(product, out)
    item = out / "soil_moisture_20210602.json"
    item.write_text(item.read_text().replace("b" * 16, "a" * 16))
    with pytest.raises(InputError, match="20210602 is of bundle aaaaaaaaaaaa"):
        export_product(product, out, product.layout.start, product.layout.start)
    from mmnet_maps.produce.export.collection import write_collection

    write_collection(out, product, Publisher())
    assert _collection(out)["summaries"]["mmnet_maps:bundle"] == ["a" * 16, "b" * 16]


def test_foreign_files_are_left_alone_and_out_of_the_collection(make_product: Make, tmp_path: Path) -> None:
    out, product = tmp_path / "maps", make_product(days=1)
    out.mkdir()
    foreign = {
        "soil_moisture_notes.json": "[1, 2]",
        "soil_moisture_20200101.json": '{"type": "Feature", "collection": "of-someone-else"}',
        "readme.txt": "mine",
        ".soil_moisture_note": "hidden",
    }
    for name, text in foreign.items():
        (out / name).write_text(text)
    assert export_product(product, out).items == 1
    assert {name: (out / name).read_text() for name in foreign} == foreign
    (out / "soil_moisture_20210601.json").write_text("{ cut")
    assert len(export_product(product, out).written) == 1, "a torn item is made again"


def test_a_product_is_no_folder_for_exports(make_product: Make) -> None:
    product = make_product(days=1)
    before = sorted(product.path.rglob("*"))
    with pytest.raises(
        InputError, match=r"is a Zarr store, such as a product or a cube; give another --out$"
    ):
        export_product(product, product.path)
    assert sorted(product.path.rglob("*")) == before


def test_the_catalog_of_someone_else_is_not_overwritten(make_product: Make, tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "catalog.json").write_text('{"id": "rivers"}')
    with pytest.raises(InputError, match=r"catalog\.json: is of another catalog; give another --out"):
        export_product(make_product(days=1), tmp_path / "maps")


def test_two_exports_at_once_are_refused(make_product: Make, tmp_path: Path) -> None:
    product = make_product(days=1)
    with (
        sole_writer(tmp_path / "maps"),
        pytest.raises(InputError, match=r"maps: another run is writing to it \(process \d+ on "),
    ):
        export_product(product, tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


def test_the_publisher_is_named_and_stays(make_product: Make, tmp_path: Path) -> None:
    out, product = tmp_path / "maps", make_product(days=1)
    export_product(product, out, publisher=Publisher("Valley Water", "CC-BY-4.0"))
    export_product(product, out)
    found = _collection(out)
    assert found["license"] == "CC-BY-4.0" and found["providers"][0]["name"] == "Valley Water"
    assert found["providers"][0]["roles"] == ["producer", "licensor", "processor"]
    with pytest.raises(InputError, match="expected an SPDX identifier"):
        Publisher("Valley Water", "as you like")
