"""Gap filling of a block of pixels, day after day: between two scenes a filled value is a line in time.

`prepare.gap_fill.gap_fill` says what the values are; here the observations on either side of the day are
searched again only when a pixel passes one of them, or passes a limit of length. On every other day a value
is ``v0 + (t - t0) * slope``, one multiplication and one addition, in the same arithmetic and so with the
same bits as there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.packing import Packing
from mmnet_maps.prepare.gap_fill import Method
from mmnet_maps.produce.tile.inputs import TileInputs
from mmnet_maps.produce.tile.layers import cells_of, outliers, rows_in_reach
from mmnet_maps.produce.tile.trust import age_flag
from mmnet_maps.variables import Variable

__all__ = ["LineFill", "LineFiller"]

Array = NDArray[np.float32]
Days = NDArray[np.int32]

#: Day of an observation that is not there, and the limit that stands for no limit: far beyond any date, and
#: sums and differences of the two still fit.
_FAR, _NO_LIMIT = 2**29, 2**28


class LineFiller:
    """Variables of a source with a cell a pixel, in NumPy: a line in time for each pixel and variable.

    One block is open at a time: all of them use the same memory for their scenes.

    Parameters
    ----------
    inputs : TileInputs
    variables : sequence of Variable
        Filled together.
    days : ndarray of int64
        That will be asked for, consecutive.
    """

    depth = 0

    def __init__(self, inputs: TileInputs, variables: Sequence[Variable], days: NDArray[np.int64]) -> None:
        self.names = tuple(v.name for v in variables)
        self._inputs, self._variables, self._days = inputs, variables, days
        self._source = inputs.layers[self.names[0]].source
        self._rows = rows_in_reach(inputs.layers[self.names[0]], variables[0], days)
        self._scenes: NDArray[Any] | None = None

    def block(self, there: Mapping[str, Any], pixels: NDArray[np.int64]) -> _LineBlock:
        """At the pixels of one block."""
        cells = cells_of(self._inputs, self._source, pixels)
        chosen: slice | NDArray[Any] = cells
        if cells[-1] - cells[0] == len(cells) - 1 and (np.diff(cells) == 1).all():
            chosen = slice(int(cells[0]), int(cells[-1]) + 1)
        layers, variable = [self._inputs.layers[name] for name in self.names], self._variables[0]
        shape = (len(layers), self._rows.stop - self._rows.start, len(cells))
        if self._scenes is None or self._scenes.shape != shape:
            self._scenes = np.empty(shape, dtype=layers[0].stored.dtype)
        for scene, layer in zip(self._scenes, layers, strict=True):
            scene[...] = layer.stored[self._rows, chosen]
        observed, packing = layers[0].days[self._rows], layers[0].packing
        screened = outliers(self._scenes, packing, self._variables)
        if screened is not None:
            self._scenes[:, screened] = packing.encode(np.array([np.nan]))[0]
        how = (variable.fill, variable.max_gap, variable.max_age)
        fill = LineFill(observed, self._scenes, packing, int(self._days[0]), *how)
        return _LineBlock(fill, self._days, age_flag(variable))


class _LineBlock:
    def __init__(self, fill: LineFill, days: NDArray[np.int64], flag: int) -> None:
        self._fill, self._days, self._flag = fill, days, flag

    def write(self, days: slice, out: Array, bits: NDArray[np.int32]) -> None:
        for position, day in enumerate(self._days[days]):
            old = self._fill.fill(int(day), out[:, position])
            if old is not None:
                bits[position] |= old.astype(np.int32) * self._flag


class LineFill:
    """Fills the bands of one source in time, for days asked in increasing order.

    Parameters
    ----------
    observed_days : ndarray of int64, shape (s,)
        Days of the observations, strictly increasing.
    stored : ndarray, shape (bands, s, n)
        Observations as stored.
    packing : Packing
        Of all bands.
    first_day : int
        The first day that will be asked for.
    method, max_gap
        As `gap_fill`.
    max_age : int, optional
        Age in days above which a value is old.
    """

    def __init__(
        self,
        observed_days: NDArray[np.int64],
        stored: NDArray[Any],
        packing: Packing,
        first_day: int,
        method: Method = "linear",
        max_gap: int | None = None,
        max_age: int | None = None,
    ) -> None:
        bands, self._count, n = stored.shape
        # What is taken is valid, or replaced where there is none: it need not be compared with "missing".
        self._origin, self._packing = int(first_day), packing.model_copy(update={"missing": None})
        days = (observed_days - self._origin).astype(np.int32)
        # A row that is not there, -1 or the count, finds the last entry.
        self._days_before, self._days_after = np.append(days, -_FAR), np.append(days, np.int32(_FAR))
        self._flat = stored.reshape(bands, self._count * n)
        self._columns = np.arange(n, dtype=np.intp)
        self._method, self._max_age = method, max_age
        self._limit = 0 if method == "none" else _NO_LIMIT if max_gap is None else min(max_gap, _NO_LIMIT)
        self._search(_valid(stored, packing))
        self._next = -_FAR

    def _search(self, valid: NDArray[np.bool_]) -> None:
        """Last valid row up to the first day, and first valid row from every later row on."""
        bands, count, n = valid.shape
        if bands > 1 and (valid == valid[:1]).all():
            valid = valid[:1]
        self._valid, self._row = valid, self._row_after(0)
        self._before = np.full((len(valid), n), -1, dtype=np.int32)
        for row in range(self._row):
            np.copyto(self._before, np.int32(row), where=valid[:, row])
        self._first_row = self._row
        self._following = np.full((count - self._row + 1, len(valid), n), count, dtype=np.int32)
        for row in range(count - 1, self._row - 1, -1):
            own = self._following[row - self._first_row]
            np.copyto(own, self._following[row - self._first_row + 1])
            np.copyto(own, np.int32(row), where=valid[:, row])

    def _row_after(self, day: int) -> int:
        """The first row behind a day."""
        return int(np.searchsorted(self._days_before[:-1], day, side="right"))

    def _take(self, rows: NDArray[np.int32]) -> Array:
        """Observed values at these rows of each pixel, shape (bands, n); any value where there is no row."""
        if self._count == 0:
            return np.full((len(self._flat), len(self._columns)), np.nan, dtype=np.float32)
        place = np.multiply(np.minimum(rows, self._count - 1), len(self._columns), dtype=np.intp)
        place += self._columns
        if len(place) == 1:
            return self._packing.decode(self._flat.take(place[0], axis=1))
        return self._packing.decode(np.take_along_axis(self._flat, place, axis=1))

    def _advance(self, day: int) -> None:
        """Find the observations around a day, and until when they serve."""
        row = self._row_after(day)
        for passed in range(self._row, row):
            np.copyto(self._before, np.int32(passed), where=self._valid[:, passed])
        self._row = row
        after = self._following[row - self._first_row]
        t0, t1 = self._days_before.take(self._before), self._days_after.take(after)
        self._start = t0.astype(np.float32)
        v0, v1 = self._take(self._before), self._take(after)
        if self._method == "linear" and (t1 - t0).max() <= self._limit:
            # Every pixel lies on a line: the usual case, without its exceptions.
            self._slope, self._base = v1, v0
            self._slope -= v0
            self._slope /= (t1 - t0).astype(np.float32)
            self._next = int(t1.min())
            every = np.ones((1, 1), dtype=np.bool_)
            self._set_ages(every, ~every, every, t0, t1)
        else:
            self._choose(day, t0, t1, v0, v1)

    def _choose(self, day: int, t0: Days, t1: Days, v0: Array, v1: Array) -> None:
        """A line, the value before, the value after, or nothing, for each pixel."""
        limit, causal = np.int32(self._limit), self._method in ("past", "none")
        reach = np.full_like(t1, _FAR) if causal else t1 - limit
        line = (t1 - t0 <= limit) if self._method == "linear" else np.zeros(t0.shape, dtype=np.bool_)
        keep = t0 + limit
        if self._method == "linear":
            # The value before gives way to the value after from the middle on, once that is near enough.
            keep = np.minimum(keep, np.maximum(reach - 1, (t0 + t1) // 2))
        first = line | (day <= keep)
        second = ~first & (day >= reach)
        span = np.where(line, t1 - t0, 1).astype(np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            self._slope = np.where(line, (v1 - v0) / span, np.float32(0))
        self._base = np.where(first, v0, np.where(second, v1, np.float32(np.nan)))
        until = np.where(first & ~line, np.minimum(keep + 1, t1), t1)
        until = np.where(first | second, until, np.minimum(np.maximum(reach, day + 1), t1))
        self._next = int(until.min())
        self._set_ages(first, second, line, t0, t1)

    def _set_ages(
        self, first: NDArray[np.bool_], second: NDArray[np.bool_], line: NDArray[np.bool_], t0: Days, t1: Days
    ) -> None:
        if self._max_age is None:
            return
        age = np.int32(min(self._max_age, _NO_LIMIT))
        # Old strictly between these days; a missing value has no age.
        self._old_after = np.where(first, t0 + age, np.where(second, np.int32(-_FAR), np.int32(_FAR)))
        self._old_before = np.where(line | second, t1 - age, np.int32(_FAR))
        self._earliest, self._latest = int(self._old_after.min()), int(self._old_before.max())

    def fill(self, day: int, out: Array) -> NDArray[np.bool_] | None:
        """Write the values of a day.

        Parameters
        ----------
        day : int
            Not before the day of the call before.
        out : ndarray of float32, shape (bands, n)
            Overwritten; NaN where missing.

        Returns
        -------
        ndarray of bool, shape (n,), or None
            Where a band is older than `max_age`; None where none is.
        """
        t = int(day) - self._origin
        if t >= self._next:
            self._advance(t)
        np.multiply(self._slope, np.float32(t) - self._start, out=out)
        out += self._base
        if self._max_age is None or t <= self._earliest or t >= self._latest:
            return None
        old: NDArray[np.bool_] = np.logical_or.reduce((t > self._old_after) & (t < self._old_before), axis=0)
        return old


def _valid(stored: NDArray[Any], packing: Packing) -> NDArray[np.bool_]:
    """Where `Packing.decode` gives a value."""
    if stored.dtype.kind == "f":
        return ~np.isnan(packing.decode(stored))
    if packing.missing is None:
        return np.ones(stored.shape, dtype=np.bool_)
    found: NDArray[np.bool_] = stored != np.dtype(packing.dtype).type(packing.missing)
    return found
