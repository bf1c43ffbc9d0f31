"""Intervals equal a plain loop over drawn stations, and paired differences cancel what both models share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mmnet_maps.errors import InputError
from mmnet_maps.learn.bootstrap import POOLED, intervals, paired_difference
from mmnet_maps.learn.scoring import METRICS, overall_scores, station_scores


def _table(stations: int = 12, rows: int = 30, seed: int = 0, noise: float = 0.05) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    observed = random.uniform(0.05, 0.45, (stations, rows))
    shift = random.normal(0, 0.04, (stations, 1))
    predicted = observed + shift + random.normal(0, noise, (stations, rows))
    return pd.DataFrame(
        {
            "ID": np.repeat([f"s{k:02d}" for k in range(stations)], rows),
            "Date": np.tile(
                pd.date_range("2020-01-01", periods=rows).strftime("%Y%m%d").astype(int), stations
            ),
            "y_test": observed.ravel(),
            "y_pred": predicted.ravel(),
        }
    )


def _arrays(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(table[n].to_numpy() for n in ("y_test", "y_pred", "ID"))  # type: ignore[return-value]


def test_intervals_equal_a_plain_loop_over_drawn_stations() -> None:
    table = _table()
    table.loc[table["ID"] == "s03", "y_pred"] = 0.2  # no correlation there
    table = table.drop(table.index[(table["ID"] == "s05")][1:])  # a single row: no station score
    found = intervals(*_arrays(table), resamples=40, seed=3)
    names = sorted(set(table["ID"]))
    each = station_scores(*_arrays(table)).set_index("ID")
    each.loc[each["n"] < 2, list(METRICS)] = np.nan
    overall, means, medians = [], [], []
    for chosen in np.random.default_rng(3).integers(0, len(names), (40, len(names))):
        drawn = pd.concat([table[table["ID"] == names[k]] for k in chosen])
        overall.append([overall_scores(*_arrays(drawn)[:2])[name] for name in POOLED])
        of_stations = each.iloc[chosen][list(METRICS)]
        means.append(of_stations.mean().to_numpy())
        medians.append(of_stations.median().to_numpy())
    for what, parts, metrics in (
        ("overall", overall, POOLED),
        ("mean", means, METRICS),
        ("median", medians, METRICS),
    ):
        ends = np.nanquantile(np.array(parts, dtype=float), [0.025, 0.975], axis=0)
        for k, name in enumerate(metrics):
            assert found[what][name] == pytest.approx(ends[:, k].tolist(), abs=1e-9), (what, name)
    assert found["stations"] == 12


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others() -> None:
    arrays = _arrays(_table())
    assert intervals(*arrays) == intervals(*arrays)
    assert intervals(*arrays) != intervals(*arrays, seed=2)


def test_intervals_hold_the_score_and_are_wider_with_fewer_stations() -> None:
    many, few = _table(stations=80, rows=20), _table(stations=8, rows=20)
    widths = []
    for table in (many, few):
        found = intervals(*_arrays(table))
        low, high = found["overall"]["rmse"]
        assert low < overall_scores(*_arrays(table)[:2])["rmse"] < high
        widths.append(high - low)
    assert widths[1] > 1.5 * widths[0]


def test_a_single_station_has_no_interval() -> None:
    found = intervals(*_arrays(_table(stations=1)))
    assert found["stations"] == 1
    assert set(found["overall"].values()) == set(found["median"].values()) == {None}


def test_a_mean_over_many_stations_covers_the_truth_about_as_often_as_it_says() -> None:
    random, hits = np.random.default_rng(7), 0
    for _ in range(100):
        bias = random.normal(0.0, 0.05, 40)
        station = np.repeat(np.arange(40), 4)
        observed = np.tile([0.1, 0.2, 0.3, 0.4], 40)
        found = intervals(observed, observed + bias[station], station, resamples=200)
        low, high = found["mean"]["bias"]
        hits += low <= 0.0 <= high
    assert 86 <= hits <= 100


def test_paired_differences_cancel_what_both_models_share() -> None:
    better, worse = _table(noise=0.02), _table(noise=0.02)
    worse["y_pred"] += np.random.default_rng(1).normal(0, 0.05, len(worse))
    found = paired_difference(better, worse, resamples=300)
    assert found["ubrmse"]["difference"] < 0 and found["ubrmse"]["interval"][1] < 0
    assert found["corr"]["interval"][0] > 0 and found["corr"]["share_better"] == 1.0
    one = station_scores(*_arrays(better))["ubrmse"].median()
    assert found["ubrmse"]["first"] == pytest.approx(one, abs=1e-12)
    at_stations = [station_scores(*_arrays(table))["ubrmse"].to_numpy() for table in (better, worse)]
    assert found["ubrmse"]["paired"] == pytest.approx(np.median(at_stations[0] - at_stations[1]), abs=1e-12)
    low, high = found["ubrmse"]["paired_interval"]
    assert low < found["ubrmse"]["paired"] < high < 0
    same = paired_difference(better, better, resamples=50)
    assert same["corr"]["difference"] == 0 and same["corr"]["interval"] == [0.0, 0.0]


def test_differences_of_all_rows_equal_those_of_the_scores_and_hold_against_a_plain_bootstrap() -> None:
    better, worse = _table(noise=0.02), _table(noise=0.02)
    worse["y_pred"] += np.random.default_rng(1).normal(0.01, 0.05, len(worse))
    found = paired_difference(better, worse, resamples=400)["overall"]
    first, second = (overall_scores(*_arrays(table)[:2]) for table in (better, worse))
    for name in ("corr", "rmse", "ubrmse", "kge"):
        assert found[name]["difference"] == pytest.approx(first[name] - second[name], abs=1e-12)
    assert found["bias"]["difference"] == pytest.approx(abs(first["bias"]) - abs(second["bias"]), abs=1e-12)
    random, drawn = np.random.default_rng(9), []
    groups = [(better[better["ID"] == name], worse[worse["ID"] == name]) for name in better["ID"].unique()]
    for _ in range(400):
        chosen = [groups[k] for k in random.integers(0, len(groups), len(groups))]
        tables = [pd.concat(part) for part in zip(*chosen, strict=True)]
        scored = [overall_scores(*_arrays(table)[:2])["rmse"] for table in tables]
        drawn.append(scored[0] - scored[1])
    ends = np.quantile(drawn, (0.025, 0.975))
    assert found["rmse"]["interval"] == pytest.approx(ends, abs=0.15 * abs(found["rmse"]["difference"]))


def test_only_rows_that_both_predict_are_compared() -> None:
    first, second = _table(), _table(noise=0.02)
    second.loc[second.index % 3 == 0, "y_pred"] = np.nan
    found = paired_difference(first, second.sample(frac=1, random_state=0), resamples=10)
    assert found["n"] == int((first.index % 3 != 0).sum())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(ID="x" + t["ID"]), "A and B have no row in common"),
        (lambda t: t.assign(y_test=t["y_test"] + 0.1), "A and B have other measurements"),
        (lambda t: pd.concat([t, t.head(1)]), "B: station s00 has the day 20200101 more than once"),
        (lambda t: t.drop_duplicates("ID"), "share no station with two rows"),
    ],
)
def test_tables_that_cannot_be_paired_say_why(change: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        paired_difference(_table(), change(_table()), names=("A", "B"))  # type: ignore[operator]
