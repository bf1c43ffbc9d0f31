"""Worker processes on this machine: folds are trained and maps are made by the same kind."""

from __future__ import annotations

import logging
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mmnet_maps.errors import WorkError

__all__ = ["local_cluster"]


@contextmanager
def local_cluster(workers: int) -> Iterator[str]:
    """Start processes of one thread each, and stop them when the block ends.

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
    # dask has no annotations.
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ": environment}),
        tempfile.TemporaryDirectory(prefix="mmnet-maps-") as scratch,
    ):
        try:
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
        with cluster:
            yield cluster.scheduler_address


@contextmanager
def _children_ignore_ctrl_c() -> Iterator[None]:
    """Processes started in here are not reached by Ctrl-C: it is for their parent, which ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
