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
from mmnet_maps.store.whole import appearing

__all__ = [
    "SCORE_LABELS",
    "box_figure",
    "boxes_figure",
    "map_figure",
    "png",
    "save",
    "scatter_figure",
    "series_figure",
    "share_figure",
    "station_figure",
]

Float = NDArray[np.float64]
_INK, _ACCENT, _BAND = "#1f3b57", "#1f6aa8", "#9cc4de"
#: Lines of models, told apart with any kind of colour vision (Okabe and Ito 2008).
_LINES = ("#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
#: Scores of stations that are drawn, with their names.
SCORE_LABELS = {"corr": "R", "ubrmse": "ubRMSE (m³ m⁻³)", "bias": "bias (m³ m⁻³)"}


def png(figure: Figure) -> bytes:
    """The figure as PNG; without the drawing software's version in it, so that bytes repeat."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG; it appears whole or not at all."""
    with appearing(path) as draft:
        draft.write_bytes(png(figure))


def _new(width: float, height: float) -> tuple[Figure, Any]:
    figure, (axes,) = _row(1, width, height)
    return figure, axes


def _row(count: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    """A figure of panels side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    panels = list(figure.subplots(1, count, squeeze=False)[0])
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    return figure, panels


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
    paper = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 2}
    axes.text(
        0.03, 0.97, "\n".join(lines), transform=axes.transAxes, va="top", fontsize=9, color=_INK, bbox=paper
    )
    return figure


def _number(value: object) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def box_figure(groups: Mapping[str, Sequence[float]], label: str, title: str) -> Figure:
    """Box plots of a station score by group (fold or model); undefined scores are left out."""
    figure, axes = _new(max(4.0, 1.0 + 0.8 * len(groups)), 3.4)
    _boxes(axes, groups)
    axes.set_ylabel(label, fontsize=9)
    axes.set_title(title, fontsize=11)
    return figure


def boxes_figure(tables: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> Figure:
    """Box plots of the scores of stations by model, a panel a score.

    Parameters
    ----------
    tables : mapping of str to mapping
        By model: the scores of its stations by the names in `SCORE_LABELS`. Undefined ones are left out, and
        the number of the others stands below the box.
    title : str
    """
    figure, panels = _row(len(SCORE_LABELS), 2.0 + 2.1 * max(2, len(tables)), 3.4)
    for axes, (name, label) in zip(panels, SCORE_LABELS.items(), strict=True):
        _boxes(axes, {model: table[name] for model, table in tables.items()})
        axes.set_ylabel(label, fontsize=9)
        if name == "bias":
            axes.axhline(0, color="#777777", linewidth=0.8, zorder=0)
    figure.suptitle(title, fontsize=11)
    return figure


def _boxes(axes: Any, groups: Mapping[str, Sequence[float]]) -> None:
    values = [[v for v in group if np.isfinite(v)] for group in groups.values()]
    axes.boxplot(
        values,
        tick_labels=[f"{name}\n({len(v)})" for name, v in zip(groups, values, strict=True)],
        showfliers=True,
        patch_artist=True,
        boxprops={"facecolor": _BAND, "edgecolor": _INK},
        medianprops={"color": _INK},
        flierprops={"markersize": 3},
    )


def map_figure(longitude: Float, latitude: Float, scores: Mapping[str, Float], title: str) -> Figure:
    """Where the scores of stations are good and where they are not: points at their places, a panel a score.

    Parameters
    ----------
    longitude, latitude : ndarray, shape (stations,)
        Degrees.
    scores : mapping of str to ndarray, shape (stations,)
        By the names in `SCORE_LABELS`; a station without that score is a hollow point.
    title : str
    """
    wide, high = (max(float(np.ptp(v)), 1e-3) if v.size else 1.0 for v in (longitude, latitude))
    stretch = 1 / max(0.1, float(np.cos(np.radians(latitude.mean() if latitude.size else 0.0))))
    ratio = float(np.clip(high * stretch / wide, 0.4, 1.4))
    figure, panels = _row(len(SCORE_LABELS), 12.0, 1.2 + 3.6 * ratio)
    for axes, (name, label) in zip(panels, SCORE_LABELS.items(), strict=True):
        values = np.asarray(scores[name], dtype=np.float64)
        known = np.isfinite(values)
        axes.scatter(longitude[~known], latitude[~known], s=16, facecolors="none", edgecolors="#999999")
        points = axes.scatter(
            longitude[known], latitude[known], c=values[known], s=22, edgecolors="#444444", linewidths=0.3,
            **_colours(name, values[known]),
        )  # fmt: skip
        figure.colorbar(points, ax=axes, shrink=0.8, location="bottom", pad=0.02).set_label(
            f"{label}, {known.sum()} stations", fontsize=8
        )
        axes.set_aspect(stretch, adjustable="datalim")
        axes.margins(0.06)
        axes.grid(color="#dddddd", linewidth=0.5, zorder=0)
        axes.set_axisbelow(True)
        axes.set_xlabel("longitude (°)", fontsize=8)
    panels[0].set_ylabel("latitude (°)", fontsize=8)
    figure.suptitle(title, fontsize=11)
    return figure


def _colours(name: str, values: Float) -> dict[str, Any]:
    """Colours and their range: the middle 96 % of the stations, for a bias the same on both sides of zero."""
    low, high = np.quantile(values, (0.02, 0.98)) if values.size else (0.0, 1.0)
    if name == "bias":
        size = max(abs(float(low)), abs(float(high)), 1e-3)
        return {"cmap": "RdBu", "vmin": -size, "vmax": size}
    return {"cmap": "viridis" if name == "corr" else "viridis_r", "vmin": float(low), "vmax": float(high)}


def station_figure(
    days: NDArray[np.int64],
    measured: Float,
    predicted: Mapping[str, Float],
    smap: Float | None,
    precipitation: Float | None,
    title: str,
) -> Figure:
    """Measured and predicted soil moisture of a station, with SMAP, below the precipitation.

    Parameters
    ----------
    days : ndarray of int64, shape (n,)
        Days since 1970-01-01, one after the other without a hole, so that a missing value breaks its line.
    measured : ndarray, shape (n,)
        m3 m-3.
    predicted : mapping of str to ndarray, shape (n,)
        By model.
    smap, precipitation : ndarray, shape (n,), optional
        m3 m-3; mm a day.
    title : str
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 4.2), dpi=110, layout="constrained")
    rain, axes = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3))
    when = days.astype("datetime64[D]")
    if precipitation is None:
        rain.set_visible(False)
    else:
        rain.bar(when, np.nan_to_num(precipitation), width=1.0, color="#7d97b3")
        rain.invert_yaxis()
        rain.set_ylabel("mm d⁻¹", fontsize=8)
    axes.plot(when, measured, ".", color="#222222", markersize=2.5, label="measured")
    if smap is not None:
        axes.plot(when, smap, color="#999999", linewidth=1.0, label="SMAP")
    for k, (name, values) in enumerate(predicted.items()):
        axes.plot(when, values, color=_LINES[k % len(_LINES)], linewidth=1.0, label=name)
    axes.set_ylabel("soil moisture (m³ m⁻³)", fontsize=9)
    axes.legend(fontsize=8, frameon=False, ncols=4)
    for part in (rain, axes):
        part.spines[["top", "right"]].set_visible(False)
        part.tick_params(labelsize=8)
    figure.suptitle(title, fontsize=11)
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
