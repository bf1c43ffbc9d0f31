"""Percentiles of a season against NumPy and SciPy, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, percentileofscore

from mmnet_maps.produce.climate.season import LEAST_YEARS, NO_CLASS, Season


@pytest.fixture
def values() -> np.ndarray:
    rng = np.random.default_rng(3)
    found = rng.gamma(4, 0.05, (6, 31, 20)).round(2).astype(np.float32)
    found[rng.random(found.shape) < 0.2] = np.nan
    found[:, :, 7] = np.nan
    found[3:, :, 8] = np.nan
    return found


def test_percentile_quantile_and_anomaly_are_those_of_numpy_and_scipy(values: np.ndarray) -> None:
    season, value = Season.of(values), np.nan_to_num(values[0, 3], nan=0.2)
    value[3] = np.nan
    rank, low, apart = season.percentile(value), season.quantile(20.0), season.anomaly(value)
    for pixel in range(20):
        sample = values[:, :, pixel].ravel()
        sample = sample[np.isfinite(sample)]
        if not sample.size or not np.isfinite(value[pixel]):
            assert np.isnan(rank[pixel])
            continue
        assert rank[pixel] == pytest.approx(percentileofscore(sample, value[pixel], kind="mean"), abs=1e-4)
        assert low[pixel] == pytest.approx(np.quantile(sample.astype(float), 0.2), abs=1e-6)
        assert apart[pixel] == pytest.approx(value[pixel] - sample.astype(float).mean(), abs=1e-6)


def test_classes_are_those_of_the_drought_monitor(values: np.ndarray) -> None:
    season = Season.of(np.nan_to_num(values, nan=0.2))
    percentile = np.array(
        [1, 2, 2.1, 5, 7, 10, 15, 20, 25, 30, 30.1, 99, np.nan] + [50] * 7, dtype=np.float32
    )
    expected = [5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0, NO_CLASS]
    assert season.drought(percentile)[:13].tolist() == expected


def test_few_years_give_a_percentile_and_no_class(values: np.ndarray) -> None:
    season = Season.of(values)
    assert season.years[8] == 3 < LEAST_YEARS
    value = np.full(20, 0.2, dtype=np.float32)
    rank = season.percentile(value)
    assert np.isfinite(rank[8]) and season.drought(rank)[8] == NO_CLASS
    assert np.isnan(season.chance_of_dry(value, value - 0.1, value + 0.1)[8])


def test_the_chance_is_that_of_a_normal_distribution(values: np.ndarray) -> None:
    season = Season.of(np.nan_to_num(values, nan=0.2))
    value = np.full(20, 0.15, dtype=np.float32)
    chance = season.chance_of_dry(value, value - 0.08, value + 0.08)
    deviation = 0.16 / (2 * norm.ppf(0.95))
    assert chance[0] == pytest.approx(100 * norm.cdf((season.quantile(20.0)[0] - 0.15) / deviation), rel=1e-4)
