"""Grids, tiles, blocks of days, and the lookup of a pixel's cell in a coarser (or other) grid.

A `Grid` is a CRS, an affine transform and a shape. North-up grids have a negative row step; rotated grids
are refused. A pixel is named by its row and column, and stands for its centre.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from mmnet_maps.crs import known_crs, near, period, same_crs, transform, unit_metres
from mmnet_maps.errors import InputError

__all__ = [
    "LARGEST_SIDE",
    "CellLookup",
    "Grid",
    "Tile",
    "cell_lookup",
    "day_blocks",
    "lonlat",
    "lonlat_extent",
    "outline",
    "pixels_at",
    "tiles",
]

Float = NDArray[np.float64]

#: Most rows, and most columns, of a grid: the globe at 10 m.
LARGEST_SIDE = 4_100_000

#: Spacing, in pixels, of the nodes between which coordinates are interpolated, and the largest distance on
#: the ground, in metres, that a spacing may span (the error of a line over 1 km is 2 cm x tan(latitude)).
_NODE_SPACING = 32
_NODE_REACH_M = 1_000.0
#: Nodes whose longitudes differ by more than this, in degrees, are near a pole or on both sides of 180.
_WIDE = 0.05


@dataclass(frozen=True)
class Tile:
    """A rectangle of pixels: rows ``row`` to ``row + height``, columns ``col`` to ``col + width``."""

    row: int
    col: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """Rows as a slice of the grid."""
        return slice(self.row, self.row + self.height)

    @property
    def cols(self) -> slice:
        """Columns as a slice of the grid."""
        return slice(self.col, self.col + self.width)

    def __str__(self) -> str:
        return f"r{self.row}-c{self.col}"


@dataclass(frozen=True)
class Grid:
    """A regular grid of pixels.

    Attributes
    ----------
    crs : str
        Anything pyproj reads: ``EPSG:32612``, WKT, a PROJ string.
    transform : tuple of float
        Affine coefficients (a, b, c, d, e, f) of pixel corners: x = a col + b row + c, y = d col + e row + f.
    height, width : int
        Rows and columns.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]
    height: int
    width: int

    def __post_init__(self) -> None:
        a, b, _, d, e, _ = self.transform
        if not np.isfinite(self.transform).all():
            raise InputError(f"grid transform {self.transform}: expected six finite numbers")
        if max(self.height, self.width) > LARGEST_SIDE:
            raise InputError(
                f"grid of {self.height} x {self.width} pixels: at most {LARGEST_SIDE:,} a side are possible"
            )
        if b or d:
            raise InputError(f"grid transform {self.transform} is rotated; expected rows along one axis")
        if not a or not e or self.height < 1 or self.width < 1:
            raise InputError(f"grid {self.height} x {self.width} with pixel {a} x {e} is empty")

    @classmethod
    def from_bounds(
        cls, crs: str, bounds: tuple[float, float, float, float], resolution: float | tuple[float, float]
    ) -> Grid:
        """North-up grid over (left, bottom, right, top), edges moved out to multiples of the resolution.

        Parameters
        ----------
        crs : str
        bounds : tuple of float
            In units of the CRS.
        resolution : float or (x, y)
            Pixel size in units of the CRS.
        """
        rx, ry = resolution if isinstance(resolution, tuple) else (resolution, resolution)
        left, bottom, right, top = bounds
        if not (right > left and top > bottom and rx > 0 and ry > 0 and np.isfinite([*bounds, rx, ry]).all()):
            raise InputError(
                f"bounds {bounds}, resolution {resolution}: expected left < right, bottom < top, size > 0"
            )
        if max((right - left) / rx, (top - bottom) / ry) > LARGEST_SIDE:
            raise InputError(
                f"bounds {bounds} with a resolution of {resolution}: at most {LARGEST_SIDE:,} pixels a side "
                "are possible"
            )
        # Rounding first keeps an edge that lies on a multiple from being pushed out by a float residue.
        west, north = np.floor(round(left / rx, 9)) * rx, np.ceil(round(top / ry, 9)) * ry
        width = int(np.ceil(round((right - west) / rx, 9)))
        height = int(np.ceil(round((north - bottom) / ry, 9)))
        return cls(crs, (float(rx), 0.0, float(west), 0.0, float(-ry), float(north)), height, width)

    @cached_property
    def affine(self) -> Affine:
        """The transform as an `affine.Affine`."""
        return Affine(*self.transform)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) in units of the CRS."""
        a, _, c, _, e, f = self.transform
        xs, ys = sorted((c, c + a * self.width)), sorted((f, f + e * self.height))
        return xs[0], ys[0], xs[1], ys[1]

    def x(self, cols: NDArray[Any]) -> Float:
        """X of column centres."""
        return self.transform[2] + (np.asarray(cols, dtype=np.float64) + 0.5) * self.transform[0]

    def y(self, rows: NDArray[Any]) -> Float:
        """Y of row centres."""
        return self.transform[5] + (np.asarray(rows, dtype=np.float64) + 0.5) * self.transform[4]

    def position(self, x: NDArray[Any], y: NDArray[Any]) -> tuple[Float, Float]:
        """Fractional (row, column) of points; the whole part is the pixel that holds them."""
        a, _, c, _, e, f = self.transform
        return (np.asarray(y) - f) / e, (np.asarray(x) - c) / a

    def crop(self, tile: Tile) -> Grid:
        """The grid of a tile of this grid."""
        a, b, c, d, e, f = self.transform
        return Grid(self.crs, (a, b, c + a * tile.col, d, e, f + e * tile.row), tile.height, tile.width)

    def aligned_offset(self, other: Grid, tolerance: float = 1e-6) -> tuple[int, int] | None:
        """(row, column) in `other` of this grid's pixel (0, 0) if the pixels of both coincide, else None.

        Parameters
        ----------
        other : Grid
        tolerance : float
            How far, in pixels, they may be off each other at either end of this grid.
        """
        if not same_crs(self.crs, other.crs):
            return None
        found = []
        for size, step, start in ((self.height, 4, 5), (self.width, 0, 2)):
            pixel = other.transform[step]
            begin = (self.transform[start] - other.transform[start]) / pixel
            end = begin + size * (self.transform[step] / pixel - 1)
            if abs(begin - round(begin)) > tolerance or abs(end - round(begin)) > tolerance + 1e-9 * size:
                return None
            found.append(round(begin))
        return found[0], found[1]

    def to_dict(self) -> dict[str, Any]:
        """JSON form, read back by `from_dict`."""
        return {
            "crs": self.crs,
            "transform": list(self.transform),
            "height": self.height,
            "width": self.width,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Grid:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            No grid gives such a record.
        """
        a, b, c, d, e, f = (float(v) for v in data["transform"])
        crs, height, width = data["crs"], data["height"], data["width"]
        if type(height) is not int or type(width) is not int:
            raise InputError(f"grid of {height!s:.40} x {width!s:.40} pixels: expected whole numbers")
        return cls(known_crs(crs), (a, b, c, d, e, f), height, width)


