"""Steps at edges of cells: fields whose steps are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmnet_maps.grid import Grid, Tile, cell_lookup
from mmnet_maps.produce.judge.cell_edges import _all_steps, _ratio, edges_table

GRID = Grid("EPSG:32612", (30.0, 0.0, 420_000.0, 0.0, -30.0, 4_100_000.0), 160, 200)
CELLS = Grid("EPSG:32612", (1200.0, 0.0, 419_500.0, 0.0, -1200.0, 4_100_700.0), 6, 7)
DAYS = [0, 1]


def _steps(field: np.ndarray[Any, Any], tile: int = 256) -> Any:
    product: Any = SimpleNamespace(grid=GRID, layout=SimpleNamespace(tile=tile))
    return _all_steps(product, CELLS, 10, DAYS, lambda day, rows, cols: (field * (day + 1))[rows, cols])


def _cells() -> np.ndarray[Any, Any]:
    return cell_lookup(GRID, Tile(0, 0, 160, 200), CELLS).index


@pytest.mark.parametrize("tile", [256, 128])
def test_a_slope_has_the_same_steps_everywhere(tile: int) -> None:
    rows, cols = np.mgrid[:160, :200]
    field = (0.001 * rows + 0.001 * cols).astype(np.float32)
    across, inside = _steps(field, tile)
    np.testing.assert_allclose(across[0][np.isfinite(across[0])], 0.001, rtol=1e-3)
    assert _ratio((across, inside), np.array([True, True])) == pytest.approx(1, rel=1e-3)


def test_squares_are_seen_through_detail_below_the_cell() -> None:
    rng = np.random.default_rng(0)
    values = rng.permutation(CELLS.height * CELLS.width) * 0.01
    noise = rng.normal(0, 0.02, (160, 200))
    field = (values[_cells()] + noise).astype(np.float32)
    field[rng.random(field.shape) < 0.1] = np.nan
    across, inside = _steps(field)
    first, second = (_ratio((across, inside), np.array(days)) for days in ([True, False], [False, True]))
    assert first > 10
    # Twice the field on the second day: twice the steps, the same ratio.
    assert second == pytest.approx(first, rel=1e-4)
    assert np.isnan(_ratio((across * np.nan, inside), np.array([True, True])))


def test_the_table_names_what_cannot_be_compared() -> None:
    nan = float("nan")
    row = {"step": 0.001, "ratio": 1.25, "rain_ratio": nan, "dry_ratio": 0.9}
    line = edges_table({"gridmet": row}).splitlines()[1].split()
    assert line == ["gridmet", "1.25", "-", "0.90", "-"]
