"""What lowers the error at new places, most of which is one of their level.

python -m tests.benchmarks.bench_level TABLE [--every 20]

TABLE is a station table with soil-state channels and climate normals. XGBoost is trained in five outer folds
over stations. What is chosen (the penalty of a model of the level, how far it is believed) is chosen on the
held-out estimates of inner folds among the training stations, so that no tested station chooses anything.
Tested are days after the years of the normals. Every variant that is computed is printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.catalogue import SOIL_STATE_INPUTS, Catalogue
from mmnet_maps.dates import year_of
from mmnet_maps.learn.bootstrap import paired_difference
from mmnet_maps.learn.folds import station_folds
from mmnet_maps.learn.models.baselines import BaselineConfig, fit_baseline
from mmnet_maps.learn.rows import TrainingRows, hold_back
from mmnet_maps.learn.scoring import overall_scores, station_scores
from mmnet_maps.prepare.stations.files import read_table
from mmnet_maps.variables import NORMAL, last_year_of

Array = NDArray[np.float32]
Float = NDArray[np.float64]
OUTER, INNER, TESTED_EVERY, MEMBERS = 5, 4, 3, 10
TREES = BaselineConfig(boost_depth=5, share=0.3, rate=0.1)
LEVEL_TREES = BaselineConfig(boost_depth=2, share=0.5, rate=0.1)
ALPHAS, BELIEFS, ROUNDS = (1.0, 10.0, 100.0), (0.0, 0.25, 0.5, 0.75, 1.0), (10, 30, 100)
FIRST, TODAY = "a weather alone", "b and c (modern today)"
SHOWN = {"corr": "R", "ubrmse": "ubRMSE", "rmse": "RMSE", "bias": "bias by size"}


@dataclass(frozen=True)
class Data:
    """Rows with the columns of each set of inputs; `place` says where a row is, and no more."""

    target: Float
    station: NDArray[np.str_]
    day: NDArray[np.int64]
    inputs: dict[str, Array]
    place: Float

    def take(self, use: NDArray[np.bool_]) -> Data:
        """The chosen rows."""
        inputs = {name: columns[use] for name, columns in self.inputs.items()}
        return Data(self.target[use], self.station[use], self.day[use], inputs, self.place[use])

    def per_station(self, values: NDArray[np.floating]) -> Float:
        """Mean over the rows of each station, in the order of their names."""
        means: Float = pd.DataFrame(values).groupby(self.station).mean().to_numpy(np.float64)
        return means

    @property
    def level(self) -> Float:
        """Mean soil moisture of the station of each row."""
        level: Float = pd.Series(self.target).groupby(self.station).transform("mean").to_numpy(np.float64)
        return level


def sets_of_inputs(rows: TrainingRows, catalogue: Catalogue, wetness: Array) -> dict[str, Array]:
    """Columns of each variant, unscaled: trees do not care."""
    normal = np.array([name.endswith(NORMAL) for name in catalogue.snapshot])
    state = np.array([name in SOIL_STATE_INPUTS for name in catalogue.series])
    snapshot, series = rows.inputs.snapshot, rows.inputs.series
    weather, states = (series[:, use].reshape(len(rows), -1) for use in (~state, state))
    plain, normals = [snapshot[:, ~normal], weather], snapshot[:, normal]
    return {
        FIRST: np.hstack(plain),
        "b + normals": np.hstack([*plain, normals]),
        "c + soil state": np.hstack([*plain, states]),
        TODAY: np.hstack([*plain, normals, states]),
        "c and its means of earlier years": np.hstack([*plain, states, wetness]),
        "b, c and its means of earlier years": np.hstack([*plain, normals, states, wetness]),
    }


def wetness_of_place(rows: TrainingRows, catalogue: Catalogue, until: int) -> Array:
    """Means of the soil state of each row's station over the years up to `until`, shape (n, channels).

    The mean of the means of the calendar months that have days, so that gaps in one season matter less.
    """
    names = [name for name in catalogue.series if name in SOIL_STATE_INPUTS]
    channels = [catalogue.series.index(name) for name in names]
    early = year_of(rows.day) <= until
    table = pd.DataFrame(rows.inputs.series[early][:, channels, catalogue.lags.index(0)], columns=names)
    month = rows.day[early].astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12
    station = rows.station[early].astype(str)
    means = table.groupby([station, month]).mean().groupby(level=0).mean()
    return means.reindex(rows.station.astype(str)).to_numpy(np.float32)


def trees(train: Data, columns: str, seed: int, target: Float | None = None) -> Callable[[Data], Float]:
    """XGBoost on one set of inputs, stopped by some of the training stations."""
    wanted = train.target if target is None else target
    x = train.inputs[columns]
    parts = TrainingRows(None, train.target, train.station, train.day)
    held = hold_back(parts, "stations", 0.1, seed, 60)
    model = fit_baseline("xgboost", x[~held], wanted[~held], (x[held], wanted[held]), TREES, seed)
    return lambda data: model.predict(data.inputs[columns]).astype(np.float64)


Level = Callable[[Data, Float, Data], Float]


def ridge_level(alpha: float) -> Level:
    """A value of each station from standardised facts of its place, by ridge."""

    def level(train: Data, value: Float, new: Data) -> Float:
        known = train.per_station(train.place)
        mean, spread = known.mean(axis=0), known.std(axis=0) + 1e-9

        def scaled(x: Float) -> Array:
            return np.clip((x - mean) / spread, -3, 3).astype(np.float32)

        config = BaselineConfig(alpha=alpha)
        model = fit_baseline("ridge", scaled(known), train.per_station(value)[:, 0], None, config, 1)
        return model.predict(scaled(new.place)).astype(np.float64)

    return level


def tree_level(rounds: int) -> Level:
    """The same by a few shallow trees."""

    def level(train: Data, value: Float, new: Data) -> Float:
        known = train.per_station(train.place).astype(np.float32)
        config = LEVEL_TREES.model_copy(update={"rounds": rounds})
        model = fit_baseline("xgboost", known, train.per_station(value)[:, 0], None, config, 1)
        return model.predict(new.place.astype(np.float32)).astype(np.float64)

    return level


LEVELS: dict[str, list[Level]] = {
    "ridge": [ridge_level(alpha) for alpha in ALPHAS],
    "trees": [tree_level(rounds) for rounds in ROUNDS],
}


@dataclass(frozen=True)
class Told:
    """Rows with what models of today's inputs say of them: of soil moisture and of its anomaly."""

    data: Data
    direct: Float
    anomaly: Float


