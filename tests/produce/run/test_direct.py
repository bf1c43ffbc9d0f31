"""Maps given back as a data set are those of a product."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmnet_maps as mm
from mmnet_maps.grid import lonlat

LAYERS = ("soil_moisture", "lower", "upper", "quality")


@pytest.fixture(scope="module")
def world(make_world: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = make_world()
    return made, made.cube(tmp_path_factory.mktemp("direct") / "cube")


def test_a_box_equals_the_same_part_of_a_product(world: Any, tmp_path: Path) -> None:
    made, cube = world
    days = "2020-03-01", "2020-03-03"
    done = mm.predict(str(made.bundle), str(cube), *days, str(tmp_path / "p.zarr"))
    assert done["failed"] == {} and done["units"]["new"] == 1
    product = mm.open_product(tmp_path / "p.zarr").load()
    whole = mm.predict(made.bundle, mm.open_cube(cube), *days)
    assert np.isfinite(whole.soil_moisture).any() and np.isnan(whole.soil_moisture).any()
    for name in LAYERS:
        np.testing.assert_array_equal(whole[name], product[name])
    # A box in map units, from the middle of one pixel to the middle of another: rows 3 to 9, columns 5 to 11.
    x, y = product.x.values, product.y.values
    box = float(x[5]), float(y[9]), float(x[11]), float(y[3])
    part = mm.predict(mm.load_bundle(made.bundle), cube, "2020-03-02", box=box, crs="EPSG:32612")
    for name in LAYERS:
        np.testing.assert_array_equal(part[name], product[name][1:2, 3:10, 5:12])
    assert part.soil_moisture.attrs["units"] == "m3 m-3" and part.attrs["coarse"] == "nearest"
    assert part.attrs["bundle"] == mm.load_bundle(made.bundle).digest


def test_a_box_in_degrees_covers_what_was_asked_for(world: Any) -> None:
    made, cube = world
    grid = mm.open_cube(cube).grid
    from mmnet_maps.grid import Tile

    lon, lat = lonlat(grid, Tile(4, 6, 5, 7))
    box = tuple(float(v) for v in (lon.min(), lat.min(), lon.max(), lat.max()))
    part = mm.predict(made.bundle, cube, "2020-03-02", box=box)
    assert part.sizes["y"] in (5, 6, 7) and part.sizes["x"] in (7, 8, 9)
    assert part.y.values[0] >= grid.y(np.array([4]))[0] and part.x.values[0] <= grid.x(np.array([6]))[0]


def test_a_wrong_box_is_refused(world: Any) -> None:
    made, cube = world
    for box, crs, reason in (
        ((10.0, 10.0, 11.0, 11.0), "EPSG:4326", "touches no pixel"),
        ((2.0, 0.0, 1.0, 1.0), "EPSG:32612", "expected W S E N in units of EPSG:32612"),
        ((0.0, 0.0, 1.0, 1.0), "EPSG:0", "not a CRS that PROJ knows"),
    ):
        with pytest.raises(mm.InputError, match=reason):
            mm.predict(made.bundle, cube, "2020-03-02", box=box, crs=crs)
