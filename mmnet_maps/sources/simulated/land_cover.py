"""Plants and other covers: in which patches they stand, how they green up, what they look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mmnet_maps.sources.simulated.fields import correlated_field
from mmnet_maps.sources.simulated.terrain import Terrain

__all__ = ["PLANTS", "LandCover", "Plant", "make_land_cover", "season_table"]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Plant:
    """One kind of cover.

    Attributes
    ----------
    code : int
        NLCD code (a developed pixel's code is finer, by its intensity).
    green : (float, float)
        Green cover fraction in the dormant season and at the peak.
    rise, fall : float
        Day of year of half green-up, relative to the climate's green-up, and of half senescence.
    coefficient : float
        Transpiration of a full cover in units of grass reference evapotranspiration.
    water : float
        Water held by a full canopy, kg m-2.
    roughness : float
        Backscatter of its surface above that of a smooth field, dB.
    sealed : float
        Share of rain that runs off roofs, roads and rock.
    spectrum : tuple of float
        Reflectance of full green cover: Blue Green Red NIR SWIR1 SWIR2.
    likes : tuple of float
        How strongly it prefers wet ground, steep ground, north-facing slopes, high ground.
    parcels : bool
        Whether people plant it, field by field.
    """

    code: int
    green: tuple[float, float]
    rise: float
    fall: float
    coefficient: float
    water: float
    roughness: float
    sealed: float
    spectrum: tuple[float, float, float, float, float, float]
    likes: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    parcels: bool = False


_GRASSY = (0.035, 0.075, 0.045, 0.43, 0.23, 0.11)
_CROP = (0.030, 0.075, 0.035, 0.48, 0.22, 0.10)
PLANTS: dict[str, Plant] = {
    "water": Plant(11, (0.0, 0.0), 0, 300, 0.0, 0.0, -6.0, 0.0, (0.05, 0.05, 0.035, 0.02, 0.012, 0.008)),
    "developed": Plant(22, (0.12, 0.35), 0, 300, 0.9, 0.8, 4.0, 0.35, _GRASSY, (-0.4, -0.8, 0.0, -0.2)),
    "barren": Plant(31, (0.01, 0.06), 0, 270, 0.5, 0.1, 0.5, 0.1, _GRASSY, (-0.6, 0.7, -0.5, 0.2)),
    "conifer": Plant(
        42, (0.68, 0.80), 0, 300, 0.85, 4.5, 2.5, 0.0, (0.02, 0.037, 0.026, 0.26, 0.12, 0.05), (0.1, 0.6, 0.5, 0.5)
    ),
    "deciduous": Plant(
        41, (0.10, 0.85), 8, 292, 1.0, 4.0, 2.5, 0.0, (0.025, 0.06, 0.032, 0.40, 0.19, 0.08), (0.5, 0.5, 0.6, 0.0)
    ),
    "shrub": Plant(
        52, (0.14, 0.34), 5, 290, 0.7, 0.8, 1.2, 0.0, (0.04, 0.065, 0.05, 0.30, 0.22, 0.13), (-0.4, 0.2, -0.4, 0.1)
    ),
    "grass": Plant(71, (0.08, 0.62), 2, 275, 0.9, 0.8, 0.5, 0.0, _GRASSY, (-0.1, -0.1, -0.2, 0.0)),
    "pasture": Plant(81, (0.15, 0.75), -5, 285, 1.0, 1.0, 0.5, 0.0, _GRASSY, (0.1, -0.5, 0.0, -0.1), True),
    "summer_crop": Plant(82, (0.02, 0.88), 55, 258, 1.1, 3.0, 1.0, 0.0, _CROP, (0.1, -0.9, 0.0, -0.2), True),
    "winter_crop": Plant(82, (0.10, 0.85), -15, 158, 1.05, 1.8, 0.8, 0.0, _CROP, (0.0, -0.9, 0.0, -0.1), True),
    "wetland": Plant(
        90, (0.25, 0.80), 10, 285, 1.1, 3.0, 1.5, 0.0, (0.025, 0.055, 0.035, 0.34, 0.15, 0.07)
    ),
}  # fmt: skip
_NAMES = tuple(PLANTS)


@dataclass(frozen=True)
class LandCover:
    """Which cover each pixel has.

    Attributes
    ----------
    plant : ndarray of uint8
        Position in `PLANTS`.
    code : ndarray of uint8
        NLCD code.
    """

    plant: NDArray[np.uint8]
    code: NDArray[np.uint8]

    def table(self, values: Mapping[str, float]) -> Array:
        """Spread one number a plant over the pixels."""
        return np.array([values[name] for name in _NAMES], dtype=np.float32)[self.plant]

    @property
    def land(self) -> NDArray[np.bool_]:
        """False on open water."""
        return self.plant != _NAMES.index("water")


def make_land_cover(
    rng: np.random.Generator, terrain: Terrain, step: float, shares: Mapping[str, float]
) -> LandCover:
    """Land cover in patches that follow the terrain: each pixel takes the cover that suits it best there.

    Open water and wetland lie where water gathers, towns on gentle slopes, fields in parcels, forest on high
    and north-facing slopes.

    Parameters
    ----------
    rng : numpy.random.Generator
    terrain : Terrain
    step : float
        Pixel size in metres.
    shares : mapping of str to float
        Rough share of each cover; a cover left out does not occur.
    """
    shape = terrain.elevation.shape
    northness = np.cos(np.radians(terrain.aspect)) * np.minimum(terrain.slope / 8.0, 1.0)
    height = terrain.elevation - terrain.elevation.mean()
    traits = (
        terrain.wetness,
        np.log1p(terrain.slope) - np.log1p(terrain.slope).mean(),
        northness,
        height / (height.std() or 1.0),
    )
    parcel = _parcels(rng, shape, step)
    best = np.full(shape, -np.inf, dtype=np.float32)
    plant = np.zeros(shape, dtype=np.uint8)
    for name in shares:
        if name in ("water", "wetland", "developed"):
            continue
        score = np.float32(np.log(shares[name])) + _patches(rng, parcel, shape, step, PLANTS[name].parcels)
        for liking, trait in zip(PLANTS[name].likes, traits, strict=True):
            score += np.float32(liking) * trait
        better = score > best
        best[better] = score[better]
        plant[better] = _NAMES.index(name)
    town = correlated_field(rng, shape, step, longest=6_000.0, shortest=150.0, slope=1.6)
    town -= np.float32(0.5) * traits[1] + np.float32(0.2) * terrain.wetness
    built = _top(town, shares.get("developed", 0.0))
    plant[built] = _NAMES.index("developed")
    hollow = ndimage.gaussian_filter(terrain.wetness, 2.5) - np.float32(0.15) * traits[3]
    soaked = _top(hollow, shares.get("water", 0.0) + shares.get("wetland", 0.0))
    plant[soaked] = _NAMES.index("wetland")
    plant[_top(hollow, shares.get("water", 0.0))] = _NAMES.index("water")
    return LandCover(plant, _codes(plant, town, hollow))


def _top(score: Array, share: float) -> NDArray[np.bool_]:
    if share <= 0:
        return np.zeros(score.shape, dtype=bool)
    return np.asarray(score > np.quantile(score, 1.0 - share))


def _parcels(rng: np.random.Generator, shape: tuple[int, ...], step: float) -> NDArray[np.int64]:
    """Number of the field that each pixel lies in; a field is some 25 hectares around its own centre."""
    count = max(4, round(shape[0] * shape[1] * step**2 / 250_000.0))
    centres = np.ones(shape, dtype=bool)
    centres.flat[rng.choice(centres.size, min(count, centres.size), replace=False)] = False
    nearest = ndimage.distance_transform_edt(centres, return_distances=False, return_indices=True)
    return np.asarray(nearest[0] * shape[1] + nearest[1], dtype=np.int64)


def _patches(
    rng: np.random.Generator, parcel: NDArray[np.int64], shape: tuple[int, ...], step: float, planted: bool
) -> Array:
    wild = correlated_field(rng, shape, step, longest=4_000.0, shortest=100.0, slope=1.4)
    if not planted:
        return wild * np.float32(0.9)
    by_parcel = rng.standard_normal(parcel.size, dtype=np.float32)[parcel]
    return wild * np.float32(0.4) + by_parcel * np.float32(0.9)


def _codes(plant: NDArray[np.uint8], town: Array, hollow: Array) -> NDArray[np.uint8]:
    code = np.array([p.code for p in PLANTS.values()], dtype=np.uint8)[plant]
    built = plant == _NAMES.index("developed")
    if built.any():
        steps = np.quantile(town[built], [0.35, 0.65, 0.9])
        code[built] = 21 + np.searchsorted(steps, town[built])
    marsh = plant == _NAMES.index("wetland")
    if marsh.any():
        code[marsh & (hollow > np.median(hollow[marsh]))] = 95
    return code


def season_table(green_up: float) -> Array:
    """Green cover fraction of well-watered plants, shape (367, plants), by day of year (row 0 is unused)."""
    day = np.arange(367, dtype=np.float64)[:, None]
    rise = np.array([p.rise for p in PLANTS.values()]) + green_up
    fall = np.array([p.fall for p in PLANTS.values()], dtype=np.float64)
    low, high = np.array([p.green for p in PLANTS.values()]).T
    swing = 1 / (1 + np.exp(-(day - rise) / 11.0)) / (1 + np.exp((day - fall) / 12.0))
    return (low + (high - low) * swing).astype(np.float32)
