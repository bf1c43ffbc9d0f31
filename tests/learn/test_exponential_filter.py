"""The exponential filter against its sum, written out, and against pytesmo."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmnet_maps.learn.exponential_filter import exponential_filter

LENGTHS = (1, 7, 40)


def series(seed: int, count: int = 60) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Values with gaps, on days with gaps."""
    random = np.random.default_rng(seed)
    values = random.uniform(0.02, 0.5, count)
    values[random.random(count) < 0.2] = np.nan
    return values, np.cumsum(random.integers(1, 9, count))


@given(st.integers(0, 2**32 - 1))
def test_it_is_the_weighted_mean_of_all_values_so_far(seed: int) -> None:
    values, days = series(seed)
    found = exponential_filter(values, days, LENGTHS)
    for n in range(len(values)):
        for k, length in enumerate(LENGTHS):
            weighted, weights = 0.0, 0.0
            for i in range(n + 1):
                if np.isfinite(values[i]):
                    weight = np.exp(-(days[n] - days[i]) / length)
                    weighted, weights = weighted + weight * values[i], weights + weight
            if np.isfinite(values[n]):
                assert found[n, k] == pytest.approx(weighted / weights, abs=1e-12)
            else:
                assert np.isnan(found[n, k])


def test_it_equals_pytesmo() -> None:
    filters = pytest.importorskip("pytesmo.time_series.filters")
    for seed in range(20):
        values, days = series(seed, 400)
        found = exponential_filter(values, days, LENGTHS)
        for k, length in enumerate(LENGTHS):
            theirs = filters.exp_filter(values, days.astype(np.float64), ctime=length)
            np.testing.assert_allclose(found[:, k], theirs, rtol=0, atol=1e-6)


def test_nothing_gives_nothing() -> None:
    assert np.isnan(exponential_filter(np.full(3, np.nan), np.arange(3), (5.0,))).all()
    assert exponential_filter(np.empty(0), np.empty(0, dtype=np.int64), (5.0,)).shape == (0, 1)
