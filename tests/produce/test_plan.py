"""Forecasts of what a run takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmnet_maps.produce.plan import Calibration, Prices, estimate
from mmnet_maps.produce.predict import Request, _prepare, predict_product
from mmnet_maps.produce.reading import visible_rows
from mmnet_maps.produce.units import Unit

FIRST = 18322
FOUND = Calibration(
    per_pixel=1e-3,
    per_pixel_day=1e-2,
    write_per_pixel_day=1e-4,
    bytes_per_pixel_day=5.0,
    stored_share=dict.fromkeys(
        ("hls", "sentinel1", "smap", "gridmet", "modis", "terrain", "soil", "landcover"), 0.5
    ),
    peak_mib=300.0,
    pixel_days=0,
)


def _day(number: int) -> str:
    return str(np.datetime64(number, "D"))


@pytest.fixture(scope="module")
def request_(make_world: Any, tmp_path_factory: pytest.TempPathFactory) -> Request:
    folder = tmp_path_factory.mktemp("plan")
    world = make_world(width=16)
    cube = world.cube(folder / "cube")
    return Request(
        world.bundle, cube, _day(FIRST), _day(FIRST + 7), folder / "product", tile=16, block_days=4
    )


def test_time_bytes_and_cost_are_the_sums_over_the_units(request_: Request) -> None:
    survey = _prepare(request_).survey
    units = list(survey.layout.units())
    found = estimate(survey, units, FOUND, 1, Prices(per_worker_hour=36.0, per_gib_month=2.0**30))
    pixels = 20 * 16
    assert found.seconds == pytest.approx(2 * pixels * (1e-3 + 4 * (1e-2 + 1e-4)))
    assert found.bytes_written == 8 * pixels * 5
    assert found.cost == pytest.approx(found.seconds * 0.01 + found.bytes_written)
    assert found.bytes_read == round(0.5 * sum(sum(survey.bytes_seen(u).values()) for u in units))
    assert found.peak_memory_mib > 300


def test_bytes_are_those_of_the_days_and_cells_that_a_unit_sees(request_: Request) -> None:
    survey = _prepare(request_).survey
    unit: Unit = next(iter(survey.layout.units()))
    optical = survey.cube.sources["hls"]
    begin, end = visible_rows(survey.catalogue["Red"], survey.catalogue, optical.days, unit)
    assert survey.bytes_seen(unit)["hls"] == (end - begin) * 16 * 16 * 6 * 2


def test_more_workers_take_less_time_but_never_more_than_there_are_units(request_: Request) -> None:
    survey = _prepare(request_).survey
    units = list(survey.layout.units())
    slow = Calibration(1.0, 1.0, 0.0, 5.0, FOUND.stored_share, 300.0, 0)
    times = [estimate(survey, units, slow, n, Prices()).seconds for n in (1, 2, 4, 64)]
    assert times[0] > 1.7 * times[1]
    assert times[1] > times[2]
    assert times[2] == times[3]


def test_a_dry_run_calibrates_and_writes_nothing(request_: Request) -> None:
    before = sorted(request_.out.parent.rglob("*"))
    summary = predict_product(request_, dry_run=True, prices=Prices(per_worker_hour=1.0))
    assert sorted(request_.out.parent.rglob("*")) == before
    assert summary["units"] == {"new": 4, "done": 0, "stale": 0, "outside": 0}
    assert summary["pixel_days"] == 8 * 20 * 16
    forecast = summary["forecast"]
    assert forecast["seconds"] > 0
    assert forecast["cost"] == pytest.approx(forecast["seconds"] / 3600)
    assert 0 < forecast["bytes_written"] < 8 * 20 * 16 * 8 * 2
    assert forecast["bytes_read"] > 0


def test_nothing_to_do_needs_no_forecast(request_: Request, tmp_path: Path) -> None:
    done = replace(request_, out=tmp_path / "product", end=request_.start)
    predict_product(done)
    summary = predict_product(done, dry_run=True)
    assert summary["units"]["done"] == 2
    assert "forecast" not in summary
