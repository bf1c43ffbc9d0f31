"""A landscape: terrain, soil and land cover of one place, and the grid that they stand on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from mmnet_maps.grid import Grid
from mmnet_maps.simulated.climates import Climate
from mmnet_maps.simulated.fields import correlated_field, generator
from mmnet_maps.simulated.land_cover import LandCover, make_land_cover
from mmnet_maps.simulated.terrain import Terrain, make_terrain

__all__ = ["Landscape", "Soil", "make_landscape", "square_grid", "utm_zone"]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Soil:
    """Clay and sand (%), bulk density (g cm-3) of the top 5 cm; every array of the site's shape, float32."""

    clay: Array
    sand: Array
    bd: Array


@dataclass(frozen=True)
class Landscape:
    """Everything about a place that does not change with time.

    Attributes
    ----------
    grid : Grid
    climate : Climate
    terrain : Terrain
    soil : Soil
        As it is.
    soil_map : Soil
        As a soil survey maps it: right in the large, a few per cent wrong in places.
    cover : LandCover
    """

    grid: Grid
    climate: Climate
    terrain: Terrain
    soil: Soil
    soil_map: Soil
    cover: LandCover


def utm_zone(longitude: float) -> str:
    """CRS of the northern UTM zone of a longitude."""
    return f"EPSG:{32601 + int((longitude + 180.0) // 6.0)}"


def square_grid(crs: str, longitude: float, latitude: float, pixels: int, resolution: float) -> Grid:
    """North-up square grid around a place, its edges on multiples of the resolution."""
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(longitude, latitude)
    half = pixels * resolution / 2
    left, top = round((x - half) / resolution) * resolution, round((y + half) / resolution) * resolution
    return Grid(crs, (resolution, 0.0, left, 0.0, -resolution, top), pixels, pixels)


def make_landscape(seed: int, number: int, climate: Climate, grid: Grid) -> Landscape:
    """Draw the landscape of a place.

    Parameters
    ----------
    seed, number : int
        Seed of the simulation, number of the place: another number, another landscape.
    climate : Climate
        Sets mean elevation, slope, texture and the mix of land covers.
    grid : Grid
        In metres.
    """
    step = abs(grid.transform[0])
    terrain = make_terrain(
        generator(seed, number, 1), grid.shape, step, climate.elevation, climate.mean_slope
    )
    soil = _soil(generator(seed, number, 2), terrain, step, climate)
    mapped = _survey(generator(seed, number, 3), soil, step)
    cover = make_land_cover(generator(seed, number, 4), terrain, step, climate.cover)
    return Landscape(grid, climate, terrain, soil, mapped, cover)


def _soil(rng: np.random.Generator, terrain: Terrain, step: float, climate: Climate) -> Soil:
    """Texture in correlated fields, finer where water gathers, coarser on steep ground."""
    shape = terrain.elevation.shape
    sandy = correlated_field(rng, shape, step, longest=6_000.0, shortest=90.0, slope=1.5)
    clayey = correlated_field(rng, shape, step, longest=4_000.0, shortest=90.0, slope=1.5)
    loose = correlated_field(rng, shape, step, longest=3_000.0, shortest=90.0, slope=1.5)
    steep = np.minimum(terrain.slope / 15.0, 1.0)
    sand = climate.sand + 13.0 * sandy - 4.0 * terrain.wetness + 6.0 * steep
    clay = climate.clay - 5.0 * sandy + 4.5 * clayey + 2.5 * terrain.wetness
    clay = np.clip(clay, 3.0, 60.0)
    sand = np.clip(sand, 4.0, 95.0 - clay)
    bd = 1.38 + 0.0028 * (sand - 40.0) + 0.06 * loose - 0.03 * terrain.wetness
    return Soil(*(a.astype(np.float32) for a in (clay, sand, np.clip(bd, 0.9, 1.75))))


def _survey(rng: np.random.Generator, soil: Soil, step: float) -> Soil:
    """The soil as mapped: the truth with errors that are correlated over a few hundred metres."""
    errors = [correlated_field(rng, soil.clay.shape, step, 1_500.0, 90.0, slope=1.4) for _ in range(3)]
    clay = np.clip(soil.clay + 2.0 * errors[0], 1.0, 70.0)
    sand = np.clip(soil.sand + 4.0 * errors[1], 1.0, 97.0 - clay)
    bd = np.clip(soil.bd + 0.03 * errors[2], 0.8, 1.9)
    return Soil(*(a.astype(np.float32) for a in (clay, sand, bd)))
