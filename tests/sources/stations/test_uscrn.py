from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmnet_maps.errors import InputError
from mmnet_maps.jobs.stations import table_from_uscrn
from mmnet_maps.learn.rows import TrainingRows
from mmnet_maps.prepare.stations.files import read_table
from mmnet_maps.prepare.stations.settings import OwnWeatherConfig
from mmnet_maps.prepare.stations.table import build_station_table
from mmnet_maps.sources.stations.uscrn import Uscrn, domain_of, read_uscrn, uscrn_catalogue

NAMES = (
    "WBANNO LST_DATE CRX_VN LONGITUDE LATITUDE T_DAILY_MAX T_DAILY_MIN T_DAILY_MEAN T_DAILY_AVG P_DAILY_CALC "
    "SOLARAD_DAILY SUR_TEMP_DAILY_TYPE SUR_TEMP_DAILY_MAX SUR_TEMP_DAILY_MIN SUR_TEMP_DAILY_AVG RH_DAILY_MAX "
    "RH_DAILY_MIN RH_DAILY_AVG SOIL_MOISTURE_5_DAILY SOIL_MOISTURE_10_DAILY SOIL_MOISTURE_20_DAILY "
    "SOIL_MOISTURE_50_DAILY SOIL_MOISTURE_100_DAILY SOIL_TEMP_5_DAILY SOIL_TEMP_10_DAILY SOIL_TEMP_20_DAILY "
    "SOIL_TEMP_50_DAILY SOIL_TEMP_100_DAILY"
).split()
LINE = (
    "63858 {date}  2.422  -87.24   32.46    13.6    -2.7     5.4     6.2     {rain}     8.64 C    20.8 "
    "   -2.0     7.0    95.2    50.7    81.4   {moisture}   0.602   0.595   0.595   0.639     9.1     9.8 "
    "   10.6    12.7    14.7"
)


def station_file(days: int = 40, **changed: dict[int, str]) -> str:
    dates = pd.date_range("2019-01-01", periods=days).strftime("%Y%m%d")
    rain, moisture = changed.get("rain", {}), changed.get("moisture", {})
    return "\n".join(
        LINE.format(date=date, rain=rain.get(i, "1.5"), moisture=moisture.get(i, "0.300"))
        for i, date in enumerate(dates)
    )


@pytest.fixture(scope="module")
def archive(shared: Path) -> Path:
    return shared / "data" / "uscrn" / "CRND0103_2015-2022.zip"


@pytest.fixture(scope="module")
def real(archive: Path) -> Uscrn:
    return read_uscrn(archive)


def test_the_real_archive_is_read_whole(real: Uscrn) -> None:
    assert real.files == 671 and real.other_files == []
    assert real.in_situ["ID"].nunique() == len(real.network) == 84
    assert "USCRN_St._Mary_1_SSW" in set(real.network["ID"])
    assert set(real.network["Domain"]) == {"W", "M", "E"}
    assert len(real.weather) == len(real.in_situ) == 244_769
    assert not real.in_situ.duplicated(["ID", "Date"]).any()
    assert real.in_situ["VWC_5"].min() >= 0 and real.in_situ["VWC_5"].max() <= 0.6
    assert (real.weather[["tmax", "tmin", "skin", "rh", "pr", "srad"]].min() > -99).all()


