"""Maps in Zarr: the working product, with its arrays in the root, or a published store with nested levels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from mmnet_maps.errors import InputError, refuse_damaged
from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.produce.extract.maps import QUALITY, Groups, Layer
from mmnet_maps.produce.extract.shards import shard_reader
from mmnet_maps.store.arrays import (
    fast_decoding,
    open_group,
    reading,
    refuse_huge_chunks,
    stored_days,
)
from mmnet_maps.store.location import Location
from mmnet_maps.store.whole import version_of
from mmnet_maps.variables import SURFACE, Depth

__all__ = ["ZarrMaps"]

#: Days that one read spans, at least: a block of 256 x 256 pixels is then 8 MiB of int16.
_DAYS = 64


class ZarrMaps:
    """A product or a published store, opened for reading.

    Parameters
    ----------
    source : Path or Remote

    Raises
    ------
    InputError
        The group has no soil moisture over (time, y, x), no CRS, or no days; or its metadata are damaged.
    """

    def __init__(self, source: Location) -> None:
        self.source = source
        with refuse_damaged(source, "no maps that `predict` or `export` wrote"):
            self._open(source)

    def _open(self, source: Location) -> None:
        root = open_group(source)
        groups = [root]
        if "soil_moisture" not in root:
            numbered = sorted((int(name) for name, _ in root.groups() if name.isdigit()))
            groups = [group for n in numbered if isinstance(group := root[str(n)], zarr.Group)]
        with fast_decoding():
            self._arrays = [dict(group.arrays()) for group in groups]
        base = self._arrays[0] if groups else {}
        if "soil_moisture" not in base or "time" not in base:
            raise InputError(f"{source}: a Zarr group, but without maps of soil moisture over time")
        for arrays in self._arrays:
            refuse_huge_chunks(source, arrays)
        self.levels = [_grid(source, dict(root.attrs), arrays) for arrays in self._arrays]
        self.days = stored_days(source, base["time"])
        if not self.days.size:
            raise InputError(f"{source}: holds no days")
        self._check_shapes()
        held = [n for n, a in base.items() if a.ndim == 3]
        self.layers = {name: _layer(name, base[name]) for name in sorted(held, key=_order)}
        self.flags = _flags(base.get(QUALITY))
        self.soil_depth: Depth = _depth(base["depth_bnds"]) if "depth_bnds" in base else SURFACE

    def _check_shapes(self) -> None:
        """`InputError` where a layer is not on the grid of its level, or shorter than the days."""
        for grid, arrays in zip(self.levels, self._arrays, strict=True):
            for name, array in arrays.items():
                if array.ndim == 3 and (array.shape[1:] != grid.shape or array.shape[0] < self.days.size):
                    expected = self.days.size, *grid.shape
                    raise InputError(f"{self.source}: {name} has shape {array.shape}, expected {expected}")

    def depth(self, name: str) -> int:
        """How many of the levels hold a layer: ends of an interval are not those of an area's mean."""
        return sum(name in arrays for arrays in self._arrays)

    def version(self, index: int) -> str:
        """Changes when the ledger does, or when a published store is written again."""
        # An entry of the ledger is put there by its name, so that the folder's own time changes.
        return "-".join(map(version_of, (self.source / name for name in ("ledger", "zarr.json", ".zgroup"))))

    def read(self, name: str, index: int, rows: slice, cols: slice, level: int = 0) -> NDArray[Any]:
        """Stored values of a layer on a day, shape (rows, columns)."""
        array = self._arrays[level][name]
        with reading(array):
            return np.asarray(array[index, rows, cols])

    def pixels(
        self,
        names: Sequence[str],
        begin: int,
        end: int,
        row: NDArray[np.int64],
        col: NDArray[np.int64],
        workers: int = 2,
    ) -> dict[str, NDArray[Any]]:
        """Stored values of single pixels, (days, pixels); a stored chunk is read once for all its pixels."""
        with ThreadPoolExecutor(max(1, workers), thread_name_prefix="extract") as pool:
            started = {name: self._started(name, begin, end, row, col, pool) for name in names}
            for _, waiting in started.values():
                for part in waiting:
                    part.result()
        return {name: values for name, (values, _) in started.items()}

    def _started(
        self,
        name: str,
        begin: int,
        end: int,
        row: NDArray[np.int64],
        col: NDArray[np.int64],
        pool: ThreadPoolExecutor,
    ) -> tuple[NDArray[Any], list[Future[None]]]:
        """Values of pixels of a layer, and what fills them."""
        array = self._arrays[0][name]
        reader = shard_reader(array)
        if reader is not None:
            return reader.pixels(begin, end, row, col, pool)
        found = np.empty((end - begin, row.size), array.dtype)
        groups = Groups(row, col, (array.chunks[1], array.chunks[2]))

        def read(at: NDArray[np.int64]) -> None:
            window = groups.window(at)
            across, down = row[at] - window[0].start, col[at] - window[1].start
            for first, stop in _spans(begin, end, (array.shards or array.chunks)[0]):
                with reading(array):
                    values = np.asarray(array[first:stop, window[0], window[1]])
                found[first - begin : stop - begin, at] = values[:, across, down]

        return found, [pool.submit(read, at) for at in groups.at if at.size]


