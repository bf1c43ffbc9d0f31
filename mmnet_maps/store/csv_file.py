"""Tables in CSV files of users, which may hold anything."""

from __future__ import annotations

import csv
from typing import Any

import pandas as pd

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.store.location import Location, Remote
from mmnet_maps.store.whole import local_copy

__all__ = ["names_of_columns", "read_csv"]

#: Bytes of the longest line of column names, and most columns: what needs more is no table of these.
_LONGEST, _MOST = 1 << 20, 20_000


def names_of_columns(path: Location) -> list[str]:
    """Names of the columns of a CSV file, without blank ones; none of an empty file.

    Raises
    ------
    InputError
        The first line is longer, or names more columns, than any table has, or is not in UTF-8.
    """
    with path.open() if isinstance(path, Remote) else path.open("rb") as file:
        line = file.readline(_LONGEST)
    if b"\0" in line:
        raise InputError(f"{path}: is not in UTF-8 (in UTF-16?); expected a CSV")
    if len(line) == _LONGEST:
        raise InputError(f"{path}: its first line does not end within {_LONGEST:,} bytes; expected a CSV")
    if line.count(b",") >= _MOST:
        raise InputError(f"{path}: has {line.count(b',') + 1:,} columns, expected at most {_MOST:,}")
    try:
        names = next(csv.reader([line.decode("utf-8-sig", errors="replace")]), [])
    except csv.Error as error:
        raise InputError(f"{path}: not a readable CSV: {error}") from None
    return [name for name in names if name]


def read_csv(path: Location, **how: Any) -> pd.DataFrame:
    """Read a CSV file; `how` is for `pandas.read_csv`.

    Raises
    ------
    InputError
        It is no CSV in UTF-8, or its rows have more cells than there are names of columns.
    WorkError
        It does not fit in memory.
    """
    names_of_columns(path)
    try:
        with local_copy(path) as file:
            frame: pd.DataFrame = pd.read_csv(file, **how)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: not a readable CSV: {' '.join(str(error).split())}") from None
    except MemoryError:
        raise WorkError(f"{path}: does not fit in memory") from None
    if not isinstance(frame.index, pd.RangeIndex):
        # pandas takes the first cells for names of rows, and every value for that of another column.
        raise InputError(f"{path}: its rows have more cells than there are names of columns")
    return frame
