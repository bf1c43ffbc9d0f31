"""Model input is taken by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from mmnet_maps.catalogue import LAND_COVER_CLASSES, Catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.learn.model_input import fit_scaler, from_table, model_arrays, raw_arrays, side_by_side
from mmnet_maps.learn.models.mlp import MLP
from mmnet_maps.prepare.stations.files import model_columns

TableMaker = Callable[..., pd.DataFrame]


def test_columns_are_found_by_name_in_any_order(make_table: TableMaker, catalogue: Catalogue) -> None:
    frame = make_table()
    inputs = from_table(frame, catalogue)
    shuffled = frame[np.random.default_rng(0).permutation(frame.columns)]
    other = from_table(shuffled, catalogue)
    np.testing.assert_array_equal(inputs.snapshot, other.snapshot)
    np.testing.assert_array_equal(inputs.series, other.series)
    np.testing.assert_array_equal(inputs.snapshot[:, catalogue.snapshot.index("SMAP")], frame["SMAP"])
    rain = inputs.series[:, catalogue.series.index("pr")]
    np.testing.assert_array_equal(rain, frame[["pr_2", "pr_1", "pr"]].to_numpy())


def test_missing_columns_are_named(make_table: TableMaker, catalogue: Catalogue) -> None:
    frame = make_table().drop(columns=["clay", "vpd_2"])
    with pytest.raises(InputError, match=r"lacks columns clay, vpd_2$"):
        from_table(frame, catalogue)


def test_a_column_of_text_is_refused_by_name(make_table: TableMaker, catalogue: Catalogue) -> None:
    frame = make_table()
    frame["sand"] = "much"
    with pytest.raises(InputError, match="column sand"):
        from_table(frame, catalogue)


def test_flat_columns_stand_in_the_order_of_model_columns(
    make_table: TableMaker, catalogue: Catalogue
) -> None:
    frame = make_table()
    expected = frame[list(model_columns(catalogue))].to_numpy(np.float32)
    inputs = from_table(frame, catalogue)
    np.testing.assert_array_equal(side_by_side((inputs.snapshot, inputs.series)), expected)


def test_mlp_columns_are_the_named_ones(make_table: TableMaker, catalogue: Catalogue) -> None:
    frame = make_table()
    frame["LC"] = frame[[f"LC_{n}" for n in LAND_COVER_CLASSES]].to_numpy().argmax(axis=1)
    expected = frame[list(MLP.columns(catalogue))].to_numpy(np.float32)
    (found,) = raw_arrays("mlp", from_table(frame, catalogue), catalogue)
    np.testing.assert_array_equal(found, expected)


def test_a_row_without_land_cover_class_has_no_mlp_number(
    make_table: TableMaker, catalogue: Catalogue
) -> None:
    frame = make_table()
    frame.loc[0, [f"LC_{n}" for n in LAND_COVER_CLASSES]] = 0.0
    frame.loc[1, "LC_Crop"] = np.nan
    (found,) = raw_arrays("mlp", from_table(frame, catalogue), catalogue)
    column = found[:, MLP.columns(catalogue).index("LC")]
    assert np.isnan(column[:2]).all()
    assert np.isfinite(column[2:]).all()


@pytest.mark.parametrize("kind", ["mmnet", "mlp"])
def test_scaled_training_columns_have_mean_0_and_deviation_1(
    kind: str, make_table: TableMaker, catalogue: Catalogue
) -> None:
    frame = make_table()
    frame["slope"] = 3.0  # constant: its deviation counts as 1
    inputs = from_table(frame, catalogue)
    arrays = model_arrays(kind, inputs, catalogue, fit_scaler(kind, inputs, catalogue))
    wide = arrays[0].astype(np.float64)
    np.testing.assert_allclose(wide.mean(axis=0), 0, atol=1e-5)
    deviation = wide.std(axis=0)
    assert (np.isclose(deviation, 1, atol=0.25) | (deviation < 1e-6)).all()
    assert (deviation < 1e-6).sum() >= 1


def test_a_constant_series_variable_is_named(make_table: TableMaker, catalogue: Catalogue) -> None:
    frame = make_table()
    frame[["etr", "etr_1", "etr_2"]] = 2.0
    with pytest.raises(InputError, match="series variable etr is constant"):
        fit_scaler("mmnet", from_table(frame, catalogue), catalogue)
