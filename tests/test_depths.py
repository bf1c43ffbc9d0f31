"""The comparison of depths, end to end on a few made-up stations."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]


def _files(folder: Path, stations: int, days: int) -> Path:
    """USCRN files in which soil at 50 cm is the surface of the days before, slowly."""
    folder.mkdir()
    for number in range(stations):
        random = np.random.default_rng(number)
        rain = np.where(random.random(days) < 0.2, random.exponential(12, days), 0.0)
        shallow, deep, lines = 0.2, 0.2, []
        for day, date in enumerate(pd.date_range("2019-01-01", periods=days)):
            shallow = min(0.5, 0.05 + 0.92 * (shallow - 0.05) + rain[day] / 200)
            deep += (shallow - deep) / 15
            warm = 12 - 14 * np.cos(2 * np.pi * day / 365) + random.normal()
            air = f"{warm:.1f} {warm - 12:.1f} 14.0 14.0"
            soil = f"{shallow:.3f} -99.000 -99.000 {deep:.3f} -99.000"
            lines.append(
                f"1000{number} {date:%Y%m%d} 2.4 {-100 + number:.2f} {35 + number:.2f} {air} "
                f"{rain[day]:.1f} "
                f"{15 + warm / 3:.2f} C {warm + 9 + day % 3:.1f} {warm - 9:.1f} {warm - 4:.1f} 90.0 40.0 "
                f"{60 + warm / 2:.1f} {soil} 9.0 9.0 9.0 9.0 9.0"
            )
        (folder / f"CRND0103-2019-OK_Place_{number}_N.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_the_filter_of_the_surface_follows_what_was_made_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = _files(tmp_path / "files", 6, 365)
    # fmt: off
    small = ["targets=[VWC_5, VWC_50]", "lengths=[1, 15]", "least_days=20", "training.every=2",
             "training.folds=3", "training.validation=random_rows", "training.baseline.rounds=100"]
    # fmt: on
    words = ["depths.py", "--config", str(ROOT / "configs/depths.yaml"), "--files", str(files)]
    monkeypatch.setattr(sys, "argv", [*words, "--out", str(tmp_path / "out"), "--set", *small])
    runpy.run_path(str(ROOT / "pipelines/depths.py"), run_name="__main__")
    rows = [[cell.strip() for cell in line.split("|")] for line in capsys.readouterr().out.splitlines()]
    found = {(row[1], row[2]): row[3:] for row in rows if len(row) > 3}
    days, stations, correlation = found["VWC_50", "filter of 5 cm, T 15 d"][:3]
    assert (days, stations) == (found["VWC_50", "model"][0], "6")
    assert float(correlation.split()[0]) > 0.8
    assert ("VWC_50", "model less filter, at a station") in found and ("VWC_5", "model") in found
    assert (tmp_path / "out/depths.md").is_file()
