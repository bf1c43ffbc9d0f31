"""Station tables from raw exports, USCRN or ISMN files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from mmnet_maps.catalogue import Catalogue, published_catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.jobs.regions import region_of
from mmnet_maps.jobs.settings import Settings, output_file, settings_of
from mmnet_maps.prepare.normals import add_normals
from mmnet_maps.prepare.stations.files import write_table
from mmnet_maps.prepare.stations.settings import OwnWeatherConfig, StationTableConfig
from mmnet_maps.prepare.stations.table import build_station_table
from mmnet_maps.sources.stations.archives import StationArchives, fetch_scan, fetch_uscrn
from mmnet_maps.sources.stations.in_situ import StationRecords, read_in_situ, read_network
from mmnet_maps.sources.stations.ismn import read_ismn
from mmnet_maps.sources.stations.raw_exports import read_collections, read_raw_folder, unread_files
from mmnet_maps.sources.stations.uscrn import read_uscrn, uscrn_catalogue
from mmnet_maps.store.location import Location, local_path, location
from mmnet_maps.store.whole import appearing

__all__ = ["build_table", "fetch_records", "in_situ_from_ismn", "table_from_uscrn", "write_station_table"]

_TABLE = (".parquet", ".csv")


def build_table(
    raw: str | Path,
    in_situ: str | Path,
    network: str | Path,
    out: str | Path,
    *,
    without: Iterable[str] = (),
    soil_state: bool = False,
    normals_until: int | None = None,
    config: str | Path | StationTableConfig | None = None,
    settings: Settings = (),
) -> dict[str, Any]:
    """Make a station table from the raw exports of the published scripts.

    Parameters
    ----------
    raw : str or Path
        Folder of raw exports (CSV).
    in_situ : str or Path
        Ground truth CSV.
    network : str or Path
        Stations with ID and Domain: GeoPackage, Shapefile, GeoJSON or CSV.
    out : str or Path
        Table to write, ``.parquet`` or ``.csv``.
    without : iterable of str
        Variables to leave out.
    soil_state : bool
        Add the soil-state channels; the steps of the series spread over 90 days.
    normals_until : int, optional
        Add climate normals, of the weather up to this year.
    config : str, Path or StationTableConfig, optional
    settings : mapping or sequence of str
        Single settings over `config`, such as ``{"encoding": "cyclic"}`` or ``{"target": "VWC_20"}``.

    Returns
    -------
    dict
        ``out``, and what was read, left out and why (`mmnet_maps.prepare.stations.report.TableReport`).

    Raises
    ------
    InputError
        A file is missing or not what was expected; the message names it.
    """
    path, folder = output_file(out, _TABLE), local_path(raw)
    chosen = settings_of(StationTableConfig, config, settings)
    catalogue = published_catalogue().without(list(without)).with_collections(read_collections(folder))
    if soil_state:
        catalogue = catalogue.with_soil_state()
    target = chosen.applied_to(catalogue).target.name
    truth, known = read_in_situ(location(in_situ), target), read_network(location(network))
    tables = read_raw_folder(folder, catalogue)
    written = write_station_table(tables, truth, known, chosen, catalogue, normals_until, path)
    return {"out": written.pop("out"), "files_not_read": unread_files(folder), **written}


def table_from_uscrn(
    files: str | Path,
    out: str | Path,
    *,
    soil_state: bool = False,
    normals_until: int | None = None,
    config: str | Path | OwnWeatherConfig | None = None,
    settings: Settings = (),
) -> dict[str, Any]:
    """Make a station table from NOAA USCRN daily01 files, with the variables that they hold.

    Parameters
    ----------
    files : str or Path
        Zip or folder of ``CRND0103-YYYY-ST_Name.txt`` files.
    out, soil_state, normals_until, config, settings
        As for `build_table`.

    Returns
    -------
    dict
        As of `build_table`, with ``files_read``, ``files_left_out`` and ``soil_moisture_implausible``.
    """
    path = output_file(out, _TABLE)
    chosen = settings_of(OwnWeatherConfig, config, settings)
    found = read_uscrn(local_path(files))
    catalogue = uscrn_catalogue(soil_state=soil_state)
    weather = {"uscrn": found.weather}
    written = write_station_table(
        weather, found.in_situ, found.network, chosen, catalogue, normals_until, path
    )
    target = chosen.applied_to(catalogue).target.name
    return {**found.notes, "soil_moisture_implausible": found.implausible[target], **written}


def in_situ_from_ismn(
    archive: str | Path,
    out: str | Path,
    *,
    target: str = "VWC_5",
    depth: tuple[float, float] | None = None,
    min_hours: int = 6,
    flags: Iterable[str] = ("G",),
    all_days: bool = False,
) -> dict[str, Any]:
    """Daily means of the good soil moisture values of an ISMN archive, as ground truth CSV.

    Parameters
    ----------
    archive : str or Path
        Zip or folder, either layout.
    out : str or Path
        CSV to write.
    target : str
        Name of the column to write: one of `mmnet_maps.variables.TARGETS`.
    depth : tuple of float, optional
        From and to, in metres, where sensors are used. By default 0 to 0.06 for ``VWC_5``, and 0.8 to 1.2
        times the depth that another target is named after.
    min_hours : int
        Hours with a good value that a day needs.
    flags : iterable of str
        Quality flags to accept.
    all_days : bool
        Also days without a value, empty.

    Returns
    -------
    dict
        ``out``, and what was read and left out (`mmnet_maps.sources.stations.ismn.IsmnReport`).
    """
    path = output_file(out)
    found: StationRecords = read_ismn(
        local_path(archive), depth, min_hours, flags=tuple(flags), all_days=all_days, target=target
    )
    with appearing(path) as draft:
        found.in_situ.to_csv(draft, index=False)
    return {"out": str(path), **found.notes}


def fetch_records(
    network: Literal["uscrn", "scan"],
    years: tuple[int, int],
    region: str | Path | Sequence[float],
    out: str | Path,
    *,
    config: str | Path | None = None,
    settings: Settings = (),
) -> dict[str, Any]:
    """Get in situ records over HTTP, politely; what is there is kept.

    Writes under `out` the files as they came (``files``), ``in_situ.csv`` and ``network.csv``.

    Parameters
    ----------
    network : {"uscrn", "scan"}
    years : (int, int)
        First and last, included.
    region : str, Path or four numbers
        A polygon file, whose box counts, or west, south, east, north in degrees.
    out : str or Path
    config : str or Path, optional
        YAML with `mmnet_maps.sources.stations.archives.StationArchives`.
    settings : mapping or sequence of str

    Returns
    -------
    dict
        ``in_situ``, ``network``, ``stations``, ``rows``, ``files``, ``fetched``, ``implausible``.

    Raises
    ------
    InputError
        No station lies in the region, or a year or address is wrong.
    WorkError
        The archive does not answer; what is done is kept.
    """
    first, last = years
    if first > last:
        raise InputError(f"--years {first} {last}: expected the first year, then the last")
    known = settings_of(StationArchives, config, settings)
    folder = local_path(out, to_write=True)
    _, box = region_of(region, folder)
    folder.mkdir(parents=True, exist_ok=True)
    span = range(first, last + 1)
    if network == "uscrn":
        found = fetch_uscrn(known, span, box, folder)
    else:
        found = fetch_scan(known, span, box, folder, dt.datetime.now(dt.UTC).year)
    for name, frame in (("in_situ", found.in_situ), ("network", found.network)):
        with appearing(folder / f"{name}.csv") as draft:
            frame.to_csv(draft, index=False)
    return {
        "in_situ": str(folder / "in_situ.csv"),
        "network": str(folder / "network.csv"),
        "stations": len(found.network),
        "rows": len(found.in_situ),
        "files": found.files,
        "fetched": found.fetched,
        "implausible": found.implausible,
    }


def write_station_table(
    tables: Mapping[str, pd.DataFrame],
    truth: pd.DataFrame,
    network: pd.DataFrame,
    config: StationTableConfig,
    catalogue: Catalogue,
    normals_until: int | None,
    out: Location,
) -> dict[str, Any]:
    """Make a station table and write it; what was read and left out, and why."""
    if normals_until is not None:
        tables, catalogue = add_normals(tables, catalogue, normals_until)
    table = build_station_table(tables, truth, network, config, catalogue)
    write_table(table.frame, out, table.catalogue)
    return {"out": str(out), **table.report.to_dict()}
