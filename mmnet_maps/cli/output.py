"""What every command prints: a readable summary, or with ``--json`` one JSON object."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from mmnet_maps.jobs.summary import plain

__all__ = ["Json", "show"]

Json = Annotated[bool, typer.Option("--json", help="Print a machine-readable summary on standard output.")]


def show(summary: dict[str, Any], as_json: bool, text: str) -> None:
    """Print `summary` as JSON, or `text` for a reader.

    A value that is not a number (NaN, infinity) becomes null: JSON has no NaN.
    """
    if as_json:
        typer.echo(json.dumps(plain(summary), indent=2, allow_nan=False))
    else:
        typer.echo(text)
