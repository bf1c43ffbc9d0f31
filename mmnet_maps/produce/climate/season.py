"""Percentile, anomaly, drought class and the chance of a dry soil, from the values of a season."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

__all__ = ["DROUGHT", "DRY", "LEAST_YEARS", "NO_CLASS", "Season"]

#: Upper percentile of each class of the U.S. Drought Monitor: D0 abnormally dry to D4 exceptional drought.
DROUGHT = {"D0": 30.0, "D1": 20.0, "D2": 10.0, "D3": 5.0, "D4": 2.0}
#: Percentile below which a soil is called dry.
DRY = 20.0
#: With fewer years a percentile is given and a class is not.
LEAST_YEARS = 5
#: Class of a pixel that has none; classes are 0 (no drought), 1 (D0) to 5 (D4).
NO_CLASS = 255
_DEVIATIONS = 2 * 1.6448536269514722


@dataclass(frozen=True)
class Season:
    """Values of one part of the year over all years, at some pixels.

    Attributes
    ----------
    ordered : ndarray of float32, shape (n, m)
        Sorted along the last axis, missing values last.
    count : ndarray of int64, shape (n,)
        Values of each pixel.
    years : ndarray of uint8, shape (n,)
        Years with a value.
    """

    ordered: NDArray[np.float32]
    count: NDArray[np.int64]
    years: NDArray[np.uint8]

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> Season:
        """From values of shape (years, days, n); missing is NaN."""
        years, days, pixels = values.shape
        known = np.isfinite(values)
        flat = np.ascontiguousarray(values.reshape(years * days, pixels).T)
        return cls(
            np.sort(flat, axis=1),
            known.sum(axis=(0, 1), dtype=np.int64),
            known.any(axis=1).sum(axis=0).astype(np.uint8),
        )

    def percentile(self, value: NDArray[np.float32]) -> NDArray[np.float32]:
        """Share of the season below a value, in percent; half of what is equal counts as below.

        Parameters
        ----------
        value : ndarray of float32, shape (n,)

        Returns
        -------
        ndarray of float32, shape (n,)
            NaN where the value or the whole season is missing.
        """
        # Comparisons with NaN are false, so that missing values count on neither side.
        below = (self.ordered < value[:, None]).sum(axis=1)
        equal = (self.ordered == value[:, None]).sum(axis=1)
        known = np.isfinite(value) & (self.count > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            rank = 100.0 * (below + 0.5 * equal) / self.count
        return np.where(known, rank, np.nan).astype(np.float32)

    def quantile(self, percent: float) -> NDArray[np.float32]:
        """The value at a percentile, linear between neighbours as `numpy.quantile`, shape (n,)."""
        at = np.maximum(self.count - 1, 0) * (percent / 100.0)
        low = np.floor(at).astype(np.int64)
        high = np.minimum(low + 1, np.maximum(self.count - 1, 0))
        rows = np.arange(len(self.count))
        first, second = self.ordered[rows, low], self.ordered[rows, high]
        return (first + (second - first) * (at - low)).astype(np.float32)

    def anomaly(self, value: NDArray[np.float32]) -> NDArray[np.float32]:
        """A value less the mean of the season, m3 m-3, shape (n,)."""
        total = np.nansum(self.ordered, axis=1, dtype=np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            return (value - total / self.count).astype(np.float32)

    def drought(self, percentile: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Class by percentile: 0 none, 1 (D0) to 5 (D4); `NO_CLASS` with fewer than `LEAST_YEARS` years."""
        limits = np.array(sorted(DROUGHT.values()))
        found = (len(limits) - np.searchsorted(limits, percentile, side="left")).astype(np.uint8)
        unknown = ~np.isfinite(percentile) | (self.years < LEAST_YEARS)
        return np.where(unknown, np.uint8(NO_CLASS), found)

    def chance_of_dry(
        self, value: NDArray[np.float32], lower: NDArray[np.float32], upper: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Chance in percent that the true value lies below the 20th percentile of the season's estimates.

        The 90 % interval is read as that of a normal distribution around its middle.
        """
        deviation = np.maximum((upper - lower) / _DEVIATIONS, 1e-6)
        middle = (upper + lower) / 2
        chance = 100.0 * ndtr((self.quantile(DRY) - middle) / deviation)
        known = np.isfinite(value) & (self.years >= LEAST_YEARS)
        return np.where(known, chance, np.nan).astype(np.float32)