@dataclass(frozen=True)
class CellLookup:
    """Which cell of another grid each pixel of a tile lies in.

    Attributes
    ----------
    rows, cols : slice
        The part of the other grid that the tile touches; empty slices if it touches none.
    index : ndarray of int32, shape (tile.height, tile.width)
        Flat index into that part (row-major); -1 where the pixel lies outside the other grid.
    """

    rows: slice
    cols: slice
    index: NDArray[np.int32]

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the part of the other grid."""
        return self.rows.stop - self.rows.start, self.cols.stop - self.cols.start


def tiles(grid: Grid, size: int) -> Iterator[Tile]:
    """Tiles of at most ``size`` x ``size`` pixels, row by row; those at the far edges are smaller."""
    for row in range(0, grid.height, size):
        for col in range(0, grid.width, size):
            yield Tile(row, col, min(size, grid.height - row), min(size, grid.width - col))


def day_blocks(start: int, stop: int, length: int, origin: int) -> Iterator[tuple[int, int]]:
    """Cut days ``start`` to ``stop`` (exclusive) at ``origin`` plus multiples of ``length``."""
    day = start
    while day < stop:
        end = min(stop, origin + ((day - origin) // length + 1) * length)
        yield day, end
        day = end


def lonlat_extent(grid: Grid, points: int = 200) -> tuple[float, float, float, float]:
    """West, south, east and north of a grid in degrees.

    A grid across 180 degrees has an east above 180; one that holds a pole goes all the way round.

    Examples
    --------
    >>> fiji = Grid("EPSG:4326", (0.5, 0.0, 178.0, 0.0, -0.5, -15.0), 8, 8)
    >>> lonlat_extent(fiji)
    (178.0, -19.0, 182.0, -15.0)
    """
    x, y = outline(grid, points)
    lon, lat = transform(grid.crs, "EPSG:4326", x, y)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        raise InputError(f"the grid in {grid.crs[:40]} leaves the reach of its CRS")
    lon = np.unwrap(lon, period=360.0)
    south, north = float(lat.min()), float(lat.max())
    if abs(lon[-1] - lon[0]) > 180:
        pole = 90.0 if lat.mean() > 0 else -90.0
        return -180.0, min(south, pole), 180.0, max(north, pole)
    west, east = float(lon.min()), float(lon.max())
    turn = float(np.floor((west + 180) / 360)) * 360
    return west - turn, south, east - turn, north


def outline(grid: Grid, points: int) -> tuple[Float, Float]:
    """Points along the edge of a grid, once round, the first again at the end."""
    left, bottom, right, top = grid.bounds
    across, along = np.linspace(left, right, points), np.linspace(bottom, top, points)
    one = np.ones(points)
    x = np.concatenate([across, right * one, across[::-1], left * one])
    return x, np.concatenate([bottom * one, along, top * one, along[::-1]])


def _exact(grid: Grid, crs: str, rows: Float, cols: Float) -> tuple[Float, Float]:
    """Coordinates in `crs` of pixel centres, by the full projection."""
    x, y = grid.x(cols), grid.y(rows)
    if same_crs(grid.crs, crs):
        return x, y
    east, north = transform(grid.crs, crs, x, y)
    return np.asarray(east), np.asarray(north)


def _coordinates(grid: Grid, tile: Tile, crs: str) -> tuple[Float, Float, tuple[float, float]]:
    """Coordinates in `crs` of a tile's pixel centres, and how far x and y may be off, in units of `crs`.

    The projection is computed at nodes every few pixels of the *grid* (never of the tile, so that a pixel's
    coordinates do not depend on how the grid was tiled) and interpolated bilinearly between them.
    """
    spacing = _spacing(grid)
    rows = np.arange(tile.row, tile.row + tile.height, dtype=np.float64)
    cols = np.arange(tile.col, tile.col + tile.width, dtype=np.float64)
    if spacing < 2 or same_crs(grid.crs, crs):
        x, y = _exact(grid, crs, np.repeat(rows, len(cols)), np.tile(cols, len(rows)))
        return x.reshape(tile.height, tile.width), y.reshape(tile.height, tile.width), (0.0, 0.0)
    node_rows, node_cols = _nodes(tile.row, tile.height, spacing), _nodes(tile.col, tile.width, spacing)
    nx, ny = _exact(grid, crs, np.repeat(node_rows, len(node_cols)), np.tile(node_cols, len(node_rows)))
    shape = len(node_rows), len(node_cols)
    nx, ny = nx.reshape(shape), ny.reshape(shape)
    x, y = (_bilinear(nodes, rows, cols, spacing) for nodes in (nx, ny))
    return x, y, (_mesh_error(nx), _mesh_error(ny))


def _spacing(grid: Grid) -> int:
    """Pixels from one node to the next."""
    step = max(abs(grid.transform[0]), abs(grid.transform[4])) * unit_metres(grid.crs)
    return int(min(_NODE_SPACING, _NODE_REACH_M // step)) if step else 1


def _nodes(first: int, count: int, spacing: int) -> Float:
    """Rows or columns of the nodes around some pixels, with one more beyond."""
    return np.arange(first // spacing, (first + count - 1) // spacing + 3, dtype=np.float64) * spacing


def _mesh_error(nodes: Float) -> float:
    """Bound of the error of bilinear interpolation: an eighth of the second differences, doubled to be safe.

    Infinite where a node cannot be projected, so that every pixel is projected by itself.
    """
    if not np.isfinite(nodes).all():
        return float("inf")
    return float(np.abs(np.diff(nodes, 2, axis=0)).max() + np.abs(np.diff(nodes, 2, axis=1)).max()) / 4


def _bilinear(nodes: Float, rows: Float, cols: Float, spacing: int) -> Float:
    r, c = (rows // spacing).astype(int), (cols // spacing).astype(int)
    fr, fc = (rows - r * spacing) / spacing, (cols - c * spacing) / spacing
    r, c = r - r[0], c - c[0]
    across = nodes[:, c] * (1 - fc) + nodes[:, c + 1] * fc
    found: Float = across[r] * (1 - fr)[:, None] + across[r + 1] * fr[:, None]
    return found


def lonlat(grid: Grid, tile: Tile) -> tuple[Float, Float]:
    """Longitude and latitude (EPSG:4326, degree) of a tile's pixel centres.

    Returns
    -------
    lon, lat : ndarray of float64, shape (tile.height, tile.width)
        Within 2 cm x tan(latitude) on the ground of the full projection, and the same for any tiling.
    """
    x, y, error = _coordinates(grid, tile, "EPSG:4326")
    if any(error):
        _mend(grid, tile, x, y)
    return near(x, 0.0, "EPSG:4326") if same_crs(grid.crs, "EPSG:4326") else x, y


def pixels_at(grid: Grid, lon: Float, lat: Float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of the pixels that hold points given in degrees (EPSG:4326), each projected in full.

    Returns
    -------
    row, col : ndarray of int64
        Both -1 where a point lies outside the grid.
    """
    return _pixels(grid, *_position(grid, *transform("EPSG:4326", grid.crs, lon, lat)))


