"""Kill a job before each of its file operations, let the same job finish, and compare what is there.

Run by hand for every operation: ``python -m tests.killing --every 1``; the test samples them. Each run is a
process of its own, forked from this one, which has loaded everything and done nothing.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from shapely.geometry import box

import mmnet_maps.cli  # noqa: F401
from mmnet_maps.grid import Grid
from mmnet_maps.jobs.daily import daily
from mmnet_maps.prepare.cube.config import Target
from mmnet_maps.prepare.cube.store import build_cube, open_cube
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.export.folder import items_of
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.produce.run.predict import Request, predict_product
from mmnet_maps.simulated import SimulationConfig
from tests.arrivals import Region
from tests.produce.conftest import FIRST, ArrayReader, make_bundle, make_readers

#: Operations that change what is on disk; of a file that is opened only the writing kind.
_CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate"}
_GRID = Grid("EPSG:32612", (30.0, 0.0, 420_000.0, 0.0, -30.0, 4_100_000.0), 20, 28)


@dataclass(frozen=True)
class Case:
    """A job on a folder.

    Attributes
    ----------
    prepare : callable
        Fills the folder with what the job begins from.
    job : callable
        What is killed, and run again.
    check : callable
        What holds of the folder at any moment; it raises where that is not so.
    """

    prepare: Callable[[Path], None]
    job: Callable[[Path], Any]
    check: Callable[[Path], None]


def in_a_process(work: Callable[[], Any], folder: Path, kill_before: int | None = None) -> tuple[int, int]:
    """Run in a forked process; gives its exit status (or minus the signal) and its file operations."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _count_below(folder, writer, kill_before)
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        operations = len(pipe.read())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), operations


