"""Ground truth and the network of stations that it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.dates import NO_DAY, usable_days
from mmnet_maps.errors import InputError
from mmnet_maps.store.csv_file import read_csv
from mmnet_maps.store.location import Location, Remote
from mmnet_maps.store.whole import local_copy
from mmnet_maps.variables import TARGETS, target_named

__all__ = ["PREFIXED", "StationRecords", "read_in_situ", "read_network", "station_names"]

_KEYS = ("ID", "Network", "Latitude", "Longitude", "Date")
#: The network whose name stands in front of its station ids.
PREFIXED = "USDA_ARS"
_LIMITS = {"Latitude": 90.0, "Longitude": 180.0}


class StationRecords(Protocol):
    """What every reader of a network of stations gives, whatever else its files hold.

    Attributes
    ----------
    in_situ : DataFrame
        ID, Network, Latitude, Longitude (degree), Date (YYYYMMDD), and soil moisture by depth: one or more of
        `mmnet_maps.variables.TARGETS` (m3 m-3, NaN where missing).
    notes : dict
        What was read and what was left out, by name, for the summary of a command.
    """

    @property
    def in_situ(self) -> pd.DataFrame:
        """Ground truth, a row a station and day."""
        ...

    @property
    def notes(self) -> dict[str, Any]:
        """What was read and what was left out."""
        ...


def read_in_situ(path: Location, target: str = "VWC_5") -> pd.DataFrame:
    """Read the ground truth CSV.

    Parameters
    ----------
    path : Path or Remote
        Columns ID, Network, Latitude, Longitude (degree), Date (YYYYMMDD) and `target` (m3 m-3, empty where
        missing); others are left out, soil moisture at other depths (``VWC_`` and centimetres) among them.
    target : str
        Which depth to read: one of `mmnet_maps.variables.TARGETS`.

    Returns
    -------
    DataFrame
        These columns in this order, a row a row of the file; Date as integers.

    Raises
    ------
    InputError
        The file, a column or every row is missing, or a cell cannot be read; the message names file and row.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such in situ CSV")
    wanted = (*_KEYS, target_named(target).name)
    frame = read_csv(
        path,
        dtype={"ID": str, "Network": str},
        usecols=lambda name: name in wanted or name in TARGETS,
    )
    _refuse_missing(path, frame, wanted)
    if frame.empty:
        raise InputError(f"{path}: the in situ table has no rows")
    for name in ("Latitude", "Longitude", target):
        frame[name] = _numbers(path, frame[name])
    for name, limit in _LIMITS.items():
        _refuse(path, frame[name], ~(frame[name].abs() <= limit), f"{name} between -{limit:g} and {limit:g}")
    _refuse(path, frame["ID"], frame["ID"].isna() | (frame["ID"].str.strip() == ""), "a station ID")
    _refuse(path, frame["Network"], frame["Network"].isna(), "a network")
    number = pd.to_numeric(frame["Date"], errors="coerce")
    number = number.where((number % 1 == 0) & (number.abs() < 10**9), 0).astype(np.int64)
    _refuse(path, frame["Date"], usable_days(number.to_numpy()) == NO_DAY, "a Date YYYYMMDD")
    frame["Date"] = number
    frame["ID"] = station_names(frame["ID"], frame["Network"])
    return frame.loc[:, list(wanted)]


def read_network(path: Location, *, domain: bool = True) -> pd.DataFrame:
    """Read the station network.

    Parameters
    ----------
    path : Path or Remote
        GeoPackage, Shapefile, GeoJSON or CSV with ID and Domain (W, M, E).
    domain : bool
        Whether a station without Domain is refused.

    Returns
    -------
    DataFrame
        A row a station; ID and Domain are text, the other attributes as they are, without the geometry. A
        table without Latitude and Longitude gets them from its points.

    Raises
    ------
    InputError
        The file or a column is missing, a station has no Domain, or has two.
    """
    if not (path.is_file() if isinstance(path, Remote) else path.exists()):
        raise InputError(f"{path}: no such network file")
    frame = _network_csv(path) if path.suffix == ".csv" else _network_layer(path)
    _refuse_missing(path, frame, ("ID", "Domain") if domain else ("ID",))
    if frame.empty:
        raise InputError(f"{path}: the network has no stations")
    for name in _LIMITS.keys() & frame.columns:
        frame[name] = _numbers(path, frame[name])
    frame["ID"] = frame["ID"].astype(str)
    if "Network" in frame.columns:
        frame["ID"] = station_names(frame["ID"], frame["Network"])
    if domain:
        bad = frame["Domain"].isna()
        if bad.any():
            raise InputError(
                f"{path}: station {frame.loc[bad, 'ID'].iloc[0]} has no Domain; expected W, M or E"
            )
        frame["Domain"] = frame["Domain"].astype(str)
    frame = frame.drop_duplicates()
    twice = frame["ID"].duplicated()
    if twice.any():
        raise InputError(
            f"{path}: station {frame.loc[twice, 'ID'].iloc[0]} is there twice, with different values"
        )
    return frame.reset_index(drop=True)


def station_names(ids: pd.Series, networks: pd.Series) -> pd.Series:
    """Station ids as used everywhere: those of the network USDA_ARS carry its name in front."""
    theirs = networks == PREFIXED
    if not theirs.any():
        return ids
    prefix = theirs & ~ids.str.startswith(f"{PREFIXED}_")
    return ids.where(~prefix, f"{PREFIXED}_" + ids)


def _network_csv(path: Location) -> pd.DataFrame:
    return read_csv(path, dtype={"ID": str, "Network": str, "Domain": str})


def _network_layer(path: Location) -> pd.DataFrame:
    import geopandas
    from pyogrio.errors import DataSourceError

    try:
        with local_copy(path) as file:
            layer = geopandas.read_file(file)
    except DataSourceError as error:
        raise InputError(f"{path}: not a readable network layer: {' '.join(str(error).split())}") from None
    if not isinstance(layer, geopandas.GeoDataFrame):
        return pd.DataFrame(layer)
    frame = pd.DataFrame(layer.drop(columns=layer.geometry.name))
    if not {"Latitude", "Longitude"} <= set(frame.columns):
        if layer.crs is None:
            raise InputError(f"{path}: neither Latitude and Longitude nor a CRS")
        points = layer.geometry.to_crs("EPSG:4326").representative_point()
        frame["Longitude"], frame["Latitude"] = points.x, points.y
    return frame


def _refuse_missing(path: Location, frame: pd.DataFrame, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        found = ", ".join(str(name) for name in frame.columns[:12]) or "none of them"
        raise InputError(f"{path}: lacks column {', '.join(missing)}; found {found}")


def _numbers(path: Location, column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    _refuse(path, column, numbers.isna() & column.notna(), f"a number in {column.name}")
    return numbers.astype(np.float64)


def _refuse(path: Location, column: pd.Series, bad: pd.Series | NDArray[np.bool_], expected: str) -> None:
    """Raise for the first bad row; row 1 is the line of column names."""
    where = np.flatnonzero(np.asarray(bad))
    if where.size:
        value = column.iloc[int(where[0])]
        found = repr(value) if isinstance(value, str) else str(value)
        raise InputError(f"{path}: row {where[0] + 2}: expected {expected}, found {found}")
