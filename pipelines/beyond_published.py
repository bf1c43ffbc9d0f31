"""The modern recipe, the published one and gradient-boosted trees on real stations, side by side.

python pipelines/beyond_published.py --files CRND0103_2015-2022.zip --out out/beyond

Station tables, then every model through the same folds, then a table in Markdown of scores on the days that
all models predict, with differences paired by station. What is finished is kept: a run that was stopped goes
on with the folds that are missing, and `--table-only` writes the table of what is finished.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

import mmnet_maps as mm
from mmnet_maps.config import Config
from mmnet_maps.errors import InputError
from mmnet_maps.learn.bootstrap import paired_difference
from mmnet_maps.learn.experiments import ExperimentConfig
from mmnet_maps.learn.scoring import scores
from mmnet_maps.learn.splits import Experiment

KEYS = ["ID", "Date"]
#: Shown: where the score stands, its name, and what the table calls it.
SHOWN = (
    ("median", "corr", "median station R"),
    ("median", "ubrmse", "median station ubRMSE"),
    ("overall", "corr", "R, all rows"),
    ("overall", "rmse", "RMSE, all rows"),
)
#: Differences at a station, whose median over stations is shown beside the share of stations that gain.
PAIRED = (("corr", "R at a station"), ("ubrmse", "ubRMSE at a station"))


class Entry(Config):
    """A model, the table that it is trained on, and its settings by experiment."""

    table: Literal["plain", "state"]
    training: dict[Experiment, ExperimentConfig]


class BeyondConfig(Config):
    """What is compared; `blend` names the two models whose mean is a model too."""

    normals_until: int = 2018
    seeds: tuple[int, ...] = (1, 2, 3)
    experiments: tuple[Experiment, ...] = ("off-site", "on-site")
    models: dict[str, Entry]
    blend: tuple[str, str] = ("modern", "xgboost")
    against: tuple[str, ...] = ("published", "xgboost")


def main() -> None:
    parser = argparse.ArgumentParser(description="The modern recipe against the published one and trees.")
    parser.add_argument("--config", type=Path, default=Path("configs/beyond_published.yaml"))
    parser.add_argument("--files", type=Path, required=True, help="zip or folder of USCRN daily01 files")
    parser.add_argument("--out", type=Path, default=Path("out/beyond"))
    parser.add_argument("--only", nargs="*", metavar="MODEL", help="train these, e.g. one process each")
    parser.add_argument("--table-only", action="store_true", help="train nothing")
    parser.add_argument("--partial", action="store_true", help="use finished folds of unfinished runs")
    parser.add_argument("--folds", nargs="*", metavar="FOLD", help="score these alone, e.g. fold-1 or 2019")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    config = BeyondConfig.load(asked.config, asked.set)
    asked.out.mkdir(parents=True, exist_ok=True)
    if not asked.table_only:
        train_all(config, asked.files, asked.out, asked.only or list(config.models))
    text = markdown(config, asked.out, asked.partial, asked.folds)
    (asked.out / "beyond_published.md").write_text(text, encoding="utf-8")
    print(text)


def train_all(config: BeyondConfig, files: Path, out: Path, only: list[str]) -> None:
    """Make the station tables and run the models, seed by seed."""
    unknown = [name for name in only if name not in config.models]
    if unknown:
        raise InputError(f"--only {unknown[0]}: no such model; known are {', '.join(config.models)}")
    for table in sorted({f"{entry.table}.parquet" for entry in config.models.values()}):
        state = table.startswith("state")
        if not (out / table).is_file():
            normals = config.normals_until if state else None
            mm.table_from_uscrn(files, out / table, soil_state=state, normals_until=normals)
    for seed in config.seeds:
        for experiment in config.experiments:
            for name in only:
                entry = config.models[name]
                mm.train(
                    out / f"{entry.table}.parquet",
                    run_folder(out, experiment, name, seed),
                    experiment=experiment,
                    config=entry.training[experiment],
                    settings={"seed": seed},
                )


def run_folder(out: Path, experiment: str, name: str, seed: int) -> Path:
    """Where a run stands."""
    return out / "runs" / f"{experiment}-{name}-{seed}"


def predictions(
    out: Path, experiment: str, name: str, seed: int, partial: bool = False, only: list[str] | None = None
) -> pd.DataFrame | None:
    """What a run predicted on held-out rows; None if it is not finished or, if partial, no fold of it is."""
    folder = run_folder(out, experiment, name, seed)
    folds = sorted(path.parent for path in folder.glob("*/fold.json"))
    folds = [fold for fold in folds if only is None or fold.name in only]
    if not folds or not (partial or (folder / "scores.json").is_file()):
        return None
    parts = [pd.read_csv(fold / "y_test_pred.csv", dtype={"ID": str}) for fold in folds]
    return pd.concat(parts, ignore_index=True).dropna()


def markdown(config: BeyondConfig, out: Path, partial: bool = False, folds: list[str] | None = None) -> str:
    """The table of every experiment: over all seeds, then seed by seed."""
    lines = []
    for experiment in config.experiments:
        seeds = {}
        for seed in config.seeds:
            tables = {n: predictions(out, experiment, n, seed, partial, folds) for n in config.models}
            seeds[seed] = with_blend(config, {n: t for n, t in tables.items() if t is not None})
        if len(seeds) > 1:
            lines += over_seeds(config, experiment, list(seeds.values()))
        for seed, common in seeds.items():
            lines += section(config, f"{experiment}, seed {seed}", common)
    return "\n".join(lines) + "\n"


def with_blend(config: BeyondConfig, finished: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Finished models on the rows that all of them predict, and the blend where its two models are there."""
    common = on_common_rows(finished) if finished else {}
    if set(config.blend) <= set(common):
        first, second = (common[name] for name in config.blend)
        common["blend"] = first.assign(y_pred=(first["y_pred"] + second["y_pred"]) / 2)
    return common


