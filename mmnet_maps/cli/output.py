"""What every command prints: a readable summary, or with ``--json`` one JSON object."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

__all__ = ["Json", "plain", "show"]

Json = Annotated[bool, typer.Option("--json", help="Print a machine-readable summary on standard output.")]


def show(summary: dict[str, Any], as_json: bool, text: str | None = None) -> None:
    """Print `summary` as JSON, or `text` (by default a line a key) for a reader.

    A value that is not a number (NaN, infinity) becomes null: JSON has no NaN.
    """
    if as_json:
        typer.echo(json.dumps(plain(summary), indent=2, allow_nan=False))
    else:
        typer.echo(text if text is not None else "\n".join(f"{k}: {v}" for k, v in summary.items()))


def plain(value: Any) -> Any:
    """The value as JSON can hold it: keys and unknown types as text, NaN and infinity as None."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and value - value != 0.0:
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
