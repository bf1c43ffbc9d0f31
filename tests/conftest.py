"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from mmnet_maps.store import remote
from tests.store.s3 import Server

# A busy machine is slow now and then; how long an example takes says nothing about its result.
settings.register_profile("mmnet-maps", deadline=None)
settings.load_profile("mmnet-maps")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the real upstream files; a test that needs it is skipped where it is absent."""
    place = Path(os.environ.get("MMNET_MAPS_SHARED", ROOT.parent / "shared"))
    if not (place / "data").is_dir():
        pytest.skip(f"the real files are not here: {place}/data")
    return place


@pytest.fixture
def make_product(tmp_path: Path) -> Callable[..., Any]:
    """A function that makes a small product with missing pixels, quality bits and unfinished units."""
    from mmnet_maps.grid import Grid
    from mmnet_maps.produce.product.create import create_product
    from mmnet_maps.produce.product.ledger import Entry
    from mmnet_maps.produce.product.objects import day_digests
    from mmnet_maps.produce.tile.trust import FLAGS
    from mmnet_maps.produce.units import Layout

    def make(
        name: str = "product",
        *,
        grid: Grid | None = None,
        days: int = 4,
        tile: int = 64,
        block_days: int = 2,
        unfinished: tuple[str, ...] = (),
        start: str = "2021-06-01",
        seed: int = 1,
    ) -> Any:
        grid = grid or Grid("EPSG:32612", (30.0, 0.0, 500_010.0, 0.0, -30.0, 4_000_020.0), 96, 120)
        first = int(np.datetime64(start, "D").astype(np.int64))
        layout = Layout(grid, first, first + days, tile, block_days)
        about = {"bundle": "b" * 16, "catalogue": "c" * 16, "precision": "float32"}
        product = create_product(tmp_path / name, layout, about)
        random = np.random.default_rng(seed)
        place = np.add.outer(np.arange(grid.height), np.arange(grid.width)) % 97 * 20
        for unit in layout.units():
            if unit.key in unfinished:
                continue
            shape = unit.days, unit.tile.height, unit.tile.width
            moisture = 1500 + place[unit.tile.rows, unit.tile.cols] + random.integers(0, 400, shape)
            moisture += 50 * np.arange(unit.first - first, unit.stop - first)[:, None, None]
            quality = np.where(random.random(shape) < 0.1, FLAGS["window_gap_filled"], 0)
            water = random.random(shape) < 0.05
            quality[water] = FLAGS["water_or_ice"]
            quality[:, :4, :4] = FLAGS["not_computed"]
            gone = water | (quality == FLAGS["not_computed"])
            values = {
                layer: np.where(gone, -32768, moisture + add).astype(np.int16)
                for layer, add in (("soil_moisture", 0), ("lower", -300), ("upper", 300))
            }
            values["quality"] = quality.astype(np.uint32)
            outputs, days_ = product.write_unit(unit, values), day_digests(values)
            entry = Entry(unit.first, unit.stop, {"bundle": about["bundle"]}, outputs, days=days_)
            product.ledger.write(unit.key, entry)
        return product

    return make


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server whose bucket ``bucket`` is empty, and the environment of a user of it."""
    server = Server()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    remote.store_at.cache_clear()
    yield server
    server.stop()
    remote.store_at.cache_clear()
