"""What every pixel-day says about itself: reasons why it is missing or weak, and its interval.

Each missing value has at least one of `MISSING_REASONS`. Weaknesses stand beside a value that is there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.catalogue import LAND_COVER_CLASSES, Catalogue
from mmnet_maps.learn.intervals import Envelope, IntervalTable
from mmnet_maps.packing import Packing
from mmnet_maps.produce.tile.flags import FLAG_TABLE, FLAGS
from mmnet_maps.variables import Variable

__all__ = [
    "CLIPPED",
    "FLAGS",
    "LAND_COVER_MISSING",
    "MISSING",
    "MISSING_REASONS",
    "NOT_COMPUTED",
    "NO_INTERVAL",
    "OUTSIDE_TRAINING_DOMAIN",
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
    "missing_flag",
]

#: Storage of soil moisture and of its interval.
SOIL_MOISTURE = Packing(dtype="int16", scale=1e-4, missing=-32768)
#: Stored value of what is missing.
MISSING = np.int16(-32768)

WATER_OR_ICE = np.uint16(FLAGS["water_or_ice"])
LAND_COVER_MISSING = np.uint16(FLAGS["land_cover_missing"])
SNAPSHOT_MISSING = np.uint16(FLAGS["snapshot_missing"])
SMAP_MISSING = np.uint16(FLAGS["smap_missing"])
SERIES_MISSING = np.uint16(FLAGS["series_missing"])
SNOW_OR_FROZEN = np.uint16(FLAGS["snow_or_frozen"])
URBAN = np.uint16(FLAGS["urban"])
OUTSIDE_TRAINING_DOMAIN = np.uint16(FLAGS["outside_training_domain"])
WINDOW_GAP_FILLED = np.uint16(FLAGS["window_gap_filled"])
CLIPPED = np.uint16(FLAGS["clipped"])
NO_INTERVAL = np.uint16(FLAGS["no_interval"])
NOT_COMPUTED = np.uint16(FLAGS["not_computed"])
#: Any of these explains a missing value.
MISSING_REASONS = np.uint16(sum(flag.mask for flag in FLAG_TABLE.values() if flag.missing))

_OLD = {"optical": "old_optical", "radar": "old_radar", "smap": "old_smap", "other": "old_other"}
_FREEZING = {"K": 273.15, "0.02 K": 13_657.5, "degC": 0.0}


def missing_flag(variable: Variable) -> np.uint16:
    """The bit for a missing snapshot input."""
    return SMAP_MISSING if variable.sensor == "smap" else SNAPSHOT_MISSING


def age_flag(variable: Variable) -> np.uint16:
    """The bit for an input that is older than its `Variable.max_age`."""
    return np.uint16(FLAGS[_OLD[variable.sensor]])


def freezing_point(unit: str) -> float | None:
    """0 degC in a unit of temperature; None for any other unit."""
    return _FREEZING.get(unit)


@dataclass(frozen=True)
class Limits:
    """The training range of named features, ready for comparison with rows of pixels.

    Attributes
    ----------
    low, high : ndarray of float32, shape (rows, 1)
        Infinite where nothing is known.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]

    @classmethod
    def of(cls, names: tuple[str, ...], envelope: Envelope | None, catalogue: Catalogue) -> Limits:
        """Limits of the features or series variables `names`; a name that the envelope lacks has none."""
        known: dict[str, tuple[np.float32, np.float32]] = {}
        if envelope is not None:
            snapshot = zip(envelope.snapshot_low, envelope.snapshot_high, strict=True)
            series = zip(envelope.series_low, envelope.series_high, strict=True)
            known = dict(zip(catalogue.series, series, strict=True))
            known |= dict(zip(catalogue.snapshot, snapshot, strict=True))
        none = (np.float32(-np.inf), np.float32(np.inf))
        pairs = np.array([known.get(name, none) for name in names], dtype=np.float32).reshape(-1, 2)
        return cls(pairs[:, :1].copy(), pairs[:, 1:].copy())

    def outside(self, rows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Columns of `rows`, shape (names, n), with any value out of range; a missing value is not."""
        # Most rows lie within a limit as a whole, which a fast reduction tells; one with a missing value
        # fails that test, and is compared value by value.
        found = np.zeros(rows.shape[1:], dtype=np.bool_)
        for row in np.flatnonzero(~(rows.min(axis=1, initial=np.inf) >= self.low[:, 0])):
            found |= rows[row] < self.low[row]
        for row in np.flatnonzero(~(rows.max(axis=1, initial=-np.inf) <= self.high[:, 0])):
            found |= rows[row] > self.high[row]
        return found


def land_cover_outside(envelope: Envelope | None, catalogue: Catalogue) -> NDArray[np.bool_]:
    """For each land cover class, whether no training row had it, shape (8,)."""
    names = tuple(f for f in catalogue.snapshot if f.startswith("LC_"))
    classes = np.array([f"LC_{name}" for name in LAND_COVER_CLASSES])
    one_hot = (np.array(names, dtype=str)[:, None] == classes[None, :]).astype(np.float32)
    return Limits.of(names, envelope, catalogue).outside(one_hot.reshape(len(names), len(classes)))


class IntervalCodes:
    """Interval of every stored value of soil moisture, as a table.

    Parameters
    ----------
    interval : IntervalTable or None
        Of the bundle.
    valid_range : (float, float)
        Limits of the stored estimate, in m3 m-3.

    Attributes
    ----------
    low, high : numpy.float32
        The valid range.
    lower, upper : ndarray of int16, shape (codes,)
        By stored value minus `first`; all missing without an interval.
    """

    def __init__(self, interval: IntervalTable | None, valid_range: tuple[float, float]) -> None:
        self.low, self.high = np.float32(valid_range[0]), np.float32(valid_range[1])
        ends = SOIL_MOISTURE.encode(np.array(valid_range))
        self.first = int(ends[0])
        codes = np.arange(ends[0], int(ends[1]) + 1, dtype=np.int16)
        self.lower = np.full(codes.shape, MISSING)
        self.upper = self.lower.copy()
        if interval is not None:
            lower, upper = interval(SOIL_MOISTURE.decode(codes))
            self.lower, self.upper = SOIL_MOISTURE.encode(lower), SOIL_MOISTURE.encode(upper)
        self._flag = np.where(self.lower == MISSING, NO_INTERVAL, np.uint16(0)).astype(np.uint16)
        self._always = np.uint16(NO_INTERVAL if (self._flag != 0).all() else 0)
        self._never = not (self._flag != 0).any()

    def look_up(
        self, codes: NDArray[np.int16], missing: NDArray[np.bool_], quality: NDArray[np.uint16]
    ) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """Lower and upper end by stored value; sets the bit in `quality` where a value has none."""
        place = codes.astype(np.intp)
        place -= self.first
        place[missing] = 0
        lower, upper = np.take(self.lower, place), np.take(self.upper, place)
        lower[missing] = MISSING
        upper[missing] = MISSING
        if self._always or not self._never:
            quality |= np.where(missing, np.uint16(0), np.take(self._flag, place))
        return lower, upper


def finish(
    prediction: NDArray[np.float32], quality: NDArray[np.uint16], intervals: IntervalCodes
) -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.int16]]:
    """Estimates to stored soil moisture with its interval.

    Parameters
    ----------
    prediction : ndarray of float32
        m3 m-3; not finite is missing.
    quality : ndarray of uint16, same shape
        Completed in place: ``clipped``, ``no_interval``, and ``snapshot_missing`` for a missing value that
        has no reason yet (an input was infinite).
    intervals : IntervalCodes

    Returns
    -------
    soil_moisture, lower, upper : ndarray of int16
        As `SOIL_MOISTURE` stores them.
    """
    missing = ~np.isfinite(prediction)
    some_missing = bool(missing.any())
    clipped = np.maximum(prediction, intervals.low)
    np.minimum(clipped, intervals.high, out=clipped)
    outside = clipped != prediction
    if some_missing:
        outside &= ~missing
        clipped[missing] = intervals.low
        quality[missing & ((quality & MISSING_REASONS) == 0)] |= SNAPSHOT_MISSING
    quality |= outside.astype(np.uint16) * CLIPPED
    clipped *= np.float32(1 / SOIL_MOISTURE.scale)
    np.rint(clipped, out=clipped)
    codes = clipped.astype(np.int16)
    lower, upper = intervals.look_up(codes, missing, quality)
    if some_missing:
        codes[missing] = MISSING
    return codes, lower, upper
