"""The folder of raw station exports (CSV) that users of the published scripts have on disk."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from mmnet_maps.catalogue import Catalogue, published_catalogue
from mmnet_maps.config import parse_json
from mmnet_maps.dates import NO_DAY, from_yyyymmdd
from mmnet_maps.errors import InputError
from mmnet_maps.sources.stations.in_situ import PREFIXED, station_names
from mmnet_maps.sources.stations.raw_layout import LAYOUTS, Layout
from mmnet_maps.store.csv_file import names_of_columns

__all__ = ["COLLECTIONS", "read_collections", "read_raw_folder", "unread_files"]

#: Stations, values by name, and the scene or day of every row of a file.
Part = tuple[pd.Categorical, dict[str, NDArray[Any]], NDArray[Any]]
Reader = Callable[[Path], Part | None]

#: File beside raw exports that says which collection and version each variable comes from.
COLLECTIONS = "collections.json"

_INDEX = "system:index"
_SMAP_DAY = re.compile(r"(\d{8})_sm_surface")


@dataclass
class _Rows:
    """Rows gathered over the files of a product; a station id is kept once."""

    codes: dict[str, int] = field(default_factory=dict)
    station: list[NDArray[np.int32]] = field(default_factory=list)
    columns: dict[str, list[NDArray[np.generic]]] = field(default_factory=dict)

    def add(self, ids: pd.Categorical, columns: dict[str, NDArray[np.generic]]) -> None:
        number = [self.codes.setdefault(str(name), len(self.codes)) for name in ids.categories]
        self.station.append(np.asarray(number, dtype=np.int32)[ids.codes] if len(ids) else ids.codes)
        for name, values in columns.items():
            self.columns.setdefault(name, []).append(values)

    def frame(self) -> pd.DataFrame:
        ids = pd.Categorical.from_codes(np.concatenate(self.station), categories=pd.Index(list(self.codes)))
        joined = {name: np.concatenate(parts) for name, parts in self.columns.items()}
        return pd.DataFrame({"ID": ids, **joined}, copy=False)


def read_collections(folder: Path) -> dict[str, str]:
    """Collection and version of each variable, where a folder of raw exports says so.

    Raises
    ------
    InputError
        The file is there and is no JSON object of texts.
    """
    path = folder / COLLECTIONS
    if not path.is_file():
        return {}
    found = parse_json(path.read_bytes(), path)
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise InputError(f"{path}: expected the collection of each variable, as texts by name")
    return found


def read_raw_folder(folder: Path, catalogue: Catalogue | None = None) -> dict[str, pd.DataFrame]:
    """Read the exports of every product that the catalogue needs.

    All years, all parts of a year and second copies (``name (1).csv``) are read, and a row that stands in two
    files once; `unread_files` lists what is not. Only an empty cell is missing, never the row around it.
    Columns and units are those of the catalogue. Nothing is filled, averaged or screened here.

    Parameters
    ----------
    folder : Path
        As the published export scripts leave it.
    catalogue : Catalogue, optional
        By default the published one. A product of which no variable is in it need not be there.

    Returns
    -------
    dict of str to DataFrame
        ``gridmet``, ``modis``, ``sentinel1``, ``hls``, ``smap``: ID, Date (YYYYMMDD), variables, a row a
        granule and station; ``landcover``: ID, Year, LC (NLCD code); ``constants``: ID, variables.

    Raises
    ------
    InputError
        The folder, the files of a needed product, or a needed column is missing, or a cell cannot be read.
    """
    catalogue = catalogue or published_catalogue()
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of raw exports")
    tables: dict[str, pd.DataFrame] = {}
    for source, layout in LAYOUTS.items():
        wanted = _wanted(layout, catalogue)
        if not wanted:
            continue
        years = _files(folder, layout, wanted.values())
        if layout.wide:
            read: Reader = _read_smap
        elif layout.date:
            read = partial(_read_scenes, layout=layout, wanted=wanted, catalogue=catalogue)
        else:
            read = partial(_read_plain, wanted=wanted, catalogue=catalogue)
        tables[source] = _joined(years, read)
    return tables


def unread_files(folder: Path) -> list[str]:
    """Names of CSV files of a folder that no product of the layout has: nothing of them is read."""
    names = sorted(
        path.name for path in folder.iterdir() if path.suffix.lower() == ".csv" or "csv" in path.name
    )
    return [name for name in names if not any(layout.pattern.fullmatch(name) for layout in LAYOUTS.values())]


def _wanted(layout: Layout, catalogue: Catalogue) -> dict[str, str]:
    """Variable of each column to read; none if the model needs no variable of the product."""
    if not any(name in catalogue.required for name in layout.columns):
        return {}
    return {column: name for name, column in layout.columns.items() if name in catalogue}


def _files(folder: Path, layout: Layout, variables: Iterable[str]) -> list[list[Path]]:
    """Files of a product, those of one year together."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        name = layout.pattern.fullmatch(path.name)
        if name is not None:
            found.setdefault(name.groupdict().get("year") or "", []).append(path)
    if not found:
        raise InputError(f"{folder}: no file {layout.file}, which {', '.join(variables)} come from")
    return list(found.values())


