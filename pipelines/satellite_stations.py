"""The whole MMNet, snapshot and series, on real stations with satellite observations.

python pipelines/satellite_stations.py --windows windows.csv.gz --files CRND0103_2015-2022.zip

Satellite values are means of windows of ten days, so that only the last day of a window is free of the
future: tables hold these days alone. Weather and surface temperature are those that the stations measure.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from mmnet_maps.catalogue import Catalogue, published_catalogue
from mmnet_maps.config import Config
from mmnet_maps.dates import from_yyyymmdd
from mmnet_maps.errors import InputError
from mmnet_maps.learn.bootstrap import paired_difference
from mmnet_maps.learn.evaluate import evaluate_table
from mmnet_maps.learn.experiments import ExperimentConfig, run_experiment
from mmnet_maps.learn.splits import Experiment
from mmnet_maps.prepare.stations.files import read_table, write_table
from mmnet_maps.prepare.stations.settings import OwnWeatherConfig
from mmnet_maps.prepare.stations.table import build_station_table
from mmnet_maps.sources.stations.uscrn import read_uscrn, uscrn_catalogue
from mmnet_maps.variables import Variable

KEYS = ["ID", "Date"]
#: Sentinel-2 band behind each variable, and the factor from stored integers to reflectance.
OPTICAL = {"Blue": "B2", "Green": "B3", "Red": "B4", "NIR": "B8A", "SWIR1": "B11", "SWIR2": "B12"}
REFLECTANCE = 1e-4
#: First day of window 0 (2019-01-01, since 1970-01-01), and days of a window.
FIRST_WINDOW, WINDOW_DAYS = 17_897, 10
#: Above this blue reflectance a window is cloud or snow.
CLOUD = 0.4
RADAR = ("VV", "VH")
SOIL = ("clay", "sand")
OWN = {
    "mtpi": ("m", (-500.0, 500.0), "topographic position index"),
    "fc": ("%", (0.0, 100.0), "field capacity"),
}
#: Codes of NLCD; the mean over a footprint takes the nearest.
NLCD = np.array([21, 22, 23, 24, 31, 41, 42, 43, 52, 71, 81, 82, 90, 95])
#: What a table holds: everything, or without the snapshot of satellites, terrain and soil.
Inputs = Literal["all", "series"]


class Entry(Config):
    """A model, its inputs and its settings."""

    inputs: Inputs
    training: ExperimentConfig


class SatelliteConfig(Config):
    """What is compared."""

    experiments: tuple[Experiment, ...] = ("off-site", "on-site")
    target: int = 2021
    train_years: int = 2
    models: dict[str, Entry]
    against: tuple[tuple[str, str], ...]


def main() -> None:
    parser = argparse.ArgumentParser(description="MMNet with snapshot and series on real stations.")
    parser.add_argument("--config", type=Path, default=Path("configs/satellite_stations.yaml"))
    parser.add_argument("--windows", type=Path, required=True, help="CSV: a row a station and day")
    parser.add_argument("--files", type=Path, required=True, help="zip or folder of USCRN daily01 files")
    parser.add_argument("--out", type=Path, default=Path("out/satellite"))
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    config = SatelliteConfig.load(asked.config, asked.set)
    asked.out.mkdir(parents=True, exist_ok=True)
    make_tables(asked.windows, asked.files, asked.out)
    for experiment in config.experiments:
        for name, entry in config.models.items():
            train(config, experiment, name, entry, asked.out)
    text = markdown(config, asked.out)
    (asked.out / "satellite_stations.md").write_text(text, encoding="utf-8")
    print(text)


def make_tables(windows: Path, files: Path, out: Path) -> None:
    """Write one station table a kind of inputs; what is there is kept."""
    if all((out / f"{kind}.parquet").is_file() for kind in ("all", "series")):
        return
    snapshot, stations = read_windows(windows)
    found = read_uscrn(files)
    days = snapshot[KEYS].drop_duplicates()
    in_situ = found.in_situ.merge(days, on=KEYS)
    if in_situ.empty:
        raise InputError(f"{windows}: none of its {len(days)} station-days is in {files}")
    catalogue = whole_catalogue()
    tables = {
        "uscrn": found.weather,
        "satellites": snapshot,
        "stations": stations,
        "cover": cover_of(windows),
    }
    rows = build_station_table(tables, in_situ, found.network, OwnWeatherConfig(), catalogue)
    print(rows.report.text())
    write_table(rows.frame, out / "all.parquet", rows.catalogue)
    kept = [n for n in catalogue.required if n not in uscrn_catalogue(soil_state=True) and n != "SMAP"]
    # The same rows for both, so that their difference is that of the inputs.
    write_table(rows.frame, out / "series.parquet", rows.catalogue.without(kept))


def whole_catalogue() -> Catalogue:
    """Weather and soil state of the stations as series; satellites, terrain, soil and place as snapshot."""
    published, own = published_catalogue(), uscrn_catalogue(soil_state=True)
    names = ("SMAP", *OPTICAL, *RADAR, *SOIL, "LC")
    last = {"fill": "past", "max_gap": 10, "max_age": None, "min_share": 0.0}
    taken = [
        v.model_copy(update=last) if v.cadence in ("daily", "irregular") else v
        for v in published.variables
        if v.name in names
    ]
    more = [
        Variable(
            name=name,
            long_name=text,
            unit=unit,
            kind="constant",
            cadence="static",
            source="stations",
            valid_range=limits,
        )
        for name, (unit, limits, text) in OWN.items()
    ]
    gone = {"elevation", "slope", "aspect_normalized", "bd"}
    snapshot = tuple(f for f in published.snapshot if f not in gone)
    return own.model_copy(
        update={"variables": (*own.variables, *taken, *more), "snapshot": (*snapshot, *OWN)}
    )


def read_windows(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Satellite values on the last day of every window, and what never changes at a station."""
    frame = _windows(path)
    since = from_yyyymmdd(frame["Date"].to_numpy()) - FIRST_WINDOW
    # A window whose last day has no row is left out: its mean holds days after every day that has one.
    day = frame[since == WINDOW_DAYS * frame["window"] + WINDOW_DAYS - 1]
    optical = day[list(OPTICAL.values())].to_numpy() * REFLECTANCE
    optical[day["B2"].to_numpy() * REFLECTANCE > CLOUD] = np.nan
    values = pd.DataFrame(optical, columns=list(OPTICAL), index=day.index)
    values[list(RADAR)] = day[list(RADAR)]
    # Millimetres in the upper 5 cm to a volumetric share.
    values["SMAP"] = day["smap10km_mm"] / 50.0
    constant = frame.groupby("ID", as_index=False)[[*SOIL, *OWN]].median()
    return pd.concat([day[KEYS], values], axis=1), constant


