"""The optional layer: given where the bundle can, chosen when a product is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio

import mmnet_maps as mm
from mmnet_maps.bench.made_up import knowing_rows
from mmnet_maps.errors import InputError
from mmnet_maps.learn.bundle import load_bundle, save_bundle
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.extract.maps import open_maps
from mmnet_maps.produce.extract.points import extract_points
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.produce.tile.trust import DISSIMILARITY, OUTSIDE_APPLICABILITY

DAYS = "2020-03-01", "2020-03-02"
PLAIN = ["soil_moisture", "lower", "upper", "quality"]


@pytest.fixture(scope="module")
def made(make_world: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A bundle that knows its training rows, one that does not, and a cube."""
    folder, world = tmp_path_factory.mktemp("optional"), make_world()
    save_bundle(knowing_rows(load_bundle(world.bundle)), folder / "bundle")
    return folder / "bundle", world.bundle, world.cube(folder / "cube")


def test_a_bundle_that_knows_its_rows_gives_the_layer_and_its_flag(
    made: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    bundle, _, cube = made
    mm.predict(bundle, cube, *DAYS, tmp_path / "p.zarr")
    product = open_product(tmp_path / "p.zarr")
    assert list(product.layers) == [*PLAIN[:3], "dissimilarity", "quality"]
    held = product.read_day(product.layout.start)
    apart = DISSIMILARITY.decode(held["dissimilarity"])
    np.testing.assert_array_equal(np.isnan(apart), held["soil_moisture"] == -32768)
    known = load_bundle(bundle).applicability
    assert known is not None
    np.testing.assert_array_equal((held["quality"] & OUTSIDE_APPLICABILITY) != 0, apart > known.threshold)

    mm.predict(bundle, cube, *DAYS, tmp_path / "without.zarr", layers=())
    without = open_product(tmp_path / "without.zarr")
    assert list(without.layers) == PLAIN
    assert "dissimilarity" not in without.group["soil_moisture"].attrs["ancillary_variables"]
    for name in PLAIN[:3]:
        np.testing.assert_array_equal(without.read_day(product.layout.start)[name], held[name])
    assert not (without.read_day(product.layout.start)["quality"] & OUTSIDE_APPLICABILITY).any()
    np.testing.assert_allclose(mm.predict(bundle, cube, DAYS[0]).dissimilarity[0], apart, rtol=1e-6)

    export_product(product, tmp_path / "maps")
    with rasterio.open(tmp_path / "maps" / "soil_moisture_20200301.tif") as file:
        assert file.descriptions[3] == "dissimilarity"
    row, col = map(int, np.argwhere(np.isfinite(apart))[0])
    place = mm.open_product(tmp_path / "p.zarr").isel(y=row, x=col)
    from pyproj import Transformer

    lon, lat = Transformer.from_crs("EPSG:32612", 4326, always_xy=True).transform(
        float(place.x), float(place.y)
    )
    point = pd.DataFrame({"id": ["a"], "longitude": [lon], "latitude": [lat]})
    for source in ("p.zarr", "maps"):
        found = extract_points(open_maps(tmp_path / source), point)
        assert found["dissimilarity"].iloc[0] == pytest.approx(apart[row, col], abs=1e-6)


def test_what_cannot_be_given_is_one_line(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    bundle, older, cube = made
    mm.predict(older, cube, *DAYS, tmp_path / "p.zarr")
    assert list(open_product(tmp_path / "p.zarr").layers) == PLAIN
    for asked, out, reason in (
        ((older, ("dissimilarity",)), "new.zarr", "made before bundles knew their training rows"),
        ((bundle, ("age",)), "new.zarr", "--layers age: expected dissimilarity or none"),
        ((bundle, ("dissimilarity",)), "p.zarr", "made with --layers none, found dissimilarity"),
    ):
        with pytest.raises(InputError, match=reason):
            mm.predict(asked[0], cube, *DAYS, tmp_path / out, layers=asked[1])
    # A product goes on as it was begun.
    mm.predict(bundle, cube, *DAYS, tmp_path / "p.zarr")
    assert list(open_product(tmp_path / "p.zarr").layers) == PLAIN
