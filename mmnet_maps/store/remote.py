"""An address in an object store, with the verbs of a path and those that only object stores have.

An object appears whole: there are no half-written ones. Folders are beginnings of names. Every request is
tried again for about half a minute where the store fails or refuses, and longer where nothing answers.
"""

from __future__ import annotations

import asyncio
import fnmatch
import io
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

from mmnet_maps.errors import InputError, WorkError, needs_extra

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["SCHEMES", "Facts", "Remote", "again_async", "store_at"]

SCHEMES = ("s3", "gs", "az", "http", "https", "memory")
#: Tries of the client itself.
_RETRIES = 8
#: Seconds before a request is tried again, beyond what the client tries itself, and after which a store that
#: does not even refuse is given up.
_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_PATIENCE_S = 60.0
#: Bytes that a file of ranges asks for at once.
_BUFFER = 1 << 18
#: Names in the environment of where a store answers, the first that is set.
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "az": ("AZURE_STORAGE_ENDPOINT",),
}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Facts:
    """What a store reports of an object, under the names of `os.stat_result`.

    Attributes
    ----------
    st_size : int
        Bytes.
    st_mtime_ns : int
        When it was written, by the store's clock.
    st_ino : int
        Always 0.
    tag : str
        Changes with the content.
    """

    st_size: int
    st_mtime_ns: int
    tag: str
    st_ino: int = 0


