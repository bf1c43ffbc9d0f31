"""Anomalies: the seasonal cycle equals a plain computation, and needs enough data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mmnet_maps.learn.anomalies import MIN_VALUES, anomaly_scores, climatology


def _days(first: str, last: str) -> np.ndarray:
    return np.arange(np.datetime64(first), np.datetime64(last) + 1).astype(np.int64)


def _plain_cycle(values: np.ndarray, day: np.ndarray) -> np.ndarray:
    """For each row, the mean over the rows whose calendar date is within 15 days, in a leap year of 366."""
    stamps = pd.to_datetime(day.astype("datetime64[D]"))
    slot = np.array([pd.Timestamp(2020, s.month, s.day).dayofyear - 1 for s in stamps])
    out = np.full(len(values), np.nan)
    for k in range(len(values)):
        apart = np.abs(slot - slot[k])
        near = np.minimum(apart, 366 - apart) <= 15
        if near.sum() >= MIN_VALUES and len(set(stamps.year[near])) >= 2:
            out[k] = values[near].mean()
    return out


def test_the_cycle_equals_a_plain_computation_of_every_station() -> None:
    random = np.random.default_rng(0)
    day = _days("2019-09-01", "2021-06-30")
    codes, days, values, expected = [], [], [], []
    for code in range(2):
        kept = day[random.random(len(day)) < 0.5]
        of_station = random.uniform(0, 0.5, len(kept))
        codes.append(np.full(len(kept), code))
        days.append(kept)
        values.append(of_station)
        expected.append(_plain_cycle(of_station, kept))
    found = climatology(np.concatenate(values), np.concatenate(codes), np.concatenate(days), 2)
    wanted = np.concatenate(expected)
    assert np.isnan(wanted).any() and np.isfinite(wanted).any()
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_one_year_has_no_climatology() -> None:
    day = _days("2020-01-01", "2020-12-31")
    assert np.isnan(climatology(np.ones(len(day)), np.zeros(len(day), dtype=int), day, 1)).all()
    found = anomaly_scores(np.ones(len(day)), np.ones(len(day)), np.zeros(len(day)), day)
    assert found["rows_without_climatology"] == len(day) and found["overall"]["n"] == 0
    assert found["overall"]["corr"] is None and found["stations"]["count"] == 0


def test_a_shared_season_is_no_skill_and_shared_rains_are() -> None:
    random = np.random.default_rng(1)
    day = np.tile(_days("2018-01-01", "2021-12-31"), 2)
    station = np.repeat(["a", "b"], len(day) // 2)
    season = 0.25 + 0.15 * np.cos(2 * np.pi * day / 365.25)
    rain = random.normal(0, 0.02, len(day))
    observed = season + rain
    by_season = anomaly_scores(observed, season + random.normal(0, 0.02, len(day)), station, day)
    by_rain = anomaly_scores(observed, 0.25 - season + rain, station, day)
    assert abs(by_season["stations"]["median"]["corr"]) < 0.06
    assert by_rain["overall"]["corr"] > 0.99
    assert by_rain["overall"]["ubrmse"] < 0.003


def test_anomaly_scores_agree_with_an_independent_computation() -> None:
    random = np.random.default_rng(2)
    day = _days("2019-01-01", "2020-12-31")
    observed, predicted = random.uniform(0, 0.5, (2, len(day)))
    predicted[::7] = np.nan
    use = np.isfinite(predicted)
    a, b = (v[use] - _plain_cycle(v[use], day[use]) for v in (observed, predicted))
    found = anomaly_scores(observed, predicted, np.zeros(len(day)), day)["overall"]
    assert found["corr"] == pytest.approx(stats.pearsonr(a, b).statistic, abs=1e-9)
    assert found["spearman"] == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-9)
    assert found["ubrmse"] == pytest.approx(np.std(a - b), abs=1e-9)
    assert found["n"] == use.sum()
