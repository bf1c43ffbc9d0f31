"""Which files belong to a source, and the dates that their names carry."""

from __future__ import annotations

import datetime as dt
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

import regex

from mmnet_maps.dates import to_day
from mmnet_maps.errors import InputError
from mmnet_maps.source_reader import SourceConfig
from mmnet_maps.store.location import Location, Remote, location

__all__ = ["Found", "find_files", "listed", "raster_in", "reader_of", "refuse_other_band", "unread"]

_ENDINGS = {
    "geotiff": (".tif", ".tiff", ".vrt", ".img", ".zip"),
    "netcdf": (".nc", ".nc4", ".cdf"),
    "hdf5": (".h5", ".hdf5", ".he5"),
    "mod11a1": (".hdf",),
}
#: Dates in names, the more exact first; a year alone must stand between separators.
_DATES = (
    (re.compile(r"(?<!\d)(\d{4}[-_]\d{2}[-_]\d{2})(?!\d)"), "%Y-%m-%d"),
    # As AppEEARS names files: the day of the year, and the time since 2024.
    (re.compile(r"doy((?:19|20)\d{5})(?:\d{6})?(?=\D|$)"), "%Y%j"),
    (re.compile(r"(?<!\d)((?:19|20)\d{6})(?=\D|$)"), "%Y%m%d"),
    (re.compile(r"(?<!\d)((?:19|20)\d{5})(?=\D|$)"), "%Y%j"),
    (re.compile(r"(?<!\d)((?:19|20)\d{2})(?!\d)"), "%Y"),
)
#: For yearly maps: the edition stands before the date of its release (NLCD_2016_Land_Cover_L48_20210604).
_YEARS = (_DATES[-1], *_DATES[:-1])
#: Other rasters, and packed ones, which no reader takes: folders that hold them say so.
_OTHERS = (".jp2", ".grib", ".grib2", ".grb", ".grb2", ".asc", ".bil", ".flt", ".gz", ".tar", ".tgz", ".7z")
#: Characters of the longest pattern, and seconds that one name may take: some patterns never come to an end.
_LONGEST_PATTERN, _PATIENCE_S = 1_000, 1.0
_FORMATS = {4: "%Y", 7: "%Y%j", 8: "%Y%m%d", 10: "%Y-%m-%d"}
#: What a browser or a drive makes of a second file of one name.
_COPY = re.compile(r"(.+?) ?\(\d+\)(\.\w+)")

#: Band of each variable in HLS v2.0, which the two sensors number differently.
_HLS = re.compile(r"HLS\.([LS]30)\.T\w{5}\.\d{7}T\d{6}\.v\d\.\d\.(\w+)\.tif")
_COLOURS = {"Blue": "B02", "Green": "B03", "Red": "B04"}
_HLS_BANDS = {
    "L30": _COLOURS | {"NIR": "B05", "SWIR1": "B06", "SWIR2": "B07"},
    "S30": _COLOURS | {"NIR": "B8A", "SWIR1": "B11", "SWIR2": "B12"},
}


@dataclass(frozen=True)
class Found:
    """A file of a source.

    Attributes
    ----------
    path : Path or Remote
    key : str
        Its name without the part that names the variable: files of one scene share it.
    day : int, optional
        Days since 1970-01-01, from the name or the configuration; None if neither says.
    """

    path: Location
    key: str
    day: int | None


def reader_of(path: Location) -> str:
    """The reader for a file, by its ending; `InputError` if none is known."""
    for name, endings in _ENDINGS.items():
        if path.suffix.lower() in endings:
            return name
    known = ", ".join(e for endings in _ENDINGS.values() for e in endings)
    raise InputError(f"{path}: no reader for {path.suffix or 'a file without an ending'}; known are {known}")


def find_files(
    config: SourceConfig,
    paths: str | tuple[str, ...],
    pattern: str | None,
    token: str,
    base: Path,
    where: str,
    dated: bool = True,
    *,
    collection: str | None = None,
    yearly: bool = False,
    may_lack: bool = False,
) -> list[Found]:
    """Files of one variable (or mask), sorted by name.

    Parameters
    ----------
    config : SourceConfig
        For the dates, and whether there are any.
    paths : str or tuple of str
        Files and folders, relative to `base`.
    pattern : str, optional
        Regular expression for names, with ``{variable}`` and ``{collection}``.
    token : str
        What ``{variable}`` stands for.
    base : Path
    where : str
        What to call the key in messages.
    dated : bool
        Whether names are searched for a date.
    collection : str, optional
        What ``{collection}`` stands for.
    yearly : bool
        Whether the date is the year of an edition.
    may_lack : bool
        Whether there need be no file.

    Raises
    ------
    InputError
        A path is missing, nothing matches, or a name holds a date that does not exist.
    """
    named = _compile(pattern, token, collection, where)
    found = []
    for root in (paths,) if isinstance(paths, str) else paths:
        for path in listed(location(root, base), config.reader, where):
            match = None if named is None else _search(named, path, where)
            if named is not None and match is None:
                continue
            day = _day(path, match, config, yearly) if dated else None
            found.append(Found(path, _key(path, match), day))
    if not found and not may_lack:
        shown = (pattern or "").replace("{variable}", token).replace("{collection}", collection or "")
        asked = "no raster" if pattern is None else f"no file matches {shown}"
        raise InputError(f"{where}: {asked} in {paths}; expected at least one")
    return sorted(found, key=lambda f: (f.path.name, str(f.path)))