def _mend(grid: Grid, tile: Tile, lon: Float, lat: Float) -> None:
    """Project in full, in place, pixels whose nodes are near a pole or on both sides of 180."""
    spacing = _spacing(grid)
    rows, cols = _nodes(tile.row, tile.height, spacing), _nodes(tile.col, tile.width, spacing)
    nodes, _ = _exact(grid, "EPSG:4326", np.repeat(rows, len(cols)), np.tile(cols, len(rows)))
    nodes = nodes.reshape(len(rows), len(cols))
    corners = np.stack([nodes[:-1, :-1], nodes[1:, :-1], nodes[:-1, 1:], nodes[1:, 1:]])
    wide = ~(np.ptp(corners, axis=0) < _WIDE)
    if not wide.any():
        return
    r = np.arange(tile.row, tile.row + tile.height) // spacing - tile.row // spacing
    c = np.arange(tile.col, tile.col + tile.width) // spacing - tile.col // spacing
    i, j = np.nonzero(wide[np.ix_(r, c)])
    lon[i, j], lat[i, j] = _exact(
        grid, "EPSG:4326", (i + tile.row).astype(np.float64), (j + tile.col).astype(np.float64)
    )


def cell_lookup(grid: Grid, tile: Tile, other: Grid) -> CellLookup:
    """Find the cell of `other` that holds each pixel centre of a tile, exactly.

    Pixels whose interpolated position is within a safe distance of a cell edge are projected in full.
    """
    offset = grid.aligned_offset(other)
    if offset is not None:
        rows = np.arange(tile.row, tile.row + tile.height) + offset[0]
        cols = np.arange(tile.col, tile.col + tile.width) + offset[1]
        row, col = np.broadcast_arrays(rows[:, None], cols[None, :])
        row, col = _pixels(other, row, col)
    else:
        x, y, doubt = _coordinates(grid, tile, other.crs)
        r, c = _position(other, x, y)
        del x, y  # as large as all that follows: nothing needs them any more
        if any(doubt):
            _settle(grid, tile, other, r, c, doubt)
        row, col = _pixels(other, r, c)
    inside = row >= 0
    if not inside.any():
        return CellLookup(slice(0, 0), slice(0, 0), np.full(row.shape, -1, dtype=np.int32))
    top, bottom = int(row[inside].min()), int(row[inside].max()) + 1
    left, right = int(col[inside].min()), int(col[inside].max()) + 1
    index = (row - top) * (right - left) + (col - left)
    return CellLookup(slice(top, bottom), slice(left, right), np.where(inside, index, -1).astype(np.int32))


