"""Grids: pixels, tiles, days, and the exact lookup of cells across projections."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from mmnet_maps.crs import period
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid, Tile, cell_lookup, day_blocks, lonlat, lonlat_extent, tiles

SINUSOIDAL = "+proj=sinu +R=6371007.181 +nadgrids=@null +wktext +units=m"
#: Native grids of the sources, in metres or degrees.
OTHERS = [
    ("EPSG:4326", 1 / 24, 1 / 24),
    ("EPSG:4326", 0.01, 0.003),
    ("EPSG:6933", 9008.055, 9008.055),
    (SINUSOIDAL, 926.625433, 926.625433),
    ("EPSG:32611", 30.0, 30.0),
    ("EPSG:32613", 300.0, 120.0),
    ("EPSG:5070", 30.0, 30.0),
]
TARGETS = [("EPSG:32612", 30.0, 30.0), ("EPSG:32612", 250.0, 70.0), ("EPSG:4326", 0.0003, 0.0004)]


@lru_cache
def _way(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


@st.composite
def target_and_other(draw: st.DrawFn) -> tuple[Grid, Grid]:
    """A target grid in or near UTM zone 12, and a source's grid that lies about it."""
    crs, rx, ry = draw(st.sampled_from(TARGETS))
    lon, lat = draw(st.floats(-119.5, -106.5)), draw(st.floats(26.0, 72.0))
    x, y = _way("EPSG:4326", crs).transform(lon, lat)
    shape = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    target = Grid(crs, (rx, 0.0, x, 0.0, -ry, y), *shape)
    code, ox, oy = draw(st.sampled_from(OTHERS))
    cx, cy = _way(crs, code).transform(
        x + rx * shape[1] * draw(st.floats(-0.2, 1.2)), y - ry * shape[0] * draw(st.floats(-0.2, 1.2))
    )
    up = draw(st.booleans())
    height, width = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    top = cy - oy * height * draw(st.floats(0, 1)) * (1 if up else -1)
    step = oy if up else -oy
    return target, Grid(
        code, (ox, 0.0, cx - ox * width * draw(st.floats(0, 1)), 0.0, step, top), height, width
    )