def split(known: Told, new: Told, level: Level, belief: float) -> Float:
    """The anomaly on a level that was learned apart, as far as that is believed; else the direct model."""
    apart = level(known.data, known.data.target, new.data) + new.anomaly
    return belief * apart + (1 - belief) * new.direct


def corrected(known: Told, new: Told, level: Level, belief: float) -> Float:
    """The direct model less what places like this one were off by, when held out, as far as believed."""
    return new.direct + belief * level(known.data, known.data.target - known.direct, new.data)


Way = Callable[[Told, Told, Level, float], Float]


def chosen(known: Told, fold: NDArray[np.int64], way: Way, levels: list[Level]) -> tuple[int, float]:
    """Which level and how much belief were best at stations left out among the training stations."""
    parts = [(fold != number, fold == number) for number in range(INNER)]

    def cut(use: NDArray[np.bool_]) -> Told:
        return Told(known.data.take(use), known.direct[use], known.anomaly[use])

    best, found = np.inf, (0, 0.0)
    for (number, level), belief in product(enumerate(levels), BELIEFS):
        error = np.empty(len(fold))
        for others, own in parts:
            error[own] = way(cut(others), cut(own), level, belief) - known.data.target[own]
        squared = known.data.per_station(error**2)[:, 0]
        score = float(np.sqrt(squared).mean())
        if score < best - 1e-9:
            best, found = score, (number, belief)
    return found


def of_fold(train: Data, new: Data) -> tuple[dict[str, Float], list[str]]:
    """Estimates of every variant at the stations of one outer fold, and what was chosen for it."""
    estimates = {name: trees(train, name, 1)(new) for name in train.inputs}
    members = [estimates[TODAY]]
    members += [trees(train, TODAY, 1 + 1000 * member)(new) for member in range(1, MEMBERS)]
    for count in (5, MEMBERS):
        estimates[f"e {count} members of today's"] = np.mean(members[:count], axis=0)
    inner = station_folds(train.station, INNER)
    direct, anomaly = np.empty(len(inner)), np.empty(len(inner))
    for number in range(INNER):
        others, own = train.take(inner != number), train.take(inner == number)
        direct[inner == number] = trees(others, TODAY, 1)(own)
        anomaly[inner == number] = trees(others, TODAY, 1, others.target - others.level)(own)
    known = Told(train, direct, anomaly)
    told = Told(new, estimates[TODAY], trees(train, TODAY, 1, train.target - train.level)(new))
    ways: dict[str, Way] = {"d anomaly and level": split, "d correction of the level": corrected}
    notes = []
    for (name, way), (kind, levels) in product(ways.items(), LEVELS.items()):
        number, belief = chosen(known, inner, way, levels)
        estimates[f"{name}, {kind}"] = way(known, told, levels[number], belief)
        if way is split:
            estimates[f"{name}, {kind}, believed whole"] = way(known, told, levels[number], 1.0)
        notes.append(f"{name}, {kind}: {belief:g} of level {number + 1}")
    return estimates, notes


