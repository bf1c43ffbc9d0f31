"""Schedulers and workers that end, fill their memory or never answer: one line, and the job goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mmnet_maps.grid import Grid
from mmnet_maps.prepare.cube.config import Target
from mmnet_maps.prepare.cube.store import build_cube
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.produce.run.predict import Request, predict_product
from tests.killing import content
from tests.produce.conftest import make_bundle, make_readers

_DAYS = ("2020-03-01", "2020-03-04")
#: A unit whose workers, but for that of the run in one process, fill their memory.
_GREEDY = "20200302-r000008-c000000"
_HOG = """
def dask_setup(_):
    import time
    import mmnet_maps.produce.run.workers as workers
    make = workers.run_unit
    def run_unit(job, unit, outside):
        held = []
        while unit.key == {key!r}:
            held.append(b"x" * 2**27)
        time.sleep(0.02)
        return make(job, unit, outside)
    workers.run_unit = run_unit
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle and a cube of 36 units of maps."""
    folder = tmp_path_factory.mktemp("lost")
    grid = Grid("EPSG:32612", (30.0, 0.0, 420_000.0, 0.0, -30.0, 4_100_000.0), 20, 20)
    make_bundle(folder / "bundle")
    readers = list(make_readers(grid, grid.crs, 30.0).values())
    build_cube(Target(grid, None, "test"), readers, folder / "c.zarr")
    return folder


def _command(world: Path, out: Path, *how: str) -> list[str]:
    command = [sys.executable, "-m", "mmnet_maps.cli", "predict", "--bundle", str(world / "bundle")]
    command += ["--cube", str(world / "c.zarr"), "--start", _DAYS[0], "--end", _DAYS[1], "--out", str(out)]
    return [*command, "--tile", "8", "--block-days", "1", *how]


def _run(command: list[str], strike: Callable[[int], object] = lambda _: None) -> tuple[int, list[str]]:
    """Run a command to its end, and strike when it has made some units; its status and what it said."""
    out = Path(command[command.index("--out") + 1])
    environment = {**os.environ, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "2s"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        while process.poll() is None and len(list((out / "ledger").glob("2020*.json"))) < 3:
            time.sleep(0.02)
        strike(process.pid)
        said = process.communicate(timeout=120)[1]
    return process.returncode, [line for line in said.splitlines() if not line.startswith("units: ")]


@contextmanager
def _cluster(folder: Path, workers: int = 1, greedy: str = "") -> Iterator[tuple[str, int, int]]:
    """An external scheduler and its workers: its address, and the processes of both."""
    hog, address = folder / "hog.py", folder / "scheduler.json"
    hog.write_text(_HOG.format(key=greedy))
    dask = [sys.executable, "-m", "dask"]
    # A death counts at once, as starting a worker takes seconds.
    environment = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    given = ["--scheduler-file", str(address)]
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", *given], **quiet
    )
    more = ["--nthreads", "1", "--nworkers", str(workers), "--preload", str(hog), "--memory-limit", "2GB"]
    worker = subprocess.Popen(
        [*dask, "worker", *given, *more, "--no-dashboard", "--local-directory", str(folder)], **quiet
    )
    try:
        while not address.exists() or not (found := re.search(r"tcp://[\d.:]+", address.read_text())):
            time.sleep(0.05)
        yield found[0], scheduler.pid, worker.pid
    finally:
        worker.terminate()
        worker.wait(30)
        scheduler.kill()
        scheduler.wait()


def _workers_of(parent: int) -> list[int]:
    """Processes below one that compute: those that were spawned, but for their resource trackers."""
    found = []
    for task in Path("/proc").glob("[0-9]*"):
        try:
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and b"spawn_main" in (task / "cmdline").read_bytes():
                found.append(int(task.name))
        except OSError:
            continue
    return sorted(found)


def test_a_scheduler_that_does_not_answer_changes_nothing(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "p.zarr"
    status, said = _run(_command(world, out, "--scheduler", "tcp://127.0.0.1:1"))
    assert status == 1
    assert said == [
        "mmnet-maps: --scheduler tcp://127.0.0.1:1: no scheduler answers there; nothing was changed"
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_a_scheduler_and_workers_that_end_while_units_are_made(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.zarr"
    with _cluster(tmp_path, greedy=_GREEDY) as (address, scheduler, nanny):
        # One worker is killed by hand, those that take the greedy unit by their nanny.
        status, said = _run(
            _command(world, out, "--scheduler", address),
            lambda _: [os.kill(p, signal.SIGKILL) for p in _workers_of(nanny)],
        )
        failed = f"unit {_GREEDY} failed: every worker that was given it has ended (out of memory?)"
        told = [line for line in said if "has no workers yet" not in line]
        assert status == 1 and len(told) == 2 and told[0].startswith(failed), said
        product = open_product(out)
        units = {unit.key for unit in product.layout.units()}
        assert units - set(product.ledger.keys()) == {_GREEDY} and not product.damaged()
        # Another product of the same days loses its scheduler.
        lost = tmp_path / "lost.zarr"
        status, said = _run(
            _command(world, lost, "--scheduler", address), lambda _: os.kill(scheduler, signal.SIGKILL)
        )
    assert status == 1 and len(said) == 1, said
    assert re.fullmatch(
        r"mmnet-maps: the scheduler tcp:\S+ is gone; units: \d+ of 36 done; run the same .*", said[0]
    )


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_workers_of_this_machine_that_are_killed(world: Path, tmp_path: Path) -> None:
    plain, out = tmp_path / "plain.zarr", tmp_path / "p.zarr"
    predict_product(Request(world / "bundle", world / "c.zarr", *_DAYS, plain, tile=8, block_days=1))
    command = _command(world, out, "--workers", "2")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (found := _workers_of(process.pid)):
            time.sleep(0.005)
        os.kill(found[0], signal.SIGKILL)
        said = process.communicate(timeout=120)[1].splitlines()
    assert process.returncode == 1 and len(said) == 1 and "could not be started" in said[0], said
    assert not out.exists()
    status, said = _run(command, lambda pid: os.kill(_workers_of(pid)[0], signal.SIGKILL))
    assert status == 0, said
    assert content(out) == content(plain)


def test_a_worker_that_dask_gives_up_is_asked_for_again() -> None:
    import dask
    from distributed import Client

    from mmnet_maps.learn.local_cluster import local_cluster

    # dask waits so long for one to come back; a worker that is retired does not.
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "0.5s"}),
        local_cluster(1) as address,
        Client(address) as client,  # type: ignore[no-untyped-call]
    ):
        client.retire_workers()
        assert client.submit(abs, -1).result(timeout=60) == 1
