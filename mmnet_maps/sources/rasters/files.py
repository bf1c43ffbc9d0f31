"""Which files belong to a source, and the dates that their names carry."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmnet_maps.dates import to_day
from mmnet_maps.errors import InputError
from mmnet_maps.source_reader import SourceConfig

__all__ = ["Found", "find_files", "reader_of"]

_ENDINGS = {
    "geotiff": (".tif", ".tiff", ".vrt", ".img"),
    "netcdf": (".nc", ".nc4", ".cdf"),
    "hdf5": (".h5", ".hdf5", ".he5"),
    "mod11a1": (".hdf",),
}
#: Dates in names, the more exact first; a year alone must stand between separators.
_DATES = (
    (re.compile(r"(?<!\d)(\d{4}[-_]\d{2}[-_]\d{2})(?!\d)"), "%Y-%m-%d"),
    (re.compile(r"(?<!\d)((?:19|20)\d{6})(?=\D|$)"), "%Y%m%d"),
    (re.compile(r"(?<!\d)((?:19|20)\d{5})(?=\D|$)"), "%Y%j"),
    (re.compile(r"(?<!\d)((?:19|20)\d{2})(?!\d)"), "%Y"),
)
_FORMATS = {4: "%Y", 7: "%Y%j", 8: "%Y%m%d", 10: "%Y-%m-%d"}


@dataclass(frozen=True)
class Found:
    """A file of a source.

    Attributes
    ----------
    path : Path
    key : str
        Its name without the part that names the variable: files of one scene share it.
    day : int, optional
        Days since 1970-01-01, from the name or the configuration; None if neither says.
    """

    path: Path
    key: str
    day: int | None


def reader_of(path: Path) -> str:
    """The reader for a file, by its ending; `InputError` if none is known."""
    for name, endings in _ENDINGS.items():
        if path.suffix.lower() in endings:
            return name
    known = ", ".join(e for endings in _ENDINGS.values() for e in endings)
    raise InputError(f"{path}: no reader for {path.suffix or 'a file without an ending'}; known are {known}")


def find_files(
    config: SourceConfig,
    places: str | tuple[str, ...],
    pattern: str | None,
    token: str,
    base: Path,
    where: str,
    dated: bool = True,
) -> list[Found]:
    """Files of one variable (or mask), sorted by name.

    Parameters
    ----------
    config : SourceConfig
        For the dates, and whether there are any.
    places : str or tuple of str
        Files and folders, relative to `base`.
    pattern : str, optional
        Regular expression for names, with ``{variable}``.
    token : str
        What ``{variable}`` stands for.
    base : Path
    where : str
        What to call the key in messages.
    dated : bool
        Whether names are searched for a date.

    Raises
    ------
    InputError
        A place is missing, nothing matches, or a name holds a date that does not exist.
    """
    named = _compile(pattern, token, where)
    found = []
    for place in (places,) if isinstance(places, str) else places:
        for path in _listed(base / place, config, where):
            match = None if named is None else named.search(path.name)
            if named is not None and match is None:
                continue
            found.append(Found(path, _key(path, match), _day(path, match, config) if dated else None))
    if not found:
        asked = "no raster" if pattern is None else f"no file matches {pattern.replace('{variable}', token)}"
        raise InputError(f"{where}: {asked} in {places}; expected at least one")
    return sorted(found, key=lambda f: (f.path.name, str(f.path)))


def _compile(pattern: str | None, token: str, where: str) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    text = pattern.replace("{variable}", f"(?P<variable>{re.escape(token)})", 1)
    text = text.replace("{variable}", re.escape(token))
    try:
        return re.compile(text)
    except re.error as error:
        raise InputError(f"{where}: pattern {pattern} is not a regular expression: {error}") from None


def _listed(place: Path, config: SourceConfig, where: str) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    if not place.is_dir():
        raise InputError(f"{where}: {place}: no such file or folder")
    endings = _ENDINGS.get(config.reader, tuple(e for group in _ENDINGS.values() for e in group))
    for path in sorted(place.iterdir()):
        if path.is_file() and path.suffix.lower() in endings and not path.name.startswith("."):
            yield path


def _key(path: Path, match: re.Match[str] | None) -> str:
    if match is None or "variable" not in match.groupdict():
        return str(path)
    start, end = match.span("variable")
    return f"{path.parent}/{path.name[:start]}*{path.name[end:]}"


def _day(path: Path, match: re.Match[str] | None, config: SourceConfig) -> int | None:
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
        for known, style in _DATES:
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
