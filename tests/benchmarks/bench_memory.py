"""Peak memory of every command on a finished demo, and on a sixteenth of its area: prints JSON.

``python -m tests.benchmarks.bench_memory out/demo [--days 16]``. The sixteenth is a square around a
station. Work units are of 256 pixels on both, so that the larger map is more work and not larger pieces. Each
command runs in a process of its own with one worker; the figure is the most that the process held.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

_CLI = [sys.executable, "-m", "mmnet_maps.cli"]


def peak_mib(command: list[str]) -> float:
    """Largest resident memory of a command, in MiB."""
    child = os.posix_spawn(
        sys.executable,
        [*_CLI, *command],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, used = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)}: exit status {os.waitstatus_to_exitcode(status)}")
    return used.ru_maxrss / 1024


def commands(demo: Path, work: Path, region: list[str], days: int) -> Iterator[tuple[str, list[str]]]:
    """Every command of a job, in order: name and arguments."""
    data, cube, product, maps = demo / "data/region", work / "cube", work / "product", work / "maps"
    last = pd.Timestamp("2020-05-16") + pd.Timedelta(days=days - 1)
    span = ["--start", "2020-05-16", "--end", f"{last:%Y-%m-%d}"]
    made = ["--bundle", demo / "run/all/bundle", "--cube", cube, *span, "--out", product, "--tile", "256"]
    truth = ["--in-situ", data / "in_situ.csv", "--network", data / "network.gpkg"]
    told: dict[str, list[Any]] = {
        "cube build": ["cube", "build", "--config", demo / "cube.yaml", "--out", cube, "--workers", "1"],
        "cube show": ["cube", "show", cube],
        "cube verify": ["cube", "verify", cube],
        "plan": ["plan", *made],
        "predict": ["predict", *made],
        "product verify": ["product", "verify", product],
        "export": ["export", "--product", product, "--out", maps, "--workers", "1"],
        "export --zarr": ["export", "--product", product, "--out", maps, "--workers", "1", "--zarr"],
        "extract": ["extract", product, "--points", work / "points.csv", "--out", work / "series.csv"],
        "extract of files": ["extract", maps, "--points", work / "points.csv", "--out", work / "files.csv"],
        "validate": ["validate", "--product", product, *truth, "--cube", cube, "--out", work / "scores"],
        "report": ["report", product, "--cube", cube, "--out", work / "report.html"],
        "view --static": ["view", maps, "--static", work / "page"],
    }
    told["cube build"] += region
    for name, command in told.items():
        yield name, [str(part) for part in command]


def measure(demo: Path, region: list[str], days: int, points: pd.DataFrame) -> dict[str, float]:
    """Peak memory of every command, in MiB."""
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
        points.to_csv(Path(folder) / "points.csv", index=False)
        return {name: peak_mib(command) for name, command in commands(demo, Path(folder), region, days)}


def main() -> None:
    """Measure both and print them beside each other."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("demo", type=Path)
    options.add_argument("--days", type=int, default=16)
    given = options.parse_args()
    demo = given.demo.resolve()
    truth = pd.read_csv(demo / "data/region/in_situ.csv", dtype={"ID": str})
    stations = truth.groupby("ID")[["Longitude", "Latitude"]].first()
    points = stations.rename(columns={"Longitude": "lon", "Latitude": "lat"}).reset_index(names="id")
    middle = (stations - stations.mean()).abs().sum(axis=1).idxmin()
    lon, lat = stations.loc[middle]
    # 256 of 1,024 pixels of 30 m, as degrees at that latitude.
    east, north = 128 * 30 / 111_320 / 0.805, 128 * 30 / 111_000
    box = f"region={{box: [{lon - east}, {lat - north}, {lon + east}, {lat + north}]}}"
    small = measure(demo, ["--set", box], given.days, points.loc[points["id"] == middle])
    large = measure(demo, [], given.days, points)
    rows = {
        name: {"small_mib": own, "large_mib": large[name], "growth": large[name] / own}
        for name, own in small.items()
    }
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
