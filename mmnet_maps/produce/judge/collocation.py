"""Errors of three products without a truth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.errors import InputError

__all__ = ["triple_collocation"]

_LEAST_DAYS = 30


def triple_collocation(
    values: NDArray[np.floating], names: tuple[str, str, str]
) -> dict[str, dict[str, Any]]:
    """Extended triple collocation (McColl et al. 2014, Geophys. Res. Lett.).

    Parameters
    ----------
    values : ndarray, shape (n, 3)
        Three estimates of the same quantity whose errors are independent of each other and of the truth;
        rows with a missing value are left out.
    names : tuple of str

    Returns
    -------
    dict of str to dict
        By name: ``error``, the standard deviation of the random error, in units of that product; ``corr``,
        the correlation with the truth. None where a covariance has the wrong sign: the three do not share a
        signal.

    Raises
    ------
    InputError
        Fewer than 30 rows are complete.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> truth = rng.normal(0, 1, 100_000)
    >>> seen = np.stack([truth + rng.normal(0, s, truth.size) for s in (0.1, 0.3, 0.5)], axis=1)
    >>> found = triple_collocation(seen, ("a", "b", "c"))
    >>> [round(found[name]["error"], 1) for name in found]
    [0.1, 0.3, 0.5]
    """
    complete = np.asarray(values, dtype=np.float64)[np.isfinite(values).all(axis=1)]
    if len(complete) < _LEAST_DAYS:
        raise InputError(
            f"triple collocation of {', '.join(names)}: {len(complete)} station-days have all three, "
            f"{_LEAST_DAYS} are needed"
        )
    q = np.cov(complete, rowvar=False)
    found = {}
    for k, name in enumerate(names):
        i, j = (other for other in range(3) if other != k)
        signal = q[k, i] * q[k, j] / q[i, j] if q[i, j] else np.nan
        usable = np.isfinite(signal) and 0 < signal <= q[k, k]
        found[name] = {
            "error": float(np.sqrt(q[k, k] - signal)) if usable else None,
            "corr": float(np.sqrt(signal / q[k, k])) if usable else None,
        }
    return found
