"""Zarr groups, opened and created where they are stored, and the fast way to decode them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any, Literal, TypeAlias

import zarr
import zarrs  # noqa: F401  (makes the pipeline known to zarr)
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import ObjectStore

from mmnet_maps.store.location import Location, Remote
from mmnet_maps.store.remote import again_async, store_at

__all__ = ["create_group", "fast_decoding", "open_group"]

_SETTING = Lock()


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
