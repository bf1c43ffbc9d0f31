"""What shuffling an input costs: permutation importance (Breiman 2001), for models of any kind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.errors import InputError
from mmnet_maps.learn.bundle import Bundle
from mmnet_maps.learn.columns import (
    Column,
    columns_of,
    importance_table,
    lag_table,
    membership,
    variables_of,
)
from mmnet_maps.learn.model_input import ModelInput, side_by_side
from mmnet_maps.progress import steps

__all__ = ["permutation_importance", "variable_importance"]

_REPEATS = 3
Cost = Callable[[NDArray[np.bool_]], tuple[float, float]]


def permutation_importance(
    bundle: Bundle, frame: pd.DataFrame, inputs: ModelInput, columns: tuple[Column, ...], seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """By how much the RMSE grows when a variable, or one day of it, is shuffled between rows.

    Parameters
    ----------
    bundle : Bundle
    frame : DataFrame, n rows
        The bundle's target, measured.
    inputs : ModelInput, n rows
        Complete.
    columns : tuple of Column
        Of the snapshot and the flattened series.
    seed : int
        Every shuffling is repeated three times, and the mean taken.

    Returns
    -------
    importance, lags : DataFrame
        As in `explain.Explanation`; the noise is the standard error over the repeats, the share that of the
        positive part, the direction unknown.

    Raises
    ------
    InputError
        There is nothing measured to compare with.
    """
    target = bundle.catalogue.target.name
    if target not in frame.columns or not frame[target].notna().any():
        raise InputError(
            f"the importance of the inputs of a {bundle.kind} is measured against {target}: it is not there"
        )
    truth = frame[target].to_numpy(np.float64, na_value=np.nan)
    cost = _cost(bundle, inputs.rows(np.isfinite(truth)), truth[np.isfinite(truth)], seed, _REPEATS)
    member, variables = membership(columns) > 0, variables_of(columns)
    each = np.eye(len(columns), dtype=bool)
    days = [k for k, column in enumerate(columns) if column.part == "series"]
    single = np.zeros((len(columns), 2))
    whole = np.zeros((len(variables), 2))
    with steps("inputs shuffled", len(variables) + len(days)) as advance:
        for k in range(len(variables)):
            whole[k] = cost(member[:, k])
            advance()
        for k in days:
            single[k] = cost(each[k])
            advance()
    return importance_table(variables, *whole.T), lag_table(columns, *single.T)


def variable_importance(
    bundle: Bundle, inputs: ModelInput, truth: NDArray[np.floating], seed: int
) -> dict[Column, float]:
    """By how much the RMSE grows when a variable is shuffled once between rows, by variable.

    Parameters
    ----------
    bundle : Bundle
    inputs : ModelInput, n rows
        Complete.
    truth : ndarray, shape (n,)
        Soil moisture, m3 m-3.
    seed : int
    """
    # The columns of the catalogue, of which every kind takes some: those it does not take cost nothing.
    columns = columns_of("ridge", bundle.catalogue)
    cost, member = _cost(bundle, inputs, truth, seed, 1), membership(columns) > 0
    return {variable: cost(member[:, k])[0] for k, variable in enumerate(variables_of(columns))}


def _cost(bundle: Bundle, inputs: ModelInput, truth: NDArray[np.floating], seed: int, repeats: int) -> Cost:
    """What shuffling some columns costs: the mean over the repeats, and its standard error (0 of one)."""
    random = np.random.default_rng(seed)
    orders = [random.permutation(len(truth)) for _ in range(repeats)]
    flat, least = side_by_side((inputs.snapshot, inputs.series)), _rmse(bundle, inputs, truth)

    def cost(which: NDArray[np.bool_]) -> tuple[float, float]:
        found = []
        for order in orders:
            shuffled = flat.copy()
            shuffled[:, which] = flat[order][:, which]
            found.append(_rmse(bundle, _unflat(shuffled, inputs), truth) - least)
        noise = np.std(found, ddof=1) / np.sqrt(repeats) if repeats > 1 else 0.0
        return float(np.mean(found)), float(noise)

    return cost


def _rmse(bundle: Bundle, inputs: ModelInput, truth: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean((bundle.predict(inputs) - truth) ** 2)))


def _unflat(flat: NDArray[np.float32], like: ModelInput) -> ModelInput:
    p = like.snapshot.shape[1]
    return ModelInput(flat[:, :p], flat[:, p:].reshape(like.series.shape))
