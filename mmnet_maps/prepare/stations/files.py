"""Station tables on disk: Parquet or CSV, with the catalogue that gives their columns a meaning."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmnet_maps.catalogue import FEATURE_INPUTS, LAND_COVER_CLASSES, Catalogue, published_catalogue
from mmnet_maps.config import parse_json
from mmnet_maps.dates import NO_DAY, day_of_year, from_yyyymmdd, usable_days
from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.prepare.features import land_cover_class, write_features
from mmnet_maps.progress import counted, say
from mmnet_maps.store.location import Location, Remote
from mmnet_maps.store.whole import appearing, can_hold, write_whole

__all__ = ["model_columns", "read_table", "write_table"]

_METADATA_KEY = b"mmnet_maps.catalogue"
_LAGGED = re.compile(r"_\d+$")
_TEXT = ("ID", "Network", "Domain")
_KEYS = ("ID", "Date", "Latitude", "Longitude")
#: Columns that keep the type in which they are read, as the target does; every other one of the catalogue is
#: float32.
_EXACT = ("Latitude", "Longitude", "DoY", "LC")


def model_columns(catalogue: Catalogue) -> tuple[str, ...]:
    """Columns that a model reads: the snapshot, then ``{series}`` of the day and ``{series}_{lag}``."""
    lagged = (f"{name}_{lag}" if lag else name for name in catalogue.series for lag in catalogue.lags)
    return tuple(dict.fromkeys((*catalogue.snapshot, *lagged)))


def write_table(frame: pd.DataFrame, path: Location, catalogue: Catalogue) -> None:
    """Write a station table under its final name only once it is whole.

    Parameters
    ----------
    frame : DataFrame
        A row a station-day.
    path : Path or Remote
        ``.parquet`` (the catalogue goes into its schema metadata) or ``.csv`` (into a file
        ``<name>.csv.catalogue.json`` beside it).
    catalogue : Catalogue

    Raises
    ------
    InputError
        The ending is neither, or the folder does not exist.
    """
    ending = _ending(path)
    if not can_hold(path.parent):
        raise InputError(f"{path}: the folder {path.parent} does not exist")
    text = json.dumps(catalogue.model_dump(mode="json"))
    table = pa.Table.from_pandas(frame, preserve_index=False)
    with appearing(path) as draft:
        if ending == ".parquet":
            metadata = {**(table.schema.metadata or {}), _METADATA_KEY: text.encode()}
            pq.write_table(
                table.replace_schema_metadata(metadata), draft, compression="zstd", write_page_checksum=True
            )
        else:
            _write_csv(table, draft)
            write_whole(_sidecar(path), text + "\n")


def read_table(path: Location) -> tuple[pd.DataFrame, Catalogue]:
    """Read a station table and its catalogue.

    A table that carries no catalogue (one of the published scripts, say) is taken to be of the published one,
    with the cyclic encoding if it has a column ``DoY_sin``; features that it lacks are computed from its own
    columns where these are there: one-hot land cover from ``LC_name`` (the class in words), or from ``LC``.

    Returns
    -------
    frame : DataFrame
        Model columns in float32, missing values NaN.
    catalogue : Catalogue

    Raises
    ------
    InputError
        The file is missing, unreadable or empty, or lacks columns, which the message names.
    """
    ending = _ending(path)
    if not path.is_file():
        raise InputError(f"{path}: no such station table")
    try:
        table, text = _read_parquet(path) if ending == ".parquet" else _read_csv(path)
        frame = table.to_pandas()
    except (pa.ArrowException, LookupError, OSError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a readable {ending[1:]} table: {_one_line(error)}") from None
    except MemoryError:
        raise WorkError(f"{path}: does not fit in memory, or is damaged") from None
    if _is_number(frame, "LC"):
        code = frame["LC"].to_numpy(dtype=np.float64, na_value=np.nan)
        _refuse(path, frame["LC"], np.isfinite(code) & (code % 1 != 0), "a whole number in column LC")
    if text is None:
        catalogue = published_catalogue("cyclic" if "DoY_sin" in frame.columns else "published")
        frame = _with_features(frame, catalogue)
    else:
        catalogue = _catalogue(text, path)
    _refuse_incomplete(frame, catalogue, path)
    _refuse_impossible(frame, path)
    frame = _in_float32(frame, catalogue, path)
    _refuse_impossible_values(frame, catalogue, path)
    return frame, catalogue


def _ending(path: Location) -> str:
    if path.suffix not in (".parquet", ".csv"):
        raise InputError(
            f"{path}: a station table ends in .parquet or .csv, found {path.suffix or 'no ending'}"
        )
    return path.suffix


def _sidecar(path: Location) -> Location:
    return path.with_name(f"{path.name}.catalogue.json")


def _write_csv(table: pa.Table, path: Path) -> None:
    # Arrow quotes every string and every column name unless told not to, and some readers stumble over that.
    numbers = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean)
    plain = not any(
        _has_special(column) for column in table.columns if not any(kind(column.type) for kind in numbers)
    )
    options = pa_csv.WriteOptions(include_header=False, quoting_style="none" if plain else "needed")
    with path.open("wb") as file:
        file.write((",".join(table.column_names) + "\n").encode())
        pa_csv.write_csv(table, file, options)


def _has_special(column: pa.ChunkedArray) -> bool:
    return any(any(c in str(value) for c in ',"\r\n') for value in column.unique().to_pylist())


def _readable(path: Location) -> Any:
    return pa.BufferReader(path.read_bytes()) if isinstance(path, Remote) else path


def _read_parquet(path: Location) -> tuple[pa.Table, str | None]:
    table = pq.read_table(_readable(path), page_checksum_verification=True)
    text = (table.schema.metadata or {}).get(_METADATA_KEY)
    return table, text.decode() if text is not None else None


def _read_csv(path: Location) -> tuple[pa.Table, str | None]:
    types = {name: pa.string() for name in _TEXT}
    options = pa_csv.ConvertOptions(
        column_types=types, strings_can_be_null=True, null_values=["", "NaN", "nan", "NA"]
    )
    table = pa_csv.read_csv(_readable(path), convert_options=options)
    beside = _sidecar(path)
    return table, beside.read_text(encoding="utf-8") if beside.is_file() else None


def _catalogue(text: str, path: Location) -> Catalogue:
    where = f"{_sidecar(path) if path.suffix == '.csv' else path}: catalogue"
    return Catalogue.from_mapping(parse_json(text, where), where=where)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _with_features(frame: pd.DataFrame, catalogue: Catalogue) -> pd.DataFrame:
    """Add the derived features that the table lacks and that can be computed from its columns."""
    frame = frame.copy(deep=False)
    if (
        "DoY" not in frame.columns
        and "Date" in frame.columns
        and pd.api.types.is_integer_dtype(frame["Date"])
    ):
        frame["DoY"] = day_of_year(from_yyyymmdd(frame["Date"].to_numpy()))
    words = next((n for n in ("LC_name", "LC") if n in frame.columns and not _is_number(frame, n)), None)
    if words is not None:
        frame["LC"] = _classes(frame[words])
    elif _is_number(frame, "LC") and frame["LC"].max() >= len(LAND_COVER_CLASSES):
        frame["LC"] = land_cover_class(frame["LC"].to_numpy())  # codes of NLCD
    lacking = [
        name
        for name in catalogue.snapshot
        if name not in frame.columns
        and name in FEATURE_INPUTS
        and all(_is_number(frame, needed) for needed in FEATURE_INPUTS[name])
    ]
    needs = dict.fromkeys(needed for name in lacking for needed in FEATURE_INPUTS[name])
    raw = {name: frame[name].to_numpy(dtype=np.float32, na_value=np.nan) for name in needs}
    out = np.empty((len(lacking), len(frame)), dtype=np.float32)
    write_features(lacking, raw, out)
    for name, values in zip(lacking, out, strict=True):
        frame[name] = values
    return frame


def _classes(names: pd.Series) -> pd.Series:
    """Position in `LAND_COVER_CLASSES` of classes given in words; -1 for any other word."""
    order = {name.lower(): i for i, name in enumerate(LAND_COVER_CLASSES)}
    text = names.astype("string").str.strip().str.lower().str.removeprefix("lc_")
    known = text.map(order)
    unknown = text[known.isna() & text.notna() & (text != "")]
    if len(unknown):
        words = ", ".join(f"{word:.40}" for word in unknown.unique()[:5])
        say(f"land cover {words}: {counted(len(unknown), 'row')} of no class; known are {', '.join(order)}")
    return known.fillna(-1).astype(np.int8)


def _is_number(frame: pd.DataFrame, name: str) -> bool:
    return name in frame.columns and pd.api.types.is_numeric_dtype(frame[name])


def _refuse_incomplete(frame: pd.DataFrame, catalogue: Catalogue, path: Location) -> None:
    missing = [n for n in dict.fromkeys((*_KEYS, *model_columns(catalogue))) if n not in frame.columns]
    if missing:
        more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
        raise InputError(f"{path}: lacks columns {', '.join(missing[:8])}{more}")
    if len(frame) == 0:
        raise InputError(f"{path}: the table has no rows")
    if not pd.api.types.is_integer_dtype(frame["Date"]):
        raise InputError(
            f"{path}: column Date holds {frame['Date'].dtype}, whole numbers YYYYMMDD were expected"
        )


def _refuse_impossible(frame: pd.DataFrame, path: Location) -> None:
    """Refuse dates, stations and positions that there are not, and a second row of a station and day."""
    date, station = frame["Date"], frame["ID"]
    day = usable_days(date.fillna(0).to_numpy(dtype=np.int64))
    _refuse(path, date, day == NO_DAY, "a Date YYYYMMDD from 1950 to 2100")
    number, names = pd.factorize(station)
    blank = np.array([not str(name).strip() for name in names], dtype=bool)
    _refuse(path, station, (number < 0) | np.append(blank, True)[number], "a station in column ID")
    for name, limit in (("Latitude", 90), ("Longitude", 180)):
        if not _is_number(frame, name):
            raise InputError(f"{path}: column {name} holds {frame[name].dtype}, numbers were expected")
        beyond = (frame[name].abs() > limit).to_numpy(dtype=bool, na_value=False)
        _refuse(path, frame[name], beyond, f"a {name} between -{limit} and {limit}")
    twice = pd.Series(number.astype(np.int64) * 2**20 + day).duplicated().to_numpy()
    what = date.astype(str) + " of " + station.astype(str) if twice.any() else date
    _refuse(path, what, twice, "one row a station and day")


def _refuse_impossible_values(frame: pd.DataFrame, catalogue: Catalogue, path: Location) -> None:
    """Refuse infinite inputs, two land cover classes in a row, and targets that no soil can have."""
    for name in model_columns(catalogue):
        bad = np.isinf(frame[name].to_numpy(dtype=np.float64, na_value=np.nan))
        _refuse(path, frame[name], bad, f"a finite number, or none, in column {name}")
    classes = [name for name in catalogue.snapshot if name.startswith("LC_")]
    share = frame[classes].to_numpy(dtype=np.float32)
    for name, column in zip(classes, share.T, strict=True):
        known = np.isnan(column) | (column == 0) | (column == 1)
        _refuse(path, frame[name], ~known, f"0 or 1 in column {name}")
    total = share.sum(axis=1)
    _refuse(path, frame["ID"], total > 1, "one land cover class (LC_ columns) of station")
    none = int((total == 0).sum()) if classes else 0
    if none:
        say(f"{path}: {counted(none, 'row')} of no land cover class (LC_ columns)")
    target = catalogue.target
    if _is_number(frame, target.name):
        low, high = target.valid_range
        value = frame[target.name].to_numpy(dtype=np.float64, na_value=np.nan)
        expected = f"a {target.name} between {low:g} and {high:g} {target.unit}"
        _refuse(path, frame[target.name], (value < low) | (value > high), expected)


def _refuse(path: Location, column: pd.Series, bad: NDArray[np.bool_], expected: str) -> None:
    """Raise for the first bad row, counted from 1 without the names of columns."""
    if bad.any():
        row = int(bad.argmax())
        raise InputError(f"{path}: row {row + 1}: expected {expected}, found {column.iloc[row]!s:.80}")


def _in_float32(frame: pd.DataFrame, catalogue: Catalogue, path: Location) -> pd.DataFrame:
    """Give the columns of the catalogue the type that they have when computed, whatever the file stored."""
    columns = dict(frame.items())
    variables = {v.name for v in catalogue.variables}
    ours = {
        *variables,
        *model_columns(catalogue),
        *(c for c in columns if _LAGGED.sub("", str(c)) in variables),
    }
    for name in [c for c in columns if c in ours and c not in (*_EXACT, catalogue.target.name)]:
        if columns[name].isna().all():
            columns[name] = pd.Series(np.full(len(frame), np.nan, dtype=np.float32))
        elif not pd.api.types.is_numeric_dtype(columns[name]):
            raise InputError(f"{path}: column {name} holds {columns[name].dtype}, numbers were expected")
        columns[name] = columns[name].astype(np.float32)
    return pd.DataFrame(columns, copy=False)
