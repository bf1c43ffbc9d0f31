"""Finished maps: opened, written as files, judged, and reported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from mmnet_maps.dates import to_date, to_day
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Tile
from mmnet_maps.prepare.cube.store import open_cube
from mmnet_maps.produce.export.collection import Publisher
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.extract.box import as_dataset
from mmnet_maps.produce.extract.maps import open_maps
from mmnet_maps.produce.judge.cell_edges import cell_edges
from mmnet_maps.produce.judge.stations import validate_stations
from mmnet_maps.produce.judge.truth import CoarseField, TruthField, compare_with_truth
from mmnet_maps.produce.judge.variogram import variogram
from mmnet_maps.produce.product.store import open_product as read_product
from mmnet_maps.produce.units import iso
from mmnet_maps.show.report import write_report
from mmnet_maps.sources.stations.in_situ import read_in_situ, read_network
from mmnet_maps.store.location import local_path, location, target_location

__all__ = ["export", "open_product", "report", "validate", "verify", "view"]


def open_product(source: str | Path) -> xr.Dataset:
    """Open finished maps as an xarray data set; values are read when they are used.

    Parameters
    ----------
    source : str or Path
        A product that `predict` made, a Zarr that `export --zarr` wrote, or the folder of COGs of `export`.

    Returns
    -------
    Dataset
        ``soil_moisture``, ``lower`` and ``upper`` (m3 m-3, NaN where missing) and ``quality`` (bits) over
        (time, y, x); the CRS is the coordinate ``spatial_ref``, as rioxarray and odc-geo take it.

    Raises
    ------
    InputError
        There are no maps there.

    Examples
    --------
    >>> maps = open_product("product.zarr")
    >>> series = maps.soil_moisture.sel(x=554_000, y=4_028_000, method="nearest").to_series()
    >>> len(series), series.index[0].date().isoformat()
    (2, '2020-03-01')
    """
    maps = open_maps(location(source))
    whole = maps.levels[0]
    stored = as_dataset(maps, Tile(0, 0, whole.height, whole.width))
    return xr.decode_cf(stored, decode_coords="all")


def export(
    product: str | Path,
    out: str | Path,
    *,
    start: str | None = None,
    end: str | None = None,
    workers: int = 2,
    zarr: bool = False,
    shards: bool = True,
    institution: str = "",
    license: str = "",
) -> dict[str, Any]:
    """Write cloud-optimised GeoTIFFs and a STAC item for every finished day, and a Zarr store if asked.

    Parameters
    ----------
    product : str or Path
    out : str or Path
        Folder of the files; days that are there are kept.
    start, end : str, optional
        First and last day, ``YYYY-MM-DD``, both included.
    workers : int
        Days written at once.
    zarr : bool
        Also write the days as one Zarr store with levels of resolution, ``soil_moisture.zarr``.
    shards : bool
        Format 3 of Zarr with shards; without: format 2, for GDAL before 3.13.
    institution, license : str
        Who publishes the maps, and the SPDX identifier of their licence; what is not given stays as it is in
        the folder.

    Returns
    -------
    dict
        ``out``; ``written``, ``kept``: numbers of days; ``unfinished``: days left out; ``items`` of the
        catalog.

    Raises
    ------
    InputError
        There is no product, none of the days is finished, or the folder is another product's.

    Examples
    --------
    >>> done = export("product.zarr", "maps", start="2020-03-02")
    >>> done["written"], done["items"]
    (1, 1)
    """
    first, last = (to_day(to_date(text)) if text else None for text in (start, end))
    if not shards and not zarr:
        raise InputError("--no-shards: says how --zarr writes; give both")
    store: Literal["none", "shards", "chunks"] = "none" if not zarr else "shards" if shards else "chunks"
    publisher = Publisher(institution, license)
    target = target_location(out)
    held = read_product(location(product))
    done = export_product(held, target, first, last, workers, publisher, store)
    return {
        "out": str(target),
        "written": len(done.written),
        "kept": len(done.kept),
        "unfinished": [iso(day) for day in done.unfinished],
        "items": done.items,
    }


def validate(
    product: str | Path,
    in_situ: str | Path,
    network: str | Path,
    out: str | Path,
    *,
    against: Sequence[str] = (),
    cube: str | Path | None = None,
    truth: str | Path | None = None,
) -> dict[str, Any]:
    """Compare maps with stations: scores, interval coverage, every pair.

    Parameters
    ----------
    product : str or Path
    in_situ : str or Path
        Ground truth CSV: ID ... Date, and the depth that the product is of, such as VWC_5.
    network : str or Path
        Where the stations are: GeoPackage, Shapefile, GeoJSON or CSV.
    out : str or Path
        Folder of the scores and pairs.
    against : sequence of str
        Other products, scored on the same station-days: a Zarr store, NetCDF, or a folder of GeoTIFFs with
        dates in their names. ``PATH:VARIABLE`` names a variable or band.
    cube : str or Path, optional
        The cube that the maps were made from: steps across the edges of its coarse cells are compared with
        steps inside (`mmnet_maps.produce.judge.cell_edges`).
    truth : str or Path, optional
        Known truth of a simulated region on the grid of the maps. Adds scores of the maps and of SMAP in
        space, in time and within the cells of SMAP, the gain over SMAP, and the semivariance of the maps and
        of the truth. Needs `cube`.

    Returns
    -------
    dict
        What ``scores.json`` in `out` holds.
    """
    if truth is not None and cube is None:
        raise InputError("--truth: is compared beside SMAP; give the --cube of the maps too")
    target = target_location(out)
    maps = read_product(location(product))
    measured = read_in_situ(location(in_situ), maps.target.name)
    stations = read_network(location(network), domain=False)
    known = None if truth is None else TruthField(local_path(truth), maps.grid)
    held = None if cube is None else open_cube(cube)

    def squares() -> dict[str, Any]:
        if held is None:
            return {}
        days = [d for d in maps.finished_days().tolist() if known is None or d in known.days]
        found: dict[str, Any] = {"cell_edges": cell_edges(maps, held, days, known)}
        if known is not None:
            found["truth"] = compare_with_truth(maps, known, CoarseField(held))
            found["variogram"] = variogram(maps, known, days)
        return found

    return validate_stations(maps, measured, stations, target, against, squares)


def report(
    source: str | Path,
    out: str | Path,
    *,
    validation: str | Path | None = None,
    cube: str | Path | None = None,
) -> dict[str, Any]:
    """Write a self-contained HTML report of a run or of a product.

    Parameters
    ----------
    source : str or Path
        Run folder or product.
    out : str or Path
        HTML file to write.
    validation : str or Path, optional
        What `validate` wrote; by default the folder ``validation`` beside the product, if there is one.
    cube : str or Path, optional
        The cube that a product was made from: its SMAP is drawn beside the maps.

    Returns
    -------
    dict
        ``report``, the file, and ``of``: ``run`` or ``product``.
    """
    beside = (None if path is None else location(path) for path in (validation, cube))
    target = target_location(out)
    kind = write_report(location(source), target, *beside)
    return {"report": str(target), "of": kind}


def view(
    source: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    static: str | Path | None = None,
    validation: str | Path | None = None,
    cube: str | Path | None = None,
    base_map: str | None = None,
) -> dict[str, Any]:
    """Serve a map page until interrupted, or write it as files.

    Parameters
    ----------
    source : str or Path
        Folder that `export` wrote, a published Zarr, or a product of moderate size.
    host : str
        Address to serve on; by default only this machine can read.
    port : int
        0 takes a free one.
    static : str or Path, optional
        Folder to write the page to, for any web host; then nothing is served.
    validation : str or Path, optional
        Folder that `validate` wrote: its stations are on the map with their measurements.
    cube : str or Path, optional
        The cube that the maps were made from. Its terrain is drawn below them, SMAP and the age of inputs are
        layers, and precipitation is drawn below a series.
    base_map : str, optional
        Address of online tiles below the maps, with {z}, {x} and {y}.

    Returns
    -------
    dict
        With `static`: ``static``, ``files`` and ``bytes``.

    Raises
    ------
    InputError
        There are no maps, the port or folder cannot be used, or the extra ``viewer`` is not installed.
    """
    from mmnet_maps.show.server import serve, write_site
    from mmnet_maps.show.site import Site

    folder = None if static is None else local_path(static, to_write=True)
    site = Site(
        open_maps(location(source)),
        None if validation is None else local_path(validation),
        base_map,
        None if cube is None else open_cube(location(cube)),
    )
    if folder is None:
        serve(site, host, port)
        return {}
    return {"static": str(folder), **write_site(site, folder)}


def verify(product: str | Path) -> dict[str, Any]:
    """Whether a product still holds what was written: stored bytes against the ledger.

    Returns
    -------
    dict
        ``product``, ``units`` (finished ones) and ``damaged``: what is lost or changed, by unit.
    """
    held = read_product(location(product))
    return {
        "product": str(location(product)),
        "units": len(list(held.ledger.keys())),
        "damaged": held.damaged(),
    }
