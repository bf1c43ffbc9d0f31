"""Gap filling of dense station arrays, through the one function that maps use too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.catalogue import MEMORY, Catalogue
from mmnet_maps.prepare.gap_fill import NO_LIMIT, Filled, find_bracket, gap_fill
from mmnet_maps.prepare.soil_state import derive_series
from mmnet_maps.variables import Variable

__all__ = [
    "FilledDays",
    "bridge_gaps",
    "enough_observations",
    "fill_days",
    "latest_day",
    "note_age",
    "series_channels",
    "whole_windows",
]

Dense = NDArray[np.float32]

#: Stations that are filled at a time, so that memory does not grow with their number.
_BLOCK = 64


@dataclass(frozen=True)
class FilledDays:
    """A variable on every day of every station, shape (days, stations).

    Attributes
    ----------
    values : ndarray of float32
    age : ndarray of int32
        Days to the nearest observation that the value rests on; 0 where observed, -1 where missing.
    gap : ndarray of int32
        Days from the observation before to the one after (to the only one, at either end of the record); 0
        where observed, -1 where missing.
    ahead : ndarray of int32
        Days to the later observation that the value rests on; 0 where it rests on none.
    """

    values: Dense
    age: NDArray[np.int32]
    gap: NDArray[np.int32]
    ahead: NDArray[np.int32]


def enough_observations(values: Dense, rows: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """Stations in which more than ``share`` of the table's rows have an observation of their own day.

    Parameters
    ----------
    values : ndarray of float32, shape (days, stations)
    rows : ndarray of bool, same shape
        The days of each station that are rows of the table.
    share : float
        0 lets every station pass.
    """
    if share <= 0:
        return np.ones(values.shape[1], dtype=bool)
    seen = (rows & ~np.isnan(values)).sum(axis=0)
    enough: NDArray[np.bool_] = seen > share * rows.sum(axis=0)
    return enough


def fill_days(
    values: Dense, days: NDArray[np.int64], variable: Variable, allowed: NDArray[np.bool_] | None = None
) -> FilledDays:
    """Fill the gaps of every station as the catalogue says for this variable.

    Parameters
    ----------
    values : ndarray of float32, shape (days, stations)
    days : ndarray of int64, shape (days,)
        Consecutive days.
    variable : Variable
        Its `fill` and `max_gap` are used.
    allowed : ndarray of bool, shape (stations,), optional
        Where False only observations themselves stay.
    """
    counts = [np.empty(values.shape, dtype=np.int32) for _ in range(3)]
    out = FilledDays(np.empty_like(values), *counts)
    for start in range(0, values.shape[1], _BLOCK):
        block = slice(start, start + _BLOCK)
        part = values[:, block]
        filled = gap_fill(days, part, days, variable.fill, variable.max_gap)
        out.values[:, block], out.age[:, block] = filled.values, filled.age
        out.ahead[:, block] = filled.ahead
        out.gap[:, block] = _gap_lengths(days, part, filled, variable)
    if allowed is not None and not allowed.all():
        gone = ~allowed & np.isnan(values)
        out.values[gone] = np.nan
        out.age[gone] = out.gap[gone] = -1
        out.ahead[gone] = 0
    return out


def _gap_lengths(
    days: NDArray[np.int64], values: Dense, filled: Filled, variable: Variable
) -> NDArray[np.int32]:
    """Lengths of whole gaps, also where a value was held; with causal filling, what was known on the day."""
    if variable.fill != "hold":
        return filled.gap
    bracket = find_bracket(days, ~np.isnan(values), days)
    before, after = bracket.days_before, bracket.days_after
    one_sided = (before == NO_LIMIT) | (after == NO_LIMIT)
    length = np.where(one_sided, np.minimum(before, after), before + after)
    return np.where(filled.gap > 0, length, filled.gap).astype(np.int32)


def bridge_gaps(
    values: Dense, days: NDArray[np.int64], longest: int, *, causal: bool
) -> tuple[Dense, NDArray[np.int32]]:
    """Fill gaps of up to ``longest`` missing days and leave longer ones whole.

    By a line between the neighbours, or (causal) by the value before. A gap at an end of the record has no
    neighbour there and stays, except that the causal fill may hold the last value.

    Returns
    -------
    filled : ndarray of float32, shape (days, stations)
    ahead : ndarray of int32, shape (days, stations)
        As in `FilledDays`.
    """
    filled, ahead = np.empty_like(values), np.zeros(values.shape, dtype=np.int32)
    for start in range(0, values.shape[1], _BLOCK):
        block = slice(start, start + _BLOCK)
        part = values[:, block]
        if causal:
            filled[:, block] = gap_fill(days, part, days, "past", longest).values
            continue
        bracket = find_bracket(days, ~np.isnan(part), days)
        small = bracket.days_before + bracket.days_after <= longest + 1
        line = gap_fill(days, part, days, "linear", longest + 1).values
        filled[:, block] = np.where(small, line, np.float32(np.nan))
        ahead[:, block] = np.where(small, bracket.days_after, 0)
    return filled, ahead


def latest_day(days: NDArray[np.int64], ahead: NDArray[np.int32], *, in_window: bool) -> NDArray[np.int64]:
    """Latest day of an observation that a value of each day rests on, shape (days, stations).

    Parameters
    ----------
    days : ndarray of int64, shape (days,)
    ahead : ndarray of int32, shape (days, stations)
        As in `FilledDays`.
    in_window : bool
        Whether rows use the days before their own too.
    """
    latest = days[:, None] + ahead
    return np.maximum.accumulate(latest, axis=0) if in_window else latest


def note_age(ages: dict[str, NDArray[np.int16]], column: str, age: NDArray[np.int32]) -> None:
    """Keep the oldest of the variables of a source; missing (-1) if one of them is."""
    mine = age.astype(np.int16)
    if column in ages:
        before = ages[column]
        mine = np.where((before < 0) | (mine < 0), np.int16(-1), np.maximum(before, mine))
    ages[column] = mine


def series_channels(catalogue: Catalogue, weather: Mapping[str, Dense]) -> dict[str, Dense]:
    """Daily values of every series channel; those of the soil's state need the days before.

    Parameters
    ----------
    catalogue : Catalogue
    weather : mapping of str to ndarray of float32, shape (days, stations)
        `Catalogue.series_inputs`, filled.

    Returns
    -------
    dict of str to ndarray of float32, shape (days, stations)
        In catalogue order. Soil-state channels are missing for the first `MEMORY` days.
    """
    channels = {}
    for name, values in derive_series(catalogue, weather).items():
        if name in weather:
            channels[name] = weather[name]
        else:
            before = np.full((MEMORY, values.shape[1]), np.nan, dtype=np.float32)
            channels[name] = np.concatenate((before, values))
    return channels


def whole_windows(values: Dense, lags: Sequence[int]) -> NDArray[np.bool_]:
    """Days of which no day of the window is missing, shape (days, stations)."""
    missing = np.isnan(values)
    out = np.zeros(values.shape, dtype=bool)
    first = max(lags)
    out[first:] = True
    for lag in lags:
        out[first:] &= ~missing[first - lag : len(values) - lag]
    return out
