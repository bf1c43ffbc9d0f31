"""Days as numbers: YYYYMMDD in tables and file names, days since 1970-01-01 in arrays."""

from __future__ import annotations

import datetime as dt

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.errors import InputError

__all__ = [
    "NO_DAY",
    "day_of_year",
    "from_yyyymmdd",
    "to_date",
    "to_day",
    "to_yyyymmdd",
    "usable_days",
    "year_of",
]

Days = NDArray[np.int64]

#: Stands for a number that is not a date.
NO_DAY = np.int64(np.iinfo(np.int64).min)
#: Days that a satellite or a weather record can have; a date outside is a misread name.
_FIRST_DATE, _LAST_DATE = dt.date(1950, 1, 1), dt.date(2100, 12, 31)
_EPOCH = dt.date(1970, 1, 1)


def from_yyyymmdd(dates: NDArray[np.integer]) -> Days:
    """Days since 1970-01-01 of YYYYMMDD numbers; `NO_DAY` where the number is not a date.

    Parameters
    ----------
    dates : ndarray of integers, any shape

    Examples
    --------
    >>> from_yyyymmdd(np.array([19700102, 20160230])).tolist() == [1, int(NO_DAY)]
    True
    """
    number = np.asarray(dates, dtype=np.int64)
    if not number.size:
        return number
    year_month, day = np.divmod(number, 100)
    year, month = np.divmod(year_month, 100)
    usable = (year >= 1) & (year <= 9999) & (month >= 1) & (month <= 12)
    months = np.where(usable, (year - 1970) * 12 + month - 1, 0)
    # First days of all months in reach, and of the one after, which bounds the days of the last.
    low = months.min()
    starts = np.arange(low, months.max() + 2).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    index = months - low
    days = starts[index] + day - 1
    usable &= (day >= 1) & (days < starts[index + 1])
    return np.where(usable, days, NO_DAY)


def to_yyyymmdd(days: NDArray[np.integer]) -> NDArray[np.int64]:
    """YYYYMMDD numbers of days since 1970-01-01."""
    stamp = np.asarray(days, dtype=np.int64).astype("datetime64[D]")
    months = stamp.astype("datetime64[M]")
    count = months.astype(np.int64)
    day = (stamp - months).astype(np.int64) + 1
    dates: Days = (count // 12 + 1970) * 10_000 + (count % 12 + 1) * 100 + day
    return dates


def usable_days(dates: NDArray[np.integer]) -> Days:
    """As `from_yyyymmdd`, with `NO_DAY` outside 1950-2100 too: days that a record can have."""
    days = from_yyyymmdd(dates)
    low, high = to_day(_FIRST_DATE), to_day(_LAST_DATE)
    return np.where((days >= low) & (days <= high), days, NO_DAY)


def year_of(days: NDArray[np.integer]) -> NDArray[np.int64]:
    """Calendar year of days since 1970-01-01."""
    years: Days = (
        np.asarray(days, dtype=np.int64).astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64)
    )
    return years + 1970


def day_of_year(days: NDArray[np.integer]) -> NDArray[np.int64]:
    """Day of the year, 1 on the first of January."""
    stamp = np.asarray(days, dtype=np.int64).astype("datetime64[D]")
    since: Days = (stamp - stamp.astype("datetime64[Y]")).astype(np.int64)
    return since + 1


def to_date(value: int | str) -> dt.date:
    """A date from YYYYMMDD or YYYY-MM-DD; `InputError` if it is neither, or outside 1950-2100."""
    text = str(value).strip()
    try:
        found = dt.datetime.strptime(text, "%Y%m%d" if len(text) == 8 else "%Y-%m-%d").date()
    except ValueError:
        raise InputError(f"{text} is not a date; expected YYYY-MM-DD or YYYYMMDD") from None
    to_day(found)
    return found


def to_day(date: dt.date) -> int:
    """Days since 1970-01-01; `InputError` outside 1950-2100."""
    if not _FIRST_DATE <= date <= _LAST_DATE:
        raise InputError(f"{date} is out of range; expected a date from {_FIRST_DATE} to {_LAST_DATE}")
    return (date - _EPOCH).days
