from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmnet_maps.prepare.gap_fill import NO_LIMIT, find_bracket, gap_fill


def brute_force(
    observed: list[tuple[int, float]], day: int, method: str, limit: float
) -> tuple[float, int, int, int]:
    """Value, age, gap and days ahead of one day of one series, from the words of the module's docstring."""
    before = [(t, v) for t, v in observed if t <= day]
    after = [(t, v) for t, v in observed if t >= day] if method != "past" else []
    t0, v0 = before[-1] if before else (-(10**9), np.nan)
    t1, v1 = after[0] if after else (10**9, np.nan)
    if t0 == day:
        return v0, 0, 0, 0
    if method == "none":
        return np.nan, -1, -1, 0
    if method == "linear" and before and after and t1 - t0 <= limit:
        step = (np.float32(v1) - np.float32(v0)) / np.float32(t1 - t0)
        line = float(np.float32(v0) + np.float32(day - t0) * step)
        return line, min(day - t0, t1 - day), t1 - t0, t1 - day
    near = [(day - t0, v0)] if before and day - t0 <= limit else []
    ahead = [(t1 - day, v1)] if after and t1 - day <= limit else []
    if method == "linear" and near and ahead:
        chosen = near if near[0][0] <= ahead[0][0] else ahead
    elif near or ahead:
        chosen = near or ahead
    else:
        return np.nan, -1, -1, 0
    distance, value = chosen[0]
    return value, distance, distance, distance if chosen is ahead else 0


@settings(max_examples=150, deadline=None)
@given(
    data=st.data(),
    method=st.sampled_from(["none", "linear", "hold", "past"]),
    max_gap=st.one_of(st.none(), st.integers(0, 12)),
)
def test_every_method_agrees_with_brute_force(data: st.DataObject, method: str, max_gap: int | None) -> None:
    days = data.draw(st.lists(st.integers(0, 30), unique=True, min_size=1, max_size=8).map(sorted))
    value = st.one_of(st.just(np.nan), st.floats(-100, 100, width=32))
    values = np.array([[data.draw(value) for _ in range(3)] for _ in days], dtype=np.float32)
    wanted = np.arange(-3, 35)
    found = gap_fill(np.array(days), values, wanted, method, max_gap)  # type: ignore[arg-type]
    limit = np.inf if max_gap is None else max_gap
    for j in range(3):
        series = [(t, float(v)) for t, v in zip(days, values[:, j], strict=True) if not np.isnan(v)]
        for i, day in enumerate(wanted):
            expected = brute_force(series, int(day), method, limit)
            got = found.values[i, j], found.age[i, j], found.gap[i, j], found.ahead[i, j]
            np.testing.assert_array_equal(np.float32(got[0]), np.float32(expected[0]))
            assert got[1:] == expected[1:]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_without_a_limit_linear_is_numpy_interp(seed: int) -> None:
    rng = np.random.default_rng(seed)
    days = np.sort(rng.choice(200, 40, replace=False)) + 16_000
    values = rng.normal(size=(40, 5)).astype(np.float32)
    values[rng.random(values.shape) < 0.3] = np.nan
    values[0] = 1.0
    wanted = np.arange(15_990, 16_230)
    found = gap_fill(days, values, wanted)
    for j in range(5):
        seen = ~np.isnan(values[:, j])
        expected = np.interp(wanted, days[seen], values[seen, j].astype(np.float64))
        np.testing.assert_allclose(found.values[:, j], expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("method", ["none", "linear", "hold", "past"])
@pytest.mark.parametrize("max_gap", [None, 0, 7])
def test_filling_in_blocks_of_days_or_series_gives_the_same_bits(method: str, max_gap: int | None) -> None:
    rng = np.random.default_rng(3)
    days = np.sort(rng.choice(120, 30, replace=False))
    values = rng.normal(size=(30, 9)).astype(np.float32)
    values[rng.random(values.shape) < 0.4] = np.nan
    wanted = np.arange(-10, 130)
    whole = gap_fill(days, values, wanted, method, max_gap)  # type: ignore[arg-type]
    parts = [gap_fill(days, values, wanted[i : i + 13], method, max_gap) for i in range(0, 140, 13)]  # type: ignore[arg-type]
    for name in ("values", "age", "gap", "ahead"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))
        columns = [
            getattr(gap_fill(days, values[:, j : j + 1], wanted, method, max_gap), name) for j in range(9)
        ]  # type: ignore[arg-type]
        np.testing.assert_array_equal(np.concatenate(columns, axis=1), getattr(whole, name))


def test_scenes_further_than_the_limit_change_nothing() -> None:
    """What a map tile may leave unread: a value depends only on observations within the limit."""
    rng = np.random.default_rng(5)
    days = np.sort(rng.choice(300, 25, replace=False))
    values = rng.normal(size=(25, 6)).astype(np.float32)
    wanted = np.arange(120, 140)
    for method in ("linear", "hold", "past"):
        whole = gap_fill(days, values, wanted, method, 20)  # type: ignore[arg-type]
        near = (days >= 100) & (days < 160)
        part = gap_fill(days[near], values[near], wanted, method, 20)  # type: ignore[arg-type]
        np.testing.assert_array_equal(part.values, whole.values)


def test_past_never_uses_a_later_observation() -> None:
    days = np.arange(0, 100, 7)
    values = np.arange(15, dtype=np.float32)[:, None]
    wanted = np.arange(0, 50)
    changed = values.copy()
    changed[days >= 50] = 999
    before = gap_fill(days, values, wanted, "past", 10)
    np.testing.assert_array_equal(before.values, gap_fill(days, changed, wanted, "past", 10).values)
    assert before.values[6, 0] == 0 and before.age[6, 0] == 6


def test_nothing_observed_is_missing_everywhere() -> None:
    wanted = np.arange(5)
    for days, values in (
        (np.empty(0, dtype=np.int64), np.empty((0, 2), dtype=np.float32)),
        (np.arange(3), np.full((3, 2), np.nan, dtype=np.float32)),
    ):
        for method in ("none", "linear", "hold", "past"):
            found = gap_fill(days, values, wanted, method)  # type: ignore[arg-type]
            assert np.isnan(found.values).all() and (found.age == -1).all() and (found.gap == -1).all()


def test_the_distance_to_nowhere_can_be_added_to_itself() -> None:
    bracket = find_bracket(np.arange(2), np.zeros((2, 1), dtype=bool), np.arange(4))
    assert (bracket.days_before == NO_LIMIT).all() and (bracket.days_after == NO_LIMIT).all()
    assert (bracket.days_before + bracket.days_after > 0).all()


def test_days_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="increasing"):
        gap_fill(np.array([2, 1]), np.zeros((2, 1), dtype=np.float32), np.arange(3))
