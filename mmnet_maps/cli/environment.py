"""The ``doctor`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mmnet_maps.cli.output import Json, show

__all__ = ["register"]


def doctor(
    folder: Annotated[Path, typer.Option("--folder", help="Folder where results would be written.")] = Path(),
    as_json: Json = False,
) -> None:
    """Check the environment: versions, drivers, devices, rates, disk, credentials."""
    from mmnet_maps.errors import InputError, WorkError
    from mmnet_maps.jobs.doctor import doctor as look
    from mmnet_maps.store.location import local_path

    if not local_path(folder).is_dir():
        raise InputError(f"--folder {folder}: no such folder")
    found = look(folder)
    show(found, as_json, _text(found))
    if found["missing"]:
        raise WorkError(f"not installed: {', '.join(found['missing'])}; run: pip install mmnet-maps")


def _text(found: dict[str, Any]) -> str:
    absent = [name for name, held in found["gdal_drivers"].items() if not held]
    held = [name for name, held in found["gdal_drivers"].items() if held]
    extras = [
        f"{name}: " + (f"not installed, pip install 'mmnet-maps[{name}]'" if missing else "installed")
        for name, missing in found["extras"].items()
    ]
    rates = ", ".join(f"{name} {rate:g}" for name, rate in found["gflops"].items())
    lines = [
        "versions: " + ", ".join(f"{name} {version}" for name, version in found["versions"].items()),
        *(f"extra {line}" for line in extras),
        f"GDAL {found['gdal']}: {', '.join(held)}" + (f"; without {', '.join(absent)}" if absent else ""),
        f"torch devices: {', '.join(found['devices'])}",
        f"processors: {found['processors']}, memory {found['memory_gib']} GiB, "
        f"free disk {found['disk_free_gib']} GiB",
        f"matrix products of one thread, GFLOP/s: {rates}",
        *(f"sign-in {name}: {'found' if there else 'none'}" for name, there in found["credentials"].items()),
        "newest formats read: " + ", ".join(f"{name} {n}" for name, n in found["formats"].items()),
    ]
    return "\n".join(lines)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("doctor")(doctor)
