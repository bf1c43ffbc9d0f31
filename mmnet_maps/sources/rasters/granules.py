"""Granules: the files that a source is made of, and how several of one day become one field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.sources.rasters.formats import Band
from mmnet_maps.sources.rasters.stated import usable
from mmnet_maps.store.location import Location

#: Beyond what is measured: the missing values 1e20, 9.96921e36 and -3.4028e38 are.
_HUGE = 9e19

__all__ = ["Layer", "Piece", "flagged", "out_of_range", "settled"]


@dataclass(frozen=True)
class Piece:
    """A file, or the part of one on one side of its seam, and what of it is used.

    Attributes
    ----------
    path : Path or Remote
    key : str
        Scene, which values and flags share.
    bands : dict of str to Band
        By variable.
    flags : Band, optional
        Bit flags in this file.
    days : ndarray of int64
        Of its fields; one 0 for a static source.
    row, col : int
        Place of its first pixel in the grid of the source, or in `own`.
    height, width : int
    stamp : str
        Name, size and time of change of the file and of those below it.
    first_col : int
        First column of the file that is used.
    own : Grid, optional
        The grid of this file and those on its lattice, where it is another than the source's: their values
        are put together there, then brought onto the source's.
    below : tuple of Path or Remote
        Other files that its values come from.
    storage : dict of str to Packing
        How its values are stored, in the unit of the variable; they are packed as the source's.
    """

    path: Location
    key: str
    bands: dict[str, Band]
    flags: Band | None
    days: NDArray[np.int64]
    row: int
    col: int
    height: int
    width: int
    stamp: str
    first_col: int = 0
    own: Grid | None = None
    below: tuple[Location, ...] = ()
    storage: dict[str, Packing] = field(default_factory=dict)

    def columns(self, cols: slice) -> slice:
        """Columns of the file for columns of the piece."""
        return slice(cols.start + self.first_col, cols.stop + self.first_col)


class Layer:
    """One variable of a window, into which granules are put; several of one day are averaged."""

    def __init__(self, packing: Packing, shape: tuple[int, int, int], mosaic: str) -> None:
        self.packing, self.mosaic = packing, mosaic
        self.kind = np.dtype(packing.dtype)
        self.missing = self.kind.type(np.nan if packing.missing is None else packing.missing)
        self.stored = np.full(shape, self.missing, dtype=self.kind)
        self.seen = np.zeros(shape[0], dtype=bool)
        self.sums: dict[int, tuple[NDArray[np.float64], NDArray[np.int32]]] = {}

    def valid(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Where there is a value."""
        found = stored != self.missing
        return np.asarray(found & ~np.isnan(stored) if self.kind.kind == "f" else found)

    def add(self, step: int, part: tuple[slice, slice], values: NDArray[Any]) -> None:
        """Put a granule in its part."""
        view = self.stored[step][part]
        if not self.seen[step]:
            view[...] = values
            self.seen[step] = True
            return
        fresh = self.valid(values)
        if self.mosaic == "first":
            fresh &= ~self.valid(view)
            view[fresh] = values[fresh]
            return
        if step not in self.sums:
            have = self.valid(self.stored[step])
            self.sums[step] = np.where(have, self.stored[step], 0).astype(np.float64), have.astype(np.int32)
        total, count = self.sums[step]
        total[part] += np.where(fresh, values, 0)
        count[part] += fresh

    def finish(self) -> NDArray[Any]:
        """Stored values; a mean is rounded to the nearest stored integer."""
        for step, (total, count) in self.sums.items():
            mean = total / np.maximum(count, 1)
            mean = mean if self.kind.kind == "f" else np.rint(mean)
            self.stored[step] = np.where(count > 0, mean.astype(self.kind), self.missing)
        return self.stored


def settled(stored: NDArray[Any], band: Band, own: Packing, packing: Packing, bad: Any) -> NDArray[Any]:
    """Values of a file as the source stores them, with all that is missing settled.

    Parameters
    ----------
    stored : ndarray
        As the file has them; a masked array where it has a mask.
    band : Band
    own : Packing
        Of the file, in the unit of the variable.
    packing : Packing
        Of the source.
    bad : ndarray of bool, or False
        What else is missing.
    """
    values = np.ma.getdata(stored)
    if band.masked:
        bad = bad | np.ma.getmaskarray(stored)
    for value in usable(values.dtype.name, (*band.missing, own.missing)):
        if abs(value) > _HUGE and values.dtype.kind == "f":
            # Such a value stands for nothing else, and tags give it with fewer digits than the file.
            with np.errstate(invalid="ignore"):
                bad = bad | (np.abs(values) > _HUGE)
        elif own != packing or value != packing.missing:
            bad = bad | (values == value)
    if band.valid is not None:
        with np.errstate(invalid="ignore"):
            bad = bad | (values < band.valid[0]) | (values > band.valid[1])
    if (own.scale, own.offset) == (packing.scale, packing.offset):
        values = values.astype(packing.dtype, copy=False)
    else:
        values = packing.encode(own.decode(values))
    if bad is False:
        return values
    missing = np.dtype(packing.dtype).type(np.nan if packing.missing is None else packing.missing)
    return np.where(bad, missing, values)


def out_of_range(stored: NDArray[Any], packing: Packing, limits: tuple[float, float] | None) -> Any:
    """Where a physical value lies outside limits; False where there are none."""
    if limits is None:
        return False
    values = packing.decode(np.ma.getdata(stored))
    return (values < np.float32(limits[0])) | (values > np.float32(limits[1]))


def flagged(bits: NDArray[Any], band: Band, clear: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where a flag of `clear` is set, or the flags themselves are missing."""
    unknown = np.array(np.ma.getmaskarray(bits))
    bits = np.ma.getdata(bits)
    for value in band.missing:
        unknown |= bits == int(value)
    return np.asarray(unknown | ((bits & sum(1 << bit for bit in clear)) != 0))
