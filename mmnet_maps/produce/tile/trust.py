"""What every pixel-day says about itself: reasons why it is missing or weak, and its interval.

Each missing value has at least one of `MISSING_REASONS`. Weaknesses mark a value that is there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.catalogue import LAND_COVER_CLASSES, Catalogue
from mmnet_maps.learn.intervals import Envelope, IntervalTable
from mmnet_maps.packing import Packing
from mmnet_maps.produce.engine.arrays import NUMPY, Array, Arrays
from mmnet_maps.produce.tile.flags import FLAG_TABLE, FLAGS
from mmnet_maps.variables import Variable

__all__ = [
    "ADJUSTED",
    "CLIPPED",
    "DISSIMILARITY",
    "FLAGS",
    "LAND_COVER_MISSING",
    "MISSING",
    "MISSING_REASONS",
    "NOT_COMPUTED",
    "NO_INTERVAL",
    "OUTSIDE_APPLICABILITY",
    "QUALITY",
    "OUTSIDE_TRAINING_DOMAIN",
    "PROVISIONAL",
    "SERIES_MISSING",
    "SMAP_MISSING",
    "SNAPSHOT_MISSING",
    "SNOW_OR_FROZEN",
    "SOIL_MOISTURE",
    "URBAN",
    "WATER_OR_ICE",
    "WINDOW_GAP_FILLED",
    "IntervalCodes",
    "Limits",
    "age_flag",
    "finish",
    "freezing_point",
    "land_cover_outside",
    "mark",
    "missing_flag",
    "unlike",
]

#: Storage of soil moisture and of its interval.
SOIL_MOISTURE = Packing(dtype="int16", scale=1e-4, missing=-32768)
#: Storage of the dissimilarity to the training rows; what exceeds its range is stored as the largest value.
DISSIMILARITY = Packing(dtype="int16", scale=1e-3, missing=-32768)
#: Stored value of what is missing.
MISSING = np.int16(-32768)
#: How `quality` is stored. Bits are gathered in int32, with which every device computes.
QUALITY = np.dtype("uint32")
_PER_UNIT = float(np.float32(1 / SOIL_MOISTURE.scale))

WATER_OR_ICE = FLAGS["water_or_ice"]
LAND_COVER_MISSING = FLAGS["land_cover_missing"]
SNAPSHOT_MISSING = FLAGS["snapshot_missing"]
SMAP_MISSING = FLAGS["smap_missing"]
SERIES_MISSING = FLAGS["series_missing"]
SNOW_OR_FROZEN = FLAGS["snow_or_frozen"]
URBAN = FLAGS["urban"]
OUTSIDE_TRAINING_DOMAIN = FLAGS["outside_training_domain"]
WINDOW_GAP_FILLED = FLAGS["window_gap_filled"]
CLIPPED = FLAGS["clipped"]
NO_INTERVAL = FLAGS["no_interval"]
NOT_COMPUTED = FLAGS["not_computed"]
ADJUSTED = FLAGS["adjusted"]
PROVISIONAL = FLAGS["provisional"]
OUTSIDE_APPLICABILITY = FLAGS["outside_applicability"]
#: Any of these explains a missing value.
MISSING_REASONS = sum(flag.mask for flag in FLAG_TABLE.values() if flag.missing)

_OLD = {"optical": "old_optical", "radar": "old_radar", "smap": "old_smap", "other": "old_other"}
_FREEZING = {"K": 273.15, "0.02 K": 13_657.5, "degC": 0.0}


def missing_flag(variable: Variable) -> int:
    """The bit for a missing snapshot input."""
    return SMAP_MISSING if variable.sensor == "smap" else SNAPSHOT_MISSING


def age_flag(variable: Variable) -> int:
    """The bit for an input that is older than its `Variable.max_age`."""
    return FLAGS[_OLD[variable.sensor]]


def freezing_point(unit: str) -> float | None:
    """0 degC in a unit of temperature; None for any other unit."""
    return _FREEZING.get(unit)


@dataclass(frozen=True)
class Limits:
    """The training range of named features, ready for comparison with rows of pixels.

    Attributes
    ----------
    low, high : array of float32, shape (rows, 1)
        Infinite where nothing is known.
    xp : Arrays
        Of these arrays, and of the rows that are compared.
    """

    low: Array
    high: Array
    xp: Arrays = NUMPY

    @classmethod
    def of(
        cls, names: tuple[str, ...], envelope: Envelope | None, catalogue: Catalogue, xp: Arrays = NUMPY
    ) -> Limits:
        """Limits of the features or series variables `names`; a name that the envelope lacks has none."""
        known: dict[str, tuple[np.float32, np.float32]] = {}
        if envelope is not None:
            snapshot = zip(envelope.snapshot_low, envelope.snapshot_high, strict=True)
            series = zip(envelope.series_low, envelope.series_high, strict=True)
            known = dict(zip(catalogue.series, series, strict=True))
            known |= dict(zip(catalogue.snapshot, snapshot, strict=True))
        none = (np.float32(-np.inf), np.float32(np.inf))
        pairs = np.array([known.get(name, none) for name in names], dtype=np.float32).reshape(-1, 2)
        return cls(xp.send(pairs[:, :1].copy()), xp.send(pairs[:, 1:].copy()), xp)

    def outside(self, rows: Array) -> Array:
        """Columns of `rows`, shape (names, n), with any value out of range; a missing value is not."""
        return self.xp.outside(rows, self.low, self.high)


def land_cover_outside(envelope: Envelope | None, catalogue: Catalogue) -> NDArray[np.bool_]:
    """For each land cover class, whether no training row had it, shape (8,)."""
    names = tuple(f for f in catalogue.snapshot if f.startswith("LC_"))
    classes = np.array([f"LC_{name}" for name in LAND_COVER_CLASSES])
    one_hot = (np.array(names, dtype=str)[:, None] == classes).astype(np.float32).reshape(-1, len(classes))
    found: NDArray[np.bool_] = Limits.of(names, envelope, catalogue).outside(one_hot)
    return found


class IntervalCodes:
    """Interval of every stored value of soil moisture, as a table.

    Parameters
    ----------
    interval : IntervalTable or None
        Of the bundle.
    valid_range : (float, float)
        Limits of the stored estimate, in m3 m-3.
    xp : Arrays
        Where the tables are used.

    Attributes
    ----------
    low, high : float
        The valid range, as float32 holds it.
    first : int
        Stored value of `low`.
    lower, upper : array of int16, shape (codes,)
        By stored value minus `first`; all missing without an interval.
    complete : bool
        Whether every stored value has an interval.
    """

    def __init__(
        self, interval: IntervalTable | None, valid_range: tuple[float, float], xp: Arrays = NUMPY
    ) -> None:
        self.low, self.high = (float(np.float32(limit)) for limit in valid_range)
        ends = SOIL_MOISTURE.encode(np.array(valid_range))
        self.first = int(ends[0])
        codes = np.arange(ends[0], int(ends[1]) + 1, dtype=np.int16)
        lower = upper = np.full(codes.shape, MISSING)
        if interval is not None:
            lower, upper = (SOIL_MOISTURE.encode(end) for end in interval(SOIL_MOISTURE.decode(codes)))
        self.complete = not (lower == MISSING).any()
        self.lower, self.upper = xp.send(lower), xp.send(upper)


def mark(bits: Array, where: Array, flag: int, xp: Arrays = NUMPY) -> None:
    """Set a bit in place where it holds; nothing is the usual case, and cheap on a processor.

    Parameters
    ----------
    bits : array of int32
    where : array of bool, same shape
    flag : int
    xp : Arrays
    """
    if xp.some(where):
        bits |= xp.asarray(where, dtype=xp.int32) * flag


def finish(
    estimate: Array, bits: Array, intervals: IntervalCodes, xp: Arrays = NUMPY
) -> tuple[Array, Array, Array]:
    """Estimates to stored soil moisture with its interval.

    Parameters
    ----------
    estimate : array of float32
        m3 m-3; not finite is missing.
    bits : array of int32, same shape
        Completed in place: ``clipped``, ``no_interval``, and ``snapshot_missing`` for a missing value that
        has no reason yet (an input was infinite).
    intervals : IntervalCodes
    xp : Arrays

    Returns
    -------
    soil_moisture, lower, upper : array of int16
        As `SOIL_MOISTURE` stores them.
    """
    missing = ~xp.isfinite(estimate)
    some_missing = xp.some(missing)
    clipped = xp.clip(estimate, intervals.low, intervals.high)
    beyond = clipped != estimate
    if some_missing:
        beyond &= ~missing
        clipped = xp.where(missing, intervals.low, clipped)
        mark(bits, missing & ((bits & MISSING_REASONS) == 0), SNAPSHOT_MISSING, xp)
    mark(bits, beyond, CLIPPED, xp)
    codes = xp.asarray(xp.round(clipped * _PER_UNIT), dtype=xp.int16)
    position = (xp.asarray(codes, dtype=xp.int64) - intervals.first).reshape(-1)
    tables = (intervals.lower, intervals.upper)
    lower, upper = (xp.take(table, position).reshape(codes.shape) for table in tables)
    if not intervals.complete:
        mark(bits, (lower == int(MISSING)) & ~missing, NO_INTERVAL, xp)
    if some_missing:
        codes, lower, upper = (xp.where(missing, int(MISSING), values) for values in (codes, lower, upper))
    return codes, lower, upper


def unlike(apart: Array, estimate: Array, bits: Array, threshold: float, xp: Arrays = NUMPY) -> Array:
    """Dissimilarity as it is stored, int16; the bit of what exceeds the threshold is added to `bits`.

    Parameters
    ----------
    apart, estimate : array of float32
        Missing where either is not finite.
    bits : array of int32, same shape
    threshold : float
        Compared with the stored value, so that a map and its bits agree.
    xp : Arrays
    """
    missing = ~(xp.isfinite(apart) & xp.isfinite(estimate))
    largest = float(np.iinfo(np.int16).max)
    told = xp.clip(xp.where(missing, 0.0, apart) * float(np.float32(1 / DISSIMILARITY.scale)), 0.0, largest)
    codes = xp.asarray(xp.round(told), dtype=xp.int16)
    mark(bits, (codes > threshold / DISSIMILARITY.scale) & ~missing, OUTSIDE_APPLICABILITY, xp)
    return xp.where(missing, int(MISSING), codes)
