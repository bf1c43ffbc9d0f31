"""Which rows train, and which are held back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.learn.rows import TrainingRows, hold_back

TableMaker = Callable[..., pd.DataFrame]


@pytest.fixture
def rows(make_table: TableMaker, catalogue: Catalogue) -> TrainingRows:
    return TrainingRows.from_frame(make_table(stations=20, years=(2019,), days=50), catalogue)


def test_random_rows_are_the_stated_share(rows: TrainingRows) -> None:
    held = hold_back(rows, "random_rows", 0.1, 1, 60)
    assert held.sum() == 100
    assert len(set(rows.station[held])) == 20


def test_held_back_stations_have_no_training_row(rows: TrainingRows) -> None:
    held = hold_back(rows, "stations", 0.1, 1, 60)
    assert len(set(rows.station[held])) == 2
    assert not set(rows.station[held]) & set(rows.station[~held])


def test_held_back_blocks_hold_the_same_days_at_every_station(rows: TrainingRows) -> None:
    held = hold_back(rows, "blocks", 0.3, 1, 7)
    assert 0 < held.sum() < len(rows)
    assert not set(rows.day[held]) & set(rows.day[~held])
    assert len(set(rows.day[held] // 7)) == round(0.3 * len(set(rows.day // 7)))


def test_the_same_seed_holds_back_the_same_rows(rows: TrainingRows) -> None:
    first, second, other = (hold_back(rows, "stations", 0.2, seed, 60) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_one_station_cannot_be_divided_by_stations(make_table: TableMaker, catalogue: Catalogue) -> None:
    rows = TrainingRows.from_frame(make_table(stations=1), catalogue)
    with pytest.raises(InputError, match=r"validation=stations needs at least two .* found 1 station"):
        hold_back(rows, "stations", 0.1, 1, 60)


def test_incomplete_rows_are_left_out(make_table: TableMaker, catalogue: Catalogue) -> None:
    frame = make_table(stations=2)
    frame.loc[3, "clay"], frame.loc[4, "VWC_5"], frame.loc[5, "pr_1"] = np.nan, np.nan, np.nan
    rows = TrainingRows.from_frame(frame, catalogue)
    assert len(rows) - len(rows.complete()) == 3


def test_columns_and_dates_that_do_not_fit_are_named(make_table: TableMaker, catalogue: Catalogue) -> None:
    with pytest.raises(InputError, match="lacks columns VWC_5"):
        TrainingRows.from_frame(make_table().drop(columns="VWC_5"), catalogue)
    frame = make_table()
    frame.loc[7, "Date"] = 20190230
    with pytest.raises(InputError, match="Date 20190230 in row 8"):
        TrainingRows.from_frame(frame, catalogue)


def test_thinning_takes_one_day_in_so_many_of_each_station(rows: TrainingRows) -> None:
    thin = rows.every(5)
    assert len(thin) == 20 * 10
    starts = set()
    for name in np.unique(rows.station.astype(str)):
        days = thin.day[thin.station == name]
        assert (np.diff(days) == 5).all()
        starts.add(int(days[0] % 5))
    assert len(starts) > 1  # stations are not thinned to the same days


def test_thinning_a_station_does_not_look_at_the_others(rows: TrainingRows) -> None:
    alone = rows.take(rows.station == "s07").every(3)
    among = rows.every(3)
    np.testing.assert_array_equal(alone.day, among.day[among.station == "s07"])
    assert rows.every(1) is rows
