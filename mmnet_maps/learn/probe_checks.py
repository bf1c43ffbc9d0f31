"""Checks of a probe's record before it may say anything about a model.

Rules of the International Soil Moisture Network (Dorigo et al. 2013, Vadose Zone J.), for daily means:
physical range, spikes, and values that do not move.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["check_probe"]

#: No soil holds more water than its pores; 0.65 is a peat.
_RANGE = (0.0, 0.65)
#: A spike differs from both neighbours by more than this share of itself, in the same direction.
_SPIKE = 0.15
_SPIKE_LEAST = 0.02
#: Days without any change after which a sensor counts as stuck: a dry soil still moves in ten days.
_STUCK_DAYS = 10


def check_probe(days: NDArray[np.integer], value: NDArray[np.floating]) -> dict[str, NDArray[np.bool_]]:
    """Days of a probe that are not to be used, by reason.

    Parameters
    ----------
    days : ndarray of int, shape (n,)
        Days since 1970-01-01, increasing.
    value : ndarray, shape (n,)
        Daily mean soil moisture, m3 m-3; missing is NaN.

    Returns
    -------
    dict of str to ndarray of bool, shape (n,)
        ``out of range``, ``spike`` and ``stuck``.

    Examples
    --------
    >>> days = np.arange(5)
    >>> {k: int(v.sum()) for k, v in check_probe(days, np.array([0.2, 0.21, 0.9, 0.2, 0.21])).items()}
    {'out of range': 1, 'spike': 0, 'stuck': 0}
    """
    found = np.asarray(value, dtype=np.float64)
    known = np.isfinite(found)
    beyond = known & ((found < _RANGE[0]) | (found > _RANGE[1]))
    usable = np.where(beyond, np.nan, found)
    return {
        "out of range": beyond,
        "spike": _spikes(np.asarray(days), usable),
        "stuck": _stuck(np.asarray(days), usable),
    }


def _spikes(days: NDArray[np.integer], value: NDArray[np.float64]) -> NDArray[np.bool_]:
    spike = np.zeros(len(value), dtype=np.bool_)
    if len(value) < 3:
        return spike
    before, after = value[1:-1] - value[:-2], value[1:-1] - value[2:]
    least = np.maximum(_SPIKE * np.abs(value[1:-1]), _SPIKE_LEAST)
    near = (np.diff(days)[:-1] == 1) & (np.diff(days)[1:] == 1)
    # A wetting front rises in a day and drains over days; what rises and falls back within one day is none.
    back = np.abs(value[2:] - value[:-2]) < 0.3 * np.minimum(np.abs(before), np.abs(after))
    same_side = before * after > 0
    spike[1:-1] = near & same_side & back & (np.abs(before) > least) & (np.abs(after) > least)
    return spike


def _stuck(days: NDArray[np.integer], value: NDArray[np.float64]) -> NDArray[np.bool_]:
    stuck = np.zeros(len(value), dtype=np.bool_)
    start = 0
    for row in range(1, len(value) + 1):
        if row < len(value) and value[row] == value[start]:
            continue
        if np.isfinite(value[start]) and days[row - 1] - days[start] + 1 >= _STUCK_DAYS and row - start > 1:
            stuck[start:row] = True
        start = row
    return stuck
