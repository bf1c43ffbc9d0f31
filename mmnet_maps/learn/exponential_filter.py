"""Soil moisture of the root zone from that of the surface: the exponential filter, a baseline for depths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["exponential_filter"]


def exponential_filter(
    values: NDArray[np.floating], days: NDArray[np.integer], lengths: Sequence[float]
) -> NDArray[np.float64]:
    r"""Mean of the values up to each day, older ones weighing less: the soil water index.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Of the surface; NaN where missing.
    days : ndarray of int, shape (n,)
        Ascending.
    lengths : sequence of float, length k
        Characteristic times, in days.

    Returns
    -------
    ndarray of float64, shape (n, k)
        For each length; NaN where the day has no value.

    Notes
    -----
    :math:`\sum_{i \le n} x_i e^{-(t_n - t_i)/T} / \sum_{i \le n} e^{-(t_n - t_i)/T}` (Wagner et al. 1999,
    Remote Sensing of Environment 70, 191-207), in the recursive form of Albergel et al. (2008, Hydrology and
    Earth System Sciences 12, 1323-1337): the gain :math:`K_n = K_{n-1} / (K_{n-1} + e^{-(t_n - t_{n-1})/T})`
    starts at 1.

    Examples
    --------
    >>> exponential_filter(np.array([0.1, 0.3, 0.2]), np.array([0, 1, 4]), [1.0, 10.0]).round(4).tolist()
    [[0.1, 0.1], [0.2462, 0.205], [0.2029, 0.2029]]
    """
    times = np.asarray(lengths, dtype=np.float64)
    out = np.full((len(values), len(times)), np.nan)
    known = np.flatnonzero(np.isfinite(values))
    gain, state = np.ones_like(times), np.zeros_like(times)
    for at, before in zip(known, np.concatenate([known[:1], known[:-1]]), strict=True):
        if at != before:
            gain = gain / (gain + np.exp(-(float(days[at]) - float(days[before])) / times))
        state = state + gain * (float(values[at]) - state)
        out[at] = state
    return out