def _count_below(folder: Path, writer: int, kill_before: int | None) -> None:
    root, lock, count = str(folder), threading.Lock(), 0

    def hook(event: str, given: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "open":
            changes = isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        else:
            changes = event in _CHANGES
        if not changes or not isinstance(given[0], str | os.PathLike) or not str(given[0]).startswith(root):
            return
        with lock:
            count += 1
            if count == kill_before:
                os.kill(os.getpid(), signal.SIGKILL)
        os.write(writer, b".")

    sys.addaudithook(hook)


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def kill_everywhere(name: str, case: Case, every: int, offset: int = 0) -> tuple[int, int]:
    """Kill a case before operations ``offset + 1, offset + 1 + every, ...``; how many, and of how many.

    Raises
    ------
    AssertionError
        After a kill something does not hold, the job does not finish, or its result differs.
    """
    with tempfile.TemporaryDirectory(prefix="killing-") as scratch:
        base, work = Path(scratch) / "base", Path(scratch) / "work"
        base.mkdir()
        assert in_a_process(lambda: case.prepare(base), base)[0] == 0, f"{name}: cannot be prepared"

        def fresh() -> None:
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(base, work)

        fresh()
        status, operations = in_a_process(lambda: case.job(work), work)
        assert status == 0, f"{name}: fails undisturbed"
        expected, kills = content(work), range(offset + 1, operations + 1, every)
        for number in kills:
            where = f"{name}, killed before operation {number} of {operations}"
            fresh()
            assert in_a_process(lambda: case.job(work), work, number)[0] == -signal.SIGKILL, where
            assert in_a_process(lambda: case.check(work), work)[0] == 0, f"{where}: broken"
            assert in_a_process(lambda: case.job(work), work)[0] == 0, f"{where}: not finished"
            found = content(work)
            differ = [p for p in {**expected, **found} if expected.get(p) != found.get(p)]
            assert not differ, f"{where}: other content of {differ[:5]}"
        return len(kills), operations


def _readers(last: int) -> dict[str, ArrayReader]:
    return {name: _until(reader, last) for name, reader in make_readers(_GRID, _GRID.crs, 30.0).items()}


def _until(reader: ArrayReader, last: int) -> ArrayReader:
    if reader.cadence not in ("daily", "irregular"):
        return reader
    count = int(np.searchsorted(reader.days, last, side="right"))
    values = {name: array[:count] for name, array in reader.values.items()}
    return replace(reader, days=reader.days[:count], values=values)


def _build(folder: Path, last: int, names: tuple[str, ...] = ()) -> None:
    readers = _readers(last)
    target = Target(_GRID, box(420_000, 4_099_500, 420_700, 4_100_000) if names else None, "test")
    build_cube(target, [readers[n] for n in names or readers], folder / "c.zarr", workers=1)


def _predict(folder: Path, days: int) -> None:
    first, last = (str(np.datetime64(day, "D")) for day in (FIRST, FIRST + days - 1))
    request = Request(
        folder / "bundle", folder / "c.zarr", first, last, folder / "p.zarr", tile=16, block_days=4
    )
    assert not predict_product(request)["failed"]


def _world(folder: Path) -> None:
    make_bundle(folder / "bundle")
    _build(folder, FIRST + 39)


def _with_product(days: int) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        _world(folder)
        _predict(folder, days)

    return prepare


_FEW = ("hls", "smap")


def _whole_cube(folder: Path) -> None:
    """A cube that can be opened has every value of its days."""
    if not (folder / "c.zarr").exists():
        return
    cube, days = open_cube(folder / "c.zarr"), (_readers(FIRST + 3), _readers(FIRST + 19))
    for name, source in cube.sources.items():
        reader = make_readers(_GRID, _GRID.crs, 30.0)[name]
        offset = source.grid.aligned_offset(reader.grid)
        assert offset is not None and source.days.size in {held[name].days.size for held in days}
        rows, cols = slice(0, source.grid.height), slice(0, source.grid.width)
        for key, values in reader.values.items():
            found = source.read(key, 0, source.steps, rows, cols)
            held = source.region(rows, cols)
            full = values[
                : source.steps, offset[0] : offset[0] + rows.stop, offset[1] : offset[1] + cols.stop
            ]
            np.testing.assert_array_equal(found[:, held], full[:, held])


def _whole_product(folder: Path) -> None:
    """A product that is there has its days, without a hole, and what counts as finished has values."""
    if not (folder / "p.zarr").exists():
        return
    product = open_product(folder / "p.zarr")
    time: Any = product.group["time"]
    np.testing.assert_array_equal(np.asarray(time[:]), FIRST + np.arange(time.shape[0]))
    for day in product.finished_days():
        assert (product.read_day(int(day))["soil_moisture"] != -32768).any()


#: Days of two runs of a daily job.
_ONE, _OTHER = dt.date(2020, 4, 4), dt.date(2020, 4, 6)


def _daily(folder: Path, today: dt.date) -> None:
    daily(folder / "daily.yaml", today=today, settings={"workers": 1})


def _day_before(folder: Path) -> None:
    """A daily job that has run, and what has arrived since."""
    config = SimulationConfig(
        region_pixels=32, first_day=dt.date(2020, 4, 1), last_day=_OTHER, history_days=20, spin_up_days=5,
        validation_stations=0, optical_revisit_days=5, radar_revisit_days=6,
    )  # fmt: skip
    make_bundle(folder / "bundle")
    with tempfile.TemporaryDirectory() as archive:
        region = Region(Path(archive), config)
        region.write_configs(folder, Path("bundle"), tile=32, block_days=4)
        region.deliver(folder, _ONE)
        _daily(folder, _ONE)
        region.deliver(folder, _OTHER)


def _whole_days(folder: Path) -> None:
    """Product and catalogue are those of one run or of the other, and the files are those that items name."""
    product = open_product(folder / "product.zarr")
    assert len(product.finished_days()) == product.days.size in (3, 5)
    assert not product.damaged()
    items = items_of(folder / "maps")
    assert len(items) in (3, 5)
    for item in items:
        for asset in item["assets"].values():
            found = (folder / "maps" / asset["href"]).read_bytes()
            assert asset["file:checksum"] == "1220" + hashlib.sha256(found).hexdigest()


CASES = {
    "a new cube": Case(lambda _: None, lambda f: _build(f, FIRST + 3, _FEW), _whole_cube),
    "days added to a cube": Case(
        lambda f: _build(f, FIRST + 3, _FEW), lambda f: _build(f, FIRST + 19, _FEW), _whole_cube
    ),
    "a new product": Case(_world, lambda f: _predict(f, 5), _whole_product),
    "days added to a product": Case(_with_product(3), lambda f: _predict(f, 5), _whole_product),
    "an export": Case(
        _with_product(2),
        lambda f: export_product(open_product(f / "p.zarr"), f / "maps", workers=1),
        _whole_product,
    ),
    "a daily job": Case(_day_before, lambda f: _daily(f, _OTHER), _whole_days),
}


def run_cases(
    about: str | None, cases: Mapping[str, object], run: Callable[[str, int, int], tuple[int, int]], what: str
) -> None:
    """Run the cases that the command line names, or all; `run` gives how many were tried, and of how many."""
    options = argparse.ArgumentParser(description=about)
    options.add_argument("cases", nargs="*", help=f"of: {', '.join(cases)}")
    options.add_argument("--every", type=int, default=1, help="operations from one to the next")
    options.add_argument("--offset", type=int, default=0, help="operations to leave out at the beginning")
    given = options.parse_args()
    for name in given.cases or cases:
        began = time.monotonic()
        tried, all_of_them = run(name, given.every, given.offset)
        print(f"{name}: {tried} {what} of {all_of_them}, {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    run_cases(__doc__, CASES, lambda name, *how: kill_everywhere(name, CASES[name], *how), "kills")
