"""Stored objects of a product: made in memory, put in place whole, known by their digests.

An object is the shard of one layer that one unit owns. It is encoded aside, so that it depends on its values
alone and never on what was there, and its digest is that of what was meant to be written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore, StorePath

from mmnet_maps.store.location import Location, Remote
from mmnet_maps.store.whole import put_owned

__all__ = ["day_digests", "digest", "encoded", "lengthen", "put"]

#: Characters of a day's digest that are kept: 128 bits.
_KEPT = 32


def encoded(
    array: zarr.Array[Any], chunk: tuple[int, ...], where: tuple[slice, ...], values: NDArray[Any]
) -> bytes | None:
    """What Zarr stores for a chunk (or shard) that holds `values` at `where` and is missing elsewhere.

    Returns
    -------
    bytes or None
        None where all is missing: nothing is stored.
    """
    held: dict[str, Buffer] = {}
    _array(array, array.metadata, StorePath(MemoryStore(held)))[where] = values
    found = held.get(array.metadata.encode_chunk_key(chunk))
    return None if found is None else found.to_bytes()


def put(path: Location, data: bytes | None, check: Callable[[], None] = lambda: None) -> None:
    """Put an object in place at once, or take it away; what killed writers left beside it goes.

    Only the one owner of the object may call this; `check` raises where that is another one.
    """
    if not isinstance(path, Remote) and path.parent.is_dir():
        for draft in path.parent.glob(f".{path.name}.*.part"):
            draft.unlink(missing_ok=True)
    if data is None:
        check()
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    put_owned(path, data, check)


def digest(data: bytes | None) -> str | None:
    """SHA-256 of an object; None where nothing is stored."""
    return None if data is None else hashlib.sha256(data).hexdigest()


def day_digests(values: Mapping[str, NDArray[Any]]) -> list[str]:
    """Digest of the stored values of every layer, day by day.

    Parameters
    ----------
    values : mapping of str to ndarray, shape (days, rows, columns)
        Of all layers, by name.
    """
    names = sorted(values)
    found = []
    for day in range(len(values[names[0]])):
        seen = hashlib.sha256()
        for name in names:
            seen.update(np.ascontiguousarray(values[name][day]).data)
        found.append(seen.hexdigest()[:_KEPT])
    return found


def lengthen(folder: Location, array: zarr.Array[Any], values: NDArray[Any]) -> None:
    """Give an array of one chunk more values, at once.

    The chunk is written first, beyond the end that readers know of; the new length then shows all of it.
    """
    longer = array.metadata.update_shape(values.shape)
    aside = _array(array, longer, array.store_path)
    first = (0,) * values.ndim
    whole = tuple(slice(0, n) for n in values.shape)
    put(folder / array.metadata.encode_chunk_key(first), encoded(aside, first, whole, values))
    array.resize(values.shape)


def _array(like: zarr.Array[Any], metadata: Any, path: StorePath) -> zarr.Array[Any]:
    """An array that is written as another one is, with other metadata or elsewhere."""
    return zarr.Array(zarr.AsyncArray(metadata, path, like.async_array.config))
