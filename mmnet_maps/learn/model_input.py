"""Rows of a station table as the arrays that models take, selected by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.catalogue import LAND_COVER_CLASSES, Catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.learn.models.networks import NETWORKS
from mmnet_maps.prepare.features import Scaler
from mmnet_maps.prepare.stations.files import model_columns

__all__ = [
    "ModelInput",
    "fit_scaler",
    "columns_of_kind",
    "from_table",
    "land_cover_index",
    "model_arrays",
    "raw_arrays",
    "side_by_side",
    "takes_windows",
]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class ModelInput:
    """Unscaled inputs of a model.

    Attributes
    ----------
    snapshot : ndarray of float32, shape (n, p)
        In the order of `Catalogue.snapshot`.
    series : ndarray of float32, shape (n, v, t)
        In the order of `Catalogue.series`, oldest day first.
    """

    snapshot: Array
    series: Array

    def __len__(self) -> int:
        return len(self.snapshot)

    def rows(self, index: NDArray[np.integer] | NDArray[np.bool_] | slice) -> ModelInput:
        """The chosen rows."""
        return ModelInput(self.snapshot[index], self.series[index])

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Rows in which every value is finite, shape (n,)."""
        wide, long = np.isfinite(self.snapshot), np.isfinite(self.series)
        whole: NDArray[np.bool_] = np.logical_and(wide.all(axis=1), long.all(axis=(1, 2)))
        return whole

    def refuse_other_shape(self, catalogue: Catalogue) -> None:
        """Raise `InputError` unless the widths are those of the catalogue."""
        expected = (len(catalogue.snapshot),), (len(catalogue.series), len(catalogue.lags))
        found = self.snapshot.shape[1:], self.series.shape[1:]
        if found != expected:
            raise InputError(f"model input has shapes (n, *{found}), the catalogue expects (n, *{expected})")


def from_table(frame: pd.DataFrame, catalogue: Catalogue) -> ModelInput:
    """Take the model input out of a station table.

    Parameters
    ----------
    frame : DataFrame
        Station table, one row a station-day; missing values stay NaN.
    catalogue : Catalogue
        Names and order.

    Raises
    ------
    InputError
        Columns are missing or are not numbers; the message names them.
    """
    columns = list(model_columns(catalogue))
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        more = f" and {len(missing) - 6} more" if len(missing) > 6 else ""
        raise InputError(f"the table lacks columns {', '.join(missing[:6])}{more}")
    for name in columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            raise InputError(f"column {name} of the table holds {frame[name].dtype}, numbers were expected")
    values = frame[columns].to_numpy(dtype=np.float32, na_value=np.nan)
    p = len(catalogue.snapshot)
    series = values[:, p:].reshape(len(frame), len(catalogue.series), len(catalogue.lags))
    return ModelInput(np.ascontiguousarray(values[:, :p]), np.ascontiguousarray(series))


def side_by_side(arrays: Sequence[Array]) -> Array:
    """Arrays of n rows as one of shape (n, k), each flattened by row: (n, p) and (n, v, t) give p + v t."""
    first, *rest = (array.reshape(len(array), -1) for array in arrays)
    return np.concatenate((first, *rest), axis=1) if rest else first


def columns_of_kind(kind: str, catalogue: Catalogue) -> tuple[str, ...]:
    """Names of the columns of a kind's first input (`Network.columns`); baselines take the snapshot."""
    return NETWORKS[kind].columns(catalogue) if kind in NETWORKS else catalogue.snapshot


def takes_windows(kind: str) -> bool:
    """Whether a kind takes the windows of the series beside its columns."""
    return NETWORKS[kind].windows if kind in NETWORKS else True


def raw_arrays(kind: str, inputs: ModelInput, catalogue: Catalogue) -> tuple[Array, ...]:
    """What a model of that kind takes, unscaled: its columns, shape (n, k), and perhaps series (n, v, t)."""
    columns = columns_of_kind(kind, catalogue)
    first = inputs.snapshot if columns == catalogue.snapshot else _matrix(columns, inputs, catalogue)
    return (first, inputs.series) if takes_windows(kind) else (first,)


def _matrix(columns: tuple[str, ...], inputs: ModelInput, catalogue: Catalogue) -> Array:
    """Columns by name: a snapshot feature, a series variable on the day, or the land cover's number."""
    out = np.empty((len(inputs), len(columns)), dtype=np.float32)
    snapshot = {name: i for i, name in enumerate(catalogue.snapshot)}
    for column, name in enumerate(columns):
        if name in snapshot:
            out[:, column] = inputs.snapshot[:, snapshot[name]]
        elif name in catalogue.series:
            out[:, column] = inputs.series[:, catalogue.series.index(name), catalogue.lags.index(0)]
        else:
            out[:, column] = _land_cover_number(inputs.snapshot, snapshot)
    return out


def _land_cover_number(snapshot: Array, position: dict[str, int]) -> Array:
    """Number of the class in `LAND_COVER_CLASSES`."""
    number = np.zeros(len(snapshot), dtype=np.float32)
    share = np.zeros(len(snapshot), dtype=np.float32)
    for k, name in enumerate(LAND_COVER_CLASSES):
        if f"LC_{name}" in position:
            column = snapshot[:, position[f"LC_{name}"]]
            number += np.float32(k) * column
            share += column
    # No class, two classes or a missing one: there is no number.
    number[share != 1] = np.nan
    return number


def fit_scaler(kind: str, inputs: ModelInput, catalogue: Catalogue) -> Scaler:
    """Fit the scaler of a model kind on training rows.

    The scaler's snapshot are the columns that the kind takes; without windows its series part is empty.

    Raises
    ------
    InputError
        There are no rows, or a series variable is constant.
    """
    columns, *windows = raw_arrays(kind, inputs, catalogue)
    return Scaler.fit(columns, windows[0] if windows else inputs.series[:, :0], catalogue)


def model_arrays(kind: str, inputs: ModelInput, catalogue: Catalogue, scaler: Scaler) -> tuple[Array, ...]:
    """The scaled arrays that a model of that kind takes.

    Returns
    -------
    tuple of ndarray of float32
        Networks: columns (n, k) and, if they take windows, series (n, v, t). Baselines: (n, p + v t).
    """
    columns, *windows = raw_arrays(kind, inputs, catalogue)
    scaled = (scaler.snapshot(columns), *map(scaler.series, windows))
    return scaled if kind in NETWORKS else (side_by_side(scaled),)


def land_cover_index(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Index in `LAND_COVER_CLASSES` of each row's class, from its one-hot columns; -1 where it has none."""
    names = [f"LC_{name}" for name in LAND_COVER_CLASSES]
    if not set(names) <= set(frame.columns):
        return np.full(len(frame), -1)
    one_hot = frame[names].to_numpy(dtype=np.float64)
    return np.where(one_hot.max(axis=1) > 0, one_hot.argmax(axis=1), -1)
