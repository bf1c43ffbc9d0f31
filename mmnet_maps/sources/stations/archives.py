"""In situ records over HTTP: USCRN daily01 files of NOAA, SCAN from the report service of the NRCS."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urljoin

import numpy as np
import pandas as pd

from mmnet_maps.config import Config
from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.progress import say, steps
from mmnet_maps.source_reader import HttpConfig
from mmnet_maps.sources.remote.download import download
from mmnet_maps.sources.remote.http import Http, Signer
from mmnet_maps.sources.remote.ranges import Link
from mmnet_maps.sources.stations.uscrn import domain_of, read_uscrn
from mmnet_maps.store.whole import write_whole
from mmnet_maps.variables import TARGETS

__all__ = ["Records", "StationArchives", "fetch_scan", "fetch_uscrn"]

Box = tuple[float, float, float, float]
#: Depth of the SCAN probe that stands for each target, in inches.
_INCHES = dict(zip(TARGETS, (2, 4, 8, 20, 40), strict=True))
_USCRN_FILE = re.compile(r'href="(CRND\d{4}-\d{4}-[A-Z]{2}_[^"/]+\.txt)"')


class StationArchives(Config):
    """Where in situ records come from.

    Attributes
    ----------
    uscrn_url : str
        Folder with a folder a year of daily01 files.
    scan_url : str
        Report of one station as CSV; ``{station}``, ``{first}`` and ``{last}`` are filled in.
    scan_stations_url : str
        Stations of SCAN as JSON: stationTriplet, name, latitude, longitude.
    http : HttpConfig
        Both are small public services: few requests at once.
    """

    uscrn_url: str = "https://www.ncei.noaa.gov/pub/data/uscrn/products/daily01/"
    scan_url: str = (
        "https://wcc.sc.egov.usda.gov/reportGenerator/view_csv/customSingleStationReport/daily/"
        "{station}%7Cid=%22%22%7Cname/{first},{last}/"
        "SMS:-2:value,SMS:-4:value,SMS:-8:value,SMS:-20:value,SMS:-40:value"
    )
    scan_stations_url: str = (
        "https://wcc.sc.egov.usda.gov/awdbRestApi/services/v1/stations?stationTriplets=*:*:SCAN"
    )
    http: HttpConfig = HttpConfig(connections=4, requests_per_second=4.0)


@dataclass(frozen=True)
class Records:
    """What was fetched.

    Attributes
    ----------
    in_situ : DataFrame
        ID, Network, Latitude, Longitude, Date (YYYYMMDD), and VWC_5 to VWC_100 (m3 m-3).
    network : DataFrame
        ID, Network, Latitude, Longitude, Domain, State; a row a station.
    files, fetched : int
        Files there, and how many of them were asked for now.
    implausible : int
        Values set to missing.
    """

    in_situ: pd.DataFrame
    network: pd.DataFrame
    files: int
    fetched: int
    implausible: int


def fetch_uscrn(config: StationArchives, years: range, box: Box, out: Path) -> Records:
    """Download the daily01 files of stations in a box; files that are there and unchanged are kept.

    Raises
    ------
    InputError
        No station lies in the box, or the archive has no such year.
    WorkError
        The archive does not answer; what is done is kept.
    """
    http, signer = Http(config.http), Signer()
    try:
        links: dict[str, list[str]] = {}
        for year in years:
            folder = urljoin(config.uscrn_url, f"{year}/")
            text = http.ask(folder, what=f"USCRN files of {year}").text
            for name in sorted(set(_USCRN_FILE.findall(text))):
                links.setdefault(name.split("-", 2)[2], []).append(urljoin(folder, quote(name)))
        inside = [urls for urls in _mapped(config, http, links.values(), box) if urls]
        wanted = sorted(url for urls in inside for url in urls)
        if not wanted:
            raise InputError(
                f"none of the {len(links)} USCRN stations of {years[0]} to {years[-1]} lies in {box}"
            )
        with steps("USCRN files", len(wanted)) as advance:

            def one(url: str) -> bool:
                name = url.rpartition("/")[2]
                fresh = download(http, signer, Link(url, name), out / "files" / name)
                advance(1, name)
                return fresh

            with ThreadPoolExecutor(config.http.connections) as pool:
                fetched = sum(pool.map(one, wanted))
    finally:
        http.close()
    found = read_uscrn(out / "files")
    first, last = years[0] * 10_000, years[-1] * 10_000 + 1231
    rows = found.in_situ[found.in_situ["Date"].between(first, last)].reset_index(drop=True)
    newest = rows.drop_duplicates("ID", keep="last")[["ID", "Network", "Latitude", "Longitude"]]
    network = newest.merge(found.network, on="ID").sort_values("ID").reset_index(drop=True)
    return Records(rows, network, len(wanted), fetched, sum(found.implausible.values()))


def _mapped(config: StationArchives, http: Http, stations: Iterable[list[str]], box: Box) -> list[list[str]]:
    """Files of each station that lies in the box, by the first line of its latest file; else none."""
    west, south, east, north = box

    def one(urls: list[str]) -> list[str]:
        what = urls[-1].rpartition("/")[2]
        head = http.ask(urls[-1], what=what, headers={"Range": "bytes=0-255"}).text.split()
        try:
            longitude, latitude = float(head[3]), float(head[4])
        except (IndexError, ValueError):
            raise WorkError(f"{what}: its first line is not of the daily01 format") from None
        return urls if west <= longitude <= east and south <= latitude <= north else []

    with ThreadPoolExecutor(config.http.connections) as pool:
        return list(pool.map(one, stations))


def fetch_scan(config: StationArchives, years: range, box: Box, out: Path, current: int) -> Records:
    """Get the daily soil moisture of SCAN stations in a box, a file a station and year.

    Parameters
    ----------
    config : StationArchives
    years : range
    box : tuple of float
        West, south, east, north in degrees.
    out : Path
        Files go into ``files``; one of a year before `current` is not asked for again.
    current : int
        This year.

    Raises
    ------
    InputError
        No station lies in the box.
    WorkError
        The service does not answer, or answers something else.
    """
    http, frames, fetched, implausible, count = Http(config.http), [], 0, 0, 0
    try:
        stations = _scan_stations(config, http, box)
        with steps("SCAN reports", len(stations) * len(years)) as advance:
            for station in stations.to_dict("records"):
                for year in years:
                    triplet = str(station["triplet"])
                    path = out / "files" / f"SCAN_{triplet.split(':')[0]}_{year}.csv"
                    if not path.is_file() or year >= current:
                        path.parent.mkdir(parents=True, exist_ok=True)
                        write_whole(path, _report(config, http, triplet, year))
                        fetched += 1
                    frame, wrong = _read_scan(path)
                    count, implausible = count + 1, implausible + wrong
                    for name in ("ID", "Latitude", "Longitude"):
                        frame[name] = station[name]
                    frames.append(frame)
                    advance(1, path.name)
    finally:
        http.close()
    rows = pd.concat(frames, ignore_index=True).assign(Network="SCAN")
    rows = rows[["ID", "Network", "Latitude", "Longitude", "Date", *TARGETS]]
    for name in TARGETS:
        if not rows[name].notna().any():
            say(f"SCAN: no report has soil moisture at {_INCHES[name]} inches; {name} is empty")
    network = stations.drop(columns="triplet").assign(
        Network="SCAN", Domain=[domain_of(x) for x in stations["Longitude"]]
    )
    return Records(rows, network, count, fetched, implausible)


def _scan_stations(config: StationArchives, http: Http, box: Box) -> pd.DataFrame:
    """ID, triplet, Latitude, Longitude, State of the stations in a box."""
    answer = http.ask(config.scan_stations_url, what="SCAN stations").json()
    west, south, east, north = box
    rows = [
        {
            "ID": f"SCAN_{s['stationTriplet'].split(':')[0]}",
            "triplet": s["stationTriplet"],
            "Latitude": float(s["latitude"]),
            "Longitude": float(s["longitude"]),
            "State": s["stationTriplet"].split(":")[1],
        }
        for s in answer
        if s["stationTriplet"].endswith(":SCAN")
        and west <= float(s["longitude"]) <= east
        and south <= float(s["latitude"]) <= north
    ]
    if not rows:
        raise InputError(f"none of the {len(answer)} SCAN stations lies in {box}")
    say(f"SCAN: {len(rows)} stations")
    return pd.DataFrame(rows).sort_values("ID").reset_index(drop=True)


def _report(config: StationArchives, http: Http, triplet: str, year: int) -> str:
    url = config.scan_url
    for key, value in (("station", triplet), ("first", f"{year}-01-01"), ("last", f"{year}-12-31")):
        url = url.replace(f"{{{key}}}", value)
    return http.ask(
        url,
        what=f"SCAN report of {triplet} for {year}",
        accept=lambda answer: None if "Date," in answer.text else "an answer without a table",
    ).text


def _read_scan(path: Path) -> tuple[pd.DataFrame, int]:
    """Date and soil moisture by depth of a report, and how many values are no volumetric percent."""
    text = "\n".join(
        line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")
    )
    frame = pd.read_csv(io.StringIO(text))
    dates = pd.to_datetime(frame["Date"].astype(str).str[:10], format="%Y-%m-%d")
    found, wrong = pd.DataFrame({"Date": dates.dt.strftime("%Y%m%d").astype(np.int64)}), 0
    for name, inches in _INCHES.items():
        titles = (c for c in frame.columns if f"Soil Moisture Percent -{inches}in" in c and "pct" in c)
        column = next(titles, None)
        if column is None and name == "VWC_5":
            raise InputError(
                f"{path}: no column of soil moisture at 2 inches in percent; found {', '.join(frame.columns)}"
            )
        # A report of before other depths were asked for has the first alone.
        blank = pd.Series(np.nan, index=frame.index)
        percent = blank if column is None else pd.to_numeric(frame[column], errors="coerce")
        bad = (percent < 0) | (percent > 100)
        wrong += int(bad.sum())
        found[name] = (percent.mask(bad) / 100).round(6)
    return found, wrong
