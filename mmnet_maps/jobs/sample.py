"""A station table from the sources of a cube, so that training and mapping see one distribution."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.jobs.readers import Opened, cube_config, opened
from mmnet_maps.jobs.regions import utm_of
from mmnet_maps.jobs.settings import Settings, output_file, settings_of
from mmnet_maps.jobs.stations import write_station_table
from mmnet_maps.prepare.at_places import at_pixel, centre_of, in_disc, pixel_of, series_at
from mmnet_maps.prepare.cube.config import CubeConfig, GridConfig, RegionConfig
from mmnet_maps.prepare.stations.settings import StationTableConfig
from mmnet_maps.progress import steps
from mmnet_maps.sources.stations.in_situ import read_in_situ, read_network
from mmnet_maps.store.location import location

__all__ = ["sample_table"]

#: Degrees around a station that its own region reaches: a few cells of the coarsest sources.
_AROUND = 0.001


@dataclass
class _Gathered:
    """Observations of all stations by source, and what the sources say of their variables."""

    frames: dict[str, list[pd.DataFrame]] = field(default_factory=dict)
    collections: dict[str, str] = field(default_factory=dict)
    unreached: list[str] = field(default_factory=list)


def sample_table(
    config: str | Path,
    network: str | Path,
    in_situ: str | Path,
    out: str | Path,
    *,
    around: Literal["pixel", "disc"] = "pixel",
    radius: float = 70.7,
    without: Iterable[str] = (),
    soil_state: bool = False,
    normals_until: int | None = None,
    settings: Settings = (),
    table_settings: Settings = (),
) -> dict[str, Any]:
    """Make a station table from the same sources as the maps.

    Parameters
    ----------
    config : str or Path
        YAML of the cube; its ``start`` and ``end`` bound the days. A station outside its region is sampled on
        a grid of its own, in its UTM zone.
    network : str or Path
        Stations with ID and Domain: GeoPackage, Shapefile, GeoJSON or CSV.
    in_situ : str or Path
        Ground truth CSV.
    out : str or Path
        Table to write, ``.parquet`` or ``.csv``.
    around : {"pixel", "disc"}
        The pixel of the map that holds the station, with the coordinates of its centre: what a map sees
        there. Or a disc around the station, as the published exports are sampled.
    radius : float
        Of the disc, in metres.
    without, soil_state, normals_until
        As for `mmnet_maps.jobs.stations.build_table`.
    settings : mapping or sequence of str
        Single settings over the cube's configuration.
    table_settings : mapping or sequence of str
        Settings of the table, such as ``{"fill": "past"}``.

    Returns
    -------
    dict
        As of `build_table`, with ``stations_not_reached``: those over which no source has a cell.

    Raises
    ------
    InputError
        A file, a source or a variable is missing, or no row is left.
    """
    path = output_file(out, (".parquet", ".csv"))
    chosen = settings_of(StationTableConfig, settings=table_settings)
    target = chosen.applied_to(published_catalogue()).target.name
    truth, known = read_in_situ(location(in_situ), target), read_network(location(network))
    loaded = cube_config(config, settings)
    found = _Gathered()
    stations = truth.drop_duplicates("ID").set_index("ID")[["Latitude", "Longitude"]].sort_index()
    where = {
        str(k): (float(v[0]), float(v[1])) for k, v in zip(stations.index, stations.to_numpy(), strict=True)
    }
    centres: dict[str, tuple[float, float]] = {}
    with steps("stations", len(stations)) as advance:
        for names, work in _groups(loaded, Path(config).parent, stations):
            for name in names:
                lat, lon = where[name]
                centres[name] = _gather(found, work, name, lon, lat, radius if around == "disc" else None)
                advance(1, name)
    if not found.frames:
        raise InputError(f"{config}: no source reaches any of the {len(stations)} stations")
    if around == "pixel":
        # A pixel stands for its centre, and its position is an input of the model.
        truth = truth.assign(
            Longitude=truth["ID"].map({k: v[0] for k, v in centres.items()}),
            Latitude=truth["ID"].map({k: v[1] for k, v in centres.items()}),
        )
    catalogue = published_catalogue().without(list(without)).with_collections(found.collections)
    if soil_state:
        catalogue = catalogue.with_soil_state()
    tables = {name: pd.concat(parts, ignore_index=True) for name, parts in sorted(found.frames.items())}
    summary = write_station_table(tables, truth, known, chosen, catalogue, normals_until, path)
    return {**summary, "stations_not_reached": found.unreached}


def _groups(config: CubeConfig, base: Path, stations: pd.DataFrame) -> Iterator[tuple[list[str], Opened]]:
    """Stations with opened sources that reach them: those of the region together, others one by one."""
    grid = config.target(base).grid
    inside = [
        name
        for name, lat, lon in zip(stations.index, stations["Latitude"], stations["Longitude"], strict=True)
        if pixel_of(grid, float(lon), float(lat)) is not None
    ]
    if inside:
        with opened(config, base) as work:
            yield [str(name) for name in inside], work
    for name in stations.index.difference(inside):
        with _own(config, base, grid, *(float(v) for v in stations.loc[name])) as work:
            yield [str(name)], work


@contextmanager
def _own(config: CubeConfig, base: Path, grid: Grid, latitude: float, longitude: float) -> Iterator[Opened]:
    """The sources of a configuration over one station, on a grid like the map's."""
    box = (longitude - _AROUND, latitude - _AROUND, longitude + _AROUND, latitude + _AROUND)
    crs, resolution = utm_of(box), (abs(grid.transform[0]), abs(grid.transform[4]))
    sources = {
        name: keys.model_copy(update={"crs": crs if keys.crs == grid.crs else keys.crs})
        for name, keys in config.sources.items()
    }
    own = config.model_copy(
        update={
            "region": RegionConfig(box=box),
            "grid": GridConfig(crs=crs, resolution=resolution),
            "sources": sources,
            "normals": None,
        }
    )
    with opened(own, base) as work:
        yield work


def _gather(
    found: _Gathered, work: Opened, name: str, lon: float, lat: float, radius: float | None
) -> tuple[float, float]:
    """Add what every source holds at a station; longitude and latitude of its pixel."""
    grid = work.target.grid
    pixel = pixel_of(grid, lon, lat)
    assert pixel is not None
    reached = False
    for reader in work.readers:
        if reader.name.endswith("_normals"):
            continue
        cells = (
            at_pixel(grid, pixel, reader.grid) if radius is None else in_disc(lon, lat, radius, reader.grid)
        )
        series = series_at(reader, cells, *work.config.days)
        if series is None:
            continue
        reached = True
        steps_of = max(np.size(v) for v in series.values())
        frame = pd.DataFrame({"ID": [name] * steps_of, **series})
        if reader.cadence in ("daily", "irregular"):
            frame = frame.dropna(how="all", subset=list(reader.variables))
        found.frames.setdefault(reader.name, []).append(frame)
        found.collections |= {n: d.collection for n, d in reader.definitions.items()}
    if not reached:
        found.unreached.append(name)
    return centre_of(grid, pixel)
