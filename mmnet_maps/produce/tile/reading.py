"""From a cube to `TileInputs`: what a work unit can see, read once, in pieces that stay small in memory.

A unit's tile is cut into sub-tiles. Every stored chunk of the cube is decoded once a unit: it is kept from
the first sub-tile that touches it to the last; coarse sources, which many sub-tiles share, stay longest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.dates import year_of
from mmnet_maps.errors import InputError
from mmnet_maps.grid import CellLookup, Grid, Tile, cell_lookup, lonlat
from mmnet_maps.learn.bundle import Coarse
from mmnet_maps.packing import Packing
from mmnet_maps.prepare.cube.store import Cube, CubeSource
from mmnet_maps.prepare.features import nearest_release
from mmnet_maps.prepare.normals import missing_normal
from mmnet_maps.produce.tile.inputs import Layer, TileInputs
from mmnet_maps.produce.tile.nodes import Nodes, margin_of, spacing_of
from mmnet_maps.produce.units import Unit, iso
from mmnet_maps.store.location import Remote
from mmnet_maps.variables import Variable

__all__ = [
    "SUB_TILE",
    "check_cube",
    "inside",
    "last_day",
    "required_sources",
    "sub_tiles",
    "tile_cells",
    "tile_inputs",
    "tile_windows",
    "visible_rows",
]

Days = NDArray[np.int64]
Window = tuple[slice, slice]
#: Side of a sub-tile: small enough that its scenes and buffers take little memory, large enough that the
#: coarse cells which two neighbours share are a small part of the work.
SUB_TILE = 256
#: Variables that are read at once: an object store answers late, on a disk more threads only hinder.
_ON_DISK, _IN_STORE = 2, 8


def check_cube(cube: Cube, catalogue: Catalogue, first: int, stop: int, where: str) -> None:
    """Refuse a cube that cannot serve a bundle's catalogue over days ``first`` to ``stop`` (exclusive).

    Raises
    ------
    InputError
        Variables are missing, one is in another unit, or its source does not cover the days; the message
        names it, and all that are missing.
    """
    _check_held(cube, catalogue, where)
    for name in catalogue.required:
        variable = catalogue[name]
        source = cube.source_of(name)
        unit = source.units[name]
        if unit != variable.unit:
            raise InputError(f"{where}: {name} is in {unit}, the bundle expects {variable.unit}")
        if variable.cadence == "static":
            continue
        if not source.days.size:
            raise InputError(
                f"{where}: {name} has no dates, the bundle expects a {variable.cadence} variable"
            )
        if variable.cadence != "yearly":
            _check_covered(variable, catalogue, source.days, first, stop, where)


def _check_covered(
    variable: Variable, catalogue: Catalogue, days: Days, first: int, stop: int, where: str
) -> None:
    low, high = needed_days(variable, catalogue, first, stop)
    held = f"{iso(days[0])} to {iso(days[-1])}"
    asked = f"{iso(first)} to {iso(stop - 1)}"
    if low is None and high is None:
        return
    if variable.fill == "none":
        reach = first - catalogue.reach(variable.name)
        if days[0] > reach or days[-1] < stop - 1:
            raise InputError(
                f"{where}: {variable.name} is there from {held}; predicting {asked} needs "
                f"{iso(reach)} to {iso(stop - 1)}"
            )
    elif not _rows(days, low, high)[2]:
        raise InputError(
            f"{where}: {variable.name} is there from {held}; predicting {asked} needs at least one date "
            f"within {variable.max_gap} days of it"
        )


def last_day(cube: Cube, catalogue: Catalogue, where: str) -> int:
    """The last day that a cube can serve a bundle's catalogue on, since 1970-01-01.

    A variable that is not filled has to be there on the day, another one within its largest gap before it.

    Raises
    ------
    InputError
        A variable is missing, or has no day at all.
    """
    _check_held(cube, catalogue, where)
    found = []
    for name in catalogue.required:
        variable, source = catalogue[name], cube.source_of(name)
        if variable.cadence in ("static", "yearly"):
            continue
        if not source.days.size:
            raise InputError(f"{where}: {name} has no dates")
        if variable.fill == "none":
            found.append(int(source.days[-1]))
        elif variable.max_gap is not None:
            found.append(int(source.days[-1]) + variable.max_gap)
    if not found:
        raise InputError(
            f"{where}: no variable of the model says how far maps may reach; expected daily weather"
        )
    return min(found)


def _check_held(cube: Cube, catalogue: Catalogue, where: str) -> None:
    lacking = [name for name in catalogue.required if name not in cube.variables]
    if lacking:
        held, more = ", ".join(cube.variables), missing_normal(catalogue[lacking[0]])
        raise InputError(
            f"{where}: no {', '.join(lacking)}, which the bundle needs; the cube holds {held}{more}"
        )


def needed_days(
    variable: Variable, catalogue: Catalogue, first: int, stop: int
) -> tuple[int | None, int | None]:
    """Days (from, to exclusive) whose observations reach a prediction of ``first`` to ``stop``.

    None is no limit. A series reaches back by its longest lag, what soil-state channels are made of by half a
    year more. A filled value rests on observations within `max_gap` days.
    """
    low = first - catalogue.reach(variable.name)
    if variable.fill == "none":
        return low, stop
    back = None if variable.max_gap is None else low - variable.max_gap
    if variable.fill == "past":
        return back, stop
    return back, None if variable.max_gap is None else stop + variable.max_gap


def _rows(days: Days, low: int | None, high: int | None) -> tuple[int, int, int]:
    """Positions (from, to) of the days in reach, and how many."""
    begin = 0 if low is None else int(np.searchsorted(days, low))
    end = days.size if high is None else int(np.searchsorted(days, high))
    return begin, max(begin, end), max(0, end - begin)


def _yearly_rows(days: Days, first: int, stop: int) -> tuple[int, int]:
    """Releases of a yearly map that serve the days' years."""
    serving = nearest_release(year_of(days).tolist(), year_of(np.array([first, stop - 1])))
    return int(serving.min()), int(serving.max()) + 1


