"""The sources of a cube's configuration, opened: folders, archives over HTTP, Earth Engine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyproj import Transformer

from mmnet_maps.config import read_yaml
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.jobs.settings import Settings, settings_of
from mmnet_maps.prepare.cube.config import CubeConfig, Target
from mmnet_maps.prepare.cube.normals import normals_readers
from mmnet_maps.prepare.normals import NORMALS
from mmnet_maps.progress import say
from mmnet_maps.source_reader import SourceConfig, SourceReader, VariableConfig
from mmnet_maps.sources.rasters import definitions_of, open_source
from mmnet_maps.sources.remote.archive import Remote
from mmnet_maps.sources.remote.listing import Scope
from mmnet_maps.sources.terrain import TerrainSource, padded

if TYPE_CHECKING:
    from mmnet_maps.jobs.earth_engine_config import EarthEngineCubeConfig
    from mmnet_maps.sources.earth_engine.cube import EarthEngineReader

__all__ = ["Opened", "cube_config", "opened", "remote_of"]


@dataclass(frozen=True)
class Opened:
    """A configuration with its sources ready to be read.

    Attributes
    ----------
    config : CubeConfig
    target : Target
    readers : list of SourceReader
        Of every source, normals included.
    session : Session, optional
        Of Earth Engine, where it is used.
    estimate_s : float
        EECU-seconds that reading all uses by estimate.
    """

    config: CubeConfig
    target: Target
    readers: list[SourceReader]
    session: Any = None
    estimate_s: float = 0.0


def cube_config(config: str | Path | CubeConfig, settings: Settings = ()) -> CubeConfig:
    """A cube's configuration, with Earth Engine settings where it has a part ``earthengine``."""
    if not isinstance(config, CubeConfig) and Path(config).is_file():
        data = read_yaml(Path(config))
        if isinstance(data, dict) and "earthengine" in data:
            from mmnet_maps.jobs.earth_engine_config import EarthEngineCubeConfig

            return settings_of(EarthEngineCubeConfig, config, settings)
    return settings_of(CubeConfig, config, settings)


@contextmanager
def opened(config: CubeConfig, base: Path) -> Iterator[Opened]:
    """Open every source; headers are read, values are not.

    Parameters
    ----------
    config : CubeConfig
    base : Path
        Folder that relative paths start from.

    Raises
    ------
    InputError, WorkError
        A file, an archive or a key is not what was expected; the message names it.
    """
    target = config.target(base)
    with ExitStack() as stack:
        readers, past = _direct(config, base, target.grid, stack)
        session, estimate = None, 0.0
        if hasattr(config, "earthengine"):
            from mmnet_maps.jobs.earth_engine_config import EarthEngineCubeConfig
            from mmnet_maps.sources.earth_engine.cube import estimate_seconds
            from mmnet_maps.sources.earth_engine.session import open_session

            assert isinstance(config, EarthEngineCubeConfig)
            session = stack.enter_context(open_session(config.earthengine))
            fetched, earlier = _earth_engine(session, config, target.grid)
            estimate = estimate_seconds(session, [*fetched, *earlier])
            say(f"Earth Engine: {len(fetched)} sources, {session.budget.forecast(estimate)}")
            readers, past = [*fetched, *readers], [*earlier, *past]
        if config.normals is not None:
            readers += normals_readers(config.normals, past)
        yield Opened(config, target, readers, session, estimate)


def _direct(
    config: CubeConfig, base: Path, grid: Grid, stack: ExitStack
) -> tuple[list[SourceReader], list[SourceReader]]:
    """Readers of all sources but Earth Engine's, and those that normals are of."""
    readers: list[SourceReader] = []
    past: list[SourceReader] = []
    remote = stack.enter_context(remote_of(config, base, grid, config.start, config.end))
    for name, keys in config.sources.items():
        readers.append(_open(name, keys, base, grid, remote))
        past.append(readers[-1])
        years = config.normals
        if years is not None and keys.kind != "files" and _wanted(config) & set(keys.variables):
            if years.since is None:
                raise InputError("normals.since is missing; expected the first year to fetch")
            first, last = dt.date(years.since, 1, 1), dt.date(years.until, 12, 31)
            past[-1] = _open(
                name, keys, base, grid, stack.enter_context(remote_of(config, base, grid, first, last))
            )
    return readers, past


@contextmanager
def remote_of(
    config: CubeConfig, base: Path, grid: Grid, first: dt.date | None, last: dt.date | None
) -> Iterator[Remote]:
    """What remote sources share, for a region and days."""
    change = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    west, south, east, north = change.transform_bounds(*grid.bounds, densify_pts=51)
    remote = Remote(config.http, base, Scope((west, south, east, north), first, last))
    done = False
    try:
        yield remote
        done = True
    finally:
        remote.close(done)


def _open(name: str, keys: SourceConfig, base: Path, grid: Grid, remote: Remote) -> SourceReader:
    archive = None if keys.kind == "files" and keys.listing is None else remote.archive(name, keys)
    if not keys.terrain:
        return open_source(name, keys, base, grid, archive)
    alone = keys.model_copy(
        update={
            "variables": {"elevation": keys.variables.get("elevation", VariableConfig())},
            "regrid": keys.regrid or "bilinear",
            "cadence": "static",
        }
    )
    elevation = open_source(name, alone, base, padded(grid), archive)
    return TerrainSource(name, grid, elevation, definitions_of(name, keys))


def _earth_engine(
    session: Any, config: EarthEngineCubeConfig, target: Grid
) -> tuple[list[EarthEngineReader], list[EarthEngineReader]]:
    """Readers of the days to hold, and of the weather that normals are of over their years."""
    from mmnet_maps.sources.earth_engine.cube import open_readers

    fetched = open_readers(session, target, config.start, config.end)
    names = {reader.name for reader in fetched if _wanted(config) & set(reader.variables)}
    if config.normals is None or not names:
        return fetched, []
    if config.normals.since is None:
        raise InputError("normals.since is missing; expected the first year to fetch from Earth Engine")
    first, last = dt.date(config.normals.since, 1, 1), dt.date(config.normals.until, 12, 31)
    return fetched, open_readers(session, target, first, last, names)


def _wanted(config: CubeConfig) -> set[str]:
    """Daily variables that normals are of."""
    return set() if config.normals is None else set(config.normals.variables or NORMALS)
