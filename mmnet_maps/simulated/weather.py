"""Stochastic daily weather on the 1/24 degree grid, and reference evapotranspiration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.grid import Grid
from mmnet_maps.simulated.climates import Climate
from mmnet_maps.simulated.fields import generator

__all__ = ["LAPSE", "Weather", "extraterrestrial_radiation", "make_weather", "reference_evapotranspiration"]

Float = NDArray[np.float64]

#: Fall of air temperature with height, K per m.
LAPSE = 0.0065
#: Distance over which rain and temperature of a day stay alike, degree.
_REACH = 0.3


@dataclass(frozen=True)
class Weather:
    """Daily weather of every cell; arrays of shape (days, cells).

    Attributes
    ----------
    grid : Grid
        EPSG:4326, 1/24 degree; cells are counted row by row.
    days : ndarray of int64
        Days since 1970-01-01, consecutive.
    values : mapping of str to ndarray of float64
        In catalogue units pr, eto, etr, sph, srad, vpd, vs; and tmax, tmin (degree C at the cell's mean
        elevation), sea_level_mean and sea_level_max (degree C brought down to sea level), cloud (share of
        the sky, one column a day repeated over the cells).
    """

    grid: Grid
    days: NDArray[np.int64]
    values: Mapping[str, Float]


def make_weather(
    seed: int, place: int, climate: Climate, grid: Grid, elevation: Float, days: NDArray[np.int64]
) -> Weather:
    """Draw the weather of a place.

    Wet and dry days follow a two-state Markov chain with seasonal chances; the rain of a wet day is gamma
    distributed, and spread over the cells by a correlated log-normal field that leaves some of them dry.

    Parameters
    ----------
    seed, place : int
    climate : Climate
    grid : Grid
        The 1/24 degree grid.
    elevation : ndarray of float64, shape (cells,)
        Mean elevation of each cell, m.
    days : ndarray of int64
        Consecutive days since 1970-01-01.
    """
    rng = generator(seed, place, 10)
    day_of_year = _day_of_year(days)
    summer = 0.5 + 0.5 * np.cos(2 * np.pi * (day_of_year - 200.0) / 365.25)
    wet = _wet_days(rng, climate, summer)
    shape_factor = _cell_factor(grid)
    pr = _rain(rng, climate, summer, wet, shape_factor)
    cloud = _cloud(rng, climate, wet, summer)
    sea_mean = _sea_level_temperature(rng, climate, day_of_year, wet, shape_factor)
    mean = sea_mean - LAPSE * elevation
    half_range = 0.5 * climate.daily_range * (1.25 - 0.75 * cloud)[:, None]
    tmax, tmin = mean + half_range, mean - half_range
    latitude = np.repeat(grid.y(np.arange(grid.height)), grid.width)
    ra = extraterrestrial_radiation(latitude[None, :], day_of_year[:, None])
    ripple = 1.0 + 0.02 * rng.standard_normal((days.size, 1)) + 0.01 * _spread(rng, days.size, shape_factor)
    srad_mj = ra * (0.24 + 0.52 * (1.0 - cloud)[:, None]) * ripple
    ea = _vapour_pressure(rng, climate, tmin, cloud)
    vs = _wind(rng, climate, days.size, shape_factor)
    pressure = _pressure(elevation)
    eto, etr = (
        reference_evapotranspiration(tmax, tmin, ea, srad_mj, vs, ra, elevation, surface)
        for surface in ("short", "tall")
    )
    values = {
        "pr": pr,
        "eto": eto,
        "etr": etr,
        "sph": 0.622 * ea / (pressure - 0.378 * ea),
        "srad": srad_mj / 0.0864,
        "vpd": 0.5 * (_saturation(tmax) + _saturation(tmin)) - ea,
        "vs": vs,
        "tmax": tmax,
        "tmin": tmin,
        "sea_level_mean": sea_mean,
        "sea_level_max": sea_mean + half_range,
        "cloud": np.repeat(cloud[:, None], latitude.size, axis=1),
    }
    return Weather(grid, days, values)


def extraterrestrial_radiation(latitude: Float, day_of_year: Float) -> Float:
    """Daily radiation above the atmosphere, MJ m-2 d-1 (FAO-56 equation 21)."""
    phi, angle = np.radians(latitude), 2 * np.pi * day_of_year / 365.0
    nearness = 1 + 0.033 * np.cos(angle)
    declination = 0.409 * np.sin(angle - 1.39)
    sunset = np.arccos(np.clip(-np.tan(phi) * np.tan(declination), -1, 1))
    lit = sunset * np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.sin(sunset)
    return np.asarray(24 * 60 / np.pi * 0.0820 * nearness * lit)


def reference_evapotranspiration(
    tmax: Float, tmin: Float, ea: Float, srad: Float, wind: Float, ra: Float, elevation: Float, surface: str
) -> Float:
    """ASCE standardised Penman-Monteith reference evapotranspiration of a day, mm (ASCE-EWRI 2005).

    Parameters
    ----------
    tmax, tmin : ndarray
        Degree C.
    ea : ndarray
        Actual vapour pressure, kPa.
    srad : ndarray
        Solar radiation at the ground, MJ m-2 d-1.
    wind : ndarray
        At 10 m, m s-1.
    ra : ndarray
        Radiation above the atmosphere, MJ m-2 d-1.
    elevation : ndarray
        m.
    surface : {"short", "tall"}
        Grass (eto) or alfalfa (etr).
    """
    cn, cd = (900.0, 0.34) if surface == "short" else (1600.0, 0.38)
    mean = 0.5 * (tmax + tmin)
    u2 = wind * 4.87 / np.log(67.8 * 10.0 - 5.42)
    es = 0.5 * (_saturation(tmax) + _saturation(tmin))
    delta = 4098 * _saturation(mean) / (mean + 237.3) ** 2
    gamma = 0.000665 * _pressure(elevation)
    clear_sky = (0.75 + 2e-5 * elevation) * ra
    cloudiness = 1.35 * np.clip(srad / clear_sky, 0.3, 1.0) - 0.35
    kelvin4 = 0.5 * ((tmax + 273.16) ** 4 + (tmin + 273.16) ** 4)
    net = 0.77 * srad - 4.901e-9 * cloudiness * (0.34 - 0.14 * np.sqrt(ea)) * kelvin4
    top = 0.408 * delta * net + gamma * cn / (mean + 273.0) * u2 * (es - ea)
    return np.asarray(np.maximum(top / (delta + gamma * (1 + cd * u2)), 0.0))


def _saturation(celsius: Float) -> Float:
    return np.asarray(0.6108 * np.exp(17.27 * celsius / (celsius + 237.3)))


def _pressure(elevation: Float) -> Float:
    return np.asarray(101.3 * ((293.0 - 0.0065 * elevation) / 293.0) ** 5.26)


def _day_of_year(days: NDArray[np.int64]) -> Float:
    stamps = days.astype("datetime64[D]")
    return np.asarray((stamps - stamps.astype("datetime64[Y]")).astype(np.float64) + 1)


def _cell_factor(grid: Grid) -> Float:
    """Cholesky factor of the cells' correlation, which falls off exponentially with distance."""
    y = np.repeat(grid.y(np.arange(grid.height)), grid.width)
    x = np.tile(grid.x(np.arange(grid.width)), grid.height) * np.cos(np.radians(y.mean()))
    distance = np.hypot(x[:, None] - x, y[:, None] - y)
    return np.linalg.cholesky(np.exp(-distance / _REACH) + 1e-6 * np.eye(x.size))


