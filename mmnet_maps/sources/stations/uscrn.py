"""NOAA U.S. Climate Reference Network, product daily01: a text file a station and year, or a zip of them.

Format: https://www.ncei.noaa.gov/pub/data/uscrn/products/daily01/readme.txt
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.dates import NO_DAY, day_of_year, from_yyyymmdd
from mmnet_maps.errors import InputError
from mmnet_maps.progress import steps
from mmnet_maps.sources.stations.evaporation import hargreaves, vapour_pressure_deficit
from mmnet_maps.sources.stations.zips import refuse_large
from mmnet_maps.variables import TARGETS, VARIABLES, Variable

__all__ = ["Uscrn", "domain_of", "read_uscrn", "uscrn_catalogue"]

_NAME = re.compile(r"CRND\d{4}-(\d{4})-([A-Z]{2})_(\S+)\.txt")
_FIELDS = 28
#: Position, in the 28 columns of a file, of what is read.
_COLUMNS = {
    "Date": 1,
    "Longitude": 3,
    "Latitude": 4,
    "tmax": 5,
    "tmin": 6,
    "pr": 9,
    "srad": 10,
    "skin_max": 12,
    "skin_min": 13,
    "skin": 14,
    "rh": 17,
    **{name: 18 + n for n, name in enumerate(TARGETS)},
}
#: Files parsed at once.
_BATCH = 64
#: Bytes of the largest file that is read: a year of a station has a tenth of it.
_LARGEST = 2**20
_MISSING = (-9999.0, -99.0)
_MJ_PER_DAY_TO_W = 1 / 0.0864
#: Soil moisture above this is taken for a broken sensor: it exceeds the porosity of mineral soils.
_WETTEST = 0.6
_WEST, _EAST = -104.0, -90.0


def _daily(name: str, unit: str, low: float, high: float, long_name: str, kind: str = "series") -> Variable:
    return Variable.from_mapping(
        {
            "name": name,
            "long_name": long_name,
            "unit": unit,
            "kind": kind,
            "cadence": "daily",
            "source": "uscrn",
            "valid_range": (low, high),
            "resolution": "station",
        }
    )


def uscrn_catalogue(*, soil_state: bool = False) -> Catalogue:
    """Catalogue of what daily01 files hold: six series of eleven days, and season and place as snapshot.

    Parameters
    ----------
    soil_state : bool
        Add what is computed from them (evapotranspiration, vapour pressure deficit, day-night range of the
        surface temperature) and every soil-state channel, with the steps of the series spread over a season.
    """
    where = tuple(v for v in VARIABLES if v.source == "place")
    target = tuple(v for v in VARIABLES if v.kind == "target")
    series: tuple[Variable, ...] = (
        _daily("tmax", "degC", -60.0, 60.0, "highest air temperature of the day"),
        _daily("tmin", "degC", -60.0, 60.0, "lowest air temperature of the day"),
        _daily("pr", "mm d-1", 0.0, 700.0, "precipitation"),
        _daily("srad", "W m-2", 0.0, 600.0, "downward short-wave radiation"),
        _daily("rh", "%", 0.0, 100.0, "mean relative humidity"),
        _daily("skin", "degC", -70.0, 80.0, "mean infrared surface temperature of the day"),
    )
    if soil_state:
        series += (
            _daily("eto", "mm d-1", 0.0, 15.0, "reference evapotranspiration by Hargreaves and Samani"),
            _daily("vpd", "kPa", 0.0, 10.0, "vapour pressure deficit"),
            _daily("skin_range", "degC", 0.0, 80.0, "highest less lowest surface temperature of the day"),
        )
    plain = Catalogue(
        variables=(*target, *series, *where),
        snapshot=("DoY_normalized", "Latitude", "Longitude"),
        series=tuple(v.name for v in series),
    )
    return plain.with_soil_state() if soil_state else plain


@dataclass(frozen=True)
class Uscrn:
    """What daily01 files hold.

    Attributes
    ----------
    weather : DataFrame
        ID, Date, tmax, tmin, skin, skin_max, skin_min, skin_range (degC), pr, eto (mm d-1), srad (W m-2),
        rh (%), vpd (kPa). Of these eto, vpd and skin_range are computed from the others of the day.
    in_situ : DataFrame
        ID, Network, Latitude, Longitude, Date, and soil moisture at five depths, VWC_5 to VWC_100 (m3 m-3):
        every day of every file, missing as NaN.
    network : DataFrame
        ID, Domain (W, M, E by longitude), State.
    files : int
        Files read.
    other_files : list of str
        Names that are not of daily01 files, left out.
    implausible : dict of str to int
        Soil moisture values below 0 or above 0.6, set to missing, by column.
    """

    weather: pd.DataFrame
    in_situ: pd.DataFrame
    network: pd.DataFrame
    files: int
    other_files: list[str]
    implausible: dict[str, int]

    @property
    def notes(self) -> dict[str, Any]:
        """What was read and what was left out."""
        return {
            "files_read": self.files,
            "files_left_out": len(self.other_files),
            "soil_moisture_implausible": sum(self.implausible.values()),
        }


def domain_of(longitude: float) -> str:
    """Domain of a place: W west of 104 W, E from 90 W on, M between."""
    return "W" if longitude < _WEST else "M" if longitude < _EAST else "E"


def read_uscrn(source: Path) -> Uscrn:
    """Read every daily01 file of a zip, or of a folder and those below it.

    Missing codes (-9999, -99) are missing; nothing is filled.

    Raises
    ------
    InputError
        There is no such zip or folder, it holds no daily01 file, or a line is not of that format (the message
        names file and line).
    """
    names, others = _members(source)
    states = _states(source, names)
    frames: list[pd.DataFrame] = []
    batch: list[tuple[str, bytes]] = []
    with steps("USCRN files", len(names)) as advance:
        for number, (name, data) in enumerate(_contents(source, names), 1):
            batch.append((name, data if data.endswith(b"\n") else data + b"\n"))
            if len(batch) == _BATCH or number == len(names):
                frames.append(_read_batch(source, batch))
                advance(len(batch))
                batch = []
    frame = pd.concat(frames, ignore_index=True)
    if frame.empty:
        raise InputError(f"{source}: every file is empty")
    return _split(frame, states, len(names), others)


def _station(name: str) -> tuple[str, str]:
    """Station id and state of a file."""
    match = _NAME.fullmatch(PurePosixPath(name).name)
    assert match is not None
    return f"USCRN_{match[3]}", match[2]


def _states(source: Path, names: list[str]) -> dict[str, str]:
    states: dict[str, str] = {}
    for station, state in map(_station, names):
        if states.setdefault(station, state) != state:
            raise InputError(f"{source}: two stations are named {station}, in {states[station]} and {state}")
    return states


def _members(source: Path) -> tuple[list[str], list[str]]:
    """Names of the daily01 files in order of year and station, and the other names."""
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
        names = [info.filename for info in infos]
        for info in infos:
            if _NAME.fullmatch(PurePosixPath(info.filename).name):
                refuse_large(f"{source}: {info.filename}", info.file_size, _LARGEST)
    elif source.is_dir():
        names = [str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()]
    else:
        found = "a file that is not a zip" if source.exists() else "nothing"
        raise InputError(f"{source}: expected a zip or folder of USCRN daily01 files, found {found}")
    ours = sorted(name for name in names if _NAME.fullmatch(PurePosixPath(name).name))
    if not ours:
        raise InputError(f"{source}: no file CRND0103-YYYY-ST_Name.txt in it, of {len(names)} files")
    base = [PurePosixPath(name).name for name in ours]
    twice = (
        next((name for i, name in enumerate(base) if name in base[:i]), None)
        if len(set(base)) < len(base)
        else None
    )
    if twice:
        raise InputError(f"{source}: the file {twice} is in it twice")
    return ours, sorted(set(names) - set(ours))


def _contents(source: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for name in names:
            refuse_large(source / name, (source / name).stat().st_size, _LARGEST)
            yield name, (source / name).read_bytes()
        return
    with zipfile.ZipFile(source) as archive:
        for name in names:
            try:
                yield name, archive.read(name)
            except zipfile.BadZipFile as error:
                raise InputError(f"{source}: {name} is damaged: {error}") from None


def _read_batch(source: Path, batch: list[tuple[str, bytes]]) -> pd.DataFrame:
    """Parse several files at once, which is faster; a single one names the line that is wrong."""
    frame = _parse(b"".join(data for _, data in batch))
    if frame is None:
        for name, data in batch:
            if _parse(data) is None:
                number, line = _bad_line(data)
                raise InputError(
                    f"{source}: {name}: line {number} is not of the daily01 format, "
                    f"{_FIELDS} columns with a date YYYYMMDD in the second: {line[:60]!r}"
                )
        raise InputError(f"{source}: {batch[0][0]} and the files after it are not of the daily01 format")
    lines = [sum(1 for line in data.splitlines() if line.strip()) for _, data in batch]
    ids = [_station(name)[0] for name, _ in batch]
    return frame.assign(ID=np.repeat(np.array(ids, dtype=object), lines))


def _parse(data: bytes) -> pd.DataFrame | None:
    """The columns of `_COLUMNS`, or None if a line is not of the format."""
    order = sorted(_COLUMNS, key=_COLUMNS.__getitem__)
    if not data.strip():
        return pd.DataFrame(
            {name: np.empty(0, dtype=np.int64 if name == "Date" else float) for name in order}
        )
    try:
        frame = pd.read_csv(
            io.BytesIO(data),
            sep=r"\s+",
            header=None,
            names=list(range(_FIELDS)),
            usecols=[_COLUMNS[name] for name in order],
            dtype={_COLUMNS[name]: np.int64 if name == "Date" else np.float64 for name in order},
            engine="c",
            index_col=False,
        )
    except (ValueError, OverflowError):
        return None
    frame.columns = pd.Index(order)
    # A value that is missing has a code: nothing there means that the line is too short.
    good = (from_yyyymmdd(frame["Date"].to_numpy()) != NO_DAY) & frame[order[-1]].notna().to_numpy()
    return frame if good.all() else None


def _bad_line(data: bytes) -> tuple[int, str]:
    """The first line that is not of the format, and its number."""
    lines = data.decode("ascii", "replace").splitlines()
    for number, line in enumerate(lines, 1):
        if line.strip() and _parse(line.encode()) is None:
            return number, line
    return 1, lines[0]


def _split(frame: pd.DataFrame, states: dict[str, str], files: int, others: list[str]) -> Uscrn:
    values = [name for name in _COLUMNS if name not in ("Date", "Longitude", "Latitude")]
    frame[values] = frame[values].where(~frame[values].isin(_MISSING))
    frame["srad"] *= _MJ_PER_DAY_TO_W
    depths, implausible = list(TARGETS), dict[str, int]()
    for name in depths:
        wrong = (frame[name] < 0) | (frame[name] > _WETTEST)
        implausible[name] = int(wrong.sum())
        frame[name] = frame[name].mask(wrong)
    # A station that moved a little has several positions: the latest stands for all its days.
    last = frame.sort_values("Date", kind="stable").groupby("ID")[["Latitude", "Longitude"]].last()
    ids = frame["ID"].astype("category")
    in_situ = pd.DataFrame(
        {
            "ID": frame["ID"],
            "Network": "USCRN",
            "Latitude": frame["ID"].map(last["Latitude"]),
            "Longitude": frame["ID"].map(last["Longitude"]),
            "Date": frame["Date"],
            **{name: frame[name] for name in depths},
        }
    )
    weather = frame[["Date", *(n for n in values if n not in depths)]].assign(
        ID=ids,
        skin_range=frame["skin_max"] - frame["skin_min"],
        vpd=vapour_pressure_deficit(*(frame[n].to_numpy() for n in ("tmax", "tmin", "rh"))),
        eto=hargreaves(
            frame["tmax"].to_numpy(),
            frame["tmin"].to_numpy(),
            in_situ["Latitude"].to_numpy(dtype=np.float64),
            day_of_year(from_yyyymmdd(frame["Date"].to_numpy())),
        ),
    )
    network = pd.DataFrame(
        {
            "ID": last.index.astype(str),
            "Domain": [domain_of(x) for x in last["Longitude"]],
            "State": [states[name] for name in last.index],
        }
    )
    return Uscrn(weather, in_situ, network, files, others, implausible)
