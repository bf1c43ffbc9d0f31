"""A fitted random forest as plain arrays: stored without pickle, predicted without scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestRegressor

__all__ = ["Trees"]

_BLOCK = 16384


@dataclass(frozen=True)
class Trees:
    """Regression trees of one forest, their nodes in one row.

    Attributes
    ----------
    root : ndarray of int32, shape (trees,)
        First node of each tree.
    left, right : ndarray of int32, shape (nodes,)
        Where to go when the feature is at most the threshold, and when not; a leaf leads to itself.
    feature : ndarray of int32, shape (nodes,)
    threshold, value : ndarray of float64, shape (nodes,)
    depth : int
        Steps after which every row has reached its leaf.
    """

    root: NDArray[np.int32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    value: NDArray[np.float64]
    depth: int

    @classmethod
    def from_forest(cls, forest: RandomForestRegressor) -> Self:
        """Copy the nodes of a fitted scikit-learn forest."""
        trees = [estimator.tree_ for estimator in forest.estimators_]
        root = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
        left, right = [], []
        for first, tree in zip(root, trees, strict=True):
            here = np.arange(tree.node_count)
            left.append(first + np.where(tree.children_left < 0, here, tree.children_left))
            right.append(first + np.where(tree.children_right < 0, here, tree.children_right))
        return cls(
            root.astype(np.int32),
            np.concatenate(left).astype(np.int32),
            np.concatenate(right).astype(np.int32),
            np.concatenate([np.maximum(tree.feature, 0) for tree in trees]).astype(np.int32),
            np.concatenate([tree.threshold for tree in trees]).astype(np.float64),
            np.concatenate([tree.value[:, 0, 0] for tree in trees]).astype(np.float64),
            max(int(tree.max_depth) for tree in trees),
        )

    def predict(self, columns: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean over the trees, shape (n, k) to (n,)."""
        out = np.empty(len(columns))
        for start in range(0, len(columns), _BLOCK):
            block = columns[start : start + _BLOCK]
            out[start : start + _BLOCK] = self._predict_block(block)
        return out

    def _predict_block(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        rows = np.arange(len(block))
        total = np.zeros(len(block))
        for root in self.root:
            node = np.full(len(block), root, dtype=np.int32)
            for _ in range(self.depth):
                goes_left = block[rows, self.feature[node]] <= self.threshold[node]
                following = np.where(goes_left, self.left[node], self.right[node])
                if (following == node).all():
                    break
                node = following
            total += self.value[node]
        return total / len(self.root)
