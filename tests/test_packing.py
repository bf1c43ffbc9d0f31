"""Stored integers and physical values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmnet_maps.packing import Packing

HLS = Packing(dtype="int16", scale=0.0001, missing=-9999)
GRIDMET = Packing(dtype="uint16", scale=0.1, offset=220.0, missing=32767)
SMAP = Packing(dtype="float32", missing=-9999)
PACKINGS = st.sampled_from(
    [HLS, GRIDMET, Packing(dtype="uint8", missing=0), Packing(dtype="uint16", missing=0)]
)


@given(PACKINGS, st.data())
def test_every_stored_integer_survives_decoding_and_encoding(packing: Packing, data: st.DataObject) -> None:
    limits = np.iinfo(packing.dtype)
    stored = np.array(
        data.draw(st.lists(st.integers(int(limits.min), int(limits.max)), min_size=1)), dtype=packing.dtype
    )
    np.testing.assert_array_equal(packing.encode(packing.decode(stored)), stored)


@given(PACKINGS, st.data())
def test_decoding_is_the_cf_formula_in_float32(packing: Packing, data: st.DataObject) -> None:
    limits = np.iinfo(packing.dtype)
    stored = data.draw(st.integers(int(limits.min), int(limits.max)))
    found = packing.decode(np.array([stored], dtype=packing.dtype))
    assert found.dtype == np.float32
    if stored == packing.missing:
        assert np.isnan(found[0])
    else:
        assert found[0] == pytest.approx(stored * packing.scale + packing.offset, rel=3e-7, abs=1e-7)


def test_missing_is_nan_and_zero_is_a_value() -> None:
    assert np.isnan(HLS.decode(np.array([-9999], dtype=np.int16)))
    assert HLS.decode(np.array([0], dtype=np.int16))[0] == 0.0
    assert np.isnan(SMAP.decode(np.array([-9999.0, np.nan], dtype=np.float32))).all()


def test_what_the_type_cannot_hold_becomes_missing_never_zero() -> None:
    found = HLS.encode(np.array([np.nan, 4.0, -4.0, np.inf, 0.12345]))
    assert found.tolist() == [-9999, -9999, -9999, -9999, 1234]


@given(st.lists(st.floats(0, 0.9), min_size=1), st.integers(1, 5))
def test_decoding_does_not_depend_on_how_an_array_is_cut(values: list[float], cut: int) -> None:
    stored = HLS.encode(np.array(values))
    pieces = [HLS.decode(stored[k : k + cut]) for k in range(0, len(stored), cut)]
    np.testing.assert_array_equal(np.concatenate(pieces), HLS.decode(stored))
