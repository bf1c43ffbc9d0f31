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
        Rough shares of the land covers (`plants.PLANTS`).
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
        longitude=-110.6,
        latitude=32.9,
        elevation=980.0,
        domain="W",
        mean_slope=5.0,
        temperature=19.0,
        amplitude=10.0,
        daily_range=16.0,
        wet_share=(0.1, 0.16),
        wet_amount=(5.0, 7.0),
        dew_gap=5.0,
        dry_clearness=0.88,
        wind=3.2,
        clay=14.0,
        sand=58.0,
        green_up=75.0,
        cover={
            "barren": 0.14,
            "shrub": 0.52,
            "grass": 0.2,
            "conifer": 0.05,
            "summer_crop": 0.04,
            "developed": 0.04,
            "water": 0.004,
            "wetland": 0.006,
        },
    ),
    "mountain_west": Climate(
        longitude=-110.2,
        latitude=40.4,
        elevation=2050.0,
        domain="W",
        mean_slope=9.0,
        temperature=6.5,
        amplitude=13.0,
        daily_range=15.0,
        wet_share=(0.27, 0.22),
        wet_amount=(5.0, 5.5),
        dew_gap=2.5,
        dry_clearness=0.8,
        wind=3.4,
        clay=20.0,
        sand=42.0,
        green_up=125.0,
        cover={
            "barren": 0.06,
            "shrub": 0.28,
            "grass": 0.2,
            "conifer": 0.24,
            "deciduous": 0.08,
            "pasture": 0.08,
            "developed": 0.03,
            "water": 0.012,
            "wetland": 0.018,
        },
    ),
    "northern_plains": Climate(
        longitude=-99.2,
        latitude=46.1,
        elevation=520.0,
        domain="M",
        mean_slope=1.6,
        temperature=5.5,
        amplitude=17.0,
        daily_range=12.5,
        wet_share=(0.2, 0.3),
        wet_amount=(2.5, 8.0),
        dew_gap=1.5,
        dry_clearness=0.74,
        wind=5.0,
        clay=27.0,
        sand=32.0,
        green_up=128.0,
        cover={
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
        longitude=-97.3,
        latitude=35.9,
        elevation=340.0,
        domain="M",
        mean_slope=2.4,
        temperature=15.5,
        amplitude=12.0,
        daily_range=13.0,
        wet_share=(0.24, 0.34),
        wet_amount=(6.0, 10.5),
        dew_gap=2.0,
        dry_clearness=0.76,
        wind=4.6,
        clay=22.0,
        sand=38.0,
        green_up=92.0,
        cover={
            "shrub": 0.07,
            "grass": 0.3,
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
        longitude=-88.9,
        latitude=40.1,
        elevation=220.0,
        domain="E",
        mean_slope=1.5,
        temperature=11.0,
        amplitude=14.0,
        daily_range=11.0,
        wet_share=(0.32, 0.34),
        wet_amount=(6.0, 10.0),
        dew_gap=1.0,
        dry_clearness=0.66,
        wind=4.2,
        clay=26.0,
        sand=22.0,
        green_up=112.0,
        cover={
            "summer_crop": 0.5,
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
        longitude=-83.6,
        latitude=32.6,
        elevation=130.0,
        domain="E",
        mean_slope=2.6,
        temperature=18.0,
        amplitude=9.5,
        daily_range=12.0,
        wet_share=(0.3, 0.38),
        wet_amount=(10.0, 10.5),
        dew_gap=1.0,
        dry_clearness=0.64,
        wind=2.8,
        clay=20.0,
        sand=56.0,
        green_up=80.0,
        cover={
            "conifer": 0.3,
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
