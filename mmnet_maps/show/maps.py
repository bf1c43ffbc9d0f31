"""Maps as pictures: truth, SMAP and MMNet side by side, and a day of a product with its trust.

Every picture is drawn from at most `SIDE` rows and columns, so that memory does not grow with the region.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from mmnet_maps.grid import Grid, Tile
from mmnet_maps.produce.judge.truth import CoarseField, TruthField
from mmnet_maps.produce.product.layers import LAYERS, title_at
from mmnet_maps.produce.product.store import Product
from mmnet_maps.produce.tile.flags import FINE_COLOUR, NO_FLAG, colour_of
from mmnet_maps.produce.units import iso
from mmnet_maps.show.figures import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

__all__ = [
    "SIDE",
    "Panel",
    "colour_map",
    "comparison_figure",
    "day_figures",
    "quality_classes",
    "shared_range",
    "thinned",
    "width_colour_map",
    "write_comparison_maps",
]

#: Most rows or columns that a picture is drawn from.
SIDE = 1024
MISSING_COLOUR = "#b9b9b9"


@dataclass(frozen=True)
class Panel:
    """One map of a picture.

    Attributes
    ----------
    title : str
    values : ndarray of float32, shape (rows, columns)
        m3 m-3, first row in the north, NaN where missing.
    """

    title: str
    values: NDArray[np.float32]


def colour_map() -> Colormap:
    """Brown (dry) to blue (wet), darker towards both ends; grey where missing."""
    from matplotlib.colors import LinearSegmentedColormap

    colours: Colormap = LinearSegmentedColormap.from_list("dry_to_wet", LAYERS["soil_moisture"].colours)
    return colours.with_extremes(bad=MISSING_COLOUR)


def width_colour_map() -> Colormap:
    """Yellow (narrow) to red (wide), grey where missing."""
    from matplotlib import colormaps

    colours: Colormap = colormaps["YlOrRd"]
    return colours.with_extremes(bad=MISSING_COLOUR)


def thinned(grid: Grid, side: int = SIDE) -> tuple[Grid, int]:
    """Every n-th pixel of a grid as a grid of at most `side` rows and columns, and n.

    The centres of its pixels are the centres of the pixels kept.
    """
    step = max(1, -(-max(grid.shape) // side))
    a, b, c, d, e, f = grid.transform
    # Half a pixel in, half a larger pixel back: the first centre stays where it is.
    corner = c + 0.5 * a * (1 - step), f + 0.5 * e * (1 - step)
    transform = (a * step, b, corner[0], d, e * step, corner[1])
    return Grid(grid.crs, transform, -(-grid.height // step), -(-grid.width // step)), step


def shared_range(values: Sequence[NDArray[np.float32]]) -> tuple[float, float]:
    """Colour limits for several maps: their 1st and 99th percentile, rounded outwards to 0.02 m3 m-3."""
    parts = [v[np.isfinite(v)] for v in values]
    known = np.concatenate(parts) if parts else np.array([], dtype=np.float32)
    if not known.size:
        return 0.0, 0.5
    low, high = np.percentile(known, [1, 99])
    low, high = np.floor(low / 0.02) * 0.02, np.ceil(high / 0.02) * 0.02
    return float(max(low, 0.0)), float(max(high, low + 0.02))


def _north_up(values: NDArray[Any], grid: Grid) -> NDArray[Any]:
    a, e = grid.transform[0], grid.transform[4]
    return values[:: -1 if e > 0 else 1, :: -1 if a < 0 else 1]


def _extent(grid: Grid) -> tuple[tuple[float, float, float, float], str, str]:
    """Picture limits (left, right, bottom, top) and the names of both axes."""
    left, bottom, right, top = grid.bounds
    crs = CRS.from_user_input(grid.crs)
    if crs.is_geographic:
        return (left, right, bottom, top), "longitude (degree)", "latitude (degree)"
    unit = float(crs.axis_info[0].unit_conversion_factor or 1.0) / 1000.0
    return (0.0, (right - left) * unit, 0.0, (top - bottom) * unit), "km east", "km north"


def _draw(axes: Axes, values: NDArray[Any], grid: Grid, title: str, **style: Any) -> Any:
    extent, across, up = _extent(grid)
    image = axes.imshow(values, extent=extent, origin="upper", interpolation="nearest", **style)
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(across, fontsize=9)
    axes.set_ylabel(up, fontsize=9)
    axes.tick_params(labelsize=8)
    return image


def comparison_figure(panels: Sequence[Panel], grid: Grid, title: str) -> Figure:
    """Several maps side by side in one colour scale.

    Parameters
    ----------
    panels : sequence of Panel
    grid : Grid
        Of the panels' values.
    title : str
    """
    from matplotlib.figure import Figure

    low, high = shared_range([p.values for p in panels])
    tall = grid.height * abs(grid.transform[4]) / (grid.width * abs(grid.transform[0]))
    figure = Figure(
        figsize=(4.4 * len(panels) + 1.0, min(9.0, 4.4 * tall) + 0.8), dpi=110, layout="constrained"
    )
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for place, panel in zip(axes, panels, strict=True):
        image = _draw(place, panel.values, grid, panel.title, cmap=colour_map(), vmin=low, vmax=high)
    bar = figure.colorbar(image, ax=list(axes), shrink=0.85, pad=0.015, extend="both")
    bar.set_label("soil moisture (m³ m⁻³), grey: missing", fontsize=9)
    figure.suptitle(title, fontsize=12)
    return figure


def write_comparison_maps(
    product: Product, truth: TruthField, smap: CoarseField, days: Sequence[int], folder: Path
) -> list[Path]:
    """Truth, SMAP and MMNet side by side, a PNG a day.

    Parameters
    ----------
    product : Product
    truth : TruthField
    smap : CoarseField
    days : sequence of int
        Days since 1970-01-01.
    folder : Path
        Made if it is not there.

    Returns
    -------
    list of Path
        ``maps_YYYYMMDD.png``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    grid, step = thinned(product.grid)
    every = slice(None, None, step)
    written = []
    for day in (int(d) for d in days):
        stored = product.read("soil_moisture", day, day + 1, every, every)[0]
        values = {
            "Truth": truth.read(day, every, every),
            "SMAP (9 km)": smap.read(grid, day, Tile(0, 0, *grid.shape)),
            "MMNet": product.packing["soil_moisture"].decode(stored),
        }
        panels = [Panel(name, _north_up(v, grid)) for name, v in values.items()]
        path = folder / f"maps_{iso(day).replace('-', '')}.png"
        save(comparison_figure(panels, grid, f"{title_at(product.soil_depth)}, {iso(day)}"), path)
        written.append(path)
    return written


