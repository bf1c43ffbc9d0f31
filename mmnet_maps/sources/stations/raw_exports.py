"""The folder of raw station exports (CSV) that users of the published scripts have on disk."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from mmnet_maps.catalogue import Catalogue, published_catalogue
from mmnet_maps.dates import NO_DAY, from_yyyymmdd
from mmnet_maps.errors import InputError
from mmnet_maps.sources.stations.in_situ import PREFIXED, station_names

__all__ = ["COLLECTIONS", "read_collections", "read_raw_folder"]

#: File beside raw exports that says which collection and version each variable comes from.
COLLECTIONS = "collections.json"

_INDEX = "system:index"
_EIGHT_DIGITS = "(?P<date>[0-9]{8})"


@dataclass(frozen=True)
class _Product:
    """One kind of long table: which files, where in ``system:index`` the date is, which column is what."""

    pattern: str
    shown: str
    date: str
    columns: dict[str, str]


_WEATHER = ("pr", "sph", "srad", "vs", "vpd", "eto", "etr")
_LONG = {
    "gridmet": _Product(
        r"gridmet_SSM_(\d{4})\.csv",
        "gridmet_SSM_{year}.csv",
        rf"^{_EIGHT_DIGITS}_",
        {name: name for name in _WEATHER},
    ),
    "modis": _Product(
        r"LST_MOD11A1_(\d{4})\.csv",
        "LST_MOD11A1_{year}.csv",
        r"^(?P<year>[0-9]{4})_(?P<month>[0-9]{2})_(?P<day>[0-9]{2})_",
        {"mean": "LST"},
    ),
    "sentinel1": _Product(
        r"S1_SSM_(\d{4})\.csv",
        "S1_SSM_{year}.csv",
        rf"^(?:[^_]*_){{4}}{_EIGHT_DIGITS}",
        {name: name for name in ("VV", "VH", "angle")},
    ),
    "hls": _Product(
        r"HLSL30_SSM_(\d{4})(?:_(\d+))?\.csv",
        "HLSL30_SSM_{year}_{part}.csv",
        rf"^[^_]*_{_EIGHT_DIGITS}",
        {
            "B2": "Blue",
            "B3": "Green",
            "B4": "Red",
            "B5": "NIR",
            "B6": "SWIR1",
            "B7": "SWIR2",
            "B10": "TIRS1",
            "B11": "TIRS2",
        },
    ),
}
_SMAP, _SMAP_DAY = r"smap_ssm_(\d{4})\.csv", re.compile(r"(\d{8})_sm_surface")
_LAND_COVER = r"LC_SSM_(\d{4})\.csv"
_CONSTANTS = {
    "elevation": "elevation",
    "slope": "slope",
    "aspect": "aspect",
    "clay_5": "clay",
    "sand_5": "sand",
    "bd_5": "bd",
}


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
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise InputError(f"{path}: expected the collection of each variable, as texts by name")
    return found


def read_raw_folder(folder: Path, catalogue: Catalogue | None = None) -> dict[str, pd.DataFrame]:
    """Read the exports of every product that the catalogue needs.

    All years and all parts of a year are read; only an empty cell is missing, never the row around it.
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
    for source, product in _LONG.items():
        wanted = _wanted(product.columns, catalogue)
        if wanted:
            files = _files(folder, product.pattern, product.shown, wanted.values())
            tables[source] = _read_long(files, product, wanted, catalogue)
    if "SMAP" in catalogue:
        tables["smap"] = _read_smap(_files(folder, _SMAP, "smap_ssm_{year}.csv", ["SMAP"]))
    if "LC" in catalogue:
        tables["landcover"] = _read_land_cover(_files(folder, _LAND_COVER, "LC_SSM_{year}.csv", ["LC"]))
    wanted = _wanted(_CONSTANTS, catalogue)
    if wanted:
        [path] = _files(folder, r"constant_SSM\.csv", "constant_SSM.csv", wanted.values())
        tables["constants"] = _read_constants(path, wanted, catalogue)
    return tables


def _wanted(columns: dict[str, str], catalogue: Catalogue) -> dict[str, str]:
    """Columns to read; none if the model needs no variable of the product."""
    if not any(name in catalogue.required for name in columns.values()):
        return {}
    return {column: name for column, name in columns.items() if name in catalogue}


def _files(folder: Path, pattern: str, shown: str, variables: Iterable[str]) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if re.fullmatch(pattern, path.name))
    if not found:
        raise InputError(f"{folder}: no file {shown}, which {', '.join(variables)} come from")
    return found


