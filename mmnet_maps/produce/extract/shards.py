"""Single pixels of a sharded array on disk: a shard is opened once, and no more is decoded than pixels need.

A shard (Zarr format 3, ``sharding_indexed``) is a file of compressed chunks with an index of their places at
its end. A chunk that Blosc wrote is a header and blocks that are compressed each for itself
(https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst), so that the blocks of a few pixels can
be decoded without the others. Bytes are checked against their CRC-32C before.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs import blosc  # type: ignore[import-untyped]
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec
from zarr.codecs.sharding import ShardingCodecIndexLocation
from zarr.core.metadata import ArrayV3Metadata
from zarr.storage import LocalStore

from mmnet_maps.errors import WorkError

__all__ = ["ShardReader", "shard_reader"]

Index = NDArray[np.int64]

_HEADER, _CRC = 16, 4
#: The bit of the header's flags for a chunk stored as it is; the place of a chunk that is not there.
_PLAIN, _NONE = 2, 2**64 - 1
#: Share of the blocks of a chunk from which on the whole chunk is decoded.
_MOST = 0.6


def shard_reader(array: zarr.Array[Any]) -> ShardReader | None:
    """A reader of an array that is stored as products are; None for one that is stored otherwise."""
    metadata, store = array.metadata, array.store
    if not (isinstance(metadata, ArrayV3Metadata) and isinstance(store, LocalStore) and array.ndim == 3):
        return None
    codec = metadata.codecs[0] if len(metadata.codecs) == 1 else None
    if not isinstance(codec, ShardingCodec) or codec.index_location is not ShardingCodecIndexLocation.end:
        return None
    inner = [type(part) for part in codec.codecs]
    index = [type(part) for part in codec.index_codecs]
    plain = np.dtype(array.dtype).kind in "iuf" and np.little_endian
    if not plain or inner not in ([BytesCodec, BloscCodec], [BytesCodec, BloscCodec, Crc32cCodec]):
        return None
    if index != [BytesCodec, Crc32cCodec] or array.shards is None:
        return None
    return ShardReader(array, Path(store.root) / array.path, metadata, Crc32cCodec in inner)


class ShardReader:
    """See `shard_reader`.

    Parameters
    ----------
    array : zarr.Array
    folder : Path
        Where it is stored.
    metadata : ArrayV3Metadata
    checked : bool
        Whether every chunk ends with a CRC-32C of its bytes.
    """

    def __init__(
        self, array: zarr.Array[Any], folder: Path, metadata: ArrayV3Metadata, checked: bool
    ) -> None:
        assert array.shards is not None
        self.folder, self._metadata, self._has_crc = folder, metadata, checked
        self._shard, self._chunk, self._dtype = array.shards, array.chunks, np.dtype(array.dtype)
        self._fill = array.fill_value
        self._per = tuple(s // c for s, c in zip(self._shard, self._chunk, strict=True))

    def pixels(
        self, begin: int, end: int, row: Index, col: Index, pool: Executor
    ) -> tuple[NDArray[Any], list[Future[None]]]:
        """Values of pixels over steps ``begin`` to ``end`` (exclusive), (steps, pixels), and what fills them.

        Returns
        -------
        values : ndarray
            Complete when the others are.
        waiting : list of Future
        """
        out = np.full((end - begin, row.size), self._fill, self._dtype)
        parts = list(_grouped(row // self._shard[1], col // self._shard[2]))
        high = self._shard[0]
        waiting = [
            pool.submit(self._read, step, at, begin, end, row, col, out)
            for at in parts
            for step in range(begin // high, -(-end // high))
        ]
        return out, waiting

    def _read(
        self, step: int, at: Index, begin: int, end: int, row: Index, col: Index, out: NDArray[Any]
    ) -> None:
        """The pixels of one shard, into `out`."""
        place = step, int(row[at[0]]) // self._shard[1], int(col[at[0]]) // self._shard[2]
        path = self.folder / self._metadata.encode_chunk_key(place)
        try:
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            # What was never written has the fill value.
            return
        try:
            index = self._index(file)
            r, c = row[at] - place[1] * self._shard[1], col[at] - place[2] * self._shard[2]
            for some in _grouped(r // self._chunk[1], c // self._chunk[2]):
                down, across = int(r[some[0]]) // self._chunk[1], int(c[some[0]]) // self._chunk[2]
                inside = r[some] % self._chunk[1] * self._chunk[2] + c[some] % self._chunk[2]
                for k in range(self._per[0]):
                    first = step * self._shard[0] + k * self._chunk[0]
                    low, high = max(first, begin), min(first + self._chunk[0], end)
                    start, length = (int(v) for v in index[k, down, across])
                    if high <= low or start == _NONE:
                        continue
                    days = np.arange(low - first, high - first, dtype=np.int64)
                    element = days[:, None] * (self._chunk[1] * self._chunk[2]) + inside
                    stored = (_checked if self._has_crc else _pread)(file, start, length)
                    out[low - begin : high - begin, at[some]] = self._values(stored, element)
        except (ValueError, RuntimeError, OSError, OverflowError, MemoryError) as error:
            raise WorkError(
                f"{path}: stored values cannot be read ({error}): lost or changed on disk?"
            ) from None
        finally:
            os.close(file)

    def _index(self, file: int) -> NDArray[np.uint64]:
        """Start and length of every chunk of a shard, shape (chunks by axis, 2)."""
        whole = 16 * int(np.prod(self._per)) + _CRC
        start = os.fstat(file).st_size - whole
        if start < 0:
            raise ValueError(f"shorter than its index of {whole} bytes")
        return np.frombuffer(_checked(file, start, whole), "<u8").reshape(*self._per, 2)

    def _values(self, stored: bytes, element: Index) -> NDArray[Any]:
        """Elements of a stored chunk."""
        scratch = _SCRATCH.held()
        blocks = _Blocks.of(stored, int(np.prod(self._chunk)) * self._dtype.itemsize)
        of = element * self._dtype.itemsize // blocks.size
        wanted = np.unique(of)
        if blocks.plain or wanted.size > _MOST * blocks.count:
            whole: NDArray[Any] = scratch.decoded(stored, blocks.length, self._dtype)[element]
            return whole
        part = scratch.decoded(blocks.only(stored, wanted), wanted.size * blocks.size, self._dtype)
        each = blocks.size // self._dtype.itemsize
        found: NDArray[Any] = part[np.searchsorted(wanted, of) * each + element % each]
        return found


@dataclass(frozen=True)
class _Blocks:
    """The blocks of a chunk that Blosc wrote."""

    size: int
    count: int
    length: int
    plain: bool

    @classmethod
    def of(cls, stored: bytes, expected: int) -> _Blocks:
        """From the header; `ValueError` for one that does not fit."""
        if len(stored) < _HEADER:
            raise ValueError(f"{len(stored)} bytes")
        length, size, whole = (int(v) for v in np.frombuffer(stored, "<u4", 3, 4))
        if length != expected or whole != len(stored) or size < 1:
            raise ValueError(f"{length} bytes in {whole}, expected {expected} in {len(stored)}")
        count = -(-length // size)
        # A last block that is shorter, and a short chunk, are read with the whole.
        return cls(size, count, length, bool(stored[2] & _PLAIN) or length % size != 0 or count == 1)

    def only(self, stored: bytes, wanted: Index) -> bytes:
        """A chunk of these blocks alone."""
        starts = np.frombuffer(stored, "<u4", self.count, _HEADER).astype(np.int64)
        ordered = np.sort(starts)
        ends = np.append(ordered, len(stored))[np.searchsorted(ordered, starts) + 1]
        parts = [stored[starts[k] : ends[k]] for k in wanted]
        first = _HEADER + 4 * wanted.size
        places = first + np.cumsum([0, *(len(part) for part in parts)])
        header = np.array([wanted.size * self.size, self.size, places[-1]], "<u4").tobytes()
        return b"".join([stored[:4], header, places[:-1].astype("<u4").tobytes(), *parts])


class _Scratch:
    """Memory of one thread that chunks are decoded in: new memory for each would cost as much again."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def decoded(self, stored: bytes, length: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """A chunk that Blosc wrote, decoded, until the next call."""
        if self._memory.size < length:
            self._memory = np.empty(length, np.uint8)
        blosc.decompress(stored, self._memory[:length])
        return self._memory[:length].view(dtype)


class _Threads(threading.local):
    """A scratch a thread."""

    def __init__(self) -> None:
        self._scratch = _Scratch()

    def held(self) -> _Scratch:
        return self._scratch


_SCRATCH = _Threads()


def _checked(file: int, start: int, length: int) -> bytes:
    """Bytes of a file before their CRC-32C; `ValueError` if it differs."""
    if length < _CRC:
        raise ValueError(f"{length} bytes")
    body, end = os.pread(file, length - _CRC, start), os.pread(file, _CRC, start + length - _CRC)
    if google_crc32c.value(body) != int.from_bytes(end, "little") or len(end) != _CRC:
        raise ValueError("the checksum differs")
    return body


def _pread(file: int, start: int, length: int) -> bytes:
    return os.pread(file, length, start)


def _grouped(one: Index, other: Index) -> Iterator[Index]:
    """Positions of equal pairs, group by group."""
    if not one.size:
        return
    key = one * (int(other.max()) + 1) + other
    order = np.argsort(key, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(key[order])) + 1)
