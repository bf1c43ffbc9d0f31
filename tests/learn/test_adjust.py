"""Probes: what they say where they stand, how far they reach, and what is left alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmnet_maps.errors import InputError
from mmnet_maps.learn.adjust import MEMORY_DAYS, OTHER_COVER, Adjustment, Probe, summarise_probe
from mmnet_maps.learn.probe_checks import check_probe

HALF_WIDTH = 0.13


def probe(
    name: str = "a", east: float = -98.0, north: float = 36.0, shift: float = 0.06, days: int = 60
) -> Probe:
    rng = np.random.default_rng(len(name))
    told = 0.2 + 0.05 * np.sin(np.arange(days) / 5)
    seen = told + shift + rng.normal(0, 0.01, days)
    found = summarise_probe(name, (east, north), seen, told)
    assert found is not None
    return found


def at(adjustment: Adjustment, metres: float):  # type: ignore[no-untyped-def]
    north = 36.0 + np.degrees(metres / 6_371_000.0)
    return adjustment.at(np.array([-98.0]), np.array([north]))


def test_one_probe_is_the_closed_form_of_two_normal_distributions() -> None:
    one = probe()
    adjustment = Adjustment.of([one], HALF_WIDTH)
    noise = max(one.within, adjustment.within) ** 2 / (one.days / MEMORY_DAYS)
    share = adjustment.level_spread**2 / (adjustment.level_spread**2 + noise)
    here = at(adjustment, 0.0)
    assert here.shift[0] == pytest.approx(share * one.shift, rel=1e-6)
    left = adjustment.level_spread**2 * (1 - share) + adjustment.within**2
    total = adjustment.level_spread**2 + adjustment.within**2
    assert here.width[0] == pytest.approx(np.sqrt(left / total), rel=1e-6)


def test_the_effect_falls_with_distance_and_is_exactly_nothing_beyond_the_reach() -> None:
    adjustment = Adjustment.of([probe()], HALF_WIDTH, reach=1_000.0)
    shifts = [abs(float(at(adjustment, d).shift[0])) for d in (0, 200, 500, 900)]
    assert shifts == sorted(shifts, reverse=True) and shifts[-1] > 0
    far = at(adjustment, 1_001.0)
    assert far.width[0] == 1 and far.shift[0] == 0 and far.slope[0] == 0
    told = np.array([0.25], dtype=np.float32)
    assert far.adjust(told).tobytes() == told.tobytes()


def test_few_days_count_less_than_many() -> None:
    few, many = (Adjustment.of([probe(days=n)], HALF_WIDTH) for n in (10, 120))
    assert abs(at(few, 0.0).shift[0]) < abs(at(many, 0.0).shift[0]) < 0.06
    assert at(few, 0.0).width[0] > at(many, 0.0).width[0]
    assert summarise_probe("short", (0.0, 0.0), np.full(9, 0.2), np.full(9, 0.1)) is None


def test_two_probes_are_kriged_as_by_a_plain_solution() -> None:
    two = [probe("a", shift=0.06), probe("bb", north=36.003, shift=-0.02)]
    adjustment = Adjustment.of(two, HALF_WIDTH)

    def likeness(metres: float) -> float:
        share = min(metres / adjustment.reach, 1.0)
        return float((1 - share) ** 4 * (4 * share + 1))

    apart = 6_371_000.0 * 2 * np.sin(np.radians(0.003) / 2)
    among = np.array([[1.0, likeness(apart)], [likeness(apart), 1.0]])
    noise = [max(p.within, adjustment.within) ** 2 / max(1.0, p.days / MEMORY_DAYS) for p in two]
    near = among[:, 0]
    spread = adjustment.level_spread**2
    weights = np.linalg.solve(spread * among + np.diag(noise), spread * near)
    assert at(adjustment, 0.0).shift[0] == pytest.approx(weights @ [p.shift for p in two], rel=1e-5)


def test_another_land_cover_gets_less() -> None:
    base = probe()
    adjustment = Adjustment.of([Probe(**{**base.__dict__, "land_cover": 3})], HALF_WIDTH)
    east, north = np.full(3, -98.0), np.full(3, 36.0)
    shift = adjustment.at(east, north, np.array([3, 1, -1])).shift
    assert shift[1] == pytest.approx(OTHER_COVER * shift[0], rel=1e-5)
    assert shift[2] == shift[0]


def test_across_the_antimeridian_a_probe_reaches_its_neighbour() -> None:
    adjustment = Adjustment.of([probe(east=179.9999, north=0.0)], HALF_WIDTH)
    assert adjustment.at(np.array([-179.9999]), np.array([0.0])).shift[0] > 0.02


def test_it_comes_back_from_json_to_the_bit() -> None:
    adjustment = Adjustment.of([probe("a"), probe("bb", north=36.004)], HALF_WIDTH, digest="abc")
    again = Adjustment.from_json(json.loads(json.dumps(adjustment.to_json())))
    assert again == adjustment
    assert at(again, 300.0).shift.tobytes() == at(adjustment, 300.0).shift.tobytes()


@pytest.mark.parametrize(
    ("probes", "half", "reach", "word"), [([], 0.1, 1e3, "no probe"), (1, 0.1, -1, "reach")]
)
def test_what_cannot_be_weighed_is_refused(probes: object, half: float, reach: float, word: str) -> None:
    with pytest.raises(InputError, match=word):
        Adjustment.of([probe()] if probes else [], half, reach)


def test_a_record_is_checked() -> None:
    days = np.arange(40)
    value = 0.2 + 0.01 * np.sin(days / 3.0)
    value[5] = 0.9
    value[10] += 0.08
    value[20:31] = 0.2
    bad = check_probe(days, value)
    assert np.flatnonzero(bad["out of range"]).tolist() == [5]
    assert np.flatnonzero(bad["spike"]).tolist() == [10]
    assert np.flatnonzero(bad["stuck"]).tolist() == list(range(20, 31))


def test_rain_is_no_spike() -> None:
    value = np.array([0.15, 0.15, 0.35, 0.33, 0.3, 0.28])
    assert not check_probe(np.arange(6), value)["spike"].any()
