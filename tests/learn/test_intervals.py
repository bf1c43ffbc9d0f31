"""Conformal intervals cover what they promise; the envelope knows its range."""

from __future__ import annotations

import numpy as np
import pytest

from mmnet_maps.learn.intervals import Envelope, IntervalTable
from mmnet_maps.learn.model_input import ModelInput


def _world(seed: int, stations: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Station offsets, an error that grows with the prediction, and a skewed tail."""
    rng = np.random.default_rng(seed)
    station = np.repeat(np.arange(stations), rows)
    predicted = rng.uniform(0.1, 0.5, stations * rows)
    error = rng.normal(0, 0.03, stations)[station] + predicted * rng.gamma(1.0, 0.1, len(station))
    return predicted + error, predicted, station


def test_new_stations_are_covered_as_promised() -> None:
    covered = []
    for seed in range(20):
        observed, predicted, station = _world(seed, 140, 40)
        known = station < 100
        table = IntervalTable.calibrate(observed[known], predicted[known], station[known])
        assert table is not None
        low, high = table(predicted[~known].astype(np.float32))
        inside = (observed[~known] >= low) & (observed[~known] <= high)
        covered.append(inside.mean())
    assert 0.88 < np.mean(covered) < 0.92


def test_the_interval_follows_the_size_and_the_skew_of_the_error() -> None:
    observed, predicted, station = _world(0, 200, 60)
    table = IntervalTable.calibrate(observed, predicted, station)
    assert table is not None
    assert len(table.centre) > 3
    assert (np.diff(table.centre) > 0).all()
    assert table.upper[-1] > 1.5 * table.upper[0]
    assert (table.upper > -table.lower).all()


def test_ends_stay_between_0_and_1_and_missing_stays_missing() -> None:
    observed, predicted, station = _world(0, 30, 40)
    table = IntervalTable.calibrate(observed, predicted, station)
    assert table is not None
    low, high = table(np.array([[-0.2, 0.0, 0.3], [0.99, 1.3, np.nan]], dtype=np.float32))
    assert low.dtype == high.dtype == np.float32
    assert np.isnan(low[1, 2])
    assert np.isnan(high[1, 2])
    for end in (low, high):
        assert np.nanmin(end) >= 0
        assert np.nanmax(end) <= 1
    assert low[0, 2] <= 0.3 <= high[0, 2]


def test_every_station_weighs_the_same() -> None:
    # One station with a thousand rows and a large error, thirty with thirty rows and none.
    station = np.r_[np.zeros(1000), np.repeat(np.arange(1, 31), 30)]
    predicted = np.full(1900, 0.3)
    observed = predicted + np.where(station == 0, 0.2, 0.01)
    table = IntervalTable.calibrate(observed, predicted, station, nominal=0.8)
    assert table is not None
    assert table.upper.max() == pytest.approx(0.01)


def test_few_stations_fall_back_on_the_largest_residual() -> None:
    predicted, station = np.full(10, 0.3), np.arange(10)
    observed = predicted + np.linspace(-0.1, 0.2, 10)
    table = IntervalTable.calibrate(observed, predicted, station)
    assert table is not None
    assert (table.lower[0], table.upper[0]) == (pytest.approx(-0.1), pytest.approx(0.2))


def test_without_a_usable_row_there_is_no_table() -> None:
    assert IntervalTable.calibrate(np.array([np.nan]), np.array([0.1]), np.array([1])) is None


def test_json_brings_the_same_table_back() -> None:
    table = IntervalTable.calibrate(*_world(1, 60, 30))
    assert table is not None
    value = np.linspace(0, 1, 77, dtype=np.float32)
    again = IntervalTable.from_json(table.to_json())
    np.testing.assert_array_equal(again(value), table(value))


def test_the_envelope_counts_what_leaves_the_training_range() -> None:
    rng = np.random.default_rng(0)
    snapshot = rng.uniform(0, 1, (5000, 3)).astype(np.float32)
    snapshot[:, 2] = 0  # a class that never occurs
    train = ModelInput(snapshot, rng.uniform(-1, 1, (5000, 2, 4)).astype(np.float32))
    envelope = Envelope.fit(train)
    assert (envelope.outside(train) == 0).mean() > 0.99
    tested = train.rows(np.arange(4))
    tested.snapshot[0] = (0.5, 0.5, 1)
    tested.snapshot[1, 0] = 1.5
    tested.series[1, 1, 2] = -1.5
    tested.snapshot[2, 1] = np.nan
    assert envelope.outside(tested).tolist() == [1, 2, 0, 0]
    again = Envelope.from_json(envelope.to_json())
    np.testing.assert_array_equal(again.outside(tested), envelope.outside(tested))