def _joined(years: Sequence[Sequence[Path]], read: Reader) -> pd.DataFrame:
    """Rows of all files; what stands in two files of a year, as parts or copies, is taken once."""
    rows, empty = _Rows(), years[0][0]
    for paths in years:
        found = [(path, part) for path in paths if (part := read(path)) is not None]
        for k, (path, part) in enumerate(found):
            ids, columns, _ = part
            if len(found) > 1:
                fresh = _fresh(path, part, found[:k])
                ids, columns = ids[fresh], {name: values[fresh] for name, values in columns.items()}
            rows.add(ids, columns)
    if not rows.station:
        more = ", as are its other files" if sum(map(len, years)) > 1 else ""
        raise InputError(f"{empty}: the table is empty{more}")
    return rows.frame()


def _fresh(path: Path, part: Part, before: Sequence[tuple[Path, Part]]) -> NDArray[np.bool_]:
    """Rows that no file before has; `InputError` for a row of one scene and station with other values."""
    ids, columns, keys = part
    fresh = np.ones(len(ids), dtype=bool)
    mine = pd.MultiIndex.from_arrays([keys, ids.astype(str)])
    for other, (their_ids, theirs, their_keys) in before:
        known = pd.MultiIndex.from_arrays([their_keys, their_ids.astype(str)])
        twice = mine.isin(known)
        if not twice.any():
            continue
        rows = pd.Series(np.arange(len(known)), index=known)
        index = rows[~rows.index.duplicated()].reindex(mine[twice]).to_numpy()
        for name, values in columns.items():
            if name not in theirs:
                continue
            one, two = values[twice], theirs[name][index]
            differs = (one != two) & ~(pd.isna(one) & pd.isna(two))
            if differs.any():
                row = int(np.flatnonzero(twice)[np.flatnonzero(differs)[0]])
                raise InputError(
                    f"{path}: {keys[row]} of station {ids[row]} is also in {other.name}, with another "
                    f"{name}; expected one export of it: remove the older file"
                )
        fresh &= ~twice
    return fresh


def _read_scenes(path: Path, layout: Layout, wanted: dict[str, str], catalogue: Catalogue) -> Part | None:
    """Rows of a long table: a scene and a station."""
    table = _read_csv(path, _present(path, wanted, catalogue), text=(_INDEX,))
    if table is None:
        return None
    index = table.column(_INDEX)
    columns: dict[str, NDArray[Any]] = {"Date": _dates(path, index, layout)}
    columns |= {name: _column(table, column) for column, name in wanted.items()}
    return _ids(path, table), columns, index.to_pandas().to_numpy()


def _present(path: Path, wanted: dict[str, str], catalogue: Catalogue) -> list[str]:
    """Columns to ask for: a variable that no model input needs may lack."""
    header = names_of_columns(path)
    return [c for c, name in wanted.items() if c in header or name in catalogue.required]


def _column(table: pa.Table, column: str) -> NDArray[np.float64]:
    if column not in table.column_names:
        return np.full(len(table), np.nan)
    values: NDArray[np.float64] = table.column(column).to_numpy()
    return values


def _read_smap(path: Path) -> Part | None:
    """Rows of a wide table: a column a day becomes a row."""
    header = names_of_columns(path)
    days = [match for match in map(_SMAP_DAY.fullmatch, header) if match]
    table = _read_csv(path, [match[0] for match in days])
    if table is None:
        return None
    if not days:
        raise InputError(f"{path}: no column YYYYMMDD_sm_surface; found {', '.join(header[:4])}, ...")
    dates = np.array([int(match[1]) for match in days])
    bad = np.flatnonzero(from_yyyymmdd(dates) == NO_DAY)
    if bad.size:
        raise InputError(f"{path}: column {days[bad[0]][0]} is not a date, expected YYYYMMDD_sm_surface")
    values = np.stack([table.column(match[0]).to_numpy() for match in days], axis=1)
    station, day = np.nonzero(~np.isnan(values))
    columns = {"Date": dates[day], "SMAP": values[station, day]}
    return _ids(path, table)[station], columns, columns["Date"]