@dataclass(frozen=True, order=True)
class Remote:
    """An object or folder of an object store.

    Attributes
    ----------
    root : str
        ``s3://bucket``.
    key : str
        Name of the object, or beginning of the names in a folder, without a slash at either end.
    """

    root: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.root}/{self.key}" if self.key else self.root

    def __truediv__(self, name: str | PurePosixPath) -> Remote:
        return Remote(self.root, str(PurePosixPath(self.key, name)).strip("/"))

    @property
    def name(self) -> str:
        """Last part of the name."""
        return PurePosixPath(self.key).name or urlsplit(self.root).netloc

    @property
    def stem(self) -> str:
        """Last part of the name, without its ending."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """Ending of the name, such as ``.zarr``."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> Remote:
        """The folder that it is in."""
        return Remote(self.root, self.key.rpartition("/")[0])

    def with_name(self, name: str) -> Remote:
        """The same with another last part."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> Remote:
        """The same with another ending."""
        return self.with_name(self.stem + suffix)

    def relative_to(self, folder: Remote) -> PurePosixPath:
        """The name as seen from a folder."""
        return PurePosixPath(self.key).relative_to(folder.key)

    def absolute(self) -> Remote:
        """Itself: an address is one everywhere."""
        return self

    resolve = absolute

    # Questions

    def stat(self) -> Facts:
        """Size, time and tag of an object; `FileNotFoundError` where there is none."""
        obstore = _library()

        found = self._ask(lambda: obstore.head(store_at(self.root), self.key))
        when = int(found["last_modified"].timestamp() * 1e9)
        return Facts(int(found["size"]), when, str(found["e_tag"] or found["version"] or when))

    def is_file(self) -> bool:
        """Whether there is an object of this name."""
        try:
            return bool(self.key) and self.stat() is not None
        except FileNotFoundError:
            return False

    def is_dir(self) -> bool:
        """Whether any object's name begins so."""
        return next(self._listed(), None) is not None

    def exists(self) -> bool:
        """Whether it is an object or a folder."""
        return self.is_file() or self.is_dir()

    def iterdir(self) -> Iterator[Remote]:
        """What is in a folder, by name; a folder in it counts once."""
        obstore = _library()

        found = self._ask(
            lambda: obstore.list_with_delimiter(store_at(self.root), self.key or None), folder=True
        )
        names = [*found["common_prefixes"], *(one["path"] for one in found["objects"])]
        yield from (Remote(self.root, key.strip("/")) for key in sorted(names))

    def newest(self) -> str:
        """Changes when an object is put in a folder, or taken away; empty where there is none."""
        obstore = _library()

        found = self._ask(lambda: obstore.list_with_delimiter(store_at(self.root), self.key), folder=True)
        times = [one["last_modified"].timestamp() for one in found["objects"]]
        return f"{max(times)}-{len(times)}" if times else ""

    def glob(self, pattern: str) -> Iterator[Remote]:
        """What is in a folder, and matches a pattern; a ``/`` in it goes a folder down."""
        first, _, rest = pattern.partition("/")
        if rest and not any(mark in first for mark in "*?["):
            yield from (self / first).glob(rest)
            return
        for one in self.iterdir():
            if fnmatch.fnmatchcase(one.name, first):
                yield from one.glob(rest) if rest else [one]

    def files(self) -> list[Remote]:
        """Every object below a folder, by name."""
        return sorted(self._listed())

    def read_bytes(self) -> bytes:
        """Content of an object; `FileNotFoundError` where there is none."""
        obstore = _library()

        def read() -> bytes:
            found = obstore.get(store_at(self.root), self.key)
            data = bytes(found.bytes())
            if len(data) != found.meta["size"]:
                raise EOFError(f"{len(data)} of {found.meta['size']} bytes came")
            return data

        return self._ask(read)

    def read_text(self, encoding: str = "utf-8") -> str:
        """Content of an object as text."""
        return self.read_bytes().decode(encoding)

    def open(self, least: int = _BUFFER) -> BinaryIO:
        """An object to read from in any order; `least` bytes are asked for at once."""
        return io.BufferedReader(_Ranges(self), least)

    def read_range(self, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` (exclusive) of an object."""
        obstore = _library()

        def read() -> bytes:
            return bytes(obstore.get_range(store_at(self.root), self.key, start=start, end=stop))

        return self._ask(read)

    # Changes

    def write_bytes(self, data: bytes | Path) -> None:
        """Put an object, from memory or from a file of this machine; it replaces an older one at once."""
        obstore = _library()

        def put() -> None:
            try:
                obstore.put(store_at(self.root), self.key, data)
            except FileNotFoundError as error:  # of an upload in parts that the store has lost
                raise EOFError(_one_line(error)) from error

        self._ask(put)

    def write_bytes_if(self, data: bytes, tag: str | None) -> str | None:
        """Put an object only where none has come (tag None), or where it is still the one of that tag.

        Returns
        -------
        str or None
            Its tag now; None where another writer came first, and nothing was written.
        """
        obstore, exceptions = _library(), _exceptions()
        mode: Any = "create" if tag is None else {"e_tag": tag}

        def put() -> str | None:
            try:
                done = obstore.put(store_at(self.root), self.key, data, mode=mode, use_multipart=False)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                return None
            return str(done["e_tag"] or done["version"])

        done = self._ask(put)
        if done is None:
            # What was refused may be a second try of a request that had been done.
            try:
                now = self.stat().tag
                return now if now != tag and self.read_bytes() == data else None
            except FileNotFoundError:
                return None
        return done

    def copy_to(self, target: Remote) -> None:
        """Copy an object within its store."""
        obstore = _library()

        self._ask(lambda: obstore.copy(store_at(self.root), self.key, target.key))

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove an object."""
        obstore = _library()

        try:
            self._ask(lambda: obstore.delete(store_at(self.root), self.key))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a folder is there when something is in it."""

    def _listed(self) -> Iterator[Remote]:
        obstore = _library()

        stream: Iterator[Any] = iter(obstore.list(store_at(self.root), self.key or None))
        batch: Any
        while batch := self._ask(lambda: next(stream, []), folder=True):
            yield from (Remote(self.root, one["path"]) for one in batch)

    def _ask(self, request: Callable[[], _Found], folder: bool = False) -> _Found:
        return again(request, f"{self}/" if folder else str(self))


class _Ranges(io.RawIOBase):
    """An object as a file that is read in ranges."""

    def __init__(self, of: Remote) -> None:
        self.of, self.at, self.size = of, 0, of.stat().st_size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        return self.at

    def readinto(self, buffer: Any) -> int:
        stop = min(self.at + len(buffer), self.size)
        if stop <= self.at:
            return 0
        data = self.of.read_range(self.at, stop)
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)


def again(request: Callable[[], _Found], what: str) -> _Found:
    """Do a request, a few times if need be.

    Raises
    ------
    FileNotFoundError
        There is no such object.
    InputError
        The store refuses: credentials, an address that it does not know, a store that only reads.
    WorkError
        The store failed, or could not be reached.
    """
    for pause in _pauses():
        try:
            return request()
        except Exception as error:
            _raise_or_wait(error, what, pause)
            time.sleep(pause or 0)
    raise AssertionError("the last try returns or raises")


async def again_async(request: Callable[[], Awaitable[_Found]], what: str) -> _Found:
    """As `again`, where others may go on meanwhile."""
    for pause in _pauses():
        try:
            return await request()
        except Exception as error:
            _raise_or_wait(error, what, pause)
            await asyncio.sleep(pause or 0)
    raise AssertionError("the last try returns or raises")


def _pauses() -> Iterator[float | None]:
    """Seconds to wait after each try, None after the last; when patience is over the next one is the last."""
    began = time.monotonic()
    for number, pause in enumerate(_PAUSES_S):
        if number and time.monotonic() - began > _PATIENCE_S:
            break
        yield pause
    yield None


def _raise_or_wait(error: Exception, what: str, pause: float | None) -> None:
    told = _told(error, what)
    if told is None and pause is None:
        told = WorkError(f"{what}: the store cannot be reached, or fails: {_one_line(error)}")
    if told is not None:
        raise told from None


def _told(error: Exception, what: str) -> Exception | None:
    """What to raise for an error that no second try mends; None where one may."""
    exceptions = _exceptions()
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(2, "No such object", what)
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        return InputError(f"{what}: the store denies access with the credentials of the environment")
    if isinstance(error, exceptions.NotSupportedError) or "not implemented" in str(error).lower():
        return InputError(
            f"{what}: this kind of store cannot do that; http is for reading only, and lists no folder"
        )
    if isinstance(error, exceptions.BaseError | EOFError | OSError):
        return None
    return error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).partition("Debug source")[0].split())[:300]


def _library() -> Any:
    with needs_extra("cloud", "an object store"):
        import obstore
    return obstore


def _exceptions() -> Any:
    with needs_extra("cloud", "an object store"):
        from obstore import exceptions
    return exceptions


@lru_cache(maxsize=256)
def store_at(address: str) -> ObjectStore:
    """The client of a bucket; credentials and endpoint come from the environment.

    Raises
    ------
    InputError
        The extra ``cloud`` is not installed, or the environment does not fit: plain http goes to this machine
        alone where ``AWS_ALLOW_HTTP`` does not allow more.
    """
    with needs_extra("cloud", "an object store"):
        from obstore.exceptions import BaseError
        from obstore.store import MemoryStore, from_url

    scheme = urlsplit(address).scheme
    if scheme == "memory":
        return MemoryStore()
    options: Any = {"timeout": timedelta(seconds=60), "connect_timeout": timedelta(seconds=5)}
    endpoint = _endpoint(address)
    if urlsplit(endpoint).scheme == "http":
        if not _may_be_plain(endpoint):
            raise InputError(
                f"{endpoint}: plain http is for this machine alone; AWS_ALLOW_HTTP=true allows it"
            )
        options["allow_http"] = True
    pauses = {"init_backoff": timedelta(seconds=0.05), "max_backoff": timedelta(seconds=4), "base": 2}
    again: Any = {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=15), "backoff": pauses}
    try:
        found: ObjectStore = from_url(address, client_options=options, retry_config=again)
        return found
    except (BaseError, ValueError) as error:
        raise InputError(f"{address}: {_one_line(error)}") from None


def _endpoint(address: str) -> str:
    """Where requests go, as far as the address or the environment say."""
    if address.startswith("http"):
        return address
    names = _ENDPOINTS.get(urlsplit(address).scheme, ())
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


def _may_be_plain(endpoint: str) -> bool:
    allowed = os.environ.get("AWS_ALLOW_HTTP", os.environ.get("AZURE_ALLOW_HTTP", ""))
    return urlsplit(endpoint).hostname in _LOOPBACK or allowed.lower() in ("true", "1", "on", "yes")
