"""The baselines agree with the libraries that they stand for, before and after storage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge as SkRidge

from mmnet_maps.errors import InputError
from mmnet_maps.learn.models.baselines import BASELINES, BaselineConfig, fit_baseline, load_baseline

RNG = np.random.default_rng(0)
COLUMNS = RNG.normal(size=(400, 6)).astype(np.float32)
TARGET = (0.3 * COLUMNS[:, 0] + np.abs(COLUMNS[:, 1]) + RNG.normal(0, 0.1, 400)).astype(np.float64)
CONFIG = BaselineConfig(trees=12, rounds=60, patience=5)


def test_ridge_is_scikit_learns() -> None:
    ours = fit_baseline("ridge", COLUMNS, TARGET, None, CONFIG, 1)
    theirs = SkRidge(alpha=1.0).fit(COLUMNS.astype(np.float64), TARGET)
    np.testing.assert_allclose(ours.predict(COLUMNS), theirs.predict(COLUMNS), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("leaf", "depth"), [(1, None), (5, 3), (400, None)])
def test_forests_in_earlier_bundles_predict_as_scikit_learn_does(leaf: int, depth: int | None) -> None:
    forest = RandomForestRegressor(8, min_samples_leaf=leaf, max_depth=depth, random_state=2)
    forest.fit(COLUMNS, TARGET)
    unseen = np.random.default_rng(1).normal(size=(20_000, 6)).astype(np.float32)
    earlier = load_baseline("forest", as_earlier_versions_stored_it(forest))
    np.testing.assert_allclose(earlier.predict(unseen), forest.predict(unseen), rtol=1e-6)
    assert earlier.predict(unseen).dtype == np.float32


def as_earlier_versions_stored_it(forest: RandomForestRegressor) -> dict[str, NDArray[Any]]:
    trees = [estimator.tree_ for estimator in forest.estimators_]
    root = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
    left, right = [], []
    for first, tree in zip(root, trees, strict=True):
        here = np.arange(tree.node_count)
        left.append(first + np.where(tree.children_left < 0, here, tree.children_left))
        right.append(first + np.where(tree.children_right < 0, here, tree.children_right))
    return {
        "root": root.astype(np.int32),
        "left": np.concatenate(left).astype(np.int32),
        "right": np.concatenate(right).astype(np.int32),
        "feature": np.concatenate([np.maximum(tree.feature, 0) for tree in trees]).astype(np.int32),
        "threshold": np.concatenate([tree.threshold for tree in trees]),
        "value": np.concatenate([tree.value[:, 0, 0] for tree in trees]),
        "depth": np.array([max(int(tree.max_depth) for tree in trees)], dtype=np.int32),
    }


def test_a_forest_is_as_good_as_scikit_learns() -> None:
    rng = np.random.default_rng(3)
    columns = rng.normal(size=(1500, 6)).astype(np.float32)
    target = 0.3 * columns[:, 0] + np.abs(columns[:, 1]) + rng.normal(0, 0.1, 1500)
    config = BaselineConfig(trees=40)
    ours = fit_baseline("forest", columns[:1000], target[:1000], None, config, 1)
    theirs = RandomForestRegressor(40, min_samples_leaf=5, max_features=0.33, random_state=1)
    theirs.fit(columns[:1000], target[:1000])
    error, other = (np.std(m.predict(columns[1000:]) - target[1000:]) for m in (ours, theirs))
    assert error < 1.05 * other


@pytest.mark.parametrize("kind", BASELINES)
def test_a_stored_baseline_predicts_the_same_bits(kind: str) -> None:
    held = COLUMNS[300:], TARGET[300:]
    fitted = fit_baseline(kind, COLUMNS[:300], TARGET[:300], held, CONFIG, 1)
    again = load_baseline(kind, fitted.arrays())
    np.testing.assert_array_equal(fitted.predict(COLUMNS), again.predict(COLUMNS))
    assert fitted.predict(COLUMNS).dtype == np.float32
    assert np.corrcoef(fitted.predict(COLUMNS[300:]), TARGET[300:])[0, 1] > 0.3


@pytest.mark.parametrize("kind", BASELINES)
def test_the_same_seed_gives_the_same_model(kind: str) -> None:
    first, second = (fit_baseline(kind, COLUMNS, TARGET, None, CONFIG, 4).arrays() for _ in range(2))
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])


def test_an_unknown_baseline_is_named() -> None:
    with pytest.raises(InputError, match="baseline svm"):
        fit_baseline("svm", COLUMNS, TARGET, None, CONFIG, 1)
