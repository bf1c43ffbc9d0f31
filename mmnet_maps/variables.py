"""Every variable of the published method: unit, range, origin, and how its gaps are filled."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from mmnet_maps.config import Config
from mmnet_maps.errors import InputError, suggestion

__all__ = [
    "NORMAL",
    "SURFACE",
    "TARGETS",
    "VARIABLES",
    "Cadence",
    "Depth",
    "Fill",
    "Kind",
    "Measure",
    "Sensor",
    "Variable",
    "depth_text",
    "last_year_of",
    "normal_of",
    "same_collection",
    "target_named",
]

Kind = Literal["constant", "snapshot", "series", "target"]
Cadence = Literal["static", "yearly", "daily", "irregular"]
Fill = Literal["none", "linear", "hold", "past"]
Sensor = Literal["optical", "radar", "smap", "other"]
Measure = Literal["amount", "class", "direction"]
#: Top and bottom of a layer of soil, in metres below the surface.
Depth = tuple[float, float]

#: What the name of a source meant in records that were made before variables carried their sensor.
_SENSORS: dict[object, Sensor] = {"hls": "optical", "sentinel1": "radar", "smap": "smap"}

#: The uppermost layer, and the layers of soil that probes at all depths stand for.
SURFACE: Depth = (0.0, 0.05)
_DEPTHS: dict[object, Depth] = {
    "VWC_5": SURFACE,
    "VWC_10": (0.05, 0.15),
    "VWC_20": (0.15, 0.25),
    "VWC_50": (0.4, 0.6),
    "VWC_100": (0.9, 1.1),
}


class Variable(Config):
    """One physical variable, under one name everywhere.

    Attributes
    ----------
    name, long_name, unit : str
        Name in tables and cubes, description, UDUNITS unit.
    kind : {"constant", "snapshot", "series", "target"}
        How a model uses it.
    cadence : {"static", "yearly", "daily", "irregular"}
        How often the source gives it.
    source : str
        Origin; variables of one source share a native grid and its dates.
    valid_range : tuple of float
        Physical limits in `unit`; values outside are reported, and set to missing where the method says so.
    fill : {"none", "linear", "hold", "past"}
        Gap filling in time: a line between neighbours, the value before (then the value after), or the
        value before alone (causal).
    max_gap : int, optional
        Longest gap, in days, that is filled. In a longer one a value is repeated for this many days, and then
        missing.
        None bridges every gap, as published.
    max_age : int, optional
        Days since the nearest observation above which a pixel is flagged as resting on old input.
    min_share : float
        Smallest share of a station's rows that must hold an observation before gaps are filled.
    sensor : {"optical", "radar", "smap", "other"}
        What observes it. It decides which bit of `quality` says that the value is missing or old, and whether
        a reflectance out of range makes the whole observation unusable (`is_reflectance`).
    measure : {"amount", "class", "direction"}
        An amount can be averaged. A class is a code, which can be chosen but never averaged. A direction is
        an angle in degrees, whose mean is that of the circle.
    collection : str
        Collection and version that values come from (``NASA/SMAP/SPL4SMGP/008``, ``MOD11A1.061``); empty
        where it is not known. The reader of the values sets it; tables, bundles and cubes keep it.
    band : str
        Band on Earth Engine.
    resolution : str
        Native grid, for the reader.
    standard_name : str, optional
        CF standard name, where there is one.
    depth : tuple of float, optional
        Top and bottom of the layer of soil, in metres below the surface; of a target.
    """

    name: str
    long_name: str
    unit: str
    kind: Kind
    cadence: Cadence
    source: str
    valid_range: tuple[float, float]
    fill: Fill = "none"
    max_gap: int | None = None
    max_age: int | None = None
    min_share: float = 0.0
    sensor: Sensor = "other"
    measure: Measure = "amount"
    collection: str = ""
    band: str = ""
    resolution: str = ""
    standard_name: str | None = None
    depth: Depth | None = None

    @model_validator(mode="before")
    @classmethod
    def _older_record(cls, value: Any) -> Any:
        """Give a record without a sensor the one that its source stood for, and a target its depth."""
        if not isinstance(value, dict):
            return value
        if "sensor" not in value:
            value = {**value, "sensor": _SENSORS.get(value.get("source"), "other")}
        if value.get("kind") == "target" and value.get("depth") is None:
            value = {**value, "depth": _DEPTHS.get(value.get("name"))}
        return value

    @model_serializer(mode="wrap")
    def _without_depth(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave the depth out where there is none: records of inputs stay as they were, byte for byte."""
        record: dict[str, Any] = handler(self)
        if self.depth is None:
            record.pop("depth", None)
        return record

    @property
    def soil(self) -> Depth:
        """The layer of soil of a target: its depth, the uppermost layer where it has none."""
        return self.depth or SURFACE

    @property
    def is_reflectance(self) -> bool:
        """Whether a value outside its range makes the whole optical observation unusable."""
        return self.sensor == "optical" and self.unit == "1"

    @property
    def mosaic(self) -> Literal["mean", "first"]:
        """What becomes of several fields of one day: their mean, or the first that has a value."""
        return "mean" if self.measure == "amount" else "first"