def _full_projection(grid: Grid, other: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Fractional (row, column) in `other` of every pixel centre, each projected by itself."""
    x, y = np.meshgrid(grid.x(np.arange(grid.width)), grid.y(np.arange(grid.height)))
    px, py = _way(grid.crs, other.crs).transform(x, y)
    return other.position(px, py)


def _whole(grid: Grid) -> Tile:
    return Tile(0, 0, grid.height, grid.width)


def _flat(grid: Grid, tile: Tile, other: Grid) -> np.ndarray:
    """Flat index into the whole other grid, -1 outside."""
    found = cell_lookup(grid, tile, other)
    wide = max(1, found.shape[1])
    row, col = found.index // wide + found.rows.start, found.index % wide + found.cols.start
    return np.where(found.index < 0, -1, row * other.width + col)


@settings(max_examples=120, deadline=None)
@given(target_and_other())
def test_the_cell_of_every_pixel_is_that_of_the_full_projection(grids: tuple[Grid, Grid]) -> None:
    grid, other = grids
    r, c = _full_projection(grid, other)
    # A centre on an edge to the last bits of a double belongs to either cell.
    assume(np.abs(r - np.round(r)).min() > 1e-8)
    assume(np.abs(c - np.round(c)).min() > 1e-8)
    inside = (r >= 0) & (r < other.height) & (c >= 0) & (c < other.width)
    expected = np.where(inside, np.floor(r) * other.width + np.floor(c), -1)
    np.testing.assert_array_equal(_flat(grid, _whole(grid), other), expected)


@settings(max_examples=40, deadline=None)
@given(target_and_other(), st.integers(7, 100))
def test_cells_and_places_do_not_depend_on_the_tiling(grids: tuple[Grid, Grid], size: int) -> None:
    grid, other = grids
    cells = np.empty(grid.shape, dtype=np.int64)
    lon, lat = np.empty(grid.shape), np.empty(grid.shape)
    for tile in tiles(grid, size):
        cells[tile.rows, tile.cols] = _flat(grid, tile, other)
        lon[tile.rows, tile.cols], lat[tile.rows, tile.cols] = lonlat(grid, tile)
    np.testing.assert_array_equal(cells, _flat(grid, _whole(grid), other))
    whole = lonlat(grid, _whole(grid))
    np.testing.assert_array_equal(lon, whole[0])
    np.testing.assert_array_equal(lat, whole[1])


@settings(max_examples=60, deadline=None)
@given(target_and_other())
def test_longitude_and_latitude_are_within_centimetres(grids: tuple[Grid, Grid]) -> None:
    grid, _ = grids
    lon, lat = lonlat(grid, _whole(grid))
    x, y = np.meshgrid(grid.x(np.arange(grid.width)), grid.y(np.arange(grid.height)))
    true_lon, true_lat = _way(grid.crs, "EPSG:4326").transform(x, y)
    east = (lon - true_lon) * 111_320 * np.cos(np.radians(true_lat))
    allowed = 0.02 * max(1.0, np.tan(np.radians(true_lat)).max())
    assert np.hypot(east, (lat - true_lat) * 111_320).max() < allowed


def test_a_grid_across_two_utm_zones_finds_scenes_of_both() -> None:
    """Zone 12 ends at 114 W: pixels west of it lie in scenes that come in zone 11."""
    x, y = _way("EPSG:4326", "EPSG:32612").transform(-114.05, 37.3)
    grid = Grid("EPSG:32612", (30.0, 0.0, x, 0.0, -30.0, y), 256, 400)
    west = Grid("EPSG:32611", (30.0, 0.0, 699960.0, 0.0, -30.0, 4200000.0), 3660, 3660)
    r, c = _full_projection(grid, west)
    inside = (r >= 0) & (r < 3660) & (c >= 0) & (c < 3660)
    assert inside.all()
    np.testing.assert_array_equal(_flat(grid, _whole(grid), west), np.floor(r) * 3660 + np.floor(c))


def test_aligned_grids_are_matched_by_counting() -> None:
    grid = Grid("EPSG:32612", (30.0, 0.0, 300000.0, 0.0, -30.0, 4100000.0), 10, 10)
    other = Grid("EPSG:32612", (30.0, 0.0, 299910.0, 0.0, -30.0, 4100060.0), 8, 9)
    assert grid.aligned_offset(other) == (2, 3)
    found = cell_lookup(grid, _whole(grid), other)
    assert (found.rows, found.cols) == (slice(2, 8), slice(3, 9))
    assert found.index[0, 0] == 0
    assert found.index[5, 5] == 35
    assert (found.index[6:] == -1).all()
    assert (found.index[:, 6:] == -1).all()


def test_grids_apart_give_an_empty_lookup() -> None:
    grid = Grid("EPSG:32612", (30.0, 0.0, 300000.0, 0.0, -30.0, 4100000.0), 4, 4)
    other = Grid("EPSG:4326", (1.0, 0.0, 10.0, 0.0, -1.0, 50.0), 5, 5)
    found = cell_lookup(grid, _whole(grid), other)
    assert found.shape == (0, 0)
    assert (found.index == -1).all()


@given(
    st.floats(-1e6, 1e6),
    st.floats(-1e6, 1e6),
    st.floats(1, 1e5),
    st.floats(1, 1e5),
    st.sampled_from([10, 30, 0.5, 7]),
)
def test_a_grid_from_bounds_covers_them_and_starts_on_a_multiple(
    left: float, bottom: float, width: float, height: float, step: float
) -> None:
    assume(width / step < 1e5)
    assume(height / step < 1e5)
    grid = Grid.from_bounds("EPSG:32612", (left, bottom, left + width, bottom + height), (step, 2 * step))
    west, south, east, north = grid.bounds
    tolerance = 1e-6 * step
    assert west <= left + tolerance
    assert south <= bottom + tolerance
    assert east >= left + width - tolerance
    assert north >= bottom + height - tolerance
    assert abs(west / step - round(west / step)) < 1e-6
    assert abs(north / (2 * step) - round(north / (2 * step))) < 1e-6
    assert east - (left + width) < step + tolerance
    assert bottom - south < 2 * step + tolerance
    assert grid.transform[4] < 0, "north is up"


def test_a_pixel_centre_is_where_it_says() -> None:
    grid = Grid("EPSG:32612", (30.0, 0.0, 300000.0, 0.0, -20.0, 4100000.0), 5, 4)
    assert grid.x(np.array([0, 3])).tolist() == [300015.0, 300105.0]
    assert grid.y(np.array([0, 4])).tolist() == [4099990.0, 4099910.0]
    row, col = grid.position(np.array([300015.0]), np.array([4099990.0]))
    assert (row[0], col[0]) == (0.5, 0.5)
    assert grid.crop(Tile(2, 1, 2, 2)).bounds == (300030.0, 4099920.0, 300090.0, 4099960.0)


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 30))
def test_tiles_cover_every_pixel_once(height: int, width: int, size: int) -> None:
    grid = Grid("EPSG:32612", (30.0, 0.0, 0.0, 0.0, -30.0, 0.0), height, width)
    count = np.zeros(grid.shape, dtype=int)
    for tile in tiles(grid, size):
        assert tile.row % size == tile.col % size == 0
        count[tile.rows, tile.cols] += 1
    assert (count == 1).all()


@given(st.integers(-1000, 20000), st.integers(0, 400), st.integers(1, 64), st.integers(-1000, 20000))
def test_day_blocks_cover_every_day_once_and_are_cut_at_the_origin(
    start: int, count: int, length: int, origin: int
) -> None:
    blocks = list(day_blocks(start, start + count, length, origin))
    assert [day for a, b in blocks for day in range(a, b)] == list(range(start, start + count))
    assert all(b - a <= length for a, b in blocks)
    assert all((b - origin) % length == 0 for _, b in blocks[:-1])


def test_a_grid_survives_json() -> None:
    import json

    grid = Grid(SINUSOIDAL, (926.625433, 0.0, -1e7, 0.0, -926.625433, 4e6), 10, 11)
    assert Grid.from_dict(json.loads(json.dumps(grid.to_dict()))) == grid


@pytest.mark.parametrize(
    ("transform", "shape", "message"),
    [
        ((30.0, 1.0, 0.0, 0.0, -30.0, 0.0), (2, 2), "rotated"),
        ((30.0, 0.0, 0.0, 0.0, -30.0, 0.0), (0, 2), "empty"),
    ],
)
def test_unusable_grids_are_refused(
    transform: tuple[float, float, float, float, float, float], shape: tuple[int, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Grid("EPSG:32612", transform, *shape)


def test_unknown_ways_between_crss_are_one_line() -> None:
    grid = Grid("EPSG:32612", (30.0, 0.0, 0.0, 0.0, -30.0, 0.0), 2, 2)
    with pytest.raises(InputError, match="no way from CRS EPSG:32612 to EPSG:1") as error:
        cell_lookup(grid, _whole(grid), Grid("EPSG:1", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), 2, 2))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "grid",
    [
        Grid("EPSG:32760", (30.0, 0.0, 815000.0, 0.0, -30.0, 8150000.0), 150, 330),
        Grid("EPSG:32601", (30.0, 0.0, 280000.0, 0.0, -30.0, 5750000.0), 200, 400),
        Grid("EPSG:3832", (30.0, 0.0, 3338000.0, 0.0, -30.0, -1887990.0), 200, 300),
        Grid("EPSG:3413", (30.0, 0.0, -3000.0, 0.0, -30.0, 3000.0), 200, 200),
        Grid("EPSG:3413", (30.0, 0.0, 2000.0, 0.0, -30.0, 3000.0), 100, 100),
    ],
)
def test_longitudes_near_180_degrees_and_a_pole_are_those_of_the_full_projection(grid: Grid) -> None:
    x, y = np.meshgrid(grid.x(np.arange(grid.width)), grid.y(np.arange(grid.height)))
    true_lon, true_lat = _way(grid.crs, "EPSG:4326").transform(x, y)
    lon, lat = lonlat(grid, Tile(0, 0, grid.height, grid.width))
    away = np.abs((lon - true_lon + 180) % 360 - 180)
    assert (away * np.cos(np.radians(true_lat))).max() < 1e-6 and np.abs(lat - true_lat).max() < 1e-6
    part = Tile(17, 41, 60, 50)
    np.testing.assert_array_equal(lonlat(grid, part)[0], lon[part.rows, part.cols])
    for west in (-180.0, 0.0, 170.0):
        globe = Grid("EPSG:4326", (0.25, 0.0, west, 0.0, -0.25, 90.0), 720, 1440)
        found = cell_lookup(grid, Tile(0, 0, grid.height, grid.width), globe)
        row, col = np.floor((90 - true_lat) * 4), np.floor(((true_lon - west) % 360) * 4)
        width = found.shape[1]
        np.testing.assert_array_equal(found.index // width + found.rows.start, row)
        np.testing.assert_array_equal(found.index % width + found.cols.start, col)


def test_the_extent_of_a_grid_across_180_degrees_or_with_a_pole() -> None:
    west, south, east, north = lonlat_extent(
        Grid("EPSG:32760", (30.0, 0, 815000.0, 0, -30.0, 8150000.0), 9, 900)
    )
    assert 179 < west < 180 < east < 181 and -17 < south < north < -16
    assert lonlat_extent(Grid("EPSG:3413", (30.0, 0.0, -3000.0, 0.0, -30.0, 3000.0), 200, 200))[::3] == (
        -180,
        90,
    )
    west, _, east, _ = lonlat_extent(Grid("EPSG:32612", (30.0, 0, 300000.0, 0, -30.0, 4120000.0), 90, 70))
    assert -114 < west < east < -113
    ease = period("EPSG:6933")
    assert ease is not None and abs(ease / 9008.055210146 - 3856) < 1e-6
    assert period("EPSG:32612") is None


@pytest.mark.parametrize(
    ("bounds", "resolution"),
    [((0.0, 0.0, 1e12, 10.0), 1.0), ((0.0, 0.0, float("inf"), 1.0), 1.0), ((0.0, 0.0, 1.0, 1.0), 1e-300)],
)
def test_numbers_without_end_are_refused_before_anything_is_made(
    bounds: tuple[float, float, float, float], resolution: float
) -> None:
    with pytest.raises(InputError, match=r"pixels a side|left < right"):
        Grid.from_bounds("EPSG:32614", bounds, resolution)
    with pytest.raises(InputError, match="six finite numbers"):
        Grid("EPSG:32614", (30.0, 0.0, float("nan"), 0.0, -30.0, 0.0), 2, 2)
    with pytest.raises(InputError, match="a side are possible"):
        Grid("EPSG:32614", (30.0, 0.0, 0.0, 0.0, -30.0, 0.0), 2, 10**15)
