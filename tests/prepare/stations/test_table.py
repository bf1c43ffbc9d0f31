from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from mmnet_maps.catalogue import LAND_COVER_CLASSES, published_catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.prepare.features import window
from mmnet_maps.prepare.stations.files import model_columns
from mmnet_maps.prepare.stations.settings import OwnWeatherConfig, StationTableConfig
from mmnet_maps.prepare.stations.table import build_station_table
from mmnet_maps.sources.stations.in_situ import read_in_situ, read_network
from mmnet_maps.sources.stations.raw_exports import read_raw_folder


@pytest.fixture(scope="module")
def plain() -> ModuleType:
    """The per-station pandas implementation of the benchmark: the second opinion."""
    path = Path(__file__).parents[2] / "benchmarks" / "bench_station_table.py"
    spec = importlib.util.spec_from_file_location("bench_station_table", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def exports(plain: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    files: tuple[Path, Path, Path] = plain.write_exports(tmp_path_factory.mktemp("exports"), 5, [2016, 2017])
    return files


def test_the_table_equals_a_plain_pandas_implementation(
    plain: ModuleType, exports: tuple[Path, Path, Path]
) -> None:
    here, there = plain.build_here(*exports), plain.straightforward(*exports)
    assert len(here) > 2500
    assert plain.compare(here, there) < 1e-4


@pytest.fixture(scope="module")
def published(shared: Path) -> tuple[dict[str, pd.DataFrame], pd.DataFrame, pd.DataFrame]:
    place = shared / "spec" / "published-example"
    return (
        read_raw_folder(place / "raw"),
        read_in_situ(place / "in_situ.csv"),
        read_network(place / "network.gpkg"),
    )


def test_the_published_example_folder_gives_a_whole_table(published: tuple) -> None:
    table = build_station_table(*published)
    frame, report = table.frame, table.report
    catalogue = published_catalogue()
    assert list(frame.columns[:8]) == [
        "ID", "Network", "Latitude", "Longitude", "Date", "Year", "Domain", "VWC_5",
    ]  # fmt: skip
    assert np.isfinite(frame[list(model_columns(catalogue))].to_numpy()).all()
    one_hot = frame[[f"LC_{name}" for name in LAND_COVER_CLASSES]].to_numpy()
    assert list(frame["LC_name"]) == [LAND_COVER_CLASSES[k] for k in one_hot.argmax(axis=1)]
    assert not frame.duplicated(["ID", "Date"]).any()
    assert report.rows + sum(report.left_out.values()) == report.rows_read == 2092
    assert report.rows == len(frame) > 1900
    assert dict(zip(frame["ID"], frame["Domain"], strict=True)) == {
        "SCAN_Alkali_Mesa": "W",
        "USCRN_Stillwater_2_W": "M",
        "SCAN_Watkinsville_#1": "E",
    }
    assert {name: frame[name].dtype for name in ("NIR", "eto_3", "ndvi")} == dict.fromkeys(
        ("NIR", "eto_3", "ndvi"), np.dtype(np.float32)
    )
    # The lagged value is the value of that day, wherever the table holds that day too.
    daily = frame.set_index(["ID", pd.to_datetime(frame["Date"].astype(str))])
    for name, lag in (("LST", 1), ("LST", 10), ("eto", 7), ("SMAP", 4)):
        earlier = daily.index.set_levels(daily.index.levels[1] - pd.Timedelta(lag, "D"), level=1)
        both = daily.index.intersection(earlier)
        later = both.set_levels(both.levels[1] + pd.Timedelta(lag, "D"), level=1).intersection(daily.index)
        back = later.set_levels(later.levels[1] - pd.Timedelta(lag, "D"), level=1)
        known = back.isin(daily.index)
        assert known.sum() > 1000
        lagged = daily.loc[later[known], f"{name}_{lag}"].to_numpy()
        np.testing.assert_array_equal(lagged, daily.loc[back[known], name].to_numpy())


def test_windows_are_those_of_the_map_path(published: tuple) -> None:
    tables = published[0]
    frame = build_station_table(*published).frame
    station = frame["ID"].iloc[0]
    mine = frame[frame["ID"] == station]
    weather = tables["gridmet"][tables["gridmet"]["ID"] == station]
    days = pd.date_range("2016-01-01", "2017-12-31")
    series = weather.set_index(pd.to_datetime(weather["Date"].astype(str)))["vpd"].reindex(days)
    lags = published_catalogue().lags
    cut = window(series.to_numpy(np.float32)[:, None], 10, lags, len(days) - 10)[:, :, 0]
    place = days.get_indexer(pd.to_datetime(mine["Date"].astype(str))) - 10
    columns = [f"vpd_{lag}" if lag else "vpd" for lag in lags]
    np.testing.assert_array_equal(mine[columns].to_numpy(), cut[place])


def test_a_catalogue_without_radar_needs_no_radar(published: tuple) -> None:
    tables, in_situ, network = published
    catalogue = published_catalogue().without(["VV", "VH", "angle", "sand"])
    few = {name: table for name, table in tables.items() if name != "sentinel1"}
    table = build_station_table(few, in_situ, network, catalogue=catalogue)
    assert table.catalogue == catalogue
    assert not {"VV", "cr", "sand", "sentinel1_age"} & set(table.frame.columns)
    assert len(table.frame) == len(build_station_table(*published).frame)
    with pytest.raises(InputError, match="no table holds VV by Date"):
        build_station_table(few, in_situ, network)


def test_a_variable_that_the_model_does_not_need_drops_no_row(published: tuple) -> None:
    tables, in_situ, network = published
    blank = tables["hls"].assign(TIRS1=np.nan)
    table = build_station_table({**tables, "hls": blank}, in_situ, network)
    assert table.frame["TIRS1"].isna().all()
    assert len(table.frame) == len(build_station_table(*published).frame)


def test_the_cyclic_encoding_and_the_fill_are_chosen_in_the_settings(published: tuple) -> None:
    settings = StationTableConfig(encoding="cyclic", fill="past", gap_limits="none")
    table = build_station_table(*published, settings)
    assert table.catalogue.encoding == "cyclic"
    assert {"DoY_sin", "aspect_cos"} <= set(table.frame.columns)
    assert "DoY_normalized" not in table.frame.columns
    assert table.catalogue["LST"].fill == "past" and table.catalogue["LST"].max_gap is None


def test_a_causal_table_does_not_change_when_the_future_does(published: tuple) -> None:
    tables, in_situ, network = published
    settings = StationTableConfig(fill="past")
    catalogue = published_catalogue()
    # The share of observations that a station must have is the one rule that looks at its whole record.
    every = tuple(v.model_copy(update={"min_share": 0.0}) for v in catalogue.variables)
    catalogue = catalogue.model_copy(update={"variables": every})
    table = build_station_table(*published, settings, catalogue)
    cut = 20170601
    past = {n: t[t["Date"] < cut] if "Date" in t.columns else t for n, t in tables.items()}
    early = build_station_table(past, in_situ[in_situ["Date"] < cut], network, settings, catalogue).frame
    whole = table.frame[table.frame["Date"] < cut].reset_index(drop=True)
    pd.testing.assert_frame_equal(whole, early, check_exact=True)


def test_settings_are_read_and_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    path.write_text("fill: past\nvwc_missing_share: 0.5\n", encoding="utf-8")
    settings = StationTableConfig.load(path, ["window_missing=fill", "networks=[SCAN]"])
    assert (settings.fill, settings.vwc_missing_share, settings.networks) == ("past", 0.5, ("SCAN",))
    assert OwnWeatherConfig.load(path).vwc_missing_share == 0.5
    with pytest.raises(InputError, match="unknown key gap_limit"):
        StationTableConfig.load(None, ["gap_limit=none"])


def test_rows_and_stations_do_not_depend_on_the_order_of_the_input(published: tuple) -> None:
    tables, in_situ, network = published
    rng = np.random.default_rng(0)
    mixed = {n: t.iloc[rng.permutation(len(t))].reset_index(drop=True) for n, t in tables.items()}
    mixed = dict(reversed(mixed.items()))
    table = build_station_table(mixed, in_situ.sample(frac=1, random_state=1), network.iloc[::-1])
    whole = build_station_table(*published)
    ages = [c for c in whole.frame.columns if c.endswith("_age")]
    columns = [c for c in whole.frame.columns if c not in ages]
    pd.testing.assert_frame_equal(table.frame[columns], whole.frame[columns], check_exact=True)


def test_what_is_wrong_is_named_in_one_line(published: tuple) -> None:
    tables, in_situ, network = published
    cases = {
        "no station of SCAN, USCRN in the ground truth; found NEON": (
            tables, in_situ.assign(Network="NEON"), network,
        ),
        "station SCAN_Alkali_Mesa of the ground truth is not in the network": (
            tables, in_situ, network[network["Domain"] != "W"],
        ),
        "no column Domain": (tables, in_situ, network.drop(columns="Domain")),
        "table hls has no station of the ground truth: its ids are like x": (
            {**tables, "hls": tables["hls"].assign(ID="x")}, in_situ, network,
        ),
        "Date 20160230 is not a date": (
            {**tables, "gridmet": tables["gridmet"].assign(Date=20160230)}, in_situ, network,
        ),
        "no row is left for the station table; rows left out: 2092 soil moisture missing": (
            tables, in_situ.assign(VWC_5=np.nan), network,
        ),
    }  # fmt: skip
    for expected, given in cases.items():
        settings = StationTableConfig(vwc_missing_share=2.0)
        with pytest.raises(InputError, match=expected) as error:
            build_station_table(*given, settings)
        assert "\n" not in str(error.value)


def test_climate_and_state_of_the_network_go_into_the_table(published: tuple) -> None:
    tables, in_situ, network = published
    frame = build_station_table(tables, in_situ, network.assign(Climate=["BSk", "Cfa", "Dfb"])).frame
    expected = dict(zip(network["ID"], ["BSk", "Cfa", "Dfb"], strict=True))
    assert dict(zip(frame["ID"], frame["Climate"], strict=True)) == expected


def test_fill_values_are_missing_and_another_unit_is_refused(published: tuple) -> None:
    tables, truth, network = published
    weather, lst = tables["gridmet"], tables["modis"]
    filled = weather.assign(pr=weather["pr"].where(np.arange(len(weather)) % 9 > 0, -9999.0))
    gone = weather.assign(pr=weather["pr"].where(np.arange(len(weather)) % 9 > 0))
    one = build_station_table({**tables, "gridmet": filled}, truth, network)
    other = build_station_table({**tables, "gridmet": gone}, truth, network)
    pd.testing.assert_frame_equal(one.frame, other.frame)
    assert one.report.screened["pr as fill values"] == -(-len(weather) // 9)
    for change in (0.02, -1.0):
        with pytest.raises(InputError, match=r"modis: 100% of the values of LST are outside 7500 to 65535"):
            build_station_table({**tables, "modis": lst.assign(LST=lst["LST"] * change)}, truth, network)