def shown(table: pd.DataFrame, against: pd.DataFrame | None) -> str:
    """Medians over stations, or those of the differences at a station with their intervals."""
    if against is not None:
        found = paired_difference(table, against)
        return " | ".join(
            "{:+.4f} ({:+.4f} to {:+.4f})".format(found[name]["paired"], *found[name]["paired_interval"])
            for name in SHOWN
        )
    each = station_scores(*(table[name].to_numpy() for name in ("y_test", "y_pred", "ID")))
    whole = overall_scores(table["y_test"].to_numpy(), table["y_pred"].to_numpy())
    medians = " | ".join(f"{each[name].abs().median():.4f}" for name in SHOWN)
    return f"{medians} | {whole['corr']:.4f} | {whole['rmse']:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="The level of new places.")
    parser.add_argument("table", type=Path)
    parser.add_argument("--every", type=int, default=20, help="Train on one day in so many.")
    asked = parser.parse_args()
    frame, catalogue = read_table(asked.table)
    rows = TrainingRows.from_frame(frame, catalogue).complete()
    del frame
    until = max((last_year_of(v) or 0 for v in catalogue.variables if v.name.endswith(NORMAL)), default=0)
    if not until:
        raise SystemExit(f"{asked.table}: no climate normals of known years; build it with --normals-until")
    wetness = wetness_of_place(rows, catalogue, until)

    def data(some: TrainingRows, more: Array) -> Data:
        normals = [k for k, name in enumerate(catalogue.snapshot) if name.endswith(NORMAL)]
        where = [catalogue.snapshot.index(name) for name in ("Latitude", "Longitude")]
        place = np.hstack([some.inputs.snapshot[:, where + normals], more]).astype(np.float64)
        place = np.where(np.isfinite(place), place, np.nanmean(place, axis=0))
        inputs = sets_of_inputs(some, catalogue, more)
        return Data(some.target.astype(np.float64), some.station.astype(str), some.day, inputs, place)

    by_station = dict(zip(rows.station.astype(str), wetness, strict=True))
    few, seen = rows.every(TESTED_EVERY), rows.every(asked.every)
    few = few.take(year_of(few.day) > until)
    train, tested = (data(s, np.array([by_station[n] for n in s.station.astype(str)])) for s in (seen, few))
    fold = station_folds(train.station, OUTER)
    number_of = dict(zip(train.station, fold, strict=True))
    of_tested = np.array([number_of.get(name, -1) for name in tested.station])
    parts: dict[str, list[pd.DataFrame]] = {}
    for number in range(OUTER):
        new = tested.take(of_tested == number)
        estimates, notes = of_fold(train.take(fold != number), new)
        for name, estimate in estimates.items():
            keys = {"ID": new.station, "Date": new.day, "y_test": new.target, "y_pred": estimate}
            parts.setdefault(name, []).append(pd.DataFrame(keys))
        print(f"fold {number + 1} of {OUTER}: " + "; ".join(notes), flush=True)
    tables = {name: pd.concat(found, ignore_index=True) for name, found in parts.items()}
    print(f"{len(tables[FIRST])} days of {tables[FIRST]['ID'].nunique()} stations, from {until + 1} on")
    print(
        "\n| variant | "
        + " | ".join(SHOWN.values())
        + " | R, all rows | RMSE, all rows |\n"
        + "|---" * 7
        + "|"
    )
    for name, table in tables.items():
        print(f"| {name} | {shown(table, None)} |")
    for against in (FIRST, TODAY):
        print(f"\n| less {against} | " + " | ".join(SHOWN.values()) + " |\n" + "|---" * 5 + "|")
        for name, table in tables.items():
            if name != against:
                print(f"| {name} | {shown(table, tables[against])} |")


if __name__ == "__main__":
    main()
