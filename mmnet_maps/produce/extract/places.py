"""Points and polygons as users give them: a CSV with coordinates, or any vector file."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd

from mmnet_maps.errors import InputError
from mmnet_maps.store.csv_file import read_csv
from mmnet_maps.store.location import Location
from mmnet_maps.store.whole import local_copy

__all__ = ["read_points", "read_polygons"]

_NAMES = {
    "id": ("id", "name", "station"),
    "longitude": ("longitude", "lon", "long", "lng", "x"),
    "latitude": ("latitude", "lat", "y"),
}


def read_points(path: Location) -> pd.DataFrame:
    """Read points.

    Parameters
    ----------
    path : Path or Remote
        CSV with columns longitude and latitude (or lon and lat) in degrees, or a vector file of points in any
        CRS. ``id`` (or ``ID``, ``name``) names a point; without one its row number does.

    Returns
    -------
    DataFrame
        ``id`` (text), ``longitude``, ``latitude`` (degrees).

    Raises
    ------
    InputError
        The file or a column is missing, a coordinate is no place on Earth, or an id stands twice.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file of points")
    if path.suffix.lower() == ".csv":
        frame = read_csv(path, dtype=str)
        lon, lat = (_column(path, frame, what) for what in ("longitude", "latitude"))
        found = pd.DataFrame(
            {
                "longitude": pd.to_numeric(frame[lon], errors="coerce"),
                "latitude": pd.to_numeric(frame[lat], errors="coerce"),
            }
        )
        ids = _ids(path, frame)
    else:
        layer = _layer(path)
        wrong = np.flatnonzero((layer.geom_type != "Point").to_numpy())
        if wrong.size:
            raise InputError(f"{path}: row {wrong[0] + 1} is no point but {layer.geom_type.iloc[wrong[0]]}")
        shapes = layer.to_crs("EPSG:4326").geometry
        found = pd.DataFrame({"longitude": shapes.x.to_numpy(), "latitude": shapes.y.to_numpy()})
        ids = _ids(path, layer)
    bad = ~((found["longitude"].abs() <= 180) & (found["latitude"].abs() <= 90)).to_numpy()
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{path}: point {ids[row]} (row {row + 1}): longitude {found['longitude'].iloc[row]:g}, latitude "
            f"{found['latitude'].iloc[row]:g}; expected degrees east and north"
        )
    if not len(found):
        raise InputError(f"{path}: holds no points")
    found.insert(0, "id", ids)
    return found


def read_polygons(path: Location) -> gpd.GeoDataFrame:
    """Read polygons from a vector file (GeoPackage, GeoJSON, Shapefile, ...).

    Returns
    -------
    GeoDataFrame
        ``id`` (text) and the polygons in the file's CRS.

    Raises
    ------
    InputError
        The file cannot be read, holds something else than polygons, or an id stands twice.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file of polygons")
    layer = _layer(path)
    if not len(layer):
        raise InputError(f"{path}: holds no polygons")
    ids = _ids(path, layer)
    wrong = ~layer.geom_type.isin(["Polygon", "MultiPolygon"]).to_numpy() | layer.geometry.is_empty.to_numpy()
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(f"{path}: {ids[row]} (row {row + 1}) is no polygon but {layer.geom_type.iloc[row]}")
    invalid = ~layer.geometry.is_valid.to_numpy()
    if invalid.any():
        row = int(np.flatnonzero(invalid)[0])
        raise InputError(f"{path}: {ids[row]} (row {row + 1}) is not a valid polygon (it crosses itself)")
    return gpd.GeoDataFrame({"id": ids}, geometry=layer.geometry.to_numpy(), crs=layer.crs)


def _layer(path: Location) -> gpd.GeoDataFrame:
    try:
        with local_copy(path) as file:
            layer = gpd.read_file(file)
    except Exception as error:
        raise InputError(f"{path}: not a readable vector file: {' '.join(str(error).split())}") from None
    if not isinstance(layer, gpd.GeoDataFrame):
        raise InputError(f"{path}: has no geometry")
    if layer.crs is None:
        raise InputError(f"{path}: has no CRS; expected a file that states it")
    return layer


def _column(path: Location, frame: pd.DataFrame, what: str) -> str:
    for name in frame.columns:
        if str(name).strip().lower() in _NAMES[what]:
            return str(name)
    raise InputError(f"{path}: no column {what}; there are {', '.join(map(str, frame.columns))}")


def _ids(path: Location, frame: pd.DataFrame) -> list[str]:
    named = [name for name in frame.columns if str(name).strip().lower() in _NAMES["id"]]
    if not named:
        return [str(row) for row in range(1, len(frame) + 1)]
    # An id column goes before a name column.
    column = min(named, key=lambda name: _NAMES["id"].index(str(name).strip().lower()))
    ids = frame[column]
    blank = ids.isna() | (ids.astype(str).str.strip() == "")
    if blank.any():
        raise InputError(f"{path}: row {int(np.flatnonzero(blank)[0]) + 1} has no {column}")
    if ids.astype(str).duplicated().any():
        raise InputError(f"{path}: {column} {ids[ids.astype(str).duplicated()].iloc[0]} is there twice")
    return [str(value) for value in ids]
