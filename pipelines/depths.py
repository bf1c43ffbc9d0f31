"""Soil moisture at every depth that USCRN measures: a model of each depth against the filtered surface.

python pipelines/depths.py --files CRND0103_2015-2022.zip --out out/depths

A station table and an off-site run for each depth. What a model has to beat is the exponential filter of the
estimate at 5 cm, scaled to the depth. Prints a table in Markdown: medians over stations, with 95 % bootstrap
intervals over stations. Folds that are finished are kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

import mmnet_maps as mm
from mmnet_maps.config import Config
from mmnet_maps.dates import from_yyyymmdd
from mmnet_maps.learn.bootstrap import intervals, paired_difference
from mmnet_maps.learn.experiments import ExperimentConfig
from mmnet_maps.learn.exponential_filter import exponential_filter
from mmnet_maps.learn.model_input import from_table
from mmnet_maps.learn.scoring import scores, station_scores
from mmnet_maps.prepare.stations.files import read_table

KEYS = ["ID", "Date"]
SHOWN = {"corr": "R", "ubrmse": "ubRMSE", "rmse": "RMSE", "bias": "bias"}


class DepthsConfig(Config):
    """Depths, characteristic times (days) that the filter may have, and how models are trained.

    Stations with fewer than `least_days` days at a depth are not scored there.
    """

    targets: tuple[str, ...]
    lengths: tuple[float, ...]
    least_days: int = 100
    training: ExperimentConfig


def main() -> None:
    parser = argparse.ArgumentParser(description="A model of every depth against the filtered surface.")
    parser.add_argument("--config", type=Path, default=Path("configs/depths.yaml"))
    parser.add_argument("--files", type=Path, required=True, help="zip or folder of USCRN daily01 files")
    parser.add_argument("--out", type=Path, default=Path("out/depths"))
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    config = DepthsConfig.load(asked.config, asked.set)
    asked.out.mkdir(parents=True, exist_ok=True)
    for target in dict.fromkeys(("VWC_5", *config.targets)):
        table = asked.out / f"{target}.parquet"
        if not table.is_file():
            mm.table_from_uscrn(asked.files, table, soil_state=True, settings={"target": target})
        mm.train(table, asked.out / target, experiment="off-site", config=config.training)
    text = markdown(config, asked.out)
    (asked.out / "depths.md").write_text(text, encoding="utf-8")
    print(text)


def markdown(config: DepthsConfig, out: Path) -> str:
    """Scores of the model and of the filter at every depth, and their difference paired by station."""
    lines = ["| depth | estimate | days | stations | " + " | ".join(SHOWN.values()) + " |"]
    lines.append("|---" * (4 + len(SHOWN)) + "|")
    for target in config.targets:
        direct = pd.concat(tested(out / target).values(), ignore_index=True)
        rows = {"model": direct}
        times = ""
        if target != "VWC_5":
            surface, chosen = baseline(config, out, target)
            times = f", T {' to '.join(f'{length:g}' for length in sorted({min(chosen), max(chosen)}))} d"
            rows["model"] = direct.merge(surface[KEYS], on=KEYS)
            rows[f"filter of 5 cm{times}"] = surface
        rows = {name: long_enough(frame, config.least_days) for name, frame in rows.items()}
        for name, frame in rows.items():
            lines.append(f"| {target} | {name} | {len(frame)} | {frame['ID'].nunique()} | {cells(frame)} |")
        if len(rows) == 2:
            model, filtered = rows.values()
            found = paired_difference(model, filtered)
            shown = (f"{found[n]['paired']:+.4f}{ends(found[n]['paired_interval'], '+')}" for n in SHOWN)
            lines.append(f"| {target} | model less filter, at a station | | | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def tested(run: Path) -> dict[str, pd.DataFrame]:
    """What each fold predicted at the stations that it left out."""
    paths = sorted(run.glob("fold-*/y_test_pred.csv"))
    return {path.parent.name: pd.read_csv(path, dtype={"ID": str}).dropna() for path in paths}


def baseline(config: DepthsConfig, out: Path, target: str) -> tuple[pd.DataFrame, list[float]]:
    """Off-site estimates of the exponential filter at the days of a depth, and its time in each fold.

    The estimates at 5 cm are of models that never saw the station. The characteristic time and the scale come
    from the stations that the fold trains on.
    """
    water = filtered_surface(config, out, target)
    parts, chosen = [], []
    for fold in tested(out / target).values():
        rows = water[~water["ID"].isin(set(fold["ID"]))]
        observed, known = rows["y_test"].to_numpy(), rows[list(config.lengths)].to_numpy()
        median = [station_scores(observed, k, rows["ID"].to_numpy())["corr"].median() for k in known.T]
        best = config.lengths[int(np.argmax(median))]
        slope, level = np.polyfit(rows[best], observed, 1)
        own = water[water["ID"].isin(set(fold["ID"]))]
        parts.append(own[[*KEYS, "y_test"]].assign(y_pred=level + slope * own[best]))
        chosen.append(best)
    return pd.concat(parts, ignore_index=True).merge(predicted_days(out, target), on=KEYS), chosen


def predicted_days(out: Path, target: str) -> pd.DataFrame:
    """ID and Date of what the model of a depth predicts."""
    return pd.concat(tested(out / target).values(), ignore_index=True)[KEYS]


def filtered_surface(config: DepthsConfig, out: Path, target: str) -> pd.DataFrame:
    """ID, Date, y_test (at the depth), and the filtered estimate at 5 cm by characteristic time."""
    deep, shallow = (read_table(out / f"{name}.parquet")[0] for name in (target, "VWC_5"))
    inputs = pd.concat([shallow, deep]).drop_duplicates(KEYS).sort_values(KEYS, ignore_index=True)
    parts = []
    for name, fold in tested(out / "VWC_5").items():
        model = mm.load_bundle(out / "VWC_5" / name / "bundle")
        rows = inputs[inputs["ID"].isin(set(fold["ID"]))]
        estimate = model.predict(from_table(rows, model.catalogue))
        for station, at in rows.groupby("ID").indices.items():
            dates = rows["Date"].to_numpy()[at]
            found = exponential_filter(estimate[at], from_yyyymmdd(dates), config.lengths)
            parts.append(
                pd.DataFrame(found, columns=list(config.lengths)).assign(ID=str(station), Date=dates)
            )
    measured = deep[[*KEYS, target]].rename(columns={target: "y_test"})
    return pd.concat(parts, ignore_index=True).merge(measured, on=KEYS).dropna()


def long_enough(frame: pd.DataFrame, least: int) -> pd.DataFrame:
    """The rows of stations that have that many."""
    return frame[frame.groupby("ID")["Date"].transform("size") >= least]


def cells(frame: pd.DataFrame) -> str:
    """Medians over stations with their intervals, as cells of a table."""
    observed, predicted, station = (frame[name].to_numpy() for name in ("y_test", "y_pred", "ID"))
    median = scores(observed, predicted, station)["stations"]["median"]
    around = intervals(observed, predicted, station)["median"]
    return " | ".join(f"{median[name]:.4f}{ends(around[name])}" for name in SHOWN)


def ends(interval: list[float] | None, sign: str = "") -> str:
    """The ends of an interval; nothing with fewer than two stations."""
    return "" if interval is None else f" ({interval[0]:{sign}.4f} to {interval[1]:{sign}.4f})"


if __name__ == "__main__":
    main()
