"""A cube from files: its configuration, the readers of its sources, the build, and what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmnet_maps.jobs.readers import Opened, cube_config, opened
from mmnet_maps.jobs.settings import Settings
from mmnet_maps.prepare.cube.audit import audit
from mmnet_maps.prepare.cube.config import CubeConfig
from mmnet_maps.prepare.cube.store import Cube
from mmnet_maps.prepare.cube.store import build_cube as build
from mmnet_maps.prepare.cube.store import open_cube as read_cube
from mmnet_maps.prepare.cube.verify import damage, shards
from mmnet_maps.progress import steps
from mmnet_maps.sources.rasters import RasterSource, unread
from mmnet_maps.store.location import Location, location, target_location

__all__ = ["build_cube", "build_from_config", "describe_cube", "open_cube", "verify_cube"]


def build_cube(
    config: str | Path | CubeConfig,
    out: str | Path,
    *,
    base: str | Path | None = None,
    workers: int | None = None,
    settings: Settings = (),
) -> dict[str, Any]:
    """Build a cube from rasters, or bring one up to date.

    Parameters
    ----------
    config : str, Path or CubeConfig
        YAML with region, grid, days and sources, or what was read from one.
    out : str or Path
        The cube.
    base : str or Path, optional
        Folder that relative paths start from; by default that of the YAML file, or the working folder.
    workers : int, optional
        Threads; by default one a processor.
    settings : mapping or sequence of str
        Single settings over the configuration, such as ``{"grid.resolution": 60}``.

    Returns
    -------
    dict
        ``path``; ``sources``: variables, days, cells and CRS of each; ``parts`` and ``parts_built``;
        ``notes``: days that look incomplete, and files of the folders that were not read.

    Raises
    ------
    InputError
        A key, a file, a grid or a unit is not what was expected; the message names it.
    """
    if base is None:
        base = Path() if isinstance(config, CubeConfig) else Path(config).parent
    loaded = cube_config(config, settings)
    return build_from_config(loaded, Path(base), target_location(out), workers)


def build_from_config(
    config: CubeConfig, base: Path, out: Location, workers: int | None = None
) -> dict[str, Any]:
    """Open the sources of a configuration and build the cube; see `build_cube`."""
    with opened(config, base) as found:
        if found.session is not None:
            found.session.budget.refuse_above(found.estimate_s)
        summary = build(found.target, found.readers, out, config.days, workers)
        if found.session is not None:
            used = found.session.budget.used_hours
            hours = {"estimated": round(found.estimate_s / 3600, 4), "counted": round(used, 4)}
            summary = {**summary, "eecu_hours": hours}
        return {**summary, "notes": _notes(found, base)}


def _notes(found: Opened, base: Path) -> list[str]:
    """What a user should know of the files: what looks incomplete, and what was not read."""
    readers = [getattr(reader, "elevation", reader) for reader in found.readers]
    rasters = [reader for reader in readers if isinstance(reader, RasterSource)]
    used = {path for source in rasters for path in source.files_read}
    paths: list[str] = []
    for keys in found.config.sources.values():
        for path in (keys.path, *(one.path for one in keys.variables.values())):
            paths += [path] if isinstance(path, str) else path or []
    notes = [note for source in rasters for note in source.notes]
    return [*notes, *unread([location(each, base) for each in paths], used)]


def open_cube(cube: str | Path) -> Cube:
    """Open a finished cube for reading: every source on its own grid and days, values as stored.

    Raises
    ------
    InputError
        There is no cube, its build did not finish, or it is of another format.

    Examples
    --------
    >>> cube = open_cube("cube.zarr")
    >>> cube.grid.shape, cube.source_of("SMAP").cadence
    ((20, 28), 'daily')
    """
    return read_cube(location(cube))


def verify_cube(cube: str | Path) -> dict[str, Any]:
    """Whether a cube still holds what was written: every stored value against the digest recorded with it.

    Returns
    -------
    dict
        ``path``, ``shards`` (how many were looked at) and ``damaged``: files that are lost or changed.
    """
    held, bad = open_cube(cube), list[str]()
    found = [(source, shard) for source in held.sources.values() for shard in shards(source)]
    with steps("shards", len(found)) as advance:
        for source, shard in found:
            bad += [str(path) for path in damage(held.folder, source, shard)]
            advance(1, source.name)
    return {"path": str(location(cube)), "shards": len(found), "damaged": bad}


def describe_cube(cube: str | Path) -> dict[str, Any]:
    """What a cube holds: dates, coverage, gaps, value ranges, and what looks wrong.

    Returns
    -------
    dict
        ``path``, ``grid``, ``region``, ``variables`` (a record each) and ``warnings``.
    """
    return audit(open_cube(cube))
