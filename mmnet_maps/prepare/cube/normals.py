"""Climate normals of a cube, computed while it is built from the daily fields of its sources."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.dates import to_yyyymmdd, year_of
from mmnet_maps.errors import InputError
from mmnet_maps.packing import Packing
from mmnet_maps.prepare.cube.config import NormalsConfig
from mmnet_maps.prepare.normals import MONTH_DAYS, NORMALS, MonthSums
from mmnet_maps.source_reader import SourceReader
from mmnet_maps.variables import NORMAL, Cadence, normal_of

__all__ = ["NormalsReader", "normals_readers"]

#: Days read at once; it does not follow the tiles, so that sums are added in one order everywhere.
_STEPS = 32
_PACKING = Packing(dtype="float32")


class NormalsReader:
    """A static `mmnet_maps.source_reader.SourceReader`: the normals of some daily variables of another one.

    Parameters
    ----------
    source : SourceReader
        Its grid is that of the normals. All days within the years are used, whatever the cube holds of them.
    names : sequence of str
        Daily variables of the source.
    config : NormalsConfig

    Raises
    ------
    InputError
        The source is not daily, or no day of it lies in the years.
    """

    def __init__(self, source: SourceReader, names: Sequence[str], config: NormalsConfig) -> None:
        self._source, self._names = source, tuple(names)
        self.name = f"{source.name}_normals"
        self.grid = source.grid
        self.cadence: Cadence = "static"
        self.days: NDArray[np.int64] = np.array([], dtype=np.int64)
        self.variables = {f"{name}{NORMAL}": _PACKING for name in names}
        found = [normal_of(source.definitions[name], config.until) for name in names]
        self.definitions = {variable.name: variable for variable in found}
        self._first, self._last = _steps(source, config)

    def identity(self, first: int, last: int) -> str:
        """See `SourceReader.identity`: the days used and what their fields come from."""
        days = self._source.days[self._first : self._last]
        made_from = self._source.identity(self._first, self._last)
        return hashlib.sha256(made_from.encode() + days.tobytes()).hexdigest()

    def read(self, first: int, last: int, rows: slice, cols: slice) -> dict[str, NDArray[Any]]:
        """See `SourceReader.read`."""
        shape = 1, rows.stop - rows.start, cols.stop - cols.start
        cells = shape[1] * shape[2]
        sums = {name: MonthSums(cells) for name in self._names}
        for begin in range(self._first, self._last, _STEPS):
            end = min(begin + _STEPS, self._last)
            month = np.repeat(to_yyyymmdd(self._source.days[begin:end]) // 100 % 100 - 1, cells)
            cell = np.tile(np.arange(cells), end - begin)
            fields = self._source.read(begin, end, rows, cols)
            for name in self._names:
                values = self._source.variables[name].decode(fields[name])
                sums[name].add(values.ravel(), cell, month)
        return {f"{n}{NORMAL}": s.normals().astype(np.float32).reshape(shape) for n, s in sums.items()}


def normals_readers(config: NormalsConfig, readers: Sequence[SourceReader]) -> list[NormalsReader]:
    """A reader of normals for each source that holds weather of which they are wanted.

    Parameters
    ----------
    config : NormalsConfig
    readers : sequence of SourceReader
        The sources of the cube.

    Raises
    ------
    InputError
        No source holds a variable that is named, or any of `NORMALS`; or a source does not go back so far.
    """
    wanted = config.variables or NORMALS
    held = [(reader, [n for n in wanted if n in reader.variables]) for reader in readers]
    lacking = [n for n in wanted if not any(n in names for _, names in held)]
    if (config.variables is not None and lacking) or len(lacking) == len(wanted):
        raise InputError(f"normals: no source holds {', '.join(lacking)}; expected daily rasters of them")
    return [NormalsReader(reader, names, config) for reader, names in held if names]


def _steps(source: SourceReader, config: NormalsConfig) -> tuple[int, int]:
    """Steps of a source within the years, the last one exclusive."""
    if source.cadence != "daily":
        raise InputError(f"normals: source {source.name} is {source.cadence}, expected a daily one")
    year = year_of(source.days)
    first = 0 if config.since is None else int(np.searchsorted(year, config.since, side="left"))
    last = int(np.searchsorted(year, config.until, side="right"))
    months = np.bincount(to_yyyymmdd(source.days[first:last]) // 100 % 100 - 1, minlength=12)
    if (months < MONTH_DAYS).any():
        years = f"{'' if config.since is None else f'{config.since} '}to {config.until}"
        span = " to ".join(str(np.datetime64(int(d), "D")) for d in source.days[[0, -1]])
        raise InputError(
            f"normals: source {source.name} has {int(months.min())} days of month {int(months.argmin()) + 1} "
            f"in the years {years}, its rasters are of {span}; expected rasters of a whole year or more, or "
            "rasters of normals as a static source instead"
        )
    return first, last