def depth_text(depth: Depth) -> str:
    """A layer of soil in words.

    Examples
    --------
    >>> depth_text((0.15, 0.25))
    '15-25 cm'
    """
    return "-".join(f"{100 * end:.6g}" for end in depth) + " cm"


#: What the name of a climate normal ends in, after that of the daily variable.
NORMAL = "_normal"


def normal_of(daily: Variable, until: int | None = None) -> Variable:
    """The climate normal of a daily variable: its mean over years, constant in time.

    Parameters
    ----------
    daily : Variable
    until : int, optional
        Last year that it is the mean of, where that is known.
    """
    years = "over years" if until is None else f"of the years to {until}"
    return Variable(
        name=f"{daily.name}{NORMAL}",
        long_name=f"{daily.long_name}, mean {years}",
        unit=daily.unit,
        kind="constant",
        cadence="static",
        source="normals",
        valid_range=daily.valid_range,
        resolution=daily.resolution,
    )


def last_year_of(normal: Variable) -> int | None:
    """Last year that a climate normal made by `normal_of` is the mean of, where it is known."""
    found = re.search(r", mean of the years to (\d+)$", normal.long_name)
    return int(found[1]) if found and normal.name.endswith(NORMAL) else None


def same_collection(one: str, other: str) -> bool:
    """Whether two names are of one collection and version, whichever archive wrote them.

    One is the same as the other if all its words stand in the other: archives put a path before the name.

    Examples
    --------
    >>> same_collection("NASA/SMAP/SPL4SMGP/008", "SPL4SMGP.008")
    True
    >>> same_collection("NASA/SMAP/SPL4SMGP/008", "SPL4SMGP.007")
    False
    """
    ours, theirs = (
        {re.sub(r"^V(?=\d)", "", word) for word in re.findall(r"[A-Z0-9]+", name.upper())}
        for name in (one, other)
    )
    return ours <= theirs or theirs <= ours


def _optical(name: str, band: str, long_name: str, unit: str = "1", high: float = 1.0) -> Variable:
    return Variable(
        name=name,
        long_name=long_name,
        unit=unit,
        kind="snapshot",
        cadence="irregular",
        source="hls",
        valid_range=(0.0, high),
        fill="linear",
        max_gap=90,
        max_age=30,
        min_share=0.03,
        sensor="optical",
        band=band,
        resolution="30 m UTM",
    )


def _radar(name: str, unit: str, low: float, high: float, long_name: str) -> Variable:
    return Variable(
        name=name,
        long_name=long_name,
        unit=unit,
        kind="snapshot",
        cadence="irregular",
        source="sentinel1",
        valid_range=(low, high),
        fill="linear",
        max_gap=60,
        max_age=30,
        min_share=0.05,
        sensor="radar",
        band=name,
        resolution="10 m UTM",
    )


def _weather(name: str, unit: str, low: float, high: float, long_name: str) -> Variable:
    return Variable(
        name=name,
        long_name=long_name,
        unit=unit,
        kind="series",
        cadence="daily",
        source="gridmet",
        valid_range=(low, high),
        band=name,
        resolution="1/24 degree EPSG:4326",
    )


def _constant(name: str, unit: str, low: float, high: float, source: str, long_name: str) -> Variable:
    return Variable(
        name=name,
        long_name=long_name,
        unit=unit,
        kind="constant",
        cadence="static",
        source=source,
        valid_range=(low, high),
        measure="direction" if name == "aspect" else "amount",
        band=name,
        resolution="10 m" if source == "terrain" else "30 m",
    )


def _target(name: str, depth: Depth) -> Variable:
    return Variable(
        name=name,
        long_name=f"volumetric soil moisture, {depth_text(depth)}, in situ",
        unit="m3 m-3",
        kind="target",
        cadence="daily",
        source="in_situ",
        valid_range=(0.0, 1.0),
        standard_name="volume_fraction_of_condensed_water_in_soil",
        depth=depth,
    )


