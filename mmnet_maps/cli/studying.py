"""Commands that say what a model is worth and why: scores, explanation, figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmnet_maps.cli.output import Json, show
from mmnet_maps.cli.score_lines import group_lines, number, score_lines
from mmnet_maps.whole_file import write_whole

if TYPE_CHECKING:
    import pandas as pd

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
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 1,
    as_json: Json = False,
) -> None:
    """Score any table of predictions."""
    import json

    from mmnet_maps.learn.evaluate import check_predictions, evaluate_table, read_predictions

    for name, path in (("--out", out), ("--stations", stations)):
        _refuse_no_folder(name, path)
    predictions = read_predictions(csv)
    check_predictions(predictions, str(csv))
    if table is not None:
        predictions = _joined(predictions, table)
    summary = evaluate_table(predictions, str(csv), resamples, seed)
    text = f"{score_lines(summary)}\n{group_lines(summary)}"
    if against is not None:
        summary["paired"] = found = _paired(predictions, against, (str(csv), str(against)), resamples, seed)
        text += "\n" + _paired_lines(found)
    if stations is not None:
        write_whole(stations, _station_table(predictions).to_csv(index=False, lineterminator="\n"))
    if out is not None:
        write_whole(out, json.dumps(summary, indent=2, allow_nan=False) + "\n")
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
        int, typer.Option("--samples", min=2, help="Gradients a row (networks): more of them, less noise.")
    ] = 200,
    seed: Annotated[int, typer.Option("--seed", help="Of the rows and the gradients.")] = 1,
    as_json: Json = False,
) -> None:
    """What the inputs of a model contribute (SHAP), by variable and by day."""
    from mmnet_maps.learn.bundle import load_bundle
    from mmnet_maps.learn.explain import explain as explain_rows
    from mmnet_maps.learn.explain import write_explanation
    from mmnet_maps.prepare.stations.files import read_table
    from mmnet_maps.show.importance import write_importance_figures

    model = load_bundle(bundle)
    frame, catalogue = read_table(table)
    model.catalogue.refuse_mismatch(catalogue, "the bundle", "the table")
    _make_folder(out)
    found = explain_rows(model, frame, rows, background, samples, seed)
    files = [*write_explanation(found, out), *write_importance_figures(found, out)]
    top = found.importance.head(10)
    lines = [
        f"{row.variable} ({row.part}): {row.importance:.5f} m3 m-3, noise {row.noise:.5f}"
        for row in top.itertuples()
    ]
    summary = {
        **found.facts,
        "importance": found.importance.to_dict("records"),
        "files": [str(f) for f in files],
    }
    show(summary, as_json, "\n".join([*lines, *_noise_line(found.facts), f"written: {out}"]))


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
        typer.Option("--table", help="Station table: places for the map, SMAP and precipitation."),
    ] = None,
    station: Annotated[
        list[str] | None,
        typer.Option("--station", help="Station whose series is drawn; repeatable. Default: the median one."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw the figures of a study: scatter, map of stations, series, box plots by model."""
    from mmnet_maps.prepare.stations.files import read_table
    from mmnet_maps.show.run_folder import read_runs
    from mmnet_maps.show.study import write_figures

    found = read_runs(runs)
    frame = read_table(table)[0] if table is not None else None
    _make_folder(out)
    files, left_out = write_figures(found, out, frame, tuple(station or ()))
    lines = [*(f"written: {path}" for path in files), *(f"left out: {reason}" for reason in left_out)]
    show({"files": [str(path) for path in files], "left_out": left_out}, as_json, "\n".join(lines))


def _joined(predictions: pd.DataFrame, table: Path) -> pd.DataFrame:
    from mmnet_maps.learn.groups import join_groups
    from mmnet_maps.prepare.stations.files import read_table

    return join_groups(predictions, read_table(table)[0])


def _paired(
    predictions: pd.DataFrame, against: Path, names: tuple[str, str], resamples: int, seed: int
) -> dict[str, Any]:
    from mmnet_maps.learn.bootstrap import paired_difference
    from mmnet_maps.learn.evaluate import check_predictions, read_predictions

    other = read_predictions(against)
    check_predictions(other, str(against))
    return paired_difference(predictions, other, resamples, seed, names=names)


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


def _station_table(predictions: pd.DataFrame) -> pd.DataFrame:
    from mmnet_maps.learn.evaluate import station_scores

    observed, predicted = (
        predictions[n].to_numpy(float, na_value=float("nan")) for n in ("y_test", "y_pred")
    )
    return station_scores(observed, predicted, predictions["ID"].to_numpy())


def _refuse_no_folder(option: str, path: Path | None) -> None:
    from mmnet_maps.errors import InputError

    if path is not None and not path.parent.is_dir():
        raise InputError(f"{option} {path}: the folder {path.parent} does not exist")


def _make_folder(out: Path) -> None:
    from mmnet_maps.errors import InputError

    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"--out {out}: is a file, expected a folder for the results") from None