def visible_rows(variable: Variable, catalogue: Catalogue, days: Days, unit: Unit) -> tuple[int, int]:
    """Positions (from, to) on a source's time axis that a unit can see; (0, 1) for a static variable."""
    if not days.size:
        return 0, 1
    if variable.cadence in ("static", "yearly"):
        return _yearly_rows(days, unit.first, unit.stop)
    return _rows(days, *needed_days(variable, catalogue, unit.first, unit.stop))[:2]


def required_sources(cube: Cube, catalogue: Catalogue) -> list[tuple[CubeSource, list[str]]]:
    """Sources that a catalogue draws on, each with the variables that it gives."""
    found: dict[str, list[str]] = {}
    for name in catalogue.required:
        found.setdefault(cube.source_of(name).name, []).append(name)
    return [(cube.sources[source], names) for source, names in found.items()]


def tile_windows(
    cube: Cube, catalogue: Catalogue, tile: Tile, coarse: Coarse = "nearest"
) -> dict[str, Window]:
    """By source, rows and columns that hold every cell that a tile's values rest on."""
    margins = _margins(cube, catalogue, coarse)[1]
    return {
        source.name: _window(cube.grid, tile, source.grid, margins.get(source.name, 0))
        for source, _ in required_sources(cube, catalogue)
    }


def tile_cells(
    cube: Cube, tile: Tile, mask: NDArray[np.bool_], windows: Mapping[str, Window]
) -> dict[str, NDArray[np.int64]]:
    """By coarse source, the cells of its window that pixels of a small tile lie in, as flat indices.

    A window is a rectangle with a cell more on every side. Around a large tile few cells are too many, and to
    look every pixel up takes long; around a tile that is no larger than some cells most are.

    Parameters
    ----------
    mask : ndarray of bool, shape (tile.height, tile.width)
        Pixels that count.
    """
    if mask.size > SUB_TILE**2:
        return {}
    found = {}
    for name, (rows, cols) in windows.items():
        if not cube.sources[name].in_runs:
            continue
        cells = cell_lookup(cube.grid, tile, cube.sources[name].grid)
        row, col = np.divmod(np.unique(cells.index[mask & (cells.index >= 0)]), max(1, cells.shape[1]))
        row, col = row + cells.rows.start - rows.start, col + cells.cols.start - cols.start
        found[name] = (row * (cols.stop - cols.start) + col).astype(np.int64)
    return found


def _margins(cube: Cube, catalogue: Catalogue, coarse: Coarse) -> tuple[int, dict[str, int]]:
    """Spacing of nodes, and cells beside those that a tile touches which its nodes rest on, by source."""
    if coarse == "nearest":
        return 0, {}
    grids = {
        source.name: source.grid
        for source, names in required_sources(cube, catalogue)
        if any(catalogue[name].measure == "amount" for name in names)
    }
    spacing, sources = spacing_of(cube.grid, grids)
    return spacing, {name: margin_of(cube.grid, grids[name], spacing) for name in sources}


