"""Whole path against the engine, the naive path and XGBoost, and how it scales: prints JSON.

``bench_end_to_end.py rates``      engine, whole path, naive path, turn by turn
``bench_end_to_end.py xgboost``    400 trees of depth 7 against the whole path on as many pixel-days
``bench_end_to_end.py workers``    one worker, two, and two products beside each other
``bench_end_to_end.py scheduler``  what handing out units costs, to 64 workers
``bench_end_to_end.py county``     a year of 1,500 x 1,500 pixels in one go
``bench_end_to_end.py growth``     seconds a pixel-day from 1 to 64 tiles and from 8 to 366 days
``bench_end_to_end.py plan``       forecast against what it took, on three maps
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from mmnet_maps.bench.end_to_end import measure_end_to_end
from mmnet_maps.bench.engine import interleaved
from mmnet_maps.bench.made_up import made_up_bundle, made_up_inputs
from mmnet_maps.bench.made_up_cube import made_up_cube
from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.grid import Tile
from mmnet_maps.learn.bundle import save_bundle
from mmnet_maps.learn.train import threads
from mmnet_maps.produce.run import workers as handed_out
from mmnet_maps.produce.run.predict import Request, predict_product
from mmnet_maps.produce.run.work import Report
from mmnet_maps.produce.units import Unit, iso

FIRST = 18_322


def _world(place: Path, side: int, days: int) -> None:
    save_bundle(made_up_bundle("mmnet", published_catalogue()), place / "bundle")
    made_up_cube(place / "cube", side, side, FIRST, FIRST + days)


def _predict(place: Path, days: int, out: str, *more: str) -> dict[str, Any]:
    """A run in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, "-m", "mmnet_maps.cli", "predict", "--json", "--bundle", str(place / "bundle")]
    command += ["--cube", str(place / "cube"), "--out", str(place / out)]
    command += ["--start", iso(FIRST), "--end", iso(FIRST + days - 1), *more]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def rates() -> dict[str, Any]:
    found = measure_end_to_end(made_up_bundle("mmnet", published_catalogue()))
    return vars(found)


def xgboost() -> dict[str, Any]:
    """400 trees of depth 7 on as many model inputs as a block of pixels, turn by turn with the whole path."""
    from xgboost import XGBRegressor

    inputs = made_up_inputs(published_catalogue(), 65_536)
    flat = np.hstack([inputs.snapshot, inputs.series.reshape(len(inputs.series), -1)])
    # Trees that learn nothing are as deep, and the values that they see are those of the made-up pixels.
    target = np.random.default_rng(0).uniform(0.05, 0.45, len(flat))
    trees = XGBRegressor(n_estimators=400, max_depth=7, n_jobs=1).fit(flat, target)
    with tempfile.TemporaryDirectory() as folder, threads(1):
        place, run = Path(folder), count()
        _world(place, 512, 16)

        def whole() -> None:
            request = Request(
                place / "bundle", place / "cube", iso(FIRST), iso(FIRST + 15), place / f"{next(run)}"
            )
            predict_product(request, forecast=False)

        taken = interleaved({"xgboost": lambda: trees.predict(flat), "whole": whole}, 3)
    rate, ours = len(flat) / taken["xgboost"], 512 * 512 * 16 / taken["whole"]
    return {"xgboost_pixel_days_per_s": rate, "end_to_end_pixel_days_per_s": ours, "ratio": ours / rate}


def workers() -> dict[str, Any]:
    """Two workers on a map, against one, and against two plain products beside each other.

    Two processes take seconds to start: the rates are those of the days that a longer run has more. What two
    products beside each other reach is what the machine gives: they share its memory and caches too.
    """
    short, long, more = 16, 64, ("--tile", "512")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _world(place, 1024, long)
        taken = {
            (n, days): _predict(place, days, f"w{n}-{days}", "--workers", str(n), *more)["seconds"]
            for days in (short, long)
            for n in (1, 2)
        }
        with ThreadPoolExecutor(2) as pool:
            both = pool.map(lambda n: _predict(place, long, f"beside-{n}", *more)["seconds"], (1, 2))
            beside = max(both) * (long - short) / long
    one, two = (taken[n, long] - taken[n, short] for n in (1, 2))
    return {
        "one_s": one,
        "two_s": two,
        "two_products_beside_each_other_s": beside,
        "ratio": one / two,
        "efficiency": beside / (2 * two),
        "with_start_up": {"one_s": taken[1, long], "two_s": taken[2, long]},
        "ratio_with_start_up": taken[1, long] / taken[2, long],
    }


