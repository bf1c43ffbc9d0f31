"""What a run folder holds, read back: settings, scores, predictions of every fold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mmnet_maps.config import read_yaml
from mmnet_maps.dates import to_yyyymmdd
from mmnet_maps.errors import InputError
from mmnet_maps.learn.evaluate import check_predictions, read_predictions
from mmnet_maps.learn.groups import days_of
from mmnet_maps.store.location import Location

__all__ = ["Run", "read_folds", "read_runs", "read_scores"]

_PREDICTIONS = "y_test_pred.csv"


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes
    ----------
    name : str
        What it is called in figures: its model, or its folder where that is needed to tell runs apart.
    predictions : DataFrame
        ID, Date (YYYYMMDD), y_test, y_pred of all folds, and the column ``fold``.
    """

    name: str
    predictions: pd.DataFrame


def read_scores(path: Location) -> dict[str, Any]:
    """A ``scores.json``; `InputError` if it is not one."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable scores: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict) or "overall" not in data:
        raise InputError(f"{path}: no overall scores; expected what `train`, `evaluate` or `validate` wrote")
    return data


def read_folds(run: Path) -> dict[str, pd.DataFrame]:
    """Predictions by fold, of the folds that have any.

    Raises
    ------
    InputError
        A file of predictions is no table of ID, Date, y_test and y_pred.
    """
    folds = {}
    for path in sorted(run.glob(f"*/{_PREDICTIONS}")):
        frame = read_predictions(path)
        check_predictions(frame, str(path))
        folds[path.parent.name] = frame
    return folds


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Run folders with names that differ.

    Raises
    ------
    InputError
        A folder is no run or holds no predictions, or is given twice.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InputError(f"{', '.join(map(str, folders))}: a run folder is given twice")
    tables = [_predictions(folder) for folder in folders]
    return [Run(name, table) for name, table in zip(_names(folders), tables, strict=True)]


def _predictions(run: Path) -> pd.DataFrame:
    if not run.is_dir():
        raise InputError(f"{run}: no such run folder")
    folds = read_folds(run)
    if not folds:
        raise InputError(
            f"{run}: no */{_PREDICTIONS} there, expected the folder that `mmnet-maps train` wrote"
        )
    table = pd.concat([frame.assign(fold=name) for name, frame in folds.items()], ignore_index=True)
    return table.assign(Date=to_yyyymmdd(days_of(table["Date"], str(run))))


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest of model, folder name and whole path that tells the runs apart."""
    for names in (
        [_model(folder) or folder.resolve().name for folder in folders],
        [folder.resolve().name for folder in folders],
    ):
        if len(set(names)) == len(names):
            return names
    return [folder.resolve().as_posix().strip("/").replace("/", "-") for folder in folders]


def _model(run: Path) -> str | None:
    path = run / "config.yaml"
    if not path.is_file():
        return None
    settings = read_yaml(path)
    model = settings.get("model") if isinstance(settings, Mapping) else None
    return str(model) if model else None
