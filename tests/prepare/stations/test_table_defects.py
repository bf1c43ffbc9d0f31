"""What the published pipeline gets wrong from raw exports to table: each test fails on its behaviour."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmnet_maps.catalogue import Catalogue, published_catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.prepare.stations.settings import StationTableConfig
from mmnet_maps.prepare.stations.table import StationTable, build_station_table
from mmnet_maps.sources.stations.in_situ import read_in_situ, read_network
from mmnet_maps.sources.stations.raw_exports import read_raw_folder

STATION = "SCAN_Station_#1"
Edit = Callable[[pd.DataFrame], pd.DataFrame]


class Folder:
    """A raw-export folder whose files a test may change before the table is built."""

    def __init__(self, place: Path) -> None:
        self.raw, self.truth, self.network = place / "raw", place / "in_situ.csv", place / "network.csv"

    def edit(self, name: str, change: Edit) -> None:
        path = self.raw / name if (self.raw / name).exists() else self.raw.parent / name
        change(pd.read_csv(path)).to_csv(path, index=False)

    def build(self, catalogue: Catalogue | None = None, **settings: object) -> StationTable:
        return build_station_table(
            read_raw_folder(self.raw, catalogue),
            read_in_situ(self.truth),
            read_network(self.network),
            StationTableConfig(**settings),  # type: ignore[arg-type]
            catalogue,
        )


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(__file__).parents[2] / "benchmarks" / "bench_station_table.py"
    spec = importlib.util.spec_from_file_location("bench_station_table", path)
    assert spec is not None and spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    place = tmp_path_factory.mktemp("original")
    bench.write_exports(place, 3, [2016, 2017], seed=4)
    # Soil moisture on every day, so that no row is lost for want of it.
    truth = pd.read_csv(place / "in_situ.csv")
    truth.assign(VWC_5=truth["VWC_5"].fillna(0.2)).to_csv(place / "in_situ.csv", index=False)
    return place


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Folder:
    shutil.copytree(original, tmp_path / "exports")
    return Folder(tmp_path / "exports")


@pytest.fixture(scope="module")
def untouched(original: Path) -> pd.DataFrame:
    return Folder(original).build().frame


def of(frame: pd.DataFrame, station: str = STATION) -> pd.DataFrame:
    """Rows of a station by date."""
    return frame[frame["ID"] == station].set_index("Date")


def raw_values(folder: Folder, pattern: str, column: str, station: str = STATION) -> pd.Series:
    """A column of the exports of one station by YYYYMMDD, straight from the files."""
    parts = [pd.read_csv(path) for path in sorted(folder.raw.glob(pattern))]
    table = pd.concat(parts)
    table = table[table["ID"] == station]
    dates = (
        table["system:index"].str.replace("_", "", regex=False)
        if pattern[:3] == "LST"
        else table["system:index"]
    )
    return pd.Series(table[column].to_numpy(), index=dates.str.extract(r"(20\d{6})")[0].astype(int))


# Export


def test_folders_without_the_31st_of_december_lose_no_more_than_its_windows(folder: Folder) -> None:
    mine = of(folder.build().frame)
    january = [date for date in mine.index if 20170100 < date < 20170200]
    # Every window that holds the missing day is left out; no other row is, and none has a shifted window.
    assert january == list(range(20170111, 20170132))
    assert mine.loc[20170111, "eto_10"] == np.float32(raw_values(folder, "gridmet*", "eto")[20170101])
    filled = of(folder.build(window_missing="fill").frame)
    assert set(range(20170101, 20170111)) <= set(filled.index)
    assert filled.loc[20170105, "window_filled"] == 1 and filled.loc[20170111, "window_filled"] == 0
    two = raw_values(folder, "gridmet*", "eto")[[20161230, 20170101]]
    assert filled.loc[20170101, "eto_1"] == pytest.approx(two.mean(), rel=1e-6)


def test_all_parts_of_a_year_of_optical_data_fill_gaps(folder: Folder, untouched: pd.DataFrame) -> None:
    seen = pd.concat([raw_values(folder, f"HLSL30_SSM_{year}_2.csv", "B5") for year in (2016, 2017)])
    red = pd.concat([raw_values(folder, f"HLSL30_SSM_{year}_2.csv", "B4") for year in (2016, 2017)])
    seen = seen[red <= 1]
    mine = of(untouched)
    both = mine.index.intersection(seen.index)
    assert len(both) > 10
    np.testing.assert_array_equal(mine.loc[both, "NIR"], seen[both].astype(np.float32))
    assert (mine.loc[both, "hls_age"] == 0).all()


# Merge


def test_an_empty_smap_cell_is_one_missing_day_not_a_constant_year(
    folder: Folder, untouched: pd.DataFrame
) -> None:
    def blank(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[table["ID"] == STATION, "20160615_sm_surface"] = np.nan
        return table

    folder.edit("smap_ssm_2016.csv", blank)
    mine, before = of(folder.build().frame), of(untouched)
    assert list(mine.index) == list(before.index)
    changed = mine.index[mine["SMAP"] != before["SMAP"]]
    assert list(changed) == [20160615]
    assert mine.loc[20160615, "SMAP"] == before.loc[20160614, "SMAP"]
    assert (mine.loc[20160615, "smap_age"], mine.loc[20160615, "smap_gap"]) == (1, 2)


def test_one_empty_weather_cell_does_not_remove_the_day(folder: Folder, untouched: pd.DataFrame) -> None:
    def blank(table: pd.DataFrame) -> pd.DataFrame:
        here = (table["ID"] == STATION) & table["system:index"].str.startswith("20160615_")
        table.loc[here, "vs"] = np.nan
        return table

    folder.edit("gridmet_SSM_2016.csv", blank)
    mine, before = of(folder.build().frame), of(untouched)
    assert sorted(set(before.index) - set(mine.index)) == list(range(20160615, 20160626))
    # The other six variables of that day are there: without vs in the catalogue nothing is lost.
    calm = of(folder.build(published_catalogue().without(["vs"])).frame)
    assert list(calm.index) == list(before.index)
    pd.testing.assert_series_equal(calm["eto_3"], before["eto_3"])
    # With vs in it, and its gap bridged: only the empty cell is filled, between its neighbours.
    filled = of(folder.build(window_missing="fill").frame)
    assert list(filled.loc[20160610:20160630].index) == list(before.loc[20160610:20160630].index)
    for name in ("eto", "pr", "sph", "srad", "vpd", "etr"):
        assert filled.loc[20160615, name] == before.loc[20160615, name]
        assert filled.loc[20160620, f"{name}_5"] == before.loc[20160620, f"{name}_5"]
    vs = raw_values(folder, "gridmet_SSM_2016.csv", "vs")
    assert filled.loc[20160615, "vs"] == pytest.approx(vs[[20160614, 20160616]].mean(), rel=1e-6)


def test_one_empty_constant_does_not_remove_the_others(folder: Folder, untouched: pd.DataFrame) -> None:
    folder.edit("constant_SSM.csv", lambda t: t.assign(slope=t["slope"].mask(t["ID"] == STATION)))
    table = folder.build()
    assert table.report.stations_left_out == {STATION: "slope missing"}
    flat = of(folder.build(published_catalogue().without(["slope"])).frame)
    for name in ("elevation", "clay", "aspect"):
        assert (flat[name] == of(untouched)[name].iloc[0]).all()


def test_smap_is_filled_in_date_order_up_to_a_limit_with_the_gap_kept(folder: Folder) -> None:
    gap = [f"201606{day:02d}_sm_surface" for day in range(3, 28)]

    def blank(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[table["ID"] == STATION, gap] = np.nan
        table["20160602_sm_surface"], table["20160628_sm_surface"] = 0.11, 0.33
        return table

    folder.edit("smap_ssm_2016.csv", blank)
    folder.edit("in_situ.csv", lambda t: t.sample(frac=1, random_state=0))
    table = folder.build()
    mine = of(table.frame)
    june = mine.loc[20160603:20160627]
    assert list(june.index) == [*range(20160603, 20160613), *range(20160618, 20160628)]
    np.testing.assert_allclose(june["SMAP"], [0.11] * 10 + [0.33] * 10, rtol=1e-6)
    assert list(june["smap_age"]) == [*range(1, 11), *range(10, 0, -1)]
    assert (june["smap_gap"] == 26).all()
    assert table.report.left_out["SMAP missing"] == 5
    endless = of(folder.build(gap_limits="none").frame).loc[20160603:20160627]
    assert len(endless) == 25 and np.allclose(endless["SMAP"], 0.11)


def test_several_granules_of_a_day_are_one_row_and_averaged(folder: Folder, untouched: pd.DataFrame) -> None:
    def twice(columns: list[str], step: float) -> Edit:
        return lambda t: pd.concat([t, t.assign(**{c: t[c] + step for c in columns})])

    folder.edit("S1_SSM_2016.csv", twice(["VV", "VH"], 1.0))
    folder.edit("HLSL30_SSM_2016_1.csv", twice(["B5"], 0.25))
    table = folder.build()
    mine, before = of(table.frame), of(untouched)
    assert list(mine.index) == list(before.index) and table.report.averaged["sentinel1"] > 50
    day = next(d for d in mine.index if mine.loc[d, "sentinel1_age"] == 0)
    assert mine.loc[day, "VV"] == pytest.approx(before.loc[day, "VV"] + 0.5, rel=1e-6)
    assert mine.loc[day, "pol"] != before.loc[day, "pol"]


def test_granules_do_not_count_in_the_share_of_missing_soil_moisture(folder: Folder) -> None:
    some = sorted(set(raw_values(folder, "S1*", "VV").index))[::5]

    def blank(table: pd.DataFrame) -> pd.DataFrame:
        mine = table["ID"] == STATION
        gone = mine & (table["Date"].isin(some) | (table["Date"] // 100 == 201607))
        assert 0.05 < gone.sum() / mine.sum() < 0.07
        return table.assign(VWC_5=table["VWC_5"].mask(gone))

    def repeat(table: pd.DataFrame) -> pd.DataFrame:
        day = table["system:index"].str.split("_").str[4].str[:8].astype(int)
        return pd.concat([table, *[table[day.isin(some)]] * 20])

    folder.edit("in_situ.csv", blank)
    for year in (2016, 2017):
        folder.edit(f"S1_SSM_{year}.csv", repeat)
    # 6 % of the days lack it; counted once a granule it would be more than 20 %.
    assert STATION in set(folder.build().frame["ID"])
    folder.edit("in_situ.csv", lambda t: t.assign(VWC_5=t["VWC_5"].mask(t.index % 5 == 0)))
    assert STATION not in set(folder.build().frame["ID"])


def test_granules_do_not_count_in_the_share_of_observations(folder: Folder) -> None:
    days = sorted(set(raw_values(folder, "S1*", "VV").index))[::3]
    kept = {str(day) for day in days}

    def thin(table: pd.DataFrame) -> pd.DataFrame:
        stamp = table["system:index"].str.split("_").str[4].str[:8]
        table = table[(table["ID"] != STATION) | stamp.isin(kept)]
        return pd.concat([table] * 3)

    for year in (2016, 2017):
        folder.edit(f"S1_SSM_{year}.csv", thin)
    # Observed on 2.8 % of the days, three granules each: below the 5 % that filling asks for.
    table = folder.build()
    assert table.report.left_out["VV observed in 5% of the station's rows or less"] > 600
    assert set(of(table.frame).index) <= set(days)


def test_what_cannot_be_read_is_an_error_not_a_missing_year(folder: Folder) -> None:
    path = folder.raw / "S1_SSM_2017.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:5], lines[5].replace("_2017", "_201x"), *lines[6:]]))
    with pytest.raises(InputError, match=r"S1_SSM_2017.csv: row 6: expected a date in system:index"):
        folder.build()


# Clean


def test_the_order_of_same_day_rows_does_not_matter(folder: Folder) -> None:
    def disagree(table: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([table, table.assign(VV=-12.5)])

    folder.edit("S1_SSM_2016.csv", disagree)
    first = folder.build().frame
    folder.edit("S1_SSM_2016.csv", lambda t: t.sample(frac=1, random_state=3))
    pd.testing.assert_frame_equal(folder.build().frame, first, check_exact=True)


@pytest.mark.parametrize(("band", "value"), [("B2", 1.01), ("B7", -0.02)])
def test_one_band_out_of_range_makes_the_granule_an_outlier(
    folder: Folder, untouched: pd.DataFrame, band: str, value: float
) -> None:
    before = of(untouched)
    inside = before.loc[20160301:20160530]
    day = int(inside.index[inside["hls_age"] == 0][0])

    def spoil(table: pd.DataFrame) -> pd.DataFrame:
        here = (table["ID"] == STATION) & table["system:index"].str.contains(f"_{day}T")
        assert here.sum() == 1
        return table.assign(**{band: table[band].mask(here, value)})

    folder.edit("HLSL30_SSM_2016_1.csv", spoil)
    mine = of(folder.build().frame)
    assert mine.loc[day, "hls_age"] > 0
    assert (mine.loc[day, ["Blue", "Green", "Red", "NIR", "SWIR1", "SWIR2"]] >= 0).all()
    assert mine.loc[day, "NIR"] != before.loc[day, "NIR"]
    # The valid surface temperature of the day stays.
    assert mine.loc[day, "LST"] == before.loc[day, "LST"]
    assert mine.loc[day, "modis_age"] == before.loc[day, "modis_age"]


def test_domains_follow_the_station_whatever_rows_are_left_out(folder: Folder) -> None:
    folder.edit("in_situ.csv", lambda t: t[~((t["ID"] == STATION) & (t["Date"] % 3 == 0))])
    folder.edit("network.csv", lambda t: t.iloc[::-1])
    expected = pd.read_csv(folder.network).set_index("ID")["Domain"]
    frame = folder.build().frame
    assert frame["Domain"].notna().all()
    assert (frame["Domain"].to_numpy() == expected[frame["ID"]].to_numpy()).all()
    assert frame["Domain"].nunique() == 3


def test_days_without_soil_moisture_fill_gaps_too(folder: Folder, untouched: pd.DataFrame) -> None:
    before = of(untouched)
    inside = before.loc[20160301:20160530]
    day = int(inside.index[inside["hls_age"] == 0][1])
    folder.edit("in_situ.csv", lambda t: t[~((t["ID"] == STATION) & (t["Date"] == day))])
    mine = of(folder.build().frame)
    assert day not in mine.index
    rest = mine.index.intersection(before.index)
    pd.testing.assert_frame_equal(mine.loc[rest, ["NIR", "hls_age"]], before.loc[rest, ["NIR", "hls_age"]])


def test_a_gap_longer_than_the_limit_is_held_and_then_missing(folder: Folder) -> None:
    def season(table: pd.DataFrame) -> pd.DataFrame:
        stamp = table["system:index"].str.split("_").str[1].str[:8].astype(int)
        return table[~((table["ID"] == STATION) & (stamp > 20160301) & (stamp < 20161101))]

    for part in (1, 2):
        folder.edit(f"HLSL30_SSM_2016_{part}.csv", season)
    mine = of(folder.build().frame)
    assert mine["hls_age"].max() == 90
    assert not mine.loc[20160615:20160715].size
    assert len(of(folder.build(gap_limits="none").frame).loc[20160615:20160715]) == 31


def test_the_causal_fill_takes_no_later_value(folder: Folder) -> None:
    past = folder.build(fill="past").frame
    later = folder.build(fill="linear").frame
    assert not np.array_equal(of(past)["NIR"].loc[20160601:20160630], of(later)["NIR"].loc[20160601:20160630])

    def change(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(B5=0.3)

    for name in ("HLSL30_SSM_2016_2.csv", "HLSL30_SSM_2017_1.csv", "HLSL30_SSM_2017_2.csv"):
        folder.edit(name, change)
    changed = folder.build(fill="past").frame
    early = past["Date"] < 20160630
    np.testing.assert_array_equal(changed.loc[early, "NIR"], past.loc[early, "NIR"])
    assert not np.array_equal(changed.loc[~early, "NIR"], past.loc[~early, "NIR"])


def test_an_infinite_index_is_missing(folder: Folder, untouched: pd.DataFrame) -> None:
    before = of(untouched)
    inside = before.loc[20160301:20160530]
    day = int(inside.index[inside["hls_age"] == 0][0])

    def zero(table: pd.DataFrame) -> pd.DataFrame:
        here = (table["ID"] == STATION) & table["system:index"].str.contains(f"_{day}T")
        return table.assign(B6=table["B6"].mask(here, 0.0))

    folder.edit("HLSL30_SSM_2016_1.csv", zero)
    table = folder.build()
    assert day not in of(table.frame).index
    assert table.report.left_out["nsdsi undefined"] == 1
    assert (
        np.isfinite(table.frame[[c for c in table.frame if c in published_catalogue().snapshot]]).all().all()
    )


# Windows


def test_a_window_counts_calendar_days(folder: Folder, untouched: pd.DataFrame) -> None:
    def drop(table: pd.DataFrame) -> pd.DataFrame:
        return table[~((table["ID"] == STATION) & table["system:index"].str.startswith("20160615_"))]

    folder.edit("gridmet_SSM_2016.csv", drop)
    mine, before = of(folder.build().frame), of(untouched)
    assert sorted(set(before.index) - set(mine.index)) == list(range(20160615, 20160626))
    lags = [f"pr_{lag}" for lag in range(1, 11)]
    pd.testing.assert_frame_equal(mine[lags], before.loc[mine.index, lags])
    filled = of(folder.build(window_missing="fill").frame)
    assert (filled.loc[20160615:20160625, "window_filled"] == 1).all()
    around = before.loc[[20160614, 20160616], "pr"].mean()
    assert filled.loc[20160620, "pr_5"] == pytest.approx(around, rel=1e-6)


def test_a_weather_gap_longer_than_allowed_is_not_filled(folder: Folder) -> None:
    gone = tuple(f"201606{day}_" for day in range(15, 19))
    folder.edit(
        "gridmet_SSM_2016.csv",
        lambda t: t[~((t["ID"] == STATION) & t["system:index"].str.startswith(gone))],
    )
    short = of(folder.build(window_missing="fill").frame)
    assert not set(range(20160615, 20160629)) & set(short.index)
    longer = of(folder.build(window_missing="fill", window_gap=4).frame)
    assert set(range(20160615, 20160629)) <= set(longer.index)
    assert longer.loc[20160620, "window_filled"] == 4


def test_smap_lags_are_the_station_s_own_and_drop_no_rows(folder: Folder, untouched: pd.DataFrame) -> None:
    wide = pd.concat(
        pd.read_csv(path).set_index("ID").filter(like="_sm_surface") for path in folder.raw.glob("smap*")
    )
    for station, rows in untouched.groupby("ID"):
        values = wide.loc[[station]].bfill().iloc[0]
        dates = pd.to_datetime(rows["Date"].astype(str))
        for lag in (1, 6, 10):
            day = (dates - pd.Timedelta(lag, "D")).dt.strftime("%Y%m%d_sm_surface")
            known = day.isin(values.index[values.notna()])
            expected = values[day[known]].to_numpy(np.float32)
            np.testing.assert_array_equal(rows.loc[known, f"SMAP_{lag}"], expected)

    # No SMAP before the first day: those lags are missing, the rows are there.
    def late(table: pd.DataFrame) -> pd.DataFrame:
        return table.drop(columns=[f"201601{day:02d}_sm_surface" for day in range(1, 31)])

    folder.edit("smap_ssm_2016.csv", late)
    mine = of(folder.build(gap_limits="none").frame)
    assert mine.index[0] == of(untouched).index[0]


def test_lagged_surface_temperature_is_of_its_station_and_date(
    folder: Folder, untouched: pd.DataFrame
) -> None:
    for station in untouched["ID"].unique():
        seen = raw_values(folder, "LST*", "mean", station).astype(np.float32)
        rows = of(untouched, station)
        dates = pd.to_datetime(rows.index.astype(str))
        for lag in (0, 1, 5, 10):
            day = (dates - pd.Timedelta(lag, "D")).strftime("%Y%m%d").astype(int)
            known = day.isin(seen.index)
            assert known.sum() > 200
            column = rows[f"LST_{lag}" if lag else "LST"].to_numpy()
            np.testing.assert_array_equal(column[known], seen[day[known]].to_numpy())


def test_surface_temperature_has_one_fill(folder: Folder) -> None:
    # A third of the days have no soil moisture: a fill over the rows alone would miss their observations.
    folder.edit("in_situ.csv", lambda t: t.assign(VWC_5=t["VWC_5"].mask(t["Date"] % 3 == 0)))
    rows = of(folder.build(vwc_missing_share=1.0).frame)
    dates = pd.to_datetime(rows.index.astype(str))
    before = (dates - pd.Timedelta(1, "D")).strftime("%Y%m%d").astype(int)
    known = before.isin(rows.index)
    filled = known & (rows["modis_age"].reindex(before).to_numpy() > 0)
    assert filled.sum() > 50
    np.testing.assert_array_equal(
        rows.loc[filled, "LST_1"].to_numpy(), rows.loc[before[filled], "LST"].to_numpy()
    )


def test_land_cover_of_no_class_is_left_out_by_year(folder: Folder, untouched: pd.DataFrame) -> None:
    folder.edit("LC_SSM_2016.csv", lambda t: t.assign(mode=t["mode"].mask(t["ID"] == STATION, 11)))
    table = folder.build()
    assert table.report.stations_left_out == {STATION: "land cover missing or of no class"}
    # 2021 serves 2020 and later: changing it changes nothing here.
    folder.edit("LC_SSM_2021.csv", lambda t: t.assign(mode=11))
    pd.testing.assert_frame_equal(folder.build().frame, table.frame)


def test_a_class_code_with_a_fraction_is_refused(folder: Folder) -> None:
    folder.edit("LC_SSM_2016.csv", lambda t: t.assign(mode=t["mode"].mask(t["ID"] == STATION, 41.5)))
    with pytest.raises(InputError, match=r"LC_SSM_2016.csv: row \d+: expected a whole class code"):
        folder.build()


def test_impossible_soil_moisture_is_missing_and_duplicate_rows_are_averaged(folder: Folder) -> None:
    def spoil(table: pd.DataFrame) -> pd.DataFrame:
        mine = table["ID"] == STATION
        table.loc[mine & (table["Date"] == 20160601), "VWC_5"] = 1.7
        table.loc[mine & (table["Date"] == 20160602), "VWC_5"] = 0.1
        extra = table[mine & (table["Date"] == 20160602)].assign(VWC_5=0.3)
        return pd.concat([table, extra])

    folder.edit("in_situ.csv", spoil)
    table = folder.build()
    mine = of(table.frame)
    assert 20160601 not in mine.index and mine.loc[20160602, "VWC_5"] == pytest.approx(0.2)
    assert table.report.screened["VWC_5"] == 1 and table.report.averaged["ground truth"] == 1
    assert table.report.rows + sum(table.report.left_out.values()) == table.report.rows_read


def test_reflectances_of_another_scale_are_told_and_not_taken_for_clouds(folder: Folder) -> None:
    bands = ["B2", "B3", "B4", "B5", "B6", "B7"]
    for path in folder.raw.glob("HLS*.csv"):
        folder.edit(path.name, lambda table: table.assign(**{b: table[b] * 1e4 for b in bands}))
    with pytest.raises(
        InputError, match=r"hls: \d+% of the values of Blue are outside 0 to 1, the median is \d+"
    ):
        folder.build()
