"""Commands of a first map, run as a user runs them."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from mmnet_maps.cli.main import app

BOX = "-98.405,36.395,-98.395,36.405"
DAYS = ("2020-05-20", "2020-05-21")


def run(*words: object) -> str:
    """What a command prints; it has to end well."""
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def maps_of(folder: Path, bundle: Path) -> None:
    """The last two of the four commands."""
    where = ("--bundle", bundle, "--cube", folder / "cube.zarr", "--out", folder / "product.zarr")
    run("predict", *where, "--start", DAYS[0], "--end", DAYS[1])
    run("export", "--product", folder / "product.zarr", "--out", folder / "maps")
