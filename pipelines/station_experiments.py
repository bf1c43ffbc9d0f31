"""Several models through the same experiments on one station table, side by side.

python pipelines/station_experiments.py --table table.parquet --out out/study
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmnet_maps.config import Config
from mmnet_maps.learn.experiments import ExperimentConfig, run_experiment
from mmnet_maps.learn.splits import Experiment
from mmnet_maps.prepare.stations.files import read_table

SCORES = ("corr", "ubrmse", "rmse", "bias")


class StudyConfig(Config):
    """Which models go through which experiments, and how they are trained."""

    models: tuple[str, ...] = ("mmnet", "mlp", "ridge", "xgboost")
    experiments: tuple[Experiment, ...] = ("on-site", "off-site")
    training: ExperimentConfig = ExperimentConfig()


def main() -> None:
    parser = argparse.ArgumentParser(description="Several models through the same experiments.")
    parser.add_argument("--config", type=Path, default=Path("configs/station_experiments.yaml"))
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("out/study"))
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    study = StudyConfig.load(asked.config, asked.set)
    frame, catalogue = read_table(asked.table)
    print(f"{'experiment':<14}{'model':<13}" + "".join(f"{f'median {s}':>15}" for s in SCORES))
    for experiment in study.experiments:
        for model in study.models:
            config = study.training.model_copy(update={"model": model, "experiment": experiment})
            found = run_experiment(frame, catalogue, config, asked.out / f"{experiment}-{model}")
            median = found["stations"]["median"]
            scores = "".join(f"{median[s]:>15.4f}" for s in SCORES)
            print(f"{experiment:<14}{model:<13}{scores}", flush=True)


if __name__ == "__main__":
    main()
