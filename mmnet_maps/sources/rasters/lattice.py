"""The one grid over all files of a source, and where each file lies in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from pyproj import CRS

from mmnet_maps.crs import period, transform
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid, Tile, lonlat_extent, outline
from mmnet_maps.store.location import Location

__all__ = ["TOLERANCE", "Part", "common_grid", "on_target"]

#: Largest distance, in pixels, by which files of one source may be off each other's pixels anywhere.
TOLERANCE = 0.01
#: Degrees from 180 within which the globe is cut at 0 instead.
_SEAM = 2.0
_EDGE_POINTS = 100


@dataclass(frozen=True)
class Part:
    """Where a file, or the part of it on one side of its seam, lies.

    Attributes
    ----------
    tile : Tile
        In the grid of its lattice.
    first_col : int
        First column of the file.
    own : Grid, optional
        The lattice, where its pixels are not those of the source.
    """

    tile: Tile
    first_col: int = 0
    own: Grid | None = None


@dataclass
class _Lattice:
    """Files whose pixels coincide, to a hundredth of a pixel, and where each lies in the first one's grid."""

    reference: Grid
    first: Location
    members: list[tuple[Location, Tile, int]] = field(default_factory=list)

    def whole(self) -> Grid:
        """The grid over all members, whose tiles are then in it."""
        tiles = [tile for _, tile, _ in self.members]
        top, left = min(t.row for t in tiles), min(t.col for t in tiles)
        bottom, right = max(t.row + t.height for t in tiles), max(t.col + t.width for t in tiles)
        return self._over(Tile(top, left, bottom - top, right - left))

    def widened(self, tiles: list[Tile]) -> Grid:
        """The grid over all members and some tiles of the reference's rows and columns."""
        return _Lattice(
            self.reference, self.first, [(self.first, t, 0) for t in tiles] + self.members
        ).whole()

    def _over(self, tile: Tile) -> Grid:
        a, b, c, d, e, f = self.reference.transform
        return Grid(
            self.reference.crs, (a, b, c + a * tile.col, d, e, f + e * tile.row), tile.height, tile.width
        )

    def parts(self, grid: Grid, own: Grid | None) -> Iterator[tuple[Location, Part]]:
        """Every member with its position in `grid`, which is of this lattice."""
        offset = self.reference.aligned_offset(grid, TOLERANCE)
        assert offset is not None
        for path, t, col in self.members:
            yield path, Part(Tile(t.row + offset[0], t.col + offset[1], t.height, t.width), col, own)


def common_grid(
    grids: Mapping[Location, Grid], target: Grid | None
) -> tuple[Grid, dict[Location, list[Part]]]:
    """The grid over all files, and where each lies.

    Files in another zone of the same pixel size (a wide region meets several UTM zones) are brought onto it
    by nearest neighbour; the zone of the target goes first. Longitudes are cut where the target does not lie.

    Raises
    ------
    InputError
        A file lies on another lattice of the same CRS, or has pixels of another size.
    """
    found = _lattices(grids, target)
    main = _main(found, target)
    others = [lattice for lattice in found if lattice is not main]
    for other in others:
        if not _other_zone(other.reference, main.reference):
            raise InputError(_misfit(other.first, other.reference, main.first, main.reference))
    wholes = [other.whole() for other in others]
    grid = main.widened([_reach(whole, main.reference) for whole in wholes])
    parts: dict[Location, list[Part]] = {}
    for lattice, own in ((main, None), *zip(others, wholes, strict=True)):
        for path, part in lattice.parts(own or grid, own):
            parts.setdefault(path, []).append(part)
    return grid, {path: parts[path] for path in grids}


def on_target(grids: Mapping[Location, Grid], target: Grid, where: str) -> dict[Location, list[Part]]:
    """Where files that are brought onto the target grid lie, of those that touch it.

    Raises
    ------
    InputError
        No file touches the target.
    """
    touching = {path: grid for path, grid in grids.items() if _touches(grid, target)}
    if not touching:
        path, grid = next(iter(grids.items()))
        raise InputError(
            f"{where}: its rasters do not touch the region; {path.name} is {_describe(grid)}, the region "
            f"{_describe(target)}: wrong CRS or swapped axes?"
        )
    parts: dict[Location, list[Part]] = {}
    for lattice in _lattices(touching, target):
        whole = lattice.whole()
        for path, part in lattice.parts(whole, whole):
            parts.setdefault(path, []).append(part)
    return parts


def _lattices(grids: Mapping[Location, Grid], target: Grid | None) -> list[_Lattice]:
    found: list[_Lattice] = []
    for path, grid in grids.items():
        for part, col in _cut(grid, target):
            for lattice in found:
                offset = part.aligned_offset(lattice.reference, TOLERANCE)
                if offset is not None:
                    lattice.members.append((path, Tile(*offset, *part.shape), col))
                    break
            else:
                found.append(_Lattice(part, path, [(path, Tile(0, 0, *part.shape), col)]))
    return found


