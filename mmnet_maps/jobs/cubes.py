"""A cube from files, or from Earth Engine: configuration, readers, build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmnet_maps.prepare.cube.config import CubeConfig
from mmnet_maps.prepare.cube.normals import normals_readers
from mmnet_maps.prepare.cube.store import build_cube
from mmnet_maps.source_reader import SourceReader
from mmnet_maps.sources.rasters import open_source

__all__ = ["build_from_config"]


def build_from_config(
    config: CubeConfig, base: Path, out: Path, workers: int | None = None
) -> dict[str, Any]:
    """Open the sources of a configuration and build the cube.

    Parameters
    ----------
    config : CubeConfig
    base : Path
        Folder that relative paths start from.
    out : Path
    workers : int, optional

    Returns
    -------
    dict
        Summary of `build_cube`.
    """
    target = config.target(base)
    readers: list[SourceReader] = [
        open_source(name, keys, base, target.grid) for name, keys in config.sources.items()
    ]
    if config.normals is not None:
        readers += normals_readers(config.normals, readers)
    return build_cube(target, readers, out, config.days, workers)
