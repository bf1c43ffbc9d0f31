"""Finished maps, however they are stored: a product, a published Zarr, or a folder of exported days.

Every store gives the same: a grid, days, layers in their stored integers, and the bits of ``quality``. What a
layer means (scale, unit, missing value, bits) is read from the store itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.errors import InputError, suggestion
from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.produce.tile.flags import meaning_of
from mmnet_maps.produce.units import iso
from mmnet_maps.store.location import Location
from mmnet_maps.store.states import state_of
from mmnet_maps.variables import Depth

__all__ = ["QUALITY", "Layer", "Maps", "Reasons", "days_between", "open_maps", "require"]

#: The layer of bits.
QUALITY = "quality"


@dataclass(frozen=True)
class Layer:
    """A layer of the maps.

    Attributes
    ----------
    name, long_name, units : str
    packing : Packing
        Physical value = stored x scale + offset; of ``quality`` only the type counts.
    """

    name: str
    long_name: str
    units: str
    packing: Packing

    def __post_init__(self) -> None:
        if self.name == QUALITY and self.dtype.kind not in "iu":
            raise InputError(f"layer {QUALITY} holds {self.dtype}, expected integers, whose bits are flags")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values."""
        return np.dtype(self.packing.dtype)


class Maps(Protocol):
    """What every store of finished maps gives; indices count along `days`, rows and columns on a level."""

    @property
    def source(self) -> Location:
        """Where the maps are."""

    @property
    def days(self) -> NDArray[np.int64]:
        """Days since 1970-01-01, ascending."""

    @property
    def levels(self) -> Sequence[Grid]:
        """The grid, and those of its overviews, each about half of the one before."""

    @property
    def layers(self) -> dict[str, Layer]:
        """Layers by name, soil moisture first."""

    @property
    def flags(self) -> dict[str, int]:
        """Bits of ``quality`` by meaning."""

    @property
    def soil_depth(self) -> Depth:
        """Top and bottom of the layer of soil, in metres."""

    def depth(self, name: str) -> int:
        """How many of the `levels` hold a layer, from the finest on."""

    def version(self, index: int) -> str:
        """Changes when the stored values of a day do."""

    def read(self, name: str, index: int, rows: slice, cols: slice, level: int = 0) -> NDArray[Any]:
        """Stored values of a layer on a day, shape (rows, columns)."""

    def pixels(
        self,
        names: Sequence[str],
        begin: int,
        end: int,
        row: NDArray[np.int64],
        col: NDArray[np.int64],
        workers: int = 2,
    ) -> dict[str, NDArray[Any]]:
        """Stored values of single pixels over days ``begin`` to ``end`` (exclusive): (days, pixels)."""


class Reasons:
    """The bits of ``quality`` in words.

    Parameters
    ----------
    flags : dict of str to int
        Bits by meaning, as the store names them.
    """

    def __init__(self, flags: dict[str, int]) -> None:
        self.words = {mask: meaning_of(name) for name, mask in flags.items()}

    def of(self, bits: int) -> str:
        """``reason; reason`` of one value; empty where no bit is set."""
        return "; ".join(words for mask, words in self.words.items() if bits & mask)

    def table(self, quality: NDArray[Any]) -> NDArray[np.object_]:
        """The same for an array of values, of the same shape."""
        values, inverse = np.unique(quality, return_inverse=True)
        found = np.array([self.of(int(v)) for v in values], dtype=object)
        return found[inverse].reshape(quality.shape)


def require(maps: Maps, *names: str) -> None:
    """Refuse maps that lack one of the layers."""
    lacking = [name for name in names if name not in maps.layers]
    if lacking:
        more = suggestion(lacking[0], maps.layers)
        raise InputError(f"{maps.source}: no layer {lacking[0]}; there are {', '.join(maps.layers)}{more}")


def days_between(maps: Maps, start: int | None, end: int | None) -> tuple[int, int]:
    """First index and the one after the last of the days from `start` to `end`, both included.

    Raises
    ------
    InputError
        The store holds no day between them.
    """
    first, last = int(maps.days[0]), int(maps.days[-1])
    low, high = first if start is None else start, last if end is None else end
    begin, stop = np.searchsorted(maps.days, [low, high + 1])
    if stop <= begin:
        raise InputError(
            f"{maps.source}: no day from {iso(low)} to {iso(high)}; it holds {iso(first)} to {iso(last)}"
        )
    return int(begin), int(stop)


def open_maps(source: Location) -> Maps:
    """Open maps for reading.

    Parameters
    ----------
    source : Path or Remote
        A product that `predict` made, a Zarr that `export --zarr` wrote, or the folder of COGs of `export`.

    Raises
    ------
    InputError
        It is none of them, or cannot be read.
    """
    # Each store imports its own library; none is needed for the other.
    from mmnet_maps.produce.extract.cogs import CogMaps
    from mmnet_maps.produce.extract.zarrs import ZarrMaps

    for found in dict.fromkeys((source, state_of(source))):
        if (found / "zarr.json").is_file() or (found / ".zgroup").is_file():
            return ZarrMaps(found)
    source = state_of(source)
    if source.is_dir():
        return CogMaps(source)
    raise InputError(
        f"{source}: no maps there, expected a product, a Zarr of `export --zarr` or a folder of `export`"
    )


@dataclass(frozen=True)
class Groups:
    """Pixels that lie in one stored block of values, to be read together.

    Attributes
    ----------
    at : list of ndarray
        Positions of the pixels of each group.
    """

    row: NDArray[np.int64]
    col: NDArray[np.int64]
    block: tuple[int, int]

    @cached_property
    def at(self) -> list[NDArray[np.int64]]:
        """Positions of the pixels of each group, block by block."""
        high, wide = self.block
        key = (self.row // high) * (int(self.col.max(initial=0)) // wide + 1) + self.col // wide
        order = np.argsort(key, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(key[order])) + 1)

    def window(self, at: NDArray[np.int64]) -> tuple[slice, slice]:
        """The smallest rows and columns that hold the pixels of a group."""
        row, col = self.row[at], self.col[at]
        return slice(int(row.min()), int(row.max()) + 1), slice(int(col.min()), int(col.max()) + 1)
