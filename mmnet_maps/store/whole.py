"""Files and folders that appear under their name only when they are whole."""

from __future__ import annotations

import ctypes
import glob
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["appearing", "appearing_folder", "exchange", "link_copy", "naming", "remove_folder", "write_whole"]

#: Of renameat2 in Linux: paths are relative to the working folder; the two names swap.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A draft beside `path` to write to; it takes its name when the block ends well, and is gone otherwise.

    A file that is there already is replaced at once, and stays as it was if the block fails. What a writer
    that was killed left behind is cleared.
    """
    begin = f".{path.name}.{socket.gethostname()}-"
    for old in path.parent.glob(f"{glob.escape(begin)}*.part"):
        if not _is_running(old.name.removeprefix(begin).removesuffix(".part")):
            old.unlink(missing_ok=True)
    draft = path.with_name(f"{begin}{os.getpid()}.part")
    try:
        with naming(path):
            yield draft
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def appearing_folder(path: Path) -> Iterator[Path]:
    """A draft folder beside `path` that takes its name when the block ends well; for the holder of its lock.

    What a writer that was killed left behind is cleared.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.scratch")
    remove_folder(draft)
    try:
        yield draft
        draft.replace(path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the system that names no file, such as that of a full disk, name this one."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_whole(path: Path, text: str) -> Path:
    """Write a text file (UTF-8) as a whole; returns `path`."""
    with appearing(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path


def exchange(one: Path, other: Path) -> bool:
    """Swap what two names stand for, at once; False where the file system cannot."""
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if swap is None:
        return False
    sys.audit("os.rename", one, other, -1, -1)
    return bool(swap(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)


def link_copy(source: Path, target: Path) -> None:
    """Copy a folder by linking its files, which is quick and takes no space; a plain copy where links fail.

    Safe where files are replaced and never changed in place, as Zarr does.
    """
    shutil.copytree(source, target, copy_function=_link, ignore=shutil.ignore_patterns("*.partial"))


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it; one that is not there is well."""
    if path.exists():
        shutil.rmtree(path)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _is_running(process: str) -> bool:
    """Whether another process of that number is there."""
    if not process.isdigit() or int(process) == os.getpid():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
