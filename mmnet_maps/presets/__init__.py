"""Where each source comes from through each door: YAML files that a user can copy and change.

``<door>/<source>.yaml`` holds what a cube's configuration says of a source: under ``sources:``, for the door
``earthengine`` under ``earthengine: sources:``.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from mmnet_maps.errors import InputError

__all__ = ["DOORS", "SOURCES", "preset"]

#: Sources of the published method, in the order in which they are written.
SOURCES = ("smap", "hls", "sentinel1", "gridmet", "modis", "terrain", "soil", "landcover")
DOORS = ("files", "planetary", "earthdata", "earthengine", "simulated")


def preset(door: str, source: str, own: Path | None = None) -> str:
    """The preset of a source behind a door, as text with its comments.

    Parameters
    ----------
    door : str
    source : str
    own : Path, optional
        Folder of a user's own presets, laid out as this package's; they go first.

    Raises
    ------
    InputError
        There is none; the message lists what there is.
    """
    for folder in (own, files(__package__)):
        path = folder and folder / door / f"{source}.yaml"
        if path and path.is_file():
            return path.read_text(encoding="utf-8")
    if door not in DOORS:
        raise InputError(f"door {door}: not known; known are {', '.join(DOORS)}")
    raise InputError(f"door {door}: no preset for {source}; known sources are {', '.join(SOURCES)}")
