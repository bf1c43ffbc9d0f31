"""Soil-state channels against closed forms and a plain loop, and their independence of where data begins."""

from __future__ import annotations

import numpy as np
import pytest

from mmnet_maps.catalogue import MEMORY, SOIL_STATE_INPUTS, published_catalogue
from mmnet_maps.prepare.soil_state import derive_series, soil_state

ALL = tuple(SOIL_STATE_INPUTS)


def some_weather(days: int = MEMORY + 40, n: int = 3, seed: int = 5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    season = 12 * np.cos(np.arange(days) / 365 * 2 * np.pi)[:, None]
    tmin = rng.normal(-4, 3, (days, n)) - season
    weather = {
        "pr": rng.gamma(0.5, 8, (days, n)) * (rng.random((days, n)) < 0.3),
        "eto": rng.uniform(0.5, 6, (days, n)),
        "tmax": tmin + rng.uniform(3, 14, (days, n)),
        "tmin": tmin,
        "vpd": rng.uniform(0, 3, (days, n)),
    }
    return {name: values.astype(np.float32) for name, values in weather.items()}


def one_day_in_plain_python(weather: dict[str, np.ndarray], day: int, column: int) -> dict[str, float]:
    """The channels of one day of one place, written down independently, in double precision."""
    snow, dry = 0.0, 0
    api = dict.fromkeys((80, 90, 95, 98), 0.0)
    store = {size: size / 2 for size in (15, 50, 150)}
    for d in range(day - MEMORY, day + 1):
        pr, eto, tmax, tmin = (float(weather[k][d, column]) for k in ("pr", "eto", "tmax", "tmin"))
        mean = (tmax + tmin) / 2
        frozen = pr * min(1.0, max(0.0, (2 - mean) / 2))
        melt = min(snow + frozen, max(mean, 0) * 3)
        snow += frozen - melt
        water = pr - frozen + melt
        dry = 0 if water >= 1 else dry + 1
        for percent in api:
            api[percent] = api[percent] * percent / 100 + water
        for size in store:
            wet = min(size, store[size] + water)
            store[size] = max(0.0, wet - eto * min(1.0, wet / (size / 2)))
    found = {f"api{k}": v for k, v in api.items()} | {f"bucket{k}": v for k, v in store.items()}
    return found | {"swe": snow, "dry_days": float(dry)}


def test_the_walked_states_equal_a_plain_loop_of_one_day_and_place() -> None:
    weather = some_weather()
    found = soil_state(ALL, weather)
    for day in (MEMORY, MEMORY + 17, MEMORY + 39):
        for column in range(3):
            expected = one_day_in_plain_python(weather, day, column)
            for name, value in expected.items():
                assert found[name][day - MEMORY, column] == pytest.approx(value, rel=2e-4, abs=2e-4), name


def test_sums_and_means_equal_numpy_over_the_days_they_name() -> None:
    weather = some_weather()
    found = soil_state(ALL, weather)
    day = MEMORY + 9
    assert found["pr_sum90"][9] == pytest.approx(weather["pr"][day - 89 : day + 1].sum(axis=0), rel=1e-5)
    balance = (weather["pr"] - weather["eto"])[day - 29 : day + 1].sum(axis=0)
    assert found["balance30"][9] == pytest.approx(balance, rel=1e-4, abs=1e-3)
    mean = (weather["tmax"] + weather["tmin"])[day - 29 : day + 1].mean(axis=0) / 2
    assert found["t_mean30"][9] == pytest.approx(mean, rel=1e-4, abs=1e-4)
    assert found["pr_log"][9] == pytest.approx(np.log1p(weather["pr"][day]), rel=1e-6)


def test_constant_rain_gives_the_geometric_sum() -> None:
    weather = {"pr": np.full((MEMORY + 1, 1), 2, dtype=np.float32)}
    found = soil_state(("api80", "api98"), weather)
    assert found["api80"][0, 0] == pytest.approx(2 * (1 - 0.80 ** (MEMORY + 1)) / 0.20, rel=1e-5)
    assert found["api98"][0, 0] == pytest.approx(2 * (1 - 0.98 ** (MEMORY + 1)) / 0.02, rel=1e-5)


def test_a_day_has_the_same_bits_wherever_its_weather_begins_and_ends() -> None:
    weather = some_weather()
    whole = soil_state(ALL, weather)
    part = soil_state(ALL, {k: v[11 : MEMORY + 30] for k, v in weather.items()})
    for name in ALL:
        np.testing.assert_array_equal(whole[name][11:30], part[name], err_msg=name)


def test_missing_weather_makes_the_channels_missing_while_they_remember_it() -> None:
    weather = some_weather(days=2 * MEMORY + 5)
    weather["pr"][MEMORY, 1] = np.nan
    found = soil_state(ALL, weather)
    for name in ("api80", "bucket50", "dry_days", "pr_sum180"):
        assert not np.isnan(found[name][:, 0]).any()
        assert np.isnan(found[name][0, 1]), name
    assert np.isnan(found["api98"][MEMORY, 1]) and not np.isnan(found["api98"][MEMORY + 1, 1])


def test_a_catalogue_without_soil_state_gives_its_weather_back() -> None:
    catalogue = published_catalogue().without(["LST"])
    weather = {name: np.ones((4, 2), dtype=np.float32) for name in catalogue.series_inputs}
    found = derive_series(catalogue, weather)
    assert list(found) == list(catalogue.series)
    assert all(len(v) == 4 for v in found.values())


def test_with_soil_state_takes_only_what_can_be_computed() -> None:
    catalogue = published_catalogue().with_soil_state()
    assert "swe" not in catalogue.series and "t_mean30" not in catalogue.series
    assert {"api80", "bucket150", "vpd_mean30"} <= set(catalogue.series)
    assert catalogue.history_days == 90 + MEMORY
    assert set(catalogue.series_inputs) == set(published_catalogue().series)
    assert "bucket15" not in catalogue.without(["eto"]).series
    weather = {n: np.ones((MEMORY + 2, 1), dtype=np.float32) for n in catalogue.series_inputs}
    found = derive_series(catalogue, weather)
    assert list(found) == list(catalogue.series)
    assert all(v.shape == (2, 1) for v in found.values())
