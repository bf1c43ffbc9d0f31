"""International Soil Moisture Network archives to daily ground truth, through the `ismn` package.

Both layouts of the network (header + values, CEOP separate files) are read, zipped or not.
"""

from __future__ import annotations

import contextlib
import io
import re
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mmnet_maps.dates import to_yyyymmdd
from mmnet_maps.errors import InputError, needs_extra
from mmnet_maps.progress import steps
from mmnet_maps.sources.stations.in_situ import station_names
from mmnet_maps.sources.stations.zips import refuse_large_members
from mmnet_maps.variables import TARGETS, target_named

__all__ = ["Ismn", "IsmnReport", "read_ismn", "refuse_unsafe_zip"]

_DRIVE = re.compile(r"[A-Za-z]:")
_KEYS = ("ID", "Network", "Latitude", "Longitude", "Date")
#: Sensors that lie wholly within this depth, in metres, stand for the surface.
_SURFACE = (0.0, 0.06)
#: What ismn raises at files that it cannot make sense of.
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, IndexError, zipfile.BadZipFile, zlib.error)
_NS_PER_HOUR, _NS_PER_DAY = 3_600_000_000_000, 86_400_000_000_000


@dataclass
class IsmnReport:
    """What was read and what was left out.

    Attributes
    ----------
    sensors : int
        Sensors of soil moisture within the depth window.
    other_sensors : int
        Sensors of other variables or depths, left out.
    stations, days : int
        Stations and station-days of the result.
    hours : int
        Values read.
    not_good : int
        Values left out because of their quality flag.
    flags : dict of str to int
        How often each flag was found.
    impossible : int
        Values flagged good but missing, below 0 or above 1, left out.
    short_days : int
        Sensor-days left out because too few hours had a good value.
    sensors_without_days : list of str
        Files of which no day is left.
    unreadable : dict of str to str
        Files that could not be read, with the reason.
    averaged_days : int
        Station-days that are means over several sensors.
    """

    sensors: int = 0
    other_sensors: int = 0
    stations: int = 0
    days: int = 0
    hours: int = 0
    not_good: int = 0
    impossible: int = 0
    short_days: int = 0
    averaged_days: int = 0
    flags: dict[str, int] = field(default_factory=dict)
    sensors_without_days: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    def text(self) -> str:
        """A few lines for a reader."""
        lines = [
            f"{self.days} days of {self.stations} stations, from {self.sensors} sensors, {self.hours} values",
            f"left out: {self.other_sensors} sensors of another variable or depth",
            f"left out: {self.not_good} values for their quality flag (found {_most(self.flags)})",
            f"left out: {self.impossible} values of a good flag, but missing or outside 0-1",
            f"left out: {self.short_days} days of a sensor with too few good hours",
            f"averaged: {self.averaged_days} days over several sensors of a station",
        ]
        lines += [f"no day left: {name}" for name in self.sensors_without_days]
        lines += [f"not readable: {name} ({why})" for name, why in self.unreadable.items()]
        return "\n".join(lines)


class Ismn(NamedTuple):
    """What an archive holds.

    Attributes
    ----------
    in_situ : DataFrame
        ID (``{network}_{station}``), Network, Latitude, Longitude, Date (YYYYMMDD), and the target, such as
        VWC_5 (m3 m-3), sorted by ID and Date. Several sensors of a station are averaged.
    report : IsmnReport
    """

    in_situ: pd.DataFrame
    report: IsmnReport

    @property
    def notes(self) -> dict[str, Any]:
        """What was read and what was left out."""
        return self.report.to_dict()


def read_ismn(
    archive: Path,
    depth: tuple[float, float] | None = None,
    min_hours: int = 6,
    *,
    flags: Sequence[str] = ("G",),
    all_days: bool = False,
    target: str = "VWC_5",
) -> Ismn:
    """Daily means (UTC) of the good soil moisture values of an archive.

    Parameters
    ----------
    archive : Path
        Zip as downloaded, or the folder that it was extracted to.
    depth : (float, float), optional
        In metres: sensors that lie wholly within it are used. By default 0 to 0.06 for ``VWC_5``, and 0.8
        to 1.2 times the depth that another target is named after.
    min_hours : int
        Least number of different hours with a good value for a day to count.
    flags : sequence of str
        Quality flags that are accepted. G is good; old archives have U, not flagged, in its place.
    all_days : bool
        Also the other days between a station's first and last, without a value.
    target : str
        Name of the column: one of `mmnet_maps.variables.TARGETS`.

    Returns
    -------
    Ismn

    Raises
    ------
    InputError
        There is no archive, it is unsafe or holds no such sensor, no day is left, or `depth` is not that of
        the target.
    """
    low, high = depth = depth or _window_of(target)
    if not (0 <= low <= high) or not 1 <= min_hours <= 24:
        raise InputError(
            f"depth {low} {high} m, {min_hours} hours: expected 0 <= from <= to and 1 to 24 hours"
        )
    _refuse_other_depth(depth, target)
    _refuse_no_archive(archive)
    if archive.is_dir():
        archive = _root_of(archive)
    report = IsmnReport()
    parts: list[pd.DataFrame] = []
    with tempfile.TemporaryDirectory(prefix="mmnet-ismn-") as folder:
        collection, sensors = _open(archive, Path(folder), depth, report)
        with steps("ISMN sensors", len(sensors)) as advance:
            for number, name in sensors.items():
                days = _read_sensor(collection, number, name, min_hours, frozenset(flags), report)
                if days is not None:
                    parts.append(days)
                advance()
    if not parts:
        raise InputError(
            f"{archive}: no day is left: of {report.hours} values {report.not_good} are not flagged "
            f"{' or '.join(flags)} (found {_most(report.flags)}), {report.impossible} are impossible, "
            f"{report.short_days} days are too short; --flag accepts other flags"
        )
    frame = _mean_of_sensors(pd.concat(parts, ignore_index=True), report)
    if all_days:
        frame = _with_all_days(frame)
    report.stations, report.days = frame["ID"].nunique(), int(frame["value"].notna().sum())
    return Ismn(frame.rename(columns={"value": target}), report)


