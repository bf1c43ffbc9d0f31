"""Which season, land cover and climate a row belongs to, and scores by each of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.catalogue import LAND_COVER_CLASSES
from mmnet_maps.dates import NO_DAY, from_yyyymmdd
from mmnet_maps.errors import InputError
from mmnet_maps.learn.bootstrap import intervals
from mmnet_maps.learn.scoring import scores

__all__ = ["days_of", "group_labels", "group_scores", "join_groups"]

#: Columns of a station table that group its rows; a one-hot land cover counts as ``LC``.
_COLUMNS = ("LC", "Climate")
#: Meteorological seasons of the northern hemisphere: the stations are in the United States.
_SEASONS = np.array([*["winter"] * 2, *["spring"] * 3, *["summer"] * 3, *["autumn"] * 3, "winter"])


def days_of(dates: pd.Series[Any], where: str) -> NDArray[np.int64]:
    """Days since 1970-01-01 of YYYYMMDD numbers or of texts, YYYYMMDD or ISO.

    Parameters
    ----------
    dates : Series, shape (n,)
    where : str
        What to call the table in errors.

    Raises
    ------
    InputError
        A value is no date; the message names the row.
    """
    if pd.api.types.is_numeric_dtype(dates):
        number = dates.to_numpy(np.float64, na_value=np.nan)
        whole = np.isfinite(number) & (number == np.floor(number))
        day = np.where(whole, from_yyyymmdd(np.where(whole, number, 0).astype(np.int64)), NO_DAY)
    else:
        stamps = pd.to_datetime(dates, errors="coerce", format="ISO8601").to_numpy("datetime64[D]")
        day = np.where(np.isnat(stamps), NO_DAY, stamps.astype(np.int64))
    if (day == NO_DAY).any():
        row = int(np.flatnonzero(day == NO_DAY)[0])
        raise InputError(
            f"{where}: Date {dates.iloc[row]} in row {row + 1} is no date, expected YYYYMMDD or YYYY-MM-DD"
        )
    return day.astype(np.int64)


def join_groups(predictions: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Add the grouping columns of a station table to predictions, by ID and Date.

    Parameters
    ----------
    predictions : DataFrame
        ID, Date (YYYYMMDD).
    table : DataFrame
        Station table; of LC (or LC one-hot) and Climate, those that it has are taken.

    Returns
    -------
    DataFrame
        The predictions with LC as class names and Climate; missing for rows that the table does not hold.
    """
    held = {"LC": _land_cover(table), "Climate": table["Climate"] if "Climate" in table.columns else None}
    columns = {name: np.asarray(values) for name, values in held.items() if values is not None}
    if not columns:
        return predictions
    keys = _keys(table, "the station table")
    # Of a station-day that stands twice in the table the first row counts: the place is the same.
    right = keys.assign(**columns).drop_duplicates(["ID", "day"])
    found = _keys(predictions, "the prediction table").merge(right, on=["ID", "day"], how="left")
    return predictions.assign(**{name: found[name].to_numpy() for name in columns})


def _keys(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    return pd.DataFrame({"ID": frame["ID"].astype(str).to_numpy(), "day": days_of(frame["Date"], where)})


def group_labels(frame: pd.DataFrame, day: NDArray[np.int64]) -> dict[str, pd.Series[Any]]:
    """The groupings that a table of predictions allows: season, and land cover and climate where it has them.

    Parameters
    ----------
    frame : DataFrame
        Any of LC (class number or name, or one-hot columns) and Climate.
    day : ndarray of int64, shape (n,)
        Days since 1970-01-01.

    Returns
    -------
    dict of str to Series of str, shape (n,)
        Missing where a row has no group.
    """
    month = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12
    labels = {"season": pd.Series(_SEASONS[month], dtype=object)}
    cover = _land_cover(frame)
    if cover is not None:
        labels["land_cover"] = cover.reset_index(drop=True)
    if "Climate" in frame.columns:
        climate = frame["Climate"].reset_index(drop=True)
        labels["climate"] = climate.astype(str).where(climate.notna(), None).astype(object)
    return labels


def group_scores(
    observed: NDArray[np.float64],
    predicted: NDArray[np.float64],
    station: NDArray[Any],
    label: pd.Series[Any],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Scores of the rows of each group, with intervals.

    Returns
    -------
    dict
        By name of the group: ``overall`` and ``stations`` as in `scores`, and ``intervals``. A group without
        any prediction is left out.
    """
    found = {}
    known = np.isfinite(observed) & np.isfinite(predicted)
    for name in sorted(label.dropna().unique()):
        rows = (label == name).to_numpy()
        if not (rows & known).any():
            continue
        part = observed[rows], predicted[rows], station[rows]
        found[str(name)] = {**scores(*part), "intervals": intervals(*part, resamples=resamples, seed=seed)}
    return found


def _land_cover(frame: pd.DataFrame) -> pd.Series[Any] | None:
    """Class names, missing where there is no class; None without any land cover in the table."""
    names = np.array([*LAND_COVER_CLASSES, None], dtype=object)
    if "LC" in frame.columns:
        cover = frame["LC"]
        if not pd.api.types.is_numeric_dtype(cover):
            return cover.astype(object).where(cover.notna(), None)
        number = cover.to_numpy(np.float64, na_value=np.nan)
        usable = np.isin(number, np.arange(len(LAND_COVER_CLASSES)))
        return pd.Series(names[np.where(usable, number, -1).astype(np.int64)], index=frame.index)
    columns = [f"LC_{name}" for name in LAND_COVER_CLASSES]
    if not set(columns) <= set(frame.columns):
        return None
    hot = frame[columns].to_numpy(np.float64, na_value=np.nan)
    index = np.where((hot == 1).sum(axis=1) == 1, np.argmax(hot == 1, axis=1), -1)
    return pd.Series(names[index], index=frame.index)
