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
        Literal["on-site", "off-site", "cross-region", "all"] | None,
        typer.Option("--experiment", help="How the rows are divided into training and test."),
    ] = None,
    target: Annotated[int | None, typer.Option("--target", help="On-site: the only year to test on.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file of settings.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace one setting; repeat for more."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a model and score it on rows that it has not seen."""
    from mmnet_maps.jobs.models import train as train_model

    summary = train_model(
        table, out, model=model, experiment=experiment, target=target, config=config, settings=settings or ()
    )
    show(summary, as_json, f"{score_lines(summary)}\n{_run_line(out)}")


def _run_line(out: Path) -> str:
    """Where the run is, and the bundle for maps if there is one."""
    maps = out / "all" / "bundle"
    if maps.is_dir():
        return f"run: {out}; bundle for maps: {maps}"
    return f"run: {out}; a bundle a fold; for a model of all stations train with --experiment all"


@bundle_app.command("import")
def import_bundle(
    model: Annotated[str, typer.Option("--model", help="mmnet, transformer or mlp.")],
    weights: Annotated[Path, typer.Option("--weights", help="Published checkpoint, .pth.")],
    static: Annotated[Path, typer.Option("--static", help="static_mean_std.npy")],
    out: Annotated[Path, typer.Option("--out", help="Bundle folder to write.")],
    dynamic: Annotated[Path | None, typer.Option("--dynamic", help="dynamic_mean_std.npy")] = None,
    encoding: Annotated[
        Literal["published", "cyclic"],
        typer.Option("--encoding", help="Encoding that the weights were trained with."),
    ] = "published",
    as_json: Json = False,
) -> None:
    """Make a bundle from a published checkpoint. No code in the checkpoint is run."""
    from mmnet_maps.jobs import models

    summary = models.import_bundle(model, weights, static, out, dynamic=dynamic, encoding=encoding)
    show(summary, as_json, "{bundle}: {kind}, digest {digest:.12}".format(**summary))


@bundle_app.command("show")
def show_bundle(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder.")], as_json: Json = False
) -> None:
    """Print the model card."""
    from mmnet_maps.jobs.models import load_bundle
    from mmnet_maps.learn.card import card_text

    found = load_bundle(bundle)
    show({**found.card, "digest": found.digest}, as_json, card_text(found))


@bundle_app.command("networks")
def networks_of_bundle(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder of a blend.")],
    out: Annotated[Path, typer.Option("--out", help="Bundle folder to write.")],
    as_json: Json = False,
) -> None:
    """Leave out the trees of a blend: its networks make maps."""
    from mmnet_maps.jobs import models

    summary = models.networks_of_bundle(bundle, out)
    show(summary, as_json, "{bundle}: {networks} x {kind}, digest {digest:.12}".format(**summary))
