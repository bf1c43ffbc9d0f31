"""Gap filling in time, the same for a station's series and for a block of pixels.

Between two observations no further apart than ``max_gap`` a value lies on the line between them. In a
longer gap, and before the first or after the last observation, the nearest value is held for up to
``max_gap`` days; further away the value is missing. A value therefore depends only on observations within
``max_gap`` days of it, and never on how the days were cut into blocks.

All arithmetic is in float32 and in one order, ``v0 + (t - t0) * ((v1 - v0) / (t1 - t0))``, so that every
path through this module gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_LIMIT", "Bracket", "Filled", "bridge", "find_bracket", "gap_fill"]

Method = Literal["none", "linear", "hold", "past"]

#: Distance, in days, that stands for "no observation on this side"; the sum of two fits an int32.
NO_LIMIT = np.int32(2**30 - 1)


@dataclass(frozen=True)
class Bracket:
    """The two observations that a day lies between, for every series.

    Attributes
    ----------
    before, after : ndarray of int64, shape (days, n)
        Row of the observation on or before the day, on or after it; -1 where there is none.
    days_before, days_after : ndarray of int32, shape (days, n)
        Distance to it in days; `NO_LIMIT` where there is none.
    """

    before: NDArray[np.int64]
    after: NDArray[np.int64]
    days_before: NDArray[np.int32]
    days_after: NDArray[np.int32]


@dataclass(frozen=True)
class Filled:
    """Values on every requested day.

    Attributes
    ----------
    values : ndarray of float32, shape (days, n)
        NaN where missing.
    age : ndarray of int32, shape (days, n)
        Days to the nearest observation that the value was made from; 0 where observed, -1 where missing.
    gap : ndarray of int32, shape (days, n)
        Length in days of the gap that the value fills, from observation to observation. For a repeated value,
        the distance to its observation. 0 where observed, -1 where missing.
    ahead : ndarray of int32, shape (days, n)
        Days to the later observation that the value was made from; 0 where there is none.
    """

    values: NDArray[np.float32]
    age: NDArray[np.int32]
    gap: NDArray[np.int32]
    ahead: NDArray[np.int32]


def find_bracket(
    observed_days: NDArray[np.int64], valid: NDArray[np.bool_], days: NDArray[np.int64]
) -> Bracket:
    """Find the valid observation on or before, and on or after, each day.

    Parameters
    ----------
    observed_days : ndarray of int64, shape (s,)
        Days of the observations, strictly increasing.
    valid : ndarray of bool, shape (s, n)
        Where series ``n`` has a value at observation ``s``.
    days : ndarray of int64, shape (d,)
        Days wanted, on the same count.

    Returns
    -------
    Bracket
        Arrays of shape (d, n).
    """
    count, n = valid.shape
    rows = np.arange(count, dtype=np.int64)[:, None]
    last = np.full((count + 1, n), -1, dtype=np.int64)
    np.maximum.accumulate(np.where(valid, rows, -1), axis=0, out=last[1:])
    following = np.full((count + 1, n), count, dtype=np.int64)
    following[:-1] = np.minimum.accumulate(np.where(valid, rows, count)[::-1], axis=0)[::-1]
    before = last[np.searchsorted(observed_days, days, side="right")]
    after = following[np.searchsorted(observed_days, days, side="left")]
    after = np.where(after == count, -1, after)
    padded = np.append(observed_days, 0)
    gone, ahead = before < 0, after < 0
    days_before = np.where(gone, NO_LIMIT, days[:, None] - padded[before]).astype(np.int32)
    days_after = np.where(ahead, NO_LIMIT, padded[after] - days[:, None]).astype(np.int32)
    return Bracket(before, after, days_before, days_after)


def gap_fill(
    observed_days: NDArray[np.int64],
    values: NDArray[np.float32],
    days: NDArray[np.int64],
    method: Method = "linear",
    max_gap: int | None = None,
) -> Filled:
    """Fill values in time.

    Parameters
    ----------
    observed_days : ndarray of int64, shape (s,)
        Days of the observations, strictly increasing.
    values : ndarray of float32, shape (s, n)
        Observations; NaN is none.
    days : ndarray of int64, shape (d,)
        Days wanted.
    method : {"none", "linear", "hold", "past"}
        ``none`` keeps only observed days. ``linear`` is described in the module. ``hold`` takes the value
        before, or the value after where none is before. ``past`` takes only the value before, so that no day
        uses a later one.
    max_gap : int, optional
        Limit in days; None for no limit.

    Returns
    -------
    Filled
        Values with their age and the length of the gap bridged.

    Raises
    ------
    ValueError
        ``observed_days`` is not strictly increasing.
    """
    if observed_days.size > 1 and not (np.diff(observed_days) > 0).all():
        raise ValueError("observation days must be strictly increasing")
    if observed_days.size == 0:
        shape = (days.size, values.shape[1])
        none = np.full(shape, -1, dtype=np.int32)
        return Filled(np.full(shape, np.nan, dtype=np.float32), none, none.copy(), np.zeros_like(none))
    bracket = find_bracket(observed_days, ~np.isnan(values), days)
    v0 = np.take_along_axis(values, np.maximum(bracket.before, 0), axis=0)
    v1 = np.take_along_axis(values, np.maximum(bracket.after, 0), axis=0)
    return Filled(*bridge(bracket.days_before, bracket.days_after, v0, v1, method, max_gap))


def bridge(
    behind: NDArray[np.int32],
    ahead: NDArray[np.int32],
    v0: NDArray[np.float32],
    v1: NDArray[np.float32],
    method: Method,
    max_gap: int | None,
    xp: Any = np,
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """What `Filled` holds, of days between two observations.

    Parameters
    ----------
    behind, ahead : ndarray of int32
        Days to the observation on or before, and on or after; `NO_LIMIT` where there is none.
    v0, v1 : ndarray of float32, same shape
        The two observations; anything where there is none.
    method, max_gap
        As `gap_fill`.
    xp : array namespace
        Of the arrays; NumPy without it.

    Returns
    -------
    values, age, gap, ahead : ndarray of float32 and of int32, same shape
        As `Filled`.
    """
    limit = int(NO_LIMIT) - 1 if max_gap is None else int(max_gap)
    if method == "past":
        ahead = xp.full_like(ahead, int(NO_LIMIT))
    if method == "none":
        limit = 0
    near_before, near_after = behind <= limit, ahead <= limit
    if method == "linear":
        # The sum cannot overflow: both are at most NO_LIMIT.
        line = near_before & near_after & (behind + ahead <= limit) & (behind > 0)
        first = near_before & (~near_after | (behind <= ahead))
    else:
        line = xp.zeros_like(near_before)
        first = near_before
    second = ~first & near_after
    span = xp.asarray(xp.where(line, behind + ahead, 1), dtype=xp.float32)
    out = v0 + xp.asarray(behind, dtype=xp.float32) * ((v1 - v0) / span)
    out = xp.where(line, out, xp.where(first, v0, xp.where(second, v1, np.nan)))
    age = xp.where(first, behind, xp.where(second, ahead, -1))
    age = xp.where(line, xp.minimum(behind, ahead), age)
    gap = xp.where(line, behind + ahead, age)
    later = xp.where(line | second, ahead, 0)
    found = (out, xp.float32), (age, xp.int32), (gap, xp.int32), (later, xp.int32)
    return tuple(xp.asarray(values, dtype=dtype) for values, dtype in found)
