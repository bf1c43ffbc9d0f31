"""What intervals at new places are worth, and whether they follow what is known of a pixel-day.

python -m tests.benchmarks.bench_intervals TABLE [--every 8]

TABLE is a station table. Nested: in each of five outer folds over stations XGBoost is trained on the others;
intervals are calibrated on the held-out estimates of eight inner folds among these, so that no tested station
has any part in them. Beside the table that bundles hold stand one constant width and widths that follow a
learned scale: the size of the error as an exponential of some features, fitted and sized on different folds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.learn.folds import station_folds
from mmnet_maps.learn.intervals import NOMINAL, IntervalTable
from mmnet_maps.learn.rows import TrainingRows
from mmnet_maps.learn.settings import TrainConfig
from mmnet_maps.learn.train import fit
from mmnet_maps.prepare.stations.files import read_table

Float = NDArray[np.float64]
OUTER, INNER, TESTED_EVERY = 5, 8, 3
SEASONS = ("DJF", "MAM", "JJA", "SON")


@dataclass(frozen=True)
class Told:
    """Held-out rows with what a model says of them."""

    rows: TrainingRows
    fold: NDArray[np.int64]
    estimate: Float
    apart: Float
    beyond: NDArray[np.bool_]

    @property
    def month(self) -> NDArray[np.int64]:
        return self.rows.day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12

    @property
    def residual(self) -> Float:
        return self.rows.target - self.estimate

    @property
    def weight(self) -> Float:
        code = np.unique(self.rows.station.astype(str), return_inverse=True)[1]
        return 1.0 / np.bincount(code)[code]


Ends = Callable[[Told, Told], tuple[Float, Float]]


def held_out(
    rows: TrainingRows,
    few: TrainingRows,
    fold: NDArray[np.int64],
    numbers: list[int],
    config: TrainConfig,
    catalogue: object,
) -> Told:
    """Estimates of the rows of some folds, each by a model of the other folds; `few` are the rows tested."""
    names = {str(s): f for s, f in zip(rows.station, fold, strict=True)}
    of_few = np.array([names.get(str(s), -1) for s in few.station])
    estimate, apart = np.full(len(few), np.nan), np.full(len(few), np.nan)
    beyond = np.zeros(len(few), dtype=bool)
    for number in numbers:
        bundle = fit("xgboost", rows.take(fold != number), catalogue, config).bundle
        own = np.flatnonzero(of_few == number)
        estimate[own] = bundle.predict(few.take(own).inputs)
        apart[own] = bundle.dissimilarity(few.take(own).inputs)
        if bundle.applicability is not None:
            beyond[own] = apart[own] > bundle.applicability.threshold
    use = np.isfinite(estimate)
    return Told(few.take(use), of_few[use], estimate[use], apart[use], beyond[use])


def by_table(known: Told, new: Told) -> tuple[Float, Float]:
    """As bundles have it."""
    table = IntervalTable.calibrate(known.rows.target, known.estimate, known.rows.station)
    assert table is not None
    low, high = table(new.estimate.astype(np.float32))
    return low.astype(np.float64), high.astype(np.float64)


def scaled(features: Callable[[Told], Float]) -> Ends:
    """Width in proportion to a learned scale of the error."""

    def ends(known: Told, new: Told) -> tuple[Float, Float]:
        score = np.empty(len(known.estimate))
        for number in np.unique(known.fold):
            own = known.fold == number
            score[own] = np.abs(known.residual[own]) / scale(features, known, ~own)(known)[own]
        stations = len(np.unique(known.rows.station.astype(str)))
        order = np.argsort(score)
        reached = np.cumsum(known.weight[order])
        level = min(1.0, NOMINAL * (stations + 1) / stations)
        size = score[order[np.searchsorted(reached, level * reached[-1] * (1 - 1e-12))]]
        half = size * scale(features, known, np.ones(len(score), dtype=bool))(new)
        return np.clip(new.estimate - half, 0, 1), np.clip(new.estimate + half, 0, 1)

    return ends


def scale(features: Callable[[Told], Float], known: Told, use: NDArray[np.bool_]) -> Callable[[Told], Float]:
    """Size of the error: least squares of its logarithm on features, every station weighing the same."""
    raw, weight = features(known)[use], known.weight[use] / known.weight[use].sum()
    mean, spread = raw.mean(axis=0), raw.std(axis=0) + 1e-12

    def design(told: Told) -> Float:
        columns = np.clip((features(told) - mean) / spread, -2.5, 2.5)
        return np.column_stack([np.ones(len(columns)), columns])

    x = design(known)[use]
    shrink = np.diag([0.0] + [0.01] * (x.shape[1] - 1))
    size = np.log(np.abs(known.residual[use]) + 0.01)
    found = np.linalg.solve((x * weight[:, None]).T @ x + shrink, (x * weight[:, None]).T @ size)
    return lambda told: np.exp(design(told) @ found)


def report(name: str, folds: list[tuple[Told, Told]], ends: Ends) -> None:
    """One line of scores over all outer folds."""
    parts = [(new, *ends(known, new)) for known, new in folds]
    inside = np.concatenate([(n.rows.target >= low) & (n.rows.target <= high) for n, low, high in parts])
    width = np.concatenate([high - low for _, low, high in parts])
    station = np.concatenate([n.rows.station for n, _, _ in parts]).astype(str)
    apart = np.concatenate([n.apart for n, _, _ in parts])
    season = np.concatenate([(n.month + 1) % 12 // 3 for n, _, _ in parts])
    tercile = np.digitize(apart, np.quantile(apart, [1 / 3, 2 / 3]))
    covered = np.array([inside[station == one].mean() for one in np.unique(station)])
    thirds = " ".join(f"{100 * inside[tercile == k].mean():.1f}" for k in range(3))
    seasons = " ".join(f"{SEASONS[k]} {100 * inside[season == k].mean():.1f}" for k in range(4))
    days, mean = 100 * inside.mean(), 100 * covered.mean()
    print(
        f"{name}: holds {days:.1f} % of days, {mean:.1f} % at the mean station, width {width.mean():.3f}; "
        f"stations below 70 %: {100 * (covered < 0.7).mean():.0f} %; dissimilarity {thirds}; {seasons}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Intervals at new places.")
    parser.add_argument("table", type=Path)
    parser.add_argument("--every", type=int, default=8, help="Train on one day in so many.")
    asked = parser.parse_args()
    frame, catalogue = read_table(asked.table)
    every_row = TrainingRows.from_frame(frame, catalogue).complete()
    few, rows = every_row.every(TESTED_EVERY), every_row.every(asked.every)
    names = rows.station.astype(str)
    settings = {"validation": "stations", "baseline": {"boost_depth": 5, "share": 0.3, "rate": 0.03}}
    config = TrainConfig.model_validate(settings)
    outer, folds = station_folds(names, OUTER), []
    for number in range(OUTER):
        new = held_out(rows, few, outer, [number], config, catalogue)
        left = rows.take(outer != number)
        inner = station_folds(left.station.astype(str), INNER)
        folds.append((held_out(left, few, inner, list(range(INNER)), config, catalogue), new))
        print(f"fold {number + 1} of {OUTER}: {len(new.estimate)} days tested", flush=True)
    tested = [new for _, new in folds]
    error = np.abs(np.concatenate([n.residual for n in tested]))
    apart, beyond = (np.concatenate([getattr(n, key) for n in tested]) for key in ("apart", "beyond"))
    rank = np.corrcoef(*(np.argsort(np.argsort(v)) for v in (error, apart)))[0, 1]
    print(f"{len(error)} days of {len(np.unique(names))} stations, RMSE {np.sqrt((error**2).mean()):.4f}")
    print(
        f"rank correlation of error and dissimilarity {rank:.2f}; outside the area of applicability "
        f"{100 * beyond.mean():.1f} %, mean error {error[beyond].mean():.4f} there, "
        f"{error[~beyond].mean():.4f} inside"
    )
    normals = [k for k, name in enumerate(catalogue.snapshot) if name.endswith("_normal")]
    angle = 2 * np.pi / 12

    def season(told: Told) -> Float:
        return np.column_stack([np.sin(angle * told.month), np.cos(angle * told.month)])

    def place(told: Told) -> Float:
        return told.rows.inputs.snapshot[:, normals].astype(np.float64)

    report("the table of bundles", folds, by_table)
    for name, features in (
        ("one width", lambda t: np.empty((len(t.estimate), 0))),
        ("scale on the estimate", lambda t: t.estimate[:, None]),
        ("scale on dissimilarity", lambda t: t.apart[:, None]),
        ("scale on both", lambda t: np.column_stack([t.estimate, t.apart])),
        ("scale on both and season", lambda t: np.column_stack([t.estimate, t.apart, season(t)])),
        ("scale on all, with normals", lambda t: np.column_stack([t.estimate, t.apart, season(t), place(t)])),
    ):
        report(name, folds, scaled(features))


if __name__ == "__main__":
    main()
