"""Processes that stand for the machines of a cluster: an S3 server, a scheduler, workers, and runs.

Each is forked from this process, which has loaded everything and done nothing, so that it is at work within
moments; each can be killed, and can be in a network namespace of its own.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import distributed.cli.dask_scheduler as dask_scheduler
import distributed.cli.dask_worker as dask_worker

import mmnet_maps.cli
from mmnet_maps.produce.run import predict  # noqa: F401  (loaded once, for all that are forked)
from tests.store.s3 import Objects, Server

__all__ = ["Machine", "run_of", "scheduler", "server", "store_environment", "stored", "worker"]

_CLONE_NEWNET = 0x40000000


class Machine:
    """A process that does some work, and what it said.

    Parameters
    ----------
    work : callable
    log : Path
        Gets what it says; one that is there is continued.
    namespace : str
        Network namespace of ``ip netns`` that it is in; by default that of this process.
    """

    def __init__(self, work: Callable[[], object], log: Path, namespace: str = "") -> None:
        self.log = log
        self._status: int | None = None
        self.process = os.fork()
        if self.process == 0:
            os._exit(_status_of(work, log, namespace))

    def status(self) -> int | None:
        """Exit status, or minus the signal; None while it runs."""
        if self._status is None:
            found, status = os.waitpid(self.process, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if found else None
        return self._status

    def wait(self, seconds: float) -> int | None:
        """Its exit status as soon as it ends, None if it still runs after so many seconds."""
        until = time.monotonic() + seconds
        while self.status() is None and time.monotonic() < until:
            time.sleep(0.01)
        return self.status()

    def kill(self) -> None:
        """End it as if its power were cut."""
        if self.status() is None:
            os.kill(self.process, signal.SIGKILL)
            self.wait(10)


def _status_of(work: Callable[[], object], log: Path, namespace: str) -> int:
    try:
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        if namespace:
            _enter(namespace)
        work()
    except SystemExit as ended:
        return int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
        return 70
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
    return 0


def _enter(namespace: str) -> None:
    file = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(file, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"network namespace {namespace}: cannot be entered")


def server(folder: Path, port: int, log: Path, host: str = "127.0.0.1", faults: float = 0.0) -> Machine:
    """An S3 server whose objects stand in a folder, and of which a share of requests fails."""

    def serve() -> None:
        Server(faults, time.time_ns(), folder, port, host)
        signal.pause()

    return Machine(serve, log)


def store_environment(port: int, host: str = "127.0.0.1") -> dict[str, str]:
    """What users of the server set."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
    return {**keys, "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ALLOW_HTTP": "true"}


def stored(folder: Path, prefix: str) -> dict[str, bytes]:
    """Objects that a server keeps in a folder, by the rest of their names."""
    held = Objects(folder).held
    return {key.removeprefix(prefix): held[key][0] for key in sorted(held) if key.startswith(prefix)}


def scheduler(port: int, log: Path, host: str = "127.0.0.1") -> Machine:
    """A dask scheduler."""
    given = ["--host", host, "--port", str(port), "--no-dashboard", "--no-show"]
    return Machine(lambda: _dask(dask_scheduler, given), log)


def worker(address: str, scratch: Path, log: Path, namespace: str = "") -> Machine:
    """A dask worker without a nanny."""
    given = [address, "--no-nanny", "--nthreads", "1", "--memory-limit", "0", "--no-dashboard"]
    return Machine(lambda: _dask(dask_worker, [*given, "--local-directory", str(scratch)]), log, namespace)


def _dask(module: Any, given: list[str]) -> None:
    module.main(given, standalone_mode=False)


def run_of(command: list[str], log: Path, namespace: str = "") -> Machine:
    """A command of ``mmnet-maps``."""

    def run() -> None:
        sys.argv = ["mmnet-maps", *command]
        mmnet_maps.cli.main()

    return Machine(run, log, namespace)
