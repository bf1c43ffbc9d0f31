"""Climates that the simulated stations and regions stand in.

The numbers are of the size that stations of the named part of the United States report; they shape a
plausible place, and copy none.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["CLIMATES", "Climate"]


@dataclass(frozen=True)
class Climate:
    """Long-term means of a place, and what its ground is made of.

    Attributes
    ----------
    longitude, latitude, elevation : float
        Centre (degree) and mean elevation (m).
    domain : str
        W, M or E, the part of the network.
    mean_slope : float
        Mean slope of the terrain at pixel scale, degree.
    temperature, amplitude, daily_range : float
        Mean, half the yearly range, and mean daily range of air temperature, degree C, at `elevation`.
    wet_share : (float, float)
        Share of wet days in mid-winter and mid-summer.
    wet_amount : (float, float)
        Mean rain of a wet day in mid-winter and mid-summer, mm.
    dew_gap : float
        How far the dew point stays below the daily minimum on dry days, K.
    dry_clearness : float
        Share of bright sunshine on dry days.
    wind : float
        Mean wind speed at 10 m, m s-1.
    clay, sand : float
        Mean texture, %.
    green_up : float
        Day of year of spring's half-way point.
    cover : dict of str to float
        Rough shares of the land covers (`land_cover.PLANTS`).
    """

    longitude: float
    latitude: float
    elevation: float
    domain: str
    mean_slope: float
    temperature: float
    amplitude: float
    daily_range: float
    wet_share: tuple[float, float]
    wet_amount: tuple[float, float]
    dew_gap: float
    dry_clearness: float
    wind: float
    clay: float
    sand: float
    green_up: float
    cover: dict[str, float] = field(default_factory=dict)


CLIMATES: dict[str, Climate] = {
    "desert_southwest": Climate(
        -110.6,
        32.9,
        980.0,
        "W",
        5.0,
        19.0,
        10.0,
        16.0,
        (0.10, 0.16),
        (5.0, 7.0),
        5.0,
        0.88,
        3.2,
        14.0,
        58.0,
        75.0,
        {
            "barren": 0.14,
            "shrub": 0.52,
            "grass": 0.20,
            "conifer": 0.05,
            "summer_crop": 0.04,
            "developed": 0.04,
            "water": 0.004,
            "wetland": 0.006,
        },
    ),
    "mountain_west": Climate(
        -110.2,
        40.4,
        2050.0,
        "W",
        9.0,
        6.5,
        13.0,
        15.0,
        (0.27, 0.22),
        (5.0, 5.5),
        2.5,
        0.80,
        3.4,
        20.0,
        42.0,
        125.0,
        {
            "barren": 0.06,
            "shrub": 0.28,
            "grass": 0.20,
            "conifer": 0.24,
            "deciduous": 0.08,
            "pasture": 0.08,
            "developed": 0.03,
            "water": 0.012,
            "wetland": 0.018,
        },
    ),
    "northern_plains": Climate(
        -99.2,
        46.1,
        520.0,
        "M",
        1.6,
        5.5,
        17.0,
        12.5,
        (0.20, 0.30),
        (2.5, 8.0),
        1.5,
        0.74,
        5.0,
        27.0,
        32.0,
        128.0,
        {
            "grass": 0.26,
            "pasture": 0.14,
            "summer_crop": 0.34,
            "winter_crop": 0.08,
            "deciduous": 0.05,
            "developed": 0.04,
            "water": 0.03,
            "wetland": 0.06,
        },
    ),
    "southern_plains": Climate(
        -97.3,
        35.9,
        340.0,
        "M",
        2.4,
        15.5,
        12.0,
        13.0,
        (0.24, 0.34),
        (6.0, 10.5),
        2.0,
        0.76,
        4.6,
        22.0,
        38.0,
        92.0,
        {
            "shrub": 0.07,
            "grass": 0.30,
            "pasture": 0.14,
            "summer_crop": 0.09,
            "winter_crop": 0.16,
            "deciduous": 0.13,
            "conifer": 0.02,
            "barren": 0.01,
            "developed": 0.05,
            "water": 0.012,
            "wetland": 0.018,
        },
    ),
    "humid_midwest": Climate(
        -88.9,
        40.1,
        220.0,
        "E",
        1.5,
        11.0,
        14.0,
        11.0,
        (0.32, 0.34),
        (6.0, 10.0),
        1.0,
        0.66,
        4.2,
        26.0,
        22.0,
        112.0,
        {
            "summer_crop": 0.50,
            "winter_crop": 0.05,
            "pasture": 0.12,
            "grass": 0.05,
            "deciduous": 0.16,
            "developed": 0.08,
            "water": 0.015,
            "wetland": 0.025,
        },
    ),
    "humid_southeast": Climate(
        -83.6,
        32.6,
        130.0,
        "E",
        2.6,
        18.0,
        9.5,
        12.0,
        (0.30, 0.38),
        (10.0, 10.5),
        1.0,
        0.64,
        2.8,
        20.0,
        56.0,
        80.0,
        {
            "conifer": 0.30,
            "deciduous": 0.22,
            "summer_crop": 0.14,
            "pasture": 0.12,
            "grass": 0.05,
            "shrub": 0.05,
            "developed": 0.06,
            "water": 0.015,
            "wetland": 0.045,
        },
    ),
}
