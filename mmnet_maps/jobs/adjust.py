"""A bundle brought to the level of a user's own probes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.dates import from_yyyymmdd
from mmnet_maps.errors import InputError, refuse_beyond
from mmnet_maps.learn.adjust import LEAST_DAYS, Adjustment, Probe, summarise_probe
from mmnet_maps.learn.bundle import Bundle, load_bundle, save_bundle
from mmnet_maps.learn.model_input import from_table, land_cover_index
from mmnet_maps.learn.probe_checks import check_probe
from mmnet_maps.prepare.cube.store import open_cube
from mmnet_maps.prepare.stations.files import read_table
from mmnet_maps.produce.run.pixels import estimates_at
from mmnet_maps.sources.stations.in_situ import read_in_situ, read_network
from mmnet_maps.store.location import Location, location, target_location

__all__ = ["adjust"]


def adjust(
    bundle: str | Path,
    in_situ: str | Path,
    network: str | Path,
    out: str | Path,
    *,
    cube: str | Path | None = None,
    table: str | Path | None = None,
    reach: float = 1_000.0,
) -> dict[str, Any]:
    """Adjust a bundle to probes, and write it as a bundle of its own.

    Days of a probe that are out of range, spikes or stuck are left out. The estimates that the probes are
    compared with come from the cube that maps are made of, or from a station table.

    Parameters
    ----------
    bundle : str or Path
        A bundle with an interval, not adjusted yet.
    in_situ : str or Path
        CSV: ID, Network, Latitude, Longitude, Date, and the bundle's target, such as VWC_5.
    network : str or Path
        Where the probes are; its coordinates go before those of the CSV.
    out : str or Path
        Bundle folder to write.
    cube, table : str or Path
        One of them.
    reach : float
        Distance in metres from which on a probe has no effect.

    Returns
    -------
    dict
        ``bundle``, ``digest``, ``reach``; ``probes``: for each its days, shift, slope, and the RMSE without
        the adjustment, with it, and with that of the other probes alone; ``left_out``: reason by probe;
        ``days_left_out``: number by reason.

    Raises
    ------
    InputError
        Neither or both of `cube` and `table` are given, no probe is left, or the bundle has no interval.
    """
    refuse_beyond("--reach", reach, 1, 1_000_000)
    target_folder = target_location(out)
    if (cube is None) == (table is None):
        raise InputError("expected one of --cube and --table: where the estimates at the probes come from")
    model = load_bundle(location(bundle))
    if model.adjustment is not None:
        raise InputError(f"{bundle}: is adjusted already; give the bundle that it was made from")
    if model.interval is None:
        raise InputError(f"{bundle}: has no interval, from which the weight of a probe is computed")
    target = model.catalogue.target.name
    records = read_in_situ(location(in_situ), target).rename(columns={target: "y_test"})
    measured, counts = _checked(records)
    measured = _placed(measured, read_network(location(network), domain=False))
    if table is not None:
        days = _from_table(model, location(table), measured)
    else:
        days = estimates_at(model, open_cube(location(cube or "")), measured)
    probes, left_out = _summaries(days, measured)
    adjustment = Adjustment.of(probes, _half_width(model, days), reach, model.digest)
    saved = save_bundle(replace(model, adjustment=adjustment, digest=""), target_folder)
    return {
        "bundle": str(target_folder),
        "digest": saved.digest,
        "reach": reach,
        "probes": [_judged(adjustment, probe, days[days["ID"] == probe.id]) for probe in probes],
        "left_out": left_out,
        "days_left_out": counts,
    }


def _checked(in_situ: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """The records without the days that fail a check, and how many those are, by check."""
    frame = in_situ.dropna(subset=["y_test"]).sort_values(["ID", "Date"], ignore_index=True)
    counts: dict[str, int] = {}
    bad = np.zeros(len(frame), dtype=np.bool_)
    for _, rows in frame.groupby("ID", sort=False):
        at = rows.index.to_numpy()
        for reason, found in check_probe(
            from_yyyymmdd(rows["Date"].to_numpy()), rows["y_test"].to_numpy()
        ).items():
            counts[reason] = counts.get(reason, 0) + int(found.sum())
            bad[at] |= found
    return frame[~bad], counts


def _placed(measured: pd.DataFrame, network: pd.DataFrame) -> pd.DataFrame:
    """The records with the coordinates of the network where it has them."""
    if {"Latitude", "Longitude"} <= set(network.columns):
        known = network.set_index("ID")
        for name in ("Latitude", "Longitude"):
            measured = measured.assign(**{name: measured["ID"].map(known[name]).fillna(measured[name])})
    return measured


def _from_table(model: Bundle, path: Location, measured: pd.DataFrame) -> pd.DataFrame:
    """ID, Date, y_pred, land_cover of the probes' rows of a station table, with what was measured."""
    frame, catalogue = read_table(path)
    model.catalogue.refuse_mismatch(catalogue, "the bundle", "the table")
    rows = frame[frame["ID"].isin(set(measured["ID"]))]
    if rows.empty:
        raise InputError(f"{path}: holds none of the {measured['ID'].nunique()} probes")
    found = rows[["ID", "Date"]].assign(
        y_pred=model.predict(from_table(rows, model.catalogue)), land_cover=land_cover_index(rows)
    )
    return found.merge(measured[["ID", "Date", "y_test"]], on=["ID", "Date"])


def _summaries(days: pd.DataFrame, measured: pd.DataFrame) -> tuple[list[Probe], dict[str, str]]:
    probes, left_out = [], {}
    for name, own in measured.groupby("ID"):
        rows = days[days["ID"] == name]
        position = float(own["Longitude"].iloc[0]), float(own["Latitude"].iloc[0])
        cover = int(rows["land_cover"].mode().iloc[0]) if len(rows) else -1
        observed, told = rows["y_test"].to_numpy(np.float64), rows["y_pred"].to_numpy(np.float64)
        probe = summarise_probe(str(name), position, observed, told, cover)
        if probe is None:
            usable = int((np.isfinite(observed) & np.isfinite(told)).sum())
            left_out[str(name)] = f"{usable} days with an estimate, {LEAST_DAYS} are needed"
        else:
            probes.append(probe)
    return probes, left_out


def _half_width(model: Bundle, days: pd.DataFrame) -> float:
    """Mean half width of the interval of the estimates at the probes."""
    told = days["y_pred"].to_numpy(np.float32)
    told = told[np.isfinite(told)]
    assert model.interval is not None
    low, high = model.interval(told)
    return float((high - low).mean() / 2) if told.size else float("nan")


def _judged(adjustment: Adjustment, probe: Probe, rows: pd.DataFrame) -> dict[str, Any]:
    """A probe's errors without the adjustment, with it, and with what the other probes alone say."""
    told, observed = rows["y_pred"].to_numpy(np.float32), rows["y_test"].to_numpy(np.float64)

    def rmse(estimate: NDArray[np.floating]) -> float:
        return float(np.sqrt(np.nanmean((estimate - observed) ** 2)))

    def with_it(known: Adjustment) -> float:
        at = np.array([probe.longitude]), np.array([probe.latitude]), np.array([probe.land_cover])
        return rmse(known.at(*at).adjust(told[:, None])[:, 0]) if known.probes else rmse(told)

    return {
        "id": probe.id,
        "days": probe.days,
        "shift": probe.shift,
        "slope": probe.slope,
        "rmse_before": rmse(told),
        "rmse_after": with_it(adjustment),
        "rmse_from_others": with_it(adjustment.without(probe.id)),
    }
