"""Daily maps from a bundle and a cube, and what they would take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

import xarray as xr

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.jobs.direct import Box, predict_box
from mmnet_maps.learn.bundle import Bundle
from mmnet_maps.prepare.cube.store import Cube
from mmnet_maps.produce.run.plan import Prices
from mmnet_maps.produce.run.power import read_power
from mmnet_maps.produce.run.predict import Request, predict_product
from mmnet_maps.store.location import local_path, location, target_location

if TYPE_CHECKING:
    from distributed.deploy.cluster import Cluster

__all__ = ["How", "make_product", "plan", "predict", "refuse_failed"]


class How(TypedDict, total=False):
    """How maps are computed; see `predict`."""

    workers: int
    scheduler: str | Cluster | None
    precision: str
    device: str
    coarse: str | None
    layers: Sequence[str] | None
    tile: int | None
    block_days: int | None


@overload
def predict(
    bundle: str | Path | Bundle,
    cube: str | Path | Cube,
    start: str,
    end: str | None = None,
    out: None = None,
    *,
    box: Box | None = None,
    crs: str = "EPSG:4326",
    precision: str = "float32",
    device: str = "cpu",
    coarse: str | None = None,
    layers: Sequence[str] | None = None,
) -> xr.Dataset: ...


@overload
def predict(
    bundle: str | Path,
    cube: str | Path,
    start: str,
    end: str,
    out: str | Path,
    *,
    workers: int = 1,
    scheduler: str | Cluster | None = None,
    precision: str = "float32",
    device: str = "cpu",
    coarse: str | None = None,
    layers: Sequence[str] | None = None,
    tile: int | None = None,
    block_days: int | None = None,
) -> dict[str, Any]: ...


def predict(
    bundle: str | Path | Bundle,
    cube: str | Path | Cube,
    start: str,
    end: str | None = None,
    out: str | Path | None = None,
    *,
    box: Box | None = None,
    crs: str = "EPSG:4326",
    workers: int = 1,
    scheduler: str | Cluster | None = None,
    precision: str = "float32",
    device: str = "cpu",
    coarse: str | None = None,
    layers: Sequence[str] | None = None,
    tile: int | None = None,
    block_days: int | None = None,
) -> dict[str, Any] | xr.Dataset:
    """Make daily maps from a bundle and a cube: in a product, or as an xarray data set.

    With `out` the maps are a product on disk, and a second run makes only what is missing. Without it they
    are computed in this process and returned. Both have the same numbers.

    Parameters
    ----------
    bundle : str, Path or Bundle
    cube : str, Path or Cube
        To make a product, both are paths.
    start, end : str
        First and last day, ``YYYY-MM-DD``, both included. Without `end` and `out`: one day.
    out : str or Path, optional
        Product store; resumed where it exists.
    box : (west, south, east, north), optional
        Without `out`: the smallest window of whole pixels that covers this box; by default the whole cube.
    crs : str
        CRS of the box: degrees of longitude and latitude, if it is not given.
    workers : int
        Worker processes on this machine.
    scheduler : str or Cluster, optional
        Address of a dask scheduler whose workers do the work instead, or the cluster itself, as
        `dask_jobqueue`, `dask_kubernetes` and `coiled` give it: it has the certificates of ``tls://``.
    precision : {"float32", "bfloat16"}
    device : str
        ``cpu``, or what torch sees: ``cuda``, ``cuda:1``, ``mps``, ``xpu``.
    coarse : {"nearest", "bilinear"}, optional
        How a pixel gets its weather, surface temperature and SMAP: from the cell that holds it, or
        interpolated between cells. Default: as the bundle says.
    layers : sequence of str, optional
        Optional layers. There is one, ``dissimilarity`` to the training rows, with the flag
        ``outside_applicability``. Default: all that the bundle can give; empty for none.
    tile, block_days : int, optional
        Pixels a side and days of a work unit; as the product has it, or 1,024 and 16.

    Returns
    -------
    dict or Dataset
        With `out`: ``product``; ``units``: how many were new, stale, done before, and outside the region;
        ``pixel_days_done``; ``seconds``; ``peak_memory_mib``; ... Without: ``soil_moisture``, ``lower`` and
        ``upper`` (m3 m-3, NaN where missing), ``dissimilarity`` and ``quality`` (bits) over (time, y, x),
        with the CRS.

    Raises
    ------
    InputError
        The inputs do not fit each other, the days, or the product that is there.
    WorkError
        A work unit failed; the others are done, and a second run redoes those that failed.

    Examples
    --------
    A product on disk:

    >>> done = predict("runs/all/all/bundle", "cube.zarr", "2020-03-01", "2020-03-02", "product.zarr")
    >>> done["units"]["new"], done["failed"]
    (1, {})

    One day of a box in degrees (west, south, east, north), in memory:

    >>> box = (-98.398, 36.396, -98.396, 36.398)
    >>> maps = predict("runs/all/all/bundle", "cube.zarr", "2020-03-01", box=box)
    >>> dict(maps.sizes)
    {'time': 1, 'y': 8, 'x': 7}
    >>> maps.soil_moisture.units
    'm3 m-3'
    """
    if out is None:
        return predict_box(bundle, cube, start, end, box, crs, precision, device, coarse, layers)
    if box is not None:
        raise InputError("box: a product holds the whole cube; leave out `out` to get a box as a data set")
    if isinstance(bundle, Bundle) or isinstance(cube, Cube) or end is None:
        raise InputError("a product is made from a bundle and a cube on disk, and from `start` to `end`")
    how: How = {
        "workers": workers,
        "scheduler": scheduler,
        "precision": precision,
        "device": device,
        "coarse": coarse,
        "layers": layers,
        "tile": tile,
        "block_days": block_days,
    }
    summary = make_product(bundle, cube, start, end, out, **how)
    refuse_failed(summary)
    return summary


def make_product(
    bundle: str | Path, cube: str | Path, start: str, end: str, out: str | Path, **how: Unpack[How]
) -> dict[str, Any]:
    """As `predict`, but units that failed are listed in the summary (``failed``) and raise nothing."""
    return predict_product(Request(location(bundle), location(cube), start, end, target_location(out), **how))


def plan(
    bundle: str | Path,
    cube: str | Path,
    start: str,
    end: str,
    out: str | Path,
    *,
    price_per_hour: float = 0.0,
    price_per_gib: float = 0.0,
    power: str | Path | None = None,
    electricity: str = "world",
    **how: Unpack[How],
) -> dict[str, Any]:
    """Estimate what `predict` would take: work units, bytes, memory, time, cost, energy. Nothing is written.

    Parameters
    ----------
    price_per_hour, price_per_gib : float
        Price of one worker for an hour, and of one GiB of output for a month.
    power : str or Path, optional
        YAML with watts and emissions, in place of the package's table.
    electricity : str
        Country or region whose emissions count: a name in the table.

    Returns
    -------
    dict
        ``units``, ``pixel_days`` and, where there is work, ``forecast``.
    """
    request = Request(location(bundle), location(cube), start, end, target_location(out), **how)
    table = read_power(None if power is None else local_path(power))
    prices = Prices(price_per_hour, price_per_gib, table, electricity)
    return predict_product(request, dry_run=True, prices=prices)


def refuse_failed(summary: dict[str, Any]) -> None:
    """Raise `WorkError` if a work unit failed."""
    failed = summary.get("failed", {})
    if failed:
        key, reason = next(iter(failed.items()))
        raise WorkError(
            f"{len(failed)} work units failed, the first is {key}: {reason}; run again to redo them"
        )