def over_seeds(config: BeyondConfig, experiment: str, seeds: list[dict[str, pd.DataFrame]]) -> list[str]:
    """Mean, lowest and highest of every score over the seeds that have the model."""
    lines = [f"## {experiment}, {len(seeds)} seeds: mean (lowest to highest)", "", *header(SHOWN)]
    for name in (*config.models, "blend"):
        found = np.array([shown(common[name]) for common in seeds if name in common])
        cells = [spread(column, ".4f") for column in found.T]
        lines += [f"| {name} ({len(found)}) | " + " | ".join(cells) + " |"] if cells else []
    lines += ["", *header((*SHOWN, *PAIRED), "difference")]
    for a, b in pairs(config):
        both = [common for common in seeds if {a, b} <= set(common)]
        found = np.array([[cell["difference"] for cell in differences(common, a, b)] for common in both])
        cells = [spread(column, "+.4f") for column in found.T]
        lines += [f"| {a} less {b} ({len(found)}) | " + " | ".join(cells) + " |"] if cells else []
    return [*lines, ""]


def spread(values: Any, form: str) -> str:
    """Mean, lowest and highest as text."""
    return f"{values.mean():{form}} ({values.min():{form}} to {values.max():{form}})"


def header(columns: Any, first: str = "model") -> list[str]:
    """Head of a table in Markdown."""
    titles = [first, *(title for *_, title in columns)]
    return ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]


def section(config: BeyondConfig, title: str, common: dict[str, pd.DataFrame]) -> list[str]:
    """Scores of the models that are finished, and their differences with 95 % bootstrap intervals."""
    if not common:
        return [f"## {title}", "", "Not run.", ""]
    missing = [name for name in config.models if name not in common]
    some = next(iter(common.values()))
    lines = [f"## {title}", "", f"{len(some)} station-days of {some['ID'].nunique()} stations.", ""]
    if missing:
        lines += [f"Not run: {', '.join(missing)}.", ""]
    lines += header(SHOWN)
    for name, table in common.items():
        lines.append(f"| {name} | " + " | ".join(f"{value:.4f}" for value in shown(table)) + " |")
    compared = [(a, b) for a, b in pairs(config) if {a, b} <= set(common)]
    if compared:
        lines += ["", *header((*SHOWN, *PAIRED), "difference")]
    for a, b in compared:
        cells = [interval_text(cell) for cell in differences(common, a, b)]
        lines.append(f"| {a} less {b} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def pairs(config: BeyondConfig) -> list[tuple[str, str]]:
    """What is held against what."""
    return [(a, b) for b in config.against for a in (config.blend[0], "blend")]


def on_common_rows(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The rows that every table holds, in one order."""
    indexed = {name: table.set_index(KEYS).sort_index() for name, table in tables.items()}
    index = next(iter(indexed.values())).index
    for table in indexed.values():
        index = index.intersection(table.index)
    index = index.sort_values()
    return {name: table.loc[index].reset_index() for name, table in indexed.items()}


def shown(table: pd.DataFrame) -> list[float]:
    """The scores of `SHOWN`."""
    found = scores(table["y_test"].to_numpy(), table["y_pred"].to_numpy(), table["ID"].to_numpy())
    parts = {"overall": found["overall"], "median": found["stations"]["median"]}
    return [float(parts[where][name]) for where, name, _ in SHOWN]


def differences(common: dict[str, pd.DataFrame], a: str, b: str) -> list[dict[str, Any]]:
    """The differences of `SHOWN` and `PAIRED`, each with its interval."""
    found = paired_difference(common[a], common[b], names=(a, b))
    parts = {"overall": found["overall"], "median": found}
    plain = [parts[where][name] for where, name, _ in SHOWN]
    paired = [
        {"difference": cell["paired"], "interval": cell["paired_interval"], "better": cell["share_better"]}
        for cell in (found[name] for name, _ in PAIRED)
    ]
    return [*plain, *paired]


def interval_text(found: dict[str, Any]) -> str:
    """A difference and the ends of its interval, with what it is relative to or how many stations gain."""
    low, high = found["interval"]
    if "better" in found:
        more = f"better at {found['better']:.0%}"
    else:
        more = f"{found['difference'] / found['second']:+.1%}"
    return f"{found['difference']:+.4f}, {more} ({low:+.4f} to {high:+.4f})"


if __name__ == "__main__":
    main()