def cover_of(path: Path) -> pd.DataFrame:
    """Land cover by station, as the code of its NLCD class."""
    frame = _windows(path)
    code = frame.groupby("ID")["landcover"].median()
    nearest = NLCD[np.abs(code.to_numpy()[:, None] - NLCD).argmin(axis=1)]
    return pd.DataFrame({"ID": code.index, "Year": 2019, "LC": nearest})


def _windows(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: no such table of windows")
    frame = pd.read_csv(path)
    frame["ID"] = "USCRN_" + frame["station"].str.partition("_")[2]
    return frame


def train(config: SatelliteConfig, experiment: Experiment, name: str, entry: Entry, out: Path) -> None:
    """Run a model through an experiment; finished folds are kept."""
    frame, catalogue = read_table(out / f"{entry.inputs}.parquet")
    update: dict[str, object] = {"experiment": experiment}
    if experiment == "on-site":
        update |= {"target": config.target, "train_years": config.train_years}
    run_experiment(
        frame, catalogue, entry.training.model_copy(update=update), run_folder(out, experiment, name)
    )


def run_folder(out: Path, experiment: str, name: str) -> Path:
    """Where a run stands."""
    return out / "runs" / f"{experiment}-{name}"


def markdown(config: SatelliteConfig, out: Path) -> str:
    """Scores of every model and of SMAP on common rows, and paired differences."""
    return "\n".join(line for e in config.experiments for line in section(config, e, out)) + "\n"


def section(config: SatelliteConfig, experiment: Experiment, out: Path) -> list[str]:
    """The tables of one experiment."""
    found = {name: predictions(out, experiment, name) for name in config.models}
    frame, _ = read_table(out / "all.parquet")
    smap = frame[[*KEYS, "VWC_5", "SMAP"]].set_axis([*KEYS, "y_test", "y_pred"], axis=1)
    found["SMAP, scaled"] = scaled(smap, found[next(iter(found))])
    common = on_common_rows(found)
    some = next(iter(common.values()))
    lines = [
        f"**{experiment}**, {len(some)} station-days of {some['ID'].nunique()} stations",
        "",
        "| model | median station R | median station ubRMSE | R, all rows | RMSE, all rows |",
        "|---|---|---|---|---|",
    ]
    for name, table in common.items():
        scores = evaluate_table(table, name)
        middle, overall = scores["stations"]["median"], scores["overall"]
        lines.append(
            f"| {name} | {middle['corr']:.3f} | {middle['ubrmse']:.4f} "
            f"| {overall['corr']:.3f} | {overall['rmse']:.4f} |"
        )
    lines += ["", "| difference | R at a station | ubRMSE at a station |", "|---|---|---|"]
    for one, other in config.against:
        lines.append(f"| {one} less {other} | {_paired(common, one, other)} |")
    return [*lines, ""]


def scaled(smap: pd.DataFrame, held_out: pd.DataFrame) -> pd.DataFrame:
    """SMAP brought to the mean and the spread of the stations' values over all rows that are tested."""
    rows = smap.merge(held_out[KEYS], on=KEYS).dropna()
    spread = rows["y_test"].std() / rows["y_pred"].std()
    rows["y_pred"] = rows["y_test"].mean() + spread * (rows["y_pred"] - rows["y_pred"].mean())
    return rows


def predictions(out: Path, experiment: str, name: str) -> pd.DataFrame:
    """What a run predicted on held-out rows."""
    folder = run_folder(out, experiment, name)
    parts = [
        pd.read_csv(path.parent / "y_test_pred.csv", dtype={"ID": str})
        for path in sorted(folder.glob("*/fold.json"))
    ]
    return pd.concat(parts, ignore_index=True).dropna()


def on_common_rows(found: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The station-days that every table predicts, in one order."""
    keys = None
    for table in found.values():
        own = table[KEYS].drop_duplicates()
        keys = own if keys is None else keys.merge(own, on=KEYS)
    assert keys is not None
    ordered = keys.sort_values(KEYS)
    return {name: ordered.merge(table, on=KEYS) for name, table in found.items()}


def _paired(common: dict[str, pd.DataFrame], one: str, other: str) -> str:
    """Median over stations of the difference at a station, with its 95 % bootstrap interval."""
    found = paired_difference(common[one], common[other], names=(one, other))
    cells = []
    for name in ("corr", "ubrmse"):
        low, high = found[name]["paired_interval"]
        cells.append(f"{found[name]['paired']:+.4f} ({low:+.4f} to {high:+.4f})")
    return " | ".join(cells)


if __name__ == "__main__":
    main()
