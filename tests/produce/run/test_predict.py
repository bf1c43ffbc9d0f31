"""Daily maps from a bundle and a cube."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapely.geometry import box

from mmnet_maps.errors import InputError
from mmnet_maps.prepare.cube import plan as cube_plan
from mmnet_maps.prepare.cube.layout import Layout as CubeLayout
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.engine.processor import processor_kind
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.produce.run import predict as predict_module
from mmnet_maps.produce.run import work
from mmnet_maps.produce.run import workers as workers_module
from mmnet_maps.produce.run.predict import Request, predict_product
from mmnet_maps.produce.tile.trust import NOT_COMPUTED

FIRST = 18322


def _day(number: int) -> str:
    return str(np.datetime64(number, "D"))


def _maps(path: Path) -> dict[str, Any]:
    product = open_product(path)
    layout = product.layout
    return {name: product.read(name, layout.start, layout.stop) for name in product.layers}


def _same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.fixture(scope="module")
def reference(make_world: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A world with scenes of the neighbouring UTM zone, its cube, and its maps in one unit."""
    folder = tmp_path_factory.mktemp("reference")
    world = make_world(scene_crs="EPSG:32611")
    cube = world.cube(folder / "cube")
    request = Request(
        world.bundle, cube, _day(FIRST), _day(FIRST + 6), folder / "product", tile=32, block_days=7
    )
    summary = predict_product(request)
    assert summary["failed"] == {}
    return world, request, _maps(folder / "product")


def test_maps_have_values_reasons_and_no_zero(reference: Any) -> None:
    _, _, maps = reference
    valid = maps["soil_moisture"] != -32768
    assert 0.02 < valid.mean() < 0.98
    assert (maps["quality"][~valid] != 0).all()
    assert not (maps["quality"] & NOT_COMPUTED).any()


