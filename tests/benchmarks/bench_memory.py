"""Peak memory of every command on a finished demo, and on 16 times its area: prints JSON.

``python -m tests.benchmarks.bench_memory out/demo [--days 4]``, some ten minutes and 8 GB below ``TMPDIR``.
The demo must have its 1,024 x 1,024 pixels: that is one piece of what commands work in (a shard of a cube, a
work unit, a shard of a published store), and a smaller map would take less for that reason alone. The larger
map is 16 such pieces, the demo's rasters repeated beside and below themselves. Stations stay those of the
demo. Each command runs in a process of its own with one worker; the figure is the most that the process held.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from tests.benchmarks.wider_region import write_wider

#: Times that the demo is repeated along a side.
_TIMES = 4
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


def commands(demo: Path, region: Path, work: Path, days: int) -> Iterator[tuple[str, list[str]]]:
    """Every command of a job, in order: name and arguments."""
    truth, cube, product, maps = demo / "data/region", work / "cube", work / "product", work / "maps"
    last = pd.Timestamp("2020-05-16") + pd.Timedelta(days=days - 1)
    span = ["--start", "2020-05-16", "--end", f"{last:%Y-%m-%d}"]
    made = ["--bundle", demo / "run/all/bundle", "--cube", cube, *span, "--out", product]
    stations = ["--in-situ", truth / "in_situ.csv", "--network", truth / "network.gpkg"]
    told: dict[str, list[Any]] = {
        "cube build": ["cube", "build", "--config", region / "cube.yaml", "--out", cube, "--workers", "1"],
        "cube show": ["cube", "show", cube],
        "cube verify": ["cube", "verify", cube],
        "plan": ["plan", *made],
        "predict": ["predict", *made],
        "product verify": ["product", "verify", product],
        "export": ["export", "--product", product, "--out", maps, "--workers", "1"],
        "export --zarr": ["export", "--product", product, "--out", maps, "--workers", "1", "--zarr"],
        "extract": ["extract", product, "--points", work / "points.csv", "--out", work / "series.csv"],
        "extract of files": ["extract", maps, "--points", work / "points.csv", "--out", work / "files.csv"],
        "validate": ["validate", "--product", product, *stations, "--cube", cube, "--out", work / "scores"],
        "report": ["report", product, "--cube", cube, "--out", work / "report.html"],
        "view --static": ["view", maps, "--static", work / "page"],
    }
    for name, command in told.items():
        yield name, [str(part) for part in command]


def measure(demo: Path, region: Path, days: int) -> dict[str, float]:
    """Peak memory of every command, in MiB."""
    truth = pd.read_csv(demo / "data/region/in_situ.csv", dtype={"ID": str})
    stations = truth.groupby("ID")[["Longitude", "Latitude"]].first()
    points = stations.rename(columns={"Longitude": "lon", "Latitude": "lat"}).reset_index(names="id")
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
        points.to_csv(Path(folder) / "points.csv", index=False)
        return {name: peak_mib(command) for name, command in commands(demo, region, Path(folder), days)}


def main() -> None:
    """Measure both and print them beside each other."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("demo", type=Path)
    options.add_argument("--days", type=int, default=4)
    given = options.parse_args()
    demo = given.demo.resolve()
    small = measure(demo, demo, given.days)
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
        wide, rasters = Path(folder), Path("data/rasters")
        # In another process: what this one held would count for those that it starts.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(write_wider, demo / rasters, wide / rasters, _TIMES).result()
        shutil.copy(demo / "cube.yaml", wide)
        large = measure(demo, wide, given.days)
    rows = {
        name: {"small_mib": own, "large_mib": large[name], "growth": large[name] / own}
        for name, own in small.items()
    }
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
