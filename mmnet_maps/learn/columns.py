"""The input numbers of a model, by the variable and the day that they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.catalogue import FEATURE_INPUTS, Catalogue
from mmnet_maps.learn.model_input import columns_of_kind, takes_windows

__all__ = ["Column", "columns_of", "importance_table", "lag_table", "membership", "variables_of"]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """One input number of a model.

    Attributes
    ----------
    variable : str
        What it is counted under: the one-hot land cover under ``LC``, sine and cosine under their angle.
    part : {"snapshot", "series"}
    lag : int
        Days back; 0 in the snapshot.
    """

    variable: str
    part: Literal["snapshot", "series"]
    lag: int = 0


def columns_of(kind: str, catalogue: Catalogue) -> tuple[Column, ...]:
    """The inputs of a model kind, in the order of `model_arrays` laid side by side."""
    names, series = columns_of_kind(kind, catalogue), catalogue.series
    found = [Column(_joined(name), "series" if name in series else "snapshot") for name in names]
    if takes_windows(kind):
        found += [Column(name, "series", lag) for name in series for lag in catalogue.lags]
    return tuple(found)


def _joined(feature: str) -> str:
    together = feature.startswith("LC_") or feature.endswith(("_sin", "_cos"))
    return FEATURE_INPUTS[feature][0] if together and feature in FEATURE_INPUTS else feature


def variables_of(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """The variables, each once, in the order of their first column; their lag says nothing."""
    return tuple(Column(*key) for key in dict.fromkeys((c.variable, c.part) for c in columns))


def membership(columns: tuple[Column, ...]) -> Float:
    """1 where a column belongs to a variable, shape (columns, variables)."""
    variables = [(v.variable, v.part) for v in variables_of(columns)]
    return np.array([[float((c.variable, c.part) == v) for v in variables] for c in columns])


def importance_table(
    variables: tuple[Column, ...], importance: Float, noise: Float, direction: Float | None = None
) -> pd.DataFrame:
    """A row a variable, most important first; the share is that of the positive part of the importance."""
    positive = np.maximum(importance, 0)
    return pd.DataFrame(
        {
            "variable": [v.variable for v in variables],
            "part": [v.part for v in variables],
            "importance": importance,
            "noise": noise,
            "share": positive / max(float(positive.sum()), 1e-300),
            "direction": np.nan if direction is None else direction,
        }
    ).sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def lag_table(columns: tuple[Column, ...], importance: Float, noise: Float) -> pd.DataFrame:
    """A row a column of the series: variable, lag, importance, noise."""
    chosen = [k for k, column in enumerate(columns) if column.part == "series"]
    return pd.DataFrame(
        {
            "variable": [columns[k].variable for k in chosen],
            "lag": [columns[k].lag for k in chosen],
            "importance": importance[chosen],
            "noise": noise[chosen],
        }
    )
