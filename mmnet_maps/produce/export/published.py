"""All exported days as one Zarr store for others to read: levels of resolution by today's conventions.

Groups ``0/``, ``1/``, ... hold the same arrays at 1, 2, 4, ... pixels of the product a pixel, each group a CF
data set of its own. Everything is written shard by shard, so that memory does not grow with the region.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from mmnet_maps.errors import WorkError
from mmnet_maps.grid import Grid
from mmnet_maps.produce.export.cog import north_up
from mmnet_maps.produce.export.collection import Publisher
from mmnet_maps.produce.export.folder import read_json
from mmnet_maps.produce.export.levels import coarser_bits, coarser_values, level_grids
from mmnet_maps.produce.product.axes import with_dimensions, write_axes, write_mapping
from mmnet_maps.produce.product.conventions import declarations, grid_attributes
from mmnet_maps.produce.product.layers import QUALITY, Layer, global_attributes, layer_attributes
from mmnet_maps.produce.product.store import ABOUT, Product, consolidate
from mmnet_maps.progress import steps
from mmnet_maps.store.arrays import create_group
from mmnet_maps.store.location import Location, Remote
from mmnet_maps.store.whole import files_named, is_draft, remove_folder, replacing_folder, write_whole

__all__ = ["clear_older", "write_published"]

#: Part of the store's digest: raise it when the store changes its form.
_FORM = 1
#: Chunks suit a series and an animation as well as a map; shards keep the number of objects low.
_CHUNK, _SHARD = (16, 128, 128), (16, 1024, 1024)
_VALID = "soil_moisture"
_AXES = ("time", "y", "x")


@dataclass(frozen=True)
class _Shard:
    """A part of a level: positions on its time, y and x axes."""

    days: slice
    rows: slice
    cols: slice

    @property
    def key(self) -> tuple[slice, slice, slice]:
        return self.days, self.rows, self.cols


def write_published(
    product: Product,
    days: Sequence[int],
    digests: Sequence[str],
    path: Location,
    publisher: Publisher,
    shards: bool,
) -> str:
    """Write the store; it appears whole, and replaces an older one at once.

    Parameters
    ----------
    product : Product
    days : sequence of int
        Finished days to hold, since 1970-01-01, ascending.
    digests : sequence of str
        Of the days' values.
    path : Path or Remote
        The store. In an object store its digest is part of its name: each state is a store of its own, and
        the collection names the one that counts.
    publisher : Publisher
    shards : bool
        Zarr format 3 with chunks in shards, which GDAL reads from version 3.13 on; or format 2 without
        shards, for older readers.

    Returns
    -------
    str
        Its name.

    Raises
    ------
    WorkError
        The product does not hold what was written there.
    """
    digest = _digest(product, digests, publisher, shards)
    if isinstance(path, Remote):
        path = path.with_name(f"{path.stem}-{digest[:12]}{path.suffix}")
    if is_draft(path) or _digest_of(path) != digest:
        with replacing_folder(path) as draft:
            _write(product, list(days), draft, publisher, shards, digest)
    return path.name


def clear_older(folder: Location, published: str | None) -> None:
    """Remove the states of the store that the collection of an object store no longer names."""
    if isinstance(folder, Remote):
        for state in folder.glob("soil_moisture-*.zarr"):
            if state.name != published:
                remove_folder(state)


def _digest(product: Product, digests: Sequence[str], publisher: Publisher, shards: bool) -> str:
    parts = [
        _FORM,
        list(digests),
        vars(publisher),
        shards,
        product.about.get("interval"),
        list(product.layers),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _digest_of(path: Location) -> str | None:
    attributes = read_json(path / "zarr.json").get("attributes") or read_json(path / ".zattrs")
    try:
        return str(json.loads(attributes[ABOUT])["digest"])
    except (ValueError, KeyError, TypeError):
        return None


def _write(
    product: Product, days: list[int], draft: Location, publisher: Publisher, shards: bool, digest: str
) -> None:
    base, turned = north_up(product.grid)[0], _Turned(product)
    grids, finer = level_grids(base), dict[str, "zarr.Array[Any]"]()
    kept = ("bundle", "catalogue", "target", "precision", "coarse", "interval")
    about = {name: product.about[name] for name in kept if name in product.about}
    said = global_attributes(product.soil_depth, publisher.institution, publisher.license)
    root = create_group(
        draft,
        zarr_format=3 if shards else 2,
        attributes={
            **said,
            **grid_attributes(base),
            ABOUT: json.dumps({**about, "digest": digest}),
            "multiscales": _multiscales(grids),
            "zarr_conventions": declarations("proj", "spatial", "multiscales"),
        },
    )
    write_mapping(root, base)
    for number, grid in enumerate(grids):
        group = root.create_group(str(number), attributes={**said, **grid_attributes(grid)})
        write_axes(group, grid, np.asarray(days, dtype=np.int64), product.soil_depth)
        held = [layer for layer in product.layers.values() if number == 0 or layer.overview != "none"]
        arrays = {layer.name: _create(group, layer, held, product, grid, len(days), shards) for layer in held}
        parts = list(_shards(len(days), grid))
        with steps(f"parts of level {number} written", len(parts)) as advance:
            for part in parts:
                if number == 0:
                    turned.check(days[part.days], part)
                    for name, array in arrays.items():
                        array[part.key] = turned.read(name, days[part.days], part)
                else:
                    _coarsen(finer, arrays, part)
                advance()
        finer = arrays
        _consolidate(draft / str(number), shards)
    _consolidate(draft, shards)


def _create(
    group: zarr.Group, layer: Layer, held: list[Layer], product: Product, grid: Grid, days: int, shards: bool
) -> zarr.Array[Any]:
    attributes = layer_attributes(layer, product.flags(), product.about.get("interval"), product.layers)
    names = {other.name for other in held}
    if "ancillary_variables" in attributes:
        others = [name for name in attributes["ancillary_variables"].split() if name in names]
        attributes["ancillary_variables"] = " ".join(others)
    chunk = tuple(min(c, max(n, 1)) for c, n in zip(_CHUNK, (days, *grid.shape), strict=True))
    whole = tuple(-(-min(s, n) // c) * c for s, n, c in zip(_SHARD, (days, *grid.shape), chunk, strict=True))
    packing, size = layer.packing, np.dtype(layer.packing.dtype).itemsize
    codec: Any = {"id": "blosc", "cname": "zstd", "clevel": 5, "shuffle": 2}
    if shards:
        codec = BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle", typesize=size)
    fill = None if layer.name == QUALITY and not shards else int(packing.missing or 0)
    attributes |= grid_attributes(grid) | {"zarr_conventions": declarations("proj", "spatial")}
    return group.create_array(
        layer.name,
        shape=(days, *grid.shape),
        dtype=packing.dtype,
        chunks=chunk,
        shards=whole if shards else None,
        compressors=codec,
        # In format 2, readers take the fill value for a _FillValue, and bits would become floats.
        fill_value=fill,
        config={"write_empty_chunks": True},
        **with_dimensions(group, _AXES, attributes),
    )


def _consolidate(path: Location, shards: bool) -> None:
    """As `consolidate`, in either format of Zarr."""
    if shards:
        consolidate(path)
        return
    found: dict[str, Any] = {}
    for file in files_named(path, (".zgroup", ".zattrs", ".zarray")):
        key, data = str(file.relative_to(path)), json.loads(file.read_text(encoding="utf-8"))
        if key != ".zattrs":
            data.pop("zarr_conventions", None)
        found[key] = data
    whole = {"metadata": found, "zarr_consolidated_format": 1}
    write_whole(path / ".zmetadata", json.dumps(whole, indent=2) + "\n")


def _multiscales(grids: Sequence[Grid]) -> dict[str, Any]:
    layout: list[dict[str, Any]] = []
    for number, grid in enumerate(grids):
        entry: dict[str, Any] = {"asset": str(number)}
        if number:
            entry |= {
                "derived_from": str(number - 1),
                "transform": {"scale": [2.0, 2.0], "translation": [0.0, 0.0]},
            }
        layout.append(entry | {"spatial:shape": list(grid.shape), "spatial:transform": list(grid.transform)})
    return {"resampling_method": "average", "layout": layout}


def _shards(days: int, grid: Grid) -> Iterator[_Shard]:
    for first in range(0, days, _SHARD[0]):
        for row in range(0, grid.height, _SHARD[1]):
            for col in range(0, grid.width, _SHARD[2]):
                yield _Shard(
                    slice(first, min(days, first + _SHARD[0])),
                    slice(row, min(grid.height, row + _SHARD[1])),
                    slice(col, min(grid.width, col + _SHARD[2])),
                )


def _coarsen(finer: dict[str, zarr.Array[Any]], arrays: dict[str, zarr.Array[Any]], part: _Shard) -> None:
    """Write a part of a level from the level before: a layer after the other, read a strip at a time."""
    shape = tuple(s.stop - s.start for s in part.key)
    columns = slice(2 * part.cols.start, 2 * part.cols.stop)
    valid = np.empty(shape, arrays[_VALID].dtype)
    # One row of chunks of the level before.
    high = _CHUNK[1] // 2
    for name in sorted(arrays, key=lambda name: name != _VALID):
        out = valid if name == _VALID else np.empty(shape, arrays[name].dtype)
        for top in range(0, shape[1], high):
            strip = slice(top, min(top + high, shape[1]))
            rows = slice(2 * (part.rows.start + strip.start), 2 * (part.rows.start + strip.stop))
            fine: NDArray[Any] = np.asarray(finer[name][part.days, rows, columns])
            if out.dtype.kind == "u":
                of: NDArray[Any] = np.asarray(finer[_VALID][part.days, rows, columns])
                out[:, strip] = coarser_bits(fine, of, valid[:, strip])
            else:
                out[:, strip] = coarser_values(fine)
        arrays[name][part.key] = out


class _Turned:
    """A product read north up, and only where it holds what the ledger says was written."""

    def __init__(self, product: Product) -> None:
        self.product = product
        _, self.rows, self.cols = north_up(product.grid)
        self.whole: set[str] = set()

    def window(self, part: _Shard) -> tuple[slice, slice]:
        """Rows and columns of the product."""
        grid = self.product.grid
        rows, cols = part.rows, part.cols
        if self.rows:
            rows = slice(grid.height - rows.stop, grid.height - rows.start)
        if self.cols:
            cols = slice(grid.width - cols.stop, grid.width - cols.start)
        return rows, cols

    def read(self, name: str, days: Sequence[int], part: _Shard) -> NDArray[Any]:
        """Stored values of a layer, shape (days, rows, columns)."""
        rows, cols = self.window(part)
        held = self.product.read(name, days[0], days[-1] + 1, rows, cols)
        if len(held) > len(days):
            held = held[[day - days[0] for day in days]]
        return held[:, :: -1 if self.rows else 1, :: -1 if self.cols else 1]

    def check(self, days: Sequence[int], part: _Shard) -> None:
        """Raise `WorkError` where a unit that is read is not as it was written."""
        rows, cols = self.window(part)
        for unit in self.product.layout.units(days[0], days[-1] + 1):
            apart = (
                unit.tile.row >= rows.stop
                or unit.tile.row + unit.tile.height <= rows.start
                or unit.tile.col >= cols.stop
                or unit.tile.col + unit.tile.width <= cols.start
            )
            if apart or unit.key in self.whole:
                continue
            said = "is not finished" if self.product.ledger.read(unit.key) is None else ""
            said = said or self.product.damaged([unit]).get(unit.key, "")
            if said:
                raise WorkError(f"{self.product.path}: unit {unit.key}: {said}; make its days again")
            self.whole.add(unit.key)
