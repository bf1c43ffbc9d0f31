"""Scores against pytesmo, and against NumPy and scipy where it is not installed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from mmnet_maps.learn.scoring import overall_scores, station_scores
from mmnet_maps.produce.judge.collocation import triple_collocation

SCORES = ("corr", "rmse", "bias", "ubrmse", "spearman")


def pairs(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.str_]]:
    """Measurements and estimates of four stations, with equal values among them."""
    random = np.random.default_rng(seed)
    observed = random.uniform(0.02, 0.5, 400)
    estimate = np.round(0.05 + 0.7 * observed + random.normal(0, 0.04, 400), 2)
    return observed, estimate, np.repeat(list("abcd"), 100)


def by_formula(o: NDArray[np.float64], p: NDArray[np.float64]) -> list[float]:
    d = p - o
    return [np.corrcoef(o, p)[0, 1], np.sqrt((d**2).mean()), d.mean(), d.std(), stats.spearmanr(o, p)[0]]


def by_pytesmo(o: NDArray[np.float64], p: NDArray[np.float64]) -> list[float]:
    theirs = pytest.importorskip("pytesmo.metrics")
    names = ("pearson_r", "rmsd", "bias", "ubrmsd", "spearman_r")
    return [float(getattr(theirs, name)(p, o)) for name in names]


@pytest.mark.parametrize("expected", [by_formula, by_pytesmo])
@pytest.mark.parametrize("seed", range(3))
def test_scores_of_all_rows_and_of_stations(expected, seed: int) -> None:  # type: ignore[no-untyped-def]
    observed, estimate, station = pairs(seed)
    found = overall_scores(observed, estimate)
    assert [found[name] for name in SCORES] == pytest.approx(expected(observed, estimate), abs=1e-6)
    for row in station_scores(observed, estimate, station).to_dict("records"):
        own = station == row["ID"]
        scores = expected(observed[own], estimate[own])
        assert [row[name] for name in SCORES] == pytest.approx(scores, abs=1e-6)


def test_triple_collocation_equals_pytesmo() -> None:
    theirs = pytest.importorskip("pytesmo.metrics")
    random = np.random.default_rng(4)
    truth = random.normal(0.25, 0.08, 3_000)
    seen = np.stack(
        [truth * a + random.normal(0, s, truth.size) for a, s in ((1, 0.02), (0.8, 0.05), (1.2, 0.03))], 1
    )
    found = triple_collocation(seen, ("a", "b", "c"))
    ratio, error, scale = theirs.tcol_metrics(*seen.T)
    # Theirs are scaled to the first product, and the correlation follows from the signal-to-noise ratio.
    for k, name in enumerate(("a", "b", "c")):
        assert found[name]["error"] == pytest.approx(error[k] / scale[k], abs=1e-6)
        signal = 10 ** (ratio[k] / 10)
        assert found[name]["corr"] == pytest.approx(np.sqrt(signal / (1 + signal)), abs=1e-6)
