"""Several models through the same experiments on one station table, side by side.

python pipelines/station_experiments.py --table table.parquet --out out/study
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mmnet_maps as mm
from mmnet_maps.config import Config
from mmnet_maps.learn.experiments import ExperimentConfig
from mmnet_maps.learn.splits import Experiment

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
    print(f"{'experiment':<14}{'model':<13}" + "".join(f"{f'median {s}':>15}" for s in SCORES))
    for experiment in study.experiments:
        for model in study.models:
            run = asked.out / f"{experiment}-{model}"
            found = mm.train(asked.table, run, model=model, experiment=experiment, config=study.training)
            median = found["stations"]["median"]
            scores = "".join(f"{median[s]:>15.4f}" for s in SCORES)
            print(f"{experiment:<14}{model:<13}{scores}", flush=True)


if __name__ == "__main__":
    main()
