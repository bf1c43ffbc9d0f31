"""Study a model: scores, explanation, figures."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from mmnet_maps.errors import InputError, refuse_beyond
from mmnet_maps.jobs.models import load_bundle
from mmnet_maps.jobs.settings import output_file
from mmnet_maps.learn.bootstrap import paired_difference
from mmnet_maps.learn.evaluate import check_predictions, evaluate_table, read_predictions, station_scores
from mmnet_maps.learn.explain import explain as explain_rows
from mmnet_maps.learn.explain import write_explanation
from mmnet_maps.learn.groups import join_groups
from mmnet_maps.prepare.stations.files import read_table
from mmnet_maps.show.importance import write_importance_figures
from mmnet_maps.show.run_folder import read_runs
from mmnet_maps.show.study import write_figures
from mmnet_maps.store.location import local_path, location
from mmnet_maps.store.whole import write_whole

__all__ = ["evaluate", "explain", "figures"]

#: What torch takes as a seed, and numpy too.
_LARGEST_SEED = 2**63 - 1


def evaluate(
    csv: str | Path,
    out: str | Path | None = None,
    *,
    table: str | Path | None = None,
    against: str | Path | None = None,
    stations: str | Path | None = None,
    resamples: int = 1000,
    seed: int = 1,
) -> dict[str, Any]:
    r"""Score any table of predictions.

    Parameters
    ----------
    csv : str or Path
        Table with ID, Date, y_test, y_pred.
    out : str or Path, optional
        JSON file to write the scores to.
    table : str or Path, optional
        Station table: land cover and climate of each row, by ID and Date.
    against : str or Path, optional
        Predictions of another model: differences paired by station, under ``paired``.
    stations : str or Path, optional
        CSV to write the scores of every station to.
    resamples, seed : int
        Draws of the bootstrap over stations, and its seed.

    Returns
    -------
    dict
        ``overall``, ``stations``, ``intervals``, ``anomalies``, ``groups`` and, where asked for, ``paired``.

    Raises
    ------
    InputError
        A table is missing, lacks columns or holds what is no number.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> rows = "ID,Date,y_test,y_pred\ns1,20200601,0.20,0.22\ns1,20200602,0.30,0.28\n"
    >>> with TemporaryDirectory() as folder:
    ...     table = Path(folder) / "predictions.csv"
    ...     _ = table.write_text(rows)
    ...     found = evaluate(table, resamples=10)
    >>> found["overall"]["n"], round(found["overall"]["rmse"], 6)
    (2, 0.02)
    """
    scores_file, station_file = (None if path is None else output_file(path) for path in (out, stations))
    refuse_beyond("--resamples", resamples, 1, 100_000)
    refuse_beyond("--seed", seed, 0, _LARGEST_SEED)
    predictions = _read(csv)
    if table is not None:
        predictions = join_groups(predictions, read_table(location(table))[0])
    summary = evaluate_table(predictions, str(location(csv)), resamples, seed)
    if against is not None:
        names = (str(location(csv)), str(location(against)))
        summary["paired"] = paired_difference(predictions, _read(against), resamples, seed, names=names)
    if station_file is not None:
        write_whole(station_file, _by_station(predictions).to_csv(index=False, lineterminator="\n"))
    if scores_file is not None:
        write_whole(scores_file, json.dumps(summary, indent=2, allow_nan=False) + "\n")
    return summary


def explain(
    bundle: str | Path,
    table: str | Path,
    out: str | Path,
    *,
    rows: int = 1000,
    background: int = 1000,
    samples: int = 200,
    seed: int = 1,
) -> dict[str, Any]:
    """What the inputs of a model contribute (SHAP), by variable and by day.

    Parameters
    ----------
    bundle, table : str or Path
        A trained model, and a station table of the same catalogue.
    out : str or Path
        Folder for tables (CSV) and figures (PNG).
    rows, background : int
        Random rows that are explained, and that they are compared with.
    samples : int
        Gradients a row (networks): more of them, less noise.
    seed : int

    Returns
    -------
    dict
        The facts of ``explanation.json``, ``importance`` (a record an input) and ``files``.
    """
    refuse_beyond("--samples", samples, 2, 100_000)
    refuse_beyond("--seed", seed, 0, _LARGEST_SEED)
    folder = local_path(out, to_write=True)
    model = load_bundle(bundle)
    frame, catalogue = read_table(location(table))
    model.catalogue.refuse_mismatch(catalogue, "the bundle", "the table")
    _make_folder(folder)
    found = explain_rows(model, frame, rows, background, samples, seed)
    files = [*write_explanation(found, folder), *write_importance_figures(found, folder)]
    importance = found.importance.to_dict("records")
    return {**found.facts, "importance": importance, "files": [str(path) for path in files]}


def figures(
    runs: Iterable[str | Path],
    out: str | Path,
    *,
    table: str | Path | None = None,
    stations: Iterable[str] = (),
) -> dict[str, Any]:
    """Draw the figures of a study: scatter, map of stations, series, box plots by model.

    Parameters
    ----------
    runs : iterable of str or Path
        Run folders; several are compared.
    out : str or Path
        Folder for the figures (PNG) and their numbers.
    table : str or Path, optional
        Station table: where the stations are, SMAP and precipitation.
    stations : iterable of str
        Stations whose series are drawn; by default the median one.

    Returns
    -------
    dict
        ``files``, and ``left_out``: what could not be drawn, and why.
    """
    folder = local_path(out, to_write=True)
    found = read_runs([local_path(run) for run in runs])
    frame = read_table(location(table))[0] if table is not None else None
    files, left_out = write_figures(found, _make_folder(folder), frame, tuple(stations))
    return {"files": [str(path) for path in files], "left_out": left_out}


def _read(csv: str | Path) -> pd.DataFrame:
    path = location(csv)
    predictions = read_predictions(path)
    check_predictions(predictions, str(path))
    return predictions


def _by_station(predictions: pd.DataFrame) -> pd.DataFrame:
    observed, predicted = (
        predictions[name].to_numpy(float, na_value=float("nan")) for name in ("y_test", "y_pred")
    )
    return station_scores(observed, predicted, predictions["ID"].to_numpy())


def _make_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"--out {folder}: is a file, expected a folder for the results") from None
    return folder
