"""Layers as values on pixels."""

from __future__ import annotations

import numpy as np
import pytest

from mmnet_maps.packing import Packing
from mmnet_maps.produce.tile.layers import _outside


@pytest.mark.parametrize(
    "packing",
    [
        Packing(dtype="int16", scale=1e-4, missing=-9999),
        Packing(dtype="int16", scale=2.75e-5, offset=-0.2, missing=-32768),
        Packing(dtype="uint16", scale=2.75e-5, offset=-0.2, missing=0),
        Packing(dtype="uint8", scale=0.01, missing=255),
        Packing(dtype="uint8", scale=1e-6, missing=0),
    ],
)
def test_a_range_is_the_same_for_stored_and_for_decoded_values(packing: Packing) -> None:
    kind = np.iinfo(packing.dtype)
    stored = np.arange(kind.min, kind.max + 1).astype(packing.dtype)
    values = packing.decode(stored)
    np.testing.assert_array_equal(
        _outside(stored, packing, (0.0, 1.0)), (values < np.float32(0)) | (values > np.float32(1))
    )


def test_floats_are_compared_as_they_are() -> None:
    stored = np.array([-0.1, 0.0, 1.0, 1.1, np.nan], dtype=np.float32)
    found = _outside(stored, Packing(dtype="float32"), (0.0, 1.0))
    assert found.tolist() == [True, False, False, True, False]
