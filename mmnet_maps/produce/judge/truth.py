"""Maps against a known truth, beside SMAP: scores in space, in time, and within the cells of SMAP.

Everything is gathered as sums of a tile and a day at a time, so that memory holds one tile, and one small row
for each SMAP cell and day, whatever the resolution. MMNet and SMAP are judged on the same pixel-days: those
where truth, map and SMAP all have a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mmnet_maps.errors import InputError
from mmnet_maps.grid import CellLookup, Grid, Tile, cell_lookup, tiles
from mmnet_maps.prepare.cube.store import Cube, CubeSource
from mmnet_maps.produce.product.store import Product
from mmnet_maps.produce.units import iso
from mmnet_maps.progress import steps

__all__ = ["CoarseField", "TruthField", "closer_within_cells", "compare_with_truth", "comparison_table"]

Float = NDArray[np.float64]

#: Rows of a table of sums: count, then truth t, map m and SMAP s, their squares and products with the truth.
_SUMS = ("n", "t", "m", "s", "tt", "mm", "ss", "tm", "ts")
#: Taken off every value before squaring, so that sums of squares lose no digits; soil moisture is near it.
_CENTRE = 0.25
#: Distances from what is perfect that add up to less are rounding.
_PERFECT = 1e-9
#: Rows of the scores.
_SCORES = ("corr", "ubrmse", "bias", "rmse", "slope")
#: A variance below this (a deviation of 1e-6 m3 m-3) is a constant with rounding: no correlation exists.
_CONSTANT = 1e-12


class TruthField:
    """Known soil moisture on the grid of the maps.

    Parameters
    ----------
    path : Path
        Zarr folder or NetCDF file with ``soil_moisture`` (time, y, x) in m3 m-3, missing as CF says or NaN.
    grid : Grid
        The grid that it must be on.

    Raises
    ------
    InputError
        It cannot be read, lacks the variable, or is on another grid.
    """

    def __init__(self, path: Path, grid: Grid) -> None:
        if not path.exists():
            raise InputError(f"{path}: no such truth dataset")
        try:
            zarr: dict[str, Any] = {"engine": "zarr", "consolidated": False} if path.is_dir() else {}
            data = xr.open_dataset(path, chunks=None, decode_coords="all", **zarr)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path}: not a readable Zarr or NetCDF dataset: {error}") from None
        if "soil_moisture" not in data or data["soil_moisture"].dims != ("time", "y", "x"):
            raise InputError(f"{path}: expected soil_moisture with dimensions (time, y, x)")
        self._values = data["soil_moisture"]
        if self._values.shape[1:] != grid.shape or not _same_axes(data, grid):
            raise InputError(
                f"{path}: grid of {self._values.shape[1:]} pixels, expected the maps' own of {grid.shape}"
            )
        self.days = data["time"].to_numpy().astype("datetime64[D]").astype(np.int64)

    def read(self, day: int, rows: slice = slice(None), cols: slice = slice(None)) -> NDArray[np.float32]:
        """Values of a day, NaN where missing; a day that it lacks is an `InputError`."""
        (found,) = np.nonzero(self.days == day)
        if not found.size:
            raise InputError(f"the truth has no day {iso(day)}")
        return self._values[int(found[0]), rows, cols].to_numpy().astype(np.float32)


def _same_axes(data: xr.Dataset, grid: Grid) -> bool:
    for name, expected in (("x", grid.x(np.arange(grid.width))), ("y", grid.y(np.arange(grid.height)))):
        step = abs(grid.transform[0] if name == "x" else grid.transform[4])
        if name in data.coords and not np.allclose(data[name].to_numpy(), expected, rtol=0, atol=0.01 * step):
            return False
    return True


class CoarseField:
    """A coarse variable of a cube, read at the pixels of a finer grid by the cell that each lies in.

    Parameters
    ----------
    cube : Cube
    variable : str
        A daily variable, by default SMAP.
    """

    def __init__(self, cube: Cube, variable: str = "SMAP") -> None:
        self.source: CubeSource = cube.source_of(variable)
        self.variable = variable
        self._packing = self.source.variables[variable]

    @property
    def grid(self) -> Grid:
        """Grid of the cells."""
        return self.source.grid

    def cells(self, day: int, rows: slice, cols: slice) -> NDArray[np.float32] | None:
        """Values of a day, shape (rows, columns) of cells, NaN where missing; None if the day is not held."""
        first, last = self.source.days_between(day, day + 1)
        if first == last:
            return None
        return self._packing.decode(self.source.read(self.variable, first, last, rows, cols)[0])

    def read(self, grid: Grid, day: int, tile: Tile) -> NDArray[np.float32]:
        """Values of a day at the pixels of a tile of `grid`, NaN where missing."""
        return self.at(cell_lookup(grid, tile, self.grid), day)

    def at(self, lookup: CellLookup, day: int) -> NDArray[np.float32]:
        """Values of a day at the pixels of a lookup into `grid`."""
        cells = self.cells(day, lookup.rows, lookup.cols) if lookup.rows.stop > lookup.rows.start else None
        if cells is None:
            return np.full(lookup.index.shape, np.nan, dtype=np.float32)
        return np.where(lookup.index >= 0, cells.ravel()[lookup.index], np.float32(np.nan))

    def cell_numbers(self, lookup: CellLookup) -> NDArray[np.int64]:
        """Row-major number in `grid` of the cell of every pixel; -1 outside."""
        width = max(1, lookup.cols.stop - lookup.cols.start)
        index = lookup.index.astype(np.int64)
        row, col = index // width + lookup.rows.start, index % width + lookup.cols.start
        return np.where(index >= 0, row * self.grid.width + col, -1)


def compare_with_truth(
    product: Product, truth: TruthField, smap: CoarseField, days: Sequence[int] | None = None
) -> dict[str, Any]:
    """Judge the maps and SMAP against the truth.

    Parameters
    ----------
    product : Product
    truth : TruthField
        On the product's grid.
    smap : CoarseField
    days : sequence of int, optional
        Days since 1970-01-01; by default every finished day that the truth holds.

    Returns
    -------
    dict
        ``days``, ``pixel_days`` (pixels with all three values, over all days), ``interval_coverage`` (of
        those with an interval, the share whose truth lies in it) and, for ``MMNet`` and ``SMAP``,

        - ``space``: corr, ubrmse, bias, rmse over the pixels of a day, mean over days;
        - ``time``: the same over the days of a pixel, mean over pixels;
        - ``within_cell``: corr and ubrmse of the deviations from each 9 km cell's mean, over the pixels of a
          day, mean over days. SMAP has no deviations: its corr is NaN, its ubrmse the truth's spread;
        - ``overall``: corr, ubrmse, bias, rmse over all pixel-days.

        and ``gain``, what the maps gain on SMAP (after Merlin et al. 2015, Remote Sensing 7, 3783-3807):
        ``space``, the mean over days, and ``time``, the mean over pixels, each with

        - ``slope``, ``corr`` and ``bias``: (d of SMAP - d of the maps) / (d of SMAP + d of the maps), from -1
          to 1, where d is the distance from what is perfect: 1 of the slope of the estimate on the truth and
          of the correlation, 0 of the bias;
        - ``gdown``: the mean of the three.

    Raises
    ------
    InputError
        No day is both finished and known, or no pixel has all three values.
    """
    wanted = product.finished_days().tolist() if days is None else [int(d) for d in days]
    known = set(truth.days.tolist())
    wanted = [day for day in wanted if day in known]
    if not wanted:
        raise InputError(f"{product.path}: no finished day is among the days of the truth")
    sums: dict[tuple[int, int], Float] = {}
    time = {name: np.zeros((3, len(_SCORES))) for name in ("sum", "count")}
    covered = np.zeros(2)
    whole = list(tiles(product.grid, product.layout.tile))
    with steps("tiles compared", len(whole)) as advance:
        for tile in whole:
            pixels = np.zeros((len(_SUMS), tile.height * tile.width))
            lookup = cell_lookup(product.grid, tile, smap.grid)
            numbers, index = np.unique(smap.cell_numbers(lookup).ravel(), return_inverse=True)
            for at, day in enumerate(wanted):
                terms, inside = _terms(product, truth, smap, day, tile, lookup)
                covered += inside
                pixels += terms
                _add_cells(sums, at, numbers, index, terms)
            _add_time(time, pixels)
            advance()
    if not sums:
        raise InputError(
            f"{product.path}: no pixel has a map value, a truth and a SMAP value on the same day"
        )
    return _judge(sums, time, covered, len(wanted))


def _terms(
    product: Product, truth: TruthField, smap: CoarseField, day: int, tile: Tile, lookup: CellLookup
) -> tuple[Float, Float]:
    """`_SUMS` of each pixel of a tile on a day, zero where a value lacks; counts (inside, with interval)."""
    stored = product.read_day(day, tile.rows, tile.cols)
    maps = {n: product.packing[n].decode(stored[n]).ravel() for n in ("soil_moisture", "lower", "upper")}
    real, coarse = truth.read(day, tile.rows, tile.cols).ravel(), smap.at(lookup, day).ravel()
    found = np.isfinite(real) & np.isfinite(maps["soil_moisture"]) & np.isfinite(coarse)
    terms = np.empty((len(_SUMS), found.size))
    terms[0] = found
    for row, values in enumerate((real, maps["soil_moisture"], coarse), start=1):
        np.subtract(values, _CENTRE, out=terms[row], dtype=np.float64)
        terms[row][~found] = 0.0
        np.square(terms[row], out=terms[row + 3])
    np.multiply(terms[1], terms[2], out=terms[7])
    np.multiply(terms[1], terms[3], out=terms[8])
    # A comparison with NaN is false: a pixel without an interval is not inside one.
    inside = found & (real >= maps["lower"]) & (real <= maps["upper"])
    known = found & np.isfinite(maps["lower"]) & np.isfinite(maps["upper"])
    return terms, np.array([inside.sum(), known.sum()], dtype=np.float64)


def _add_cells(
    sums: dict[tuple[int, int], Float],
    day: int,
    numbers: NDArray[np.int64],
    index: NDArray[Any],
    terms: Float,
) -> None:
    count = numbers.size
    table = np.stack([np.bincount(index, weights=row, minlength=count) for row in terms], axis=1)
    for cell in np.flatnonzero(table[:, 0]):
        key = day, int(numbers[cell])
        sums[key] = sums[key] + table[cell] if key in sums else table[cell]


def _add_time(time: dict[str, Float], pixels: Float) -> None:
    ours, theirs = _scores(pixels, "m"), _scores(pixels, "s")
    for row, scores in enumerate((ours, theirs, _gains(ours, theirs))):
        time["sum"][row, : len(scores)] += np.nansum(scores, axis=1)
        time["count"][row, : len(scores)] += np.isfinite(scores).sum(axis=1)


def _scores(sums: Float, name: str) -> Float:
    """`_SCORES` (rows) from sums whose first axis is `_SUMS`; NaN where undefined.

    A single value has no correlation and no ubrmse.
    """
    part = dict(zip(_SUMS, sums, strict=True))
    n = np.where(part["n"] > 0, part["n"], np.nan)
    t, m = part["t"] / n, part[name] / n
    vt, vm = part["tt"] / n - t * t, part[name * 2] / n - m * m
    cov = part[f"t{name}"] / n - t * m
    return _from_variances(vt, vm, cov, m - t, part["n"])


def _from_variances(vt: Float, vm: Float, cov: Float, bias: Float, n: Float) -> Float:
    varied = (vt > _CONSTANT) & (vm > _CONSTANT) & (n > 1)
    corr = np.where(varied, cov / np.sqrt(np.where(varied, vt * vm, 1.0)), np.nan)
    spread = np.maximum(vt + vm - 2 * cov, 0.0)
    ubrmse = np.where(n > 1, np.sqrt(spread), np.nan)
    known = (vt > _CONSTANT) & (n > 1)
    slope = np.where(known, cov / np.where(known, vt, 1.0), np.nan)
    return np.stack([corr, ubrmse, bias, np.sqrt(spread + bias * bias), slope])


def _gains(ours: Float, theirs: Float) -> Float:
    """Gains in slope, correlation and bias, and their mean (rows), from two tables of scores."""
    found = []
    for name, perfect in (("slope", 1.0), ("corr", 1.0), ("bias", 0.0)):
        row = _SCORES.index(name)
        far, near = np.abs(theirs[row] - perfect), np.abs(ours[row] - perfect)
        # Both perfect, as the correlations of two days are, is no gain but rounding.
        both = np.where(far + near > _PERFECT, far + near, np.nan)
        found.append((far - near) / both)
    return np.stack([*found, np.mean(found, axis=0)])


def _judge(
    sums: dict[tuple[int, int], Float], time: dict[str, Float], covered: Float, days: int
) -> dict[str, Any]:
    keys = np.array(list(sums), dtype=np.int64)
    table = np.array(list(sums.values()))
    by_day = np.zeros((days, len(_SUMS)))
    np.add.at(by_day, keys[:, 0], table)
    result: dict[str, Any] = {
        "days": int((by_day[:, 0] > 0).sum()),
        "pixel_days": int(by_day[:, 0].sum()),
        "interval_coverage": float(covered[0] / covered[1]) if covered[1] else float("nan"),
    }
    with np.errstate(invalid="ignore"):
        in_time = time["sum"] / np.where(time["count"] > 0, time["count"], np.nan)
    by_name = {name: _scores(by_day.T, name) for name in ("m", "s")}
    for row, (title, name) in enumerate((("MMNet", "m"), ("SMAP", "s"))):
        result[title] = {
            "space": _named(_mean(by_name[name])),
            "time": _named(in_time[row]),
            "within_cell": _within(keys[:, 0], table, name, days),
            "overall": _named(_scores(by_day.sum(axis=0)[:, None], name)[:, 0]),
        }
    names = ("slope", "corr", "bias", "gdown")
    result["gain"] = {
        part: dict(zip(names, (float(v) for v in values[: len(names)]), strict=True))
        for part, values in (("space", _mean(_gains(by_name["m"], by_name["s"]))), ("time", in_time[2]))
    }
    return result


def _within(day: NDArray[np.int64], table: Float, name: str, days: int) -> dict[str, float]:
    """Scores of the deviations from cell means: sums of squares within cells, added up over a day's cells."""
    part = dict(zip(_SUMS, table.T, strict=True))
    n = part["n"]

    def pooled(square: str, one: str, other: str) -> Float:
        return _per_day(day, part[square] - part[one] * part[other] / n, days)

    count = _per_day(day, n, days)
    safe = np.where(count > 0, count, np.nan)
    vt, vm = pooled("tt", "t", "t") / safe, pooled(name * 2, name, name) / safe
    cov = pooled(f"t{name}", "t", name) / safe
    scores = _mean(_from_variances(vt, vm, cov, np.zeros(days), count))
    return {"corr": float(scores[0]), "ubrmse": float(scores[1])}


