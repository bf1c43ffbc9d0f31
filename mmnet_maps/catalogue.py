"""The one ordered table of variables, and what a model makes of them.

Station tables and cubes are turned into model input from the same `Catalogue`, by name and never by
position. A bundle stores its catalogue whole, and its `fingerprint` decides whether inputs fit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Literal

from mmnet_maps.config import Config
from mmnet_maps.errors import InputError, suggestion
from mmnet_maps.variables import TARGETS, VARIABLES, Variable, same_collection, target_named

__all__ = [
    "FEATURE_INPUTS",
    "INDICES",
    "LAND_COVER_CLASSES",
    "MEMORY",
    "SOIL_STATE_INPUTS",
    "SPREAD_LAGS",
    "Catalogue",
    "published_catalogue",
]

Encoding = Literal["published", "cyclic"]

#: One-hot order of the land cover classes.
LAND_COVER_CLASSES = ("Shrub", "Grassland", "Barren", "Wetland", "Forest", "Developed", "Crop", "Pasture")
_LAND_COVER = tuple(f"LC_{name}" for name in LAND_COVER_CLASSES)

_OPTICAL_INDICES: dict[str, tuple[str, ...]] = {
    "ndvi": ("NIR", "Red"),
    "evi": ("NIR", "Red", "Blue"),
    "ndwi": ("Green", "NIR"),
    "lswi": ("NIR", "SWIR1"),
    "nsdsi": ("SWIR1", "SWIR2"),
}
_RADAR_INDICES: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("cr", "dpsvim", "pol", "rvim", "vvvh"), ("VV", "VH")
)
#: The ten indices, in feature order, with the variables that each is computed from.
INDICES = _OPTICAL_INDICES | _RADAR_INDICES

#: Inputs of every derived feature; any other feature is the variable of its own name.
#: ``DoY`` is the day of year, known from the date alone.
FEATURE_INPUTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_LAND_COVER, ("LC",)),
    "DoY_normalized": ("DoY",),
    "DoY_sin": ("DoY",),
    "DoY_cos": ("DoY",),
    "aspect_normalized": ("aspect",),
    "aspect_sin": ("aspect",),
    "aspect_cos": ("aspect",),
    **INDICES,
}

#: Days of weather before a day that its soil-state channels may look at.
MEMORY = 180
_SNOW = ("tmax", "tmin")
#: Series channels computed from daily weather (`mmnet_maps.prepare.soil_state`), with the variables that each
#: needs, and whether it takes snow into account where temperatures are there.
SOIL_STATE_INPUTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("api80", "api90", "api95", "api98", "dry_days"), ("pr",)),
    **dict.fromkeys(("bucket15", "bucket50", "bucket150"), ("pr", "eto")),
    **dict.fromkeys(("pr_sum30", "pr_sum90", "pr_sum180", "pr_log"), ("pr",)),
    **dict.fromkeys(("balance30", "balance90"), ("pr", "eto")),
    "vpd_mean30": ("vpd",),
    "t_mean30": _SNOW,
    "swe": ("pr", *_SNOW),
}
#: Steps of the series spread over a season, as many as the published eleven days.
SPREAD_LAGS = (90, 60, 30, 21, 14, 10, 5, 3, 2, 1, 0)

_PUBLISHED_SNAPSHOT = (
    *_LAND_COVER,
    "DoY_normalized",
    "Latitude",
    "Longitude",
    "elevation",
    "slope",
    "aspect_normalized",
    "clay",
    "bd",
    "sand",
    "SMAP",
    *INDICES,
)
_PUBLISHED_SERIES = ("eto", "etr", "pr", "sph", "srad", "vpd", "vs", "LST")
_CYCLIC = {"DoY_normalized": ("DoY_sin", "DoY_cos"), "aspect_normalized": ("aspect_sin", "aspect_cos")}


class Catalogue(Config):
    """Variables, the ordered model inputs made from them, and the window of days.

    Attributes
    ----------
    variables : tuple of Variable
        Every variable that a feature or a series channel may name.
    snapshot : tuple of str
        Snapshot features in model order.
    series : tuple of str
        Series variables in model order.
    lags : tuple of int
        Days back of each step of the series, oldest first, the day itself (0) last.
    encoding : {"published", "cyclic"}
        How the day of year and the aspect enter the snapshot.
    """

    variables: tuple[Variable, ...]
    snapshot: tuple[str, ...]
    series: tuple[str, ...]
    lags: tuple[int, ...] = tuple(range(10, -1, -1))
    encoding: Encoding = "published"

    def __getitem__(self, name: str) -> Variable:
        """The variable of that name; `InputError` lists the known names if there is none."""
        for variable in self.variables:
            if variable.name == name:
                return variable
        known = [v.name for v in self.variables]
        more = suggestion(name, known) or f"; it holds {', '.join(known)}"
        raise InputError(f"variable {name} is not in the catalogue{more}")

    def __contains__(self, name: object) -> bool:
        return any(v.name == name for v in self.variables)

    def inputs_of(self, feature: str) -> tuple[str, ...]:
        """Names of the variables that a snapshot feature is computed from."""
        return FEATURE_INPUTS.get(feature, (feature,))

    @property
    def target(self) -> Variable:
        """What a model of this catalogue estimates: its variable of kind target, else ``VWC_5``."""
        return next((v for v in self.variables if v.kind == "target"), TARGETS["VWC_5"])

    def with_target(self, name: str) -> Catalogue:
        """The same catalogue for soil moisture at another depth.

        Parameters
        ----------
        name : str
            One of `mmnet_maps.variables.TARGETS`.

        Raises
        ------
        InputError
            There is no such target.
        """
        target, others = target_named(name), (v for v in self.variables if v.kind != "target")
        return self.model_copy(update={"variables": (target, *others)})

    @property
    def snapshot_inputs(self) -> tuple[str, ...]:
        """Variables needed for the snapshot, each once, in catalogue-stable order (DoY left out)."""
        names = dict.fromkeys(name for f in self.snapshot for name in self.inputs_of(f))
        return tuple(name for name in names if name != "DoY")

    @property
    def required(self) -> tuple[str, ...]:
        """Every variable that a prediction needs; position and date are known from the pixel itself."""
        names = dict.fromkeys((*self.snapshot_inputs, *self.series_inputs))
        return tuple(name for name in names if name not in ("Latitude", "Longitude"))

    @property
    def series_inputs(self) -> tuple[str, ...]:
        """Daily variables that the series channels are computed from, each once.

        Soil-state channels that follow water use the temperatures too if the catalogue holds them: they then
        tell snow from rain.
        """
        names = dict.fromkeys(n for s in self.series for n in SOIL_STATE_INPUTS.get(s, (s,)))
        if any(s in SOIL_STATE_INPUTS for s in self.series) and all(n in self for n in _SNOW):
            names |= dict.fromkeys(_SNOW)
        return tuple(names)

    @property
    def window_days(self) -> int:
        """Number of days before the first predicted day that the series channels need."""
        return max(self.lags)

    @property
    def history_days(self) -> int:
        """Number of days before the first predicted day of which the weather is needed."""
        return self.window_days + (MEMORY if any(s in SOIL_STATE_INPUTS for s in self.series) else 0)

    def reach(self, name: str) -> int:
        """How many days before a predicted day the observations of a variable are looked at."""
        state = [s for s in self.series if s in SOIL_STATE_INPUTS]
        used = {n for s in state for n in SOIL_STATE_INPUTS[s]} | set(_SNOW if state else ())
        if name not in self.series_inputs:
            return 0
        return self.history_days if name in used else self.window_days

    def without(self, names: Iterable[str]) -> Catalogue:
        """Leave variables out, and with them every feature that needs one of them."""
        gone = set(names)
        for name in gone:
            self[name]
        return self.model_copy(
            update={
                "variables": tuple(v for v in self.variables if v.name not in gone),
                "snapshot": tuple(f for f in self.snapshot if not gone & set(self.inputs_of(f))),
                "series": tuple(s for s in self.series if not gone & {s, *SOIL_STATE_INPUTS.get(s, ())}),
            }
        )

    def adding(self, variable: Variable) -> Catalogue:
        """Add a variable: the last series channel if its kind is series, else the last snapshot feature.

        Raises
        ------
        InputError
            The name is taken, by a variable or by a derived feature.
        """
        if variable.name in self or variable.name in FEATURE_INPUTS:
            raise InputError(f"variable {variable.name} is already in the catalogue")
        part = "series" if variable.kind == "series" else "snapshot"
        return self.model_copy(
            update={
                "variables": (*self.variables, variable),
                part: (*getattr(self, part), variable.name),
            }
        )

    def with_soil_state(self, lags: tuple[int, ...] = SPREAD_LAGS) -> Catalogue:
        """Add every soil-state channel whose inputs are here; spread the series over a season."""
        more = tuple(
            name
            for name, inputs in SOIL_STATE_INPUTS.items()
            if name not in self.series and all(n in self for n in inputs)
        )
        return self.model_copy(update={"series": (*self.series, *more), "lags": lags})

    def with_encoding(self, encoding: Encoding) -> Catalogue:
        """The same catalogue with the day of year and the aspect encoded the other way."""
        snapshot: list[str] = []
        back = {new: old for old, pair in _CYCLIC.items() for new in pair}
        for feature in self.snapshot:
            if encoding == "cyclic":
                snapshot.extend(_CYCLIC.get(feature, (feature,)))
            else:
                snapshot.append(back.get(feature, feature))
        return self.model_copy(update={"encoding": encoding, "snapshot": tuple(dict.fromkeys(snapshot))})

    def with_fill(self, fill: Literal["linear", "past"]) -> Catalogue:
        """The same catalogue with every gap-filled variable filled that way."""
        changed = tuple(
            v.model_copy(update={"fill": "past"}) if fill == "past" and v.fill != "none" else v
            for v in self.variables
        )
        return self.model_copy(update={"variables": changed})

    def with_collections(self, found: Mapping[str, str]) -> Catalogue:
        """The same catalogue, its variables known to come from these collections."""
        return self.model_copy(
            update={
                "variables": tuple(
                    v.model_copy(update={"collection": found.get(v.name, v.collection)})
                    for v in self.variables
                )
            }
        )

    def other_collections(self, held: Mapping[str, Variable]) -> tuple[str, ...]:
        """Where required variables come from another collection or version than those of `held`.

        Returns
        -------
        tuple of str
            A line a pair of collections, naming the variables. Variables without a collection on either side
            are left out.
        """
        pairs: dict[tuple[str, str], list[str]] = {}
        for name in self.required:
            ours, theirs = self[name].collection, held[name].collection if name in held else ""
            if ours and theirs and not same_collection(ours, theirs):
                pairs.setdefault((ours, theirs), []).append(name)
        return tuple(
            f"{', '.join(names)}: learned from {ours}, here from {theirs}"
            for (ours, theirs), names in pairs.items()
        )

    @property
    def fingerprint(self) -> str:
        """Digest of all that gives a weight its meaning: names, order, units, lags, encoding, target."""
        meaning: dict[str, object] = {
            "units": {name: self[name].unit for name in self.required},
            "snapshot": self.snapshot,
            "series": self.series,
            "lags": self.lags,
            "encoding": self.encoding,
        }
        if self.target.name != "VWC_5":
            # Left out for the first target, so that what was made before there were others keeps its digest.
            meaning["target"] = self.target.name
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()[:16]

    def refuse_mismatch(self, other: Catalogue, mine: str, theirs: str) -> None:
        """Raise `InputError` with the names that differ unless both give weights the same meaning.

        Parameters
        ----------
        other : Catalogue
            What is compared with this catalogue.
        mine, theirs : str
            What to call the two in the message ("the bundle", "the table").
        """
        if self.fingerprint == other.fingerprint:
            return
        found: list[str] = []
        for part in ("snapshot", "series"):
            ours, others = getattr(self, part), getattr(other, part)
            found += [f"{n} only in {mine}" for n in ours if n not in others]
            found += [f"{n} only in {theirs}" for n in others if n not in ours]
        if not found:
            both = [n for n in self.required if n in other]
            found += [
                f"{n} is in {self[n].unit} in {mine} and in {other[n].unit} in {theirs}"
                for n in both
                if self[n].unit != other[n].unit
            ]
        if self.target.name != other.target.name:
            found.append(f"target {self.target.name} in {mine}, {other.target.name} in {theirs}")
        if self.encoding != other.encoding:
            found.append(f"encoding {self.encoding} in {mine}, {other.encoding} in {theirs}")
        if self.lags != other.lags:
            found.append(f"window of days back {self.lags} in {mine}, {other.lags} in {theirs}")
        what = "; ".join(found) or "the order of the features differs"
        raise InputError(f"{mine} and {theirs} are of different catalogues: {what}")


def published_catalogue(encoding: Encoding = "published") -> Catalogue:
    """The catalogue of the published network: 28 snapshot features, 8 series variables, 11 days."""
    catalogue = Catalogue(variables=VARIABLES, snapshot=_PUBLISHED_SNAPSHOT, series=_PUBLISHED_SERIES)
    return catalogue if encoding == "published" else catalogue.with_encoding(encoding)
