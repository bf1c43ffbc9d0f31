"""Units in this process, or given to the workers of a dask scheduler, whatever becomes of those."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.learn.local_cluster import local_cluster
from mmnet_maps.produce.run.work import Job, Report, run_unit
from mmnet_maps.produce.units import Unit
from mmnet_maps.progress import say, where

if TYPE_CHECKING:
    from distributed.deploy.cluster import Cluster

__all__ = ["connected", "reports"]

#: A unit of a job, and whether it lies outside the region.
Task = tuple[Job, Unit, bool]
#: How often a unit is tried, and seconds before it is tried again: a disk or a network may come back.
_ATTEMPTS, _PAUSE_S = 3, 0.2
#: Seconds from one look at the number of workers to the next: they come and go.
_LOOK_S = 5.0


@contextmanager
def connected(workers: int, scheduler: str | Cluster | None) -> Iterator[Any]:
    """A dask client of the scheduler, or of so many processes on this machine; None for this process alone.

    Raises
    ------
    InputError
        The address is none.
    WorkError
        The scheduler does not answer, or processes could not be started.
    """
    if scheduler is None and workers == 1:
        yield None
        return
    with (
        local_cluster(workers) if scheduler is None else nullcontext(scheduler) as address,
        _client(address) as client,
    ):
        yield client


def _client(address: str | Cluster) -> Any:
    from distributed import Client

    # A scheduler that is gone is told in one line, not by the log.
    for name in ("distributed.client", "distributed.batched", "distributed.core", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return Client(address)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise InputError(f"--scheduler {address}: expected an address such as tcp://host:8786") from error
    except (TypeError, RuntimeError) as error:
        if not str(address).startswith("tls"):
            raise
        raise InputError(
            f"--scheduler {address}: wants certificates: name them in dask's configuration "
            "(distributed.comm.tls), or give the cluster itself from Python"
        ) from error
    except OSError as error:  # a time-out is one
        raise WorkError(f"--scheduler {address}: no scheduler answers there; nothing was changed") from error


def reports(tasks: Iterator[Task], client: Any) -> Iterator[Report]:
    """Make units; what goes wrong with one is told in its report, and the others go on.

    Raises
    ------
    WorkError
        The scheduler is gone.
    """
    if client is None:
        return (_guarded(*task) for task in tasks)
    return _on_dask(tasks, client)


def _guarded(job: Job, unit: Unit, outside: bool) -> Report:
    """Run a unit, a few times if need be."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return run_unit(job, unit, outside)
        except Exception as error:
            if attempt == _ATTEMPTS or isinstance(error, InputError):
                return Report(unit.key, error=_one_line(error))
            time.sleep(_PAUSE_S * attempt)
    raise AssertionError("the last attempt returns")


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:400]


def _on_dask(tasks: Iterator[Task], client: Any) -> Iterator[Report]:
    """Units that took their workers with them are tried again at the end, one at a time.

    dask counts the death of a worker against all that it had been given; alone, only the guilty unit fails.
    """
    from distributed import KilledWorker

    again: list[Task] = []
    for task, report, error in _in_flight(tasks, client, _flight_of(client)):
        if isinstance(error, KilledWorker):
            again.append(task)
        else:
            yield report or Report(task[1].key, error=_one_line(error))
    for task, report, error in _in_flight(iter(again), client, lambda: 1):
        if isinstance(error, KilledWorker):
            said = "every worker that was given it has ended (out of memory?); the workers' logs may say why"
            report = Report(task[1].key, error=said)
        yield report or Report(task[1].key, error=_one_line(error))


def _flight_of(client: Any) -> Callable[[], int]:
    """A few units a worker, so that memory does not grow with the number of units."""
    looked, found = 0.0, 0

    def flight() -> int:
        nonlocal looked, found
        if found == 0 or time.monotonic() - looked > _LOOK_S:
            threads = sum(client.nthreads().values())
            if threads == 0 and looked == 0:
                say(f"the scheduler {client.scheduler.address} has no workers yet; units wait for the first")
            looked, found = time.monotonic(), 2 * max(1, threads)
        return found

    return flight


def _in_flight(
    tasks: Iterator[Task], client: Any, flight: Callable[[], int]
) -> Iterator[tuple[Task, Any, Any]]:
    """Each task with its report or its error, as they come."""
    from distributed import as_completed

    given: dict[str, Task] = {}
    address = client.scheduler.address
    running = as_completed([])  # type: ignore[no-untyped-call]

    def give() -> None:
        for task in islice(tasks, max(0, flight() - len(given))):
            name = f"unit-{uuid.uuid4().hex}"
            given[name] = task
            running.add(client.submit(_guarded, *task, key=name, pure=False))  # type: ignore[no-untyped-call]

    try:
        give()
        for future in running:
            error = future.exception()
            if isinstance(error, CancelledError):
                raise error
            task = given.pop(future.key)
            yield task, None if error is not None else future.result(), error
            future.release()
            give()
    except (CancelledError, OSError) as error:
        raise _gone(address) from error


def _gone(address: str) -> WorkError:
    return WorkError(f"the scheduler {address} is gone; {where()}; run the same command again to go on")
