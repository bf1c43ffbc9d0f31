"""The folds are the published ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold

from mmnet_maps.errors import InputError
from mmnet_maps.learn.splits import split


def _table(years: range = range(2016, 2023), stations: int = 11) -> pd.DataFrame:
    rows = [
        {"ID": f"st{(7 * k) % stations}", "Date": year * 10_000 + 101, "Domain": "WME"[k % 3]}
        for year in years
        for k in range(stations)
    ]
    return pd.DataFrame(rows)


def test_off_site_folds_are_scikit_learns_over_the_sorted_ids() -> None:
    table = _table()
    ids = np.array(sorted(set(table["ID"])))
    folds = split(table, "off-site", None, 3, 5)
    assert [f.name for f in folds] == [f"fold-{k}" for k in range(1, 6)]
    for fold, (_, out) in zip(folds, KFold(5, shuffle=True, random_state=1).split(ids), strict=True):
        assert set(table["ID"][fold.test]) == set(ids[out])
        assert (fold.train == ~fold.test).all()


def test_ids_that_are_numbers_are_sorted_as_numbers() -> None:
    table = _table().assign(ID=lambda t: t["ID"].str[2:].astype(int))
    ids = np.arange(11)
    for fold, (_, out) in zip(
        split(table, "off-site", None, 3, 5), KFold(5, shuffle=True, random_state=1).split(ids), strict=True
    ):
        assert set(table["ID"][fold.test]) == set(out)


def test_on_site_trains_on_the_three_years_before() -> None:
    table = _table()
    folds = split(table, "on-site", None, 3, 5)
    assert [f.name for f in folds] == ["2019", "2020", "2021", "2022"]
    for fold in folds:
        year = table["Date"] // 10_000
        target = int(fold.name)
        assert set(year[fold.test]) == {target}
        assert set(year[fold.train]) == {target - 3, target - 2, target - 1}


def test_on_site_takes_the_years_that_the_table_allows() -> None:
    assert [f.name for f in split(_table(range(2012, 2017)), "on-site", None, 3, 5)] == ["2015", "2016"]
    assert [f.name for f in split(_table(range(2018, 2020)), "on-site", 2019, 3, 5)] == ["2019"]
    with pytest.raises(InputError, match="3 years before a target year; the table has 2018, 2019"):
        split(_table(range(2018, 2020)), "on-site", None, 3, 5)
    with pytest.raises(InputError, match="--target 2031: the table has no rows of that year; it has 2016"):
        split(_table(), "on-site", 2031, 3, 5)
    with pytest.raises(InputError, match="none of the 3 years before"):
        split(_table(), "on-site", 2016, 3, 5)


def test_on_site_leaves_out_rows_that_rest_on_the_tested_year() -> None:
    table = _table()
    last = {year: year * 10_000 + 1231 for year in (2017, 2018)}
    table.loc[table["Date"] == 20180101, "Date"] = last[2018]
    table["fill_ahead"] = 0
    rows = table.index[table["Date"] == last[2018]]
    table.loc[rows[0], "fill_ahead"] = 1  # rests on 1 January 2019
    table.loc[rows[1], "fill_ahead"] = 366  # and on one of 2020
    folds = {f.name: f for f in split(table, "on-site", None, 3, 5)}
    assert folds["2019"].left_out == 2 and not folds["2019"].train[rows[:2]].any()
    assert folds["2019"].train[rows[2:]].all()
    assert folds["2020"].left_out == 1 and folds["2020"].train[rows[0]]
    assert folds["2021"].left_out == 0 and folds["2021"].train[rows].all()


def test_cross_region_tests_each_domain_on_the_other_two() -> None:
    table = _table()
    table.loc[0, "Domain"] = None
    folds = split(table, "cross-region", None, 3, 5)
    assert [f.name for f in folds] == ["W", "M", "E"]
    for fold in folds:
        assert set(table["Domain"][fold.test]) == {fold.name}
        assert set(table["Domain"][fold.train]) == {"W", "M", "E"} - {fold.name}
        assert not fold.train[0]
        assert not fold.test[0]


def test_what_an_experiment_lacks_is_named() -> None:
    table = _table()
    with pytest.raises(InputError, match="needs a column Domain"):
        split(table.drop(columns="Domain"), "cross-region", None, 3, 5)
    with pytest.raises(InputError, match="no rows of domain E; it has M, W"):
        split(table[table["Domain"] != "E"], "cross-region", None, 3, 5)
    with pytest.raises(InputError, match="at least folds=5 stations; the table has 3"):
        split(_table(stations=3), "off-site", None, 3, 5)
    with pytest.raises(InputError, match="the table has no rows"):
        split(table[:0], "off-site", None, 3, 5)
    with pytest.raises(InputError, match="--target 2020: only the on-site"):
        split(table, "off-site", 2020, 3, 5)
