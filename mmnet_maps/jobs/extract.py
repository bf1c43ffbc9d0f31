"""Series and subsets of finished maps, written by the ending of the file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from mmnet_maps.dates import to_date, to_day
from mmnet_maps.errors import InputError
from mmnet_maps.jobs.settings import output_file
from mmnet_maps.produce.extract.box import as_dataset, box_tile
from mmnet_maps.produce.extract.maps import QUALITY, Maps, open_maps
from mmnet_maps.produce.extract.places import read_points, read_polygons
from mmnet_maps.produce.extract.points import extract_points
from mmnet_maps.produce.extract.polygons import extract_polygons
from mmnet_maps.produce.product.layers import title_at
from mmnet_maps.store.location import location
from mmnet_maps.store.whole import appearing
from mmnet_maps.version import __version__

__all__ = ["extract"]

_TABLES = (".csv", ".parquet", ".nc")
#: Long names of columns that are no layers.
_LONG = {
    "p10": "10th percentile of the pixels of the polygon, by area",
    "p90": "90th percentile of the pixels of the polygon, by area",
    "valid_share": "share of the polygon's area that has values",
    "pixels": "pixels that the polygon touches",
}


def extract(
    source: str | Path,
    out: str | Path,
    *,
    points: str | Path | None = None,
    polygons: str | Path | None = None,
    box: tuple[float, float, float, float] | None = None,
    start: str | None = None,
    end: str | None = None,
    workers: int = 2,
) -> dict[str, Any]:
    """Write the series at points or over polygons, or a box of the maps.

    Parameters
    ----------
    source : str or Path
        What `open_maps` takes.
    out : str or Path
        ``.csv``, ``.parquet`` or ``.nc``; a box is ``.nc``. It appears whole or not at all.
    points, polygons : str or Path, optional
        What `read_points` and `read_polygons` take.
    box : (west, south, east, north), optional
        Degrees. One of the three must be given.
    start, end : str, optional
        First and last day, ``YYYY-MM-DD``, both included.
    workers : int

    Returns
    -------
    dict
        ``out``, ``of``, and how much was written.

    Raises
    ------
    InputError
        See the functions named above; or not exactly one of the three is given, or `out` ends otherwise.
    """
    if sum(given is not None for given in (points, polygons, box)) != 1:
        raise InputError("expected one of --points, --polygons and --box")
    target = output_file(out)
    ending = target.suffix.lower()
    if ending not in (_TABLES if box is None else (".nc",)):
        allowed = ".csv, .parquet or .nc" if box is None else ".nc for a box"
        raise InputError(f"--out {target}: expected a name that ends in {allowed}")
    maps = open_maps(location(source))
    first, last = (to_day(to_date(text)) if text else None for text in (start, end))
    if box is not None:
        tile = box_tile(maps.levels[0], box)
        subset = as_dataset(maps, tile, first, last)
        with appearing(target) as draft:
            _write_netcdf(subset, draft, _packed(subset))
        return {
            "out": str(target),
            "of": "box",
            "days": subset.sizes["time"],
            "rows": tile.height,
            "cols": tile.width,
        }
    where = None
    if points is not None:
        where = read_points(location(points))
        table = extract_points(maps, where, first, last, workers)
    else:
        assert polygons is not None
        table = extract_polygons(maps, read_polygons(location(polygons)), first, last, workers)
    with appearing(target) as draft:
        if ending == ".csv":
            table.to_csv(draft, index=False, float_format="%.6g", lineterminator="\n")
        elif ending == ".parquet":
            table.to_parquet(draft, index=False)
        else:
            _write_netcdf(as_series(maps, table, where), draft)
    return {
        "out": str(target), "of": "points" if points is not None else "polygons",
        "series": int(table["id"].nunique()), "days": int(table["date"].nunique()), "rows": len(table),
    }  # fmt: skip


class _Sink(io.FileIO):
    """A file that keeps a failure of the disk to itself: HDF5 cannot close after one, and ends the process.

    Attributes
    ----------
    failed : OSError, optional
        The first failure.
    """

    failed: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failed = self.failed or error
            return len(data)

    def truncate(self, size: int | None = None, /) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failed = self.failed or error
            return size or 0


def _write_netcdf(found: xr.Dataset, draft: Path, encoding: dict[str, Any] | None = None) -> None:
    with _Sink(draft, "w+") as file:
        found.to_netcdf(file, engine="h5netcdf", encoding=encoding or {})
        if file.failed is not None:
            raise file.failed


def as_series(maps: Maps, table: pd.DataFrame, where: pd.DataFrame | None) -> xr.Dataset:
    """A table of series as a CF data set of time series, (series, time); ``id`` names each."""
    names, dates = table["id"].unique(), table["date"].unique()
    shape = len(names), len(dates)
    variables: dict[str, Any] = {}
    for name in table.columns.difference(["id", "date", "reasons"], sort=False):
        values = table[name].to_numpy().reshape(shape)
        layer = maps.layers.get({"estimate": "soil_moisture"}.get(str(name), str(name)))
        attributes: dict[str, Any] = {"long_name": _LONG.get(str(name), layer.long_name if layer else name)}
        if name == QUALITY:
            masks = values.dtype.type(list(maps.flags.values()))
            attributes |= {"flag_masks": masks, "flag_meanings": " ".join(maps.flags)}
        else:
            layer = maps.layers["soil_moisture"] if name in ("p10", "p90") else layer
            attributes["units"] = layer.units if layer else "1"
        variables[str(name)] = (("series", "time"), values, attributes)
    named = {"long_name": "name of the point or polygon", "cf_role": "timeseries_id"}
    time = {"standard_name": "time", "long_name": "day (UTC) that the value is the mean of", "axis": "T"}
    coords: dict[str, Any] = {
        "id": ("series", names.astype(object), named),
        "time": ("time", pd.to_datetime(dates), time | {"units_metadata": "leap_seconds: none"}),
    }
    about = {"Conventions": "CF-1.11", "title": title_at(maps.soil_depth), "source": maps.source.name}
    about["history"] = f"extracted by mmnet-maps {__version__} from {maps.source.name}"
    if where is not None:
        about["featureType"] = "timeSeries"
        placed = where.set_index("id").loc[names]
        for name, unit in (("longitude", "degrees_east"), ("latitude", "degrees_north")):
            about_it = {"standard_name": name, "long_name": f"{name} of the point", "units": unit}
            coords[name] = ("series", placed[name].to_numpy(), about_it)
    return xr.Dataset(variables, coords, about)


def _packed(subset: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Compression by days and parts of 256 pixels; values are integers already."""
    high, wide = (min(256, subset.sizes[axis]) for axis in ("y", "x"))
    return {
        str(name): {"zlib": True, "complevel": 4, "shuffle": True, "chunksizes": (1, high, wide)}
        for name in subset.data_vars
    }
