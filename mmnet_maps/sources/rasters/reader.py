"""A source made of raster files: one grid over all of them, same-day granules averaged, flags applied."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid, Tile
from mmnet_maps.packing import Packing
from mmnet_maps.source_reader import SourceConfig
from mmnet_maps.sources.rasters.formats import Files, Format
from mmnet_maps.sources.rasters.granules import Layer, Piece, flagged, out_of_range, settled
from mmnet_maps.sources.rasters.transforms import changed, changes
from mmnet_maps.sources.rasters.warp import needed, warped
from mmnet_maps.store.location import Location
from mmnet_maps.variables import Cadence, Variable

__all__ = ["MASK", "RasterSource"]

#: Under which name the flags of a scene are read.
MASK = "mask"


@dataclass(frozen=True)
class RasterSource:
    """Raster files as a `SourceReader`; made by `scan.open_source`.

    Attributes
    ----------
    notes : tuple of str
        What a user should know of the files, a line each.
    files : Files
        Where their bytes come from.
    """

    name: str
    grid: Grid
    variables: dict[str, Packing]
    definitions: dict[str, Variable]
    cadence: Cadence
    days: NDArray[np.int64]
    config: SourceConfig
    format: Format
    pieces: tuple[Piece, ...]
    flags: dict[str, Piece] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files: Files = field(default_factory=Files)

    @property
    def files_read(self) -> set[Location]:
        """Every file that its values and flags come from."""
        pieces = (*self.pieces, *self.flags.values())
        return {path for piece in pieces for path in (piece.path, *piece.below)}

    def read(self, first: int, last: int, rows: slice, cols: slice) -> dict[str, NDArray[Any]]:
        """See `SourceReader.read`."""
        wanted = self._steps(first, last)
        tile = Tile(rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start)
        layers = self._layers(wanted.size, tile)
        for own, pieces in self._by_grid(self._pieces_of(wanted)):
            if own is None:
                self._gather(pieces, wanted, tile, layers)
            else:
                self._bring(own, pieces, wanted, tile, layers)
        return {name: layer.finish() for name, layer in layers.items()}

    def _layers(self, steps: int, tile: Tile) -> dict[str, Layer]:
        shape = steps, tile.height, tile.width
        return {name: Layer(packing, shape, self._mosaic(name)) for name, packing in self.variables.items()}

    @staticmethod
    def _by_grid(pieces: list[Piece]) -> list[tuple[Grid | None, list[Piece]]]:
        """Pieces by the grid on which they are put together, in the order of their names."""
        found: dict[Grid | None, list[Piece]] = {}
        for piece in pieces:
            found.setdefault(piece.own, []).append(piece)
        return list(found.items())

    def _gather(
        self, pieces: list[Piece], wanted: NDArray[np.int64], tile: Tile, layers: dict[str, Layer]
    ) -> None:
        """Put pieces of one grid into the layers of a tile of it."""
        for piece in pieces:
            here = np.flatnonzero((piece.days >= wanted[0]) & (piece.days <= wanted[-1]))
            top, bottom = max(tile.row, piece.row), min(tile.row + tile.height, piece.row + piece.height)
            left, right = max(tile.col, piece.col), min(tile.col + tile.width, piece.col + piece.width)
            if here.size == 0 or top >= bottom or left >= right:
                continue
            steps = slice(int(here[0]), int(here[-1]) + 1)
            inner = slice(top - piece.row, bottom - piece.row), slice(left - piece.col, right - piece.col)
            values = self._values(piece, steps, inner[0], piece.columns(inner[1]))
            part = slice(top - tile.row, bottom - tile.row), slice(left - tile.col, right - tile.col)
            for k, step in enumerate(np.searchsorted(wanted, piece.days[steps])):
                for name in piece.bands:
                    layers[name].add(int(step), part, values[name][k])

    def _bring(
        self,
        own: Grid,
        pieces: list[Piece],
        wanted: NDArray[np.int64],
        tile: Tile,
        layers: dict[str, Layer],
    ) -> None:
        """Put pieces of another grid together there, and bring the whole onto a tile of the source's."""
        method = self.config.regrid or "nearest"
        window = needed(own, self.grid, tile, method)
        if window is None:
            return
        there = self._layers(wanted.size, window)
        self._gather(pieces, wanted, window, there)
        every = slice(0, tile.height), slice(0, tile.width)
        for name, layer in there.items():
            measure, steps = self.definitions[name].measure, np.flatnonzero(layer.seen)
            if not steps.size:
                continue
            values = warped(
                layer.finish()[steps], window, own, self.grid, tile, method, layer.packing, measure
            )
            for step, field_of_day in zip(steps, values, strict=True):
                layers[name].add(int(step), every, field_of_day)

    def identity(self, first: int, last: int) -> str:
        """See `SourceReader.identity`: name, size and time of change of every file, and how it is read."""
        used = [piece.stamp for piece in self._used(self._steps(first, last))]
        how = self.config.model_dump_json(exclude={"path", "listing"})
        return hashlib.sha256("\n".join([how, *used]).encode()).hexdigest()

    def fetch_bytes(self, first: int, last: int, rows: slice, cols: slice) -> int:
        """Bytes that reading a window would fetch, about: of each file the share of its pixels and days."""
        wanted, total = self._steps(first, last), 0.0
        for piece in self._used(wanted):
            high = min(rows.stop, piece.row + piece.height) - max(rows.start, piece.row)
            wide = min(cols.stop, piece.col + piece.width) - max(cols.start, piece.col)
            if piece.own is not None:
                high, wide = piece.height, piece.width
            days = int(((piece.days >= wanted[0]) & (piece.days <= wanted[-1])).sum())
            if high > 0 and wide > 0 and days:
                share = high * wide * days / (piece.height * piece.width * piece.days.size)
                total += self.files.size(piece.path) * share
        return round(total)

    def _used(self, days: NDArray[np.int64]) -> list[Piece]:
        """Files of values and of flags of these days."""
        pieces = self._pieces_of(days)
        keys = {piece.key for piece in pieces}
        return [*pieces, *(self.flags[key] for key in sorted(keys & self.flags.keys()))]

    @cached_property
    def _spans(self) -> NDArray[np.int64]:
        """First and last day of every piece, shape (pieces, 2)."""
        return np.array([(piece.days[0], piece.days[-1]) for piece in self.pieces], dtype=np.int64)

    def _pieces_of(self, days: NDArray[np.int64]) -> list[Piece]:
        """Files that may have a field of these days."""
        if days.size == 0:
            return []
        near = (self._spans[:, 0] <= days[-1]) & (self._spans[:, 1] >= days[0])
        return [self.pieces[k] for k in np.flatnonzero(near)]

    def _steps(self, first: int, last: int) -> NDArray[np.int64]:
        return np.zeros(1, dtype=np.int64) if self.cadence == "static" else self.days[first:last]

    def _mosaic(self, name: str) -> str:
        return self.config.variables[name].mosaic or self.definitions[name].mosaic

    def _values(self, piece: Piece, steps: slice, rows: slice, cols: slice) -> dict[str, NDArray[Any]]:
        """Values of a file on its own pixels, as the source stores them: missing settled, transformed."""
        halo = max((self.config.variables[name].smooth or 0 for name in piece.bands), default=0)
        if not halo:
            return self._settled(piece, steps, rows, cols)
        left = piece.first_col
        high, wide = _wider(rows, halo, 0, piece.height), _wider(cols, halo, left, left + piece.width)
        inner = _within(rows, high), _within(cols, wide)
        found = self._settled(piece, steps, high, wide)
        return {name: values[(slice(None), *inner)] for name, values in found.items()}

    def _settled(self, piece: Piece, steps: slice, rows: slice, cols: slice) -> dict[str, NDArray[Any]]:
        wanted = dict(piece.bands)
        if piece.flags is not None:
            wanted[MASK] = piece.flags
        try:
            values = self.format.read(piece.path, wanted, steps, rows, cols)
            bits, band = values.pop(MASK, None), piece.flags
            if bits is None and piece.key in self.flags:
                other = self.flags[piece.key]
                band = other.flags
                assert band is not None
                bits = self.format.read(other.path, {MASK: band}, steps, rows, cols)[MASK]
        except OSError as error:
            why = error.__cause__ or error  # GDAL's own words, of rasterio
            raise InputError(f"{piece.path}: cannot be read: {' '.join(str(why).split())}") from None
        hidden: Any = False
        if bits is not None and band is not None and self.config.mask is not None:
            hidden = flagged(bits, band, self.config.mask.clear_bits)
        for name, stored in values.items():
            own, keys = piece.storage[name], self.config.variables[name]
            if changes(keys):
                values[name] = changed(stored, piece.bands[name], own, self.variables[name], keys, hidden)
                continue
            bad = hidden | out_of_range(stored, own, keys.valid_range)
            values[name] = settled(stored, piece.bands[name], own, self.variables[name], bad)
        return values


def _wider(span: slice, by: int, first: int, end: int) -> slice:
    return slice(max(first, span.start - by), min(end, span.stop + by))


def _within(span: slice, wider: slice) -> slice:
    return slice(span.start - wider.start, span.stop - wider.start)
