"""One simulated place from its landscape to what every instrument sees of it, day by day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.grid import Grid, Tile, cell_lookup
from mmnet_maps.simulated.climates import Climate
from mmnet_maps.simulated.config import SimulationConfig
from mmnet_maps.simulated.fields import generator
from mmnet_maps.simulated.forcing import Forcing
from mmnet_maps.simulated.grids import GRIDMET, Cells, cover
from mmnet_maps.simulated.instruments import Clouds, PassiveRadiometer, Thermometer
from mmnet_maps.simulated.landscape import make_landscape
from mmnet_maps.simulated.packings import WEATHER
from mmnet_maps.simulated.scenes import OpticalImager, Radar
from mmnet_maps.simulated.water_balance import WaterBalance
from mmnet_maps.simulated.weather import LAPSE, Weather, make_weather

__all__ = ["Observations", "Site", "day_number"]


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return day.toordinal() - date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Observations:
    """What is seen of a site on one day: coarse fields as stored (`packings`), scenes yet to be stored.

    Attributes
    ----------
    day : int
        Days since 1970-01-01.
    moisture : ndarray of float32, shape (rows, cols)
        The truth, m3 m-3; NaN on open water. Valid until the next day is drawn.
    frozen : ndarray of bool, shape (rows, cols)
        Snow lies or the ground is frozen: a probe in the soil gives no good value.
    weather : dict of str to ndarray, shape (cells,)
    smap, lst : ndarray, shape (cells,)
    optical : ndarray of float32, shape (6, rows, cols), or None
        Reflectance on a day with a scene.
    radar : ndarray of float32, shape (2, rows, cols), or None
        Backscatter in dB on a day with a scene.
    """

    day: int
    moisture: NDArray[np.float32]
    frozen: NDArray[np.bool_]
    weather: dict[str, NDArray[np.uint16]]
    smap: NDArray[np.int16]
    lst: NDArray[np.uint16]
    optical: NDArray[np.float32] | None
    radar: NDArray[np.float32] | None


class Site:
    """A place with its landscape, weather, water and instruments.

    Parameters
    ----------
    config : SimulationConfig
    number : int
        Number of the place; it and the seed determine everything drawn.
    climate : Climate
    grid : Grid
    first_day, last_day : date
        Days observed, both included; the spin-up lies before.
    """

    def __init__(
        self,
        config: SimulationConfig,
        number: int,
        climate: Climate,
        grid: Grid,
        first_day: date,
        last_day: date,
    ) -> None:
        seed = config.seed
        self._config, self._observed_from = config, day_number(first_day)
        self.landscape = make_landscape(seed, number, climate, grid)
        self.weather_cells = _weather_cells(grid)
        self.weather = self._make_weather(seed, number, climate, day_number(last_day))
        self._stored_weather = {n: p.encode(self.weather.values[n]) for n, p in WEATHER.items()}
        forcing = Forcing(grid, self.weather)
        stamps = self.weather.days.astype("datetime64[D]")
        self._day_of_year = (stamps - stamps.astype("datetime64[Y]")).astype(np.int64) + 1
        coldest = self.weather.values["sea_level_mean"].min(axis=1)
        coldest = coldest - LAPSE * float(self.landscape.terrain.elevation.max())
        self.balance = WaterBalance(self.landscape, forcing, self._day_of_year, coldest)
        self._coldest = coldest
        self.radiometer = PassiveRadiometer(generator(seed, number, 20), self.landscape)
        self.thermometer = Thermometer(generator(seed, number, 21), self.landscape, forcing)
        self.imager = OpticalImager(generator(seed, number, 22), self.landscape)
        self.radar = Radar(generator(seed, number, 23), self.landscape)
        self._clouds = Clouds(generator(seed, number, 24), grid.shape, abs(grid.transform[0]))
        phases = generator(seed, number, 25).integers(0, 1_000, 2)
        self._phases = int(phases[0]), int(phases[1])

    def _make_weather(self, seed: int, number: int, climate: Climate, last: int) -> Weather:
        days = np.arange(self._observed_from - self._config.spin_up_days, last + 1, dtype=np.int64)
        ground = self.landscape.terrain.elevation
        elevation = self.weather_cells.mean(ground)
        elevation = np.where(np.isnan(elevation), ground.mean(dtype=np.float64), elevation)
        return make_weather(seed, number, climate, self.weather_cells.grid, elevation, days)

    def days(self) -> Iterator[Observations]:
        """Run through the days, spin-up first and unseen."""
        for number, day in enumerate(self.weather.days.tolist()):
            self.balance.step(number)
            if day >= self._observed_from:
                yield self._observe(number, day)

    def _observe(self, number: int, day: int) -> Observations:
        balance, land = self.balance, self.landscape.cover.land
        weather = {name: values[number] for name, values in self._stored_weather.items()}
        self._clouds.set_day(float(self.weather.values["cloud"][number, 0]))
        optical_day = (day + self._phases[0]) % self._config.optical_revisit_days == 0
        radar_day = (day + self._phases[1]) % self._config.radar_revisit_days == 0
        return Observations(
            day=day,
            moisture=np.where(land, balance.moisture, np.float32(np.nan)),
            frozen=(balance.snow > 1.0) | bool(self._coldest[number] < -3.0),
            weather=weather,
            smap=self.radiometer.see(balance.moisture),
            lst=self.thermometer.see(number, balance, self._clouds),
            optical=self.imager.see(balance, self._clouds) if optical_day else None,
            radar=self.radar.see(balance) if radar_day else None,
        )


def _weather_cells(grid: Grid) -> Cells:
    """The 1/24 degree cells around a site with a margin, and the cell of each pixel."""
    wide = cover(GRIDMET, grid, margin=1)
    found = cell_lookup(grid, Tile(0, 0, grid.height, grid.width), wide)
    row, col = np.divmod(found.index.ravel().astype(np.int64), found.shape[1])
    return Cells(wide, (row + found.rows.start) * wide.width + col + found.cols.start)
