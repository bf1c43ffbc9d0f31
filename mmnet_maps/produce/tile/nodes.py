"""Coarse fields without the squares of their cells: interpolated between cells, and then between nodes.

Nodes are points of the target grid, a few pixels apart. They are anchored to the lattice that the grid is a
part of, so that a grid cut out of another has the same nodes. A coarse field is taken to the nodes bilinearly
between the centres of its cells, and from the nodes to the pixels bilinearly again. What is not linear, the
temporal encoder, stands between the two: it runs once a node and day, and pixels take weighted sums of its
rows. So the cost does not grow with the number of grids.

Cells without a value are left out and the weights of the others made to add up to 1. A node without any takes
the mean of the nodes beside it. Whether a pixel has a value is decided by its own cell, elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.crs import near, transform
from mmnet_maps.grid import Grid, Tile

__all__ = ["Nodes", "margin_of", "spacing_of"]

#: Spacings of nodes in pixels; the first that is about as wide as the narrowest cell, or less, is taken.
_SPACINGS = (32, 16, 8, 4)


def _steps(grid: Grid, other: Grid) -> NDArray[np.float64]:
    """Cells of another grid, along its rows and columns, that one pixel down and one across lead, (2, 2)."""
    rows, cols = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    whole = Tile(0, 0, other.height, other.width)
    row, col = _position(grid, rows + grid.height // 2, cols + grid.width // 2, other, whole)
    steps: NDArray[np.float64] = np.abs([row[1:] - row[0], col[1:] - col[0]])
    return steps if np.isfinite(steps).all() and steps.any() else np.eye(2)


def cell_width(grid: Grid, other: Grid) -> float:
    """Width of a cell of another grid, the smaller of its sides, in pixels of a grid, at its middle."""
    down, across = np.hypot(*_steps(grid, other))
    return float(1 / max(down, across))


def spacing_of(grid: Grid, others: Mapping[str, Grid]) -> tuple[int, tuple[str, ...]]:
    """Pixels between nodes, and the sources that are interpolated: those with cells of eight pixels or more.

    Parameters
    ----------
    grid : Grid
        Of the maps.
    others : mapping of str to Grid
        By source.

    Returns
    -------
    spacing : int
        At most about the width of the narrowest cell.
    sources : tuple of str
    """
    widths = {name: cell_width(grid, other) for name, other in others.items()}
    coarse = {name: width for name, width in widths.items() if width >= 2 * _SPACINGS[-1]}
    narrowest = min(coarse.values(), default=0.0)
    spacing = next((s for s in _SPACINGS if 0.8 * s <= narrowest), _SPACINGS[-1])
    return spacing, tuple(coarse)


def margin_of(grid: Grid, other: Grid, spacing: int) -> int:
    """Cells beyond those that a tile touches that its nodes may rest on.

    Nodes lie up to two spacings outside of a tile, down and across at once. In a sinusoidal grid far from its
    meridian a step to the north leads across as far as up.
    """
    return int(np.ceil(2 * spacing * _steps(grid, other).sum(axis=1).max())) + 2


def _position(
    grid: Grid, rows: NDArray[np.float64], cols: NDArray[np.float64], other: Grid, window: Tile
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fractional row and column in another grid of pixel centres, which may lie outside of both.

    They are those of the whole grid, so that a rounding error does not depend on the window; of the turns of
    the globe the one nearest to the window is taken.
    """
    x, y = transform(grid.crs, other.crs, grid.x(cols), grid.y(rows))
    left, _, right, _ = other.crop(window).bounds
    return other.position(near(x, (left + right) / 2, other.crs), y)


