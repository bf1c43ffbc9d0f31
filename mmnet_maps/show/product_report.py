"""The report of a product: maps, course of the mean, reasons of missing values, validation, provenance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.grid import Tile
from mmnet_maps.produce.product.store import Product
from mmnet_maps.produce.tile.flags import meaning_of
from mmnet_maps.produce.units import iso
from mmnet_maps.progress import steps
from mmnet_maps.show.figures import scatter_figure, series_figure, share_figure
from mmnet_maps.show.maps import quicklook_figure
from mmnet_maps.show.page import SCORE_NAMES, facts, figure, note, section, table
from mmnet_maps.show.run_folder import read_scores

__all__ = ["Summary", "product_body", "summarise"]

#: Tiles that a report reads at most: enough for shares, and a report stays quick on a large region.
_TILES = 64
#: Rows and columns of the maps in a report.
_SIDE = 512


@dataclass
class Summary:
    """Counts and means of the finished days.

    Attributes
    ----------
    days : ndarray of int64, shape (d,)
    pixels, valid : ndarray of int64, shape (d,)
        Pixels looked at, and those with a soil moisture.
    moisture, lower, upper : ndarray of float64, shape (d,)
        Means over valid pixels (of the interval's ends, over those that have one), m3 m-3; NaN where none.
    bits : dict of str to int
        Pixel-days with each quality bit.
    without_value : dict of str to int
        The same among the pixel-days without a soil moisture.
    tiles, all_tiles : int
        Tiles that were read, and that there are.
    """

    days: NDArray[np.int64]
    pixels: NDArray[np.int64]
    valid: NDArray[np.int64]
    moisture: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    bits: dict[str, int]
    without_value: dict[str, int]
    tiles: int
    all_tiles: int


def summarise(product: Product, days: NDArray[np.int64]) -> Summary:
    """Read a product tile by tile, evenly spread tiles alone where there are many."""
    whole = list(product.layout.tiles())
    chosen = [
        whole[i] for i in np.unique(np.linspace(0, len(whole) - 1, min(_TILES, len(whole))).astype(int))
    ]
    # Sums by day (columns): pixels, valid, moisture, with interval, lower, upper.
    sums = np.zeros((6, days.size))
    flags = product.flags()
    bits, without = dict.fromkeys(flags, 0), dict.fromkeys(flags, 0)
    with steps("tiles summed up", len(chosen)) as advance:
        for tile in chosen:
            for at, day in enumerate(days.tolist()):
                column, quality, gone = _of_tile(product, int(day), tile)
                sums[:, at] += column
                for name, mask in flags.items():
                    has = (quality & quality.dtype.type(mask)) != 0
                    bits[name] += int(np.count_nonzero(has))
                    without[name] += int(np.count_nonzero(has & gone))
            advance()
    valid, known = (np.where(sums[i] > 0, sums[i], np.nan) for i in (1, 3))
    return Summary(
        days,
        sums[0].astype(np.int64),
        sums[1].astype(np.int64),
        sums[2] / valid,
        sums[4] / known,
        sums[5] / known,
        bits,
        without,
        len(chosen),
        len(whole),
    )


def _of_tile(
    product: Product, day: int, tile: Tile
) -> tuple[NDArray[np.float64], NDArray[np.unsignedinteger[Any]], NDArray[np.bool_]]:
    stored = product.read_day(day, tile.rows, tile.cols)
    moisture, lower, upper = (
        product.packing[n].decode(stored[n]) for n in ("soil_moisture", "lower", "upper")
    )
    there, known = np.isfinite(moisture), np.isfinite(lower) & np.isfinite(upper)
    sums = (
        there.size,
        there.sum(),
        moisture[there].sum(dtype=np.float64),
        known.sum(),
        lower[known].sum(dtype=np.float64),
        upper[known].sum(dtype=np.float64),
    )
    return np.array(sums, dtype=np.float64), stored["quality"], ~there


def product_body(product: Product, validation: Path | None) -> Iterator[str]:
    """Sections of the report of a product; `validation` is the folder that `validate` wrote."""
    days = product.finished_days()
    height, width = product.grid.shape
    pixel = abs(product.grid.transform[0]), abs(product.grid.transform[4])
    yield section(
        "What it holds",
        [
            facts(
                {
                    "days": f"{len(days)} finished of {len(product.days)}"
                    + (f", {iso(int(days[0]))} to {iso(int(days[-1]))}" if days.size else ""),
                    "grid": f"{height} x {width} pixels of {pixel[0]:g} x {pixel[1]:g}, {product.grid.crs}",
                }
            )
        ],
    )
    if days.size:
        yield from _days(product, days)
    if validation is not None:
        yield section("Against stations", list(_validation(validation)))
    about = {name: value for name, value in product.about.items() if name != "layout"}
    yield section("What it was made from", [facts(about)])


def _days(product: Product, days: NDArray[np.int64]) -> Iterator[str]:
    shown = days[np.unique(np.linspace(0, days.size - 1, 3).astype(int))].tolist()
    yield section(
        "Maps", [figure(quicklook_figure(product, int(d), _SIDE), f"maps of {iso(int(d))}") for d in shown]
    )
    found = summarise(product, days)
    part = [] if found.tiles == found.all_tiles else [note(f"From {found.tiles} of {found.all_tiles} tiles.")]
    title = "Mean of the maps and of their interval"
    drawn = series_figure(days, found.moisture, found.lower, found.upper, title)
    width = found.upper - found.lower
    stated = (
        f"Mean width of the interval: {np.nanmean(width):.3f} m³ m⁻³, by day "
        f"{np.nanmin(width):.3f} to {np.nanmax(width):.3f}."
        if np.isfinite(width).any()
        else "There are no intervals: the bundle has none."
    )
    yield section("Course in time", [*part, figure(drawn, title), note(stated)])
    yield section("Why values are missing or weak", [*part, *_quality(found)])


def _quality(found: Summary) -> Iterator[str]:
    total = int(found.pixels.sum())
    missing = total - int(found.valid.sum())
    yield note(f"{missing:,} of {total:,} pixel-days have no value ({100 * missing / max(total, 1):.2f} %).")
    shares = {name.replace("_", " "): count / max(total, 1) for name, count in found.bits.items() if count}
    if shares:
        yield figure(share_figure(shares, "Pixel-days by quality bit"), "shares of the quality bits")
    rows = [
        [
            name,
            meaning_of(name),
            f"{100 * count / max(total, 1):.2f} %",
            f"{100 * found.without_value[name] / max(total, 1):.2f} %",
        ]
        for name, count in found.bits.items()
    ]
    yield table(["bit", "meaning", "pixel-days", "of them without a value"], rows)


def _validation(folder: Path) -> Iterator[str]:
    found: dict[str, Any] = read_scores(folder / "scores.json")
    keys = [key for key in SCORE_NAMES if key in found["overall"]]
    rows: list[list[object]] = [["all pairs", *(found["overall"][key] for key in keys)]]
    for what in ("mean", "median"):
        entry = found.get("stations", {}).get(what, {})
        rows.append([f"{what} over stations", *(entry.get(key) for key in keys)])
    yield table(["", *(SCORE_NAMES[key] for key in keys)], rows)
    coverage = found.get("interval_coverage", {})
    if coverage.get("share") is not None:
        share, n = 100 * coverage["share"], coverage["n"]
        yield note(f"The interval holds {share:.1f} % of the {n:,} measurements that have one.")
    pairs = folder / "pairs.csv"
    if pairs.is_file():
        frame = pd.read_csv(pairs)
        measured, told = frame["y_test"].to_numpy(float), frame["y_pred"].to_numpy(float)
        yield figure(scatter_figure(measured, told, found["overall"], "Map against stations"), "scatter")
