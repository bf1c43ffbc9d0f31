"""Scores of predictions with their intervals, by season, land cover and climate, and of anomalies.

The scores themselves are in `scoring`, intervals in `bootstrap`, the seasonal cycle in `anomalies`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mmnet_maps.errors import InputError
from mmnet_maps.learn.anomalies import anomaly_scores
from mmnet_maps.learn.bootstrap import intervals
from mmnet_maps.learn.groups import days_of, group_labels, group_scores
from mmnet_maps.learn.scoring import (
    METRICS,
    error_parts,
    overall_scores,
    scores,
    station_codes,
    station_scores,
)
from mmnet_maps.store.csv_file import read_csv
from mmnet_maps.store.location import Location

__all__ = [
    "METRICS",
    "check_predictions",
    "evaluate_table",
    "overall_scores",
    "read_predictions",
    "scores",
    "station_scores",
]

_COLUMNS = ("ID", "Date", "y_test", "y_pred")


def evaluate_table(
    frame: pd.DataFrame, where: str = "the prediction table", resamples: int = 1000, seed: int = 1
) -> dict[str, Any]:
    """Score any prediction table.

    Parameters
    ----------
    frame : DataFrame
        ID, Date (YYYYMMDD or ISO text), y_test, y_pred; LC and Climate where there are any.
    where : str
        What to call the table in errors.
    resamples, seed : int
        Of the bootstrap over stations.

    Returns
    -------
    dict
        ``overall`` and ``stations`` (`scores`); ``intervals`` (`bootstrap.intervals`); ``error``, the mean
        squared error split into its parts (`scoring.error_parts`); ``anomalies``
        (`anomalies.anomaly_scores`); ``groups``: by ``season``, and by ``land_cover`` and ``climate`` where
        the table has them, the scores of each group.

    Raises
    ------
    InputError
        A column is missing or holds no numbers, a date is none, or no row has both values.
    """
    check_predictions(frame, where)
    observed, predicted = (frame[n].to_numpy(np.float64, na_value=np.nan) for n in ("y_test", "y_pred"))
    if not (np.isfinite(observed) & np.isfinite(predicted)).any():
        raise InputError(f"{where}: none of its {len(frame)} rows has both y_test and y_pred")
    station, day = station_codes(frame["ID"].to_numpy())[0], days_of(frame["Date"], where)
    groups = {
        kind: group_scores(observed, predicted, station, label, resamples, seed)
        for kind, label in group_labels(frame, day).items()
    }
    return {
        **scores(observed, predicted, station),
        "intervals": intervals(observed, predicted, station, resamples, seed),
        "error": error_parts(observed, predicted, station),
        "anomalies": anomaly_scores(observed, predicted, station, day),
        "groups": groups,
    }


def check_predictions(frame: pd.DataFrame, where: str) -> None:
    """Raise `InputError` unless the table has ID and Date, and numbers in y_test and y_pred."""
    missing = [name for name in _COLUMNS if name not in frame.columns]
    if missing:
        raise InputError(
            f"{where}: columns {', '.join(missing)} are missing; needed are {', '.join(_COLUMNS)}"
        )
    if frame.empty:
        raise InputError(f"{where}: no rows")
    for name in ("y_test", "y_pred"):
        if not pd.api.types.is_numeric_dtype(frame[name]):
            raise InputError(f"{where}: column {name} holds {frame[name].dtype}, expected numbers")


def read_predictions(path: Location) -> pd.DataFrame:
    """Read a CSV of predictions; ids stay text.

    Raises
    ------
    InputError
        The file is missing or is no CSV.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return read_csv(path, dtype={"ID": str})
