"""Anomalies: what is left of a station's soil moisture once its seasonal cycle is removed.

Two series that follow the seasons agree well whatever else they do; the agreement of their anomalies says
whether a model follows single rains and droughts (Gruber et al. 2020, doi:10.1016/j.rse.2020.111806).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.learn.scoring import scores, station_codes

__all__ = ["MIN_VALUES", "MIN_YEARS", "WINDOW", "anomaly_scores", "climatology"]

Values = NDArray[np.float64]

#: Days of the window about a day of the year over which its climatology is the mean.
WINDOW = 31
#: A climatology needs this many values in the window, from this many years: within one year the mean of the
#: window is the month itself, and not what is usual for it.
MIN_VALUES, MIN_YEARS = 20, 2
_SLOTS = 366
#: Scores that mean something for anomalies; their bias is near zero by construction.
_METRICS = ("corr", "ubrmse", "spearman")


def climatology(
    values: Values, code: NDArray[np.integer], day: NDArray[np.int64], groups: int
) -> NDArray[np.float64]:
    """The seasonal cycle of each group at each row: mean over all years of the days within 15 of that date.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Without missing values.
    code : ndarray of integers, shape (n,)
        Station of each row, from 0.
    day : ndarray of int64, shape (n,)
        Days since 1970-01-01.
    groups : int
        Number of stations.

    Returns
    -------
    ndarray of float64, shape (n,)
        NaN where the window holds fewer than `MIN_VALUES` values or fewer than `MIN_YEARS` years.
    """
    slot, year = _slot_and_year(day)
    index = code * _SLOTS + slot
    size = groups * _SLOTS
    total = _windowed(np.bincount(index, values, size).astype(np.float64).reshape(groups, _SLOTS))
    count = _windowed(np.bincount(index, minlength=size).reshape(groups, _SLOTS).astype(np.float64))
    years = np.zeros((groups, _SLOTS))
    for one in np.unique(year):
        held = np.bincount(index[year == one], minlength=size).reshape(groups, _SLOTS)
        years += _windowed(held.astype(np.float64)) > 0.5
    enough = (np.round(count) >= MIN_VALUES) & (years >= MIN_YEARS)
    mean = np.where(enough, total / np.maximum(count, 1), np.nan)
    cycle: Values = mean[code, slot]
    return cycle


def anomaly_scores(
    observed: Values, predicted: Values, station: NDArray[Any], day: NDArray[np.int64]
) -> dict[str, Any]:
    """Scores of the anomalies of both series.

    Each series loses its own cycle, computed from the rows that have both values.

    Returns
    -------
    dict
        ``window_days``, ``min_values``, ``min_years``, ``rows_without_climatology``, ``overall`` (corr,
        ubrmse, spearman, n) and ``stations`` (count, n, mean, median).
    """
    use = np.isfinite(observed) & np.isfinite(predicted)
    o, p, when = observed[use].astype(np.float64), predicted[use].astype(np.float64), day[use]
    code, names = station_codes(np.asarray(station)[use])
    away = [v - climatology(v, code, when, len(names)) for v in (o, p)]
    found = scores(away[0], away[1], code)
    stations = found["stations"]
    return {
        "window_days": WINDOW,
        "min_values": MIN_VALUES,
        "min_years": MIN_YEARS,
        "rows_without_climatology": int(np.isnan(away[0]).sum()),
        "overall": {name: found["overall"][name] for name in (*_METRICS, "n")},
        "stations": {
            "count": stations["count"],
            "n": stations["n"],
            **{what: {name: stations[what][name] for name in _METRICS} for what in ("mean", "median")},
        },
    }


def _slot_and_year(day: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Place of each date in a leap year, from 0 (the same for a date in every year), and the year."""
    stamp = day.astype("datetime64[D]")
    month, year = stamp.astype("datetime64[M]"), stamp.astype("datetime64[Y]")
    of_year = (month - year).astype(np.int64)
    first = np.array([0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335])
    slot: NDArray[np.int64] = first[of_year] + (stamp - month).astype(np.int64)
    return slot, year.astype(np.int64)


def _windowed(table: Values) -> Values:
    """Sums over the window about each slot, across New Year, shape (groups, 366) kept."""
    half = WINDOW // 2
    around = np.concatenate((table[:, -half:], table, table[:, :half]), axis=1)
    running = np.cumsum(np.pad(around, ((0, 0), (1, 0))), axis=1)
    sums: Values = running[:, WINDOW:] - running[:, :-WINDOW]
    return sums
