"""The report of a product: maps, course of the mean, reasons of missing values, validation, provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyproj import CRS

from mmnet_maps.grid import Tile
from mmnet_maps.produce.judge.truth import CoarseField
from mmnet_maps.produce.product.layers import REFERENCE, title_at
from mmnet_maps.produce.product.store import Product
from mmnet_maps.produce.tile.flags import meaning_of
from mmnet_maps.produce.units import iso
from mmnet_maps.progress import steps
from mmnet_maps.show.figures import scatter_figure, series_figure, share_figure
from mmnet_maps.show.maps import day_figures
from mmnet_maps.show.page import SCORE_NAMES, facts, figure, heading, lead, note, section, side_by_side, table
from mmnet_maps.show.run_folder import read_scores
from mmnet_maps.show.run_report import station_table
from mmnet_maps.store.location import Location, open_to_read
from mmnet_maps.version import __version__

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


def product_body(
    product: Product, validation: Location | None, smap: CoarseField | None = None
) -> Iterator[str]:
    """Sections of the report of a product.

    Parameters
    ----------
    product : Product
    validation : Path, optional
        Folder that `validate` wrote.
    smap : CoarseField, optional
        SMAP of the cube that the maps were made from, drawn beside them.
    """
    days = product.finished_days()
    found = summarise(product, days) if days.size else None
    scores = None if validation is None else read_scores(validation / "scores.json")
    yield lead(_in_short(product, days, found, scores))
    if found is not None:
        yield from _maps(product, days, smap)
        yield from _course(found)
    if validation is not None and scores is not None:
        yield section(
            "Against stations", list(_validation(validation, scores, product.about.get("interval")))
        )
    if found is not None:
        part = _part(found)
        yield section("What is missing or weak, and why", [*part, *_quality(found)])
    about = {name: value for name, value in product.about.items() if name != "layout"}
    yield section("What it was made from", [facts(about)])
    yield section("How to cite", [note(_citation(product, days))])


def _in_short(
    product: Product, days: NDArray[np.int64], found: Summary | None, scores: Mapping[str, Any] | None
) -> Iterator[str]:
    """The report in a few sentences."""
    height, width = product.grid.shape
    pixel = abs(product.grid.transform[0]), abs(product.grid.transform[4])
    span = f", {iso(int(days[0]))} to {iso(int(days[-1]))}" if days.size else ""
    yield (
        f"{title_at(product.soil_depth)}: {len(days)} finished of {len(product.days)} days{span}, "
        f"{height:,} x {width:,} pixels of {pixel[0]:g} x {pixel[1]:g} in {_crs_name(product.grid.crs)}."
    )
    if found is not None:
        share = 100 * found.valid.sum() / max(1, found.pixels.sum())
        yield f"{share:.1f} % of the pixel-days have a value."
    if scores is None:
        yield "They have not been compared with stations here."
        return
    median = scores.get("stations", {}).get("median", {})
    count = scores.get("stations", {}).get("count")
    if median.get("corr") is not None and median.get("ubrmse") is not None:
        yield (
            f"At {count} stations the median correlation is {median['corr']:.2f} and the median ubRMSE "
            f"{median['ubrmse']:.3f} m³ m⁻³."
        )


def _crs_name(crs: str) -> str:
    known = CRS.from_user_input(crs)
    authority = known.to_authority()
    return f"{known.name} ({':'.join(authority)})" if authority else known.name


def _citation(product: Product, days: NDArray[np.int64]) -> str:
    span = f", {iso(int(days[0]))} to {iso(int(days[-1]))}" if days.size else ""
    bundle = str(product.about.get("bundle", ""))[:12]
    return (
        f"Daily soil moisture maps{span}. Made with mmnet-maps {__version__} from bundle {bundle}. Method: "
        f"“{REFERENCE}”. The terms of the data that went in (SMAP, satellite images, weather, soil, land "
        "cover, stations) apply."
    )


def _maps(product: Product, days: NDArray[np.int64], smap: CoarseField | None) -> Iterator[str]:
    shown = days[np.unique(np.linspace(0, days.size - 1, 3).astype(int))].tolist()
    parts = [note("All days have one colour range. Brown is dry, blue is wet, grey has no value.")]
    for day, pictures in day_figures(product, shown, smap, _SIDE):
        date = iso(int(day))
        parts.append(heading(date))
        parts.append(side_by_side(figure(drawn, f"{title}, {date}") for title, drawn in pictures))
    yield section("Maps" if smap is None else "Maps beside SMAP", parts)


def _part(found: Summary) -> list[str]:
    return [] if found.tiles == found.all_tiles else [note(f"From {found.tiles} of {found.all_tiles} tiles.")]


def _course(found: Summary) -> Iterator[str]:
    title = "Mean of the maps and of their interval"
    drawn = series_figure(found.days, found.moisture, found.lower, found.upper, title)
    width = found.upper - found.lower
    stated = (
        f"Mean width of the interval: {np.nanmean(width):.3f} m³ m⁻³, by day "
        f"{np.nanmin(width):.3f} to {np.nanmax(width):.3f}."
        if np.isfinite(width).any()
        else "There are no intervals: the bundle has none."
    )
    yield section("Course in time", [*_part(found), figure(drawn, title), note(stated)])


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


def _validation(folder: Location, found: Mapping[str, Any], nominal: float | None) -> Iterator[str]:
    keys = [key for key in SCORE_NAMES if key in found["overall"]]
    yield table(
        ["", *(SCORE_NAMES[key] for key in keys)], [["all pairs", *(found["overall"][k] for k in keys)]]
    )
    if isinstance(found.get("stations"), dict) and found["stations"].get("mean"):
        yield from station_table(found)
    coverage = found.get("interval_coverage", {})
    if coverage.get("share") is not None:
        meant = "not stated" if nominal is None else f"{100 * nominal:.0f} %"
        yield table(
            ["calibration of the interval", "meant to hold", "holds", "measurements"],
            [["all pairs", meant, f"{100 * coverage['share']:.1f} %", coverage["n"]]],
        )
        yield note("Where it holds much more than it is meant to, it is too wide; much less, too narrow.")
    pairs = folder / "pairs.csv"
    if pairs.is_file():
        with open_to_read(str(pairs)) as file:
            frame = pd.read_csv(file)
        measured, told = frame["y_test"].to_numpy(float), frame["y_pred"].to_numpy(float)
        yield figure(scatter_figure(measured, told, found["overall"], "Map against stations"), "scatter")
