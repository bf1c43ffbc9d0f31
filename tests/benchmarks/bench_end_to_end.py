"""Whole path against the engine, the naive path and XGBoost, and how it scales: prints JSON.

``bench_end_to_end.py rates``      engine, whole path, naive path, turn by turn
``bench_end_to_end.py xgboost``    400 trees of depth 7 against the whole path on as many pixel-days
``bench_end_to_end.py workers``    one worker against two on the same map
``bench_end_to_end.py growth``     seconds a pixel-day and peak memory from 1 to 16 tiles and 8 to 64 days
``bench_end_to_end.py plan``       forecast against what it took, on two maps
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.learn.bundle import save_bundle
from mmnet_maps.learn.train import threads
from mmnet_maps.produce.bench import interleaved
from mmnet_maps.produce.bench_end_to_end import measure_end_to_end
from mmnet_maps.produce.made_up import made_up_bundle, made_up_inputs
from mmnet_maps.produce.made_up_cube import made_up_cube
from mmnet_maps.produce.units import iso

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
    from xgboost import XGBRegressor

    inputs = made_up_inputs(published_catalogue(), 16_384)
    flat = np.hstack([inputs.snapshot, inputs.series.reshape(len(inputs.series), -1)])
    target = np.random.default_rng(0).uniform(0.05, 0.45, len(flat))
    trees = XGBRegressor(n_estimators=400, max_depth=7, n_jobs=1).fit(flat, target)
    with threads(1):
        taken = interleaved({"xgboost": lambda: trees.predict(flat)}, 3)["xgboost"]
    whole = measure_end_to_end(made_up_bundle("mmnet", published_catalogue()), rounds=3)
    rate = len(flat) / taken
    return {
        "xgboost_pixel_days_per_s": rate,
        "end_to_end_pixel_days_per_s": whole.end_to_end_pixel_days_per_s,
        "ratio": whole.end_to_end_pixel_days_per_s / rate,
    }


def workers() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _world(place, 1024, 32)
        more = ("--tile", "512")
        seconds = {n: _predict(place, 32, f"w{n}", "--workers", str(n), *more)["seconds"] for n in (1, 2)}
    return {"one_s": seconds[1], "two_s": seconds[2], "ratio": seconds[1] / seconds[2]}


def growth() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for side, days in ((512, 16), (2048, 16), (512, 8), (512, 64)):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            _world(place, side, days)
            summary = _predict(place, days, "product", "--tile", "512")
            per_pixel_day = summary["seconds"] / summary["pixel_days_done"]
            found[f"{side} pixels, {days} days"] = {
                "ns_per_pixel_day": 1e9 * per_pixel_day,
                "peak_memory_mib": summary["peak_memory_mib"],
            }
    return found


def plan() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for side, days in ((1024, 32), (1536, 10)):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            _world(place, side, days)
            began = time.perf_counter()
            forecast = _predict(place, days, "product", "--dry-run")["forecast"]
            calibration = time.perf_counter() - began
            actual = _predict(place, days, "product")
            found[f"{side} pixels, {days} days"] = {
                "calibration_s": calibration,
                "expected_s": forecast["seconds"],
                "actual_s": actual["seconds"],
                "expected_mib": forecast["peak_memory_mib"],
                "actual_mib": actual["peak_memory_mib"],
            }
    return found


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](), indent=1))