def quality_classes(
    quality: NDArray[np.unsignedinteger[Any]], flags: Mapping[str, int]
) -> tuple[NDArray[np.int64], list[str], list[str]]:
    """The first bit set of every pixel, and the name and colour of every class; class 0 has no bit set."""
    names, colours = [NO_FLAG, *flags], [FINE_COLOUR, *(colour_of(flags, mask) for mask in flags.values())]
    classes = np.zeros(quality.shape, dtype=np.int64)
    for number, mask in reversed(list(enumerate(flags.values(), start=1))):
        classes[(quality & quality.dtype.type(mask)) != 0] = number
    return classes, names, colours


def day_figures(
    product: Product, days: Sequence[int], smap: CoarseField | None = None, side: int = SIDE
) -> Iterator[tuple[int, list[tuple[str, Figure]]]]:
    """Pictures of days of a product in one colour range: soil moisture, SMAP beside it, width, quality.

    Parameters
    ----------
    product : Product
    days : sequence of int
        Days since 1970-01-01.
    smap : CoarseField, optional
        SMAP as the cube holds it.
    side : int
        Most rows or columns that a picture is drawn from.

    Yields
    ------
    day : int
    pictures : list of (str, Figure)
        Each with its title.
    """
    grid, step = thinned(product.grid, side)
    every = slice(None, None, step)
    names = ("soil_moisture", "lower", "upper")
    values: dict[int, dict[str, NDArray[Any]]] = {}
    for day in days:
        stored = {name: _north_up(v, grid) for name, v in product.read_day(day, every, every).items()}
        decoded = {name: product.packing[name].decode(stored[name]) for name in names}
        values[day] = {
            "MMNet": decoded["soil_moisture"],
            "Width of the interval": decoded["upper"] - decoded["lower"],
            "quality": stored["quality"],
        }
        if smap is not None:
            values[day]["SMAP (9 km)"] = _north_up(smap.read(grid, day, Tile(0, 0, *grid.shape)), grid)
    moist = [held[name] for held in values.values() for name in ("MMNet", "SMAP (9 km)") if name in held]
    low, high = shared_range(moist)
    narrow, wide = shared_range([held["Width of the interval"] for held in values.values()])
    wet = {"cmap": colour_map(), "vmin": low, "vmax": high}
    for day, held in values.items():
        found = [("MMNet", _map(held["MMNet"], grid, "MMNet, soil moisture", wet))]
        if "SMAP (9 km)" in held:
            found.append(("SMAP", _map(held["SMAP (9 km)"], grid, "SMAP (9 km), soil moisture", wet)))
        style = {"cmap": width_colour_map(), "vmin": narrow, "vmax": wide}
        width = _map(held["Width of the interval"], grid, "Width of the interval", style)
        found += [("width of the interval", width), ("quality", _quality_map(product, held["quality"], grid))]
        yield day, found


def _map(values: NDArray[Any], grid: Grid, title: str, style: Mapping[str, Any]) -> Figure:
    figure, axes = _sheet(grid)
    image = _draw(axes, values, grid, title, **style)
    bar = figure.colorbar(image, ax=axes, shrink=0.85, extend="both")
    bar.set_label("m³ m⁻³, grey: missing", fontsize=9)
    return figure


def _quality_map(product: Product, quality: NDArray[Any], grid: Grid) -> Figure:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    figure, axes = _sheet(grid)
    classes, names, colours = quality_classes(quality, product.flags())
    style = {"cmap": ListedColormap(colours), "vmin": -0.5, "vmax": len(names) - 0.5}
    _draw(axes, classes, grid, "Quality (first remark)", **style)
    keys = [Patch(color=colours[i], label=names[i].replace("_", " ")) for i in np.unique(classes)]
    figure.legend(handles=keys, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def _sheet(grid: Grid) -> tuple[Figure, Axes]:
    """A figure of one map, as wide as a phone's screen and as high as the map needs."""
    from matplotlib.figure import Figure

    tall = grid.height * abs(grid.transform[4]) / (grid.width * abs(grid.transform[0]))
    figure = Figure(figsize=(5.2, min(9.0, 4.2 * tall) + 0.8), dpi=110, layout="constrained")
    return figure, figure.subplots()
