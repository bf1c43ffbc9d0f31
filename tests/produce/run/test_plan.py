"""Forecasts of what a run takes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.produce.engine.processor import processor_kind
from mmnet_maps.produce.run.calibration import Calibration, calibrate
from mmnet_maps.produce.run.plan import Prices, estimate
from mmnet_maps.produce.run.power import Power, read_power
from mmnet_maps.produce.run.predict import Request, _prepare, predict_product
from mmnet_maps.produce.run.work import peak_mib, resident_mib
from mmnet_maps.produce.tile.reading import visible_rows
from mmnet_maps.produce.units import Unit

FIRST = 18322
FOUND = Calibration(
    per_pixel=1e-3,
    per_pixel_day=1e-2,
    cpu_per_pixel=1e-3,
    cpu_per_pixel_day=1.4e-2,
    write_per_pixel_day=1e-4,
    bytes_per_pixel_day=5.0,
    stored_share=dict.fromkeys(
        ("hls", "sentinel1", "smap", "gridmet", "modis", "terrain", "soil", "landcover"), 0.5
    ),
    resident_mib=1e6,
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


def test_energy_is_power_times_time_and_emits_as_the_electricity(request_: Request) -> None:
    survey = _prepare(request_).survey
    units = list(survey.layout.units())
    table = Power(
        watts={"other": 7.0, processor_kind()[:6]: 3.0},
        watts_per_gib=0.5,
        overhead=1.5,
        grams_per_kwh={"here": 200.0},
    )
    found = estimate(survey, units, FOUND, 1, Prices(power=table, electricity="here"))
    busy, held = (
        2 * 20 * 16 * (1e-3 + 4 * (1.4e-2 + 1e-4)),
        found.seconds * 0.5 * found.peak_memory_mib / 1024,
    )
    assert found.energy_kwh == pytest.approx(1.5 * (3.0 * busy + held) / 3600 / 1000)
    assert found.co2_kg == pytest.approx(0.2 * found.energy_kwh)
    # A device computes for as long as its worker runs.
    other = estimate(survey, units, FOUND, 1, Prices(power=table, electricity="here"), "cuda")
    assert other.energy_kwh == pytest.approx(1.5 * (7.0 * found.seconds + held) / 3600 / 1000)


def test_a_table_of_power_that_does_not_fit_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--electricity Atlantis: not in the table; it has world, Aus"):
        Prices(electricity="Atlantis")
    own = tmp_path / "power.yaml"
    own.write_text("watts: {other: -3}\nwatts_per_gib: 0\noverhead: 1\ngrams_per_kwh: {here: 1}\n")
    with pytest.raises(InputError, match=r"power\.yaml: watts\.other"):
        read_power(own)
    own.write_text("watts: {abacus: 3}\nwatts_per_gib: 0\noverhead: 1\ngrams_per_kwh: {here: 1}\n")
    with pytest.raises(InputError, match="watts: nothing of"):
        read_power(own).energy_kwh(1.0, 1.0, 1.0)


def test_bytes_are_those_of_the_days_and_cells_that_a_unit_sees(request_: Request) -> None:
    survey = _prepare(request_).survey
    unit: Unit = next(iter(survey.layout.units()))
    optical = survey.cube.sources["hls"]
    begin, end = visible_rows(survey.catalogue["Red"], survey.catalogue, optical.days, unit)
    assert survey.bytes_seen(unit)["hls"] == (end - begin) * 16 * 16 * 6 * 2


def test_more_workers_take_less_time_but_never_more_than_there_are_units(request_: Request) -> None:
    survey = _prepare(request_).survey
    units = list(survey.layout.units())
    slow = replace(
        FOUND,
        per_pixel=1.0,
        per_pixel_day=1.0,
        cpu_per_pixel=1.4,
        cpu_per_pixel_day=1.4,
        write_per_pixel_day=0.0,
    )

    def seconds(workers: int, cores: int) -> float:
        return estimate(survey, units, slow, workers, Prices(), cores=cores).seconds

    times = [seconds(workers, 64) for workers in (1, 2, 4, 64)]
    assert times[0] > 1.7 * times[1]
    assert times[1] > times[2]
    assert times[2] == times[3]
    # A worker that finds no idle core computes and prepares in turn.
    assert seconds(1, 1) == pytest.approx(1.4 * seconds(1, 2))
    assert seconds(2, 2) - 6 == pytest.approx(1.4 * (seconds(2, 4) - 6))


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


def test_what_this_process_held_before_is_no_part_of_a_worker(request_: Request) -> None:
    survey = _prepare(request_).survey
    units = list(survey.layout.units())
    ballast = np.ones(96 * 2**20, dtype=np.float64)
    found = calibrate(survey, units, request_.bundle, "float32", "cpu", workers=2)
    assert found.resident_mib < found.peak_mib < resident_mib() - ballast.nbytes / 2**20 / 2
    # Several workers are processes of their own; one is this process, ballast and all.
    assert estimate(survey, units, found, 2, Prices()).peak_memory_mib < found.peak_mib + 50
    assert estimate(survey, units, found, 1, Prices()).peak_memory_mib > ballast.nbytes / 2**20


def test_memory_of_a_run_begins_with_the_run(request_: Request, tmp_path: Path) -> None:
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("the system cannot forget a peak")
    ballast = np.ones(64 * 2**20, dtype=np.float64)
    before, held = peak_mib(), ballast.nbytes / 2**20
    del ballast
    summary = predict_product(replace(request_, out=tmp_path / "product", end=request_.start))
    assert 0 < summary["peak_memory_mib"] < before - held / 2


def test_a_calibration_that_fails_says_why(request_: Request, tmp_path: Path) -> None:
    survey = _prepare(request_).survey
    with pytest.raises(WorkError, match=r"the calibration failed: .*no bundle"):
        calibrate(survey, list(survey.layout.units()), tmp_path / "no bundle", "float32", "cpu")
