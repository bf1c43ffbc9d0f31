"""Quality bits, limits of the training range, and stored values with their interval."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmnet_maps.bench.made_up import made_up_bundle, made_up_inputs
from mmnet_maps.catalogue import LAND_COVER_CLASSES, published_catalogue
from mmnet_maps.learn.intervals import IntervalTable
from mmnet_maps.produce.tile.trust import (
    FLAGS,
    MISSING,
    MISSING_REASONS,
    NOT_COMPUTED,
    SOIL_MOISTURE,
    IntervalCodes,
    Limits,
    finish,
    freezing_point,
    land_cover_outside,
)

TABLE = IntervalTable(
    np.array([0.1, 0.2, 0.4]), np.array([-0.05, -0.08, -0.03]), np.array([0.02, 0.1, 0.2]), 0.9, 1000, 30
)


def test_every_flag_has_a_bit_of_its_own_and_a_name_of_one_word() -> None:
    assert sorted(FLAGS.values()) == [1 << bit for bit in range(len(FLAGS))]
    assert FLAGS["not_computed"] == NOT_COMPUTED
    assert not any(" " in name for name in FLAGS)


@given(
    arrays(np.float32, (3, 40), elements=st.floats(-0.5, 1.5, width=32) | st.just(np.nan) | st.just(np.inf))
)
def test_every_value_is_stored_with_its_interval_or_has_a_reason(prediction: np.ndarray) -> None:
    quality = np.zeros((3, 40), dtype=np.int32)
    codes, lower, upper = finish(prediction, quality, IntervalCodes(TABLE, (0.0, 1.0)))
    missing = ~np.isfinite(prediction)
    np.testing.assert_array_equal(codes == MISSING, missing)
    np.testing.assert_array_equal((quality & MISSING_REASONS) != 0, missing)
    values = SOIL_MOISTURE.decode(codes)
    clipped = np.clip(prediction, 0, 1)
    np.testing.assert_allclose(values[~missing], clipped[~missing], rtol=0, atol=5.1e-5)
    beyond = ~missing & ((prediction < 0) | (prediction > 1))
    np.testing.assert_array_equal((quality & FLAGS["clipped"]) != 0, beyond)
    expected = TABLE(values)
    for found, wanted in zip((lower, upper), expected, strict=True):
        np.testing.assert_allclose(
            SOIL_MOISTURE.decode(found)[~missing], wanted[~missing], rtol=0, atol=5.1e-5
        )
        assert (found[missing] == MISSING).all()


def test_a_reason_that_is_known_stays_alone() -> None:
    quality = np.full((1, 2), FLAGS["series_missing"], dtype=np.int32)
    finish(np.array([[np.nan, np.nan]], dtype=np.float32), quality, IntervalCodes(TABLE, (0.0, 1.0)))
    assert (quality == FLAGS["series_missing"]).all()


def test_without_intervals_every_value_says_so() -> None:
    quality = np.zeros((1, 3), dtype=np.int32)
    prediction = np.array([[0.1, np.nan, 0.3]], dtype=np.float32)
    _, lower, upper = finish(prediction, quality, IntervalCodes(None, (0.0, 1.0)))
    assert (lower == MISSING).all()
    assert (upper == MISSING).all()
    expected = [FLAGS["no_interval"], FLAGS["snapshot_missing"], FLAGS["no_interval"]]
    assert quality[0].tolist() == expected


def test_limits_are_the_envelope_of_the_training_rows() -> None:
    catalogue = published_catalogue()
    bundle = made_up_bundle("mmnet", catalogue, rows=256)
    assert bundle.envelope is not None
    inputs = made_up_inputs(catalogue, 500, 7)
    inputs.snapshot[::5, 18] = np.nan
    snapshot = Limits.of(catalogue.snapshot, bundle.envelope, catalogue).outside(inputs.snapshot.T)
    series = Limits.of(catalogue.series, bundle.envelope, catalogue)
    days = np.any([series.outside(inputs.series[:, :, day].T) for day in range(11)], axis=0)
    np.testing.assert_array_equal(snapshot | days, bundle.envelope.outside(inputs) > 0)
    assert snapshot.any()
    assert not Limits.of(("LC", "slope"), None, catalogue).outside(np.full((2, 3), 1e9, np.float32)).any()


def test_a_land_cover_class_without_training_rows_is_outside() -> None:
    catalogue = published_catalogue()
    inputs = made_up_inputs(catalogue, 400, 0)
    barren = LAND_COVER_CLASSES.index("Barren")
    rows = inputs.rows(inputs.snapshot[:, barren] == 0)
    envelope = type(made_up_bundle("mmnet", catalogue, rows=64).envelope).fit(rows)  # type: ignore[union-attr]
    np.testing.assert_array_equal(land_cover_outside(envelope, catalogue), np.arange(8) == barren)
    assert not land_cover_outside(None, catalogue).any()


def test_the_freezing_point_is_known_in_units_of_temperature() -> None:
    assert freezing_point("0.02 K") == 13657.5
    assert freezing_point("K") == 273.15
    assert freezing_point("%") is None