def refuse_unsafe_zip(archive: Path) -> None:
    """Refuse a zip of which a member would be written outside the folder that it is extracted to.

    Raises
    ------
    InputError
        A member's name is absolute, has a drive or climbs with ``..``, is a symbolic link or too large.
    """
    with zipfile.ZipFile(archive) as content:
        refuse_large_members(archive, content)
        for info in content.infolist():
            # `filename` has been cleaned; what is judged is the name as it stands in the zip.
            path = PurePosixPath(info.orig_filename.replace("\\", "/"))
            climbs = path.is_absolute() or ".." in path.parts or _DRIVE.match(str(path)) is not None
            if climbs or stat.S_ISLNK(info.external_attr >> 16):
                raise InputError(f"{archive}: refused, its member {info.orig_filename!r} leaves the folder")


def _window_of(target: str) -> tuple[float, float]:
    """Depths, in metres, between which sensors stand for a target."""
    top, bottom = _depth_of(target)
    middle = (top + bottom) / 2
    return _SURFACE if top == 0 else (round(0.8 * middle, 6), round(1.2 * middle, 6))


def _depth_of(target: str) -> tuple[float, float]:
    depth = target_named(target).depth
    assert depth is not None
    return depth


def _refuse_other_depth(depth: tuple[float, float], target: str) -> None:
    """Sensors of another depth must not be labelled as the target."""
    top, bottom = _depth_of(target)
    if depth[1] < top or depth[0] > bottom:
        names = [
            name for name in TARGETS if depth[1] >= _depth_of(name)[0] and depth[0] <= _depth_of(name)[1]
        ]
        known = f"; that of {' or '.join(names)}" if names else ""
        raise InputError(
            f"--depth {depth[0]:g} {depth[1]:g} is not the depth of {target}, {top:g} to {bottom:g} m{known}"
        )


def _most(flags: dict[str, int]) -> str:
    often = sorted(flags.items(), key=lambda item: -item[1])[:4]
    return ", ".join(f"{flag} {count}" for flag, count in often) or "none"


def _refuse_no_archive(archive: Path) -> None:
    if archive.is_dir():
        if next(archive.rglob("*.stm"), None) is None:
            raise InputError(f"{archive}: no .stm file in the folder; expected an ISMN archive")
        return
    if not archive.is_file() or not zipfile.is_zipfile(archive):
        found = "a file that is not a zip" if archive.is_file() else "nothing"
        raise InputError(f"{archive}: expected an ISMN zip or folder, found {found}")
    refuse_unsafe_zip(archive)
    with zipfile.ZipFile(archive) as content:
        if not any(name.endswith(".stm") for name in content.namelist()):
            raise InputError(f"{archive}: no .stm file in the zip; expected an ISMN archive")


