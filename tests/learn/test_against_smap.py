"""A model beside SMAP itself, in plain words."""

from __future__ import annotations

from typing import Any

from mmnet_maps.cli.score_lines import score_lines
from mmnet_maps.learn.against_smap import beside_smap, comparison_line, warning_line


def _summary(model: float | None, smap: float | None) -> dict[str, Any]:
    def scored(value: float | None) -> dict[str, Any]:
        entry = {"corr": 0.8, "rmse": 0.05, "bias": 0.0, "ubrmse": value, "n": 9}
        return {"overall": entry, "stations": {"count": 3, "median": entry}}

    return {**scored(model), "baselines": {"SMAP": scored(smap)}}


def test_better_is_said_and_worse_is_warned_of() -> None:
    better, worse = beside_smap(_summary(0.03, 0.04)), beside_smap(_summary(0.05, 0.04))
    assert comparison_line(better).endswith("is 0.0300, of SMAP itself 0.0400 m3 m-3 (25 % smaller)")
    assert not warning_line(better) and "(25 % larger)" in warning_line(worse)
    assert "warning" not in score_lines(_summary(0.03, 0.04))
    assert score_lines(_summary(0.05, 0.04)).splitlines()[-1].startswith("warning: the model is no better")


def test_nothing_is_said_without_both() -> None:
    for summary in (_summary(None, 0.04), _summary(0.03, None), {"stations": {}}):
        assert beside_smap(summary) == {}
    assert not warning_line(None) and not warning_line({}) and not comparison_line({})
