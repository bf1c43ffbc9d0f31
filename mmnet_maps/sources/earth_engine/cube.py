"""Sources of a cube read from Earth Engine, each on its own native grid."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import ee
import numpy as np
from numpy.typing import NDArray

from mmnet_maps.assets import ASSETS, AssetSource
from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.progress import steps
from mmnet_maps.sources.earth_engine import expressions
from mmnet_maps.sources.earth_engine.faults import AskForLess
from mmnet_maps.sources.earth_engine.grids import NativeGrid, lonlat_box, native_grid
from mmnet_maps.sources.earth_engine.session import Session
from mmnet_maps.sources.earth_engine.settings import sources_of
from mmnet_maps.variables import VARIABLES, Cadence, Variable

__all__ = ["EarthEngineReader", "estimate_seconds", "open_readers"]

_EPOCH = dt.date(1970, 1, 1)
#: Earth Engine's limits of one answer: pixels along a side, and bands.
_MOST_PIXELS, _MOST_BANDS = 32_768, 256
_CADENCE: dict[str, Cadence] = {
    "daily": "daily",
    "means": "daily",
    "scenes": "irregular",
    "yearly": "yearly",
    "static": "static",
}


@dataclass(frozen=True)
class _Piece:
    """Part of a read: some of its days, some rows and columns of the grid."""

    first: int
    last: int
    rows: slice
    cols: slice

    def halves(self) -> tuple[_Piece, _Piece] | None:
        """In two, by days, else along the longer side; None for one pixel and day."""
        if self.last - self.first > 1:
            middle = (self.first + self.last) // 2
            return (
                _Piece(self.first, middle, self.rows, self.cols),
                _Piece(middle, self.last, self.rows, self.cols),
            )
        high, wide = self.rows.stop - self.rows.start, self.cols.stop - self.cols.start
        if max(high, wide) < 2:
            return None
        if high >= wide:
            cut = self.rows.start + high // 2
            one, two = slice(self.rows.start, cut), slice(cut, self.rows.stop)
            return _Piece(self.first, self.last, one, self.cols), _Piece(
                self.first, self.last, two, self.cols
            )
        cut = self.cols.start + wide // 2
        one, two = slice(self.cols.start, cut), slice(cut, self.cols.stop)
        return _Piece(self.first, self.last, self.rows, one), _Piece(self.first, self.last, self.rows, two)


class EarthEngineReader:
    """A `mmnet_maps.source_reader.SourceReader` that asks Earth Engine for stored integers.

    Masked pixels are filled with the packing's missing value on the server, which lies outside what a value
    can be; they never arrive as zero.

    Parameters
    ----------
    session : Session
    name : str
    source : AssetSource
    native : NativeGrid
    times : mapping of int to tuple of int
        For each day (days since 1970-01-01), start times of its images in milliseconds; empty for a static
        source.
    """

    def __init__(
        self,
        session: Session,
        name: str,
        source: AssetSource,
        native: NativeGrid,
        times: Mapping[int, tuple[int, ...]],
    ) -> None:
        self._session, self._source, self._native = session, source, native
        self.name = name
        self.grid: Grid = native.grid
        self.variables: dict[str, Packing] = {n: _packing(n, source) for n in source.variables}
        self.definitions: dict[str, Variable] = {n: _definition(n, name, source) for n in source.variables}
        self.cadence: Cadence = _CADENCE[source.times]
        self.days: NDArray[np.int64] = np.array(sorted(times), dtype=np.int64)
        self._times = times

    def identity(self, first: int, last: int) -> str:
        """Digest of the assets, their treatment, and the images of the days."""
        facts = {
            "source": self._source.model_dump(mode="json"),
            "images": [self._times[int(day)] for day in self.days[first:last]],
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def read(self, first: int, last: int, rows: slice, cols: slice) -> dict[str, NDArray[Any]]:
        """Stored values of days ``first`` to ``last`` (exclusive) in a window of the grid.

        Returns
        -------
        dict of str to ndarray, shape (last - first, rows, columns)

        Raises
        ------
        InputError, WorkError
            See `Session.call`; also when even one pixel and day is too much.
        """
        shape = (last - first, rows.stop - rows.start, cols.stop - cols.start)
        out = {name: np.empty(shape, dtype=p.dtype) for name, p in self.variables.items()}
        pieces = self._pieces(_Piece(first, last, rows, cols))
        self._session.together([partial(self._fetch, piece, (first, rows, cols), out) for piece in pieces])
        return out

    def _pieces(self, piece: _Piece) -> list[_Piece]:
        """Cut a read until every part keeps to the limits of one request, by the bytes that it will have."""
        days = piece.last - piece.first
        high, wide = piece.rows.stop - piece.rows.start, piece.cols.stop - piece.cols.start
        size = days * high * wide * sum(np.dtype(p.dtype).itemsize for p in self.variables.values())
        fits = (
            size <= self._session.config.request_mib * 2**20
            and max(high, wide) <= _MOST_PIXELS
            and days * len(self.variables) <= _MOST_BANDS
            # A day of scenes is a request: many of them are computed side by side, and none is large.
            and (days == 1 or self._source.times != "scenes")
        )
        halves = None if fits else piece.halves()
        return [piece] if halves is None else [p for half in halves for p in self._pieces(half)]

    def _fetch(self, piece: _Piece, origin: tuple[int, slice, slice], out: dict[str, NDArray[Any]]) -> None:
        """Fill a piece's part of the arrays; in halves where it is too much."""
        bands = {(n, i): f"{n}_{i}" for i in range(piece.last - piece.first) for n in self.variables}
        image = ee.Image.cat([self._packed(piece.first + i, i) for i in range(piece.last - piece.first)])
        grid = self._native.window(piece.rows, piece.cols)
        dtypes = [self.variables[name].dtype for name, _ in bands]
        try:
            found = self._session.pixels(self._called(piece), image, grid, list(bands.values()), dtypes)
        except AskForLess as error:
            halves = piece.halves()
            if halves is None:
                raise WorkError(f"{error}; it cannot be cut any further") from error
            for half in halves:
                self._fetch(half, origin, out)
            return
        day, rows, cols = origin
        window = (
            slice(piece.rows.start - rows.start, piece.rows.stop - rows.start),
            slice(piece.cols.start - cols.start, piece.cols.stop - cols.start),
        )
        for (name, i), band in bands.items():
            out[name][piece.first + i - day, window[0], window[1]] = found[band]

    def _packed(self, step: int, number: int) -> ee.Image:
        """Stored integers of one step, in bands ``<variable>_<number>``."""
        names = list(self.variables)
        return expressions.packed(
            self._image(step, names), self.variables, {n: f"{n}_{number}" for n in names}
        )

    def _image(self, step: int, names: list[str]) -> ee.Image:
        source = self._source
        if source.times == "static":
            return ee.Image.cat([expressions.static_image(asset) for asset in source.assets])
        day = _EPOCH + dt.timedelta(days=int(self.days[step]))
        if source.times == "yearly":
            return expressions.static_image(sorted(source.assets, key=lambda asset: asset.year or 0)[step])
        return expressions.day_image(source, day, _region(self.grid), names)

    def _called(self, piece: _Piece) -> str:
        size = f"{piece.rows.stop - piece.rows.start} x {piece.cols.stop - piece.cols.start} pixels"
        if self.cadence == "static":
            return f"{self.name}, {size}"
        span = [str(np.datetime64(int(self.days[i]), "D")) for i in (piece.first, piece.last - 1)]
        return f"{self.name} {' to '.join(dict.fromkeys(span))}, {size}"


