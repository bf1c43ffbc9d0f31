"""Squares in maps: steps across the edges of coarse cells against steps along the same lines inside cells.

Along the edge between two cells the signed differences of neighbouring pixels are averaged, so that detail
below the cell cancels and what the cell puts in stays. The same line moved by a quarter of a cell to either
side, inside the cells, tells what a step is where there is no edge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.grid import Grid, Tile, cell_lookup, tiles
from mmnet_maps.prepare.cube.store import Cube
from mmnet_maps.produce.judge.truth import CoarseField, TruthField
from mmnet_maps.produce.product.store import Product
from mmnet_maps.produce.tile.nodes import cell_width

__all__ = ["cell_edges", "edges_table"]

Float = NDArray[np.float64]
#: Fewest pixels of an edge that count as one, and the precipitation, in mm, of a day with rain.
_SHORTEST, _RAIN = 24, 1.0
#: Cells narrower than this many pixels make no squares that are seen.
_NARROWEST = 8


@dataclass(frozen=True)
class _Lines:
    """Pairs of neighbouring pixels along lines, as flat positions in a tile, and the line of each."""

    here: NDArray[np.int64]
    there: NDArray[np.int64]
    line: NDArray[np.int64]
    count: int

    def steps(self, values: NDArray[np.float32]) -> Float:
        """Mean signed step across each line, shape (count,); NaN where too few pixels have values."""
        step = values[self.there].astype(np.float64) - values[self.here]
        known = np.isfinite(step)
        number = np.bincount(self.line[known], minlength=self.count)
        total = np.bincount(self.line[known], weights=step[known], minlength=self.count)
        return np.where(number >= _SHORTEST, total / np.maximum(number, 1), np.nan)


def cell_edges(
    product: Product, cube: Cube, days: Sequence[int], truth: TruthField | None = None
) -> dict[str, dict[str, float]]:
    """Measure the squares of a product.

    Parameters
    ----------
    product : Product
    cube : Cube
        That it was made from: its daily sources have the cells.
    days : sequence of int
        Days since 1970-01-01, finished in the product (and held by the truth).
    truth : TruthField, optional
        To say what the truth does at the same edges.

    Returns
    -------
    dict
        By source: ``step`` (mean size of the step across an edge, m3 m-3), ``ratio`` (to the steps along
        lines inside cells), ``rain_ratio`` and ``dry_ratio`` (of days with and without rain), and
        ``truth_ratio``. NaN where there is nothing to compare.

    Examples
    --------
    A map without squares has a ratio near 1, one with squares a larger one::

        cell_edges(product, cube, product.finished_days())["gridmet"]["ratio"]
    """
    packing, rain = product.packing["soil_moisture"], _rain(cube, days)

    def maps(day: int, rows: slice, cols: slice) -> NDArray[np.float32]:
        return packing.decode(product.read("soil_moisture", day, day + 1, rows, cols)[0])

    found: dict[str, dict[str, float]] = {}
    for name, source in cube.sources.items():
        width = cell_width(cube.grid, source.grid)
        if source.cadence != "daily" or width < _NARROWEST:
            continue
        steps = _all_steps(product, source.grid, round(width / 4), days, maps)
        found[name] = {
            "step": float(np.nanmean(np.abs(steps[0]))) if np.isfinite(steps[0]).any() else float("nan"),
            "ratio": _ratio(steps, np.ones(len(days), dtype=np.bool_)),
            "rain_ratio": _ratio(steps, rain),
            "dry_ratio": _ratio(steps, ~rain),
        }
        if truth is not None:
            real = _all_steps(product, source.grid, round(width / 4), days, truth.read)
            found[name]["truth_ratio"] = _ratio(real, np.ones(len(days), dtype=np.bool_))
    return found


def _all_steps(
    product: Product,
    cells: Grid,
    aside: int,
    days: Sequence[int],
    read: Callable[[int, slice, slice], NDArray[np.float32]],
) -> tuple[Float, Float]:
    """Steps across edges, and inside cells, shape (days, lines)."""
    found = [
        _tile_steps(product.grid, tile, cells, aside, days, read)
        for tile in tiles(product.grid, product.layout.tile)
    ]
    across, inside = zip(*found, strict=True)
    return np.concatenate(across, axis=1), np.concatenate(inside, axis=1)


def _tile_steps(
    grid: Grid,
    tile: Tile,
    cells: Grid,
    aside: int,
    days: Sequence[int],
    read: Callable[[int, slice, slice], NDArray[np.float32]],
) -> tuple[Float, Float]:
    """`_all_steps` of a tile; one day of it is held at a time."""
    pairs = list(_lines(grid, tile, cells, aside))
    edges, lines = [edge for edge, _ in pairs], [line for _, more in pairs for line in more]
    across, inside = (np.empty((len(days), sum(one.count for one in some))) for some in (edges, lines))
    for row, day in enumerate(days):
        values = read(int(day), tile.rows, tile.cols).ravel()
        across[row] = np.concatenate([edge.steps(values) for edge in edges])
        inside[row] = np.concatenate([line.steps(values) for line in lines])
    return across, inside


def _lines(grid: Grid, tile: Tile, cells: Grid, aside: int) -> Iterator[tuple[_Lines, list[_Lines]]]:
    """Edges of cells in a tile by direction, each with the same lines moved to both sides."""
    lookup = cell_lookup(grid, tile, cells)
    numbers = lookup.index.astype(np.int64)
    for axis, stride in ((0, tile.width), (1, 1)):
        one, other = (np.take(numbers, np.arange(k, numbers.shape[axis] - 1 + k), axis) for k in (0, 1))
        row, col = np.nonzero((one != other) & (one >= 0) & (other >= 0))
        key = one[row, col] * (numbers.max(initial=0) + 1) + other[row, col]
        line = np.unique(key, return_inverse=True)[1]
        count = int(line.max(initial=-1)) + 1

        where = (row, col)[axis]
        moved = []
        for by in (0, -aside, aside):
            kept = (where + by >= 0) & (where + by < numbers.shape[axis] - 1)
            here = (row * tile.width + col + by * stride)[kept]
            moved.append(_Lines(here, here + stride, line[kept], count))
        yield moved[0], moved[1:]


def _rain(cube: Cube, days: Sequence[int]) -> NDArray[np.bool_]:
    """Days with rain on the mean over the cells of the cube."""
    if "pr" not in cube.variables:
        return np.zeros(len(days), dtype=np.bool_)
    field = CoarseField(cube, "pr")
    rows, cols = slice(0, field.grid.height), slice(0, field.grid.width)
    fields = [field.cells(int(day), rows, cols) for day in days]
    return np.array([f is not None and bool(np.isfinite(f).any() and np.nanmean(f) >= _RAIN) for f in fields])


def _ratio(steps: tuple[Float, Float], days: NDArray[np.bool_]) -> float:
    across, inside = (np.abs(part[days]) for part in steps)
    if not np.isfinite(across).any() or not np.isfinite(inside).any():
        return float("nan")
    return float(np.nanmean(across) / np.nanmean(inside))


def edges_table(found: dict[str, dict[str, float]]) -> str:
    """The measurement as text, a row a source; "-" where there is nothing to compare."""
    names = ("ratio", "rain_ratio", "dry_ratio", "truth_ratio")
    lines = [f"{'steps at edges of cells':<26}{'all':>8}{'rain':>8}{'dry':>8}{'truth':>8}"]
    for source, row in found.items():
        values = [row.get(name, float("nan")) for name in names]
        shown = "".join(f"{v:>8.2f}" if np.isfinite(v) else f"{'-':>8}" for v in values)
        lines.append(f"{source:<26}{shown}")
    return "\n".join(lines)
