"""Kill the processes of a whole job at random moments, repeat each command until it is done, compare.

The job builds a cube, makes 64 units of maps on a dask scheduler with two workers, and exports them; all of
it stands in an S3 server of this machine, of whose requests one of a hundred fails. Killed are the run, a
worker, the scheduler and the server. What an operator would do is done: the others are started again after a
while, and a run that ended is run again.

By hand: ``python -m tests.killing_at_random --kills 60 --seed 1``.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import random
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import yaml

from mmnet_maps.simulated import SimulationConfig, cube_settings, simulate_region
from tests.killing import in_a_process
from tests.machines import Machine, run_of, scheduler, server, store_environment, stored, worker
from tests.produce.conftest import make_bundle
from tests.store.cutting import as_on_disk, on_disk

_FIRST, _LAST = dt.date(2020, 4, 1), dt.date(2020, 4, 8)
#: What can be killed in each step, as often as it stands here.
_VICTIMS = {
    "cube": ("run", "run", "server"),
    "predict": ("run", "run", "worker", "worker", "scheduler", "server"),
    "export": ("run", "run", "server"),
}
#: Kills of a step until it is left to end, and seconds that a command may take then.
_MOST = {"cube": 3, "predict": 8, "export": 3}
_PATIENCE_S = 600.0
#: Seconds from one kill to the next, at most; where the step takes less, that.
_SPAN_S = 8.0
#: Share of requests to the server that fail.
_FAULTS = 0.01


def commands(inputs: Path, root: str) -> dict[str, list[str]]:
    """The commands of the job, by step."""
    bundle, cube, product = str(inputs / "bundle"), f"{root}/c.zarr", f"{root}/p.zarr"
    days = ["--start", str(_FIRST), "--end", str(_LAST), "--tile", "32", "--block-days", "2"]
    return {
        "cube": ["cube", "build", "--config", str(inputs / "cube.yaml"), "--out", cube],
        "predict": ["predict", "--bundle", bundle, "--cube", cube, "--out", product, *days],
        "export": ["export", "--product", product, "--out", f"{root}/maps", "--zarr"],
    }


def prepare(inputs: Path) -> None:
    """A simulated region of 128 x 128 pixels, and an untrained network."""
    config = SimulationConfig(
        region_pixels=128, first_day=_FIRST, last_day=_LAST, history_days=40, spin_up_days=5,
        validation_stations=0, optical_revisit_days=5, radar_revisit_days=6,
    )  # fmt: skip
    simulate_region(config, inputs)
    (inputs / "cube.yaml").write_text(yaml.safe_dump(cube_settings(config)))
    make_bundle(inputs / "bundle")


class Cluster:
    """A server, a scheduler and two workers, which are started again when they have ended."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        self.objects = folder / "objects"
        self.objects.mkdir(parents=True)
        with socket.socket() as one, socket.socket() as other:
            for free in (one, other):
                free.bind(("127.0.0.1", 0))
            self.ports = one.getsockname()[1], other.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.ports[1]}"
        os.environ.update(store_environment(self.ports[0]))
        self._begin: dict[str, Callable[[], Machine]] = {
            "server": lambda: server(self.objects, self.ports[0], folder / "server.log", faults=_FAULTS),
            "scheduler": lambda: scheduler(self.ports[1], folder / "scheduler.log"),
        }
        for name in ("worker 1", "worker 2"):
            self._begin[name] = lambda name=name: worker(self.address, folder, folder / f"{name}.log")
        self.machines = {name: begin() for name, begin in self._begin.items()}
        self._again: dict[str, float] = {}

    def look(self) -> None:
        """Start again what has ended some seconds ago."""
        now = time.monotonic()
        for name, machine in self.machines.items():
            if machine.status() is not None:
                pause = self.chance.uniform(1, 4) if name == "server" else 0.5
                if now > self._again.setdefault(name, now + pause):
                    self.machines[name] = self._begin[name]()
                    del self._again[name]

    def kill(self, kind: str) -> bool:
        """Kill one of a kind; False where none is there."""
        there = [m for name, m in self.machines.items() if name.startswith(kind) and m.status() is None]
        if there:
            self.chance.choice(there).kill()
        return bool(there)

    def stop(self) -> None:
        """End all."""
        for machine in self.machines.values():
            machine.kill()


def _finish(
    name: str, command: list[str], cluster: Cluster, kills: int, span: float, counts: Counter[str]
) -> int:
    """Run a command until it is done, and kill meanwhile; how often."""
    chance, done = cluster.chance, 0
    log = cluster.folder / f"{name}.log"
    while True:
        run = run_of(command, log)
        counts["runs"] += 1
        began = time.monotonic()
        moment = began + chance.uniform(0.2, span)
        while (status := run.wait(0.05)) is None:
            cluster.look()
            assert time.monotonic() - began < _PATIENCE_S, f"{name} does not end: {log.read_text()[-2000:]}"
            if done == kills or time.monotonic() < moment:
                continue
            kind = chance.choice(_VICTIMS[name])
            if kind == "run":
                run.kill()
            elif not cluster.kill(kind):
                continue
            done += 1
            counts[f"{kind} in {name}"] += 1
            moment = time.monotonic() + chance.uniform(0.2, span)
        said = log.read_text()
        assert "Traceback" not in said, said[-3000:]
        if status == 0:
            return done
        assert status in (1, -9), f"{name}: status {status}: {said[-2000:]}"
        if status == 1:
            counts[f"status 1 of {name}"] += 1


def kill_at_random(kills: int, seed: int, scratch: Path) -> Counter[str]:
    """Do the job again and again, until so many kills were made; how many of which kind.

    Raises
    ------
    AssertionError
        A command does not finish, says more than it should, or the result differs.
    """
    inputs, plain = scratch / "inputs", scratch / "plain"
    assert in_a_process(lambda: prepare(inputs), inputs)[0] == 0
    span = {}
    for name, command in commands(inputs, str(plain)).items():
        began = time.monotonic()
        run = run_of(command, scratch / "plain.log")
        assert run.wait(_PATIENCE_S) == 0, (scratch / "plain.log").read_text()[-2000:]
        span[name] = min(_SPAN_S, time.monotonic() - began)
    expected, counts = on_disk(plain), Counter[str]()
    done = 0
    while done < kills:
        counts["jobs"] += 1
        folder = scratch / f"job-{counts['jobs']}"
        cluster = Cluster(folder, random.Random(seed + counts["jobs"]))
        try:
            for name, command in commands(inputs, "s3://bucket/job").items():
                given = [*command, "--scheduler", cluster.address] if name == "predict" else command
                most = min(_MOST[name], kills - done)
                done += _finish(name, given, cluster, most, span[name], counts)
        finally:
            cluster.stop()
        found = as_on_disk(stored(cluster.objects, "bucket/job/"))
        differ = sorted(key for key in {**expected, **found} if expected.get(key) != found.get(key))
        assert not differ, f"job {counts['jobs']}: other content of {differ[:5]}, {len(differ)} in all"
    return counts


def main() -> None:
    """Print the kills by kind."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=60)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--keep", type=Path, help="a folder for what is made and said, which stays")
    given = options.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="killing-") as scratch:
        counts = kill_at_random(given.kills, given.seed, given.keep or Path(scratch))
    for kind, number in sorted(counts.items()):
        print(f"{kind}: {number}")
    print(f"{given.kills} kills, every result that of the undisturbed job; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