def refuse_other_band(path: Location, variable: str) -> None:
    """`InputError` for a file of HLS whose band, as its sensor numbers them, is not the variable."""
    name = _HLS.fullmatch(path.name)
    expected = name and _HLS_BANDS[name[1]].get(variable)
    if name and expected and name[2] != expected and name[2].startswith("B"):
        raise InputError(
            f"{path}: {name[2]} of {name[1]} is not {variable}, which is {expected}; expected the bands of "
            f"each sensor: `collections: {{L30: {{{variable}: {_HLS_BANDS['L30'][variable]}}}, "
            f"S30: {{{variable}: {_HLS_BANDS['S30'][variable]}}}}}` and {{collection}} in `pattern:`"
        )


def _search(named: regex.Pattern[str], path: Location, where: str) -> regex.Match[str] | None:
    try:
        return named.search(path.name, timeout=_PATIENCE_S)
    except TimeoutError:
        raise InputError(
            f"{where}: pattern {named.pattern} does not come to an end at {path.name}; expected one without "
            "repetitions of repetitions, such as (a+)+"
        ) from None


def _compile(
    pattern: str | None, token: str, collection: str | None, where: str
) -> regex.Pattern[str] | None:
    if collection is not None and "{collection}" not in (pattern or ""):
        raise InputError(f"{where}.collections: needs a pattern with {{collection}}, found {pattern}")
    if pattern is None:
        return None
    if len(pattern) > _LONGEST_PATTERN:
        raise InputError(
            f"{where}: the pattern has {len(pattern):,} characters, expected at most {_LONGEST_PATTERN:,}"
        )
    text = pattern.replace("{variable}", f"(?P<variable>{re.escape(token)})", 1)
    text = text.replace("{variable}", re.escape(token))
    text = text.replace("{collection}", re.escape(collection or "{collection}"))
    try:
        return regex.compile(text)
    except (regex.error, OverflowError, RecursionError) as error:
        raise InputError(f"{where}: pattern {pattern} is not a regular expression: {error}") from None


def listed(root: Location, reader: str, where: str) -> Iterator[Location]:
    """Rasters of a folder by name, or a file itself; a second copy of a file is left out.

    Raises
    ------
    InputError
        There is no such file or folder, or two files of one name differ.
    """
    if root.is_file():
        yield root
        return
    if isinstance(root, Remote) and root.root.startswith("http"):
        raise InputError(
            f"{where}: {root}: nothing is there, or it is a folder, which a web server does not list: "
            "expected the address of each file (path: [ADDRESS, ...])"
        )
    if not root.is_dir():
        raise InputError(f"{where}: {root}: no such file or folder")
    endings = _ENDINGS.get(reader, tuple(e for group in _ENDINGS.values() for e in group))
    inside: list[Location] = sorted(root.iterdir())
    for path in inside:
        if path.suffix.lower() not in endings or path.name.startswith("."):
            continue
        if isinstance(path, Remote) or path.is_file():  # an object is one without a question for each
            copy = _COPY.fullmatch(path.name)
            first = copy and path.with_name(copy[1] + copy[2])
            if not first or not first.is_file():
                yield path
            elif first.stat().st_size != path.stat().st_size:
                raise InputError(f"{path}: another file than {first.name}, by its size; expected one of them")


def raster_in(path: Path) -> str:
    """Name of the one raster in a zip; `InputError` if it holds none or several."""
    try:
        with zipfile.ZipFile(path) as packed:
            names = [n for n in packed.namelist() if n.lower().endswith((".tif", ".tiff", ".img"))]
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: cannot be read as a zip: {error}") from None
    if len(names) != 1:
        raise InputError(f"{path}: holds {len(names)} rasters; expected one: unpack it")
    return names[0]


def unread(folders: Iterable[Location], used: Set[Location]) -> Iterator[str]:
    """A line a folder that holds rasters which no source read."""
    endings = (*(e for group in _ENDINGS.values() for e in group), *_OTHERS)
    known = {_one_name(path) for path in used}
    for folder in dict.fromkeys(folders):
        if folder.root.startswith("http") if isinstance(folder, Remote) else not folder.is_dir():
            continue  # a web server lists no folder
        rasters = (p for p in folder.iterdir() if p.suffix.lower() in endings)
        left = sorted(path.name for path in rasters if _one_name(path) not in known)
        if left:
            more = f" and {len(left) - 5} more" if len(left) > 5 else ""
            yield f"{folder}: not read: {', '.join(left[:5])}{more}"


def _one_name(path: Location) -> str:
    """The name of a file whatever links lead to it; of a link in a loop, its own."""
    return str(path) if isinstance(path, Remote) else os.path.realpath(path)


def _key(path: Location, match: regex.Match[str] | None) -> str:
    if match is None or "variable" not in match.groupdict():
        return str(path)
    start, end = match.span("variable")
    return f"{path.parent}/{path.name[:start]}*{path.name[end:]}"


def _day(path: Location, match: regex.Match[str] | None, config: SourceConfig, yearly: bool) -> int | None:
    if config.date is not None:
        return to_day(config.date)
    text, form = "", config.date_format
    if match is not None and match.groupdict().get("date"):
        text = match.group("date").replace("_", "-")
        form = form or _FORMATS.get(len(text))
        if form is None:
            raise InputError(
                f"{path}: {text} is no date; expected YYYYMMDD, YYYYDDD or YYYY: give `date_format:`"
            )
    else:
        for known, style in _YEARS if yearly else _DATES:
            if (hit := known.search(path.stem)) is not None:
                text, form = hit.group(1).replace("_", "-"), style
                break
    if not text or form is None:
        return None
    try:
        return to_day(dt.datetime.strptime(text, form).date())
    except ValueError as error:
        reason = str(error) if isinstance(error, InputError) else f"{text} is not a date of the form {form}"
        raise InputError(f"{path}: {reason}; give `pattern:` with (?P<date>...) or `date_format:`") from None
