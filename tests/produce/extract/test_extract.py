"""Series and subsets against direct reading and shapely's areas, from every kind of store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pyproj import Transformer
from shapely.geometry import Polygon, box

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid, Tile, lonlat
from mmnet_maps.jobs.extract import extract
from mmnet_maps.jobs.products import open_product
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.extract.box import box_tile
from mmnet_maps.produce.extract.maps import open_maps
from mmnet_maps.produce.extract.points import extract_points
from mmnet_maps.produce.extract.polygons import covers, extract_polygons
from mmnet_maps.produce.tile.flags import meaning_of
from mmnet_maps.produce.units import iso

Make = Callable[..., Any]
SOUTH_UP = Grid("EPSG:32612", (30.0, 0.0, 500_010.0, 0.0, 30.0, 4_000_020.0), 96, 120)
DEGREES = Grid("EPSG:4326", (0.01, 0.0, 10.0, 0.0, -0.01, 60.0), 96, 120)


def _stores(product: Any, folder: Path) -> dict[str, Path]:
    """The same maps as a product, as files, and as a published store."""
    export_product(product, folder / "cogs", store="shards")
    export_product(product, folder / "plain", store="chunks")
    return {
        "product": product.path,
        "cogs": folder / "cogs",
        "published": folder / "cogs" / "soil_moisture.zarr",
        "published, format 2": folder / "plain" / "soil_moisture.zarr",
    }


def _points(product: Any, count: int = 300) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    row, col = random.integers(0, product.grid.height, count), random.integers(0, product.grid.width, count)
    lon, lat = lonlat(product.grid, Tile(0, 0, *product.grid.shape))
    names = [f"p{k}" for k in range(count)]
    return pd.DataFrame({"id": names, "longitude": lon[row, col], "latitude": lat[row, col]}), row, col


@pytest.mark.parametrize("grid", [None, SOUTH_UP, DEGREES])
def test_series_at_points_are_those_of_direct_reading(make_product: Make, tmp_path: Path, grid: Any) -> None:
    product = make_product(grid=grid)
    points, row, col = _points(product)
    first, stop = product.layout.start, product.layout.stop
    direct = {name: product.read(name, first, stop)[:, row, col].T.ravel() for name in product.packing}
    for kind, source in _stores(product, tmp_path).items():
        table = extract_points(open_maps(source), points)
        assert list(table["id"].unique()) == list(points["id"]) and len(table) == 1200, kind
        assert list(table["date"][:4]) == ["2021-06-01", "2021-06-02", "2021-06-03", "2021-06-04"]
        for name, column in (("soil_moisture", "estimate"), ("lower", "lower"), ("upper", "upper")):
            expected = product.packing[name].decode(direct[name])
            assert table[column].to_numpy().tobytes() == expected.tobytes(), (kind, name)
        np.testing.assert_array_equal(table["quality"], direct["quality"], err_msg=kind)
        for bits, words in zip(table["quality"], table["reasons"], strict=True):
            said = [meaning_of(name) for name, mask in product.flags().items() if bits & mask]
            assert words == "; ".join(said)


def test_points_outside_are_counted_and_none_inside_is_refused(
    make_product: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    maps = open_maps(make_product(days=1).path)
    points, _, _ = _points(make_product("other", days=1), 2)
    away = pd.DataFrame({"id": ["far"], "longitude": [12.0], "latitude": [-40.0]})
    table = extract_points(maps, pd.concat([points, away]))
    assert set(table["id"]) == {"p0", "p1"}
    assert "1 of 3 points lie outside the maps: far" in capsys.readouterr().err
    with pytest.raises(InputError, match="1 of 1 points lie outside"):
        extract_points(maps, away)
    with pytest.raises(InputError, match="no day from 2021-07-01 to 2021-06-01; it holds 2021-06-01"):
        extract_points(maps, points, start=18809)


def _shapes(grid: Grid) -> gpd.GeoDataFrame:
    """A polygon in pixels, a ring, a sliver inside one pixel, one half outside, one outside."""
    outlines = {
        "slanted": Polygon([(10.3, 20.1), (40.7, 25.9), (33.2, 60.4), (12.0, 50.5)]),
        "ring": Polygon(box(50, 30, 80, 60).exterior, [box(55.5, 35.5, 70.2, 50.1).exterior]),
        "sliver": box(90.2, 10.2, 90.7, 10.6),
        "half": box(-10, 70, 10, 80),
        "away": box(300, 300, 310, 310),
    }
    a, _, c, _, e, f = grid.transform
    moved = [
        Polygon(
            [(c + a * x, f + e * y) for x, y in shape.exterior.coords],
            [[(c + a * x, f + e * y) for x, y in ring.coords] for ring in shape.interiors],
        )
        for shape in outlines.values()
    ]
    return gpd.GeoDataFrame({"id": list(outlines)}, geometry=moved, crs=grid.crs)


@pytest.mark.parametrize("grid", [None, SOUTH_UP])
def test_polygons_weigh_pixels_by_the_area_that_they_share(make_product: Make, grid: Any) -> None:
    product = make_product(grid=grid, days=2)
    shapes = _shapes(product.grid)
    for cover, shape in zip(covers(product.grid, shapes), shapes.geometry, strict=True):
        expected = np.zeros(product.grid.shape)
        a, _, c, _, e, f = product.grid.transform
        for row, col in np.ndindex(*product.grid.shape):
            ys, xs = sorted((f + e * row, f + e * (row + 1))), sorted((c + a * col, c + a * (col + 1)))
            if shape.bounds[0] < xs[1] and shape.bounds[2] > xs[0] and shape.bounds[1] < ys[1]:
                expected[row, col] = shape.intersection(box(xs[0], ys[0], xs[1], ys[1])).area / shape.area
        found = np.zeros(product.grid.shape)
        found[cover.row, cover.col] = cover.weight
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_series_over_polygons(make_product: Make, capsys: pytest.CaptureFixture[str]) -> None:
    product = make_product(days=2)
    shapes = _shapes(product.grid)
    table = extract_polygons(open_maps(product.path), shapes.to_crs("EPSG:4326")).set_index(["id", "date"])
    assert "1 of 5 polygons lie outside the maps: away" in capsys.readouterr().err
    stored = product.read("soil_moisture", product.layout.start, product.layout.stop)
    values = product.packing["soil_moisture"].decode(stored).astype(float)
    for name, cover in zip(shapes["id"][:4], covers(product.grid, shapes[:4]), strict=True):
        for at, date in enumerate(("2021-06-01", "2021-06-02")):
            here, weight = values[at, cover.row, cover.col], cover.weight
            known, entry = np.isfinite(here), table.loc[(name, date)]
            if not known.any():
                assert entry["valid_share"] == 0 and np.isnan(entry["estimate"])
                continue
            mean = np.average(here[known], weights=weight[known])
            assert entry["estimate"] == pytest.approx(mean, abs=1e-6)
            assert entry["valid_share"] == pytest.approx(weight[known].sum(), abs=1e-5)
            assert entry["p10"] <= entry["estimate"] <= entry["p90"]
            assert (here[known] < entry["p10"]) @ weight[known] <= 0.1 * weight[known].sum()
            if name == "half":
                assert entry["valid_share"] < 0.51
    assert "window" in table.loc["slanted", "reasons"].iloc[0] and "lower" not in table.columns


def test_on_a_grid_in_degrees_southern_pixels_weigh_more() -> None:
    grid = Grid("EPSG:4326", (1.0, 0.0, 0.0, 0.0, -1.0, 61.0), 61, 10)
    tall = gpd.GeoDataFrame({"id": ["t"]}, geometry=[box(2, 0, 3, 60)], crs="EPSG:4326")
    cover = covers(grid, tall)[0]
    by_row = dict(zip(cover.row.tolist(), cover.weight.tolist(), strict=True))
    assert by_row[60] / by_row[1] == pytest.approx(
        np.cos(np.radians(0.5)) / np.cos(np.radians(59.5)), rel=1e-6
    )


def test_a_box_is_a_data_set_with_its_crs(make_product: Make, tmp_path: Path) -> None:
    product = make_product()
    bounds = Transformer.from_crs(product.grid.crs, "EPSG:4326", always_xy=True).transform_bounds(
        500_700, 3_998_400, 501_900, 3_999_300
    )
    for kind, source in _stores(product, tmp_path).items():
        out = tmp_path / f"{kind}.nc"
        done = extract(source, out, box=bounds, start=iso(product.layout.start + 1))
        assert done["days"] == 3
        with xr.open_dataset(out, decode_coords="all") as found:
            assert found.rio.crs.to_epsg() == 32612
            cols = (found["x"].to_numpy() - 500_010) // 30
            rows = (4_000_020 - found["y"].to_numpy()) // 30
            assert cols[0] <= 23 and cols[-1] >= 62
            window = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)
            stored = product.read("soil_moisture", product.layout.start + 1, product.layout.stop, *window)
            expected = product.packing["soil_moisture"].decode(stored)
            np.testing.assert_allclose(found["soil_moisture"], expected, atol=1e-6)
            bits = product.read("quality", product.layout.start + 1, product.layout.stop, *window)
            np.testing.assert_array_equal(found["quality"], bits)
            assert found["quality"].attrs["flag_masks"].dtype == found["quality"].dtype, "as CF asks"
            assert all("_FillValue" not in found[name].encoding for name in ("x", "y", "time"))
            assert found["soil_moisture"].attrs["cell_methods"] == "time: mean"


def test_tables_are_written_by_their_ending(make_product: Make, tmp_path: Path) -> None:
    product = make_product()
    points, _, _ = _points(product, 5)
    points.rename(columns={"id": "ID", "longitude": "Lon"}).to_csv(tmp_path / "p.csv", index=False)
    tables = {}
    for ending in ("csv", "parquet", "nc"):
        extract(product.path, tmp_path / f"o.{ending}", points=tmp_path / "p.csv")
    tables["csv"] = pd.read_csv(tmp_path / "o.csv", dtype={"date": str}, keep_default_na=True)
    tables["parquet"] = pd.read_parquet(tmp_path / "o.parquet")
    np.testing.assert_allclose(tables["csv"]["estimate"], tables["parquet"]["estimate"], atol=1e-6)
    with xr.open_dataset(tmp_path / "o.nc") as found:
        assert found.attrs["featureType"] == "timeSeries" and dict(found.sizes) == {"series": 5, "time": 4}
        np.testing.assert_array_equal(
            found["estimate"], tables["parquet"]["estimate"].to_numpy().reshape(5, 4)
        )
        assert "not_computed" in found["quality"].attrs["flag_meanings"]
    gpd.GeoDataFrame(
        {"name": points["id"]}, geometry=gpd.points_from_xy(points["longitude"], points["latitude"]), crs=4326
    ).to_crs(32612).to_file(tmp_path / "p.gpkg")
    extract(product.path, tmp_path / "g.parquet", points=tmp_path / "p.gpkg")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "g.parquet"), tables["parquet"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,lon\n1,2\n", "no column latitude; there are id, lon"),
        ("id,lon,lat\na,200,10\n", r"point a \(row 1\): longitude 200"),
        ("id,lon,lat\na,x,10\n", "longitude nan"),
        ("id,lon,lat\na,1,1\na,2,2\n", "id a is there twice"),
        ("id,lon,lat\n", "holds no points"),
        ("", "not a readable CSV"),
    ],
)
def test_wrong_points_are_refused_in_one_line(
    make_product: Make, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        extract(make_product(days=1).path, tmp_path / "o.csv", points=tmp_path / "p.csv")
    assert not (tmp_path / "o.csv").exists()


def test_a_truncated_file_is_named(make_product: Make, tmp_path: Path) -> None:
    product = make_product(days=2)
    export_product(product, tmp_path / "cogs")
    path = tmp_path / "cogs" / "soil_moisture_20210602.tif"
    path.write_bytes(path.read_bytes()[:3000])
    points, _, _ = _points(product, 5)
    with pytest.raises(InputError, match=r"soil_moisture_20210602\.tif: not a readable export"):
        extract_points(open_maps(tmp_path / "cogs"), points)


@pytest.mark.parametrize("what", ["box", "points", "product"])
def test_the_compliance_checker_finds_no_error(make_product: Make, tmp_path: Path, what: str) -> None:
    pytest.importorskip("compliance_checker", reason="compliance-checker is not here")
    from compliance_checker.runner import CheckSuite, ComplianceChecker

    product = make_product()
    if what == "product":
        part = open_product(product.path).isel(y=slice(0, 9), x=slice(0, 9))
        part.to_netcdf(tmp_path / "o.nc", engine="h5netcdf")
    else:
        points, _, _ = _points(product, 5)
        points.to_csv(tmp_path / "p.csv", index=False)
        west, south = points["longitude"].min(), points["latitude"].min()
        east, north = points["longitude"].max(), points["latitude"].max()
        asked = {"box": (west, south, east, north)} if what == "box" else {"points": tmp_path / "p.csv"}
        extract(product.path, tmp_path / "o.nc", **asked)
    CheckSuite.load_all_available_checkers()
    _, failed = ComplianceChecker.run_checker(
        str(tmp_path / "o.nc"), ["cf:1.11"], 0, "strict", output_filename=str(tmp_path / "o.json"),
        output_format="json",
    )  # fmt: skip
    found = json.loads((tmp_path / "o.json").read_text())["cf:1.11"]
    told = [
        line
        for kind in ("high_priorities", "medium_priorities", "low_priorities")
        for part in found[kind]
        for line in part["msgs"]
    ]
    assert not failed and told == []


@pytest.mark.parametrize("crs", ["EPSG:32701", "EPSG:4326"])
def test_a_box_across_180_degrees_is_the_pixels_between_its_sides(crs: str) -> None:
    middle = Transformer.from_crs("EPSG:4326", "EPSG:32701", always_xy=True).transform(180.0, -17.0)
    x, y, size = (*middle, 100.0) if crs == "EPSG:32701" else (180.0, -17.0, 0.001)
    grid = Grid(crs, (size, 0.0, x - 50 * size, 0.0, -size, y + 50 * size), 100, 100)
    tile = box_tile(grid, (179.99, -17.01, -179.98, -17.0))
    lon = lonlat(grid, tile)[0] % 360
    assert 179.987 < lon.min() <= 179.992 and 180.018 <= lon.max() < 180.023
    with pytest.raises(InputError, match="touches no pixel"):
        box_tile(grid, (170.0, -17.01, 171.0, -17.0))
