"""What the first 60 days of a probe are worth at its own place.

python -m tests.benchmarks.bench_adjust RUN

RUN is the folder of an off-site run. Its held-out predictions are the estimates; intervals are calibrated
on the stations of the other folds. The first 60 days of each station adjust the days after them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from mmnet_maps.dates import from_yyyymmdd
from mmnet_maps.learn.adjust import Adjustment, summarise_probe
from mmnet_maps.learn.intervals import IntervalTable

PROBE_DAYS, LEAST_TESTED = 60, 100


def main(run: Path) -> None:
    folds = {p.parent.name: pd.read_csv(p, dtype={"ID": str}).dropna() for p in run.glob("*/y_test_pred.csv")}
    if len(folds) < 2:
        raise SystemExit(f"{run}: no off-site run with two folds or more")
    rows = [row for name in sorted(folds) for row in of_fold(folds, name)]
    table = pd.DataFrame(rows)
    print(f"{len(table)} stations, {PROBE_DAYS} days of probe each")
    for when in ("before", "after"):
        covered = np.average(table[f"covered_{when}"], weights=table["days"])
        print(
            f"{when}: RMSE at the median station {table[f'rmse_{when}'].median():.4f}, interval holds "
            f"{100 * covered:.1f} %, mean width {table[f'width_{when}'].mean():.3f}, stations below 70 %: "
            f"{100 * (table[f'covered_{when}'] < 0.7).mean():.0f} %"
        )
    worse = (table["rmse_after"] - table["rmse_before"]).sort_values(ascending=False)
    print(f"worse by more than 0.005: {(worse > 0.005).sum()} stations, the most {worse.iloc[0]:.3f}")


def of_fold(folds: dict[str, pd.DataFrame], name: str) -> list[dict[str, float]]:
    """Scores of every station of a fold, before and after."""
    others = pd.concat([table for other, table in folds.items() if other != name])
    values = (others[column].to_numpy() for column in ("y_test", "y_pred", "ID"))
    intervals = IntervalTable.calibrate(*values)
    assert intervals is not None
    found = []
    for station, rows in folds[name].groupby("ID"):
        ordered = rows.sort_values("Date")
        day = from_yyyymmdd(ordered["Date"].to_numpy())
        early = day < day[0] + PROBE_DAYS
        told = ordered["y_pred"].to_numpy(np.float32)
        true = ordered["y_test"].to_numpy(np.float64)
        probe = summarise_probe(str(station), (0.0, 0.0), true[early], told[early])
        if probe is None or (~early).sum() < LEAST_TESTED:
            continue
        low, high = intervals(told[early])
        adjustment = Adjustment.of([probe], float((high - low).mean() / 2))
        local = adjustment.at(np.zeros(1), np.zeros(1))
        told, true = told[~early], true[~early]
        before = (told, *intervals(told))
        after = tuple(part[:, 0] for part in local.apply(*(part[:, None] for part in before)))
        found.append({"days": len(told), **score("before", before, true), **score("after", after, true)})
    return found


def score(when: str, told: tuple[np.ndarray, ...], true: np.ndarray) -> dict[str, float]:
    """RMSE, coverage and width of estimates with their intervals."""
    estimate, low, high = told
    return {
        f"rmse_{when}": float(np.sqrt(((estimate - true) ** 2).mean())),
        f"covered_{when}": float(((true >= low) & (true <= high)).mean()),
        f"width_{when}": float((high - low).mean()),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
