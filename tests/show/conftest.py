"""A cube on the grid of the small product of `make_product`: terrain, SMAP, rain and scenes with gaps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.prepare.cube.config import Target
from mmnet_maps.prepare.cube.store import Cube, build_cube, open_cube
from tests.produce.conftest import FLOAT, PACKED, ArrayReader

GRID = Grid("EPSG:32612", (30.0, 0.0, 500_010.0, 0.0, -30.0, 4_000_020.0), 96, 120)
DAYS = np.arange(18779 - 60, 18779 + 10, dtype=np.int64)  # around 2021-06-01


def coarse(pixel: float) -> Grid:
    """A grid of larger cells that covers `GRID` with cells to spare."""
    left, bottom, right, top = GRID.bounds
    wide = 2 * pixel
    return Grid.from_bounds("EPSG:32612", (left - wide, bottom - wide, right + wide, top + wide), pixel)


def hills(grid: Grid) -> Any:
    x, y = np.meshgrid(np.arange(grid.width), np.arange(grid.height))
    return 700 + 40 * np.sin(x / 9) + 25 * np.cos(y / 7) + 0.3 * x


@pytest.fixture
def make_cube(tmp_path: Path) -> Callable[..., Cube]:
    """``make_cube(terrain={"elevation": array})`` builds the cube and opens it."""

    def make(name: str = "cube.zarr", terrain: dict[str, Any] | None = None) -> Cube:
        random = np.random.default_rng(4)
        none = np.array([], dtype=np.int64)
        held = {"elevation": hills(GRID)} if terrain is None else terrain
        stored = {key: FLOAT.encode(values)[None] for key, values in held.items()}
        readers = [ArrayReader("terrain", GRID, "static", none, dict.fromkeys(held, FLOAT), stored)]
        for source, variable, packing, pixel, low, high in (
            ("smap", "SMAP", PACKED, 1_000.0, 0.1, 0.4),
            ("gridmet", "pr", FLOAT, 700.0, 0.0, 30.0),
        ):
            cells = coarse(pixel)
            values = random.uniform(low, high, (DAYS.size, *cells.shape))
            values[:, 0, 0] = np.nan
            readers.append(_reader(source, variable, cells, DAYS, packing, values, "daily"))
        scenes = DAYS[4::9]
        seen = np.where(random.random((scenes.size, *GRID.shape)) < 0.6, np.nan, 0.2)
        readers.append(_reader("hls", "Red", GRID, scenes, PACKED, seen, "irregular"))
        build_cube(Target(GRID, None, "test"), readers, tmp_path / name, workers=1)
        return open_cube(tmp_path / name)

    return make


def _reader(
    source: str, variable: str, grid: Grid, days: Any, packing: Packing, values: Any, cadence: Any
) -> ArrayReader:
    return ArrayReader(source, grid, cadence, days, {variable: packing}, {variable: packing.encode(values)})
