"""A trained model beside SMAP itself at the stations that were held out, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["beside_smap", "comparison_line", "warning_line"]

_SCORES = ("corr", "ubrmse", "rmse")


def beside_smap(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Medians over the held-out stations of the model and of SMAP, from the summary of an experiment.

    Returns
    -------
    dict
        ``stations``, ``model`` and ``SMAP``; empty if the table had no SMAP, or no station has scores.
    """
    smap = summary.get("baselines", {}).get("SMAP")
    if smap is None:
        return {}
    medians = {"model": summary["stations"]["median"], "SMAP": smap["stations"]["median"]}
    found = {who: {name: median[name] for name in _SCORES} for who, median in medians.items()}
    if any(found[who]["ubrmse"] is None for who in found):
        return {}
    return {"stations": summary["stations"]["count"], **found}


def comparison_line(held_out: Mapping[str, Any]) -> str:
    """The comparison as a sentence; empty without one."""
    if not held_out:
        return ""
    model, smap = held_out["model"], held_out["SMAP"]
    share = 100 * (1 - model["ubrmse"] / smap["ubrmse"])
    better = f"{share:.0f} % smaller" if share >= 0 else f"{-share:.0f} % larger"
    return (
        f"at {held_out['stations']} held-out stations the median ubRMSE of the model is "
        f"{model['ubrmse']:.4f}, of SMAP itself {smap['ubrmse']:.4f} m3 m-3 ({better})"
    )


def warning_line(held_out: Mapping[str, Any] | None) -> str:
    """A warning if the model is no better than SMAP at the stations; else empty."""
    if not held_out or held_out["model"]["ubrmse"] < held_out["SMAP"]["ubrmse"]:
        return ""
    return f"warning: the model is no better than SMAP itself: {comparison_line(held_out)}"
