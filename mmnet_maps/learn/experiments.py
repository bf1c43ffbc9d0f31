"""Experiments: folds trained and tested, scored together, and kept as a run folder.

A fold is finished when its ``fold.json`` is there: it is written last and names the settings and the table
that the fold was made from. A run that is started again does only the folds that are not finished.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.errors import InputError, suggestion
from mmnet_maps.learn.against_smap import beside_smap
from mmnet_maps.learn.bundle import CARD, Bundle, save_bundle
from mmnet_maps.learn.evaluate import evaluate_table, scores
from mmnet_maps.learn.groups import join_groups
from mmnet_maps.learn.intervals import IntervalTable
from mmnet_maps.learn.local_cluster import local_cluster
from mmnet_maps.learn.model_input import from_table
from mmnet_maps.learn.models.baselines import BASELINES
from mmnet_maps.learn.models.networks import NETWORKS
from mmnet_maps.learn.rows import TrainingRows
from mmnet_maps.learn.splits import DEFAULT_VALIDATION, EXPERIMENTS, Experiment, Fold, split
from mmnet_maps.learn.train import Fitted, TrainConfig, fit
from mmnet_maps.prepare.stations.files import model_columns
from mmnet_maps.progress import say
from mmnet_maps.store.whole import write_whole
from mmnet_maps.variables import last_year_of

__all__ = ["ExperimentConfig", "run_experiment"]

_DONE, _PREDICTED, _LOG = "fold.json", "y_test_pred.csv", "trainlog.csv"
_FILES_ALL = (f"bundle/{CARD}", _LOG)
_FILES = (*_FILES_ALL, _PREDICTED)
#: Column of a blend's predictions that its networks give without its trees.
_NETWORKS_ALONE = "y_networks"


class ExperimentConfig(TrainConfig):
    """Settings of a run: those of a training, and how the table is divided.

    Attributes
    ----------
    model : str
        mmnet, transformer, mlp, ridge, forest or xgboost.
    experiment : {"on-site", "off-site", "cross-region", "all"}
        How the rows are divided into training and test; ``all`` also trains the model for maps.
    target : int, optional
        On-site: the only year to test on.
    train_years : int
        On-site: years before the target year that are trained on.
    folds : int
        Off-site and all: number of folds.
    workers : int
        Folds trained at once, each in a process of its own.
    """

    model: str = "mmnet"
    experiment: Experiment = "off-site"
    target: int | None = None
    train_years: int = Field(3, ge=1)
    folds: int = Field(5, ge=2)
    workers: int = Field(1, ge=1, le=1024)


@dataclass(frozen=True)
class _Job:
    """One fold with everything that it needs in another process."""

    fold: Fold
    folder: Path
    key: str
    config: ExperimentConfig
    catalogue: Catalogue
    digest: str


def _job(fold: Fold, out: Path, config: ExperimentConfig, catalogue: Catalogue, digest: str) -> _Job:
    unused = {"workers", "target"} | ({"modern"} if config.recipe == "published" else set())
    settings = config.model_dump(mode="json", exclude=unused)
    what: list[Any] = [settings, catalogue.fingerprint, digest, fold.name]
    if fold.left_out:
        what.append(hashlib.sha256(fold.train.tobytes()).hexdigest())
    meaning = json.dumps(what, sort_keys=True)
    key = hashlib.sha256(meaning.encode()).hexdigest()
    return _Job(fold, out / fold.name, key, config, catalogue, digest)


def run_experiment(
    frame: pd.DataFrame, catalogue: Catalogue, config: ExperimentConfig, out: Path
) -> dict[str, Any]:
    """Train and test every fold, and write the run folder.

    Parameters
    ----------
    frame : DataFrame
        Station table.
    catalogue : Catalogue
        Of the table.
    config : ExperimentConfig
    out : Path
        Run folder; a run of other settings in it is refused, finished folds of the same run are kept.

    Returns
    -------
    dict
        What ``scores.json`` holds.

    Raises
    ------
    InputError
        The settings, the table and the experiment do not fit; the message names what is missing.
    """
    config = _settled(config)
    folds = split(frame, config.experiment, config.target, config.train_years, config.folds)
    if config.experiment == "on-site":
        _refuse_late_normals(catalogue, folds)
    _say_what_is_left_out(frame, folds, catalogue, config.experiment)
    digest = _table_digest(frame, catalogue)
    _claim(out, config)
    jobs = [_job(fold, out, config, catalogue, digest) for fold in folds]
    todo = [job for job in jobs if not _finished(job, _FILES)]
    if len(todo) < len(jobs):
        say(f"{len(jobs) - len(todo)} of {len(jobs)} folds are finished already")
    _run(todo, frame)
    tables = {job.fold.name: pd.read_csv(job.folder / _PREDICTED, dtype={"ID": str}) for job in jobs}
    summary = _summary(tables, frame, folds, catalogue.target.name)
    if config.experiment == "all":
        everything = Fold("all", np.ones(len(frame), dtype=bool), np.zeros(len(frame), dtype=bool))
        job = _job(everything, out, config, catalogue, digest)
        _fit_all(job, frame, pd.concat(tables.values()), beside_smap(summary))
    write_whole(out / "scores.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
    return summary


def _settled(config: ExperimentConfig) -> ExperimentConfig:
    known = (*NETWORKS, *BASELINES)
    if config.model not in known:
        more = suggestion(config.model, known)
        raise InputError(f"model {config.model} is not known; known are {', '.join(known)}{more}")
    if config.experiment not in EXPERIMENTS:
        raise InputError(f"experiment {config.experiment} is not known; known are {', '.join(EXPERIMENTS)}")
    how = config.validation or DEFAULT_VALIDATION[config.experiment]
    modern = config.modern.settled(config.experiment == "on-site")
    return config.model_copy(update={"validation": how, "modern": modern})


def _refuse_late_normals(catalogue: Catalogue, folds: list[Fold]) -> None:
    """No climate normal may be of the weather of a tested year."""
    years = [
        year for name in catalogue.snapshot if name in catalogue and (year := last_year_of(catalogue[name]))
    ]
    first = min(int(fold.name) for fold in folds)
    if years and max(years) >= first:
        raise InputError(
            f"on-site tests {first}, and the table's climate normals are of the years to {max(years)}: "
            f"make the table with --normals-until {first - 1}, or give a later --target"
        )


def _say_what_is_left_out(
    frame: pd.DataFrame, folds: list[Fold], catalogue: Catalogue, experiment: Experiment
) -> None:
    for fold in folds:
        if fold.left_out:
            say(
                f"{fold.left_out} rows do not train for {fold.name}: their gaps were filled with "
                "observations of that year (--fill past of the table avoids it)"
            )
    filled = any(catalogue[name].fill in ("linear", "hold") for name in catalogue.required)
    if experiment == "on-site" and filled and "fill_ahead" not in frame.columns:
        say(
            "the table has no column fill_ahead: rows before a tested year may rest on observations of it; "
            "build the table again"
        )
    used = np.zeros(len(frame), dtype=bool)
    for fold in folds:
        used |= fold.test
    if len(folds) > 1 and folds[0].name == "W" and not used.all():
        say(f"{int((~used).sum())} rows are of no domain and are left out")


def _table_digest(frame: pd.DataFrame, catalogue: Catalogue) -> str:
    columns = [*model_columns(catalogue), "ID", "Date", catalogue.target.name]
    optional = [name for name in ("Domain", "SMAP") if name in frame.columns and name not in columns]
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise InputError(f"the table lacks columns {', '.join(missing[:6])}")
    hashed = pd.util.hash_pandas_object(frame[columns + optional], index=False).to_numpy()
    return hashlib.sha256(hashed.tobytes()).hexdigest()


def _claim(out: Path, config: ExperimentConfig) -> None:
    """Make the run folder, or accept it if it is of the same experiment."""
    path = out / "config.yaml"
    if path.is_file():
        before = ExperimentConfig.load(path)
        if (before.model, before.experiment) != (config.model, config.experiment):
            raise InputError(
                f"{out}: holds a run of {before.model} {before.experiment}, not {config.model} "
                f"{config.experiment}; give another --out"
            )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists and is no run folder")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(path, config.to_yaml())


def _finished(job: _Job, files: Sequence[str]) -> bool:
    """Whether the folder holds these files and a record of the same settings and table."""
    if not all((job.folder / name).is_file() for name in (_DONE, *files)):
        return False
    try:
        record = json.loads((job.folder / _DONE).read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        return False
    return isinstance(record, dict) and record.get("key") == job.key


def _run(jobs: list[_Job], frame: pd.DataFrame) -> None:
    workers = min(jobs[0].config.workers, len(jobs)) if jobs else 1
    if workers == 1:
        for job in jobs:
            _run_fold(job, frame)
        return
    from distributed import Client

    with local_cluster(workers) as address, Client(address) as client:  # type: ignore[no-untyped-call]
        table = client.scatter(frame, broadcast=True)
        futures = [client.submit(_run_fold, job, table, pure=False) for job in jobs]
        client.gather(futures)  # the first error of a fold ends the run


def _run_fold(job: _Job, frame: pd.DataFrame) -> None:
    """Train and test one fold."""
    fitted = _train(job, frame)
    bundle = save_bundle(fitted.bundle, job.folder / "bundle")
    tested = frame[job.fold.test]
    inputs = from_table(tested, job.catalogue)
    table = tested[["ID", "Date"]].assign(
        y_test=tested[job.catalogue.target.name], y_pred=bundle.predict(inputs)
    )
    if bundle.trees:
        table[_NETWORKS_ALONE] = bundle.networks_alone().predict(inputs)
    _write_csv(job.folder / _PREDICTED, table)
    _record(job, bundle)


def _fit_all(job: _Job, frame: pd.DataFrame, held_out: pd.DataFrame, beside: dict[str, Any]) -> None:
    """Fit the model for maps on all stations; its intervals rest on what the folds held out."""
    if _finished(job, _FILES_ALL):
        return
    fitted = _train(job, frame)
    bundle = replace(
        fitted.bundle,
        interval=_held_out_interval(held_out, "y_pred", job.config.coverage),
        facts={**fitted.bundle.facts, "held_out": beside},
    )
    if bundle.trees:
        alone = _held_out_interval(held_out, _NETWORKS_ALONE, job.config.coverage)
        bundle = replace(bundle, network_interval=alone)
    _record(job, save_bundle(bundle, job.folder / "bundle"))


def _held_out_interval(held_out: pd.DataFrame, column: str, coverage: float) -> IntervalTable | None:
    observed, predicted = (held_out[name].to_numpy(np.float64) for name in ("y_test", column))
    return IntervalTable.calibrate(observed, predicted, held_out["ID"].to_numpy(), coverage)


def _train(job: _Job, frame: pd.DataFrame) -> Fitted:
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / _DONE).unlink(missing_ok=True)
    rows = TrainingRows.from_frame(frame[job.fold.train], job.catalogue)
    facts = {"experiment": job.config.experiment, "fold": job.fold.name, "table": job.digest}
    name = f"{job.config.model} {job.fold.name}"
    fitted = fit(job.config.model, rows, job.catalogue, job.config, name, facts)
    _write_csv(job.folder / _LOG, fitted.log)
    return fitted


def _record(job: _Job, bundle: Bundle) -> None:
    """Written last: its presence means that the fold is finished."""
    record = {"key": job.key, "bundle": bundle.digest}
    write_whole(job.folder / _DONE, json.dumps(record, indent=2) + "\n")


def _summary(
    tables: Mapping[str, pd.DataFrame], frame: pd.DataFrame, folds: list[Fold], target: str
) -> dict[str, Any]:
    summary = evaluate_table(join_groups(pd.concat(tables.values()), frame), "the held-out rows")
    summary["folds"] = {}
    for name, table in tables.items():
        found = scores(table["y_test"].to_numpy(), table["y_pred"].to_numpy(), table["ID"].to_numpy())
        summary["folds"][name] = {**found["overall"], "stations": found["stations"]}
    if "SMAP" in frame.columns:
        tested = pd.concat([frame[fold.test] for fold in folds])
        observed, estimate = (tested[name].to_numpy(np.float64) for name in (target, "SMAP"))
        summary["baselines"] = {"SMAP": scores(observed, estimate, tested["ID"].to_numpy())}
    return summary


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    write_whole(path, table.to_csv(index=False, lineterminator="\n"))
