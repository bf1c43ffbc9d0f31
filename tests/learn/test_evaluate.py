"""Scores agree with an independent computation, and an undefined one takes nothing with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import mean_squared_error

from mmnet_maps.errors import InputError
from mmnet_maps.learn.evaluate import evaluate_table, read_predictions, station_scores


def _table(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    station = rng.choice(["a", "b", "c", "d"], 400)
    observed = rng.uniform(0, 0.5, 400).round(2)
    predicted = observed + rng.normal(0, 0.05, 400)
    predicted[rng.random(400) < 0.1] = np.nan
    return pd.DataFrame({"ID": station, "Date": 20200101, "y_test": observed, "y_pred": predicted})


def _independent(table: pd.DataFrame) -> dict[str, float]:
    table = table.dropna()
    o, p = table["y_test"], table["y_pred"]
    r = stats.pearsonr(o, p).statistic
    return {
        "corr": r,
        "rmse": np.sqrt(mean_squared_error(o, p)),
        "bias": np.mean(p - o),
        "ubrmse": np.sqrt(mean_squared_error(o - o.mean(), p - p.mean())),
        "spearman": stats.spearmanr(o, p).statistic,
        "kge": 1 - np.sqrt((r - 1) ** 2 + (p.std() / o.std() - 1) ** 2 + (p.mean() / o.mean() - 1) ** 2),
        "n": len(table),
    }


def test_overall_scores_agree_with_an_independent_computation() -> None:
    table = _table()
    found = evaluate_table(table)["overall"]
    assert found == pytest.approx(_independent(table), abs=1e-9)


def test_station_scores_agree_with_an_independent_computation() -> None:
    table = _table()
    expected = pd.DataFrame([_independent(part) for _, part in table.groupby("ID")])
    stations = evaluate_table(table)["stations"]
    assert stations["count"] == 4
    for name in ("corr", "rmse", "bias", "ubrmse", "spearman", "kge"):
        assert stations["mean"][name] == pytest.approx(expected[name].mean(), abs=1e-9)
        assert stations["median"][name] == pytest.approx(expected[name].median(), abs=1e-9)
    one_by_one = station_scores(*(table[n].to_numpy() for n in ("y_test", "y_pred", "ID")))
    np.testing.assert_allclose(one_by_one["ubrmse"], expected["ubrmse"], atol=1e-9)


def test_ubrmse_squared_plus_bias_squared_is_mse() -> None:
    found = evaluate_table(_table(3))["overall"]
    assert found["ubrmse"] ** 2 + found["bias"] ** 2 == pytest.approx(found["rmse"] ** 2, abs=1e-12)


def test_an_undefined_score_of_one_station_is_left_out_and_counted() -> None:
    table = _table()
    constant = pd.DataFrame(
        {"ID": "flat", "Date": 20200101, "y_test": [0.1, 0.2, 0.3], "y_pred": [0.7, 0.7, 0.7]}
    )
    both = pd.concat([table, constant])
    found, before = evaluate_table(both)["stations"], evaluate_table(table)["stations"]
    assert found["count"] == 5
    assert found["undefined"] == {"corr": 1, "spearman": 1, "kge": 1}
    assert found["mean"]["corr"] == before["mean"]["corr"]
    assert found["mean"]["rmse"] > before["mean"]["rmse"]


def test_stations_with_one_row_or_none_are_counted_apart() -> None:
    extra = pd.DataFrame(
        {"ID": ["one", "none"], "Date": 20200101, "y_test": [0.1, 0.2], "y_pred": [0.2, np.nan]}
    )
    found = evaluate_table(pd.concat([_table(), extra]))["stations"]
    assert (found["count"], found["single_row"], found["unpredicted"]) == (4, 1, 1)


def test_station_ids_that_are_numbers_are_as_good_as_text() -> None:
    table = _table()
    numbers = table.assign(ID=table["ID"].map({"a": 1, "b": 2, "c": 3, "d": 4}))
    assert evaluate_table(numbers) == evaluate_table(table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns=["Date", "y_pred"]), "columns Date, y_pred are missing"),
        (lambda t: t.assign(y_pred="x"), "column y_pred holds"),
        (lambda t: t[:0].astype(object), "the prediction table: no rows"),
        (lambda t: t.assign(y_pred=np.nan), "none of its 400 rows"),
        (lambda t: t.assign(Date=20200230), "Date 20200230 in row 1 is no date"),
        (lambda t: t.assign(Date="soon"), "Date soon in row 1 is no date"),
    ],
)
def test_tables_that_cannot_be_scored_say_why(change: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate_table(change(_table()))  # type: ignore[operator]


def test_dates_are_numbers_or_texts() -> None:
    table = _table()
    plain = evaluate_table(table, resamples=5)
    for written in ("20200101", "2020-01-01"):
        assert evaluate_table(table.assign(Date=written), resamples=5) == plain


def test_the_parts_of_the_mean_squared_error_sum_to_it_and_agree_with_their_definition() -> None:
    table = _table(4)
    found = evaluate_table(table, resamples=5)["error"]
    known = table.dropna()
    o, p = known["y_test"].to_numpy(), known["y_pred"].to_numpy()
    assert found["total"] == pytest.approx(mean_squared_error(o, p), abs=1e-12)
    assert found["bias"] + found["amplitude"] + found["timing"] == pytest.approx(found["total"], abs=1e-12)
    split = found["bias"] + found["station_bias"] + found["within_stations"]
    assert split == pytest.approx(found["total"], abs=1e-12)
    assert found["timing"] == pytest.approx(2 * o.std() * p.std() * (1 - stats.pearsonr(o, p)[0]), abs=1e-9)
    error = (p - o) - pd.Series(p - o).groupby(known["ID"].to_numpy()).transform("mean").to_numpy()
    assert found["within_stations"] == pytest.approx((error**2).mean(), abs=1e-12)
    assert found["n"] == len(known)


def test_a_missing_or_empty_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_predictions(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_text("")
    with pytest.raises(InputError, match=r"x\.csv: not a readable CSV"):
        read_predictions(tmp_path / "x.csv")
