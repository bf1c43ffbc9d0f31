"""Climate normals: what they are the mean of, and that later years do not reach them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.prepare.normals import add_normals, climate_normals, with_normals
from mmnet_maps.prepare.stations.table import build_station_table
from mmnet_maps.sources.stations.in_situ import read_in_situ, read_network
from mmnet_maps.sources.stations.raw_exports import read_raw_folder
from mmnet_maps.sources.stations.uscrn import uscrn_catalogue


def weather(years: tuple[int, ...] = (2016, 2017, 2018)) -> pd.DataFrame:
    days = pd.DatetimeIndex([d for y in years for d in pd.date_range(f"{y}-01-01", f"{y}-12-31")])
    frames = [
        pd.DataFrame(
            {
                "ID": name,
                "Date": days.strftime("%Y%m%d").astype(int),
                "pr": scale * days.month.to_numpy(float),
            }
        )
        for name, scale in (("a", 1.0), ("b", 2.0))
    ]
    return pd.concat(frames, ignore_index=True)


def test_a_normal_is_the_mean_of_the_twelve_months() -> None:
    found = climate_normals(weather(), ["pr"], 2017).set_index("ID")["pr_normal"]
    assert found.to_dict() == {"a": pytest.approx(6.5), "b": pytest.approx(13.0)}


def test_a_gap_in_one_season_does_not_shift_a_normal() -> None:
    frame = weather()
    frame.loc[frame["Date"].between(20160601, 20160831), "pr"] = np.nan
    found = climate_normals(frame, ["pr"], 2017).set_index("ID")["pr_normal"]
    assert found["a"] == pytest.approx(6.5)


def test_weather_of_later_years_changes_no_normal() -> None:
    frame = weather()
    changed = frame.assign(pr=frame["pr"].where(frame["Date"] < 20180101, 99.0))
    pd.testing.assert_frame_equal(
        climate_normals(frame, ["pr"], 2017), climate_normals(changed, ["pr"], 2017)
    )


def test_a_month_without_enough_days_leaves_the_normal_missing() -> None:
    frame = weather((2016,))
    frame.loc[(frame["ID"] == "a") & frame["Date"].between(20160401, 20160425), "pr"] = np.nan
    found = climate_normals(frame, ["pr"], 2016).set_index("ID")["pr_normal"]
    assert np.isnan(found["a"]) and found["b"] == pytest.approx(13.0)


def test_years_before_the_weather_are_refused() -> None:
    with pytest.raises(InputError, match="normals to 2010: the weather begins in 2016"):
        climate_normals(weather(), ["pr"], 2010)


def test_the_catalogue_says_which_years_a_normal_is_of() -> None:
    catalogue = with_normals(uscrn_catalogue(), ["pr", "tmax"], 2018)
    assert catalogue.snapshot[-2:] == ("pr_normal", "tmax_normal")
    assert catalogue["pr_normal"].unit == catalogue["pr"].unit
    assert catalogue["pr_normal"].long_name.endswith("mean of the years to 2018")


def test_normals_go_with_the_table_of_their_weather_into_the_catalogue() -> None:
    tables = {"gridmet": weather(), "hls": pd.DataFrame({"ID": ["a"], "Date": [20160101], "Red": [0.1]})}
    more, catalogue = add_normals(tables, published_catalogue(), 2017)
    assert list(more) == ["gridmet", "hls", "normals of gridmet"]
    assert catalogue.snapshot == (*published_catalogue().snapshot, "pr_normal")
    assert more["normals of gridmet"]["pr_normal"].tolist() == pytest.approx([6.5, 13.0])
    with pytest.raises(InputError, match="there is none of pr, eto"):
        add_normals({"hls": tables["hls"]}, published_catalogue(), 2017)


def test_the_published_exports_give_a_table_with_normals(shared: Path) -> None:
    place = shared / "spec" / "published-example"
    tables, catalogue = add_normals(read_raw_folder(place / "raw"), published_catalogue(), 2016)
    truth, network = read_in_situ(place / "in_situ.csv"), read_network(place / "network.gpkg")
    frame = build_station_table(tables, truth, network, catalogue=catalogue).frame
    without = build_station_table(read_raw_folder(place / "raw"), truth, network).frame
    assert len(frame) == len(without)
    assert (frame.groupby("ID")["vpd_normal"].nunique() == 1).all()
    for name in ("pr", "srad"):
        weather = tables["gridmet"][tables["gridmet"]["Date"] < 20170101]
        months = weather.groupby(["ID", weather["Date"] // 100], observed=True)[name].mean()
        expected = months.groupby("ID", observed=True).mean()
        found = frame.groupby("ID")[f"{name}_normal"].first()
        np.testing.assert_allclose(found, expected[found.index], rtol=1e-6)
