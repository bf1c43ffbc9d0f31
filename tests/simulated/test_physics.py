"""The simulated landscape, weather and water obey what they stand for."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pyproj import Transformer

from mmnet_maps.simulated import SimulationConfig
from mmnet_maps.simulated.climates import CLIMATES
from mmnet_maps.simulated.fields import correlated_field, generator, spline_matrix
from mmnet_maps.simulated.grids import EASE2_9KM, GRIDMET, cells_of, cover
from mmnet_maps.simulated.land_cover import make_land_cover
from mmnet_maps.simulated.landscape import square_grid, utm_zone
from mmnet_maps.simulated.packings import SMAP
from mmnet_maps.simulated.plants import PLANTS, season_table
from mmnet_maps.simulated.site import Site
from mmnet_maps.simulated.terrain import flow_accumulation, make_terrain, slope_aspect
from mmnet_maps.simulated.weather import (
    extraterrestrial_radiation,
    make_weather,
    reference_evapotranspiration,
)

CONFIG = SimulationConfig(spin_up_days=10)


def make_site(climate: str, pixels: int, first: date, last: date) -> Site:
    terms = CLIMATES[climate]
    grid = square_grid(utm_zone(terms.longitude), terms.longitude, terms.latitude, pixels, 30.0)
    return Site(CONFIG, 5, terms, grid, first, last)


@pytest.fixture(scope="module")
def spring() -> Site:
    site = make_site("southern_plains", 96, date(2020, 4, 1), date(2020, 5, 20))
    for _ in site.days():
        pass
    return site


@pytest.mark.parametrize("climate", ["mountain_west", "humid_southeast"])
def test_the_water_balance_closes(climate: str) -> None:
    site = make_site(climate, 48, date(2020, 1, 1), date(2020, 5, 1))
    before = site.balance.storage()
    snow = 0.0
    for _ in site.days():
        snow = max(snow, float(site.balance.snow.max()))
    books = site.balance.books
    change = site.balance.storage() - before
    error = books.rain - books.evaporation - books.runoff - books.baseflow - change
    assert books.rain / 48**2 > 50
    assert abs(error) / 48**2 < 0.01  # mm over 131 days
    assert (snow > 5) == (climate == "mountain_west")


def test_moisture_stays_between_dry_and_full(spring: Site) -> None:
    moisture, soil = spring.balance.moisture, spring.landscape.soil
    assert (moisture > 0.01).all()
    assert (moisture < 1 - soil.bd / 2.65).all()
    assert ((spring.balance.stress >= 0) & (spring.balance.stress <= 1)).all()
    assert ((spring.balance.green >= 0) & (spring.balance.green <= 1)).all()


def test_clay_and_wet_hollows_hold_more_water(spring: Site) -> None:
    land, moisture = spring.landscape.cover.land, spring.balance.moisture
    for trait in (spring.landscape.soil.clay, -spring.landscape.soil.sand, spring.landscape.terrain.wetness):
        assert np.corrcoef(trait[land], moisture[land])[0, 1] > 0.2


def test_the_truth_shows_no_edges_of_coarse_cells() -> None:
    site = make_site("southern_plains", 384, date(2020, 4, 1), date(2020, 4, 3))
    for _ in site.days():
        pass
    moisture = site.balance.moisture
    across = np.abs(np.diff(moisture, axis=1))
    for cells in (cells_of(EASE2_9KM, site.landscape.grid), cells_of(GRIDMET, site.landscape.grid)):
        edge = np.diff(cells.index.reshape(moisture.shape), axis=1) != 0
        assert edge.any()
        assert across[edge].mean() == pytest.approx(across[~edge].mean(), rel=0.25)


def test_smap_is_the_mean_of_the_land_in_its_cell_before_bias_and_noise(spring: Site) -> None:
    radiometer, grid = spring.radiometer, spring.landscape.grid
    rows, cols = np.indices(grid.shape)
    to = Transformer.from_crs(grid.crs, "EPSG:6933", always_xy=True)
    x, y = to.transform(grid.x(cols), grid.y(rows))
    r, c = (np.floor(v).astype(int) for v in radiometer.cells.grid.position(x, y))
    moisture, land = spring.balance.moisture, spring.landscape.cover.land
    found = radiometer.mean(moisture).reshape(radiometer.cells.grid.shape)
    for i, j in np.ndindex(found.shape):
        inside = land & (r == i) & (c == j)
        if inside.any():
            assert found[i, j] == pytest.approx(float(moisture[inside].mean(dtype=np.float64)), abs=1e-7)
        else:
            assert np.isnan(found[i, j])


def test_smap_as_seen_is_biased_and_noisy_but_follows_the_truth(spring: Site) -> None:
    seen = np.array([SMAP.decode(spring.radiometer.see(spring.balance.moisture)) for _ in range(200)])
    mean = spring.radiometer.mean(spring.balance.moisture)
    assert 0.003 < np.nanmean(seen.std(axis=0)) < 0.03
    assert np.nanmax(np.abs(seen.mean(axis=0) - mean)) < 0.08


def test_wet_ground_is_darker_brighter_to_radar_and_cooler(spring: Site) -> None:
    balance = spring.balance
    last = spring.weather.days.size - 1
    land = spring.landscape.cover.land & (balance.green < 0.8)
    before = (
        spring.imager.reflectance(balance),
        spring.radar.backscatter(balance),
        spring.thermometer.kelvin(last, balance),
    )
    balance.moisture += np.float32(0.1)
    balance.dryness *= np.float32(0.7)
    optical, radar, heat = (
        spring.imager.reflectance(balance) - before[0],
        spring.radar.backscatter(balance) - before[1],
        spring.thermometer.kelvin(last, balance) - before[2],
    )
    balance.moisture -= np.float32(0.1)
    balance.dryness /= np.float32(0.7)
    assert (optical[:, land] <= 0).all() and optical[4][land].mean() < -0.01
    assert (radar[:, land] > 0).all() and 0.3 < radar[0][land].mean() < 3.0
    assert heat[land].mean() < -0.5


def test_flow_is_conserved_down_a_slope() -> None:
    # A plane that falls to the south: all water of the 20 x 30 pixels leaves through the last row.
    plane = np.repeat(np.arange(20, 0, -1, dtype=np.float32)[:, None], 30, axis=1)
    flow = flow_accumulation(plane, np.random.default_rng(1), walks=4)
    assert_allclose(flow.sum(axis=1), 30.0 * np.arange(1, 21))
    assert flow.min() >= 1


def test_flow_gathers_in_a_valley_and_leaves_a_pit() -> None:
    rows, cols = np.indices((41, 41), dtype=np.float32)
    valley = np.abs(cols - 20) + 0.3 * (40 - rows)
    valley[20, 20] -= 5.0
    flow = flow_accumulation(valley, np.random.default_rng(1), walks=4)
    # The valley's lowest pixel is the only way out, and the pit on the way spills to it.
    assert flow[-1, 20] == pytest.approx(41 * 41)
    assert flow[20, 20] > 41 * 20 / 2


@pytest.mark.parametrize(
    ("east", "north", "aspect"), [(-1, 0, 90.0), (1, 0, 270.0), (0, -1, 0.0), (0, 1, 180.0), (-1, -1, 45.0)]
)
def test_aspect_is_the_direction_of_descent(east: float, north: float, aspect: float) -> None:
    rows, cols = np.indices((9, 9), dtype=np.float32)
    plane = np.float32(3.0) * (np.float32(east) * cols - np.float32(north) * rows)
    slope, found = slope_aspect(plane, 30.0)
    assert_allclose(found, aspect, atol=1e-3)
    assert_allclose(slope, np.degrees(np.arctan(0.1 * np.hypot(east, north))), rtol=1e-5)


@pytest.mark.parametrize("climate", list(CLIMATES))
def test_terrain_and_land_cover_are_those_of_the_climate(climate: str) -> None:
    terms = CLIMATES[climate]
    terrain = make_terrain(generator(3, 1), (160, 160), 30.0, terms.elevation, terms.mean_slope)
    assert terrain.slope.mean() == pytest.approx(terms.mean_slope, rel=0.25)
    assert terrain.elevation.mean() == pytest.approx(terms.elevation, abs=60)
    assert terrain.aspect.min() >= 0 and terrain.aspect.max() <= 360
    cover_map = make_land_cover(generator(3, 2), terrain, 30.0, terms.cover)
    present = {list(PLANTS)[i] for i in np.unique(cover_map.plant)}
    assert present <= set(terms.cover)
    assert (~cover_map.land).mean() == pytest.approx(terms.cover["water"], abs=0.003)
    assert set(np.unique(cover_map.code)) <= {11, 21, 22, 23, 24, 31, 41, 42, 52, 71, 81, 82, 90, 95}


def test_forest_likes_slopes_that_face_north_and_water_lies_in_hollows() -> None:
    terms = CLIMATES["mountain_west"]
    terrain = make_terrain(generator(4, 1), (256, 256), 30.0, terms.elevation, terms.mean_slope)
    cover_map = make_land_cover(generator(4, 2), terrain, 30.0, terms.cover)
    northness = np.cos(np.radians(terrain.aspect))
    forest = np.isin(cover_map.code, (41, 42))
    assert northness[forest].mean() > northness[~forest].mean() + 0.05
    assert terrain.wetness[~cover_map.land].mean() > 1.0


@given(count=st.integers(1, 200), spacing=st.floats(1.5, 150.0))
def test_spline_weights_are_shares(count: int, spacing: float) -> None:
    matrix = spline_matrix(count, spacing)
    assert (matrix >= 0).all()
    assert_allclose(matrix.sum(axis=1), 1.0, rtol=1e-5)


def test_a_spline_draws_a_straight_line_straight() -> None:
    matrix = spline_matrix(50, 8.0).astype(np.float64)
    nodes = (np.arange(matrix.shape[1]) - 1.0) * 8.0
    assert_allclose(matrix @ nodes, np.arange(50) + 0.5, atol=1e-4)


def test_a_correlated_field_has_unit_spread_and_neighbours_alike() -> None:
    field = correlated_field(generator(1, 1), (128, 200), 30.0, longest=3_000.0, shortest=60.0)
    assert field.shape == (128, 200) and field.dtype == np.float32
    assert field.mean() == pytest.approx(0, abs=1e-3) and field.std() == pytest.approx(1, rel=1e-3)
    assert np.corrcoef(field[:, :-1].ravel(), field[:, 1:].ravel())[0, 1] > 0.95
    # Spectral fields are periodic; a landscape must not be.
    assert np.abs(field[:, 0] - field[:, -1]).mean() > 3 * np.abs(np.diff(field, axis=1)).mean()


def test_reference_evapotranspiration_agrees_with_refet() -> None:
    refet = pytest.importorskip("refet")
    tmax, tmin, ea, wind, srad = 31.5, 14.2, 1.31, 3.7, 25.1
    latitude, elevation, day = 36.4, 340.0, 152
    theirs = refet.Daily(
        tmin=tmin,
        tmax=tmax,
        ea=ea,
        rs=srad,
        uz=wind,
        zw=10,
        elev=elevation,
        lat=latitude,
        doy=day,
        method="asce",
    )
    ra = extraterrestrial_radiation(np.array([latitude]), np.array([float(day)]))
    for surface, expected in (("short", theirs.eto()), ("tall", theirs.etr())):
        t1, t0, e, s, w, z = (np.array([v]) for v in (tmax, tmin, ea, srad, wind, elevation))
        ours = reference_evapotranspiration(t1, t0, e, s, w, ra, z, surface)
        assert ours[0] == pytest.approx(float(np.squeeze(expected)), rel=0.01)


@pytest.mark.parametrize("climate", ["desert_southwest", "humid_midwest"])
def test_weather_has_the_means_of_its_climate(climate: str) -> None:
    terms = CLIMATES[climate]
    site = square_grid(utm_zone(terms.longitude), terms.longitude, terms.latitude, 64, 30.0)
    grid = cover(GRIDMET, site, margin=1)
    elevation = np.full(grid.height * grid.width, terms.elevation)
    days = np.arange(15_000, 15_000 + 10 * 365)
    values = make_weather(1, 1, terms, grid, elevation, days).values
    assert all(np.isfinite(v).all() for v in values.values())
    assert 0.7 * min(terms.wet_share) < (values["pr"] > 0.1).mean() < 1.1 * max(terms.wet_share)
    assert (0.5 * (values["tmax"] + values["tmin"])).mean() == pytest.approx(terms.temperature, abs=1.2)
    assert (values["vpd"] >= 0).all() and (values["etr"] >= values["eto"] - 1e-9).all()
    for name, low, high in (("srad", 10, 400), ("sph", 0.0003, 0.03), ("vs", 0.2, 25)):
        assert low < values[name].min() and values[name].max() < high
    wet = values["pr"][:, 0] > 0.1
    assert wet[1:][wet[:-1]].mean() > wet[1:][~wet[:-1]].mean() + 0.15


def test_plants_green_up_in_their_season() -> None:
    table = season_table(100.0)
    names = list(PLANTS)
    peak = dict(zip(names, table[1:].argmax(axis=0) + 1, strict=True))
    assert peak["winter_crop"] < 160 < peak["summer_crop"] < 240
    assert (table >= 0).all() and (table <= 1).all()
    for name, plant in PLANTS.items():
        column = table[1:, names.index(name)]
        assert plant.green[0] - 1e-6 <= column.min() and column.max() <= plant.green[1] + 1e-6
