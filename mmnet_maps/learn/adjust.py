"""A model adjusted to the level of a user's own probes, near their positions.

The error at a new place is mostly a constant of that place. A probe of some weeks tells it. The local error
of an estimate p is modelled as

    e(x) = shift(x) + slope(x) (p - centre(x)),

with shift and slope as two Gaussian fields of mean zero around the probes (simple kriging; Chiles and
Delfiner 2012, ch. 3). Shrinkage, the mean of several probes, the far field that stays as it was and the
narrower interval follow from that: with few days, or far away, the fields are zero and the interval is that
of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.errors import InputError

__all__ = ["Adjustment", "LocalError", "Probe", "summarise_probe"]

Float = NDArray[np.float64]

#: Days after which the errors of one place are nearly independent: a dry or wet season keeps its error.
MEMORY_DAYS = 30.0
#: Least share of a model's squared error that is not the mean error of its place. Held-out stations of the
#: recipe's comparison have a median ubRMSE of 0.42 of the RMSE of all rows; a short probe sees less of it.
WITHIN_SHARE = 0.175
#: Least days of a probe that count at all.
LEAST_DAYS = 10
#: How much slopes differ between places, as a standard deviation.
SLOPE_SPREAD = 0.3
#: Share of a probe's message that reaches another land cover.
OTHER_COVER = 0.4
_EARTH_M = 6_371_000.0
_LEAST_WITHIN, _LEAST_SPREAD = 0.01, 0.02
#: Half the width of a nominal 90 % interval of a normal distribution, in standard deviations.
_HALF_WIDTH = 1.645


@dataclass(frozen=True)
class Probe:
    """What the days of one probe say about the error at its position.

    Attributes
    ----------
    id : str
    longitude, latitude : float
        Degrees.
    land_cover : int
        Index of its class in `LAND_COVER_CLASSES`; -1 where it is not known.
    days : int
        Days on which both the probe and the model have a value.
    centre : float
        Mean estimate on those days, m3 m-3.
    shift : float
        Mean of observed minus estimated, m3 m-3.
    slope : float
        Least-squares slope of that difference against the estimate.
    within : float
        Standard deviation of what shift and slope leave, m3 m-3.
    spread : float
        Standard deviation of the estimate on those days, m3 m-3.
    """

    id: str
    longitude: float
    latitude: float
    land_cover: int
    days: int
    centre: float
    shift: float
    slope: float
    within: float
    spread: float

    @property
    def independent(self) -> float:
        """Days that count as independent."""
        return max(1.0, self.days / MEMORY_DAYS)


def summarise_probe(
    name: str,
    position: tuple[float, float],
    observed: NDArray[np.floating],
    estimated: NDArray[np.floating],
    land_cover: int = -1,
) -> Probe | None:
    """Summarise the days of a probe; None with fewer than `LEAST_DAYS`.

    Parameters
    ----------
    name : str
    position : (longitude, latitude)
        Degrees.
    observed, estimated : ndarray, shape (days,)
        m3 m-3; days on which one of them is missing are left out.
    land_cover : int
        Index of the class, or -1.

    Examples
    --------
    >>> estimate = np.linspace(0.1, 0.3, 60)
    >>> probe = summarise_probe("mine", (-98.0, 36.0), estimate + 0.05, estimate)
    >>> round(probe.shift, 3), round(probe.slope, 3)
    (0.05, 0.0)
    """
    use = np.isfinite(observed) & np.isfinite(estimated)
    if use.sum() < LEAST_DAYS:
        return None
    told = np.asarray(estimated, dtype=np.float64)[use]
    error = np.asarray(observed, dtype=np.float64)[use] - told
    centre, shift = float(told.mean()), float(error.mean())
    apart = told - centre
    square = float((apart**2).sum())
    slope = float((apart * error).sum() / square) if square > 0 else 0.0
    left = error - shift - slope * apart
    within = float(np.sqrt((left**2).sum() / max(1, len(left) - 2)))
    return Probe(
        name,
        float(position[0]),
        float(position[1]),
        int(land_cover),
        len(told),
        centre,
        shift,
        slope,
        within,
        float(told.std()),
    )


@dataclass(frozen=True)
class LocalError:
    """The adjustment at some pixels.

    Attributes
    ----------
    shift, slope, centre : ndarray of float32, shape (n,)
        An estimate p becomes p + shift + slope (p - centre).
    width : ndarray of float32, shape (n,)
        What the interval's distances from the estimate are multiplied by, in (0, 1].
    """

    shift: NDArray[np.float32]
    slope: NDArray[np.float32]
    centre: NDArray[np.float32]
    width: NDArray[np.float32]

    def of(self, pixels: NDArray[np.integer]) -> LocalError:
        """The same at some of the pixels."""
        return LocalError(self.shift[pixels], self.slope[pixels], self.centre[pixels], self.width[pixels])

    def adjust(self, estimate: NDArray[np.float32]) -> NDArray[np.float32]:
        """Adjusted estimates, shape (..., n); none below zero."""
        moved = estimate + self.shift + self.slope * (estimate - self.centre)
        # Where nothing is said the estimate keeps its bits.
        return np.where(self.width == 1, estimate, np.maximum(moved, 0)).astype(np.float32)

    def apply(
        self, estimate: NDArray[np.float32], lower: NDArray[np.float32], upper: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Adjusted estimate and ends of its interval, each of shape (..., n), within [0, 1]."""
        adjusted = self.adjust(estimate)
        low = np.clip(adjusted - (estimate - lower) * self.width, 0, 1)
        high = np.clip(adjusted + (upper - estimate) * self.width, 0, 1)
        same = self.width == 1
        return adjusted, np.where(same, lower, low), np.where(same, upper, high)


