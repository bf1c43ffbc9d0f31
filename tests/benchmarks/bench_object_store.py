"""The same job on disk and on an S3 server of this machine: time of each step, and the ratio.

``python -m tests.benchmarks.bench_object_store [--pixels 2048] [--days 16] [--rounds 3]``: units of the
default size. Both are done in turn, in one process; the server is a process of its own that keeps objects in
memory and shares the machine, so that its own work counts against it. Ratios above 1 say that the store is
faster.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmnet_maps.grid import Grid
from mmnet_maps.learn.bundle import load_bundle, save_bundle
from mmnet_maps.prepare.cube.config import Target
from mmnet_maps.prepare.cube.store import build_cube
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.produce.run.predict import Request, predict_product
from mmnet_maps.store.location import Location, Remote
from tests.produce.conftest import FIRST, make_bundle, make_readers

_SPANS = ("cube", "predict", "export")


def job(root: Location, pixels: int, days: int) -> dict[str, float]:
    """Seconds of each step."""
    grid = Grid("EPSG:32612", (30.0, 0.0, 420_000.0, 0.0, -30.0, 4_100_000.0), pixels, pixels)
    took = {}

    def timed(name: str, work: Callable[[], object]) -> None:
        began = time.perf_counter()
        work()
        took[name] = time.perf_counter() - began

    readers = list(make_readers(grid, grid.crs, 30.0).values())
    first, last = (str(np.datetime64(day, "D")) for day in (FIRST, FIRST + days - 1))
    request = Request(
        root / "bundle", root / "c.zarr", first, last, root / "p.zarr", tile=1024, block_days=16
    )
    timed("cube", lambda: build_cube(Target(grid, None, "bench"), readers, root / "c.zarr"))
    timed("predict", lambda: predict_product(request, forecast=False))
    timed("export", lambda: export_product(open_product(root / "p.zarr"), root / "maps", store="shards"))
    return took


def main() -> None:
    """Print medians and ratios."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pixels", type=int, default=2048)
    options.add_argument("--days", type=int, default=16)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    server = subprocess.Popen([sys.executable, "-m", "tests.store.s3"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    keys = {"AWS_ACCESS_KEY_ID": "t", "AWS_SECRET_ACCESS_KEY": "t", "AWS_REGION": "us-east-1"}
    os.environ.update(keys, AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}")
    found: dict[str, dict[str, list[float]]] = {"disk": defaultdict(list), "store": defaultdict(list)}
    scratch = Path(tempfile.mkdtemp(prefix="mmnet-maps-bench-"))
    try:
        make_bundle(scratch / "bundle")
        for number in range(given.rounds):
            places: dict[str, Location] = {
                "disk": scratch / str(number),
                "store": Remote("s3://bucket", str(number)),
            }
            for name, root in places.items():
                root.mkdir()
                save_bundle(load_bundle(scratch / "bundle"), root / "bundle")
                for step, seconds in job(root, given.pixels, given.days).items():
                    found[name][step].append(seconds)
            shutil.rmtree(scratch / str(number))
    finally:
        server.kill()
        shutil.rmtree(scratch)
    for step in _SPANS:
        disk, store = (statistics.median(found[name][step]) for name in ("disk", "store"))
        print(
            f"{step}: disk {disk:.1f} s, store {store:.1f} s, store at {disk / store:.0%} of the disk's rate"
        )
    disk, store = (sum(statistics.median(found[name][step]) for step in _SPANS) for name in ("disk", "store"))
    print(
        f"whole job: disk {disk:.1f} s, store {store:.1f} s, store at {disk / store:.0%} of the disk's rate"
    )


if __name__ == "__main__":
    main()
