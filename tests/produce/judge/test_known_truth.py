"""Detail of maps beside that of the truth, and all that is said of a simulated region."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmnet_maps.produce.judge.variogram import variogram, variogram_table


def _fields(product: Any, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Estimate and truth of all days, with gaps in both."""
    random = np.random.default_rng(seed)
    stored = product.read("soil_moisture", product.layout.start, product.layout.stop)
    real = random.uniform(0.1, 0.4, stored.shape).astype(np.float32)
    real[random.random(stored.shape) < 0.2] = np.nan
    return np.where(stored == -32768, np.nan, stored * 1e-4), real


def _truth(product: Any, values: NDArray[np.float32]) -> Any:
    return SimpleNamespace(read=lambda day, rows, cols: values[day - product.layout.start, rows, cols])


def test_semivariances_are_those_of_all_pairs_whatever_the_tiles(make_product: Callable[..., Any]) -> None:
    found = {}
    for tile in (32, 128):
        product = make_product(f"p{tile}", days=2, tile=tile)
        if not found:
            told, real = _fields(product, 3)
            days = product.days.tolist()
        else:
            stored = {n: np.zeros(told.shape, p.dtype) for n, p in product.packing.items()}
            stored["soil_moisture"] = np.where(np.isnan(told), -32768, np.rint(told * 1e4)).astype(np.int16)
            for unit in product.layout.units():
                days_of = slice(unit.first - product.layout.start, unit.stop - product.layout.start)
                part = {n: v[days_of, unit.tile.rows, unit.tile.cols] for n, v in stored.items()}
                product.write_unit(unit, part)
        found[tile] = variogram(product, _truth(product, real), days)
    both = np.isfinite(told) & np.isfinite(real)
    fields = {"maps": np.where(both, told, np.nan), "truth": np.where(both, real, np.nan)}
    assert found[32]["lag"] == [30.0 * 2**k for k in range(6)]
    for name, values in fields.items():
        for k, lag in enumerate((1, 2, 4, 8, 16, 32)):
            squares = [
                (values[:, lag:, :] - values[:, :-lag, :]).ravel() ** 2,
                (values[:, :, lag:] - values[:, :, :-lag]).ravel() ** 2,
            ]
            expected = 0.5 * np.nanmean(np.concatenate(squares))
            for result in found.values():
                assert result[name][k] == pytest.approx(expected, rel=1e-5)


def test_white_noise_has_its_variance_at_every_distance_and_half_the_detail_a_quarter_of_it(
    make_product: Callable[..., Any],
) -> None:
    product = make_product(days=1)
    told, _ = _fields(product, 1)
    noise = np.random.default_rng(2).normal(0, 0.05, told.shape)
    truth = np.where(np.isnan(told), np.nan, noise).astype(np.float32)
    result = variogram(product, _truth(product, truth), product.days.tolist())
    np.testing.assert_allclose(result["truth"], 0.05**2, rtol=0.05)
    double = (2 * (told - 0.2)).astype(np.float32)
    assert variogram(product, _truth(product, double), product.days.tolist())["ratio"] == pytest.approx(
        [0.25] * 6, rel=1e-3
    )
    assert variogram_table(result).splitlines()[0].split()[-1] == "960"


def test_nothing_known_is_undefined(make_product: Callable[..., Any]) -> None:
    product = make_product(days=1)
    blank = np.full((1, *product.grid.shape), np.nan, dtype=np.float32)
    result = variogram(product, _truth(product, blank), product.days.tolist())
    assert np.isnan(result["ratio"]).all() and "-" in variogram_table(result)