def _window(grid: Grid, tile: Tile, other: Grid, margin: int) -> Window:
    # A map projection is continuous, so the extremes of a tile lie on its edge: four lines of pixels tell
    # them. One cell more on every side covers what lies between two pixels of a line.
    top, left, bottom, right = tile.row, tile.col, tile.row + tile.height - 1, tile.col + tile.width - 1
    across = [Tile(row, left, 1, tile.width) for row in (top, bottom)]
    down = [Tile(top, col, tile.height, 1) for col in (left, right)]
    edges = [cell_lookup(grid, line, other) for line in (*across, *down)]
    if any((edge.index < 0).any() for edge in edges):
        whole = _cells(grid, tile, other, margin)
        return whole.rows, whole.cols
    more = margin + (0 if grid.aligned_offset(other) is not None else 1)
    rows = _grown([edge.rows for edge in edges], more, other.height)
    return rows, _grown([edge.cols for edge in edges], more, other.width)


def _cells(grid: Grid, tile: Tile, other: Grid, margin: int) -> CellLookup:
    """The cells that pixels lie in, with more cells around them."""
    cells = cell_lookup(grid, tile, other)
    if not margin or not cells.shape[0]:
        return cells
    rows = _grown([cells.rows], margin, other.height)
    cols = _grown([cells.cols], margin, other.width)
    row, col = np.divmod(cells.index, cells.shape[1])
    row, col = row + (cells.rows.start - rows.start), col + (cells.cols.start - cols.start)
    index = np.where(cells.index < 0, -1, row * (cols.stop - cols.start) + col).astype(np.int32)
    return CellLookup(rows, cols, index)


def _grown(parts: list[slice], more: int, end: int) -> slice:
    low, high = min(part.start for part in parts), max(part.stop for part in parts)
    return slice(max(0, low - more), min(end, high + more))


def inside(cube: Cube, tile: Tile) -> NDArray[np.bool_]:
    """Pixels of a tile that lie in the region, shape (tile.height, tile.width)."""
    found = cube.inside(tile)
    return np.ones((tile.height, tile.width), dtype=np.bool_) if found is None else found


def sub_tiles(tile: Tile, size: int = SUB_TILE) -> list[Tile]:
    """Cut a tile at multiples of `size` of the grid, row by row."""
    rows = _cuts(tile.row, tile.row + tile.height, size)
    cols = _cuts(tile.col, tile.col + tile.width, size)
    return [Tile(r, c, rr - r, cc - c) for r, rr in rows for c, cc in cols]