def _root_of(folder: Path) -> Path:
    """The folder of the network folders: files lie in root/network/station.

    Unzipping often puts a folder of its own around them, which ismn does not look into.
    """
    roots = sorted({path.absolute().parents[2] for path in folder.rglob("*.stm")})
    if len(roots) > 1:
        raise InputError(
            f"{folder}: holds {len(roots)} archives, {roots[0].name} and {roots[1].name} among them, or "
            "files that do not lie in NETWORK/STATION/; expected one archive at a time"
        )
    if folder.absolute() != roots[0] and folder.absolute() not in roots[0].parents:
        raise InputError(f"{folder}: is a part of an archive; expected the folder around it, {roots[0]}")
    return roots[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what ismn prints off standard output, which ``--json`` needs, and its bars off the terminal."""
    with needs_extra("stations", "reading ISMN archives"):
        import ismn.const

    level = ismn.const.ismnlog.level
    ismn.const.ismnlog.setLevel("CRITICAL")
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        ismn.const.ismnlog.setLevel(level)


def _open(
    archive: Path, folder: Path, depth: tuple[float, float], report: IsmnReport
) -> tuple[Any, dict[int, PurePosixPath]]:
    """The archive, and its sensors of soil moisture in the depth window by their number in it."""
    with needs_extra("stations", "reading ISMN archives"):
        from ismn.interface import ISMN_Interface
    with _quiet():
        try:
            collection = ISMN_Interface(
                archive, meta_path=str(folder / "meta"), temp_root=str(folder / "temp"), parallel=False
            )
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            IndexError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(
                f"{archive}: ismn finds no sensor in its .stm files ({reason}); expected "
                "NETWORK/STATION/*.stm as downloaded"
            ) from None
        chosen = collection.get_dataset_ids("soil_moisture", min_depth=depth[0], max_depth=depth[1])
    files = [PurePosixPath(str(name)) for name in collection.metadata["file_path", "val"]]
    # A folder around the network folders makes ismn list every file twice.
    first = {path: number for number, path in reversed(list(enumerate(files)))}
    sensors = {number: files[number] for number in chosen if first[files[number]] == number}
    report.sensors, report.other_sensors = len(sensors), len(first) - len(sensors)
    known = {path.name for path in first}
    for path in _stm_files(archive):
        if path.name not in known:
            report.unreadable[str(path)] = "ismn found no metadata in it"
    if not sensors:
        raise InputError(
            f"{archive}: no soil moisture sensor between {depth[0]:g} and {depth[1]:g} m among {len(first)}"
        )
    return collection, sensors


def _stm_files(archive: Path) -> list[PurePosixPath]:
    if archive.is_dir():
        return sorted(PurePosixPath(path.relative_to(archive)) for path in archive.rglob("*.stm"))
    with zipfile.ZipFile(archive) as content:
        return sorted(PurePosixPath(name) for name in content.namelist() if name.endswith(".stm"))


def _read_sensor(
    collection: Any,
    number: int,
    path: PurePosixPath,
    min_hours: int,
    accepted: frozenset[str],
    report: IsmnReport,
) -> pd.DataFrame | None:
    """Daily means of one sensor."""
    try:
        with _quiet():
            series, meta = collection.read(number, return_meta=True)
        values = series["soil_moisture"].to_numpy(dtype=np.float64)
        flags = series["soil_moisture_flag"].astype(str).str.strip()
        stamps = series.index.to_numpy().astype("datetime64[ns]").astype(np.int64)
    except _UNREADABLE as error:
        report.unreadable[str(path)] = " ".join(str(error).split())[:200]
        return None
    good = flags.isin(accepted).to_numpy()
    for flag, count in flags.value_counts().items():
        report.flags[str(flag)] = report.flags.get(str(flag), 0) + int(count)
    possible = (values >= 0) & (values <= 1)
    report.hours += len(values)
    report.not_good += int((~good).sum())
    report.impossible += int((good & ~possible).sum())
    day, mean = _daily_means(stamps[good & possible], values[good & possible], min_hours, report)
    if not day.size:
        report.sensors_without_days.append(str(path))
        return None
    # The folder names the network: ismn takes the topmost one, which is the archive's own if there is one.
    network = path.parts[-3] if len(path.parts) >= 3 else str(meta["network", "val"])
    ids = station_names(pd.Series([f"{network}_{meta['station', 'val']}"]), pd.Series([network]))
    return pd.DataFrame(
        {
            "ID": ids[0],
            "Network": network,
            "Latitude": float(meta["latitude", "val"]),
            "Longitude": float(meta["longitude", "val"]),
            "Date": to_yyyymmdd(day),
            "value": mean,
        }
    )


def _daily_means(
    stamps: np.ndarray[Any, np.dtype[np.int64]],
    values: np.ndarray[Any, np.dtype[np.float64]],
    min_hours: int,
    report: IsmnReport,
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.float64]]]:
    """Days since 1970-01-01 with enough different hours, and their means."""
    day, index = np.unique(stamps // _NS_PER_DAY, return_inverse=True)
    count = np.bincount(index, minlength=day.size)
    hours = np.unique(stamps // _NS_PER_HOUR) // (_NS_PER_DAY // _NS_PER_HOUR)
    enough = np.bincount(np.searchsorted(day, hours), minlength=day.size) >= min_hours
    report.short_days += int((~enough).sum())
    total = np.bincount(index, weights=values, minlength=day.size)
    return day[enough], total[enough] / count[enough]


def _mean_of_sensors(frame: pd.DataFrame, report: IsmnReport) -> pd.DataFrame:
    groups = frame.groupby(["ID", "Date"], as_index=False, sort=True)
    how = {"Network": "first", "Latitude": "first", "Longitude": "first", "value": "mean"}
    report.averaged_days = int((groups.size()["size"] > 1).sum())
    return groups.agg(how)[[*_KEYS, "value"]]


def _with_all_days(frame: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for _, station in frame.groupby("ID", sort=True):
        dates = pd.to_datetime(station["Date"].astype(str))
        whole = pd.date_range(dates.iloc[0], dates.iloc[-1], freq="D").strftime("%Y%m%d").astype(np.int64)
        filled = station.set_index("Date").reindex(pd.Index(whole, name="Date"))
        fixed = ["ID", "Network", "Latitude", "Longitude"]
        filled[fixed] = filled[fixed].ffill()
        parts.append(filled.reset_index())
    return pd.concat(parts, ignore_index=True)[[*_KEYS, "value"]]
