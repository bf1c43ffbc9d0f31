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

import pandas as pd

from mmnet_maps.cli.stations import from_uscrn
from mmnet_maps.config import Config
from mmnet_maps.errors import InputError
from mmnet_maps.learn.bootstrap import paired_difference
from mmnet_maps.learn.experiments import ExperimentConfig, run_experiment
from mmnet_maps.learn.scoring import scores
from mmnet_maps.learn.splits import Experiment
from mmnet_maps.prepare.table_io import read_table

KEYS = ["ID", "Date"]
#: Shown: where the score stands, its name, and what the table calls it.
SHOWN = (
    ("median", "corr", "median station R"),
    ("median", "ubrmse", "median station ubRMSE"),
    ("overall", "corr", "R, all rows"),
    ("overall", "rmse", "RMSE, all rows"),
)


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
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    config = BeyondConfig.load(asked.config, asked.set)
    asked.out.mkdir(parents=True, exist_ok=True)
    if not asked.table_only:
        train_all(config, asked.files, asked.out, asked.only or list(config.models))
    text = markdown(config, asked.out, asked.partial)
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
            from_uscrn(files=files, out=out / table, soil_state=state, normals_until=normals)
    for seed in config.seeds:
        for experiment in config.experiments:
            for name in only:
                entry = config.models[name]
                frame, catalogue = read_table(out / f"{entry.table}.parquet")
                settings = entry.training[experiment]
                chosen = settings.model_copy(update={"seed": seed, "experiment": experiment})
                folder = run_folder(out, experiment, name, seed)
                found = run_experiment(frame, catalogue, chosen, folder)
                refuse_early_targets(config, experiment, found)


def run_folder(out: Path, experiment: str, name: str, seed: int) -> Path:
    """Where a run stands."""
    return out / "runs" / f"{experiment}-{name}-{seed}"


def refuse_early_targets(config: BeyondConfig, experiment: str, found: dict[str, Any]) -> None:
    """Climate normals must come from years before every year that is tested on."""
    if experiment == "on-site" and min(map(int, found["folds"])) <= config.normals_until:
        raise InputError(
            f"normals_until={config.normals_until}: on-site is tested on {min(found['folds'])} too, "
            "whose weather is then in its normals; take an earlier year"
        )


def predictions(out: Path, experiment: str, name: str, seed: int, partial: bool) -> pd.DataFrame | None:
    """What a run predicted on held-out rows; None if it is not finished or, if partial, no fold of it is."""
    folder = run_folder(out, experiment, name, seed)
    folds = sorted(path.parent for path in folder.glob("*/fold.json"))
    if not folds or not (partial or (folder / "scores.json").is_file()):
        return None
    parts = [pd.read_csv(fold / "y_test_pred.csv", dtype={"ID": str}) for fold in folds]
    return pd.concat(parts, ignore_index=True).dropna()


def markdown(config: BeyondConfig, out: Path, partial: bool = False) -> str:
    """The table of every experiment and seed."""
    lines = []
    for experiment in config.experiments:
        for seed in config.seeds:
            tables = {n: predictions(out, experiment, n, seed, partial) for n in config.models}
            lines += section(config, f"{experiment}, seed {seed}", tables)
    return "\n".join(lines) + "\n"


def section(config: BeyondConfig, title: str, tables: dict[str, pd.DataFrame | None]) -> list[str]:
    """Scores of the models that are finished, on the rows that all of them predict."""
    missing = [name for name, table in tables.items() if table is None]
    finished = {name: table for name, table in tables.items() if table is not None}
    if not finished:
        return [f"## {title}", "", "Not run.", ""]
    common = on_common_rows(finished)
    if set(config.blend) <= set(common):
        first, second = (common[name] for name in config.blend)
        common["blend"] = first.assign(y_pred=(first["y_pred"] + second["y_pred"]) / 2)
    some = next(iter(common.values()))
    lines = [f"## {title}", "", f"{len(some)} station-days of {some['ID'].nunique()} stations.", ""]
    if missing:
        lines += [f"Not run: {', '.join(missing)}.", ""]
    lines += ["| model | " + " | ".join(t for *_, t in SHOWN) + " |", "|---" * (len(SHOWN) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(shown(table)) + " |" for name, table in common.items()]
    return [*lines, "", *differences(config, common), ""]


def on_common_rows(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The rows that every table holds, in one order."""
    indexed = {name: table.set_index(KEYS).sort_index() for name, table in tables.items()}
    index = next(iter(indexed.values())).index
    for table in indexed.values():
        index = index.intersection(table.index)
    index = index.sort_values()
    return {name: table.loc[index].reset_index() for name, table in indexed.items()}


def shown(table: pd.DataFrame) -> list[str]:
    """The scores of a table as text."""
    found = scores(table["y_test"].to_numpy(), table["y_pred"].to_numpy(), table["ID"].to_numpy())
    parts = {"overall": found["overall"], "median": found["stations"]["median"]}
    return [f"{parts[where][name]:.4f}" for where, name, _ in SHOWN]


def differences(config: BeyondConfig, common: dict[str, pd.DataFrame]) -> list[str]:
    """Differences of medians over stations, paired by station, with their 95 % bootstrap intervals."""
    pairs = [(a, b) for b in config.against for a in ("modern", "blend") if {a, b} <= set(common)]
    if not pairs:
        return []
    lines = ["| difference, paired by station | R | ubRMSE | ubRMSE, relative |", "|---|---|---|---|"]
    for a, b in pairs:
        found = paired_difference(common[a], common[b], names=(a, b))
        cells = [interval_text(found[name]) for name in ("corr", "ubrmse")]
        share = found["ubrmse"]["difference"] / found["ubrmse"]["second"]
        lines.append(f"| {a} less {b} | {cells[0]} | {cells[1]} | {share:+.0%} |")
    return lines


def interval_text(found: dict[str, Any]) -> str:
    """A difference and the ends of its interval."""
    low, high = found["interval"]
    return f"{found['difference']:+.4f} ({low:+.4f} to {high:+.4f})"


if __name__ == "__main__":
    main()
