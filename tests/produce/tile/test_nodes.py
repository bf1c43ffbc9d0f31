"""Coarse fields between cells and nodes, against closed forms and against the nearest cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid, Tile
from mmnet_maps.learn.bundle import Coarse, load_bundle
from mmnet_maps.prepare.cube.store import open_cube
from mmnet_maps.produce.engine.arrays import DeviceArrays
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.produce.run.predict import Request, predict_product
from mmnet_maps.produce.run.work import compute_unit
from mmnet_maps.produce.tile.nodes import Nodes, margin_of, spacing_of
from mmnet_maps.produce.tile.trust import FLAGS, MISSING
from mmnet_maps.produce.units import Unit

GRID = Grid("EPSG:32612", (30.0, 0.0, 420_000.0, 0.0, -30.0, 4_100_000.0), 300, 400)
#: Cells of 900 m that begin anywhere.
CELLS = Grid("EPSG:32612", (900.0, 0.0, 418_130.0, 0.0, -900.0, 4_101_470.0), 16, 20)
FIRST = 18_322


def _nodes(tile: Tile, spacing: int = 32) -> Nodes:
    return Nodes.of(GRID, tile, spacing, {"weather": (CELLS, Tile(0, 0, CELLS.height, CELLS.width))})


def _plane(x: Any, y: Any) -> Any:
    return 2.0 + 1e-4 * (x - 420_000) - 3e-4 * (y - 4_100_000)


def _field() -> np.ndarray[Any, Any]:
    x, y = CELLS.x(np.arange(CELLS.width)), CELLS.y(np.arange(CELLS.height))
    return _plane(x[None, :], y[:, None]).astype(np.float32).ravel()


@pytest.mark.parametrize("spacing", [4, 16, 32])
def test_a_plane_stays_a_plane(spacing: int) -> None:
    tile = Tile(37, 51, 90, 70)
    found = _nodes(tile, spacing).at_pixels("weather", _field(), None).reshape(90, 70)
    expected = _plane(GRID.x(np.arange(51, 121))[None, :], GRID.y(np.arange(37, 127))[:, None])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("spacing", "most"), [(4, 0.135), (8, 0.140), (16, 0.155)])
def test_the_edge_of_a_shower_is_smeared_less_than_cells_blur_it(spacing: int, most: float) -> None:
    """A front as sharp as can be, somewhere in a cell: squared errors over a cell's width, mean over where.

    A cell's mean does not say where in it the front stands: the nearest cell errs by 1/6 of the jump squared,
    a line between centres by 0.128 (both by integration). Cells are 30 pixels wide here; those of gridMET on
    pixels of 30 m are 4.4 times as wide as the nodes are apart, about as with 8 pixels.
    """
    tile, edges = Tile(100, 60, 1, 270), CELLS.transform[2] + 900.0 * np.arange(CELLS.width + 1)
    x = GRID.x(np.arange(60, 330))
    nodes, cell = _nodes(tile, spacing), np.floor((x - edges[0]) / 900).astype(int)
    errors = []
    for front in np.linspace(x[120], x[120] + 900, 31)[:-1]:
        rain = (x > front).astype(float)
        means = np.clip((edges[1:] - front) / 900, 0, 1)
        field = np.tile(means, CELLS.height).astype(np.float32)
        found = nodes.at_pixels("weather", field, None).ravel()
        errors.append([((values - rain) ** 2).sum() * 30 / 900 for values in (means[cell], found)])
    nearest, bilinear = np.mean(errors, axis=0)
    print(f"spacing {spacing}: nearest {nearest:.4f}, bilinear {bilinear:.4f}")
    assert nearest == pytest.approx(1 / 6, abs=0.004)
    assert bilinear < most < nearest


def test_a_pixel_has_the_same_bits_in_any_tile() -> None:
    values = np.random.default_rng(0).normal(size=CELLS.height * CELLS.width).astype(np.float32)
    values[::7] = np.nan
    whole = _nodes(Tile(0, 0, 300, 400)).at_pixels("weather", values, None).reshape(300, 400)
    for tile in (Tile(31, 32, 1, 1), Tile(5, 90, 77, 130), Tile(299, 0, 1, 400)):
        own = _nodes(tile).at_pixels("weather", values, None).reshape(tile.height, tile.width)
        np.testing.assert_array_equal(own, whole[tile.rows, tile.cols])


def test_cells_without_a_value_leave_the_others_their_weights() -> None:
    values = np.full(CELLS.height * CELLS.width, 3.0, dtype=np.float32)
    values[np.random.default_rng(1).random(values.size) < 0.3] = np.nan
    found = _nodes(Tile(0, 0, 300, 400)).at_pixels("weather", values, None)
    known = found[np.isfinite(found)]
    assert known.size > 0.99 * found.size
    np.testing.assert_allclose(known, 3.0, rtol=1e-6)
    none = _nodes(Tile(0, 0, 50, 50)).bring("weather", np.full_like(values, np.nan))
    assert np.isnan(none).all()


def test_the_spacing_follows_the_narrowest_cell_that_makes_squares() -> None:
    fine = Grid("EPSG:32612", (60.0, 0.0, 420_000.0, 0.0, -60.0, 4_100_000.0), 10, 10)
    assert spacing_of(GRID, {"weather": CELLS, "fine": fine}) == (32, ("weather",))
    narrow = Grid("EPSG:32612", (390.0, 0.0, 420_000.0, 0.0, -390.0, 4_100_000.0), 10, 10)
    assert spacing_of(GRID, {"weather": CELLS, "narrow": narrow}) == (16, ("weather", "narrow"))
    assert margin_of(GRID, CELLS, 32) == 5


@pytest.fixture(scope="module")
def world(make_world: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    made = make_world(height=20, width=28, seed=3)
    return made, made.cube(tmp_path_factory.mktemp("nodes") / "cube")


def _unit(world: Any, sub_tile: int = 256, coarse: Coarse = "bilinear", **how: Any) -> dict[str, Any]:
    made, cube = world
    bundle = load_bundle(made.bundle)
    engine = Engine(bundle, coarse=coarse, **how)
    return compute_unit(
        open_cube(cube), bundle.catalogue, engine, Unit(Tile(0, 0, 20, 28), FIRST, FIRST + 6), sub_tile
    )[0]


def test_what_is_missing_is_missing_as_with_the_nearest_cell(world: Any) -> None:
    nearest, bilinear = _unit(world, coarse="nearest"), _unit(world)
    np.testing.assert_array_equal(
        bilinear["quality"] | FLAGS["clipped"], nearest["quality"] | FLAGS["clipped"]
    )
    np.testing.assert_array_equal(bilinear["soil_moisture"] == MISSING, nearest["soil_moisture"] == MISSING)
    assert (bilinear["soil_moisture"] != nearest["soil_moisture"]).any()


@pytest.mark.parametrize("sub_tile", [7, 16])
def test_sub_tiles_and_devices_change_nothing(world: Any, sub_tile: int) -> None:
    whole = _unit(world)
    for name, values in _unit(world, sub_tile).items():
        np.testing.assert_array_equal(values, whole[name], err_msg=name)
    there = _unit(world, sub_tile, xp=DeviceArrays(torch.device("cpu")))
    np.testing.assert_array_equal(there["quality"], whole["quality"])
    assert np.abs(there["soil_moisture"].astype(int) - whole["soil_moisture"]).max() <= 1


def test_the_choice_belongs_to_the_product(world: Any, tmp_path: Path) -> None:
    made, cube = world
    ask = (made.bundle, cube, "2020-03-01", "2020-03-02", tmp_path / "out")
    assert not predict_product(Request(*ask))["failed"]
    assert open_product(tmp_path / "out").about["coarse"] == "nearest"
    again = predict_product(Request(*ask, coarse="bilinear"), dry_run=True)
    assert again["units"]["stale"] == 1
    with pytest.raises(InputError, match="--coarse cubic: expected nearest or bilinear"):
        predict_product(Request(*ask, coarse="cubic"), dry_run=True)
