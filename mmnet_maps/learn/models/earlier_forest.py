"""Random forests in bundles of versions that grew them with scikit-learn: read and evaluated, not made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.errors import InputError

__all__ = ["EarlierForest"]

_BLOCK = 16384


class EarlierForest:
    """Regression trees, their nodes in one row.

    Parameters
    ----------
    stored : mapping of str to ndarray
        ``root`` (trees,): first node of each tree. ``left`` and ``right`` (nodes,): where to go when the
        feature is at most the threshold, and when not; a leaf leads to itself. ``feature``, ``threshold``,
        ``value`` (nodes,). ``depth`` (1,): steps after which every row has reached its leaf.
    """

    explained_by: ClassVar[str] = "permutation"

    def __init__(self, stored: Mapping[str, NDArray[Any]]) -> None:
        self.stored = dict(stored)

    @classmethod
    def load(cls, stored: Mapping[str, NDArray[Any]]) -> Self:
        """Undo `arrays`."""
        return cls(stored)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The nodes of all trees."""
        return self.stored

    def contributions(self, columns: Any, compared: Any) -> tuple[NDArray[np.float64], float]:
        """There are none: it is explained by shuffling."""
        raise InputError("there are no contributions of a forest of an earlier version")

    def predict(self, columns: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean over the trees, shape (n, k) to (n,)."""
        blocks = [columns[start : start + _BLOCK] for start in range(0, len(columns), _BLOCK)]
        return np.concatenate([np.empty(0), *map(self._predict, blocks)]).astype(np.float32)

    def _predict(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        nodes, rows = self.stored, np.arange(len(block))
        total = np.zeros(len(block))
        for root in nodes["root"]:
            node = np.full(len(block), root, dtype=np.int32)
            for _ in range(int(nodes["depth"][0])):
                goes_left = block[rows, nodes["feature"][node]] <= nodes["threshold"][node]
                node = np.where(goes_left, nodes["left"][node], nodes["right"][node])
            total += nodes["value"][node]
        return total / len(nodes["root"])