def _read_long(
    files: Sequence[Path], product: _Product, wanted: dict[str, str], catalogue: Catalogue
) -> pd.DataFrame:
    rows = _Rows()
    for path in files:
        table = _read_csv(path, _present(path, wanted, catalogue), text=(_INDEX,))
        if table is None:
            continue
        columns: dict[str, NDArray[np.generic]] = {"Date": _dates(path, table.column(_INDEX), product)}
        for column, name in wanted.items():
            columns[name] = _column(table, column)
        rows.add(_ids(path, table), columns)
    return _frame(rows, files)


def _present(path: Path, wanted: dict[str, str], catalogue: Catalogue) -> list[str]:
    """Columns to ask for: a variable that no model input needs may lack."""
    header = _header(path)
    return [c for c, name in wanted.items() if c in header or name in catalogue.required]


def _column(table: pa.Table, column: str) -> NDArray[np.float64]:
    if column not in table.column_names:
        return np.full(len(table), np.nan)
    values: NDArray[np.float64] = table.column(column).to_numpy()
    return values


def _frame(rows: _Rows, files: Sequence[Path]) -> pd.DataFrame:
    if not rows.station:
        raise InputError(
            f"{files[0]}: the table is empty" + (", as are its other years" if files[1:] else "")
        )
    return rows.frame()


def _read_smap(files: Sequence[Path]) -> pd.DataFrame:
    rows = _Rows()
    for path in files:
        days = [match for match in map(_SMAP_DAY.fullmatch, _header(path)) if match]
        if not days and _header(path):
            raise InputError(
                f"{path}: no column YYYYMMDD_sm_surface; found {', '.join(_header(path)[:4])}, ..."
            )
        table = _read_csv(path, [match[0] for match in days])
        if table is None:
            continue
        dates = np.array([int(match[1]) for match in days])
        bad = np.flatnonzero(from_yyyymmdd(dates) == NO_DAY)
        if bad.size:
            raise InputError(f"{path}: column {days[bad[0]][0]} is not a date, expected YYYYMMDD_sm_surface")
        values = np.stack([table.column(match[0]).to_numpy() for match in days], axis=1)
        station, day = np.nonzero(~np.isnan(values))
        rows.add(_ids(path, table)[station], {"Date": dates[day], "SMAP": values[station, day]})
    return _frame(rows, files)


def _read_land_cover(files: Sequence[Path]) -> pd.DataFrame:
    rows = _Rows()
    for path in files:
        table = _read_csv(path, ["mode"])
        if table is not None:
            year = int(re.findall(r"\d{4}", path.name)[0])
            rows.add(_ids(path, table), {"Year": np.full(len(table), year), "LC": _column(table, "mode")})
    return _frame(rows, files)


def _read_constants(path: Path, wanted: dict[str, str], catalogue: Catalogue) -> pd.DataFrame:
    table = _read_csv(path, _present(path, wanted, catalogue))
    if table is None:
        raise InputError(f"{path}: the table is empty")
    columns = {name: _column(table, column) for column, name in wanted.items()}
    frame = pd.DataFrame({"ID": _ids(path, table), **columns})
    twice = frame["ID"].duplicated()
    if twice.any():
        row = int(np.flatnonzero(twice)[0]) + 2
        raise InputError(f"{path}: row {row}: station {frame['ID'][row - 2]} is there twice")
    return frame


def _header(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        return [name for name in next(csv.reader(file), []) if name]


def _read_csv(path: Path, numbers: Sequence[str], text: tuple[str, ...] = ()) -> pa.Table | None:
    """Read some columns of a CSV; None if the file is empty, as Earth Engine leaves a part without data."""
    header = _header(path)
    if not header:
        return None
    needed = ["ID", *text, *numbers]
    missing = [name for name in needed if name not in header]
    if missing:
        raise InputError(f"{path}: lacks column {', '.join(missing)}; found {', '.join(header[:14])}")
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


def _dates(path: Path, index: pa.ChunkedArray, product: _Product) -> NDArray[np.int64]:
    """YYYYMMDD out of ``system:index``."""
    expected = f"a date in system:index as in {product.shown}"
    found = pc.extract_regex(index, product.date)
    _refuse(path, index, pc.is_null(found).to_numpy(), expected)
    parts = [pc.struct_field(found, name) for name in _groups(product.date)]
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
