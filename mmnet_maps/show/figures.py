"""Figures of a study: scatter with scores, box plots, series; saved as PNG with the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["box_figure", "png", "save", "scatter_figure", "series_figure", "share_figure"]

Float = NDArray[np.float64]
_INK, _ACCENT, _BAND = "#1f3b57", "#1f6aa8", "#9cc4de"


def png(figure: Figure) -> bytes:
    """The figure as PNG; without the drawing software's version in it, so that bytes repeat."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG; it appears whole or not at all."""
    draft = path.with_name(f".{path.name}.partial")
    draft.write_bytes(png(figure))
    draft.replace(path)


def _new(width: float, height: float) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return figure, axes


def scatter_figure(measured: Float, predicted: Float, scores: Mapping[str, Any], title: str) -> Figure:
    """Predicted against measured soil moisture as a density, the line of equality, and the scores.

    Parameters
    ----------
    measured, predicted : ndarray, shape (n,)
        m3 m-3; rows with a NaN are left out.
    scores : mapping
        Values to be written beside the cloud: corr, rmse, bias, ubrmse, n.
    title : str
    """
    known = np.isfinite(measured) & np.isfinite(predicted)
    x, y = measured[known], predicted[known]
    figure, axes = _new(4.6, 4.2)
    top = float(max(0.1, np.ceil(np.concatenate([x, y, [0.1]]).max() * 20) / 20))
    if x.size:
        cells = axes.hexbin(x, y, gridsize=60, extent=(0, top, 0, top), mincnt=1, bins="log", cmap="viridis")
        figure.colorbar(cells, ax=axes, shrink=0.85, label="station-days")
    axes.plot([0, top], [0, top], color="#777777", linewidth=1)
    axes.set(xlim=(0, top), ylim=(0, top), aspect="equal", title=title)
    axes.set_xlabel("measured (m³ m⁻³)", fontsize=9)
    axes.set_ylabel("predicted (m³ m⁻³)", fontsize=9)
    names = {"corr": "R", "ubrmse": "ubRMSE", "rmse": "RMSE", "bias": "bias"}
    lines = [f"{label} {scores[key]:.3f}" for key, label in names.items() if _number(scores.get(key))]
    lines += [f"n {scores['n']:,}"] if _number(scores.get("n")) else []
    axes.text(0.03, 0.97, "\n".join(lines), transform=axes.transAxes, va="top", fontsize=9, color=_INK)
    return figure


def _number(value: object) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def box_figure(groups: Mapping[str, Sequence[float]], label: str, title: str) -> Figure:
    """Box plots of a station score by group (fold or model); undefined scores are left out."""
    values = [[v for v in group if np.isfinite(v)] for group in groups.values()]
    figure, axes = _new(max(4.0, 1.0 + 0.8 * len(values)), 3.4)
    axes.boxplot(
        values,
        tick_labels=[f"{name}\n({len(v)})" for name, v in zip(groups, values, strict=True)],
        showfliers=True,
        patch_artist=True,
        boxprops={"facecolor": _BAND, "edgecolor": _INK},
        medianprops={"color": _INK},
        flierprops={"markersize": 3},
    )
    axes.set_ylabel(label, fontsize=9)
    axes.set_title(title, fontsize=11)
    return figure


def series_figure(
    days: NDArray[np.int64], mean: Float, lower: Float | None, upper: Float | None, title: str
) -> Figure:
    """Mean soil moisture by day, with a band from `lower` to `upper` (NaN leaves a gap)."""
    figure, axes = _new(8.5, 3.0)
    when = days.astype("datetime64[D]")
    if lower is not None and upper is not None:
        axes.fill_between(when, lower, upper, color=_BAND, alpha=0.6, linewidth=0, label="mean interval")
    axes.plot(when, mean, color=_ACCENT, marker="o", markersize=2.5, linewidth=1.2, label="mean of the map")
    axes.set_ylabel("soil moisture (m³ m⁻³)", fontsize=9)
    axes.set_title(title, fontsize=11)
    axes.legend(fontsize=8, frameon=False)
    figure.autofmt_xdate()
    return figure


def share_figure(shares: Mapping[str, float], title: str) -> Figure:
    """Horizontal bars of shares in percent."""
    figure, axes = _new(7.0, 0.9 + 0.28 * max(1, len(shares)))
    names = list(shares)
    axes.barh(range(len(names)), [100 * shares[n] for n in names], color=_ACCENT)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("% of pixel-days", fontsize=9)
    axes.set_title(title, fontsize=11)
    return figure
