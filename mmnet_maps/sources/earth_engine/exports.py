"""Station tables as batch exports to Google Drive or Cloud Storage, fetched into the raw layout."""

from __future__ import annotations

import csv
import io
import json
import shutil
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ee

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.progress import steps
from mmnet_maps.sources.earth_engine.faults import AskForLess, Verdict, judge
from mmnet_maps.sources.earth_engine.session import Session
from mmnet_maps.sources.earth_engine.settings import sources_of
from mmnet_maps.sources.earth_engine.station_requests import Request, build, digest_of, requests_of
from mmnet_maps.sources.earth_engine.stations import StationJob, keep_rows, note_collections, write_files
from mmnet_maps.sources.stations.raw_layout import PLACE

__all__ = ["export_tables"]

_TEXT = ("ID", "Network", "scene")


def export_tables(session: Session, job: StationJob, via: str) -> dict[str, Any]:
    """Start an export for each file, wait for all, fetch them and write the raw folder.

    What has been started and fetched is kept beside the folder: a job that was killed starts nothing twice.

    Parameters
    ----------
    via : {"drive", "gcs"}

    Returns
    -------
    dict
        ``files`` (rows of each), ``exports`` started, ``eecu_hours`` that Earth Engine reports.

    Raises
    ------
    InputError
        No bucket is configured, or the sign-in may not read the exported files.
    WorkError
        An export failed for good.
    """
    if via == "gcs" and not session.config.bucket:
        raise InputError("--via gcs: set `bucket` in the configuration to a Cloud Storage bucket")
    requests = _whole_files(requests_of(sources_of(session.config), job.start, job.end, len(job.network)))
    job.out.mkdir(parents=True, exist_ok=True)
    job.parts.mkdir(parents=True, exist_ok=True)
    exporter = _Exporter(session, job, via)
    with steps("Earth Engine exports", len(requests)) as advance:
        found = session.together([partial(exporter.run, request) for request in requests], advance)
    rows = write_files(job, requests, found)
    note_collections(session, job)
    shutil.rmtree(job.parts)
    return {"files": rows, "exports": exporter.started, "eecu_hours": round(session.budget.used_hours, 4)}


def _whole_files(requests: list[Request]) -> list[Request]:
    """One request for each file and asset: all its days and stations together."""
    whole: dict[tuple[str, str], Request] = {}
    for request in requests:
        key = (request.file, request.asset.id)
        old = whole.get(key, request)
        stations = range(
            min(old.stations.start, request.stations.start), max(old.stations.stop, request.stations.stop)
        )
        whole[key] = replace(
            old, start=min(old.start, request.start), end=max(old.end, request.end), stations=stations
        )
    return list(whole.values())


class _Exporter:
    """Exports, each known by the digest of what it asks for."""

    def __init__(self, session: Session, job: StationJob, via: str) -> None:
        self._session, self._job, self._via = session, job, via
        self.started = 0

    def run(self, request: Request) -> list[Path]:
        """Files with the rows of an export, in halves where the whole is too much."""
        return list(self._run(request))

    def _run(self, request: Request) -> Iterator[Path]:
        table = build(request, self._job.network, self._job.radius)
        path = self._job.parts / f"{digest_of(table)}.json"
        try:
            if not path.exists():
                name = f"{Path(request.file).stem}_{path.stem[:12]}.csv"
                self._finish(request, table, path.with_suffix(".task"), name)
                keep_rows(path, self._fetch(name))
            yield path
        except AskForLess as error:
            halves = request.halves()
            if halves is None:
                raise WorkError(f"{error}; it cannot be cut any further") from error
            for half in halves:
                yield from self._run(half)

    def _finish(self, request: Request, table: ee.FeatureCollection, record: Path, name: str) -> None:
        """Start the export unless it is under way, and wait until it has succeeded."""
        last = ""
        for _ in range(self._session.config.attempts):
            task = self._start(request, table, record, name)
            done = self._wait(request, task)
            metadata = done.get("metadata", {})
            self._session.budget.count(float(metadata.get("batchEecuUsageSeconds", 0.0)))
            if "error" not in done:
                return
            record.unlink()
            last = " ".join(str(done["error"].get("message", "failed")).split())
            fault = judge(ee.EEException(last))
            if fault.error is not None:
                raise type(fault.error)(f"export {request}: {fault.error}")
            if fault.verdict is Verdict.ASK_FOR_LESS:
                raise AskForLess(f"export {request}: {last}")
        raise WorkError(f"export {request}: failed {self._session.config.attempts} times, the last: {last}")

    def _start(self, request: Request, table: ee.FeatureCollection, record: Path, name: str) -> str:
        # The request id is written down first: sent twice, it still starts one export.
        known = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
        if "operation" in known:
            return str(known["operation"])
        task = known.get("request") or ee.data.newTaskId()[0]
        _note(record, {"request": task})
        columns = [*request.columns.values(), *PLACE, "scene"]
        params = {
            "expression": table,
            "description": Path(name).stem,
            "selectors": columns,
            "fileExportOptions": {"fileFormat": "CSV", **self._destination(Path(name).stem)},
        }
        answer = self._session.call(f"export {request}", lambda: ee.data.exportTable(task, dict(params)))
        self.started += 1
        _note(record, {"request": task, "operation": answer["name"]})
        return str(answer["name"])

    def _destination(self, prefix: str) -> dict[str, Any]:
        if self._via == "drive":
            return {
                "driveDestination": {"folder": self._session.config.drive_folder, "filenamePrefix": prefix}
            }
        bucket = self._session.config.bucket
        return {"cloudStorageDestination": {"bucket": bucket, "filenamePrefix": prefix}}

    def _wait(self, request: Request, operation: str) -> dict[str, Any]:
        while True:
            found = self._session.call(f"export {request}", lambda: ee.data.getOperation(operation))
            if found.get("done"):
                return dict(found)
            self._session.refuse_if_stopped()
            time.sleep(self._session.config.poll_s)

    def _fetch(self, name: str) -> list[dict[str, Any]]:
        config = self._session.config
        target = config.bucket if self._via == "gcs" else config.drive_folder
        try:
            if self._via == "gcs":
                where = f"{config.storage_url}/b/{config.bucket}/o/{urllib.parse.quote(name, safe='')}"
            else:
                query = urllib.parse.urlencode(
                    {"q": f"name = '{name}' and trashed = false", "fields": "files(id)"}
                )
                listing = self._session.get(f"Drive file {name}", f"{config.drive_url}/files?{query}")
                where = f"{config.drive_url}/files/{json.loads(listing)['files'][0]['id']}"
            content = self._session.get(f"exported {name}", f"{where}?alt=media")
        except (InputError, WorkError, LookupError, ValueError) as error:
            raise InputError(
                f"{name} is exported to {target}, but cannot be fetched ({error}); see that the sign-in may "
                "read it there, and run the same command again"
            ) from error
        return _rows(content.decode("utf-8"))


def _note(record: Path, facts: dict[str, Any]) -> None:
    temporary = record.with_suffix(".tasktmp")
    temporary.write_text(json.dumps(facts), encoding="utf-8")
    temporary.replace(record)


def _rows(text: str) -> list[dict[str, Any]]:
    """Rows of an exported CSV, as a direct request would have given them."""
    rows = []
    for row in csv.DictReader(io.StringIO(text)):
        rows.append({k: v if k in _TEXT else float(v) for k, v in row.items() if v})
    return rows