def scheduler(seconds: float = 1.0, each: int = 8) -> dict[str, Any]:
    """What handing out units costs: units that sleep, on 1 to 64 workers of a scheduler in this process."""
    from distributed import Client, LocalCluster

    def sleeping(job: Any, unit: Unit, outside: bool) -> Report:
        time.sleep(seconds)
        return Report(unit.key)

    made, handed_out.run_unit = handed_out.run_unit, sleeping
    found = {}
    try:
        for workers in (1, 4, 16, 64):
            with (
                # They share one process, whose memory is not theirs to be judged by.
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=False,
                    dashboard_address=None,
                    memory_limit=0,
                ) as local,
                Client(local) as client,
            ):
                units = [Unit(Tile(0, n, 1, 1), 0, 1) for n in range(workers * each)]
                began = time.perf_counter()
                done = sum(1 for _ in handed_out.reports(((None, unit, False) for unit in units), client))
                taken = time.perf_counter() - began
            assert done == len(units)
            ideal = each * seconds
            found[f"{workers} workers"] = {
                "efficiency": ideal / taken,
                "ms_per_unit": 1e3 * (taken - ideal) / len(units),
            }
    finally:
        handed_out.run_unit = made
    return found


def county(side: int = 1500, days: int = 366, workers: int = 2) -> dict[str, Any]:
    """A year of a county in one go."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _world(place, side, days)
        done = _predict(place, days, "product", "--workers", str(workers))
        return {**done, "ns_per_pixel_day": 1e9 * done["seconds"] / done["pixel_days_done"]}


def growth() -> dict[str, Any]:
    """Each case against the first: 1 to 64 tiles, 8 to 366 days."""
    tiles = {f"{side} pixels": _measured(side, 16) for side in (256, 1024, 2048)}
    days = {f"{count} days": _measured(256, count) for count in (8, 16, 64, 366)}
    return {
        "tiles of 256 pixels": tiles,
        "days of one tile": days,
        "cost against 1 tile": _against_first(tiles),
        "cost against 8 days": _against_first(days),
    }


def _against_first(cases: dict[str, dict[str, float]]) -> dict[str, float]:
    cost = {name: case["ns_per_pixel_day"] for name, case in cases.items()}
    first = next(iter(cost.values()))
    return {name: value / first for name, value in cost.items()}


def _measured(side: int, days: int, tile: int = 256, block_days: int = 16) -> dict[str, float]:
    """Cost and memory of a run in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _world(place, side, days)
        request = {"days": days, "tile": tile, "block_days": block_days}
        command = [sys.executable, __file__, "measured_here", folder, json.dumps(request)]
        output = subprocess.run(command, check=True, capture_output=True).stdout
        found: dict[str, float] = json.loads(output)
        return found


def measured_here(folder: str, text: str) -> dict[str, float]:
    """The run, after a shorter one that loads what a process needs once."""
    asked, place, found = json.loads(text), Path(folder), {}
    for days, name in ((1, "first"), (asked["days"], "product")):
        own = Request(place / "bundle", place / "cube", iso(FIRST), iso(FIRST + days - 1), place / name)
        request = replace(own, tile=asked["tile"], block_days=asked["block_days"])
        began = time.process_time()
        done = predict_product(request, forecast=False)
        found["ns_per_pixel_day"] = 1e9 * done["seconds"] / done["pixel_days_done"]
        found["cpu_ns_per_pixel_day"] = 1e9 * (time.process_time() - began) / done["pixel_days_done"]
        found["predict_mib"] = done["peak_memory_mib"]
    return found


def plan() -> dict[str, Any]:
    """Cases that no constant of the forecast was fitted to."""
    found: dict[str, Any] = {}
    for side, days, more in ((1024, 32, ()), (1536, 10, ()), (1024, 48, ("--workers", "2", "--tile", "512"))):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            _world(place, side, days)
            began = time.perf_counter()
            forecast = _predict(place, days, "product", "--dry-run", *more)["forecast"]
            calibration = time.perf_counter() - began
            actual = _predict(place, days, "product", *more)
            found[" ".join([f"{side} pixels, {days} days", *more])] = {
                "calibration_s": calibration,
                "expected_s": forecast["seconds"],
                "actual_s": actual["seconds"],
                "seconds_ratio": forecast["seconds"] / actual["seconds"],
                "expected_mib": forecast["peak_memory_mib"],
                "actual_mib": actual["peak_memory_mib"],
                "memory_ratio": forecast["peak_memory_mib"] / actual["peak_memory_mib"],
            }
    return found


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:]), indent=1))
