"""Plants and other covers: how they green up, drink, and look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["PLANTS", "Plant", "season_table"]


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
    "water": Plant(
        code=11,
        green=(0.0, 0.0),
        rise=0,
        fall=300,
        coefficient=0.0,
        water=0.0,
        roughness=-6.0,
        sealed=0.0,
        spectrum=(0.05, 0.05, 0.035, 0.02, 0.012, 0.008),
    ),
    "developed": Plant(
        code=22,
        green=(0.12, 0.35),
        rise=0,
        fall=300,
        coefficient=0.9,
        water=0.8,
        roughness=4.0,
        sealed=0.35,
        spectrum=_GRASSY,
        likes=(-0.4, -0.8, 0.0, -0.2),
    ),
    "barren": Plant(
        code=31,
        green=(0.01, 0.06),
        rise=0,
        fall=270,
        coefficient=0.5,
        water=0.1,
        roughness=0.5,
        sealed=0.1,
        spectrum=_GRASSY,
        likes=(-0.6, 0.7, -0.5, 0.2),
    ),
    "conifer": Plant(
        code=42,
        green=(0.68, 0.8),
        rise=0,
        fall=300,
        coefficient=0.85,
        water=4.5,
        roughness=2.5,
        sealed=0.0,
        spectrum=(0.02, 0.037, 0.026, 0.26, 0.12, 0.05),
        likes=(0.1, 0.6, 0.5, 0.5),
    ),
    "deciduous": Plant(
        code=41,
        green=(0.1, 0.85),
        rise=8,
        fall=292,
        coefficient=1.0,
        water=4.0,
        roughness=2.5,
        sealed=0.0,
        spectrum=(0.025, 0.06, 0.032, 0.4, 0.19, 0.08),
        likes=(0.5, 0.5, 0.6, 0.0),
    ),
    "shrub": Plant(
        code=52,
        green=(0.14, 0.34),
        rise=5,
        fall=290,
        coefficient=0.7,
        water=0.8,
        roughness=1.2,
        sealed=0.0,
        spectrum=(0.04, 0.065, 0.05, 0.3, 0.22, 0.13),
        likes=(-0.4, 0.2, -0.4, 0.1),
    ),
    "grass": Plant(
        code=71,
        green=(0.08, 0.62),
        rise=2,
        fall=275,
        coefficient=0.9,
        water=0.8,
        roughness=0.5,
        sealed=0.0,
        spectrum=_GRASSY,
        likes=(-0.1, -0.1, -0.2, 0.0),
    ),
    "pasture": Plant(
        code=81,
        green=(0.15, 0.75),
        rise=-5,
        fall=285,
        coefficient=1.0,
        water=1.0,
        roughness=0.5,
        sealed=0.0,
        spectrum=_GRASSY,
        likes=(0.1, -0.5, 0.0, -0.1),
        parcels=True,
    ),
    "summer_crop": Plant(
        code=82,
        green=(0.02, 0.88),
        rise=55,
        fall=258,
        coefficient=1.1,
        water=3.0,
        roughness=1.0,
        sealed=0.0,
        spectrum=_CROP,
        likes=(0.1, -0.9, 0.0, -0.2),
        parcels=True,
    ),
    "winter_crop": Plant(
        code=82,
        green=(0.1, 0.85),
        rise=-15,
        fall=158,
        coefficient=1.05,
        water=1.8,
        roughness=0.8,
        sealed=0.0,
        spectrum=_CROP,
        likes=(0.0, -0.9, 0.0, -0.1),
        parcels=True,
    ),
    "wetland": Plant(
        code=90,
        green=(0.25, 0.8),
        rise=10,
        fall=285,
        coefficient=1.1,
        water=3.0,
        roughness=1.5,
        sealed=0.0,
        spectrum=(0.025, 0.055, 0.035, 0.34, 0.15, 0.07),
    ),
}


def season_table(green_up: float) -> NDArray[np.float32]:
    """Green cover fraction of well-watered plants, shape (367, plants), by day of year (row 0 is unused)."""
    day = np.arange(367, dtype=np.float64)[:, None]
    rise = np.array([p.rise for p in PLANTS.values()]) + green_up
    fall = np.array([p.fall for p in PLANTS.values()], dtype=np.float64)
    low, high = np.array([p.green for p in PLANTS.values()]).T
    swing = 1 / (1 + np.exp(-(day - rise) / 11.0)) / (1 + np.exp((day - fall) / 12.0))
    return np.asarray((low + (high - low) * swing).astype(np.float32))