@dataclass(frozen=True)
class Adjustment:
    """Probes, and how far and how much they count.

    Attributes
    ----------
    probes : tuple of Probe
    reach : float
        Distance in metres from which on a probe has no effect.
    level_spread : float
        Standard deviation of the mean error between sites, m3 m-3.
    within : float
        Standard deviation of the error at one site about its mean, m3 m-3.
    digest : str
        Of the bundle that the probes were compared with.
    """

    probes: tuple[Probe, ...]
    reach: float
    level_spread: float
    within: float
    digest: str = ""

    @classmethod
    def of(cls, probes: Sequence[Probe], half_width: float, reach: float = 1_000.0, digest: str = "") -> Self:
        """Weigh the probes against the interval of the model.

        Parameters
        ----------
        probes : sequence of Probe
        half_width : float
            Mean distance from the estimate to an end of the model's 90 % interval, m3 m-3. It gives the size
            of errors at new sites. The errors within one site, which probes show, are a part of them.
        reach : float
            Metres.
        digest : str
            Of the bundle.

        Raises
        ------
        InputError
            There is no probe, or `reach` or `half_width` is no positive number.
        """
        if not probes:
            raise InputError(f"no probe has {LEAST_DAYS} days or more that the model has an estimate for")
        if not (np.isfinite(reach) and reach > 0):
            raise InputError(f"reach {reach}: expected a distance in metres above 0")
        if not (np.isfinite(half_width) and half_width > 0):
            raise InputError("the bundle has no interval, from which the weight of a probe is computed")
        days = np.array([p.days for p in probes], dtype=np.float64)
        variances = np.array([p.within for p in probes]) ** 2
        total = half_width / _HALF_WIDTH
        seen = float((days * variances).sum() / days.sum())
        within = max(float(np.sqrt(max(seen, WITHIN_SHARE * total**2))), _LEAST_WITHIN)
        spread = max(float(np.sqrt(max(total**2 - within**2, 0.0))), _LEAST_SPREAD)
        return cls(tuple(probes), float(reach), spread, within, digest)

    def at(
        self, longitude: Float, latitude: Float, land_cover: NDArray[np.integer] | None = None
    ) -> LocalError:
        """The adjustment at pixels.

        Parameters
        ----------
        longitude, latitude : ndarray of float64, shape (n,)
            Degrees.
        land_cover : ndarray of int, shape (n,), optional
            Index of the class; -1 where it is not known.
        """
        count = len(longitude)
        near = self._likeness(longitude, latitude, land_cover)
        touched = np.flatnonzero(near.any(axis=0))
        shift, slope, centre = (np.zeros(count, dtype=np.float32) for _ in range(3))
        width = np.ones(count, dtype=np.float32)
        if touched.size:
            part = near[:, touched]
            level, explained = self._krige(
                part, self.level_spread, [p.shift for p in self.probes], self._of_shift
            )
            slope[touched], _ = self._krige(
                part, SLOPE_SPREAD, [p.slope for p in self.probes], self._of_slope
            )
            shift[touched] = level
            centres = np.array([p.centre for p in self.probes])
            centre[touched] = (centres @ part) / part.sum(axis=0)
            left = self.level_spread**2 * (1 - explained) + self.within**2
            width[touched] = np.sqrt(left / (self.level_spread**2 + self.within**2))
        return LocalError(shift, slope, centre, width)

    def without(self, name: str) -> Adjustment:
        """The same without one probe, to judge the others by it."""
        rest = tuple(p for p in self.probes if p.id != name)
        return Adjustment(rest, self.reach, self.level_spread, self.within, self.digest)

    @property
    def _of_shift(self) -> Float:
        """Variance of each probe's shift as a measure of the true one."""
        return np.array([max(p.within, self.within) ** 2 / p.independent for p in self.probes])

    @property
    def _of_slope(self) -> Float:
        squares: Float = np.array([max(p.spread, 1e-4) ** 2 for p in self.probes])
        return self._of_shift / squares

    def _krige(
        self, near: Float, spread: float, values: Sequence[float], noise: Float
    ) -> tuple[Float, Float]:
        """Simple kriging: the field at the pixels, and the share of its variance that is explained."""
        among = self._likeness(*self._positions(), self._covers())
        weights = np.linalg.solve(spread**2 * among + np.diag(noise), spread**2 * near)
        field: Float = np.asarray(values) @ weights
        return field, np.clip((near * weights).sum(axis=0), 0.0, 1.0)

    def _positions(self) -> tuple[Float, Float]:
        return np.array([p.longitude for p in self.probes]), np.array([p.latitude for p in self.probes])

    def _covers(self) -> NDArray[np.int64]:
        return np.array([p.land_cover for p in self.probes], dtype=np.int64)

    def _likeness(self, longitude: Float, latitude: Float, cover: NDArray[np.integer] | None) -> Float:
        """Correlation of the error at each probe with that at each pixel, shape (probes, n).

        The compact function of Wendland (1995) in the straight distance, which is exactly zero from the reach
        on, times a factor for another land cover.
        """
        here = _on_sphere(*self._positions())
        there = _on_sphere(longitude, latitude)
        apart = np.sqrt(np.maximum(2 * _EARTH_M**2 * (1 - here @ there.T), 0.0))
        share = np.minimum(apart / self.reach, 1.0)
        likeness: Float = (1 - share) ** 4 * (4 * share + 1)
        if cover is not None:
            mine, theirs = self._covers()[:, None], np.asarray(cover)[None, :]
            likeness[(mine != theirs) & (mine >= 0) & (theirs >= 0)] *= OTHER_COVER
        return likeness

    def to_json(self) -> dict[str, Any]:
        """As plain values, which `from_json` reads back to the same bits."""
        return {**asdict(self), "probes": [asdict(probe) for probe in self.probes]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Undo `to_json`."""
        return cls(**{**data, "probes": tuple(Probe(**probe) for probe in data["probes"])})


def _on_sphere(longitude: Float, latitude: Float) -> Float:
    """Points on the unit sphere, shape (n, 3)."""
    east, north = np.radians(longitude), np.radians(latitude)
    return np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=1)
