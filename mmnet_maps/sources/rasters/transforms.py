"""What becomes of a file's values before they are stored: linear power to decibel, smoothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from mmnet_maps.packing import Packing
from mmnet_maps.source_reader import VariableConfig
from mmnet_maps.sources.rasters.formats import Band
from mmnet_maps.sources.rasters.granules import settled

__all__ = ["LEVEL", "changes", "changed", "smoothed"]

#: How a level in decibel is stored.
LEVEL = Packing(dtype="int16", scale=0.01, missing=-32768)
#: Physical values, NaN where missing.
_PLAIN = Packing(dtype="float32")
#: Standard deviation of the smoothing kernel, in pixels.
_SIGMA = 1.0


def changes(keys: VariableConfig) -> bool:
    """Whether a variable is not stored as its files have it."""
    return keys.decibel or keys.smooth is not None


def changed(
    stored: NDArray[Any], band: Band, own: Packing, packing: Packing, keys: VariableConfig, bad: Any
) -> NDArray[Any]:
    """Values as they are stored in a cube.

    Parameters
    ----------
    stored : ndarray, shape (steps, rows, columns)
        As the file has them.
    band : Band
    own, packing : Packing
        Storage of the file, and of the result.
    keys : VariableConfig
    bad : ndarray of bool, or False
        Pixels that flags take away.
    """
    values = settled(stored, band, own, _PLAIN, bad).astype(np.float64)
    if keys.decibel:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(values > 0, 10 * np.log10(values), np.nan)
    if keys.valid_range is not None:
        low, high = keys.valid_range
        values = np.where((values < low) | (values > high), np.nan, values)
    if keys.smooth is not None:
        values = np.stack([smoothed(field, keys.smooth) for field in values])
    return packing.encode(values)


def smoothed(values: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Mean weighted by a Gaussian over the pixels that are there; a missing pixel stays missing.

    Parameters
    ----------
    values : ndarray of float64, shape (rows, columns)
        NaN is missing.
    radius : int
        The kernel has 2 x radius + 1 pixels a side.
    """
    line = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * _SIGMA**2))
    there = ~np.isnan(values)
    total, weight = np.where(there, values, 0.0), there.astype(np.float64)
    for axis in (0, 1):
        total = correlate1d(total, line, axis=axis, mode="constant")
        weight = correlate1d(weight, line, axis=axis, mode="constant")
    return np.where(there, total / np.where(there, weight, 1.0), np.nan)
