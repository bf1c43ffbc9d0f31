"""The figures of docs/concepts.md, drawn by the code that they explain; ``conf.py`` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb

from mmnet_maps.grid import Grid
from mmnet_maps.learn.intervals import IntervalTable
from mmnet_maps.prepare.gap_fill import gap_fill
from mmnet_maps.simulated.grids import EASE2_9KM, GRIDMET, MODIS_1KM, Lattice, cells_of

#: The region of ``mmnet-maps demo``, and its days.
REGION = Grid.from_bounds("EPSG:32614", (537_990.0, 4_013_010.0, 568_710.0, 4_043_730.0), 30.0)
DAYS = 30
COARSE: dict[str, Lattice] = {
    "surface temperature, 1 km": MODIS_1KM,
    "weather, 1/24°": GRIDMET,
    "SMAP, 9 km": EASE2_9KM,
}
BLUE, RUST, GREEN, GREY = "#1f6aa8", "#b5762f", "#5b8c5a", "#8a8a8a"


def native_cube() -> Any:
    """Cells of the coarse grids in the map, and how many values a day each grid needs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    counts = {"map, 30 m": REGION.height * REGION.width}
    picture = np.ones((REGION.height // 2, REGION.width // 2, 3))
    for (name, lattice), colour, wide in zip(COARSE.items(), (GREY, RUST, BLUE), (1, 4, 8), strict=True):
        cells = cells_of(lattice, REGION)
        counts[name] = int((cells.population > 0).sum())
        index = cells.index.reshape(REGION.shape)[::2, ::2]
        edge = np.zeros(index.shape, dtype=bool)
        edge[wide:] |= index[wide:] != index[:-wide]
        edge[:, wide:] |= index[:, wide:] != index[:, :-wide]
        picture[edge] = to_rgb(colour)
    left.imshow(picture)
    left.set(title="Edges of cells in the map's grid", xticks=[], yticks=[])
    names, colours = list(counts), [GREEN, GREY, RUST, BLUE]
    bars = right.barh(names, list(counts.values()), color=colours)
    right.bar_label(bars, [f"{n:,}" for n in counts.values()], padding=3)
    right.invert_yaxis()
    right.set(xscale="log", xlabel="values a day and variable", xlim=(1, 3e7), title="What a cube stores")
    right.spines[["top", "right"]].set_visible(False)
    return figure


def engine() -> Any:
    """The temporal encoder runs once a combination of cells and day, the pixel pass everywhere."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", width_ratios=(3, 2))
    boxes = {
        (0.0, 2): ("series of a cell\nweather, temperature", RUST),
        (1.15, 2): ("temporal encoder\nonce a combination\nof cells and day", RUST),
        (2.3, 2): ("a bias row", RUST),
        (0.0, 0): ("snapshot of a pixel\noptical, radar, soil ...", GREEN),
        (1.15, 0): ("first layers", GREEN),
        (2.3, 0): ("add the row,\nlast layers\nevery pixel and day", GREEN),
    }
    for (x, y), (text, colour) in boxes.items():
        frame = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": colour}
        left.text(x, y, text, ha="center", va="center", fontsize=8, bbox=frame)
    across = ((0.52, 0.66, 2), (1.64, 2.06, 2), (0.52, 0.86, 0), (1.36, 1.86, 0))
    arrows = [((x, y), (end, y)) for x, end, y in across]
    for start, end in [*arrows, ((2.3, 1.65), (2.3, 0.55))]:
        left.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": GREY})
    left.set(xlim=(-0.55, 2.9), ylim=(-0.8, 2.8))
    left.axis("off")
    pairs = np.stack([cells_of(lattice, REGION).index for lattice in (GRIDMET, MODIS_1KM)])
    runs = np.unique(pairs, axis=1).shape[1] * DAYS
    counts = {"pixel pass": REGION.height * REGION.width * DAYS, "temporal encoder": runs}
    bars = right.barh(list(counts), list(counts.values()), color=[GREEN, RUST])
    right.bar_label(bars, [f"{n:,}" for n in counts.values()], padding=3)
    right.set(xscale="log", xlim=(1e3, 3e9), xlabel=f"times, {DAYS} days of the demo's region")
    right.spines[["top", "right"]].set_visible(False)
    return figure


def interval() -> Any:
    """An interval table of made-up held-out rows, and how it covers stations that it has not seen."""
    random = np.random.default_rng(1)
    station = np.repeat(np.arange(90), 60)
    truth = np.clip(random.beta(2, 5, 90)[station] * 0.6 + random.normal(0, 0.03, station.size), 0.02, 0.6)
    error = random.normal(0, 0.035, 90)[station] + random.normal(0, 0.012, station.size)
    predicted = (truth + error).astype(np.float32)
    known = station < 60
    table = IntervalTable.calibrate(truth[known], predicted[known], station[known])
    assert table is not None
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    left.plot(predicted[known], truth[known], ".", ms=1, color=GREY, alpha=0.5)
    at = np.linspace(0.02, 0.5, 100, dtype=np.float32)
    low, high = table(at)
    left.fill_between(at, low, high, color=BLUE, alpha=0.25, label="interval, meant to hold 90 %")
    left.plot(at, at, color=BLUE, lw=1, label="estimate")
    left.set(xlabel="estimate (m³ m⁻³)", ylabel="measured (m³ m⁻³)", xlim=(0, 0.5), ylim=(0, 0.6))
    left.set_title("Held-out stations make the table")
    left.legend(loc="upper left", frameon=False, fontsize=8)
    low, high = table(predicted)
    inside = (truth >= low) & (truth <= high)
    shares = np.sort([inside[station == name].mean() for name in range(60, 90)])
    right.bar(np.arange(30), 100 * shares, color=GREEN)
    right.axhline(100 * inside[~known].mean(), color=BLUE, label=f"all: {inside[~known].mean():.0%}")
    right.axhline(90, color=GREY, ls=":", label="meant: 90%")
    right.set(
        xlabel="stations that the table has not seen", ylabel="share inside the interval (%)", xticks=[]
    )
    right.set_title("Single stations are covered better or worse")
    right.legend(loc="lower right", fontsize=8)
    return figure


def gaps() -> Any:
    """A series with gaps as `gap_fill` fills it, with a limit of 30 days."""
    observed = np.array([5, 13, 21, 45, 53, 130, 138], dtype=np.int64)
    values = np.array([0.3, 0.34, 0.4, 0.62, 0.66, 0.5, 0.47], dtype=np.float32)[:, None]
    days = np.arange(170, dtype=np.int64)
    filled = gap_fill(observed, values, days, "linear", 30)
    figure, axes = plt.subplots(figsize=(9, 2.8), layout="constrained")
    line, age = filled.values[:, 0], filled.age[:, 0]
    axes.plot(days, line, color=BLUE, lw=1.5, label="value that a map uses")
    axes.plot(observed, values[:, 0], "o", color=RUST, label="observed")
    axes.fill_between(days, 0.2, 0.75, where=np.isnan(line), color=GREY, alpha=0.35, lw=0, label="missing")
    axes.fill_between(days, 0.2, 0.23, where=age > 15, color="#9bb53c", lw=0, label="older than 15 days")
    axes.set(xlabel="day", ylabel="NDVI", ylim=(0.2, 0.75), xlim=(0, 169))
    axes.legend(loc="upper right", ncols=4, frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def write(folder: Path) -> None:
    """Draw every figure as SVG into a folder; the same code gives the same bytes."""
    folder.mkdir(exist_ok=True)
    with plt.rc_context({"svg.hashsalt": "mmnet-maps", "font.size": 9}):
        for draw in (native_cube, engine, interval, gaps):
            figure = draw()
            figure.savefig(folder / f"{draw.__name__}.svg", metadata={"Date": None})
            plt.close(figure)