def _cuts(start: int, stop: int, size: int) -> list[tuple[int, int]]:
    edges = [start, *range((start // size + 1) * size, stop, size), stop]
    return list(pairwise(edges))


@dataclass
class _Blocks:
    """Stored values of a variable over a unit's days, by chunk; each is dropped after its last use."""

    source: CubeSource
    name: str
    begin: int
    end: int
    held: dict[tuple[int, int], NDArray[Any]] = field(default_factory=dict)

    def window(self, rows: slice, cols: slice) -> NDArray[Any]:
        """Values of a window, shape (rows of the time axis, window rows, window columns)."""
        places = _touched(self.source, rows, cols)
        if len(places) == 1:
            r0, c0, block = self._block(*places[0])
            return block[:, rows.start - r0 : rows.stop - r0, cols.start - c0 : cols.stop - c0]
        shape = (self.end - self.begin, rows.stop - rows.start, cols.stop - cols.start)
        out = np.empty(shape, dtype=self.source.variables[self.name].dtype)
        for place in places:
            r0, c0, block = self._block(*place)
            top, left = max(rows.start, r0), max(cols.start, c0)
            bottom, right = min(rows.stop, r0 + block.shape[1]), min(cols.stop, c0 + block.shape[2])
            out[:, top - rows.start : bottom - rows.start, left - cols.start : right - cols.start] = block[
                :, top - r0 : bottom - r0, left - c0 : right - c0
            ]
        return out

    def forget(self, last_use: Mapping[tuple[int, int], int], step: int) -> None:
        """Drop the chunks that no sub-tile after number `step` touches."""
        for place in [p for p in self.held if last_use.get(p, step) <= step]:
            del self.held[place]

    def _block(self, row: int, col: int) -> tuple[int, int, NDArray[Any]]:
        high, wide = self.source.chunks[1:]
        r0, c0 = row * high, col * wide
        if (row, col) not in self.held:
            rows = slice(r0, min(r0 + high, self.source.grid.height))
            cols = slice(c0, min(c0 + wide, self.source.grid.width))
            self.held[row, col] = self.source.read(self.name, self.begin, self.end, rows, cols)
        return r0, c0, self.held[row, col]


def _touched(source: CubeSource, rows: slice, cols: slice) -> list[tuple[int, int]]:
    """Positions of the source's chunks that a window touches."""
    if rows.stop <= rows.start or cols.stop <= cols.start:
        return []
    high, wide = source.chunks[1:]
    return [
        (r, c)
        for r in range(rows.start // high, (rows.stop - 1) // high + 1)
        for c in range(cols.start // wide, (cols.stop - 1) // wide + 1)
    ]


def tile_inputs(
    cube: Cube, catalogue: Catalogue, unit: Unit, size: int = SUB_TILE, coarse: Coarse = "nearest"
) -> Iterator[TileInputs]:
    """What each sub-tile of a unit needs, sub-tiles wholly outside the region left out.

    Yields
    ------
    TileInputs
        In row order; layers hold only the days that the unit can see.
    """
    masks = ((piece, inside(cube, piece)) for piece in sub_tiles(unit.tile, size))
    pieces = [(piece, mask) for piece, mask in masks if mask.any()]
    origin = {name: source for source, names in required_sources(cube, catalogue) for name in names}
    used = {source.name: source for source in origin.values()}
    spacing, margins = _margins(cube, catalogue, coarse)
    blocks = {
        name: _Blocks(source, name, *visible_rows(catalogue[name], catalogue, source.days, unit))
        for name, source in origin.items()
    }
    last_use: dict[str, dict[tuple[int, int], int]] = {}
    threads = _IN_STORE if isinstance(cube.folder, Remote) else _ON_DISK
    with ThreadPoolExecutor(threads, thread_name_prefix="cube") as pool:
        for step, (piece, mask) in enumerate(pieces):
            found = {
                name: _cells(cube.grid, piece, source.grid, margins.get(name, 0))
                for name, source in used.items()
            }
            coming = {name: pool.submit(_layer, b, found[b.source.name]) for name, b in blocks.items()}
            index = {
                name: _index(cube.grid, piece, source.grid, found[name]) for name, source in used.items()
            }
            lon, lat = lonlat(cube.grid, piece)
            around = {name: (used[name].grid, _window_tile(found[name])) for name in margins}
            nodes = Nodes.of(cube.grid, piece, spacing, around) if margins else None
            layers = {name: layer.result() for name, layer in coming.items()}
            yield TileInputs(piece, mask.ravel(), lon.ravel(), lat.ravel(), layers, index, nodes)
            # When a chunk is used last, the edges of the sub-tiles tell: not looked at before the first one
            # is on its way, since there is nothing to compute until then.
            last_use = last_use or {
                name: _last_use(cube, source, pieces, margins.get(name, 0)) for name, source in used.items()
            }
            for block in blocks.values():
                block.forget(last_use[block.source.name], step)


def _window_tile(cells: CellLookup) -> Tile:
    """The cells that are read; one cell where none is (`_nothing`)."""
    height, width = cells.shape if cells.shape[0] else (1, 1)
    return Tile(cells.rows.start, cells.cols.start, height, width)


def _last_use(
    cube: Cube, source: CubeSource, pieces: list[tuple[Tile, NDArray[np.bool_]]], margin: int
) -> dict[tuple[int, int], int]:
    """The last of the sub-tiles that touches each chunk of a source."""
    windows = (_window(cube.grid, piece, source.grid, margin) for piece, _ in pieces)
    return {chunk: step for step, window in enumerate(windows) for chunk in _touched(source, *window)}


def _layer(block: _Blocks, cells: CellLookup) -> Layer:
    packing = block.source.variables[block.name]
    days = block.source.days[block.begin : block.end]
    if cells.shape[0] * cells.shape[1]:
        stored = block.window(cells.rows, cells.cols).reshape(block.end - block.begin, -1)
    else:
        stored = _nothing(block.end - block.begin, packing)
    return Layer(block.source.name, days, stored, packing)


def _nothing(rows: int, packing: Packing) -> NDArray[Any]:
    """One missing cell: the tile lies wholly outside the source, and every pixel's index is -1."""
    value = np.nan if packing.missing is None else packing.missing
    return np.full((rows, 1), value, dtype=packing.dtype)


def _index(grid: Grid, tile: Tile, other: Grid, cells: CellLookup) -> NDArray[np.int32] | None:
    whole = cells.shape == (tile.height, tile.width)
    if whole and grid.aligned_offset(other) is not None:
        return None
    return cells.index.ravel()
