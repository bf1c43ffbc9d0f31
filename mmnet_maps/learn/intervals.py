"""How far to trust a prediction: conformal intervals, and the range of inputs in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.errors import InputError
from mmnet_maps.learn.folds import station_folds
from mmnet_maps.learn.model_input import ModelInput

__all__ = ["NOMINAL", "Envelope", "IntervalTable"]

#: Share of held-out values that an interval is made to hold.
NOMINAL = 0.9
_LEAST_ROWS, _LEAST_STATIONS, _MOST_BINS = 200, 20, 10
_TAIL, _MARGIN = 0.001, 0.05
#: With so many stations in a bin, its own tails and those of all rows count the same.
_DRAWN = 30
#: Least distance of an end from the estimate before the table is sized, m3 m-3.
_LEAST_OFFSET = 1e-4


@dataclass(frozen=True)
class IntervalTable:
    """Quantiles of held-out residuals (observed minus predicted) as a function of the predicted value.

    Attributes
    ----------
    centre : ndarray of float64, shape (k,)
        Predicted values, increasing; offsets lie on a line between two of them and are constant outside.
    lower, upper : ndarray of float64, shape (k,)
        Offsets from the prediction to the ends of the interval.
    nominal : float
        Coverage aimed at.
    rows, stations : int
        Numbers of held-out rows and stations that the table was made from.
    """

    centre: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    nominal: float
    rows: int
    stations: int

    @classmethod
    def calibrate(
        cls,
        observed: NDArray[np.floating],
        predicted: NDArray[np.floating],
        station: NDArray[Any],
        nominal: float = NOMINAL,
    ) -> Self | None:
        """Calibrate on rows that the model was not trained on.

        Two steps. The shape: both tails of the residuals within bins of the predicted value, drawn towards
        the tails of all rows where a bin holds few stations. The size: one factor for the whole table, by
        split conformal prediction (Lei et al. 2018) of both ends together, each station measured against the
        shape of the stations of other folds. Rows of one station are far from independent, so every station
        weighs the same, and the finite-sample correction (K + 1) / K counts stations, not rows. With fewer
        than 20 stations the table reaches as far as the largest residuals.

        Parameters
        ----------
        observed, predicted : ndarray, shape (n,)
            Rows with a missing value in either are left out.
        station : ndarray, shape (n,)
            Station of each row.
        nominal : float
            Coverage aimed at, in (0, 1).

        Returns
        -------
        IntervalTable or None
            None where there is no row.
        """
        use = np.isfinite(observed) & np.isfinite(predicted)
        if not use.any():
            return None
        value = np.asarray(predicted, dtype=np.float64)[use]
        residual = np.asarray(observed, dtype=np.float64)[use] - value
        code = np.unique(np.asarray(station)[use], return_inverse=True)[1]
        stations, fold = int(code.max()) + 1, station_folds(code)
        few = stations < _LEAST_STATIONS
        score = np.empty(len(value))
        for number in range(int(fold.max()) + 1):
            own = fold == number
            others = np.ones(len(value), dtype=bool) if few else ~own
            score[own] = _reach(
                residual[own], *_at(value[own], _shape(value, residual, code, others, nominal))
            )
        level = 1.0 if few else min(1.0, nominal * (stations + 1) / stations)
        size = _weighted_quantile(score, 1.0 / np.bincount(code)[code], level)
        centre, lower, upper = _shape(value, residual, code, np.ones(len(value), dtype=bool), nominal)
        return cls(centre, size * lower, size * upper, nominal, len(value), stations)

    def __call__(self, predicted: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Both ends of the interval, clipped to [0, 1]; missing where the prediction is; any shape."""
        value = np.asarray(predicted, dtype=np.float32)
        low = value + np.interp(value, self.centre, self.lower).astype(np.float32)
        high = value + np.interp(value, self.centre, self.upper).astype(np.float32)
        return np.clip(low, 0, 1), np.clip(high, 0, 1)

    def to_json(self) -> dict[str, Any]:
        """As plain values, which `from_json` reads back to the same bits."""
        return {
            "nominal": self.nominal,
            "rows": self.rows,
            "stations": self.stations,
            "centre": self.centre.tolist(),
            "lower": self.lower.tolist(),
            "upper": self.upper.tolist(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Undo `to_json`; `ValueError` says what is no table of an interval."""
        centre, lower, upper = (np.array(data[n], dtype=np.float64) for n in ("centre", "lower", "upper"))
        if centre.ndim != 1 or not centre.size or not centre.shape == lower.shape == upper.shape:
            sizes = f"{centre.shape}, {lower.shape} and {upper.shape}"
            raise ValueError(f"centre, lower and upper have the shapes {sizes}, expected three lists as long")
        if not all(np.isfinite(part).all() for part in (centre, lower, upper)):
            raise ValueError("centre, lower and upper must be finite numbers")
        if (np.diff(centre) <= 0).any() or (lower > upper).any():
            raise ValueError("centre must increase, and lower be no more than upper")
        if type(data["rows"]) is not int or type(data["stations"]) is not int or not 0 < data["nominal"] < 1:
            raise ValueError("rows and stations must be whole numbers, and nominal lie between 0 and 1")
        return cls(centre, lower, upper, data["nominal"], data["rows"], data["stations"])


def _bins(value: NDArray[np.float64], code: NDArray[np.intp]) -> list[NDArray[np.bool_]]:
    """As many bins of equally many rows as keep enough rows and stations in each."""
    for count in range(min(_MOST_BINS, len(value) // _LEAST_ROWS), 1, -1):
        edges = np.quantile(value, np.linspace(0, 1, count + 1)[1:-1])
        index = np.searchsorted(edges, value, side="right")
        bins = [index == k for k in range(count)]
        if all(b.sum() >= _LEAST_ROWS // 2 and len(np.unique(code[b])) >= _LEAST_STATIONS for b in bins):
            return bins
    return [np.ones(len(value), dtype=bool)]


def _shape(
    value: NDArray[np.float64],
    residual: NDArray[np.float64],
    code: NDArray[np.intp],
    use: NDArray[np.bool_],
    nominal: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Centres of the bins of some rows, and both tails there, before they are sized."""
    value, residual, code = value[use], residual[use], code[use]
    whole, found = np.array(_tails(residual, code, nominal)), []
    for inside in _bins(value, code):
        stations = len(np.unique(code[inside]))
        share = stations / (stations + _DRAWN)
        tails = share * np.array(_tails(residual[inside], code[inside], nominal)) + (1 - share) * whole
        found.append((float(np.median(value[inside])), *tails))
    centre, lower, upper = np.array(found).T
    return centre, lower, upper


def _tails(residual: NDArray[np.float64], code: NDArray[np.intp], nominal: float) -> tuple[float, float]:
    """Both tail quantiles of the residuals, every station weighing the same; on either side of 0."""
    weight, level = 1.0 / np.bincount(code)[code], 0.5 + nominal / 2
    upper = _weighted_quantile(residual, weight, level)
    lower = -_weighted_quantile(-residual, weight, level)
    return min(lower, -_LEAST_OFFSET), max(upper, _LEAST_OFFSET)


def _at(
    value: NDArray[np.float64], shape: tuple[NDArray[np.float64], ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    centre, lower, upper = shape
    return np.interp(value, centre, lower), np.interp(value, centre, upper)


def _reach(
    residual: NDArray[np.float64], lower: NDArray[np.float64], upper: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What an interval must be multiplied with to reach as far as the residual."""
    reach: NDArray[np.float64] = np.maximum(residual / upper, residual / lower)
    return reach


def _weighted_quantile(value: NDArray[np.float64], weight: NDArray[np.float64], level: float) -> float:
    """Smallest value below or at which at least `level` of the weight lies."""
    order = np.argsort(value, kind="stable")
    reached = np.cumsum(weight[order])
    # A rounding error of the sum must not push the level beyond the last value.
    row = np.searchsorted(reached, level * reached[-1] * (1 - 1e-12), side="left")
    return float(value[order[min(int(row), len(value) - 1)]])


@dataclass(frozen=True)
class Envelope:
    """The range of each input over the training rows: outside it the model extrapolates.

    Attributes
    ----------
    snapshot_low, snapshot_high : ndarray of float32, shape (p,)
        Per snapshot feature, in catalogue order.
    series_low, series_high : ndarray of float32, shape (v,)
        Per series variable, all days together.
    """

    snapshot_low: NDArray[np.float32]
    snapshot_high: NDArray[np.float32]
    series_low: NDArray[np.float32]
    series_high: NDArray[np.float32]

    @classmethod
    def fit(cls, inputs: ModelInput) -> Self:
        """The 0.1 % and 99.9 % quantiles, moved out by 5 % of their distance; 0/1 columns as they are.

        Raises
        ------
        InputError
            There are no rows.
        """
        if len(inputs) == 0:
            raise InputError("no training rows to take the range of the inputs from")
        days = inputs.series.transpose(0, 2, 1).reshape(-1, inputs.series.shape[1])
        return cls(*_range(inputs.snapshot), *_range(days))

    def outside(self, inputs: ModelInput) -> NDArray[np.int32]:
        """How many features and series variables leave the range, shape (n,); missing values do not."""
        wide = (inputs.snapshot < self.snapshot_low) | (inputs.snapshot > self.snapshot_high)
        long = (inputs.series < self.series_low[:, None]) | (inputs.series > self.series_high[:, None])
        found: NDArray[np.int32] = (wide.sum(axis=1) + long.any(axis=2).sum(axis=1)).astype(np.int32)
        return found

    def to_json(self) -> dict[str, list[float]]:
        """As plain values, which `from_json` reads back to the same bits."""
        return {name: getattr(self, name).tolist() for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, data: dict[str, list[float]]) -> Self:
        """Undo `to_json`."""
        return cls(**{name: np.array(data[name], dtype=np.float32) for name in cls.__dataclass_fields__})


def _range(columns: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    low, high = np.nanquantile(columns, [_TAIL, 1 - _TAIL], axis=0)
    margin = _MARGIN * (high - low)
    least, most = np.nanmin(columns, axis=0), np.nanmax(columns, axis=0)
    flag = ((columns == 0) | (columns == 1)).all(axis=0)
    first, last = np.where(flag, least, low - margin), np.where(flag, most, high + margin)
    return first.astype(np.float32), last.astype(np.float32)
