"""Why a model estimates what it does: the importance of every variable, and of every day of the weather.

It rests on the contributions of the inputs (`contributions`); for a random forest, which has none here, on
what shuffling a variable costs (`permutation`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from mmnet_maps.learn.contributions import contributions
from mmnet_maps.learn.model_input import ModelInput, from_table, raw_arrays, side_by_side
from mmnet_maps.learn.permutation import permutation_importance
from mmnet_maps.store.whole import write_whole

__all__ = ["Explanation", "explain", "write_explanation"]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Explanation:
    """What a model's inputs contribute.

    Attributes
    ----------
    importance : DataFrame
        A row a variable, most important first: variable, part, importance (m3 m-3: the mean size of its
        contribution, all of its columns and days summed first; of a forest, by how much the RMSE grows when
        it is shuffled), noise (mean size of its Monte Carlo error: an importance that does not exceed it
        means nothing), share (of the sum), direction (correlation of value and contribution, NaN for LC).
    lags : DataFrame
        variable, lag, importance, noise, of the series variables, by single day.
    contributions : DataFrame, optional
        A row an explained station-day: ID, Date, y_pred, base, then the contribution of each variable. None
        for a forest.
    values : DataFrame, optional
        The values of the variables in those rows; of a series variable the mean over its days, LC left out.
    facts : dict
        kind, method, rows, background, samples, seed, base, bundle (digest), and ``additivity``: mean size of
        what is missing between the sum of the contributions and the estimate less the base, and mean size
        of the latter.
    """

    importance: pd.DataFrame
    lags: pd.DataFrame
    contributions: pd.DataFrame | None
    values: pd.DataFrame | None
    facts: dict[str, Any]


def explain(
    bundle: Bundle,
    frame: pd.DataFrame,
    rows: int = 1000,
    background: int = 1000,
    samples: int = 200,
    seed: int = 1,
) -> Explanation:
    """Explain a model on rows of a station table.

    Parameters
    ----------
    bundle : Bundle
    frame : DataFrame
        Station table of the bundle's catalogue.
    rows, background : int
        Complete rows that are explained, and that the estimate is compared with; drawn at random.
    samples : int
        Points at which the gradient of a network is taken for each row; the noise falls with its root.
    seed : int

    Raises
    ------
    InputError
        The table lacks columns, or has no two complete rows.
    """
    inputs = from_table(frame, bundle.catalogue)
    whole = np.flatnonzero(inputs.complete)
    if len(whole) < 2:
        raise InputError(f"the table has {len(whole)} complete rows of {len(frame)}, at least 2 are needed")
    random = np.random.default_rng(seed)
    chosen, compared = (
        np.sort(random.choice(whole, min(count, len(whole)), replace=False)) for count in (rows, background)
    )
    facts = {"kind": bundle.kind, "rows": len(chosen), "seed": seed, "bundle": bundle.digest}
    columns = columns_of(bundle.kind, bundle.catalogue)
    method = "gradient" if bundle.baseline is None or bundle.members else bundle.baseline.explained_by
    if method == "permutation":
        importance, lags = permutation_importance(
            bundle, frame.iloc[chosen], inputs.rows(chosen), columns, seed
        )
        return Explanation(importance, lags, None, None, {**facts, "method": method})
    values, noise, base = contributions(bundle, inputs.rows(chosen), inputs.rows(compared), samples, seed)
    facts |= {"method": method, "background": len(compared), "base": base}
    facts |= {"samples": samples} if bundle.members else {}
    return _explanation(bundle, frame.iloc[chosen], inputs.rows(chosen), columns, (values, noise), facts)


def _explanation(
    bundle: Bundle,
    frame: pd.DataFrame,
    inputs: ModelInput,
    columns: tuple[Column, ...],
    found: tuple[Float, Float],
    facts: dict[str, Any],
) -> Explanation:
    variables, member = variables_of(columns), membership(columns)
    summed, noise = (part @ member for part in found)
    raw = side_by_side(raw_arrays(bundle.kind, inputs, bundle.catalogue))
    values = raw.astype(np.float64) @ (member / member.sum(axis=0))
    values[:, [v.variable == "LC" for v in variables]] = np.nan
    names = [v.variable for v in variables]
    predicted = bundle.predict(inputs).astype(np.float64)
    direction = np.array([_correlation(values[:, k], summed[:, k]) for k in range(len(names))])
    size, error = np.abs(summed).mean(axis=0), np.abs(noise).mean(axis=0)
    importance = importance_table(variables, size, error, direction)
    lags = lag_table(columns, np.abs(found[0]).mean(axis=0), np.abs(found[1]).mean(axis=0))
    away = predicted - facts["base"]
    facts["additivity"] = {
        "mean_abs_error": float(np.abs(summed.sum(axis=1) - away).mean()),
        "mean_abs_difference": float(np.abs(away).mean()),
    }
    keys = {"ID": frame["ID"].to_numpy(), "Date": frame["Date"].to_numpy()}
    rows = pd.DataFrame({**keys, "y_pred": predicted, "base": facts["base"]})
    rows = pd.concat((rows, pd.DataFrame(summed, columns=names)), axis=1)
    shown = pd.DataFrame(values, columns=names).drop(columns="LC", errors="ignore")
    return Explanation(importance, lags, rows, shown, facts)


def _correlation(a: Float, b: Float) -> float:
    if not np.isfinite(a).all() or a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def write_explanation(found: Explanation, out: Path) -> list[Path]:
    """Write ``importance.csv``, ``importance_by_lag.csv``, ``contributions.csv`` and ``explanation.json``.

    Parameters
    ----------
    found : Explanation
    out : Path
        Folder, there already. Each file appears whole or not at all.

    Returns
    -------
    list of Path
    """
    tables = {"importance.csv": found.importance, "importance_by_lag.csv": found.lags}
    if found.contributions is not None:
        tables["contributions.csv"] = found.contributions
    texts = {
        name: table.to_csv(index=False, float_format="%.8g", lineterminator="\n")
        for name, table in tables.items()
    }
    texts["explanation.json"] = json.dumps(found.facts, indent=2, allow_nan=False) + "\n"
    return [write_whole(out / name, text) for name, text in texts.items()]
