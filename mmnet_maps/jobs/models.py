"""Models: trained, imported, opened, and applied to station tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.jobs.settings import Settings, output_file, settings_of
from mmnet_maps.learn.bundle import Bundle, save_bundle
from mmnet_maps.learn.bundle import load_bundle as read_bundle
from mmnet_maps.learn.experiments import ExperimentConfig, run_experiment
from mmnet_maps.learn.model_input import from_table, land_cover_index
from mmnet_maps.learn.published import import_published
from mmnet_maps.learn.splits import Experiment
from mmnet_maps.prepare.stations.files import read_table
from mmnet_maps.store.location import local_path, location, target_location
from mmnet_maps.store.whole import appearing

__all__ = ["import_bundle", "load_bundle", "networks_of_bundle", "predict_table", "train"]


def train(
    table: str | Path,
    out: str | Path,
    *,
    model: str | None = None,
    experiment: Experiment | None = None,
    target: int | None = None,
    config: str | Path | ExperimentConfig | None = None,
    settings: Settings = (),
) -> dict[str, Any]:
    """Train a model and score it on rows that it has not seen.

    Parameters
    ----------
    table : str or Path
        Station table, ``.parquet`` or ``.csv``.
    out : str or Path
        Run folder; finished folds in it are kept.
    model : str, optional
        ``mmnet``, ``transformer``, ``mlp``, ``ridge``, ``forest`` or ``xgboost``.
    experiment : {"on-site", "off-site", "cross-region", "all"}, optional
    target : int, optional
        On-site: the only year to test on.
    config : str, Path or ExperimentConfig, optional
    settings : mapping or sequence of str
        Single settings over `config`, such as ``{"epochs": 3, "modern.epochs": 5}``.

    Returns
    -------
    dict
        ``run``, the folder, and what ``scores.json`` holds.

    Raises
    ------
    InputError
        The settings, the table and the experiment do not fit; the message names what is missing.

    Examples
    --------
    >>> found = train("table.parquet", "runs/ridge", model="ridge", experiment="off-site",
    ...               settings={"folds": 2})
    >>> sorted(found["folds"]), found["overall"]["n"]
    (['fold-1', 'fold-2'], 360)
    """
    chosen = settings_of(ExperimentConfig, config, settings)
    named = {"model": model, "experiment": experiment, "target": target}
    given = {name: value for name, value in named.items() if value is not None}
    chosen = settings_of(ExperimentConfig, chosen, given)
    folder = local_path(out, to_write=True)
    frame, catalogue = read_table(location(table))
    return {"run": str(out), **run_experiment(frame, catalogue, chosen, folder)}


def load_bundle(bundle: str | Path) -> Bundle:
    """Open a trained model.

    Parameters
    ----------
    bundle : str or Path
        Bundle folder.

    Raises
    ------
    InputError
        There is no bundle, or it is damaged, or of a later format.

    Examples
    --------
    >>> model = load_bundle("runs/all/all/bundle")
    >>> model.kind, "SMAP" in model.catalogue
    ('mmnet', True)
    """
    return read_bundle(location(bundle))


def import_bundle(
    model: str,
    weights: str | Path,
    static: str | Path,
    out: str | Path,
    *,
    dynamic: str | Path | None = None,
    encoding: Literal["published", "cyclic"] = "published",
) -> dict[str, Any]:
    """Turn a published checkpoint into a bundle; nothing pickled in it is run.

    Parameters
    ----------
    model : {"mmnet", "transformer", "mlp"}
    weights : str or Path
        Checkpoint, ``.pth``.
    static : str or Path
        ``static_mean_std.npy``.
    out : str or Path
        Bundle folder to write.
    dynamic : str or Path, optional
        ``dynamic_mean_std.npy``, where the model takes a series.
    encoding : {"published", "cyclic"}
        What the weights were trained with.

    Returns
    -------
    dict
        ``bundle``, ``kind`` and ``digest``.
    """
    target = target_location(out)
    series = None if dynamic is None else local_path(dynamic)
    made = import_published(model, local_path(weights), local_path(static), series, encoding)
    saved = save_bundle(made, target)
    return {"bundle": str(target), "kind": saved.kind, "digest": saved.digest}


def networks_of_bundle(bundle: str | Path, out: str | Path) -> dict[str, Any]:
    """Leave the trees of a blend out: what is left makes maps.

    Returns
    -------
    dict
        ``bundle``, ``kind``, ``networks`` (their number) and ``digest``.
    """
    target = target_location(out)
    left = save_bundle(load_bundle(bundle).networks_alone(), target)
    return {
        "bundle": str(target),
        "kind": left.kind,
        "networks": len(left.members),
        "digest": left.digest,
    }


def predict_table(bundle: str | Path, table: str | Path, out: str | Path) -> dict[str, Any]:
    """Predict soil moisture for every row of a station table.

    Parameters
    ----------
    bundle : str or Path
    table : str or Path
        Station table of the same catalogue.
    out : str or Path
        CSV to write: ID, Date, y_test (where the table has the target), y_pred, and the ends ``lower`` and
        ``upper`` of its interval. ``outside`` is the number of inputs outside the range of the training rows.
        Where the bundle describes its training rows, ``dissimilarity`` to them and ``outside_applicability``
        (1 where it exceeds the bundle's threshold) follow.

    Returns
    -------
    dict
        ``out``, ``rows`` and ``rows_without_prediction``.
    """
    path = output_file(out)
    model = load_bundle(bundle)
    frame, catalogue = read_table(location(table))
    model.catalogue.refuse_mismatch(catalogue, "the bundle", "the table")
    columns: dict[str, Any] = {"ID": frame["ID"], "Date": frame["Date"]}
    if (target := model.catalogue.target.name) in frame.columns:
        columns["y_test"] = frame[target]
    result = pd.DataFrame(columns | _told(model, frame))
    with appearing(path) as draft:
        result.to_csv(draft, index=False)
    missing = int(result["y_pred"].isna().sum())
    return {"out": str(path), "rows": len(result), "rows_without_prediction": missing}


def _told(model: Bundle, frame: pd.DataFrame) -> dict[str, NDArray[Any]]:
    """Estimates of the rows of a table, adjusted where the bundle is, with their intervals."""
    inputs = from_table(frame, model.catalogue)
    plain = model.predict(inputs)
    missing = np.full(len(plain), np.nan, dtype=np.float32)
    lower, upper = (missing, missing) if model.interval is None else model.interval(plain)
    estimate = plain
    if model.adjustment is not None:
        longitude, latitude = (frame[name].to_numpy(np.float64) for name in ("Longitude", "Latitude"))
        local = model.adjustment.at(longitude, latitude, land_cover_index(frame))
        estimate, lower, upper = local.apply(plain, lower, upper)
    outside = np.zeros(len(plain), np.int32) if model.envelope is None else model.envelope.outside(inputs)
    told: dict[str, NDArray[Any]] = {"y_pred": estimate, "lower": lower, "upper": upper, "outside": outside}
    if model.applicability is not None:
        apart = np.where(np.isfinite(plain), model.dissimilarity(inputs), np.nan)
        beyond = (apart > model.applicability.threshold).astype(np.int8)
        told |= {"dissimilarity": apart, "outside_applicability": beyond}
    return told
