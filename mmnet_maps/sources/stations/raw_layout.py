"""The raw CSV layout of the published exports: which file, which columns, which dates where."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmnet_maps.errors import InputError
from mmnet_maps.variables import VARIABLES

__all__ = [
    "LAYOUTS",
    "NO_GEOMETRY",
    "PLACE",
    "Layout",
    "file_columns",
    "layout_of",
    "sorted_rows",
    "write_csv",
]

#: Columns that say which station a row is of.
PLACE = ("ID", "Latitude", "Longitude", "Network")
#: What Earth Engine writes for a feature without geometry.
NO_GEOMETRY = json.dumps({"type": "MultiPoint", "coordinates": []}, separators=(",", ":"))
_DATE = re.compile(r"(\d{8})|(\d{4})_(\d{2})_(\d{2})")
#: Where a date stands in ``system:index``; merged collections put their numbers in front of it.
_FIRST = "^(?:[0-9]{1,3}_)*(?P<date>[0-9]{8})_"
_DASHED = "^(?:[0-9]{1,3}_)*(?P<year>[0-9]{4})_(?P<month>[0-9]{2})_(?P<day>[0-9]{2})_"
_SECOND = "^(?:[0-9]{1,3}_)*[A-Za-z][^_]*_(?P<date>[0-9]{8})"
_FIFTH = "^(?:[0-9]{1,3}_)*[A-Za-z][^_]*_(?:[^_]*_){3}(?P<date>[0-9]{8})"


@dataclass(frozen=True)
class Layout:
    """One kind of file.

    Attributes
    ----------
    file : str
        Its name; ``{year}`` and ``{part}`` are filled in.
    columns : dict of str to str
        Column of each catalogue variable.
    also : tuple of str
        Columns of bands that the catalogue does not have.
    day : str, optional
        How ``system:index`` begins, as an Earth Engine date format; None where it is the scene's own.
    wide : bool
        A column a day instead of a row.
    date : str
        Regular expression of the date in ``system:index``; empty where rows have none.
    """

    file: str
    columns: dict[str, str]
    also: tuple[str, ...] = ()
    day: str | None = None
    wide: bool = False
    date: str = ""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Names of its files: any part of a year, and a second copy, as a drive or a browser names it."""
        text = re.escape(self.file.replace("_{part}", "").removesuffix(".csv"))
        text = text.replace(r"\{year\}", r"(?P<year>\d{4})")
        part = r"(?:[_ -](?:part[_ -]?)?(?P<part>\d+))?(?: ?\(\d+\))?(?: - Copy)?"
        return re.compile(rf"(?:Copy of )?{text}{part}\.(?:csv|CSV)")

    @property
    def values(self) -> tuple[str, ...]:
        """All value columns."""
        return (*self.columns.values(), *self.also)


_BANDS = {v.name: v.band for v in VARIABLES}
_OPTICAL = ("Blue", "Green", "Red", "NIR", "SWIR1", "SWIR2", "TIRS1", "TIRS2")
_WEATHER = ("pr", "sph", "srad", "vs", "vpd", "eto", "etr")

LAYOUTS: dict[str, Layout] = {
    "gridmet": Layout("gridmet_SSM_{year}.csv", {n: n for n in _WEATHER}, day="YYYYMMdd", date=_FIRST),
    "modis": Layout("LST_MOD11A1_{year}.csv", {"LST": "mean"}, day="YYYY_MM_dd", date=_DASHED),
    "sentinel1": Layout("S1_SSM_{year}.csv", {n: n for n in ("VV", "VH", "angle")}, date=_FIFTH),
    "hls": Layout(
        "HLSL30_SSM_{year}_{part}.csv", {n: _BANDS[n] for n in _OPTICAL}, ("B1", "B9"), date=_SECOND
    ),
    "smap": Layout("smap_ssm_{year}.csv", {"SMAP": "sm_surface"}, day="YYYYMMdd", wide=True),
    "landcover": Layout("LC_SSM_{year}.csv", {"LC": "mode"}),
    "constants": Layout(
        "constant_SSM.csv",
        {n: n for n in ("elevation", "slope", "aspect")} | {n: f"{n}_5" for n in ("clay", "sand", "bd")},
        ("hillshade",),
    ),
}


def layout_of(variable: str) -> tuple[str, Layout]:
    """Name and layout of the file that holds a variable; `InputError` if none does."""
    for name, layout in LAYOUTS.items():
        if variable in layout.columns:
            return name, layout
    known = ", ".join(v for layout in LAYOUTS.values() for v in layout.columns)
    raise InputError(
        f"variable {variable} is not in the raw export layout, which holds {known}; leave its source "
        "out with `without` for station tables"
    )


def file_columns(values: Iterable[str]) -> list[str]:
    """Columns of a file in the order in which Earth Engine writes them."""
    return ["system:index", *sorted({*values, *PLACE}), ".geo"]


def sorted_rows(rows: Iterable[dict[str, Any]], order: dict[str, int]) -> list[dict[str, Any]]:
    """Rows by day, then scene, then the station's position in the network, however they were asked for."""

    def key(row: dict[str, Any]) -> tuple[str, str, int]:
        scene = str(row.get("scene", ""))
        found = _DATE.search(scene)
        day = "".join(part for part in found.groups() if part) if found else ""
        return day, scene, order[str(row["ID"])]

    return sorted(rows, key=key)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write a file under its final name only once it is whole; an absent value is an empty cell."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow(["" if row.get(name) is None else row[name] for name in columns])
    temporary.replace(path)