@pytest.mark.parametrize(
    "name", ["2019/CRND0103-2019-AZ_Elgin_5_S.txt", "2015/CRND0103-2015-AL_Selma_13_WNW.txt"]
)
def test_a_real_file_agrees_with_a_plain_reading(real: Uscrn, archive: Path, name: str) -> None:
    with zipfile.ZipFile(archive) as content, content.open(name) as file:
        plain = pd.read_csv(file, sep=r"\s+", header=None, names=NAMES, na_values=["-9999.0", "-99.000"])
    station = "USCRN_" + name.split("-")[2][3:-4]
    mine = real.weather[(real.weather["ID"] == station) & (real.weather["Date"] // 10_000 == int(name[:4]))]
    columns = {
        "tmax": "T_DAILY_MAX",
        "tmin": "T_DAILY_MIN",
        "pr": "P_DAILY_CALC",
        "rh": "RH_DAILY_AVG",
        "skin": "SUR_TEMP_DAILY_AVG",
    }
    assert list(mine["Date"]) == list(plain["LST_DATE"])
    for column, theirs in columns.items():
        np.testing.assert_array_equal(mine[column], plain[theirs])
    np.testing.assert_allclose(mine["srad"], plain["SOLARAD_DAILY"] * 1e6 / 86_400)
    for depth in (5, 10, 20, 50, 100):
        truth, theirs = real.in_situ.loc[mine.index, f"VWC_{depth}"], plain[f"SOIL_MOISTURE_{depth}_DAILY"]
        kept = truth.notna().to_numpy()
        np.testing.assert_array_equal(truth[kept], theirs[kept])
        assert (theirs[~kept].dropna() > 0.6).all()


def test_the_real_table_has_whole_windows_of_calendar_days(real: Uscrn) -> None:
    few = real.network["ID"].iloc[:6]
    weather = real.weather[real.weather["ID"].isin(few)]
    in_situ = real.in_situ[real.in_situ["ID"].isin(few)]
    table = build_station_table(
        {"uscrn": weather}, in_situ, real.network, OwnWeatherConfig(), uscrn_catalogue()
    )
    assert table.report.rows + sum(table.report.left_out.values()) == len(in_situ)
    daily = weather.set_index(["ID", pd.to_datetime(weather["Date"].astype(str))])["tmax"]
    sample = table.frame[table.frame["window_filled"] == 0].sample(200, random_state=0)
    for row in sample.itertuples():
        day = pd.Timestamp(str(row.Date))
        for lag in (1, 10):
            assert getattr(row, f"tmax_{lag}") == np.float32(daily[row.ID, day - pd.Timedelta(lag, "D")])
    assert (table.frame["window_filled"] > 0).sum() > 0


def test_codes_for_missing_are_missing_and_implausible_soil_moisture_is_counted(tmp_path: Path) -> None:
    text = station_file(rain={3: "-9999.0"}, moisture={4: "-99.000", 5: "0.712", 6: "-0.010"})
    (tmp_path / "CRND0103-2019-AL_Selma_13_WNW.txt").write_text(text)
    (tmp_path / "readme.txt").write_text("what it is")
    found = read_uscrn(tmp_path)
    assert (found.files, found.other_files) == (1, ["readme.txt"])
    # The line says 0.602 and 0.639 at 10 and at 100 cm.
    counts = {"VWC_5": 2, "VWC_10": 40, "VWC_20": 0, "VWC_50": 0, "VWC_100": 40}
    assert found.implausible == counts
    assert list(np.flatnonzero(found.weather["pr"].isna())) == [3]
    assert list(np.flatnonzero(found.in_situ["VWC_5"].isna())) == [4, 5, 6]
    np.testing.assert_allclose(found.weather["srad"], 100.0)
    assert found.network.to_dict("list") == {"ID": ["USCRN_Selma_13_WNW"], "Domain": ["E"], "State": ["AL"]}


def test_small_gaps_of_weather_are_filled_with_their_count_and_large_ones_are_not(tmp_path: Path) -> None:
    gaps = dict.fromkeys((15, 16, 17), "-9999.0") | dict.fromkeys((30, 31, 32, 33), "-9999.0")
    text = station_file(60, rain={14: "2.0", 18: "6.0", **gaps})
    (tmp_path / "CRND0103-2019-AL_Selma_13_WNW.txt").write_text(text)
    found = read_uscrn(tmp_path)
    given = {"uscrn": found.weather}, found.in_situ, found.network
    frame = build_station_table(*given, OwnWeatherConfig(), uscrn_catalogue()).frame.set_index("Date")
    assert list(frame.loc[20190116:20190118, "pr"]) == [3.0, 4.0, 5.0]
    assert list(frame.loc[20190115:20190119, "window_filled"]) == [0, 1, 2, 3, 3]
    # 31 January to 3 February are missing, with every window that holds one of them.
    assert sorted(set(range(20190201, 20190229)) - set(frame.index)) == list(range(20190201, 20190214))
    past = build_station_table(*given, OwnWeatherConfig(fill="past"), uscrn_catalogue()).frame
    assert list(past.set_index("Date").loc[20190116:20190118, "pr"]) == [2.0, 2.0, 2.0]


def test_domains_are_split_by_longitude() -> None:
    found = [domain_of(x) for x in (-120, -104.01, -104, -90.01, -90, -70)]
    assert found == ["W", "W", "M", "M", "E", "E"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("63858 20190230" + LINE[12:], "line 3"),
        (LINE.format(date="20190103", rain="x", moisture="0.3"), "line 3"),
        ("63858 20190103  2.422  -87.24", "line 3"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, expected: str) -> None:
    lines = station_file().splitlines()
    lines[2] = line.format(date="x", rain="1", moisture="0.3")
    (tmp_path / "CRND0103-2019-AL_Selma_13_WNW.txt").write_text("\n".join(lines))
    (tmp_path / "CRND0103-2018-AL_Selma_13_WNW.txt").write_text("")
    with pytest.raises(InputError, match=expected) as error:
        read_uscrn(tmp_path)
    assert "CRND0103-2019-AL_Selma_13_WNW.txt" in str(error.value) and "\n" not in str(error.value)


def test_places_without_such_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found nothing"):
        read_uscrn(tmp_path / "no.zip")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match="found a file that is not a zip"):
        read_uscrn(tmp_path / "a.txt")
    with pytest.raises(InputError, match=r"no file CRND0103-YYYY-ST_Name.txt in it, of 1 files"):
        read_uscrn(tmp_path)
    (tmp_path / "CRND0103-2019-AL_Selma_13_WNW.txt").write_text("\n")
    with pytest.raises(InputError, match="every file is empty"):
        read_uscrn(tmp_path)


def test_a_table_of_another_depth_holds_that_depth_alone(tmp_path: Path) -> None:
    (tmp_path / "CRND0103-2019-AL_Selma_13_WNW.txt").write_text(station_file(moisture={4: "-99.000"}))
    done = table_from_uscrn(tmp_path, tmp_path / "t.parquet", settings={"target": "VWC_20"})
    frame, catalogue = read_table(tmp_path / "t.parquet")
    assert catalogue.target.name == "VWC_20" and catalogue.target.depth == (0.15, 0.25)
    assert [name for name in frame.columns if name.startswith("VWC")] == ["VWC_20"]
    # The fifth day has no value at 5 cm, and one at 20 cm.
    assert (frame["VWC_20"] == 0.595).all() and done["rows"] == 40 - 10
    assert done["soil_moisture_implausible"] == 0
    rows = TrainingRows.from_frame(frame, catalogue)
    np.testing.assert_array_equal(rows.target, np.full(len(frame), 0.595, dtype=np.float32))
    with pytest.raises(InputError, match=r"target: target VWC20: expected one of .*; did you mean VWC_20"):
        table_from_uscrn(tmp_path, tmp_path / "t.parquet", settings={"target": "VWC20"})
