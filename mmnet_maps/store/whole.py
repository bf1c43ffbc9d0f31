"""Files and folders that appear under their name only when they are whole.

On a file system they are drafted beside their name and renamed. In an object store each object appears whole
by itself; a folder is marked as a draft by an object of its own while it is written.
"""

from __future__ import annotations

import ctypes
import glob
import hashlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from mmnet_maps.store.location import Location, Remote

__all__ = [
    "appearing",
    "appearing_folder",
    "can_hold",
    "clear_draft",
    "copy_folder",
    "digest_of_file",
    "exchange",
    "files_named",
    "in_parallel",
    "is_draft",
    "is_running",
    "link_copy",
    "local_copy",
    "local_folder",
    "marked",
    "move_file",
    "naming",
    "put_owned",
    "remove_folder",
    "rename",
    "replacing_folder",
    "size_of",
    "take_place",
    "version_of",
    "write_whole",
]

#: Of renameat2 in Linux: paths are relative to the working folder; the two names swap.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
#: In an object store: the object that says of its folder that it is not whole yet.
_DRAFT = ".draft"
#: Requests to an object store at once.
_AT_ONCE = 16
_Item = TypeVar("_Item")
_Found = TypeVar("_Found")
_Place = TypeVar("_Place", bound=Location)


@contextmanager
def appearing(path: Location) -> Iterator[Path]:
    """A draft to write to; it takes its name when the block ends well, and is gone otherwise.

    It is beside `path`, or in a folder of this machine's own where `path` is in an object store. A file that
    is there already is replaced at once, and stays as it was if the block fails. What a writer that was
    killed left behind is cleared.
    """
    if isinstance(path, Remote):
        with local_folder(path) as scratch:
            yield scratch / path.name
            path.write_bytes(scratch / path.name)
        return
    begin = f".{path.name}.{socket.gethostname()}-"
    for old in path.parent.glob(f"{glob.escape(begin)}*.part"):
        process = old.name.removeprefix(begin).removesuffix(".part")
        if not process.isdigit() or int(process) == os.getpid() or not is_running(int(process)):
            old.unlink(missing_ok=True)
    draft = path.with_name(f"{begin}{os.getpid()}.part")
    try:
        with naming(path):
            yield draft
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def appearing_folder(path: Location) -> Iterator[Path]:
    """A draft of a new folder that takes its name when the block ends well; for the holder of its lock.

    What a writer that was killed left behind is cleared. For an object store the draft is a folder of this
    machine; of its files those in its root, such as ``zarr.json``, are put last.
    """
    if isinstance(path, Remote):
        with local_folder(path) as scratch:
            yield scratch / path.name
            with marked(path):
                _put_folder(scratch / path.name, path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.scratch")
    remove_folder(draft)
    try:
        with naming(path):
            yield draft
            draft.replace(path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


@contextmanager
def replacing_folder(path: Location) -> Iterator[Location]:
    """A draft folder that replaces the one of that name in one step; for the holder of its lock.

    An object store cannot replace a folder at once: there the folder itself is the draft, and the caller
    gives each state a name of its own and tells readers of it last (`is_draft`).
    """
    if isinstance(path, Remote):
        remove_folder(path)
        with marked(path):
            yield path
        return
    draft = path.with_name(f".{path.name}.partial")
    remove_folder(draft)
    try:
        with naming(path):
            yield draft
            if not (path.exists() and exchange(draft, path)):
                remove_folder(path)
                draft.replace(path)
    finally:
        remove_folder(draft)


@contextmanager
def marked(path: Remote) -> Iterator[None]:
    """Say of a folder of an object store that it is a draft while the block runs (`is_draft`)."""
    (path / _DRAFT).write_bytes(b"")
    try:
        yield
    except BaseException:
        remove_folder(path)
        raise
    (path / _DRAFT).unlink()


def is_draft(path: Location) -> bool:
    """Whether a folder under its final name is not whole; only in an object store can that be."""
    return isinstance(path, Remote) and (path / _DRAFT).is_file()


def clear_draft(path: Location) -> None:
    """Remove what a killed writer began under this name in an object store; for the holder of its lock."""
    if is_draft(path):
        remove_folder(path)


def _put_folder(source: Path, target: Remote) -> None:
    files = sorted(file for file in source.rglob("*") if file.is_file())
    inner = [file for file in files if file.parent != source]

    def put(file: Path) -> None:
        (target / file.relative_to(source).as_posix()).write_bytes(file)

    in_parallel(put, inner, target)
    for file in files:
        if file.parent == source:
            put(file)


@contextmanager
def local_folder(beside: Location) -> Iterator[Path]:
    """A folder of this machine for drafts of what goes to a location; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=f"mmnet-maps-{beside.name[:40]}-") as scratch:
        yield Path(scratch)


@contextmanager
def local_copy(path: Location) -> Iterator[Path]:
    """A file for readers that know no object store: itself, or a copy of this machine for the block."""
    if isinstance(path, Path):
        yield path
        return
    with local_folder(path) as scratch:
        (scratch / path.name).write_bytes(path.read_bytes())
        yield scratch / path.name


@contextmanager
def naming(path: Location) -> Iterator[None]:
    """Let an error of the system that names no file, such as that of a full disk, name this one."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_whole(path: _Place, content: str | bytes) -> _Place:
    """Write a file as a whole, a text in UTF-8; returns `path`."""
    data = content.encode() if isinstance(content, str) else content
    if isinstance(path, Remote):
        path.write_bytes(data)
        return path
    with appearing(path) as draft:
        draft.write_bytes(data)
    return path


def put_owned(path: Location, data: bytes, check: Callable[[], None]) -> None:
    """Write a file as a whole, if its writer still holds the lock that `check` asks for.

    In an object store the object is replaced only if nobody has put another one since the lock was looked at:
    a writer that sleeps between the two, and has lost the lock when it wakes, changes nothing.
    """
    if not isinstance(path, Remote):
        check()
        write_whole(path, data)
        return
    while True:
        try:
            seen = path.stat().tag
        except FileNotFoundError:
            seen = None
        check()
        if path.write_bytes_if(data, seen) is not None:
            return


def move_file(draft: Path, path: Location) -> None:
    """Give a file that is whole its name; in an object store, put it there."""
    if isinstance(path, Remote):
        path.write_bytes(draft)
        draft.unlink()
    else:
        draft.replace(path)


def digest_of_file(path: Location) -> str | None:
    """SHA-256 of a file; None where there is none."""
    try:
        if isinstance(path, Remote):
            return hashlib.sha256(path.read_bytes()).hexdigest()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def size_of(folder: Location) -> int:
    """Bytes of all files in a folder and below."""
    if isinstance(folder, Remote):
        return sum(in_parallel(lambda file: file.stat().st_size, folder.files(), folder))
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def version_of(path: Location) -> str:
    """Changes when a file is written again, or anything is put in a folder; empty where there is none."""
    try:
        found = path.stat()
        return f"{found.st_mtime_ns:x}.{found.st_ino:x}"
    except OSError:
        return path.newest() if isinstance(path, Remote) else ""


def can_hold(folder: Location) -> bool:
    """Whether something can be written in a folder: it is there, or it is one of an object store."""
    return isinstance(folder, Remote) or folder.is_dir()


def in_parallel(work: Callable[[_Item], _Found], items: Iterable[_Item], where: Location) -> list[_Found]:
    """Do the same to several files: in turn on a file system, at once in an object store, which is far."""
    if not isinstance(where, Remote):
        return [work(item) for item in items]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="store") as pool:
        return list(pool.map(work, items))


def rename(one: Location, other: Location) -> Location:
    """Give a file or folder of a file system another name, at once."""
    assert isinstance(one, Path) and isinstance(other, Path)
    return one.replace(other)


def exchange(one: Location, other: Location) -> bool:
    """Swap what two names of a file system stand for, at once; False where it cannot."""
    assert isinstance(one, Path) and isinstance(other, Path)
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if swap is None:
        return False
    sys.audit("os.rename", one, other, -1, -1)
    return bool(swap(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)


def take_place(draft: Location, path: Location, aside: Location) -> None:
    """Let a draft take the name of a folder of a file system; what had it before stands aside then.

    Without an exchange the name is free for a moment: who clears up after a killed writer puts back what
    stands aside.

    Parameters
    ----------
    draft, path, aside : Path
        `aside` must not be there; it is not there afterwards either if `path` was not.
    """
    if not path.exists():
        rename(draft, path)
    elif exchange(draft, path):
        rename(draft, aside)
    else:
        rename(path, aside)
        rename(draft, path)


def link_copy(source: Location, target: Location) -> None:
    """Copy a folder by linking its files, which is quick and takes no space; a plain copy where links fail.

    Safe where files are replaced and never changed in place, as Zarr does.
    """
    assert isinstance(source, Path)
    shutil.copytree(source, str(target), copy_function=_link, ignore=shutil.ignore_patterns("*.partial"))


def files_named(folder: Location, names: Sequence[str]) -> list[Any]:
    """Files of these names in a folder and below, in order; as paths or remotes, like the folder."""
    found = folder.files() if isinstance(folder, Remote) else folder.rglob("*")
    return sorted(file for file in found if file.name in names)


def copy_folder(source: Location, target: Location, leave: Sequence[str] = (), apart: str = "/") -> None:
    """Copy a folder within an object store, the files in its root last.

    Parameters
    ----------
    source, target : Remote
    leave : sequence of str
        Files in the root that stay.
    apart : str
        Folders in the root whose names begin so stay as well.
    """
    assert isinstance(source, Remote) and isinstance(target, Remote)
    files = [
        file
        for file in source.files()
        if not (name := str(file.relative_to(source))).startswith(apart) and name not in leave
    ]

    def copy(file: Remote) -> None:
        file.copy_to(target / file.relative_to(source))

    in_parallel(copy, [file for file in files if file.parent != source], target)
    in_parallel(copy, [file for file in files if file.parent == source], target)


def remove_folder(path: Location) -> None:
    """Remove a folder with all that is in it; one that is not there is well.

    In an object store the files in its root go first, so that no reader takes for whole what is left, and
    the mark of a draft last.
    """
    if isinstance(path, Remote):
        files = path.files()
        mark = path / _DRAFT
        first = [file for file in files if file.parent == path and file != mark]
        in_parallel(_remove, first, path)
        in_parallel(_remove, [file for file in files if file.parent != path], path)
        if mark in files:
            _remove(mark)
    elif path.exists():
        shutil.rmtree(path)


def _remove(file: Remote) -> None:
    file.unlink(missing_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def is_running(process: int) -> bool:
    """Whether there is a process of that number on this machine."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
