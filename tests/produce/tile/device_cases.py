"""What the tests of whole tiles on a device share: bundles, engines, and what it means to be the same."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmnet_maps.bench.made_up import made_up_bundle
from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.learn.bundle import Bundle
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.engine.sizes import Sizes
from mmnet_maps.produce.tile.device_tile import predict_tiles
from mmnet_maps.produce.tile.inputs import TileInputs
from mmnet_maps.produce.tile.program import TileResult
from mmnet_maps.produce.tile.trust import FLAGS

__all__ = [
    "DAYS",
    "DEVICES",
    "GPU",
    "OTHER",
    "STORED",
    "bundle_of",
    "engine_of",
    "equal_maps",
    "mapped",
    "same_maps",
]

DAYS = np.arange(18_810, 18_822, dtype=np.int64)
STORED = ("soil_moisture", "lower", "upper", "quality")
#: Products as a device has them: other shapes than those of the NumPy path, and few to a tile.
OTHER = Sizes(block=8192, step=2048, windows=64, day_batch=512, window_batch=128)
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=GPU)]


@lru_cache
def bundle_of(kind: str) -> Bundle:
    return made_up_bundle(kind, published_catalogue(), rows=1024)


def engine_of(bundle: Bundle, device: str = "cpu", sizes: Sizes | None = None) -> Engine:
    engine = Engine(bundle, device=device, sizes=sizes if device == "cpu" else None)
    engine.whole_tiles = True
    return engine


def mapped(engine: Engine, inputs: TileInputs, days: NDArray[np.int64] = DAYS) -> TileResult:
    ((_, result),) = predict_tiles(engine, iter([inputs]), days, keep_prediction=True)
    return result


def same_maps(found: TileResult, expected: TileResult, atol: float = 2e-6) -> None:
    """Estimates alike, stored values at most one step apart, bits and intervals the same."""
    assert found.prediction is not None
    assert expected.prediction is not None
    np.testing.assert_array_equal(np.isnan(found.prediction), np.isnan(expected.prediction))
    np.testing.assert_allclose(found.prediction, expected.prediction, rtol=0, atol=atol)
    apart = found.soil_moisture.astype(int) - expected.soil_moisture
    assert np.abs(apart).max() <= 1
    # An estimate at the very end of the range may be clipped by one path and not by the other.
    near = np.isclose(expected.prediction, 0, atol=atol) | np.isclose(expected.prediction, 1, atol=atol)
    allowed = np.where(near, np.uint16(FLAGS["clipped"]), np.uint16(0))
    np.testing.assert_array_equal(found.quality | allowed, expected.quality | allowed)
    alike = apart == 0
    for name in STORED[1:3]:
        np.testing.assert_array_equal(getattr(found, name)[alike], getattr(expected, name)[alike])
    for name in STORED:
        assert getattr(found, name).dtype == getattr(expected, name).dtype


def equal_maps(one: TileResult, other: TileResult, columns: NDArray[np.int64] | slice = slice(None)) -> None:
    for name in (*STORED, "prediction"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name)[:, columns], err_msg=name)