@settings(
    max_examples=4,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    tile=st.integers(11, 30),
    block_days=st.integers(2, 7),
    chunk=st.integers(7, 24),
    days=st.integers(8, 40),
    backwards=st.booleans(),
)
def test_a_mosaic_does_not_depend_on_how_it_was_cut(
    reference: Any,
    tmp_path_factory: pytest.TempPathFactory,
    tile: int,
    block_days: int,
    chunk: int,
    days: int,
    backwards: bool,
) -> None:
    world, request, maps = reference
    folder = tmp_path_factory.mktemp("cut")

    def layout(height: int, width: int, coarse: bool, static: bool) -> CubeLayout:
        long = 1 if static else days
        chunks = (long, min(chunk, height), min(chunk, width))
        return CubeLayout(chunks, (long, 2 * chunks[1], 2 * chunks[2]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cube_plan, "choose_layout", layout)
        cube = world.cube(folder / "cube")
        if backwards:
            original = predict_module._sort
            patch.setattr(predict_module, "_sort", lambda planned: _reversed(original(planned)))
        cut = Request(
            request.bundle,
            cube,
            request.start,
            request.end,
            folder / "product",
            tile=tile,
            block_days=block_days,
        )
        assert predict_product(cut)["failed"] == {}
    _same(_maps(folder / "product"), maps)


def _reversed(found: Any) -> Any:
    counts, todo = found
    return counts, todo[::-1]


def test_two_workers_make_the_same_maps(reference: Any, tmp_path: Path) -> None:
    _, request, maps = reference
    cut = Request(
        request.bundle,
        request.cube,
        request.start,
        request.end,
        tmp_path / "product",
        2,
        tile=16,
        block_days=4,
    )
    summary = predict_product(cut)
    assert summary["failed"] == {}
    assert summary["units"]["new"] == 8
    _same(_maps(tmp_path / "product"), maps)


@pytest.mark.parametrize(
    ("crs", "corner", "pixel"),
    [
        ("EPSG:32612", (166_000.0, 4_100_000.0), (30.0, -30.0)),  # at the edge of zone 11
        ("EPSG:32612", (420_000.0, 4_100_000.0), (60.0, -25.0)),
        ("EPSG:4326", (-112.0, 37.0), (0.0005, -0.00025)),
    ],
)
def test_any_grid_can_be_mapped_and_cut(
    make_world: Any, tmp_path: Path, crs: str, corner: Any, pixel: Any
) -> None:
    world = make_world(crs=crs, corner=corner, pixel=pixel)
    cube = world.cube(tmp_path / "cube")
    for name, tile in (("whole", 32), ("cut", 9)):
        predict_product(
            Request(
                world.bundle, cube, _day(FIRST), _day(FIRST + 1), tmp_path / name, tile=tile, block_days=2
            )
        )
    whole = _maps(tmp_path / "whole")
    _same(_maps(tmp_path / "cut"), whole)
    assert (whole["soil_moisture"] != -32768).any()


def test_outside_the_polygon_nothing_is_computed_and_nothing_reads_as_zero(
    make_world: Any, tmp_path: Path
) -> None:
    left, top = 420_000.0, 4_100_000.0
    world = make_world(polygon=box(left, top - 10 * 30, left + 12 * 30, top))
    cube = world.cube(tmp_path / "cube")
    request = Request(
        world.bundle, cube, _day(FIRST), _day(FIRST + 1), tmp_path / "product", tile=8, block_days=2
    )
    summary = predict_product(request)
    maps = _maps(tmp_path / "product")
    outside = np.ones((20, 28), dtype=bool)
    outside[:10, :12] = False
    assert summary["units"] == {"new": 12, "done": 0, "stale": 0, "outside": 8}
    assert summary["pixel_days_done"] == 240
    assert (maps["soil_moisture"][:, outside] == -32768).all()
    assert (maps["quality"][:, outside] == NOT_COMPUTED).all()
    assert not (maps["quality"][:, ~outside] & NOT_COMPUTED).any()
    assert open_product(tmp_path / "product").finished(FIRST)


def test_wrong_requests_are_refused_before_anything_is_written(reference: Any, tmp_path: Path) -> None:
    _, request, _ = reference
    out = tmp_path / "product"
    for start, end, words in (
        ("2020-03-05", "2020-03-01", "is after --end"),
        ("2020-13-01", "2020-03-01", "--start 2020-13-01: expected a day"),
        ("2019-03-01", "2020-03-01", "is there from"),
    ):
        with pytest.raises(InputError, match=words):
            predict_product(Request(request.bundle, request.cube, start, end, out))
    assert not out.exists()


def test_a_product_on_another_grid_or_of_a_later_start_is_refused(
    reference: Any, make_world: Any, tmp_path: Path
) -> None:
    _, request, _ = reference
    other = make_world(height=10).cube(tmp_path / "cube")
    with pytest.raises(InputError, match="the product is on another grid"):
        predict_product(Request(request.bundle, other, request.start, request.end, request.out))
    with pytest.raises(InputError, match="begins on 2020-03-01 and cannot begin earlier"):
        predict_product(Request(request.bundle, request.cube, "2020-02-28", request.end, request.out))
    with pytest.raises(InputError, match="made with tile 32, found 64"):
        predict_product(
            Request(request.bundle, request.cube, request.start, request.end, request.out, tile=64)
        )


@pytest.mark.parametrize(("gain", "used"), [(0.64, "float32"), (1.5, "bfloat16")])
def test_bfloat16_is_used_where_it_is_faster_and_a_product_goes_on_as_it_was_begun(
    reference: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    gain: float,
    used: str,
) -> None:
    _, asked, maps = reference
    monkeypatch.setattr(Engine, "bfloat16_gain", lambda self: gain)
    request = replace(asked, out=tmp_path / "out", precision="bfloat16")
    assert predict_product(request)["failed"] == {}
    said = "precision bfloat16: measured 0.64 times as fast as float32 here; float32 is used"
    assert (said in capsys.readouterr().err) == (used == "float32")
    assert open_product(request.out).about["precision"] == used
    same = np.array_equal(_maps(request.out)["soil_moisture"], maps["soil_moisture"])
    assert same == (used == "float32")
    # Measured otherwise later, it is still the same product; another wish makes it anew.
    monkeypatch.setattr(Engine, "bfloat16_gain", lambda self: 1 / gain)
    assert predict_product(request, dry_run=True)["units"]["stale"] == 0
    stale = predict_product(replace(request, precision="float32"), dry_run=True)["units"]["stale"]
    assert stale == (0 if used == "float32" else 1)
    with pytest.raises(InputError, match="precision float16"):
        predict_product(replace(request, precision="float16"))


def test_units_of_another_kind_of_processor_are_kept_and_named(
    reference: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, asked, _ = reference
    request = replace(asked, out=tmp_path / "out", block_days=4)
    monkeypatch.setattr(work, "processor_kind", lambda: "arm64 Somebody, torch NEON, numpy ASIMD")
    first = replace(request, end=_day(FIRST + 3))
    assert predict_product(first)["failed"] == {}
    assert "kinds of processors" not in capsys.readouterr().err
    monkeypatch.undo()
    assert predict_product(request)["units"] == {"new": 1, "done": 1, "stale": 0, "outside": 0}
    told = capsys.readouterr().err
    assert "several kinds of processors, which agree to float rounding only: 1 on arm64 Somebody" in told
    assert f"1 on {processor_kind()}" in told
    ledger = open_product(request.out).ledger
    entries = [ledger.read(key) for key in sorted(ledger.keys())]
    made_on = [entry.processor for entry in entries if entry is not None]
    assert made_on == ["arm64 Somebody, torch NEON, numpy ASIMD", processor_kind()]
    predict_product(request)
    assert "kinds of processors" not in capsys.readouterr().err


def test_a_unit_that_fails_is_named_and_the_others_finish(
    reference: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, request, _ = reference
    original = workers_module.run_unit

    def failing(job: Any, unit: Any, outside: bool) -> Any:
        if unit.tile.col:
            raise RuntimeError("broken\ndisk")
        return original(job, unit, outside)

    monkeypatch.setattr(workers_module, "run_unit", failing)
    again = Request(
        request.bundle, request.cube, request.start, request.end, tmp_path / "product", tile=16, block_days=7
    )
    summary = predict_product(again)
    assert set(summary["failed"]) == {"20200301-r000000-c000016", "20200301-r000016-c000016"}
    assert summary["failed"]["20200301-r000000-c000016"] == "RuntimeError: broken disk"
    monkeypatch.undo()
    assert predict_product(again)["units"] == {"new": 2, "done": 2, "stale": 0, "outside": 0}
    assert len(open_product(tmp_path / "product").finished_days()) == 7
