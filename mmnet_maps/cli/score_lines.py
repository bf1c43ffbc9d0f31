"""Scores as lines for a reader."""

from __future__ import annotations

from typing import Any

from mmnet_maps.learn.against_smap import beside_smap, comparison_line, warning_line

__all__ = ["group_lines", "number", "score_lines"]


def score_lines(summary: dict[str, Any]) -> str:
    """Overall scores and the medians over stations, a line each; then folds and baselines."""
    lines = [_line(f"all {summary['overall']['n']} rows", summary["overall"])]
    stations = summary["stations"]
    lines.append(_line(f"median of {stations['count']} stations", stations["median"]))
    for name, found in summary.get("folds", {}).items():
        lines.append(_line(f"fold {name}", found))
    for name, found in summary.get("baselines", {}).items():
        lines.append(_line(f"{name} itself, median of stations", found["stations"]["median"]))
    held_out = beside_smap(summary)
    lines += [line for line in (comparison_line(held_out), warning_line(held_out)) if line]
    return "\n".join(lines)


def group_lines(summary: dict[str, Any]) -> str:
    """Intervals, anomalies and groups: what `evaluate` finds beside the scores."""
    lines = []
    drawn = summary["intervals"]
    for name in ("corr", "ubrmse"):
        ends = drawn["median"][name]
        if ends is not None:
            lines.append(
                f"median {name}: {drawn['level']:.0%} interval {ends[0]:.4f} to {ends[1]:.4f} "
                f"({drawn['resamples']} draws of {drawn['stations']} stations)"
            )
    stations = summary["anomalies"]["stations"]
    lines.append(
        f"anomalies, median of {stations['count']} stations: "
        f"corr {number(stations['median']['corr'])}, ubrmse {number(stations['median']['ubrmse'])}"
    )
    for kind, groups in summary["groups"].items():
        for name, found in groups.items():
            title = f"{kind.replace('_', ' ')} {name}, n {found['overall']['n']}"
            lines.append(_line(f"{title}, median of {found['stations']['count']} stations",
                               found["stations"]["median"]))  # fmt: skip
    return "\n".join(lines)


def number(value: float | None) -> str:
    """Four decimals, or a word for what is undefined."""
    return "undefined" if value is None else f"{value:.4f}"


def _line(title: str, found: dict[str, Any]) -> str:
    shown = (f"{name} {number(found[name])}" for name in ("corr", "rmse", "bias", "ubrmse"))
    return f"{title}: " + ", ".join(shown)
