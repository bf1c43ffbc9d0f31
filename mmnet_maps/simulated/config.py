"""Settings of a simulation."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Self

from pydantic import Field, model_validator
from pyproj import CRS
from pyproj.exceptions import CRSError

from mmnet_maps.config import Config
from mmnet_maps.simulated.climates import CLIMATES

__all__ = ["SimulationConfig"]


class SimulationConfig(Config):
    """What is simulated; the defaults are those of the demo.

    Attributes
    ----------
    seed : int
        The same seed gives the same bytes in every file, on one kind of processor.
    climates : tuple of str
        Climates of the training stations, of the six that there are.
    stations_per_climate : int
        Training stations of a climate.
    landscapes_per_climate : int
        Landscapes of a climate, over which its stations are spread.
    station_pixels : int
        Side of a station landscape, in pixels.
    station_first_day, station_last_day : date
        Days of the training stations, both included.
    region_climate : str
        Climate of the mapped region, whose landscape and weather are its own.
    region_pixels : int
        Side of the mapped region, in pixels.
    resolution : float
        Pixel size in metres.
    crs : str
        Projected CRS of the mapped region, in metres.
    longitude, latitude : float
        Centre of the mapped region, degree.
    first_day, last_day : date
        Days to be mapped, both included; the truth is kept for these.
    history_days : int
        Days of observations before `first_day`.
    spin_up_days : int
        Days simulated before the first observation and thrown away.
    validation_stations : int
        Stations inside the mapped region, none of which trains.
    optical_revisit_days, radar_revisit_days : int
        Days between two overpasses.
    """

    seed: int = Field(1, ge=0)
    climates: tuple[str, ...] = tuple(CLIMATES)
    stations_per_climate: int = Field(20, ge=1)
    landscapes_per_climate: int = Field(2, ge=1)
    station_pixels: int = Field(160, ge=32)
    station_first_day: date = date(2018, 1, 1)
    station_last_day: date = date(2019, 12, 31)
    region_climate: str = "southern_plains"
    region_pixels: int = Field(1024, ge=32)
    resolution: float = Field(30.0, gt=0)
    crs: str = "EPSG:32614"
    longitude: float = Field(-98.4, ge=-180, le=180)
    latitude: float = Field(36.4, ge=-60, le=60)
    first_day: date = date(2020, 5, 16)
    last_day: date = date(2020, 6, 14)
    history_days: int = Field(60, ge=10)
    spin_up_days: int = Field(90, ge=0)
    validation_stations: int = Field(20, ge=0)
    optical_revisit_days: int = Field(8, ge=1)
    radar_revisit_days: int = Field(12, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in (*self.climates, self.region_climate):
            if name not in CLIMATES:
                raise ValueError(f"climate {name} is unknown; known are {', '.join(CLIMATES)}")
        if not self.climates:
            raise ValueError("climates is empty; expected at least one")
        if self.station_last_day < self.station_first_day or self.last_day < self.first_day:
            raise ValueError("the last day is before the first day")
        if not _is_metric(self.crs):
            raise ValueError(f"crs {self.crs} is not a projected CRS in metres, as EPSG:32614 is")
        return self

    @property
    def region_history_start(self) -> date:
        """First day of observations of the mapped region."""
        return self.first_day - timedelta(days=self.history_days)


def _is_metric(crs: str) -> bool:
    try:
        known = CRS.from_user_input(crs)
    except CRSError:
        return False
    return known.is_projected and known.axis_info[0].unit_name == "metre"
