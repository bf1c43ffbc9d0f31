"""Folders that appear under their name only when they are complete."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmnet_maps.errors import InputError
from mmnet_maps.simulated.config import SimulationConfig

__all__ = ["MARK", "fresh_folders"]

#: The settings that made a folder; a folder that has it is a simulation and may be replaced by another.
MARK = "simulation.yaml"


@contextmanager
def fresh_folders(config: SimulationConfig, out: Path, names: tuple[str, ...]) -> Iterator[Path]:
    """Fill folders in a temporary place beside their own, then move them to ``out / name``.

    Parameters
    ----------
    config : SimulationConfig
        Written into each folder as `MARK`.
    out : Path
        Made if missing.
    names : tuple of str
        Folders to fill.

    Yields
    ------
    Path
        Temporary root that holds the empty folders.

    Raises
    ------
    InputError
        A folder of that name is there and is no simulation: nothing of a user's is ever replaced.
    """
    for name in names:
        target = out / name
        if target.exists() and not (target / MARK).is_file():
            raise InputError(
                f"{target} is there and no simulation made it; expected another --out, or an empty one"
            )
    out.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix=".simulation-", dir=out))
    try:
        for name in names:
            (root / name).mkdir()
        yield root
        for name in names:
            (root / name / MARK).write_text(config.to_yaml(), encoding="utf-8")
            target = out / name
            if target.exists():
                shutil.rmtree(target)
            (root / name).replace(target)
    finally:
        shutil.rmtree(root, ignore_errors=True)
