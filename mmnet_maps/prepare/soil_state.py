"""The state of the soil, computed only from weather: antecedent rain, water balance, snow, simple buckets.

Every channel of a day is a function of that day and the `MEMORY` days before it, and of nothing else. A
recursive filter would depend on the day on which it was started; here every day has its own start, `MEMORY`
days back, so that tables, cubes and blocks of days of any length give the same bits. The arrays are coarse
(stations, weather cells), so that the repeated work costs little.

Sources: antecedent precipitation index, Kohler and Linsley (1951), US Weather Bureau Research Paper 34;
degree-day melt, Hock (2003), Journal of Hydrology 282; evapotranspiration in proportion to the water that is
left, Thornthwaite and Mather (1955).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.catalogue import MEMORY, SOIL_STATE_INPUTS, Catalogue

__all__ = ["derive_series", "soil_state"]

Array = NDArray[np.float32]
Weather = Mapping[str, Array]

_ALL_SNOW, _ALL_RAIN = 0.0, 2.0  # degC of the daily mean; mixed between the two
_MELT = 3.0  # mm per degC and day
_WET_DAY = 1.0  # mm
_DECAYS = {"api80": 0.80, "api90": 0.90, "api95": 0.95, "api98": 0.98}
_BUCKETS = {"bucket15": 15.0, "bucket50": 50.0, "bucket150": 150.0}
#: Sums and means: the variable (``water`` is rain plus melt), its sign, the number of days; by channel.
_SUMS: dict[str, tuple[tuple[str, float, int], ...]] = {
    "pr_sum30": (("pr", 1.0, 30),),
    "pr_sum90": (("pr", 1.0, 90),),
    "pr_sum180": (("pr", 1.0, 180),),
    "balance30": (("pr", 1.0, 30), ("eto", -1.0, 30)),
    "balance90": (("pr", 1.0, 90), ("eto", -1.0, 90)),
    "vpd_mean30": (("vpd", 1.0 / 30, 30),),
    "t_mean30": (("tmax", 0.5 / 30, 30), ("tmin", 0.5 / 30, 30)),
}


def derive_series(catalogue: Catalogue, weather: Weather) -> dict[str, Array]:
    """Daily values of every series channel of a catalogue, from the daily values of its inputs.

    Parameters
    ----------
    catalogue : Catalogue
    weather : mapping of str to ndarray of float32, shape (days, n)
        `Catalogue.series_inputs`, one row a calendar day, missing days NaN.

    Returns
    -------
    dict of str to ndarray of float32, shape (days - h, n)
        In catalogue order, without the first ``h`` days, which are history: `MEMORY` if the catalogue has
        soil-state channels, else 0.
    """
    derived = tuple(name for name in catalogue.series if name in SOIL_STATE_INPUTS)
    if not derived:
        return {name: weather[name] for name in catalogue.series}
    state = soil_state(derived, weather)
    return {name: state[name] if name in state else weather[name][MEMORY:] for name in catalogue.series}


def soil_state(names: tuple[str, ...], weather: Weather) -> dict[str, Array]:
    """Compute soil-state channels.

    Parameters
    ----------
    names : tuple of str
        Of `mmnet_maps.catalogue.SOIL_STATE_INPUTS`.
    weather : mapping of str to ndarray of float32, shape (days, n)
        ``pr`` and ``eto`` (mm d-1), ``tmax`` and ``tmin`` (degC), ``vpd`` (kPa), as the channels need them.
        With temperatures, precipitation below freezing is kept as snow and enters the soil as it melts.

    Returns
    -------
    dict of str to ndarray of float32, shape (days - MEMORY, n)
        NaN where the weather of any of the `MEMORY` days before, or of the day, is missing.

    Raises
    ------
    ValueError
        There are no more than `MEMORY` days.
    """
    days = len(weather["pr"])
    if days <= MEMORY:
        raise ValueError(f"{days} days of weather, soil-state channels need more than {MEMORY}")
    simple = {n: _total(_SUMS[n], weather) for n in names if n in _SUMS}
    if "pr_log" in names:
        simple["pr_log"] = np.log1p(weather["pr"][MEMORY:])
    run = tuple(n for n in names if n not in simple)
    return simple | (_Run(run, weather).states() if run else {})


def _total(parts: tuple[tuple[str, float, int], ...], weather: Weather) -> Array:
    total = np.zeros_like(weather[parts[0][0]][MEMORY:])
    for name, factor, length in parts:
        values = weather[name]
        for back in range(length):
            total += np.float32(factor) * values[MEMORY - back : len(values) - back]
    return total


class _Run:
    """All states of all wanted days side by side, walked from `MEMORY` days back to the day itself."""

    def __init__(self, names: tuple[str, ...], weather: Weather) -> None:
        self.names, self.weather = names, weather
        shape = weather["pr"][MEMORY:].shape
        self.snow = np.zeros(shape, dtype=np.float32)
        self.dry = np.zeros(shape, dtype=np.float32)
        self.api = {n: np.zeros(shape, dtype=np.float32) for n in names if n in _DECAYS}
        self.bucket = {n: np.full(shape, _BUCKETS[n] / 2, dtype=np.float32) for n in names if n in _BUCKETS}

    def states(self) -> dict[str, Array]:
        for back in range(MEMORY, -1, -1):
            self._step({k: v[MEMORY - back : len(v) - back] for k, v in self.weather.items()})
        found = {**self.api, **self.bucket, "swe": self.snow, "dry_days": self.dry}
        return {name: found[name] for name in self.names}

    def _step(self, day: Weather) -> None:
        water = self._rain_and_melt(day)
        for name, index in self.api.items():
            index *= np.float32(_DECAYS[name])
            index += water
        for name, store in self.bucket.items():
            self._fill_and_drain(store, np.float32(_BUCKETS[name]), water, day["eto"])
        if "dry_days" in self.names:
            self.dry += np.float32(1)
            self.dry *= (water < _WET_DAY) | np.isnan(water)
            self.dry += water * np.float32(0)  # a missing day makes the count missing

    def _rain_and_melt(self, day: Weather) -> Array:
        rain = day["pr"]
        if "tmax" not in day:
            return rain
        mean = (day["tmax"] + day["tmin"]) * np.float32(0.5)
        share = np.clip((np.float32(_ALL_RAIN) - mean) / np.float32(_ALL_RAIN - _ALL_SNOW), 0, 1)
        fall = rain * share
        self.snow += fall
        melt = np.minimum(self.snow, np.maximum(mean, np.float32(0)) * np.float32(_MELT))
        self.snow -= melt
        water: Array = rain - fall + melt
        return water

    @staticmethod
    def _fill_and_drain(store: Array, capacity: np.float32, water: Array, demand: Array) -> None:
        store += water
        np.minimum(store, capacity, out=store)
        # Evaporation falls off once less than half is left.
        store -= demand * np.minimum(np.float32(1), store / (capacity * np.float32(0.5)))
        np.maximum(store, np.float32(0), out=store)
