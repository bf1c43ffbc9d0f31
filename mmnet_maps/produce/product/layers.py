"""The table of layers: what a product holds for every pixel-day.

Arrays and their CF attributes, bands of exported files, STAC, overviews, colour scales and the documentation
are derived from `LAYERS`. The tile program fills a layer by its name (`TileResult`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from mmnet_maps.packing import Packing
from mmnet_maps.produce.tile.flags import FLAGS
from mmnet_maps.produce.tile.trust import DISSIMILARITY, SOIL_MOISTURE
from mmnet_maps.variables import SURFACE, TARGETS, Depth, depth_text
from mmnet_maps.version import __version__

__all__ = [
    "INTERVAL",
    "LAYERS",
    "MISSING",
    "QUALITY",
    "REFERENCE",
    "Layer",
    "global_attributes",
    "layer_attributes",
    "layers_at",
    "layers_with",
    "nominal_coverage",
    "soil_named",
    "title_at",
    "value_layers",
]

#: Name of the layer of bits.
QUALITY = "quality"
#: Stored value of what is missing in every layer of values: a day's values are the bands of one file, which
#: has one type (int16) and one value that means missing.
MISSING = -32768
#: Names of the layers that are the ends of the interval of soil moisture.
INTERVAL = ("lower", "upper")
#: The publication of the method.
REFERENCE = "Integration of Snapshot and Time Series Data for Improving SMAP Soil Moisture Downscaling"
_DRY_TO_WET = ("#6b3410", "#b5762f", "#e9cf97", "#d5ebe4", "#62b0cf", "#1f6aa8", "#0a2a66")


@dataclass(frozen=True)
class Layer:
    """One layer of a product.

    Attributes
    ----------
    name : str
    packing : Packing
        Storage. Layers of values are int16 with `MISSING`, each with its own scale; ``quality`` is uint32.
    long_name, units, standard_name, cell_methods : str
        CF attributes; what is empty is left out.
    overview : {"mean", "bits", "none"}
        How a coarser level of a published store is made. ``mean``: the mean of the valid pixels, where at
        least half are valid. ``bits``: the bits of the pixels that are valid, or missing, as their mean is.
        ``none``: not at all, where a coarser value would mean something else (the ends of an interval are not
        those of an area's mean).
    colours : tuple of str
        ``#rrggbb`` at equal steps from the low to the high end of `colour_range`; none for bits, which have
        the colours of their flags.
    colour_range : (float, float)
        In `units`.
    optional : bool
        Whether products may be without it: it is chosen when a product is made.
    """

    name: str
    packing: Packing
    long_name: str
    units: str
    standard_name: str = ""
    cell_methods: str = ""
    overview: Literal["mean", "bits", "none"] = "mean"
    colours: tuple[str, ...] = ()
    colour_range: tuple[float, float] = (0.0, 1.0)
    optional: bool = False


_SOIL_MOISTURE: dict[str, Any] = {
    "packing": SOIL_MOISTURE,
    "units": "m3 m-3",
    "cell_methods": "time: mean",
    "colours": _DRY_TO_WET,
    "colour_range": (0.0, 0.5),
}
#: Every layer by name: soil moisture first, the bits last; the order of the bands of an export.
LAYERS: dict[str, Layer] = {
    layer.name: layer
    for layer in (
        Layer(
            name="soil_moisture",
            long_name="volumetric soil moisture, 0-5 cm, daily mean",
            standard_name="volume_fraction_of_condensed_water_in_soil",
            overview="mean",
            **_SOIL_MOISTURE,
        ),
        Layer(
            name="lower",
            long_name="lower bound of the prediction interval of soil moisture",
            overview="none",
            **_SOIL_MOISTURE,
        ),
        Layer(
            name="upper",
            long_name="upper bound of the prediction interval of soil moisture",
            overview="none",
            **_SOIL_MOISTURE,
        ),
        Layer(
            name="dissimilarity",
            packing=DISSIMILARITY,
            long_name="dissimilarity to the training rows",
            units="1",
            cell_methods="time: mean",
            overview="mean",
            colours=("#f2efe6", "#d9c9a8", "#c08f6b", "#9c4f4b", "#5a1f3c"),
            optional=True,
        ),
        Layer(
            name=QUALITY,
            # What was never written has the bit "not computed".
            packing=Packing(dtype="uint32", missing=FLAGS["not_computed"]),
            long_name="why a value is missing or weak",
            units="1",
            standard_name="quality_flag",
            overview="bits",
        ),
    )
}


def layers_at(soil: Depth) -> dict[str, Layer]:
    """`LAYERS` of a product of another layer of soil, in metres: its soil moisture names it."""
    layer = LAYERS["soil_moisture"]
    name = layer.long_name.replace(depth_text(SURFACE), depth_text(soil))
    return LAYERS | {layer.name: replace(layer, long_name=name)}


def soil_named(long_name: str) -> Depth:
    """The layer of soil that the name of a layer of `layers_at` tells, in metres; else the uppermost."""
    depths = (target.soil for target in TARGETS.values())
    return next((soil for soil in depths if f" {depth_text(soil)}," in long_name), SURFACE)


def title_at(soil: Depth) -> str:
    """Title of maps of a layer of soil, in metres."""
    return f"Daily soil moisture, {depth_text(soil)}"


def layers_with(optional: Collection[str], soil: Depth = SURFACE) -> dict[str, Layer]:
    """The layers that every product has, and those of the optional ones that are named.

    Parameters
    ----------
    optional : collection of str
        Names of other layers count for nothing.
    soil : Depth
        Layer of soil, in metres.
    """
    return {n: layer for n, layer in layers_at(soil).items() if not layer.optional or n in optional}


def value_layers(layers: Mapping[str, Layer]) -> tuple[Layer, ...]:
    """The layers that are values, in order: the bands of a day's file of values."""
    return tuple(layer for layer in layers.values() if layer.name != QUALITY)


def layer_attributes(
    layer: Layer, flags: Mapping[str, int], nominal: float | None = None, held: Iterable[str] = ()
) -> dict[str, Any]:
    """CF attributes of a layer's array.

    Parameters
    ----------
    layer : Layer
    flags : mapping of str to int
        Bits of ``quality`` by meaning.
    nominal : float, optional
        Coverage that the interval aims at, in (0, 1).
    held : iterable of str
        All layers beside it; those that every product has without it.
    """
    found: dict[str, Any] = {"long_name": layer.long_name, "units": layer.units}
    found |= {"standard_name": layer.standard_name} if layer.standard_name else {}
    found |= {"cell_methods": layer.cell_methods} if layer.cell_methods else {}
    found |= {"grid_mapping": "spatial_ref", "coordinates": "depth"}
    if layer.name == QUALITY:
        # No _FillValue: readers would turn the bits into floats with NaN. "not_computed" is a bit of its own.
        return found | {"flag_masks": list(flags.values()), "flag_meanings": " ".join(flags)}
    found |= nominal_coverage(layer.name, nominal)
    beside = tuple(held) or layers_with(())
    others = [name for name in beside if name != layer.name] if layer.name == "soil_moisture" else [QUALITY]
    return found | {
        "scale_factor": layer.packing.scale,
        "_FillValue": int(layer.packing.missing or 0),
        "ancillary_variables": " ".join(others),
    }


def nominal_coverage(name: str, nominal: float | None) -> dict[str, Any]:
    """The attribute of an end of the interval: the share of values that the interval is meant to hold."""
    return {"nominal_coverage": nominal} if name in INTERVAL and nominal is not None else {}


def global_attributes(soil: Depth = SURFACE, institution: str = "", terms: str = "") -> dict[str, Any]:
    """CF attributes of a store of maps; without a date of making: same input, same bytes.

    Parameters
    ----------
    soil : tuple of float
        Top and bottom of the layer of soil, in metres.
    institution : str
        Who made the maps.
    terms : str
        Licence of the maps.
    """
    return {
        "Conventions": "CF-1.11",
        "title": title_at(soil),
        "institution": institution or "not stated by whoever ran mmnet-maps",
        "source": "MMNet on satellite images, weather, terrain, soil and land cover",
        "history": f"made by mmnet-maps {__version__}",
        "references": REFERENCE,
        "license": terms or "not stated; the terms of the data that the maps were made from apply",
        "comment": f"Values are daily means over {depth_text(soil)}. Read them with quality, which says why "
        "a value is missing or weak, and with the interval from lower to upper.",
        # Read without a keyword, the CRS is a coordinate too.
        "coordinates": "spatial_ref",
    }