def _spread(rng: np.random.Generator, count: int, factor: Float) -> Float:
    return rng.standard_normal((count, factor.shape[0])) @ factor.T


def _recent(rng: np.random.Generator, count: int, memory: float) -> Float:
    """First-order autoregression with deviation 1."""
    noise = rng.standard_normal(count)
    out = np.empty(count)
    out[0] = noise[0]
    for i in range(1, count):
        out[i] = memory * out[i - 1] + np.sqrt(1 - memory**2) * noise[i]
    return out


def _wet_days(rng: np.random.Generator, climate: Climate, summer: Float) -> NDArray[np.bool_]:
    share = climate.wet_share[0] + (climate.wet_share[1] - climate.wet_share[0]) * summer
    after_wet = share + 0.32 * (1 - share)
    after_dry = share * (1 - after_wet) / (1 - share)
    draw = rng.random(summer.size)
    wet = np.empty(summer.size, dtype=bool)
    wet[0] = draw[0] < share[0]
    for i in range(1, summer.size):
        wet[i] = draw[i] < (after_wet[i] if wet[i - 1] else after_dry[i])
    return wet


def _rain(
    rng: np.random.Generator, climate: Climate, summer: Float, wet: NDArray[np.bool_], factor: Float
) -> Float:
    mean = climate.wet_amount[0] + (climate.wet_amount[1] - climate.wet_amount[0]) * summer
    amount = rng.gamma(0.75, 1 / 0.75, summer.size) * mean * wet
    pattern = _spread(rng, summer.size, factor)
    # Summer showers cover less of the ground than winter fronts.
    covered = np.clip((pattern + 1.8 - 0.9 * summer[:, None]) / 0.5, 0.0, 1.0)
    return amount[:, None] * covered * np.exp(0.55 * pattern - 0.5 * 0.55**2)


def _cloud(rng: np.random.Generator, climate: Climate, wet: NDArray[np.bool_], summer: Float) -> Float:
    noise = _recent(rng, wet.size, 0.4)
    dry_sky = 1.0 - climate.dry_clearness + 0.10 * (1 - summer)
    return np.clip(np.where(wet, 0.78, dry_sky) + 0.17 * noise, 0.0, 1.0)


def _sea_level_temperature(
    rng: np.random.Generator, climate: Climate, day_of_year: Float, wet: NDArray[np.bool_], factor: Float
) -> Float:
    season = climate.amplitude * np.cos(2 * np.pi * (day_of_year - 200.0) / 365.25)
    cold = 0.5 - 0.5 * np.cos(2 * np.pi * (day_of_year - 200.0) / 365.25)
    spell = (2.8 + 2.0 * cold) * _recent(rng, day_of_year.size, 0.72)
    base = climate.temperature + LAPSE * climate.elevation
    daily = base + season + spell - 1.5 * wet
    return daily[:, None] + 0.5 * _spread(rng, day_of_year.size, factor)


def _vapour_pressure(rng: np.random.Generator, climate: Climate, tmin: Float, cloud: Float) -> Float:
    gap = climate.dew_gap * (1.3 - cloud) + 0.8 * rng.standard_normal(cloud.size)
    return np.minimum(_saturation(tmin - gap[:, None]), _saturation(tmin))


def _wind(rng: np.random.Generator, climate: Climate, count: int, factor: Float) -> Float:
    daily = 0.35 * _recent(rng, count, 0.5)[:, None] + 0.06 * _spread(rng, count, factor)
    return np.asarray(np.maximum(climate.wind * np.exp(daily - 0.5 * 0.35**2), 0.3))
