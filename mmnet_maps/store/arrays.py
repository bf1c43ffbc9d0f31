"""Zarr groups, opened and created where they are stored, and the fast way to decode them."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any, Literal, TypeAlias

import numpy as np
import zarr
import zarrs  # noqa: F401  (makes the pipeline known to zarr)
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import ObjectStore

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.store.location import Location, Remote
from mmnet_maps.store.remote import again_async, store_at

__all__ = [
    "create_group",
    "fast_decoding",
    "open_group",
    "reading",
    "refuse_huge_chunks",
    "stored_days",
]

_SETTING = Lock()
#: Bytes of a chunk, and chunks of a shard, that none has that was written in earnest; metadata that say so
#: would take the memory at the first read.
_LARGEST_CHUNK, _MOST_CHUNKS = 2 << 30, 1 << 20
#: Longest time axis that is read: three centuries of days.
_MOST_DAYS = 110_000


def open_group(folder: Location, mode: Literal["r", "r+"] = "r", **how: Any) -> zarr.Group:
    """Open the Zarr group in a folder; `how` is for `zarr.open_group`."""
    return zarr.open_group(_zarr_store(folder), mode=mode, **how)


def create_group(
    folder: Location, attributes: Mapping[str, Any], zarr_format: Literal[2, 3] = 3
) -> zarr.Group:
    """Create a Zarr group in a folder that is not there yet."""
    return zarr.create_group(_zarr_store(folder), zarr_format=zarr_format, attributes=dict(attributes))


@contextmanager
def fast_decoding() -> Iterator[None]:
    """Arrays opened in here are decoded by the Rust pipeline, several times faster than by Zarr's own.

    Zarr knows the pipeline as a global setting, which is read when an array is opened and put back here.
    What is written is written without it: it orders the chunks of a shard as its threads finish, and bytes
    would differ. It reads files of this machine alone; for object stores Zarr falls back on its own.
    """
    with _SETTING, zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        yield


def refuse_huge_chunks(what: object, arrays: Mapping[str, zarr.Array[Any]]) -> None:
    """`InputError` where chunks are empty, or larger or more in a shard than are ever written.

    Parameters
    ----------
    what : object
        What holds the arrays, for the message.
    arrays : mapping of str to zarr.Array
    """
    for name, array in arrays.items():
        chunks, shards = array.chunks, array.shards or array.chunks
        size = math.prod(chunks) * np.dtype(array.dtype).itemsize
        if min(chunks, default=1) < 1 or size > _LARGEST_CHUNK:
            raise InputError(
                f"{what}: {name} has chunks {chunks}, expected 1 to {_LARGEST_CHUNK:,} bytes in each"
            )
        if math.prod(-(-s // c) for s, c in zip(shards, chunks, strict=True)) > _MOST_CHUNKS:
            raise InputError(
                f"{what}: {name} has chunks {chunks} in shards {shards}, expected at most {_MOST_CHUNKS:,}"
            )


def stored_days(what: object, time: zarr.Array[Any]) -> NDArray[np.int64]:
    """Days since 1970-01-01 of a time axis; `InputError` where it does not hold such days in order."""
    if time.ndim != 1 or time.shape[0] > _MOST_DAYS:
        raise InputError(f"{what}: time has shape {time.shape}, expected at most {_MOST_DAYS:,} days")
    with reading(time):
        days = np.asarray(time[:])
    if days.dtype.kind != "i" or (np.diff(days) <= 0).any() or (np.abs(days) > _MOST_DAYS).any():
        raise InputError(f"{what}: time does not hold days since 1970-01-01 in order")
    return days.astype(np.int64)


@contextmanager
def reading(array: zarr.Array[Any], more: str = "") -> Iterator[None]:
    """Around the reading of an array: `WorkError` that names it where what is stored cannot be decoded."""
    try:
        yield
    except (InputError, WorkError, MemoryError):
        raise
    except Exception as error:
        raise WorkError(
            f"{array.store_path}: stored values cannot be read ({error!s:.200}): "
            f"lost or changed on disk?{more}"
        ) from error


def _zarr_store(folder: Location) -> Any:
    return _Patient(folder) if isinstance(folder, Remote) else folder


# Inside the class ``list`` is a method.
_Names: TypeAlias = list[str]


class _Patient(ObjectStore[Any]):
    """Zarr's store over a folder of an object store, with requests that are tried again."""

    def __init__(self, folder: Remote, *, read_only: bool = False) -> None:
        super().__init__(store_at(folder.root), read_only=read_only)
        self.folder = folder

    def with_read_only(self, read_only: bool = False) -> _Patient:
        return _Patient(self.folder, read_only=read_only)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Patient, (self.folder,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Patient) and self.folder == other.folder

    def __str__(self) -> str:
        return str(self.folder)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        get, name = super().get, self._key(key)
        return await again_async(lambda: get(name, prototype, byte_range), self._told(key))

    async def exists(self, key: str) -> bool:
        exists, name = super().exists, self._key(key)
        return await again_async(lambda: exists(name), self._told(key))

    async def set(self, key: str, value: Buffer) -> None:
        put, name = super().set, self._key(key)
        await again_async(lambda: put(name, value), self._told(key))

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        put, name = super().set_if_not_exists, self._key(key)
        await again_async(lambda: put(name, value), self._told(key))

    async def delete(self, key: str) -> None:
        delete, name = super().delete, self._key(key)
        await again_async(lambda: delete(name), self._told(key))

    async def delete_dir(self, prefix: str) -> None:
        for key in await self._listed(super().list_prefix, f"{prefix}/"):
            await self.delete(key.removeprefix(self._key("")))

    async def list(self) -> AsyncGenerator[str, None]:
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncGenerator[str, None]:
        for key in await self._listed(super().list_prefix, prefix):
            yield key.removeprefix(self._key(""))

    async def list_dir(self, prefix: str) -> AsyncGenerator[str, None]:
        for name in await self._listed(super().list_dir, prefix):
            yield name

    async def _listed(self, names: Callable[[str], AsyncGenerator[str, None]], prefix: str) -> _Names:
        async def collected() -> _Names:
            return [name async for name in names(self._key(prefix).rstrip("/"))]

        return await again_async(collected, f"{self._told(prefix)}/")

    def _key(self, key: str) -> str:
        return f"{self.folder.key}/{key}".lstrip("/")

    def _told(self, key: str) -> str:
        return f"{self.folder}/{key}"
