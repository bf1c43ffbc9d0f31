"""Random fields and smooth interpolation: the pencils that landscapes and clouds are drawn with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

__all__ = ["correlated_field", "generator", "spline_matrix", "standardised"]

Array = NDArray[np.float32]


def generator(seed: int, *purpose: int) -> np.random.Generator:
    """An independent stream of random numbers for each purpose of a seed."""
    return np.random.default_rng(np.random.SeedSequence([seed, *purpose]))


def standardised(values: Array) -> Array:
    """Values shifted and scaled to mean 0 and deviation 1."""
    mean, std = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    return ((values - np.float32(mean)) / np.float32(std or 1.0)).astype(np.float32)


def correlated_field(
    rng: np.random.Generator,
    shape: Sequence[int],
    step: float,
    longest: float,
    shortest: float = 0.0,
    slope: float = 1.8,
) -> Array:
    """A fractal Gaussian field by spectral synthesis, mean 0 and deviation 1.

    The amplitude falls as wavenumber to the power ``-slope`` (1.8 is a terrain of fractal dimension 2.2), is
    flat for waves longer than `longest` and dies out below `shortest`.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : sequence of int
        Rows and columns.
    step : float
        Pixel size; `longest` and `shortest` are in the same unit.
    longest, shortest : float
        Wavelengths between which the field has its fractal form.
    slope : float
        Steepness of the amplitude spectrum.

    Returns
    -------
    ndarray of float32
    """
    # A margin that is cut away hides that spectral fields join up at opposite edges.
    margin = int(min(max(shape) // 4, np.ceil(longest / step)))
    rows, cols = (fft.next_fast_len(n + margin, real=True) for n in shape)
    noise = rng.standard_normal((rows, cols), dtype=np.float32)
    spectrum = fft.rfft2(noise)
    spectrum *= _amplitude(rows, cols, step, longest, shortest, slope)
    return standardised(fft.irfft2(spectrum, s=(rows, cols))[: shape[0], : shape[1]])


@lru_cache(maxsize=4)
def _amplitude(rows: int, cols: int, step: float, longest: float, shortest: float, slope: float) -> Array:
    """Amplitude at every wavenumber; kept, since clouds ask for the same one every day."""
    ky, kx = np.fft.fftfreq(rows, step)[:, None], np.fft.rfftfreq(cols, step)[None, :]
    k = np.hypot(ky, kx)
    amplitude = np.maximum(k, 1.0 / longest) ** -slope * np.exp(-((k * shortest) ** 2))
    amplitude[0, 0] = 0.0
    return np.asarray((amplitude / amplitude.max()).astype(np.float32))


def spline_matrix(count: int, spacing: float) -> Array:
    """Weights that draw a smooth line of `count` pixels from values at nodes.

    Uniform cubic B-spline: weights are never negative and add up to 1, so a drawn field stays within its
    nodes' range, and it has no creases. Node ``j`` stands at pixel coordinate ``(j - 1) * spacing``, where
    pixel ``i`` reaches from ``i`` to ``i + 1``.

    Returns
    -------
    ndarray of float32, shape (count, nodes)
    """
    place = (np.arange(count) + 0.5) / spacing
    left = np.floor(place).astype(np.int64)
    t = place - left
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1
    )
    matrix = np.zeros((count, int(left[-1]) + 4), dtype=np.float32)
    np.put_along_axis(matrix, left[:, None] + np.arange(4), (weights / 6).astype(np.float32), axis=1)
    return matrix
