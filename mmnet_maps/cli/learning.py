"""Commands that train, import and show models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mmnet_maps.cli.output import Json, show
from mmnet_maps.cli.score_lines import score_lines

__all__ = ["register"]

bundle_app = typer.Typer(name="bundle", help="Trained models as folders.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(train)
    app.add_typer(bundle_app)


def train(
    table: Annotated[Path, typer.Option("--table", help="Station table, .parquet or .csv.")],
    out: Annotated[Path, typer.Option("--out", help="Run folder; finished folds in it are kept.")],
    model: Annotated[
        str | None, typer.Option("--model", help="mmnet, transformer, mlp, ridge, forest or xgboost.")
    ] = None,
    experiment: Annotated[
        str | None, typer.Option("--experiment", help="on-site, off-site, cross-region or all.")
    ] = None,
    target: Annotated[int | None, typer.Option("--target", help="On-site: the only year to test on.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file of settings.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one setting; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a model and score it on rows that it has not seen."""
    from mmnet_maps.learn.experiments import ExperimentConfig, run_experiment
    from mmnet_maps.prepare.stations.files import read_table

    named = {"model": model, "experiment": experiment, "target": target}
    overrides = [f"{key}={value}" for key, value in named.items() if value is not None]
    chosen = ExperimentConfig.load(config, [*(settings or []), *overrides])
    frame, catalogue = read_table(table)
    summary = run_experiment(frame, catalogue, chosen, out)
    show({"run": str(out), **summary}, as_json, f"{out}: {score_lines(summary)}")


@bundle_app.command("import")
def import_bundle(
    model: Annotated[str, typer.Option("--model", help="mmnet, transformer or mlp.")],
    weights: Annotated[Path, typer.Option("--weights", help="Published checkpoint, .pth.")],
    static: Annotated[Path, typer.Option("--static", help="static_mean_std.npy")],
    out: Annotated[Path, typer.Option("--out", help="Bundle folder to write.")],
    dynamic: Annotated[Path | None, typer.Option("--dynamic", help="dynamic_mean_std.npy")] = None,
    encoding: Annotated[
        Literal["published", "cyclic"], typer.Option("--encoding", help="What the weights were trained with.")
    ] = "published",
    as_json: Json = False,
) -> None:
    """Turn a published checkpoint into a bundle; nothing pickled in it is run."""
    from mmnet_maps.learn.bundle import save_bundle
    from mmnet_maps.learn.published import import_published

    bundle = save_bundle(import_published(model, weights, static, dynamic, encoding), out)
    summary = {"bundle": str(out), "kind": bundle.kind, "digest": bundle.digest}
    show(summary, as_json, f"{out}: {bundle.kind}, digest {bundle.digest[:12]}")


@bundle_app.command("show")
def show_bundle(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder.")], as_json: Json = False
) -> None:
    """Print the model card."""
    from mmnet_maps.learn.bundle import load_bundle
    from mmnet_maps.learn.card import card_text

    found = load_bundle(bundle)
    show({**found.card, "digest": found.digest}, as_json, card_text(found))


@bundle_app.command("networks")
def networks_of_bundle(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder of a blend.")],
    out: Annotated[Path, typer.Option("--out", help="Bundle folder to write.")],
    as_json: Json = False,
) -> None:
    """Leave the trees of a blend out: what is left makes maps."""
    from mmnet_maps.learn.bundle import load_bundle, save_bundle

    left = save_bundle(load_bundle(bundle).networks_alone(), out)
    summary = {"bundle": str(out), "kind": left.kind, "networks": len(left.members), "digest": left.digest}
    show(summary, as_json, f"{out}: {len(left.members)} x {left.kind}, digest {left.digest[:12]}")
