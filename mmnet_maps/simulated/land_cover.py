"""Land cover: in which patches plants and other covers stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mmnet_maps.simulated.fields import correlated_field
from mmnet_maps.simulated.plants import PLANTS
from mmnet_maps.simulated.terrain import Terrain

__all__ = ["LandCover", "make_land_cover"]

Array = NDArray[np.float32]


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
        return np.asarray(self.plant != _NAMES.index("water"))


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
