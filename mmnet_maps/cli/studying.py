"""Commands that study a model: scores, explanation, figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mmnet_maps.cli.output import Json, show
from mmnet_maps.cli.score_lines import group_lines, number, score_lines

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(evaluate)
    app.command()(explain)
    app.command()(figures)


def evaluate(
    csv: Annotated[Path, typer.Argument(metavar="CSV", help="Table with ID, Date, y_test, y_pred.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write the scores to this JSON file too.")] = None,
    table: Annotated[
        Path | None,
        typer.Option("--table", help="Station table: land cover and climate of each row, by ID and Date."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="Predictions of another model: differences paired by station."),
    ] = None,
    stations: Annotated[
        Path | None, typer.Option("--stations", help="Write the scores of every station to this CSV.")
    ] = None,
    resamples: Annotated[
        int, typer.Option("--resamples", min=1, help="Draws of the bootstrap over stations.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the bootstrap.")] = 1,
    as_json: Json = False,
) -> None:
    """Score any table of predictions."""
    from mmnet_maps.jobs import scores

    summary = scores.evaluate(
        csv, out, table=table, against=against, stations=stations, resamples=resamples, seed=seed
    )
    text = f"{score_lines(summary)}\n{group_lines(summary)}"
    if against is not None:
        text += "\n" + _paired_lines(summary["paired"])
    show(summary, as_json, text)


def explain(
    bundle: Annotated[Path, typer.Option("--bundle", help="Trained model.")],
    table: Annotated[Path, typer.Option("--table", help="Station table of the same catalogue.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for tables (CSV) and figures (PNG).")],
    rows: Annotated[int, typer.Option("--rows", min=1, help="Random rows that are explained.")] = 1000,
    background: Annotated[
        int, typer.Option("--background", min=1, help="Random rows that they are compared with.")
    ] = 1000,
    samples: Annotated[
        int, typer.Option("--samples", min=2, help="Gradients for each row (networks). More give less noise.")
    ] = 200,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the rows and the gradients.")] = 1,
    as_json: Json = False,
) -> None:
    """Compute what the inputs of a model contribute (SHAP), by variable and by day."""
    from mmnet_maps.jobs import scores

    summary = scores.explain(bundle, table, out, rows=rows, background=background, samples=samples, seed=seed)
    lines = [
        f"{row['variable']} ({row['part']}): {row['importance']:.5f} m3 m-3, noise {row['noise']:.5f}"
        for row in summary["importance"][:10]
    ]
    show(summary, as_json, "\n".join([*lines, *_noise_line(summary), f"written: {out}"]))


def _noise_line(facts: dict[str, Any]) -> list[str]:
    if "additivity" not in facts:
        return []
    gap, whole = (facts["additivity"][name] for name in ("mean_abs_error", "mean_abs_difference"))
    advice = "; raise --samples" if "samples" in facts and gap > 0.1 * whole else ""
    return [f"contributions miss their sum by {gap:.5f} of {whole:.5f} m3 m-3 on average{advice}"]


def figures(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders; several are compared.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the figures (PNG) and their numbers.")],
    table: Annotated[
        Path | None,
        typer.Option("--table", help="Station table: positions for the map, SMAP and precipitation."),
    ] = None,
    station: Annotated[
        list[str] | None,
        typer.Option(
            "--station", help="Station whose series is drawn; repeat for more. Default: the median one."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw the figures of a study: scatter, map of stations, series, box plots by model."""
    from mmnet_maps.jobs import scores

    summary = scores.figures(runs, out, table=table, stations=station or ())
    lines = [f"written: {path}" for path in summary["files"]]
    lines += [f"left out: {reason}" for reason in summary["left_out"]]
    show(summary, as_json, "\n".join(lines))


def _paired_lines(found: dict[str, Any]) -> str:
    lines = [f"against the other model, {found['stations']} stations, {found['n']} rows (medians):"]
    for name in ("corr", "ubrmse", "rmse", "bias"):
        entry = found[name]
        low, high = entry["interval"] or (None, None)
        lines.append(
            f"{name}: {number(entry['first'])} and {number(entry['second'])}, difference "
            f"{number(entry['difference'])} ({number(low)} to {number(high)})"
        )
    return "\n".join(lines)
