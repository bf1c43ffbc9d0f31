"""Station tables from Earth Engine in the raw layout of the published exports."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.progress import say, steps
from mmnet_maps.sources.earth_engine.faults import AskForLess
from mmnet_maps.sources.earth_engine.session import Session
from mmnet_maps.sources.earth_engine.settings import sources_of
from mmnet_maps.sources.earth_engine.station_requests import Request, build, digest_of, requests_of
from mmnet_maps.sources.stations.raw_exports import COLLECTIONS
from mmnet_maps.sources.stations.raw_layout import (
    LAYOUTS,
    NO_GEOMETRY,
    PLACE,
    Layout,
    file_columns,
    sorted_rows,
    write_csv,
)
from mmnet_maps.store.location import Location
from mmnet_maps.store.whole import write_whole

__all__ = [
    "DISC_RADIUS_M",
    "StationJob",
    "download_tables",
    "keep_rows",
    "network_for",
    "note_collections",
    "write_files",
]

#: Radius of the disc around a station, in metres, as published: 50 x 1.414.
DISC_RADIUS_M = 50 * 1.414


@dataclass(frozen=True)
class StationJob:
    """What station tables are wanted.

    Attributes
    ----------
    network : DataFrame
        ID, Network, Latitude, Longitude; a row a station.
    start, end : date
        First and last day, both included.
    out : Path
        Folder of the raw layout.
    radius : float
        Radius of the disc around a station, in metres.
    """

    network: pd.DataFrame
    start: dt.date
    end: dt.date
    out: Path
    radius: float = DISC_RADIUS_M

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise InputError(f"--end {self.end} is before --start {self.start}")
        if not self.radius > 0:
            raise InputError(f"--radius {self.radius}: expected metres above 0")

    @property
    def parts(self) -> Path:
        """Where finished requests are kept until their file is written."""
        return self.out.with_name(f".{self.out.name}.earthengine")


def network_for(network: pd.DataFrame, path: Location) -> pd.DataFrame:
    """Check a network read from `path`: every station once, with its coordinates."""
    for name in PLACE:
        if name not in network:
            raise InputError(f"{path}: column {name} is missing; it has {', '.join(map(str, network))}")
    twice = network["ID"][network["ID"].duplicated()]
    if len(twice):
        raise InputError(f"{path}: station {twice.iloc[0]} is listed twice")
    bad = network[network[["Latitude", "Longitude"]].isna().any(axis=1)]
    if len(bad):
        raise InputError(f"{path}: station {bad['ID'].iloc[0]} has no Latitude or Longitude")
    return network.reset_index(drop=True)


def download_tables(session: Session, job: StationJob) -> dict[str, Any]:
    """Fetch every table directly, many requests at once, and write the raw folder.

    A finished request is kept beside the folder, so that a job that was killed asks only for the rest; a file
    is written when all its requests are done.

    Returns
    -------
    dict
        ``files`` (rows of each), ``requests`` made, ``kept`` from an earlier run, ``eecu_hours`` estimated
        and counted.

    Raises
    ------
    InputError, WorkError
        See `Session.call`; also when even one station and day is too much.
    """
    requests = requests_of(sources_of(session.config), job.start, job.end, len(job.network))
    budget = session.budget
    estimate = sum(budget.seconds(rows=request.images * len(request.stations)) for request in requests)
    budget.refuse_above(estimate)
    say(f"Earth Engine stations: {len(requests)} requests, {budget.forecast(estimate)}")
    job.out.mkdir(parents=True, exist_ok=True)
    job.parts.mkdir(parents=True, exist_ok=True)
    fetcher = _Fetcher(session, job)
    with steps("Earth Engine stations", len(requests)) as advance:
        found = session.together([partial(fetcher.fetch, request) for request in requests], advance)
    rows = write_files(job, requests, found)
    note_collections(session, job)
    shutil.rmtree(job.parts)
    return {
        "files": rows,
        "requests": fetcher.made,
        "kept": fetcher.kept,
        "eecu_hours": {"estimated": round(estimate / 3600, 4), "counted": round(budget.used_hours, 4)},
    }


def note_collections(session: Session, job: StationJob) -> None:
    """Write beside the files which collection and version each variable comes from."""
    sources = sources_of(session.config).values()
    found = {name: source.collection_of(name) for source in sources for name in source.variables}
    write_whole(job.out / COLLECTIONS, json.dumps(found, indent=2) + "\n")


class _Fetcher:
    """Rows of requests, each kept on disk under the digest of what it asks for."""

    def __init__(self, session: Session, job: StationJob) -> None:
        self._session, self._job = session, job
        self.made = self.kept = 0

    def fetch(self, request: Request) -> list[Path]:
        """Files with the rows of a request, in halves where the whole is too much."""
        return list(self._fetch(request))

    def _fetch(self, request: Request) -> Iterator[Path]:
        table = build(request, self._job.network, self._job.radius)
        path = self._job.parts / f"{digest_of(table)}.json"
        split = path.with_suffix(".split")
        if path.exists():
            self.kept += 1
            yield path
            return
        if not split.exists():
            try:
                rows = self._session.features(str(request), table)
            except AskForLess as error:
                if request.halves() is None:
                    raise WorkError(f"{error}; it cannot be cut any further") from error
                # Remembered, so that a job that is run again does not request for too much again.
                split.touch()
            else:
                self.made += 1
                keep_rows(path, rows)
                yield path
                return
        for half in request.halves() or ():
            yield from self._fetch(half)


def keep_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Keep the rows of a finished request."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(rows), encoding="utf-8")
    temporary.replace(path)


def write_files(job: StationJob, requests: list[Request], found: list[list[Path]]) -> dict[str, int]:
    """Write every file of the layout; the number of rows of each.

    Parameters
    ----------
    requests : list of Request
    found : list of list of Path
        For each of them, where its rows are kept.
    """
    rows = {}
    for file in dict.fromkeys(request.file for request in requests):
        mine = [
            (request, paths) for request, paths in zip(requests, found, strict=True) if request.file == file
        ]
        parts = [path for _, paths in mine for path in paths]
        rows[file] = _write_file(job, file, LAYOUTS[mine[0][0].layout], parts)
    return rows


def _write_file(job: StationJob, file: str, layout: Layout, parts: list[Path]) -> int:
    """One file of the layout from all its requests; the number of its rows."""
    order = {str(station): i for i, station in enumerate(job.network["ID"])}
    rows = sorted_rows(_joined(parts), order)
    columns: list[str] = list(layout.values)
    if layout.wide:
        (column,) = layout.values
        columns = sorted({f"{row['scene']}_{column}" for row in rows})
        rows = _wide(job.network, rows, column)
    for row in rows:
        mark = f"{order[str(row['ID'])]:020x}"
        row["system:index"] = f"{row['scene']}_{mark}" if row.get("scene") else mark
        row[".geo"] = NO_GEOMETRY
    write_csv(job.out / file, file_columns(columns), rows)
    return len(rows)


def _joined(parts: list[Path]) -> Iterator[dict[str, Any]]:
    """Rows of all requests; those of one image and station, from several assets, become one."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for path in parts:
        for row in json.loads(path.read_text(encoding="utf-8")):
            found.setdefault((str(row.get("scene", "")), str(row["ID"])), {}).update(row)
    yield from found.values()


def _wide(network: pd.DataFrame, rows: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    """A row a station, a column a day; a station without any value keeps its (empty) row."""
    wide: dict[str, dict[str, Any]] = {
        str(station["ID"]): {name: station[name] for name in PLACE} for _, station in network.iterrows()
    }
    for row in rows:
        wide[str(row["ID"])][f"{row['scene']}_{column}"] = row.get(column)
    return list(wide.values())