def _main(found: list[_Lattice], target: Grid | None) -> _Lattice:
    """The lattice that the source keeps: the first in the CRS of the target, else the first."""
    if target is not None:
        goal = CRS.from_user_input(target.crs)
        for lattice in found:
            if CRS.from_user_input(lattice.reference.crs) == goal:
                return lattice
    return found[0]


def _cut(grid: Grid, target: Grid | None) -> list[tuple[Grid, int]]:
    """A grid in longitudes as the source has them, in one or two parts, each with its first column.

    They run from -180 to 180, from 0 to 360 where the target lies near 180 degrees.
    """
    turn, (left, _, right, _) = period(grid.crs), grid.bounds
    if turn is None:
        return [(grid, 0)]
    west = 0.0 if target is not None and _near_180(target) else -turn / 2
    size = abs(grid.transform[0])
    shift = -float(np.floor((left - west) / turn + 1e-9)) * turn
    seam = (west + turn - left - shift) / size  # columns before the seam
    whole, per_turn = round(seam), turn / size
    inside = seam > grid.width - 0.5
    if inside or abs(per_turn - round(per_turn)) > TOLERANCE:
        return [(_moved(grid, shift), 0)]
    if grid.transform[0] < 0:
        raise InputError(f"longitudes run from east to west, {right:g} to {left:g}; expected west to east")
    parts = [(0, whole, shift), (whole, grid.width, shift - turn)]
    return [
        (_moved(grid.crop(Tile(0, low, grid.height, high - low)), by), low)
        for low, high, by in parts
        if high > low
    ]


def _near_180(target: Grid) -> bool:
    west, _, east, _ = lonlat_extent(target)
    return east - west < 180 and (east > 180 - _SEAM or west < -180 + _SEAM)


def _moved(grid: Grid, by: float) -> Grid:
    a, b, c, d, e, f = grid.transform
    return grid if by == 0 else Grid(grid.crs, (a, b, c + by, d, e, f), *grid.shape)


def _other_zone(grid: Grid, reference: Grid) -> bool:
    """Whether two grids are of the same pixel size in two projections of metres."""
    one, other = CRS.from_user_input(grid.crs), CRS.from_user_input(reference.crs)
    same = np.allclose(grid.transform[::4], reference.transform[::4], rtol=1e-6, atol=0)
    return bool(one.is_projected and other.is_projected and one != other and same)


def _reach(grid: Grid, reference: Grid) -> Tile:
    """Pixels of the reference lattice, beyond its edges too, that a grid in another CRS covers."""
    x, y = transform(grid.crs, reference.crs, *outline(grid, _EDGE_POINTS))
    rows, cols = reference.position(x, y)
    if not (np.isfinite(rows).all() and np.isfinite(cols).all()):
        raise InputError(f"{_describe(grid)} cannot be placed in {reference.crs[:40]}")
    row, col = int(np.floor(rows.min())), int(np.floor(cols.min()))
    return Tile(row, col, int(np.ceil(rows.max())) - row, int(np.ceil(cols.max())) - col)


def _touches(grid: Grid, target: Grid) -> bool:
    """Whether the outline of the target, in the CRS of a file, touches the file's grid."""
    left, bottom, right, top = grid.bounds
    x, y = transform(target.crs, grid.crs, *outline(target, _EDGE_POINTS))
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        return False
    x, y = x[known], y[known]
    turn = period(grid.crs)
    if turn is not None:
        x = np.unwrap(x, period=turn)
        x = x - np.round(((x.min() + x.max()) - (left + right)) / 2 / turn) * turn
    return bool(x.max() > left and x.min() < right and y.max() > bottom and y.min() < top)


def _misfit(path: Location, grid: Grid, first: Location, reference: Grid) -> str:
    where = f"{path}: {_describe(grid)} does not fit {first.name}, {_describe(reference)}"
    a, e = reference.transform[0], reference.transform[4]
    sizes = np.allclose(grid.transform[::4], (a, e), rtol=TOLERANCE / max(grid.shape), atol=0)
    if sizes and CRS.from_user_input(grid.crs) == CRS.from_user_input(reference.crs):
        off = [(grid.transform[k] - reference.transform[k]) / s for k, s in ((2, a), (5, e))]
        col, row = (abs(v - round(v)) for v in off)
        where += f": it lies {col:.3g} of a column and {row:.3g} of a row off its pixels"
    return f"{where}; expected one grid of pixels in a source: make it a source of its own, or give `regrid:`"


def _describe(grid: Grid) -> str:
    a, _, c, _, e, f = grid.transform
    return f"{grid.crs[:40]} with pixels {a:.10g} x {e:.10g} from ({c:.10g}, {f:.10g})"
