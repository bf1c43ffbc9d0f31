"""One part of a cube: a shard of every variable of a source, from its rasters to Zarr."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.sync import sync

from mmnet_maps.grid import Tile
from mmnet_maps.prepare.cube import index
from mmnet_maps.prepare.cube.earlier import Earlier
from mmnet_maps.prepare.cube.layout import fill_of
from mmnet_maps.prepare.cube.plan import Part
from mmnet_maps.prepare.cube.verify import chunk_digests

__all__ = ["build_part"]


def build_part(part: Part, arrays: dict[str, zarr.Array[Any]], earlier: Earlier | None = None) -> None:
    """Read, write, digest, and enter one part in the ledger, in this order.

    Parameters
    ----------
    part : Part
    arrays : dict of str to zarr.Array
        Of the source in the draft.
    earlier : Earlier, optional
        The source in the cube that is brought up to date: days that were made from the same are taken over.
    """
    plan, tile = part.plan, part.tile
    needed = index.needed_cells(plan.grid, plan.polygon, tile.rows, tile.cols)
    offset = part.begin - plan.first
    time = slice(offset, offset + part.end - part.begin)
    _, high, wide = plan.layout.chunks
    rows = slice(tile.row // high, -(-(tile.row + tile.height) // high))
    cols = slice(tile.col // wide, -(-(tile.col + tile.width) // wide))
    days = np.array([], dtype=np.uint64) if plan.static else plan.days_made_from(part.begin, part.end)
    known = np.full(part.end - part.begin, -1)
    if earlier is not None and not plan.static:
        known = earlier.steps(part, days)
    wanted = _needed_chunks(part, needed)

    def digests(blocks: dict[str, NDArray[Any]]) -> NDArray[np.uint64]:
        return chunk_digests(blocks, plan.reader.variables, plan.layout.chunks, wanted)

    blocks = _gather(part, needed, earlier, known)
    found, taken = digests(blocks), known >= 0
    if earlier is not None and taken.any():
        recorded = earlier.digests(known[taken], rows, cols)
        if not np.array_equal(found[taken], recorded):  # lost or changed on disk
            blocks = _read_part(part, needed)
            found = digests(blocks)
    # From here to the last line the shard is neither what it was nor what it is to be.
    arrays["made_from"][part.index] = np.uint64(0)
    for name, block in blocks.items():
        # The part owns the shard whole: what was there, which may be damaged, is not read.
        at = part.index[1:] if plan.static else part.index
        sync((arrays[name].store_path / arrays[name].metadata.encode_chunk_key(at)).delete())
        if plan.static:
            arrays[name][tile.rows, tile.cols] = block[0]
        else:
            arrays[name][time, tile.rows, tile.cols] = block
    arrays["digest"][time, rows, cols] = found
    if not plan.static:
        arrays["day_made_from"][time, part.index[1], part.index[2]] = days
    arrays["made_from"][part.index] = np.uint64(part.made_from)


def _gather(
    part: Part, needed: NDArray[np.bool_] | None, earlier: Earlier | None, known: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """Stored values of a shard: known days from the earlier cube, the others from the source, in runs."""
    taken = known >= 0
    held = earlier.read(part, known[taken]) if earlier is not None and taken.any() else None
    if held is None:
        return _read_part(part, needed)
    shape = (part.end - part.begin, part.tile.height, part.tile.width)
    blocks = {n: np.empty(shape, dtype=p.dtype) for n, p in part.plan.reader.variables.items()}
    for name, values in held.items():
        blocks[name][taken] = values
    edges = np.flatnonzero(np.diff(np.r_[True, taken, True]))
    for begin, end in edges.reshape(-1, 2):
        fresh = replace(part, begin=part.begin + int(begin), end=part.begin + int(end))
        for name, values in _read_part(fresh, needed).items():
            blocks[name][begin:end] = values
    return blocks


def _read_part(part: Part, needed: NDArray[np.bool_] | None) -> dict[str, NDArray[Any]]:
    """Stored values of a shard; missing where the source has or the region needs nothing."""
    plan, tile = part.plan, part.tile
    shape = (part.end - part.begin, tile.height, tile.width)
    wanted = _bounding(needed, tile)
    if wanted is None:
        return _nothing(part, shape)
    row, col = plan.window.row + tile.row + wanted.row, plan.window.col + tile.col + wanted.col
    have = index.covered(plan.reader.grid, Tile(row, col, wanted.height, wanted.width))
    if have is None:
        return _nothing(part, shape)
    rows = slice(row + have.row, row + have.row + have.height)
    cols = slice(col + have.col, col + have.col + have.width)
    top, left = wanted.row + have.row, wanted.col + have.col
    blocks: dict[str, NDArray[Any]] = {}
    values = plan.reader.read(part.begin, part.end, rows, cols)
    for name, packing in plan.reader.variables.items():
        block = values.pop(name)
        if block.shape != shape:
            whole = np.full(shape, fill_of(packing), dtype=packing.dtype)
            whole[:, top : top + have.height, left : left + have.width] = block
            block = whole
        if needed is not None:
            # A copy: what the reader handed out may be its own.
            block = np.where(needed, block, fill_of(packing))
        blocks[name] = block
    return blocks


def _nothing(part: Part, shape: tuple[int, int, int]) -> dict[str, NDArray[Any]]:
    variables = part.plan.reader.variables.items()
    return {name: np.full(shape, fill_of(packing), dtype=packing.dtype) for name, packing in variables}


def _bounding(needed: NDArray[np.bool_] | None, tile: Tile) -> Tile | None:
    if needed is None:
        return Tile(0, 0, tile.height, tile.width)
    if not needed.any():
        return None
    rows, cols = np.flatnonzero(needed.any(axis=1)), np.flatnonzero(needed.any(axis=0))
    return Tile(int(rows[0]), int(cols[0]), int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1)


def _needed_chunks(part: Part, needed: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Which chunks the region needs, shape (steps, chunks of rows, chunks of columns)."""
    _, high, wide = part.plan.layout.chunks
    count_y, count_x = -(-part.tile.height // high), -(-part.tile.width // wide)
    found = np.ones((part.end - part.begin, count_y, count_x), dtype=np.bool_)
    if needed is not None:
        for i, j in np.ndindex(count_y, count_x):
            found[:, i, j] = needed[i * high : (i + 1) * high, j * wide : (j + 1) * wide].any()
    return found