def _spans(begin: int, end: int, block: int) -> Iterator[tuple[int, int]]:
    """Days ``begin`` to ``end`` cut at whole blocks, so that none is read twice."""
    length = -(-_DAYS // block) * block
    while begin < end:
        stop = min(end, (begin // length + 1) * length)
        yield begin, stop
        begin = stop


def _depth(bounds: zarr.Array[Any]) -> Depth:
    if bounds.shape != (2,):
        raise InputError(f"depth_bnds has shape {bounds.shape}, expected two numbers")
    with reading(bounds):
        top, bottom = (float(v) for v in np.asarray(bounds[:]))
    if not 0 <= top <= bottom < 100:
        raise InputError(f"depth_bnds {top}, {bottom}: expected metres below the surface, in order")
    return top, bottom


def _order(name: str) -> tuple[int, str]:
    first = ("soil_moisture", "lower", "upper", QUALITY)
    return (first.index(name) if name in first else len(first), name)


def _layer(name: str, array: zarr.Array[Any]) -> Layer:
    attrs: dict[str, Any] = dict(array.attrs)
    missing = attrs.get("_FillValue")
    packing = Packing(
        dtype=str(array.dtype),
        scale=attrs.get("scale_factor", 1.0),
        offset=attrs.get("add_offset", 0.0),
        missing=float(missing) if isinstance(missing, int | float) else None,
    )
    return Layer(name, str(attrs.get("long_name", name)), str(attrs.get("units", "1")), packing)


def _flags(quality: zarr.Array[Any] | None) -> dict[str, int]:
    if quality is None:
        return {}
    attrs: dict[str, Any] = dict(quality.attrs)
    names = str(attrs.get("flag_meanings", "")).split()
    return {name: int(mask) for name, mask in zip(names, attrs.get("flag_masks", ()), strict=False)}


def _grid(source: Location, about: dict[str, Any], arrays: dict[str, zarr.Array[Any]]) -> Grid:
    """Grid of a level: from CF's grid mapping, or the conventions ``proj`` and ``spatial``."""
    height, width = arrays["soil_moisture"].shape[1:]
    mapping: dict[str, Any] = dict(arrays["spatial_ref"].attrs) if "spatial_ref" in arrays else {}
    own: dict[str, Any] = {**about, **dict(arrays["soil_moisture"].attrs)}
    crs = mapping.get("crs_wkt") or own.get("proj:code") or own.get("proj:wkt2")
    if not crs:
        raise InputError(f"{source}: no CRS: neither spatial_ref nor proj:code")
    if "GeoTransform" in mapping:
        c, a, b, f, d, e = (float(v) for v in str(mapping["GeoTransform"]).split())
    elif "spatial:transform" in own:
        a, b, c, d, e, f = (float(v) for v in own["spatial:transform"])
    else:
        raise InputError(f"{source}: no GeoTransform in spatial_ref, and no spatial:transform")
    return Grid(str(crs), (a, b, c, d, e, f), int(height), int(width))