def _read_plain(path: Path, wanted: dict[str, str], catalogue: Catalogue) -> Part | None:
    """Rows of a table without dates, a row a station; the year is that of the file."""
    table = _read_csv(path, _present(path, wanted, catalogue))
    if table is None:
        return None
    ids = _ids(path, table)
    columns: dict[str, NDArray[Any]] = {name: _column(table, column) for column, name in wanted.items()}
    for column, name in wanted.items():
        if name == "LC" and column in table.column_names:
            code = columns[name]
            fraction = np.isfinite(code) & (code % 1 != 0)
            _refuse(path, table.column(column), fraction, f"a whole class code in column {column}")
    year = re.search(r"\d{4}", path.name)
    if year is not None:
        columns["Year"] = np.full(len(table), int(year[0]))
    twice = np.flatnonzero(pd.Series(ids).duplicated())
    if twice.size:
        raise InputError(f"{path}: row {twice[0] + 2}: station {ids[twice[0]]} is there twice")
    return ids, columns, np.zeros(len(table), dtype=np.int8)


def _has_rows(path: Path) -> bool:
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        lines = csv.reader(file)
        try:
            next(lines, None)
            return any(any(cells) for cells in lines)
        except csv.Error as error:
            raise InputError(f"{path}: not a readable CSV: {error}") from None


def _read_csv(path: Path, numbers: Sequence[str], text: tuple[str, ...] = ()) -> pa.Table | None:
    """Read some columns of a CSV; None if it has no row, as Earth Engine leaves a part without data."""
    header = names_of_columns(path)
    if not _has_rows(path):
        return None
    needed = ["ID", *text, *numbers]
    missing = [name for name in needed if name not in header]
    if missing:
        commas = "" if len(header) > 1 else ": expected commas between columns"
        found = " ".join(", ".join(header[:14]).split())
        raise InputError(f"{path}: lacks column {', '.join(missing)}; found {found}{commas}")
    twice = [name for name in needed if header.count(name) > 1]
    if twice:
        raise InputError(f"{path}: column {', '.join(twice)} is there twice; expected one")
    if "Network" in header:
        needed.append("Network")
    types = {name: pa.float64() if name in numbers else pa.string() for name in needed}
    convert = pa_csv.ConvertOptions(include_columns=needed, column_types=types, strings_can_be_null=True)
    try:
        table = pa_csv.read_csv(path, convert_options=convert)
    except pa.ArrowInvalid:
        table = _read_slowly(path, convert)
    return table.combine_chunks() if len(table) else None


def _read_slowly(path: Path, convert: pa_csv.ConvertOptions) -> pa.Table:
    """Read again in one thread, which knows the row of what is wrong."""
    try:
        return pa_csv.read_csv(path, pa_csv.ReadOptions(use_threads=False), convert_options=convert)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from None


def _ids(path: Path, table: pa.Table) -> pd.Categorical:
    ids = table.column("ID")
    _refuse(path, ids, pc.is_null(ids).to_numpy(), "a station in column ID")
    if "Network" not in table.column_names or not pc.any(pc.equal(table.column("Network"), PREFIXED)).as_py():
        return pd.Categorical(ids.dictionary_encode().to_pandas())
    # Names are settled once a pair of id and network, not once a row.
    keys = pc.binary_join_element_wise(ids, pc.fill_null(table.column("Network"), ""), "\t")
    keys = pd.Categorical(keys.dictionary_encode().to_pandas())
    pairs = pd.Series(keys.categories).str.split("\t", expand=True)
    names = station_names(pairs[0], pairs[1])
    found = pd.Index(names.drop_duplicates())
    return pd.Categorical.from_codes(found.get_indexer(pd.Index(names))[keys.codes], categories=found)


def _dates(path: Path, index: pa.ChunkedArray, layout: Layout) -> NDArray[np.int64]:
    """YYYYMMDD out of ``system:index``."""
    expected = f"a date in system:index as in {layout.file}"
    found = pc.extract_regex(index, layout.date)
    _refuse(path, index, pc.is_null(found).to_numpy(), expected)
    parts = [pc.struct_field(found, name) for name in _groups(layout.date)]
    digits = parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, "")
    dates: NDArray[np.int64] = digits.cast(pa.int64()).to_numpy()
    _refuse(path, index, from_yyyymmdd(dates) == NO_DAY, expected)
    return dates


def _groups(pattern: str) -> list[str]:
    return list(re.compile(pattern).groupindex)


def _refuse(path: Path, column: pa.ChunkedArray, bad: NDArray[np.bool_], expected: str) -> None:
    """Raise for the first bad row; row 1 is the line of column names."""
    where = np.flatnonzero(bad)
    if where.size:
        found = column[int(where[0])].as_py()
        raise InputError(f"{path}: row {where[0] + 2}: expected {expected}, found {found!r}")
