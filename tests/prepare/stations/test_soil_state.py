"""Soil-state channels of station tables are those of `soil_state`, wherever the table begins and ends."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmnet_maps.catalogue import MEMORY
from mmnet_maps.prepare.soil_state import derive_series
from mmnet_maps.prepare.stations.settings import OwnWeatherConfig
from mmnet_maps.prepare.stations.table import StationTable, build_station_table
from mmnet_maps.sources.stations.uscrn import uscrn_catalogue

DAYS = 330
CATALOGUE = uscrn_catalogue(soil_state=True)


def made_up(seed: int = 3) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    dates = pd.date_range("2019-01-01", periods=DAYS).strftime("%Y%m%d").astype(int).to_numpy()
    weather, truth = [], []
    for place, name in enumerate("ab"):
        own = {n: rng.uniform(1, 9, DAYS) for n in CATALOGUE.series_inputs}
        own["tmax"] = own["tmin"] + 5
        weather.append(pd.DataFrame({"ID": name, "Date": dates, **own}))
        where = {"Network": "USCRN", "Latitude": 40.0 + place, "Longitude": -100.0}
        truth.append(pd.DataFrame({"ID": name, "Date": dates, "VWC_5": 0.2, **where}))
    network = pd.DataFrame({"ID": ["a", "b"], "Domain": ["W", "E"]})
    return pd.concat(weather), pd.concat(truth), network


def build(weather: pd.DataFrame, truth: pd.DataFrame, network: pd.DataFrame) -> StationTable:
    return build_station_table({"w": weather}, truth, network, OwnWeatherConfig(), CATALOGUE)


def test_a_row_holds_the_channels_of_its_day_and_of_the_days_of_its_lags() -> None:
    weather, truth, network = made_up()
    table = build(weather, truth, network)
    assert len(table.frame) == 2 * (DAYS - CATALOGUE.history_days)
    own = weather[weather["ID"] == "b"]
    dense = {n: own[n].to_numpy(np.float32)[:, None] for n in CATALOGUE.series_inputs}
    expected = derive_series(CATALOGUE, dense)
    rows = table.frame[table.frame["ID"] == "b"]
    first = CATALOGUE.history_days - MEMORY
    for name in CATALOGUE.series:
        for lag in (0, 1, 90):
            column = rows[f"{name}_{lag}" if lag else name].to_numpy()
            np.testing.assert_array_equal(column, expected[name][first - lag : len(expected[name]) - lag, 0])


def test_rows_before_there_is_half_a_year_of_weather_are_left_out_with_the_reason() -> None:
    table = build(*made_up())
    assert table.report.left_out["window of api80 incomplete"] == 2 * MEMORY
    assert table.report.left_out["window of tmax incomplete"] == 2 * CATALOGUE.window_days


def test_weather_of_later_days_does_not_change_a_row() -> None:
    weather, truth, network = made_up()
    changed = weather.assign(pr=weather["pr"].where(weather["Date"] < 20191115, 0.0))
    before, after = (build(w, truth, network).frame for w in (weather, changed))
    early = before["Date"] < 20191115
    assert 0 < early.sum() < len(before)
    pd.testing.assert_frame_equal(before[early], after[early])
    assert (before.loc[~early, "api90"] != after.loc[~early, "api90"]).all()


def test_a_day_without_rain_record_leaves_out_the_half_year_and_the_window_after_it() -> None:
    weather, truth, network = made_up()
    gap = weather["Date"].between(20190601, 20190610) & (weather["ID"] == "a")
    table = build(weather.assign(pr=weather["pr"].mask(gap)), truth, network)
    assert set(table.frame["ID"]) == {"b"}
