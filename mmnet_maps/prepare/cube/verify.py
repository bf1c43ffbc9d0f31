"""Whether a cube still holds what was written: stored values against the digests recorded with them.

A shard that is gone reads as missing values, and a changed one as others. Missing files are found by a look
at the folder; anything else by decoding values and computing their digests again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.packing import Packing
from mmnet_maps.prepare.cube.sources import CubeSource
from mmnet_maps.store.location import Location

__all__ = ["Shard", "chunk_digests", "damage", "lost", "shards"]

#: Chunks along the time axis that are verified at once; with one, a tenth of the time is spent on opening.
_CHUNKS = 2


@dataclass(frozen=True)
class Shard:
    """A shard of every variable of a source.

    Attributes
    ----------
    source : str
    index : tuple of int
        (time, y, x).
    where : tuple of slice
        Steps, rows and columns.
    """

    source: str
    index: tuple[int, int, int]
    where: tuple[slice, slice, slice]


def chunk_digests(
    blocks: Mapping[str, NDArray[Any]],
    variables: Mapping[str, Packing],
    chunks: tuple[int, int, int],
    wanted: NDArray[np.bool_],
) -> NDArray[np.uint64]:
    """A digest of every step and chunk over all variables; 0 where it is not wanted.

    Parameters
    ----------
    blocks : mapping of str to ndarray, shape (steps, rows, columns)
        Stored values of every variable, from the edge of a chunk on.
    variables : mapping of str to Packing
    chunks : tuple of int
        (time, y, x).
    wanted : ndarray of bool, shape (steps, chunks of rows, chunks of columns)
    """
    _, high, wide = chunks
    seed = json.dumps({k: v.model_dump(mode="json") for k, v in sorted(variables.items())}).encode()
    found = np.zeros(wanted.shape, dtype=np.uint64)
    for step, i, j in zip(*np.nonzero(wanted), strict=True):
        rows, cols = slice(i * high, (i + 1) * high), slice(j * wide, (j + 1) * wide)
        digest = hashlib.blake2b(seed, digest_size=8)
        for name in sorted(blocks):
            digest.update(np.ascontiguousarray(blocks[name][step, rows, cols]).data)
        found[step, i, j] = int.from_bytes(digest.digest(), "little")
    return found


def shards(
    source: CubeSource, steps: slice | None = None, rows: slice | None = None, cols: slice | None = None
) -> Iterator[Shard]:
    """Shards of a source that touch a window; by default all."""
    array = source.arrays[next(iter(source.variables))]
    shape, size = array.shape, array.shards or array.chunks
    if array.ndim == 2:
        shape, size = (1, *shape), (1, *size)
    asked = [s or slice(0, n) for s, n in zip((steps, rows, cols), shape, strict=True)]
    ranges = [range(s.start // k, -(-s.stop // k)) for s, k in zip(asked, size, strict=True)]
    for index in np.ndindex(*(len(r) for r in ranges)):
        at = tuple(r[i] for r, i in zip(ranges, index, strict=True))
        begin = tuple(i * k for i, k in zip(at, size, strict=True))
        ends = tuple(min(b + k, n) for b, k, n in zip(begin, size, shape, strict=True))
        time, down, across = (slice(b, e) for b, e in zip(begin, ends, strict=True))
        yield Shard(source.name, (at[0], at[1], at[2]), (time, down, across))


def lost(cube: Location, source: CubeSource, shard: Shard) -> list[Location]:
    """Files of a shard that are gone, or empty; none where they are rightly not there (all is missing)."""
    gone = [p for p in _files(cube, source, shard) if not p.is_file() or not p.stat().st_size]
    return gone if gone and damage(cube, source, shard) else []


def damage(cube: Location, source: CubeSource, shard: Shard) -> list[Location]:
    """Files of a shard whose values are not those that were written.

    Where all can be read but the values are others, any of them may be to blame, and all are given.
    """
    long, high, wide = source.chunks
    time, rows, cols = shard.where
    block = slice(rows.start // high, -(-rows.stop // high)), slice(cols.start // wide, -(-cols.stop // wide))
    try:
        recorded = np.asarray(source.arrays["digest"][(time, *block)])
    except Exception:
        return [cube / source.name / "digest"]
    if not recorded.any():
        return []
    files = dict(zip(source.variables, _files(cube, source, shard), strict=True))
    of = {name: source.variables[name] for name in _covered(source)}
    unreadable, others = dict[str, Location](), False
    # A few steps at a time: a whole shard of all variables takes as much memory as its build.
    for begin in range(time.start, time.stop, _CHUNKS * long):
        steps, blocks = slice(begin, min(begin + _CHUNKS * long, time.stop)), {}
        for name in of.keys() - unreadable.keys():
            array = source.arrays[name]
            try:
                blocks[name] = np.asarray(
                    array[rows, cols][None] if array.ndim == 2 else array[steps, rows, cols]  # type: ignore[index,call-overload]
                )
            except Exception:
                unreadable[name] = files[name]
        told = recorded[begin - time.start : steps.stop - time.start]
        if not unreadable and not others:
            others = not np.array_equal(chunk_digests(blocks, of, source.chunks, told != 0), told)
    if unreadable:
        return [files[name] for name in source.variables if name in unreadable]
    return sorted(files.values(), key=lambda path: path.is_file()) if others else []


def _covered(source: CubeSource) -> list[str]:
    """Variables that the digests are of; all, where a cube does not say it."""
    names: Any = source.arrays["digest"].attrs.get("variables")
    return [name for name in source.variables if not isinstance(names, list) or name in names]


def _files(cube: Location, source: CubeSource, shard: Shard) -> list[Location]:
    found = []
    for name in source.variables:
        array = source.arrays[name]
        index = shard.index[1:] if array.ndim == 2 else shard.index
        found.append(cube / source.name / name / array.metadata.encode_chunk_key(index))
    return found
