"""Which rows a fold trains on and which it is tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.dates import from_yyyymmdd, year_of
from mmnet_maps.errors import InputError
from mmnet_maps.learn.rows import Validation

__all__ = ["DEFAULT_VALIDATION", "EXPERIMENTS", "Experiment", "Fold", "split"]

Experiment = Literal["on-site", "off-site", "cross-region", "all"]
EXPERIMENTS: tuple[Experiment, ...] = ("on-site", "off-site", "cross-region", "all")

#: What is held back for early stopping unless the settings say otherwise.
DEFAULT_VALIDATION: dict[Experiment, Validation] = {
    "on-site": "random_rows",
    "off-site": "stations",
    "cross-region": "stations",
    "all": "stations",
}
_PUBLISHED_TARGETS = (2019, 2020, 2021, 2022)
_DOMAINS = ("W", "M", "E")


@dataclass(frozen=True)
class Fold:
    """One split.

    Attributes
    ----------
    name : str
        ``2019``, ``fold-1``, ``W``: also the name of its folder.
    train, test : ndarray of bool, shape (n,)
        Rows of the table; no row is in both.
    left_out : int
        Rows that would train, but of which a gap was filled with an observation of the tested year.
    """

    name: str
    train: NDArray[np.bool_]
    test: NDArray[np.bool_]
    left_out: int = 0


def split(
    frame: pd.DataFrame, experiment: Experiment, target: int | None, train_years: int, folds: int
) -> list[Fold]:
    """The folds of an experiment; ``all`` is held out like ``off-site``.

    On-site, a row whose filled values rest on observations of the tested year does not train: the table's
    column ``fill_ahead`` tells.

    Parameters
    ----------
    frame : DataFrame
        Station table.
    experiment : {"on-site", "off-site", "cross-region", "all"}
    target : int, optional
        On-site: the only year to test on.
    train_years : int
        On-site: years before the target year to train on.
    folds : int
        Off-site: number of folds over the sorted station ids.

    Raises
    ------
    InputError
        The table has no rows, or not the years, stations or domains that the experiment needs.
    """
    if len(frame) == 0:
        raise InputError("the table has no rows")
    if target is not None and experiment != "on-site":
        raise InputError(
            f"--target {target}: only the on-site experiment has a target year, not {experiment}"
        )
    if experiment == "on-site":
        return _on_site(frame, target, train_years)
    if experiment == "cross-region":
        return _cross_region(frame)
    return _off_site(frame, folds)


def _on_site(frame: pd.DataFrame, target: int | None, train_years: int) -> list[Fold]:
    year = frame["Date"].to_numpy(dtype=np.int64) // 10_000
    present = set(np.unique(year).tolist())
    known = ", ".join(map(str, sorted(present)))
    if target is not None:
        if target not in present:
            raise InputError(f"--target {target}: the table has no rows of that year; it has {known}")
        if not present & set(_before(target, train_years)):
            raise InputError(
                f"--target {target}: the table has none of the {train_years} years before; it has {known}"
            )
        targets: Sequence[int] = [target]
    else:
        possible = [y for y in sorted(present) if present >= set(_before(y, train_years))]
        targets = [y for y in possible if y in _PUBLISHED_TARGETS] or possible
        if not targets:
            raise InputError(
                f"on-site needs {train_years} years before a target year; the table has {known}: "
                "set train_years= lower or give --target"
            )
    latest = _latest_used(frame)
    folds = []
    for target_year in targets:
        before = np.isin(year, list(_before(target_year, train_years)))
        blind = before & (year_of(latest) < target_year)
        folds.append(Fold(str(target_year), blind, year == target_year, int((before & ~blind).sum())))
    return folds


def _latest_used(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Latest day that each row rests on, since 1970-01-01; its own where the table does not say."""
    day = from_yyyymmdd(frame["Date"].to_numpy(dtype=np.int64))
    ahead = frame["fill_ahead"].to_numpy(dtype=np.int64) if "fill_ahead" in frame.columns else 0
    return day + ahead


def _before(year: int, count: int) -> range:
    return range(year - count, year)


def _off_site(frame: pd.DataFrame, folds: int) -> list[Fold]:
    station = frame["ID"].to_numpy()
    names = np.unique(station.astype(str) if station.dtype == object else station)
    if len(names) < folds:
        raise InputError(f"off-site needs at least folds={folds} stations; the table has {len(names)}")
    index = np.searchsorted(names, station.astype(names.dtype))
    # The published folds: scikit-learn's KFold(folds, shuffle=True, random_state=1).
    shuffled = np.random.RandomState(1).permutation(len(names))
    found = []
    for number, out in enumerate(np.array_split(shuffled, folds), start=1):
        test = np.isin(index, out)
        found.append(Fold(f"fold-{number}", ~test, test))
    return found


def _cross_region(frame: pd.DataFrame) -> list[Fold]:
    if "Domain" not in frame.columns:
        raise InputError("cross-region needs a column Domain (W, M, E), which the table lacks")
    domain = frame["Domain"].to_numpy(dtype=object)
    absent = [name for name in _DOMAINS if not (domain == name).any()]
    if absent:
        known = ", ".join(sorted({str(d) for d in domain if isinstance(d, str)})) or "none"
        raise InputError(f"cross-region: the table has no rows of domain {', '.join(absent)}; it has {known}")
    inside = np.isin(domain.astype(str), _DOMAINS)
    return [Fold(name, inside & (domain != name), domain == name) for name in _DOMAINS]
