"""How far scores would move with other stations: percentile intervals by bootstrap over stations.

Days of a station are not independent, stations nearly are: whole stations are drawn with replacement. The
scores of all rows are rebuilt from six sums a station, so that no row is touched again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.errors import InputError
from mmnet_maps.learn.scoring import METRICS, plain, station_codes, station_scores

__all__ = ["POOLED", "intervals", "paired_difference"]

Values = NDArray[np.float64]

#: Scores of all rows that follow from sums; ranks do not, so that Spearman has no such interval.
POOLED = ("corr", "rmse", "bias", "ubrmse", "kge")
#: Numbers held at once while drawing.
_BLOCK = 2_000_000


def intervals(
    observed: Values,
    predicted: Values,
    station: NDArray[Any],
    resamples: int = 1000,
    seed: int = 1,
    level: float = 0.95,
) -> dict[str, Any]:
    """Intervals of the overall scores and of the mean and median over stations.

    Parameters
    ----------
    observed, predicted : ndarray, shape (n,)
        Rows with a missing value in either are left out.
    station : ndarray, shape (n,)
    resamples, seed : int
    level : float
        Share of the resampled scores between the two ends.

    Returns
    -------
    dict
        ``level``, ``resamples``, ``seed``, ``stations`` (how many were drawn from), and ``overall``,
        ``mean``, ``median``: ``[low, high]`` by metric, None where undefined or with fewer than two stations.
    """
    about = {"level": level, "resamples": resamples, "seed": seed}
    table = station_scores(observed, predicted, station)
    several = table["n"].to_numpy() > 1
    single = np.where(several[:, None], table[list(METRICS)].to_numpy(np.float64), np.nan)
    sums, centre = _sums(observed, predicted, station)
    drawn: dict[str, list[Values]] = {"overall": [], "mean": [], "median": []}
    if len(table) >= 2:
        for chosen in _draws(len(table), resamples, seed):
            drawn["overall"].append(_pooled(_times(chosen) @ sums, centre))
            means, medians = _over_stations(single, chosen)
            drawn["mean"].append(means)
            drawn["median"].append(medians)
    names = {"overall": POOLED, "mean": METRICS, "median": METRICS}
    found = {what: _ends(parts, names[what], level) for what, parts in drawn.items()}
    return {**about, "stations": len(table), **found}


def paired_difference(
    first: pd.DataFrame,
    second: pd.DataFrame,
    resamples: int = 1000,
    seed: int = 1,
    level: float = 0.95,
    names: tuple[str, str] = ("the first table", "the second table"),
) -> dict[str, Any]:
    """Compare two models on the rows that both predict, paired by station.

    Parameters
    ----------
    first, second : DataFrame
        ID, Date, y_test, y_pred.
    resamples, seed, level
        As for `intervals`; both models are scored on the same drawn stations.
    names : tuple of str
        What to call the two in errors.

    Returns
    -------
    dict
        ``stations``, ``n`` (rows), and by metric: ``first`` and ``second`` (medians over stations),
        ``difference`` (first minus second) and its ``interval``; ``paired`` (median over stations of the
        difference at a station) and its ``paired_interval``; and ``share_better``, the share of stations at
        which the first is better. Biases are compared by size, without their sign. ``overall`` holds the same
        of all rows taken together (``first`` to ``interval``) for the metrics of `POOLED`.

    Raises
    ------
    InputError
        The tables have no row in common, a row twice, other measurements, or no station with two rows.
    """
    both = _paired_rows(first, second, names)
    observed = both["y_test"].to_numpy(np.float64)
    each = [
        station_scores(observed, both[name].to_numpy(np.float64), both["ID"].to_numpy())
        for name in ("y_pred", "y_pred_2")
    ]
    several = each[0]["n"] > 1
    if not several.any():
        raise InputError(f"{names[0]} and {names[1]} share no station with two rows or more")
    a, b = (table.loc[several, list(METRICS)].to_numpy(np.float64).copy() for table in each)
    index = METRICS.index("bias")
    a[:, index], b[:, index] = np.abs(a[:, index]), np.abs(b[:, index])
    # A station at which one model has no score tells nothing about the difference.
    a[np.isnan(b)], b[np.isnan(a)] = np.nan, np.nan
    draws = list(_draws(len(a), resamples, seed)) if len(a) >= 2 else []
    parts = [_over_stations(a, chosen)[1] - _over_stations(b, chosen)[1] for chosen in draws]
    ends = _ends(parts, METRICS, level)
    paired_ends = _ends([_over_stations(a - b, chosen)[1] for chosen in draws], METRICS, level)
    overall = _pooled_difference(both, list(_draws(len(each[0]), resamples, seed)), level)
    middle = [_over_stations(v, np.arange(len(a))[None])[1][0] for v in (a, b, a - b)]
    found: dict[str, Any] = {"stations": len(a), "n": len(both), "level": level, "resamples": resamples}
    for k, name in enumerate(METRICS):
        better = a[:, k] < b[:, k] if name in ("rmse", "bias", "ubrmse") else a[:, k] > b[:, k]
        known = int(np.isfinite(a[:, k]).sum())
        found[name] = {
            "first": plain(middle[0][k]),
            "second": plain(middle[1][k]),
            "difference": plain(middle[0][k] - middle[1][k]),
            "interval": ends[name],
            "paired": plain(middle[2][k]),
            "paired_interval": paired_ends[name],
            "share_better": float(better.sum() / known) if known else None,
        }
    return found | {"overall": overall}


def _pooled_difference(both: pd.DataFrame, draws: list[NDArray[np.int64]], level: float) -> dict[str, Any]:
    """Scores of all rows of both models, their difference, and its interval over drawn stations."""
    station, observed = both["ID"].to_numpy(), both["y_test"].to_numpy(np.float64)

    def scored(name: str) -> tuple[Values, list[Values]]:
        sums, centre = _sums(observed, both[name].to_numpy(np.float64), station)
        drawn = [_pooled(_times(chosen) @ sums, centre) for chosen in draws if len(sums) >= 2]
        every = [_pooled(sums.sum(axis=0)[None], centre), *drawn]
        for values in every:
            values[:, POOLED.index("bias")] = np.abs(values[:, POOLED.index("bias")])
        return every[0][0], drawn

    (a, drawn_a), (b, drawn_b) = scored("y_pred"), scored("y_pred_2")
    ends = _ends([x - y for x, y in zip(drawn_a, drawn_b, strict=True)], POOLED, level)
    return {
        name: {
            "first": plain(a[k]),
            "second": plain(b[k]),
            "difference": plain(a[k] - b[k]),
            "interval": ends[name],
        }
        for k, name in enumerate(POOLED)
    }


def _paired_rows(first: pd.DataFrame, second: pd.DataFrame, names: tuple[str, str]) -> pd.DataFrame:
    keyed = []
    for frame, name in ((first, names[0]), (second, names[1])):
        rows = frame[["ID", "Date", "y_test", "y_pred"]].dropna()
        rows = rows.assign(ID=rows["ID"].astype(str), Date=rows["Date"].astype(str))
        twice = rows.duplicated(["ID", "Date"])
        if twice.any():
            row = rows[twice].iloc[0]
            raise InputError(f"{name}: station {row['ID']} has the day {row['Date']} more than once")
        keyed.append(rows)
    both = keyed[0].merge(keyed[1], on=["ID", "Date"], suffixes=("", "_2"))
    if both.empty:
        raise InputError(
            f"{names[0]} and {names[1]} have no row in common (same ID and Date, both predicted)"
        )
    apart = ~np.isclose(both["y_test"], both["y_test_2"], rtol=0, atol=1e-6)
    if apart.any():
        row = both[apart].iloc[0]
        raise InputError(
            f"{names[0]} and {names[1]} have other measurements: {row['y_test']} and {row['y_test_2']} at "
            f"station {row['ID']} on {row['Date']}"
        )
    return both


def _draws(count: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Drawn stations, shape (some resamples, count), until there are enough."""
    random = np.random.default_rng(seed)
    step = max(1, _BLOCK // count)
    for start in range(0, resamples, step):
        yield random.integers(0, count, (min(step, resamples - start), count))


def _times(chosen: NDArray[np.int64]) -> Values:
    """How often each station was drawn, shape (resamples, stations)."""
    rows, count = chosen.shape
    flat = (chosen + count * np.arange(rows)[:, None]).ravel()
    return np.bincount(flat, minlength=rows * count).reshape(rows, count).astype(np.float64)


def _sums(observed: Values, predicted: Values, station: NDArray[Any]) -> tuple[Values, tuple[float, float]]:
    """Of each station: n and the sums of o, p, o^2, p^2, o p, shape (stations, 6); and what o, p are from.

    Values are taken from their overall means: else the variances would be small differences of large sums.
    """
    use = np.isfinite(observed) & np.isfinite(predicted)
    code, names = station_codes(np.asarray(station)[use])
    o, p = observed[use].astype(np.float64), predicted[use].astype(np.float64)
    centre = (float(o.mean()), float(p.mean())) if use.any() else (0.0, 0.0)
    o, p = o - centre[0], p - centre[1]
    columns = (np.ones_like(o), o, p, o * o, p * p, o * p)
    return np.stack([np.bincount(code, c, minlength=len(names)) for c in columns], axis=1), centre


def _pooled(sums: Values, centre: tuple[float, float]) -> Values:
    """Scores of all rows from sums, shape (resamples, 6) to (resamples, len(POOLED))."""
    n, o, p, oo, pp, op = sums.T
    with np.errstate(divide="ignore", invalid="ignore"):
        o, p = o / n, p / n
        spread_o, spread_p = (np.sqrt(np.maximum(s / n - m**2, 0)) for s, m in ((oo, o), (pp, p)))
        shared = op / n - o * p
        product = spread_o * spread_p
        corr = shared / np.where(product > 1e-15, product, np.nan)
        mean_o, mean_p = o + centre[0], p + centre[1]
        bias = mean_p - mean_o
        squared = np.maximum(spread_o**2 + spread_p**2 - 2 * shared, 0)
        kge = 1 - np.sqrt((corr - 1) ** 2 + (spread_p / spread_o - 1) ** 2 + (mean_p / mean_o - 1) ** 2)
    return np.stack((corr, np.sqrt(squared + bias**2), bias, np.sqrt(squared), kge), axis=1)


def _over_stations(scores: Values, chosen: NDArray[np.int64]) -> tuple[Values, Values]:
    """Mean and median over the drawn stations with a defined score, each of shape (resamples, metrics)."""
    means, medians = [], []
    for column in scores.T:
        values = np.sort(column[chosen], axis=1)  # NaN last
        known = np.isfinite(values).sum(axis=1)
        rows = np.arange(len(values))
        with np.errstate(invalid="ignore"):
            means.append(np.nansum(values, axis=1) / np.where(known, known, np.nan))
        middle = (values[rows, np.maximum(known - 1, 0) // 2] + values[rows, known // 2]) / 2
        medians.append(np.where(known, middle, np.nan))
    return np.stack(means, axis=1), np.stack(medians, axis=1)


def _ends(parts: list[Values], names: tuple[str, ...], level: float) -> Mapping[str, list[float] | None]:
    if not parts:
        return dict.fromkeys(names)
    values = np.concatenate(parts)
    found: dict[str, list[float] | None] = {}
    for k, name in enumerate(names):
        known = values[np.isfinite(values[:, k]), k]
        ends = np.quantile(known, ((1 - level) / 2, (1 + level) / 2)) if known.size else []
        found[name] = [float(end) for end in ends] or None
    return found
