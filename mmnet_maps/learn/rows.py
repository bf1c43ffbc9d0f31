"""Rows that a model is trained on, and which of them are held back for validation."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.dates import NO_DAY, from_yyyymmdd
from mmnet_maps.errors import InputError
from mmnet_maps.learn.model_input import ModelInput, from_table

__all__ = ["TrainingRows", "Validation", "hold_back"]

Validation = Literal["random_rows", "stations", "blocks"]


@dataclass(frozen=True)
class TrainingRows:
    """Model input with what is to be learned from it.

    Attributes
    ----------
    inputs : ModelInput
        Unscaled.
    target : ndarray of float32, shape (n,)
        m3 m-3.
    station : ndarray of object, shape (n,)
        Station id of each row.
    day : ndarray of int64, shape (n,)
        Days since 1970-01-01.
    """

    inputs: ModelInput
    target: NDArray[np.float32]
    station: NDArray[Any]
    day: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.target)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, catalogue: Catalogue) -> Self:
        """Take the rows out of a station table, those with missing values too.

        What is learned is the column of the catalogue's target.

        Raises
        ------
        InputError
            A column is missing or holds something else than numbers, or a date is none.
        """
        target = catalogue.target.name
        missing = [name for name in ("ID", "Date", target) if name not in frame.columns]
        if missing:
            raise InputError(f"the table lacks columns {', '.join(missing)}")
        for name in ("Date", target):
            if not pd.api.types.is_numeric_dtype(frame[name]):
                raise InputError(f"column {name} of the table holds {frame[name].dtype}, expected numbers")
        day = from_yyyymmdd(frame["Date"].to_numpy(dtype=np.int64))
        if (day == NO_DAY).any():
            row = int(np.flatnonzero(day == NO_DAY)[0])
            raise InputError(
                f"Date {frame['Date'].iloc[row]} in row {row + 1} of the table is no YYYYMMDD date"
            )
        wanted = frame[target].to_numpy(dtype=np.float32, na_value=np.nan)
        return cls(from_table(frame, catalogue), wanted, frame["ID"].to_numpy(dtype=object), day)

    def take(self, index: NDArray[np.integer] | NDArray[np.bool_]) -> TrainingRows:
        """The chosen rows."""
        return TrainingRows(self.inputs.rows(index), self.target[index], self.station[index], self.day[index])

    def complete(self) -> TrainingRows:
        """The rows in which every input and the target are there."""
        whole = self.inputs.complete & np.isfinite(self.target)
        return self if whole.all() else self.take(whole)

    def every(self, days: int) -> TrainingRows:
        """One row in so many calendar days of each station, counted from another day in each station.

        Neighbouring days of a station say nearly the same; a thinned table trains in a fraction of the time.
        The day on which a station's count starts follows from its id alone, so that other stations, or rows
        that come or go, change nothing.
        """
        if days == 1:
            return self
        names, index = np.unique(self.station.astype(str), return_inverse=True)
        offset = np.array([zlib.crc32(name.encode()) % days for name in names], dtype=np.int64)
        return self.take((self.day + offset[index]) % days == 0)


def hold_back(
    rows: TrainingRows, how: Validation, share: float, seed: int, block_days: int
) -> NDArray[np.bool_]:
    """Choose the validation rows among the training rows.

    Parameters
    ----------
    rows : TrainingRows
    how : {"random_rows", "stations", "blocks"}
        Single rows as published (neighbouring days of a station fall on both sides); all rows of some
        stations; or all rows within some blocks of days, the same days for every station.
    share : float
        Of rows, stations or blocks; at least one is held back.
    seed : int
    block_days : int
        Length of a block.

    Returns
    -------
    ndarray of bool, shape (n,)
        True for a validation row.

    Raises
    ------
    InputError
        There are not two rows, stations or blocks to divide.
    """
    if how == "random_rows":
        unit, name = np.arange(len(rows)), "row"
    elif how == "stations":
        unit, name = np.unique(rows.station.astype(str), return_inverse=True)[1], "station"
    else:
        unit, name = np.unique(rows.day // block_days, return_inverse=True)[1], f"block of {block_days} days"
    count = int(unit.max()) + 1 if len(unit) else 0
    if count < 2:
        raise InputError(
            f"validation={how} needs at least two of its units among the training rows, found "
            f"{count} {name}; choose another validation="
        )
    chosen = np.random.default_rng(seed).permutation(count)[: min(max(1, round(share * count)), count - 1)]
    held = np.zeros(count, dtype=bool)
    held[chosen] = True
    return held[unit]