@dataclass(frozen=True)
class Nodes:
    """Nodes of a tile.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns of nodes, with one more on every side than pixels lie between.
    corners : ndarray of int64, shape (pixels, 4)
        The nodes that each pixel lies between, without those on the sides.
    weights : ndarray of float32, shape (pixels, 4)
    cells : mapping of str to (ndarray of int64, ndarray of float32), shapes (4, nodes)
        By source: the cells that each node lies between, and their weights; 0 outside of the source.
    """

    shape: tuple[int, int]
    corners: NDArray[np.int64]
    weights: NDArray[np.float32]
    cells: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float32]]]

    @classmethod
    def of(cls, grid: Grid, tile: Tile, spacing: int, windows: Mapping[str, tuple[Grid, Tile]]) -> Nodes:
        """Nodes of a tile.

        Parameters
        ----------
        grid : Grid
        tile : Tile
        spacing : int
            In pixels.
        windows : mapping of str to (Grid, Tile)
            By source, its grid and the cells of it that are read for the tile.
        """
        a, _, c, _, e, f = grid.transform
        rows, (above, down) = _line(tile.row, tile.height, spacing, f / e)
        cols, (left, across) = _line(tile.col, tile.width, spacing, c / a)
        inner = len(cols) - 2
        first = (above[:, None] * inner + left[None, :]).ravel()
        corners = np.stack((first, first + 1, first + inner, first + inner + 1), axis=1)
        weights = _products(down[:, None], across[None, :])
        row, col = (a.ravel() for a in np.meshgrid(rows, cols, indexing="ij"))
        cells = {
            name: _cells_around(*_position(grid, row, col, own, window), window)
            for name, (own, window) in windows.items()
        }
        return cls((len(rows), len(cols)), corners, np.stack(weights, axis=-1).reshape(-1, 4), cells)

    @property
    def count(self) -> int:
        """Nodes that pixels lie between."""
        return (self.shape[0] - 2) * (self.shape[1] - 2)

    def bring(self, source: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """A field on the cells of a source at the nodes.

        Parameters
        ----------
        source : str
        values : ndarray of float32, shape (..., cells)
            NaN where missing.

        Returns
        -------
        ndarray of float32, shape (..., count)
            NaN where neither a cell around the node nor one around a node beside it has a value.
        """
        shape = (*values.shape[:-1], self.shape[0] * self.shape[1])
        total, known = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
        for cell, weight in zip(*self.cells[source], strict=True):
            own = values.take(cell, axis=-1)
            there = np.isfinite(own) * weight
            total += np.where(there > 0, own, np.float32(0)) * weight
            known += there
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.divide(total, known).reshape(*values.shape[:-1], *self.shape)
        inner = found[..., 1:-1, 1:-1]
        missing = np.isnan(inner)
        if missing.any():
            inner = np.where(missing, _mean_of_neighbours(found), inner)
        return np.ascontiguousarray(inner).reshape(*values.shape[:-1], self.count)

    def at_pixels(
        self, source: str, values: NDArray[np.float32], index: NDArray[np.int32] | None
    ) -> NDArray[np.float32]:
        """A field on the cells of a source at the pixels; NaN where a pixel's own cell (`index`) has none."""
        parts = self.bring(source, values).take(self.corners) * self.weights
        found: NDArray[np.float32] = parts[:, 0] + parts[:, 1] + parts[:, 2] + parts[:, 3]
        return found if index is None else np.where(np.isnan(values[index]), np.float32(np.nan), found)


def _line(
    first: int, count: int, spacing: int, origin: float
) -> tuple[NDArray[np.float64], tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Pixel positions of nodes along one side, and for each pixel the node before it and how far behind."""
    # The grid's first pixel on the lattice. A grid may lie half a pixel off it, where a rounding error must
    # not decide.
    begin = int(np.floor(origin + 0.5 + 1e-6))
    pixels = np.arange(first, first + count) + begin
    node, behind = np.divmod(pixels, spacing)
    start = int(node[0])
    nodes = np.arange(start - 1, int(node[-1]) + 3, dtype=np.float64) * spacing - begin
    return nodes, (node - start, (behind / spacing).astype(np.float32))


def _products(down: NDArray[np.float32], across: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Weights of the corners, in the order upper left, upper right, lower left, lower right."""
    one = np.float32(1)
    return [(one - down) * (one - across), (one - down) * across, down * (one - across), down * across]


def _cells_around(
    row: NDArray[np.float64], col: NDArray[np.float64], window: Tile
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The four cells whose centres are around points, and their weights; 0 outside of the window."""
    height, width = window.height, window.width
    row, col = (np.where(np.isfinite(a), a, -9.0) - 0.5 for a in (row, col))
    top, left = np.floor(row).astype(np.int64), np.floor(col).astype(np.int64)
    weights = _products((row - top).astype(np.float32), (col - left).astype(np.float32))
    top, left = top - window.row, left - window.col
    cells = []
    for number, (r, c) in enumerate(((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1))):
        there = (r >= 0) & (r < height) & (c >= 0) & (c < width)
        weights[number] = np.where(there, weights[number], np.float32(0))
        cells.append(np.where(there, r * width + c, 0))
    return np.stack(cells), np.stack(weights)


def _mean_of_neighbours(found: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of the up to eight nodes beside each inner node that have a value."""
    rows, cols = found.shape[-2:]
    shape = (*found.shape[:-2], rows - 2, cols - 2)
    total, known = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    for down in range(3):
        for across in range(3):
            own = found[..., down : rows - 2 + down, across : cols - 2 + across]
            total += np.where(np.isfinite(own), own, np.float32(0))
            known += np.isfinite(own)
    with np.errstate(invalid="ignore"):
        return np.divide(total, known)
