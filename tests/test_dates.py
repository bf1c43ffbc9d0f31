from __future__ import annotations

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmnet_maps.dates import NO_DAY, day_of_year, from_yyyymmdd, to_date, to_day, to_yyyymmdd, year_of
from mmnet_maps.errors import InputError

_EPOCH = datetime.date(1970, 1, 1)


@given(st.lists(st.dates(min_value=datetime.date(1900, 1, 1)), min_size=1))
def test_dates_agree_with_the_standard_library(dates: list[datetime.date]) -> None:
    numbers = np.array([int(f"{d:%Y%m%d}") for d in dates])
    days = from_yyyymmdd(numbers)
    assert days.tolist() == [(d - _EPOCH).days for d in dates]
    assert to_yyyymmdd(days).tolist() == numbers.tolist()
    assert year_of(days).tolist() == [d.year for d in dates]
    assert day_of_year(days).tolist() == [d.timetuple().tm_yday for d in dates]


@given(st.integers(-(10**9), 10**9))
def test_a_number_that_is_not_a_date_is_no_day(number: int) -> None:
    try:
        expected = (datetime.datetime.strptime(f"{number:08d}", "%Y%m%d").date() - _EPOCH).days
    except ValueError:
        expected = int(NO_DAY)
    assert from_yyyymmdd(np.array([number])).tolist() == [expected]


@given(st.dates(datetime.date(1950, 1, 1), datetime.date(2100, 12, 31)))
def test_a_date_is_read_in_both_forms(date: datetime.date) -> None:
    for text in (f"{date:%Y%m%d}", int(f"{date:%Y%m%d}"), date.isoformat(), f" {date.isoformat()} "):
        assert to_date(text) == date
    assert to_day(date) == (date - _EPOCH).days


@pytest.mark.parametrize("text", ["20200230", "2020-2", "soon", "1949-12-31", 21010101, ""])
def test_what_is_no_date_of_a_record_is_refused(text: str | int) -> None:
    with pytest.raises(InputError, match="expected"):
        to_date(text)
