"""What the air asks of the soil, from the temperatures and humidity that a weather station records.

Source: R. G. Allen et al. (1998), Crop evapotranspiration, FAO Irrigation and Drainage Paper 56: equations
21-25 (radiation above the atmosphere), 52 (Hargreaves and Samani 1985), 11, 12 and 19 (vapour pressure).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["extraterrestrial_radiation", "hargreaves", "vapour_pressure_deficit"]

Values = NDArray[np.float64]

_SOLAR = 0.0820  # MJ m-2 min-1
_MM_PER_MJ = 0.408  # of water that evaporates, per MJ m-2


def extraterrestrial_radiation(latitude: Values, day_of_year: NDArray[np.integer]) -> Values:
    """Short-wave radiation of a day above the atmosphere, MJ m-2 d-1.

    Parameters
    ----------
    latitude : ndarray of float64
        Degrees north.
    day_of_year : ndarray of integers
        1 for the first of January; broadcast against `latitude`.
    """
    phi, angle = np.deg2rad(latitude), 2 * np.pi / 365 * day_of_year
    distance = 1 + 0.033 * np.cos(angle)
    declination = 0.409 * np.sin(angle - 1.39)
    # Beyond the polar circles the sun does not set, or does not rise.
    sunset = np.arccos(np.clip(-np.tan(phi) * np.tan(declination), -1, 1))
    high = sunset * np.sin(phi) * np.sin(declination)
    wide = np.cos(phi) * np.cos(declination) * np.sin(sunset)
    result: Values = 24 * 60 / np.pi * _SOLAR * distance * (high + wide)
    return result


def hargreaves(tmax: Values, tmin: Values, latitude: Values, day_of_year: NDArray[np.integer]) -> Values:
    """Reference evapotranspiration of grass, mm d-1, at least 0.

    Parameters
    ----------
    tmax, tmin : ndarray of float64
        Highest and lowest air temperature of the day, degC; NaN is missing.
    latitude, day_of_year : ndarray
        As in `extraterrestrial_radiation`.
    """
    mean, span = (tmax + tmin) / 2, np.maximum(tmax - tmin, 0)
    water = _MM_PER_MJ * extraterrestrial_radiation(latitude, day_of_year)
    result: Values = np.maximum(0.0023 * (mean + 17.8) * np.sqrt(span) * water, 0)
    return result


def vapour_pressure_deficit(tmax: Values, tmin: Values, humidity: Values) -> Values:
    """Mean vapour pressure deficit of a day, kPa.

    Parameters
    ----------
    tmax, tmin : ndarray of float64
        degC.
    humidity : ndarray of float64
        Mean relative humidity, %.
    """
    saturated = (_saturation(tmax) + _saturation(tmin)) / 2
    result: Values = saturated * (1 - humidity / 100)
    return result


def _saturation(temperature: Values) -> Values:
    result: Values = 0.6108 * np.exp(17.27 * temperature / (temperature + 237.3))
    return result
