"""Cut machines of a cluster off their network while maps are made, join them again, and compare the result.

Four workers, two in each of two network namespaces, join a scheduler over a bridge; an S3 server and the
scheduler are outside. One namespace is cut off in mid-run. By hand, as root, on Linux with iproute2:
``python -m tests.partition``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mmnet_maps.produce.run.workers as workers
from tests.killing import in_a_process
from tests.killing_at_random import commands, prepare
from tests.machines import Machine, run_of, scheduler, server, store_environment, stored, worker
from tests.store.cutting import as_on_disk, on_disk

_OUTSIDE, _SPACES = "10.231.77.1", ("mmnet-a", "mmnet-b")
_S3, _DASK = 39_331, 39_332
#: Seconds that the scheduler waits for a silent worker, as dask has it.
_GIVEN_UP_S = 30.0


def _ip(*given: str) -> None:
    subprocess.run(["ip", *given], check=True)


@contextmanager
def network() -> Iterator[None]:
    """Two namespaces on one bridge."""
    _ip("link", "add", "mmnet-br", "type", "bridge")
    try:
        _ip("addr", "add", f"{_OUTSIDE}/24", "dev", "mmnet-br")
        _ip("link", "set", "mmnet-br", "up")
        for number, space in enumerate(_SPACES):
            _ip("netns", "add", space)
            _ip("link", "add", f"{space}-out", "type", "veth", "peer", "name", "inside", "netns", space)
            _ip("link", "set", f"{space}-out", "master", "mmnet-br", "up")
            for what in ("lo", "inside"):
                _ip("-n", space, "link", "set", what, "up")
            _ip("-n", space, "addr", "add", f"10.231.77.{number + 2}/24", "dev", "inside")
        yield
    finally:
        for space in _SPACES:
            subprocess.run(["ip", "netns", "del", space], check=False)
        _ip("link", "del", "mmnet-br")


def cut(space: str) -> None:
    """Cut a namespace off: packets are lost without a word."""
    _ip("link", "set", f"{space}-out", "down")


def join(space: str) -> None:
    """Join it again."""
    _ip("link", "set", f"{space}-out", "up")


class Trial:
    """A job with its processes.

    Parameters
    ----------
    inputs : Path
        Bundle, sources and settings.
    folder : Path
        For all that is made.
    remote : bool
        In the S3 server, or in a folder that all see, those that are cut off as well.
    pause : float
        Seconds that a worker sleeps before and after a unit is computed.
    """

    def __init__(self, inputs: Path, folder: Path, remote: bool, pause: float) -> None:
        self.folder, self.remote, self.pause = folder, remote, pause
        self.objects, self.root = folder / "objects", folder / "plain"
        self.objects.mkdir(parents=True)
        self.commands = commands(inputs, "s3://bucket/job" if remote else str(self.root))
        self.machines = [server(self.objects, _S3, folder / "server.log", _OUTSIDE)]
        self.workers: dict[str, list[Machine]] = {space: [] for space in _SPACES}

    def cluster(self) -> list[str]:
        """Start a scheduler and four workers; what a command is told of them."""
        self.machines.append(scheduler(_DASK, self.folder / "scheduler.log", _OUTSIDE))
        for space in _SPACES:
            for _ in range(2):
                self.join_worker(space)
        return ["--scheduler", f"tcp://{_OUTSIDE}:{_DASK}"]

    def join_worker(self, space: str) -> None:
        """Start a worker in a namespace."""
        number = sum(map(len, self.workers.values()))
        workers.run_unit = _slow(_RUN_UNIT, self.pause)  # in what is forked
        found = worker(f"tcp://{_OUTSIDE}:{_DASK}", self.folder, self.folder / f"{number}.log", space)
        workers.run_unit = _RUN_UNIT
        self.workers[space].append(found)

    def do(self, step: str) -> None:
        """Do a step to its end."""
        run = run_of(self.commands[step], self.folder / f"{step}.log")
        assert run.wait(200) == 0, self.said(step)

    def said(self, step: str) -> list[str]:
        """Lines that a step printed, but for its counts."""
        lines = (self.folder / f"{step}.log").read_text().splitlines()
        return [
            line for line in lines if line.startswith("mmnet-maps:") or "failed" in line or "File" in line
        ]

    def content(self) -> dict[str, bytes]:
        """What is stored, under the names of files."""
        return as_on_disk(stored(self.objects, "bucket/job/")) if self.remote else on_disk(self.root)

    def units(self) -> int:
        """Units that are in the ledger."""
        if self.remote:
            return sum(name.startswith("p.zarr/ledger/") for name in self.content())
        return len(list((self.root / "p.zarr" / "ledger").glob("*.json")))

    def until_units(self, run: Machine, count: int) -> None:
        """Wait until so many units are made."""
        while run.status() is None and self.units() < count:
            time.sleep(0.2)
        assert run.status() is None, "ended before it was cut off"

    def stop(self) -> None:
        """End all."""
        for machines in (self.machines, *self.workers.values()):
            for machine in machines:
                machine.kill()


_RUN_UNIT = workers.run_unit


def _slow(make: Callable[..., object], pause: float) -> Callable[..., object]:
    def run_unit(*given: object) -> object:
        time.sleep(pause)
        return make(*given)

    return run_unit


def lost_workers(trial: Trial, joined_before_the_end: bool) -> dict[str, float]:
    """Workers are cut off in mid-run, given up by the scheduler, and come back."""
    trial.do("cube")
    told = trial.cluster()
    began = time.monotonic()
    run = run_of([*trial.commands["predict"], *told], trial.folder / "predict.log")
    trial.until_units(run, 10)
    cut(_SPACES[1])
    at_cut, parted = trial.units(), time.monotonic()
    if joined_before_the_end:
        while run.status() is None and time.monotonic() < parted + _GIVEN_UP_S + 10:
            time.sleep(0.2)
        assert run.status() is None, "ended before it was joined again: give --pause"
        join(_SPACES[1])
        for machine in trial.workers[_SPACES[1]]:  # as an operator does where they have ended
            if machine.wait(5) is not None:
                trial.join_worker(_SPACES[1])
    assert run.wait(300) == 0, (trial.folder / "predict.log").read_text()[-3000:]
    facts = {"units at the cut": at_cut, "seconds": time.monotonic() - began}
    if not joined_before_the_end:
        join(_SPACES[1])
    before = trial.content()
    for machine in trial.workers[_SPACES[1]]:
        machine.wait(20)
    assert trial.content() == before, "what came back changed the product"
    facts["cut workers that ended"] = sum(m.status() is not None for m in trial.workers[_SPACES[1]])
    trial.do("export")
    return facts


def lost_run(trial: Trial, on_workers: bool) -> dict[str, float]:
    """A run is cut off its storage for longer than its lease, another takes over, the first comes back."""
    trial.do("cube")
    command = [*trial.commands["predict"], *(trial.cluster() if on_workers else [])]
    workers.run_unit = _slow(_RUN_UNIT, trial.pause)
    first = run_of(command, trial.folder / "first.log", _SPACES[1])
    workers.run_unit = _RUN_UNIT
    trial.until_units(first, 10)
    cut(_SPACES[1])
    began = time.monotonic()
    second = run_of(command, trial.folder / "second.log")
    while second.status() is None and trial.units() < 30:
        time.sleep(0.2)
    join(_SPACES[1])
    facts = {"seconds to take over and 20 units": time.monotonic() - began}
    status = first.wait(300)
    facts["seconds until the first is refused"] = time.monotonic() - began
    assert second.wait(300) == 0, (trial.folder / "second.log").read_text()[-3000:]
    said = trial.said("first")
    assert status == 1 and len(said) == 1, (status, said)
    print(f"  the first said: {said[0]}")
    trial.do("export")
    return facts


TRIALS: dict[str, tuple[bool, Callable[[Trial], dict[str, float]]]] = {
    "store, joined while units are made": (True, lambda t: lost_workers(t, True)),
    "store, joined after the end": (True, lambda t: lost_workers(t, False)),
    "folder, joined while units are made": (False, lambda t: lost_workers(t, True)),
    "folder, joined after the end": (False, lambda t: lost_workers(t, False)),
    "store, the run itself": (True, lambda t: lost_run(t, False)),
    "store, the run itself, on workers": (True, lambda t: lost_run(t, True)),
}


def main() -> None:
    """Do all trials, or those named."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("trials", nargs="*", help=f"of: {'; '.join(TRIALS)}")
    options.add_argument("--pause", type=float, default=2.5, help="seconds that a worker rests before a unit")
    options.add_argument("--keep", type=Path, help="a folder for what is made and said, which stays")
    given = options.parse_args()
    os.environ.update(store_environment(_S3, _OUTSIDE))
    with tempfile.TemporaryDirectory(prefix="partition-") as temporary:
        scratch = given.keep or Path(temporary)
        inputs, plain = scratch / "inputs", scratch / "plain"
        assert in_a_process(lambda: prepare(inputs), inputs)[0] == 0
        for command in commands(inputs, str(plain)).values():
            assert run_of(command, scratch / "plain.log").wait(200) == 0
        expected = on_disk(plain)
        for number, name in enumerate(given.trials or TRIALS):
            remote, work = TRIALS[name]
            with network():
                trial = Trial(inputs, scratch / str(number), remote, given.pause)
                try:
                    facts = work(trial)
                    found = trial.content()
                finally:
                    trial.stop()
            differ = sorted(key for key in {**expected, **found} if expected.get(key) != found.get(key))
            assert not differ, f"{name}: other content of {differ[:5]}, {len(differ)} in all"
            told = ", ".join(f"{what} {number:.0f}" for what, number in facts.items())
            print(f"{name}: identical; {told}", flush=True)


if __name__ == "__main__":
    main()
