"""Zarr groups, opened and created where they are stored, and the fast way to decode them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any, Literal

import zarr
import zarrs  # noqa: F401  (makes the pipeline known to zarr)
from zarr.abc.store import ByteRequest, Store
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
    return _patient(str(folder)) if isinstance(folder, Remote) else folder


@cache
def _patient(address: str) -> Store:
    return _Patient(store_at(address))


class _Patient(ObjectStore[Any]):
    """Zarr's store over an object store, with requests that are tried again."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.store,)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        get = super().get
        return await again_async(lambda: get(key, prototype, byte_range), self._name(key))

    async def exists(self, key: str) -> bool:
        exists = super().exists
        return await again_async(lambda: exists(key), self._name(key))

    async def set(self, key: str, value: Buffer) -> None:
        put = super().set
        await again_async(lambda: put(key, value), self._name(key))

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        put = super().set_if_not_exists
        await again_async(lambda: put(key, value), self._name(key))

    async def delete(self, key: str) -> None:
        delete = super().delete
        await again_async(lambda: delete(key), self._name(key))

    async def delete_dir(self, prefix: str) -> None:
        delete_dir = super().delete_dir
        await again_async(lambda: delete_dir(prefix), self._name(prefix))

    async def list_dir(self, prefix: str) -> AsyncGenerator[str, None]:
        list_dir = super().list_dir

        async def listed() -> list[str]:
            return [name async for name in list_dir(prefix)]

        for name in await again_async(listed, self._name(prefix)):
            yield name

    def _name(self, key: str) -> str:
        return f"{self.store}: {key}"
