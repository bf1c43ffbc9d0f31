"""Worker processes on this machine: folds are trained and maps are made by the same kind."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

from mmnet_maps.errors import WorkError

__all__ = ["ENVIRONMENT", "local_cluster"]

#: Of a worker process: glibc keeps memory apart for every thread that ever asked, and a worker has several.
ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}
#: Seconds from one look for workers that are not there to the next.
_LOOK_S = 2.0


@contextmanager
def local_cluster(workers: int) -> Iterator[str]:
    """Start processes of one thread each, and stop them when the block ends; those that die are replaced.

    Parameters
    ----------
    workers : int

    Yields
    ------
    str
        Address of their scheduler.
    """
    import dask
    from distributed import LocalCluster

    # dask has its workers give back memory at every turn. Here the same buffers are wanted again at once, and
    # a worker would spend a third of its time on their pages.
    environment = dict(dask.config.get("distributed.nanny.pre-spawn-environ"))
    environment.pop("MALLOC_TRIM_THRESHOLD_", None)
    environment |= ENVIRONMENT
    # dask has no annotations.
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ": environment}),
        tempfile.TemporaryDirectory(prefix="mmnet-maps-") as scratch,
    ):
        try:
            _track_in_silence()
            with _children_ignore_ctrl_c():
                cluster = LocalCluster(  # type: ignore[no-untyped-call]
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=0,
                    dashboard_address="127.0.0.1:0",  # None stands for a fixed port, which another may have
                    # What goes wrong in a task is told by its caller; a slow goodbye of a worker concerns
                    # nobody.
                    silence_logs=logging.CRITICAL,
                    local_directory=scratch,
                )
        except (RuntimeError, TimeoutError) as error:
            raise WorkError(f"worker processes could not be started: {error}") from error
        with cluster, _replaced(cluster, workers):
            yield cluster.scheduler_address


def _track_in_silence() -> None:
    """Start what clears up after processes that are killed; it warns of each, which is news to nobody."""
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (before, "ignore:resource_tracker:UserWarning")))
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


@contextmanager
def _replaced(cluster: Any, workers: int) -> Iterator[None]:
    """Ask for all workers now and then: dask starts one again that died, and gives it up if it dies soon."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK_S):
            cluster.scale(workers)

    thread = threading.Thread(target=look, name="workers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _children_ignore_ctrl_c() -> Iterator[None]:
    """Processes started in here are not reached by Ctrl-C: it is for their parent, which ends them.

    The signal is held back from this thread and not ignored: one that comes meanwhile reaches the parent, at
    the end at the latest.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
