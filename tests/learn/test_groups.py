"""Seasons, land cover and climate: every row in its group, scores of the group alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmnet_maps.catalogue import LAND_COVER_CLASSES
from mmnet_maps.learn.evaluate import evaluate_table
from mmnet_maps.learn.groups import group_labels, join_groups
from mmnet_maps.learn.scoring import scores


def _predictions() -> pd.DataFrame:
    random = np.random.default_rng(0)
    dates = pd.date_range("2020-01-01", "2020-12-31").strftime("%Y%m%d").astype(int)
    observed = random.uniform(0, 0.5, 4 * len(dates))
    return pd.DataFrame(
        {
            "ID": np.repeat(["a", "b", "c", "d"], len(dates)),
            "Date": np.tile(dates, 4),
            "y_test": observed,
            "y_pred": observed + random.normal(0, 0.05, len(observed)),
        }
    )


def _table() -> pd.DataFrame:
    rows = _predictions()[["ID", "Date"]].sample(frac=1, random_state=0)
    return rows.assign(
        LC=rows["ID"].map({"a": 0, "b": 0, "c": 4, "d": -1}).astype(np.float32),
        Climate=rows["ID"].map({"a": "BSk", "b": "Cfa", "c": "Cfa", "d": None}),
    )


def test_the_seasons_are_those_of_the_calendar_months() -> None:
    found = evaluate_table(_predictions(), resamples=5)["groups"]
    assert set(found) == {"season"}
    days = {name: group["overall"]["n"] / 4 for name, group in found["season"].items()}
    assert days == {"winter": 31 + 31 + 29, "spring": 92, "summer": 92, "autumn": 91}
    stamps = np.array(["2020-02-29", "2020-03-01", "2020-11-30", "2020-12-01"], dtype="datetime64[D]")
    labels = group_labels(pd.DataFrame(index=range(4)), stamps.astype(np.int64))["season"]
    assert labels.tolist() == ["winter", "spring", "autumn", "winter"]


def test_land_cover_and_climate_are_joined_by_station_and_day() -> None:
    joined = join_groups(_predictions(), _table())
    assert joined["ID"].tolist() == _predictions()["ID"].tolist()
    found = evaluate_table(joined, resamples=5)["groups"]
    assert {name: set(groups) for name, groups in found.items() if name != "season"} == {
        "land_cover": {"Shrub", "Forest"},
        "climate": {"BSk", "Cfa"},
    }
    part = joined[joined["ID"].isin(["b", "c"])]
    expected = scores(part["y_test"].to_numpy(), part["y_pred"].to_numpy(), part["ID"].to_numpy())
    assert {k: found["climate"]["Cfa"][k] for k in expected} == expected
    assert found["land_cover"]["Shrub"]["stations"]["count"] == 2
    assert found["land_cover"]["Shrub"]["intervals"]["stations"] == 2


def test_one_hot_columns_and_class_names_are_land_cover_too() -> None:
    numbers = _table()
    hot = numbers.drop(columns="LC").assign(
        **{f"LC_{name}": (numbers["LC"] == k).astype(np.float32) for k, name in enumerate(LAND_COVER_CLASSES)}
    )
    words = numbers.assign(LC=numbers["LC"].map({0: "Shrub", 4: "Forest"}))
    wanted = join_groups(_predictions(), numbers)["LC"]
    assert set(wanted.dropna()) == {"Shrub", "Forest"}
    for table in (hot, words):
        pd.testing.assert_series_equal(join_groups(_predictions(), table)["LC"], wanted)


def test_a_table_without_groups_adds_nothing() -> None:
    plain = _predictions()
    pd.testing.assert_frame_equal(join_groups(plain, plain[["ID", "Date"]]), plain)


def test_a_station_day_twice_in_the_table_doubles_no_prediction() -> None:
    table = _table()
    pd.testing.assert_frame_equal(
        join_groups(_predictions(), pd.concat([table, table.head(9)])), join_groups(_predictions(), table)
    )


def test_dates_as_text_find_their_row_of_the_table() -> None:
    table = _table()
    texts = _predictions().assign(
        Date=lambda t: pd.to_datetime(t["Date"].astype(str)).dt.strftime("%Y-%m-%d")
    )
    pd.testing.assert_series_equal(join_groups(texts, table)["LC"], join_groups(_predictions(), table)["LC"])
