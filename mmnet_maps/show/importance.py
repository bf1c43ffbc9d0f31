"""Figures of an explanation: importance by variable, by variable and day, and the single contributions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mmnet_maps.learn.explain import Explanation
from mmnet_maps.show.figures import save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["contribution_figure", "importance_figure", "lag_figure", "write_importance_figures"]

_PARTS = {"snapshot": "#1f6aa8", "series": "#d55e00"}
#: Most variables in a figure.
_MOST = 25


def write_importance_figures(found: Explanation, out: Path) -> list[Path]:
    """Write ``importance.png``, ``importance_by_lag.png`` and, where there are any, ``contributions.png``."""
    drawn = {"importance.png": importance_figure(found)}
    if found.lags["lag"].nunique() > 1:
        drawn["importance_by_lag.png"] = lag_figure(found.lags)
    if found.contributions is not None and found.values is not None:
        order = list(found.importance["variable"][:_MOST])
        drawn["contributions.png"] = contribution_figure(found.contributions, found.values, order)
    for name, figure in drawn.items():
        save(figure, out / name)
    return [out / name for name in drawn]


def importance_figure(found: Explanation) -> Figure:
    """Bars of the importance of the variables, with the size of their noise."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    table = found.importance.head(_MOST)
    figure = Figure(figsize=(6.4, 1.2 + 0.24 * len(table)), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.barh(
        range(len(table)), table["importance"], xerr=table["noise"], color=table["part"].map(_PARTS),
        error_kw={"elinewidth": 1.0, "ecolor": "#333333"},
    )  # fmt: skip
    axes.set_yticks(range(len(table)), table["variable"], fontsize=8)
    axes.invert_yaxis()
    shuffled = found.facts["method"] == "permutation"
    axes.set_xlabel(
        "growth of the RMSE when shuffled (m³ m⁻³)" if shuffled else "mean size of the contribution (m³ m⁻³)",
        fontsize=9,
    )
    axes.legend(handles=[Patch(color=c, label=n) for n, c in _PARTS.items()], fontsize=8, loc="lower right")
    axes.margins(y=0.01)
    axes.set_title(f"{found.facts['kind']}: {found.facts['rows']} rows", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def lag_figure(lags: pd.DataFrame) -> Figure:
    """A field of variables and days back, darker where it matters more."""
    from matplotlib.figure import Figure

    wide = lags.pivot(index="variable", columns="lag", values="importance")
    wide = wide.loc[list(dict.fromkeys(lags["variable"])), sorted(wide.columns, reverse=True)]
    figure = Figure(
        figsize=(1.8 + 0.46 * wide.shape[1], 1.6 + 0.27 * len(wide)), dpi=110, layout="constrained"
    )
    axes = figure.subplots()
    values = wide.to_numpy(np.float64)
    field = axes.imshow(values, aspect="auto", cmap="YlGnBu", vmin=0)
    axes.set_yticks(range(len(wide)), wide.index, fontsize=8)
    axes.set_xticks(range(wide.shape[1]), wide.columns, fontsize=8)
    axes.set_xlabel("days back", fontsize=9)
    figure.colorbar(field, ax=axes, shrink=0.9).set_label("importance (m³ m⁻³)", fontsize=8)
    axes.set_title("Importance by day", fontsize=11)
    return figure


def contribution_figure(contributions: pd.DataFrame, values: pd.DataFrame, order: list[str]) -> Figure:
    """A point a row and variable: its contribution, coloured from the lowest to the highest value.

    Parameters
    ----------
    contributions, values : DataFrame
        As in `Explanation`; a variable without values (land cover) is grey.
    order : list of str
        Variables, the first on top.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 1.2 + 0.26 * len(order)), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color="#777777", linewidth=0.8)
    # Points of one contribution stand above each other by a fixed pattern: the same picture every time.
    scatter = (np.arange(len(contributions)) * 0.6180339887) % 1 - 0.5
    shown = None
    for k, name in enumerate(order):
        x, y = contributions[name].to_numpy(np.float64), k + 0.7 * scatter
        if name in values.columns:
            rank = values[name].rank(pct=True).to_numpy(np.float64)
            shown = axes.scatter(x, y, c=rank, s=5, cmap="coolwarm", vmin=0, vmax=1, linewidths=0)
        else:
            axes.scatter(x, y, color="#888888", s=5, linewidths=0)
    axes.set_yticks(range(len(order)), order, fontsize=8)
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xlabel("contribution to soil moisture (m³ m⁻³)", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    if shown is not None:
        bar = figure.colorbar(shown, ax=axes, shrink=0.6, ticks=[0, 1])
        bar.ax.set_yticklabels(["low", "high"], fontsize=8)
        bar.set_label("value of the variable", fontsize=8)
    return figure
