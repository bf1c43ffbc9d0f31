"""Rows of a station table as the arrays that models take, selected by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.catalogue import LAND_COVER_CLASSES, Catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.prepare.features import Scaler
from mmnet_maps.prepare.stations.files import model_columns

__all__ = [
    "ModelInput",
    "fit_scaler",
    "flat_matrix",
    "from_table",
    "mlp_matrix",
    "model_arrays",
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


def flat_matrix(inputs: ModelInput) -> Array:
    """Snapshot and flattened windows side by side, shape (n, p + v t), in the order of `model_columns`."""
    return np.concatenate((inputs.snapshot, inputs.series.reshape(len(inputs), -1)), axis=1)


def mlp_matrix(inputs: ModelInput, catalogue: Catalogue) -> Array:
    """Columns of `Catalogue.mlp_features`, shape (n, 29 as published).

    The land cover class is its number in `LAND_COVER_CLASSES`; a series variable is its value on the day.
    """
    out = np.empty((len(inputs), len(catalogue.mlp_features)), dtype=np.float32)
    snapshot = {name: i for i, name in enumerate(catalogue.snapshot)}
    for column, name in enumerate(catalogue.mlp_features):
        if name in snapshot:
            out[:, column] = inputs.snapshot[:, snapshot[name]]
        elif name in catalogue.series:
            out[:, column] = inputs.series[:, catalogue.series.index(name), catalogue.lags.index(0)]
        else:
            out[:, column] = _land_cover_number(inputs.snapshot, snapshot)
    return out


def _land_cover_number(snapshot: Array, place: dict[str, int]) -> Array:
    number = np.zeros(len(snapshot), dtype=np.float32)
    share = np.zeros(len(snapshot), dtype=np.float32)
    for k, name in enumerate(LAND_COVER_CLASSES):
        if f"LC_{name}" in place:
            column = snapshot[:, place[f"LC_{name}"]]
            number += np.float32(k) * column
            share += column
    # No class, two classes or a missing one: there is no number.
    number[share != 1] = np.nan
    return number


def fit_scaler(kind: str, inputs: ModelInput, catalogue: Catalogue) -> Scaler:
    """Fit the scaler of a model kind on training rows.

    The MLP scales the columns of `mlp_matrix`, held as the scaler's snapshot; its series part is empty.

    Raises
    ------
    InputError
        There are no rows, or a series variable is constant.
    """
    if kind == "mlp":
        return Scaler.fit(mlp_matrix(inputs, catalogue), inputs.series[:, :0])
    return Scaler.fit(inputs.snapshot, inputs.series, catalogue)


def model_arrays(kind: str, inputs: ModelInput, catalogue: Catalogue, scaler: Scaler) -> tuple[Array, ...]:
    """The scaled arrays that a model of that kind takes.

    Returns
    -------
    tuple of ndarray of float32
        MMNet, Transformer: snapshot (n, p) and series (n, v, t). MLP: (n, 29). Baselines: (n, p + v t).
    """
    if kind == "mlp":
        return (scaler.snapshot(mlp_matrix(inputs, catalogue)),)
    scaled = ModelInput(scaler.snapshot(inputs.snapshot), scaler.series(inputs.series))
    if kind in ("mmnet", "transformer"):
        return scaled.snapshot, scaled.series
    return (flat_matrix(scaled),)