def _pixels(grid: Grid, r: NDArray[Any], c: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of the pixels at positions in a grid; both -1 where there is none."""
    r, c = np.floor(r), np.floor(c)
    inside = (r >= 0) & (r < grid.height) & (c >= 0) & (c < grid.width)
    return np.where(inside, r, -1).astype(np.int64), np.where(inside, c, -1).astype(np.int64)


def _settle(grid: Grid, tile: Tile, other: Grid, r: Float, c: Float, doubt: tuple[float, float]) -> None:
    """Project in full, in place, the pixels that stand so near a cell edge that the mesh may err."""
    # The error of a node is that of the projection itself, well below a thousandth of a millimetre.
    least = 1e-6 / unit_metres(other.crs)
    near_r = (doubt[1] + least) / abs(other.transform[4])
    near_c = (doubt[0] + least) / abs(other.transform[0])
    unsure = (np.abs(r - np.round(r)) < near_r) | (np.abs(c - np.round(c)) < near_c)
    if not unsure.any():
        return
    i, j = np.nonzero(unsure)
    x, y = _exact(grid, other.crs, (i + tile.row).astype(np.float64), (j + tile.col).astype(np.float64))
    r[i, j], c[i, j] = _position(other, x, y)


def _position(other: Grid, x: Float, y: Float) -> tuple[Float, Float]:
    """As `Grid.position`, east of the grid's western edge all the way round the globe."""
    turn = period(other.crs)
    if turn is not None:
        left = other.bounds[0]
        with np.errstate(invalid="ignore"):
            x = x - np.floor((x - left) / turn) * turn
    return other.position(x, y)