def open_readers(
    session: Session, target: Grid, start: dt.date, end: dt.date, only: Collection[str] | None = None
) -> list[EarthEngineReader]:
    """A reader for every configured source, over the region of `target`, for the days from start to end.

    Parameters
    ----------
    session : Session
    target : Grid
    start, end : date
        Both included.
    only : collection of str, optional
        Names of the sources wanted; by default all.

    Raises
    ------
    InputError
        A source has no image there in those days, or an asset is unknown.
    """
    configured = sources_of(session.config)
    sources = {name: source for name, source in configured.items() if only is None or name in only}
    with steps("Earth Engine sources", len(sources)) as advance:

        def one(name: str, source: AssetSource) -> EarthEngineReader:
            native = native_grid(session, source, target)
            reader = EarthEngineReader(
                session, name, source, native, _times(session, name, source, native, start, end)
            )
            advance(1, name)
            return reader

        return session.together([partial(one, name, source) for name, source in sources.items()])


def estimate_seconds(session: Session, readers: list[EarthEngineReader]) -> float:
    """EECU-seconds that a whole cube uses by estimate."""
    total = 0.0
    for reader in readers:
        count = max(1, reader.days.size)
        pixels = reader.grid.height * reader.grid.width * len(reader.variables)
        total += session.budget.seconds(pixels=count * pixels)
    return total


def _times(
    session: Session, name: str, source: AssetSource, native: NativeGrid, start: dt.date, end: dt.date
) -> dict[int, tuple[int, ...]]:
    if source.times == "static":
        return {}
    if source.times == "yearly":
        # By the year of the edition: a map takes the nearest.
        return {(dt.date(asset.year or 0, 1, 1) - _EPOCH).days: () for asset in source.assets}
    region = _region(native.grid)
    found: dict[int, set[int]] = {}
    for asset in source.assets:
        for year in range(start.year, end.year + 1):
            first, last = max(start, dt.date(year, 1, 1)), min(end, dt.date(year, 12, 31))
            images = expressions.collection(asset, first, last, region)
            stamps = session.value(
                f"images of {asset.id} in {year}", images.aggregate_array("system:time_start")
            )
            for stamp in stamps:
                found.setdefault(int(stamp) // 86_400_000, set()).add(int(stamp))
    if not found:
        ids = ", ".join(asset.id for asset in source.assets)
        raise InputError(f"source {name}: {ids} has no image over the region from {start} to {end}")
    return {day: tuple(sorted(stamps)) for day, stamps in found.items()}


def _region(grid: Grid) -> ee.Geometry:
    west, south, east, north = lonlat_box(grid)
    return ee.Geometry.Rectangle([[west, south], [east, north]], "EPSG:4326", False)


def _packing(name: str, source: AssetSource) -> Packing:
    """Storage as configured, else as the published source of that variable, else plain float32."""
    for known in (source, *ASSETS.values()):
        if name in known.packings:
            return known.packings[name]
    return Packing(dtype="float32", missing=-9999.0)


def _definition(name: str, called: str, source: AssetSource) -> Variable:
    for variable in VARIABLES:
        if variable.name == name:
            return variable.model_copy(update={"collection": source.collection_of(name)})
    known = ", ".join(v.name for v in VARIABLES)
    raise InputError(f"sources.{called}: {name} is not in the catalogue, which holds {known}")