#: What a model can be trained to tell: soil moisture by the depth of the probe, ``VWC_`` and centimetres.
TARGETS: dict[str, Variable] = {str(name): _target(str(name), depth) for name, depth in _DEPTHS.items()}


def target_named(name: str) -> Variable:
    """The target of that name.

    Raises
    ------
    InputError
        There is none; the message says which there are.
    """
    if name in TARGETS:
        return TARGETS[name]
    known = f"target {name}: expected one of {', '.join(TARGETS)}"
    raise InputError(known + suggestion(name, TARGETS))


VARIABLES: tuple[Variable, ...] = (
    TARGETS["VWC_5"],
    Variable(
        name="SMAP",
        long_name="SMAP L4 surface soil moisture, mean of the UTC day",
        unit="m3 m-3",
        kind="snapshot",
        cadence="daily",
        source="smap",
        valid_range=(0.0, 0.9),
        fill="hold",
        max_gap=10,
        max_age=3,
        sensor="smap",
        band="sm_surface",
        resolution="9 km EASE-2",
    ),
    _optical("Blue", "B2", "surface reflectance, blue"),
    _optical("Green", "B3", "surface reflectance, green"),
    _optical("Red", "B4", "surface reflectance, red"),
    _optical("NIR", "B5", "surface reflectance, near infrared"),
    _optical("SWIR1", "B6", "surface reflectance, short-wave infrared 1.6 um"),
    _optical("SWIR2", "B7", "surface reflectance, short-wave infrared 2.2 um"),
    _optical("TIRS1", "B10", "thermal infrared 1, not used by the model", "degC", 100.0),
    _optical("TIRS2", "B11", "thermal infrared 2, not used by the model", "degC", 100.0),
    _radar("VV", "dB", -20.0, -5.0, "backscatter, VV"),
    _radar("VH", "dB", -30.0, -10.0, "backscatter, VH"),
    _radar("angle", "degree", 0.0, 90.0, "incidence angle, not used by the model"),
    _weather("eto", "mm d-1", 0.0, 30.0, "grass reference evapotranspiration"),
    _weather("etr", "mm d-1", 0.0, 40.0, "alfalfa reference evapotranspiration"),
    _weather("pr", "mm d-1", 0.0, 700.0, "precipitation"),
    _weather("sph", "kg kg-1", 0.0, 0.05, "specific humidity"),
    _weather("srad", "W m-2", 0.0, 600.0, "downward short-wave radiation"),
    _weather("vpd", "kPa", 0.0, 12.0, "mean vapour pressure deficit"),
    _weather("vs", "m s-1", 0.0, 40.0, "wind speed at 10 m"),
    Variable(
        name="LST",
        long_name="MOD11A1 day-time land surface temperature as stored, kelvin = 0.02 x value",
        unit="0.02 K",
        kind="series",
        cadence="daily",
        source="modis",
        valid_range=(7500.0, 65535.0),
        fill="linear",
        max_gap=30,
        max_age=8,
        min_share=0.03,
        band="LST_Day_1km",
        resolution="1 km sinusoidal",
    ),
    _constant("elevation", "m", -500.0, 9000.0, "terrain", "elevation above sea level"),
    _constant("slope", "degree", 0.0, 90.0, "terrain", "slope"),
    _constant("aspect", "degree", 0.0, 360.0, "terrain", "aspect, clockwise from north"),
    _constant("clay", "%", 0.0, 100.0, "soil", "clay, 0-5 cm"),
    _constant("sand", "%", 0.0, 100.0, "soil", "sand, 0-5 cm"),
    _constant("bd", "g cm-3", 0.0, 2.65, "soil", "bulk density, 0-5 cm"),
    Variable(
        name="LC",
        long_name="NLCD land cover code",
        unit="1",
        kind="constant",
        cadence="yearly",
        source="landcover",
        valid_range=(11.0, 95.0),
        measure="class",
        band="landcover",
        resolution="30 m",
    ),
    Variable(
        name="Latitude",
        long_name="latitude of the station or pixel centre",
        unit="degree_north",
        kind="constant",
        cadence="static",
        source="place",
        valid_range=(-90.0, 90.0),
        standard_name="latitude",
    ),
    Variable(
        name="Longitude",
        long_name="longitude of the station or pixel centre",
        unit="degree_east",
        kind="constant",
        cadence="static",
        source="place",
        valid_range=(-180.0, 180.0),
        standard_name="longitude",
    ),
)