def _per_day(day: NDArray[np.int64], values: Float, days: int) -> Float:
    return np.bincount(day, weights=values, minlength=days).astype(np.float64)


def _mean(scores: Float) -> Float:
    """Mean over the last axis of what is defined; NaN where nothing is."""
    count = np.isfinite(scores).sum(axis=-1)
    return np.where(count > 0, np.nansum(scores, axis=-1) / np.maximum(count, 1), np.nan)


def _named(scores: Float) -> dict[str, float]:
    return dict(zip(("corr", "ubrmse", "bias", "rmse"), (float(v) for v in scores[:4]), strict=True))


def closer_within_cells(result: Mapping[str, Any]) -> bool:
    """Whether MMNet is closer to the truth than SMAP within the 9 km cells on both scores.

    SMAP's undefined correlation counts as 0: a constant says nothing of where it is wetter.
    """
    ours, theirs = result["MMNet"]["within_cell"], result["SMAP"]["within_cell"]
    other = theirs["corr"] if np.isfinite(theirs["corr"]) else 0.0
    return bool(ours["corr"] > other and ours["ubrmse"] < theirs["ubrmse"])


def comparison_table(result: Mapping[str, Any]) -> str:
    """The comparison as text, a row a score; "-" where a score is undefined."""
    lines = [f"{'':<26}{'MMNet':>10}{'SMAP':>10}"]
    names = {"space": "in space", "time": "in time", "within_cell": "within 9 km", "overall": "overall"}
    labels = {"corr": "correlation", "ubrmse": "ubRMSE", "bias": "bias", "rmse": "RMSE"}
    for part, title in names.items():
        for score in result["MMNet"][part]:
            values = [result[model][part][score] for model in ("MMNet", "SMAP")]
            shown = [f"{v:>10.4f}" if np.isfinite(v) else f"{'-':>10}" for v in values]
            lines.append(f"{title + ', ' + labels[score]:<26}{shown[0]}{shown[1]}")
    for part in ("space", "time"):
        gain = result["gain"][part]["gdown"]
        text = f"{gain:>10.4f}" if np.isfinite(gain) else f"{'-':>10}"
        lines.append(f"{names[part] + ', gain on SMAP':<26}{text}")
    lines.append(
        f"{result['days']} days, {result['pixel_days']:,} pixel-days; "
        f"the interval holds the truth in {100 * result['interval_coverage']:.1f} %"
    )
    return "\n".join(lines)
