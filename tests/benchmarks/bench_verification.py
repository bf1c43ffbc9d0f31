"""What it costs to verify: the share of processor time that `predict` and `export` spend on it.

``python -m tests.benchmarks.bench_verification DEMO [--days 16]``, with the folder of ``mmnet-maps demo``.
Counted are the digests of values and of stored objects, when they are written and when they are looked at,
the look for lost files of the cube, the question who holds the lock, and checksums in STAC items. Times are
those of the processor, so that what else runs on the machine does not count.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import mmnet_maps.produce.export.days as days
import mmnet_maps.produce.export.published as published
import mmnet_maps.produce.export.stac as stac
import mmnet_maps.produce.product.store as store
import mmnet_maps.produce.run.work as work
from mmnet_maps.prepare.cube.store import Cube, open_cube
from mmnet_maps.produce.run.predict import Request, predict_product
from mmnet_maps.produce.run.survey import Survey

#: What verifies: where it is looked up, and its name there.
_VERIFY: tuple[tuple[Any, str], ...] = (
    (work, "day_digests"),
    (work, "check_owner"),
    (store, "digest"),
    (store, "day_digests"),
    (store, "check_owner"),
    (store.Product, "_damage"),
    (Survey, "check_cube"),
    (Cube, "refuse_replaced"),
    (published._Turned, "check"),
    (stac, "file_facts"),
    (days, "file_facts"),
    (days, "day_digest"),
)


class Clock:
    """Processor seconds of functions, those that they call not counted again."""

    def __init__(self) -> None:
        self.seconds, self.inside, self.lock = 0.0, threading.local(), threading.Lock()

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def timed(*given: Any, **how: Any) -> Any:
            if getattr(self.inside, "is_", False):
                return function(*given, **how)
            self.inside.is_, began = True, time.thread_time()
            try:
                return function(*given, **how)
            finally:
                self.inside.is_ = False
                with self.lock:
                    self.seconds += time.thread_time() - began

        return timed


def main() -> None:
    """Print both shares."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("demo", type=Path)
    options.add_argument("--days", type=int, default=16)
    given = options.parse_args()
    clock = Clock()
    for holder, name in _VERIFY:
        setattr(holder, name, clock.of(getattr(holder, name)))
    product = store.open_product(given.demo / "product.zarr")
    first, last = (str(np.datetime64(int(d), "D")) for d in product.days[[0, given.days - 1]])
    cube = given.demo / "cube.zarr"
    open_cube(cube)
    with tempfile.TemporaryDirectory(prefix="mmnet-maps-bench-") as scratch:
        out = Path(scratch) / "product.zarr"
        bundle = given.demo / "run" / "all" / "bundle"
        jobs: dict[str, Callable[[], Any]] = {
            "predict": lambda: predict_product(Request(bundle, cube, first, last, out), forecast=False),
            "export": lambda: days.export_product(
                store.open_product(out), Path(scratch) / "maps", workers=1, store="shards"
            ),
            "product verify": lambda: store.open_product(out).damaged(),
        }
        for name, job in jobs.items():
            clock.seconds, began = 0.0, time.process_time()
            job()
            whole = time.process_time() - began
            share = f", {clock.seconds:.2f} s of it verification: {clock.seconds / whole:.1%}"
            print(f"{name}: {whole:.2f} s of processor{share if name != 'product verify' else ''}")


if __name__ == "__main__":
    main()
