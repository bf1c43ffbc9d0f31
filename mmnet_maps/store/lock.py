"""One writer at a time: a lock beside what is written, which names its owner.

On a file system the system lets go of the lock when its owner ends, however it ends; in an object store its
lease runs out. The name of the run stands in the lock and travels to every worker: one that belongs to a run
which has lost the lock finds another name there, and its writes are refused.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.store.lease import leased
from mmnet_maps.store.location import Location, Remote
from mmnet_maps.store.whole import clear_draft, naming

__all__ = ["check_owner", "sole_writer"]


@contextmanager
def sole_writer(path: Location) -> Iterator[str]:
    """Hold `path` against every other writer while the block runs.

    An error of the system that names no file, such as that of a full disk, names `path`.

    Parameters
    ----------
    path : Path or Remote
        What is to be written; it need not exist. The lock is a hidden file beside it, gone afterwards.

    Yields
    ------
    str
        Name of this run, for `check_owner`.

    Raises
    ------
    InputError
        Another run holds it; the message names that run's machine and process.
    WorkError
        The lease in an object store could not be renewed, and another run may have begun.
    """
    if isinstance(path, Remote):
        with leased(_lock_of(path), path) as run:
            clear_draft(path)
            yield run
        return
    lock = _lock_of(path.absolute())
    made = [folder for folder in lock.parents if not folder.exists()]
    lock.parent.mkdir(parents=True, exist_ok=True)
    run = uuid.uuid4().hex
    try:
        with _locked(lock, path) as file:
            file.truncate(0)
            file.write(json.dumps({"run": run, "host": socket.gethostname(), "process": os.getpid()}))
            file.flush()
            try:
                with naming(path):
                    yield run
            finally:
                lock.unlink(missing_ok=True)
    finally:
        with suppress(OSError):  # folders that hold something stay
            for folder in made:
                folder.rmdir()


def check_owner(path: Location, run: str) -> None:
    """Refuse to go on where a run no longer holds the lock of `path`.

    Raises
    ------
    WorkError
        The run has ended, or another run has the lock.
    """
    owner = _owner(_lock_of(path.absolute()))
    if owner.get("run") != run:
        by = f"; {_described(owner)} writes there now" if owner else ""
        raise WorkError(f"{path}: the run that asked for this unit has ended{by}: nothing is written")


def _lock_of(path: Any) -> Any:
    return path.with_name(f".{path.name}.lock")


@contextmanager
def _locked(lock: Path, path: Path) -> Iterator[IO[str]]:
    while True:
        with lock.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"{path}: another run is writing to it ({_described(_owner(lock))}); wait for its end"
                ) from None
            if _is_at(file, lock):
                yield file
                return


def _is_at(file: IO[str], lock: Path) -> bool:
    """Whether an open file is the one under that name: its owner may have removed it since it was opened."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), lock.stat())
    except FileNotFoundError:
        return False


def _owner(lock: Location) -> dict[str, Any]:
    try:
        found = json.loads(lock.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _described(owner: dict[str, Any]) -> str:
    return f"process {owner.get('process', 'unknown')} on {owner.get('host', 'unknown')}"
