"""Rows divided by their stations, where something is measured against other stations than its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FOLDS", "station_folds"]

#: Parts of the stations.
FOLDS = 5


def station_folds(station: NDArray[Any], count: int = FOLDS) -> NDArray[np.int64]:
    """Fold of each row: stations in `count` parts, all 0 where there is one station."""
    names, index = np.unique(station, return_inverse=True)
    shuffled = np.random.default_rng(1).permutation(len(names))
    return shuffled[index] % min(count, len(names))
