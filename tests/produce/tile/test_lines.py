"""The fast gap filling of a block against the definition in `prepare.gap_fill`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmnet_maps.packing import Packing
from mmnet_maps.prepare.gap_fill import Method, gap_fill
from mmnet_maps.produce.tile.lines import LineFill

FLOAT = Packing(dtype="float32")
_METHODS: list[Method] = ["none", "linear", "hold", "past"]


@st.composite
def _cases(draw: st.DrawFn) -> dict[str, Any]:
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    count = draw(st.integers(0, 12))
    days = np.sort(rng.choice(80, size=count, replace=False)).astype(np.int64) + 17_000
    values = rng.normal(size=(draw(st.integers(1, 3)), count, 16)).astype(np.float32)
    share = draw(st.sampled_from([0.0, 0.3, 0.8]))
    if draw(st.booleans()):
        values[:, rng.random((count, 16)) < share] = np.nan
    else:
        values[rng.random(values.shape) < share] = np.nan
    start = 17_000 + draw(st.integers(-20, 80))
    return {
        "days": days,
        "values": values,
        "wanted": np.arange(start, start + draw(st.integers(1, 90)), dtype=np.int64),
        "method": draw(st.sampled_from(_METHODS)),
        "max_gap": draw(st.sampled_from([None, 0, 1, 3, 7, 20, 60])),
        "max_age": draw(st.sampled_from([None, 0, 2, 5, 15])),
    }


@given(_cases())
@settings(max_examples=300, deadline=None)
def test_a_day_is_the_gap_filled_day_to_the_bit(case: dict[str, Any]) -> None:
    days, values, wanted = case["days"], case["values"], case["wanted"]
    fill = LineFill(days, values, FLOAT, int(wanted[0]), case["method"], case["max_gap"], case["max_age"])
    expected = [gap_fill(days, band, wanted, case["method"], case["max_gap"]) for band in values]
    found = np.empty((len(values), values.shape[2]), dtype=np.float32)
    for row, day in enumerate(wanted):
        old = fill.fill(int(day), found)
        for band, filled in enumerate(expected):
            np.testing.assert_array_equal(found[band], filled.values[row])
        if case["max_age"] is None:
            assert old is None
            continue
        truly = np.any([filled.age[row] > case["max_age"] for filled in expected], axis=0)
        np.testing.assert_array_equal(np.zeros(16, bool) if old is None else old, truly)


@pytest.mark.parametrize("step", [2, 9])
def test_days_may_be_skipped(step: int) -> None:
    rng = np.random.default_rng(3)
    days = np.array([100, 104, 111, 140, 141], dtype=np.int64)
    values = rng.normal(size=(1, 5, 8)).astype(np.float32)
    values[0, 2, :4] = np.nan
    wanted = np.arange(95, 160, step, dtype=np.int64)
    fill, out = LineFill(days, values, FLOAT, 95, "linear", 12), np.empty((1, 8), dtype=np.float32)
    expected = gap_fill(days, values[0], wanted, "linear", 12).values
    for row, day in enumerate(wanted):
        fill.fill(int(day), out)
        np.testing.assert_array_equal(out[0], expected[row])


def test_brackets_are_searched_on_scene_days_alone() -> None:
    days = np.arange(0, 160, 16, dtype=np.int64)
    values = np.random.default_rng(0).normal(size=(6, 10, 32)).astype(np.float32)
    fill, out = LineFill(days, values, FLOAT, 0, "linear", 90, 30), np.empty((6, 32), dtype=np.float32)
    searched = 0
    for day in range(144):
        before = fill._next
        fill.fill(day, out)
        searched += fill._next != before
    assert searched == 9
