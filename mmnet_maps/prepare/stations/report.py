"""What a station table was made from, and what was left out and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Selection", "TableReport"]


class Selection:
    """Rows that are still in the table; each of the others has the first reason that held.

    Parameters
    ----------
    station : ndarray of int64, shape (rows,)
        Number of each row's station.
    """

    def __init__(self, station: NDArray[np.int64]) -> None:
        self._station = station
        self._reason = np.zeros(len(station), dtype=np.int16)
        self._reasons = [""]

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Rows that are still in, shape (rows,)."""
        rows: NDArray[np.bool_] = self._reason == 0
        return rows

    def leave_out(self, bad: NDArray[np.bool_], reason: str) -> None:
        """Leave out the rows that are bad."""
        now = bad & self.kept
        if now.any():
            self._reasons.append(reason)
            self._reason[now] = len(self._reasons) - 1

    def counts(self) -> dict[str, int]:
        """Rows left out, by reason."""
        number = np.bincount(self._reason, minlength=len(self._reasons))
        return {reason: int(n) for reason, n in zip(self._reasons[1:], number[1:], strict=True)}

    def stations_left_out(self, names: tuple[str, ...]) -> dict[str, str]:
        """Stations of which no row is in, with the reason that took most of their rows."""
        table = np.zeros((len(names), len(self._reasons)), dtype=np.int64)
        np.add.at(table, (self._station, self._reason), 1)
        gone = (table[:, 0] == 0) & (table.sum(axis=1) > 0)
        return {names[i]: self._reasons[int(table[i].argmax())] for i in np.flatnonzero(gone)}


@dataclass
class TableReport:
    """Counts of one run; every row read is either in the table or under one reason.

    Attributes
    ----------
    rows_read, stations_read : int
        Rows and stations of the ground truth.
    rows, stations : int
        Rows and stations of the table.
    left_out : dict of str to int
        Rows left out, by the first reason that held.
    stations_left_out : dict of str to str
        Stations of the used networks of which no row is in the table, with the reason that took most rows.
    averaged : dict of str to int
        Observations beyond the first of their station and day, by table.
    screened : dict of str to int
        Observations set to missing because they cannot be true.
    unlikely : dict of str to int
        Observations outside the catalogue's range, kept as they are.
    filled : dict of str to float
        Share of the table's rows in which a variable of the day was filled.
    """

    rows_read: int = 0
    stations_read: int = 0
    rows: int = 0
    stations: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    stations_left_out: dict[str, str] = field(default_factory=dict)
    averaged: dict[str, int] = field(default_factory=dict)
    screened: dict[str, int] = field(default_factory=dict)
    unlikely: dict[str, int] = field(default_factory=dict)
    filled: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    def text(self) -> str:
        """A few lines for a reader."""
        lines = [
            f"{self.rows} rows of {self.stations} stations, from {self.rows_read} of {self.stations_read}"
        ]
        groups = {
            "rows left out": self.left_out,
            "observations averaged, same station and day": self.averaged,
            "observations set to missing": self.screened,
            "observations out of range, kept": self.unlikely,
        }
        for title, counts in groups.items():
            lines += [f"{title}: {count} ({what})" for what, count in counts.items() if count]
        shares = [f"{name} {share:.0%}" for name, share in self.filled.items() if share]
        lines += [f"filled, share of rows: {', '.join(shares)}"] if shares else []
        lines += [f"station left out: {name} ({why})" for name, why in self.stations_left_out.items()]
        return "\n".join(lines)
