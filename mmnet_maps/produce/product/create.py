"""A new product: its arrays, what they mean, and what the maps are made from."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from mmnet_maps.errors import InputError
from mmnet_maps.produce.product.axes import write_axes
from mmnet_maps.produce.product.conventions import declarations, grid_attributes
from mmnet_maps.produce.product.layers import Layer, global_attributes, layer_attributes, layers_with
from mmnet_maps.produce.product.store import ABOUT, FORMAT, Product, consolidate, open_product
from mmnet_maps.produce.tile.flags import masks
from mmnet_maps.produce.units import Layout
from mmnet_maps.store.arrays import create_group
from mmnet_maps.store.location import Location
from mmnet_maps.store.whole import appearing_folder
from mmnet_maps.variables import Depth, target_named

__all__ = ["create_product"]

_AXES = ("time", "y", "x")
#: Days and side of the chunks inside a shard. Of the shapes and codecs that were measured this pair reads a
#: day's map as fast as single days do, a pixel's series in half the time, and compresses 1.5 times faster.
_CHUNK_DAYS, _CHUNK = 4, 256


def create_product(
    path: Location, layout: Layout, about: Mapping[str, Any], optional: Collection[str] = ()
) -> Product:
    """Create an empty product; it appears whole under its name or not at all.

    Parameters
    ----------
    path : Path or Remote
        Must not exist.
    layout : Layout
    about : mapping
        JSON values: what the maps are made from (``bundle``: its digest, ``target``, ``precision``, ...).
    optional : collection of str
        Names of the optional layers that it holds.

    Raises
    ------
    InputError
        The path exists.
    """
    if path.exists():
        raise InputError(f"{path}: already exists, expected a new product")
    with appearing_folder(path) as draft:
        group = create_group(draft, _attributes(layout, about))
        # A group of its own keeps Zarr readers from taking the ledger for a broken array.
        group.create_group("ledger", attributes={"comment": "a JSON file a finished work unit"})
        days = np.arange(layout.start, layout.stop, dtype=np.int64)
        soil, nominal = _soil(about), about.get("interval")
        write_axes(group, layout.grid, days, soil)
        layers = layers_with(optional, soil)
        for layer in layers.values():
            _create_layer(group, layer, layout, layer_attributes(layer, masks(), nominal, layers))
        consolidate(draft)
    return open_product(path)


def _soil(about: Mapping[str, Any]) -> Depth:
    return target_named(about.get("target", "VWC_5")).soil


def _attributes(layout: Layout, about: Mapping[str, Any]) -> dict[str, Any]:
    cut = {
        "grid": layout.grid.to_dict(),
        "start": layout.start,
        "tile": layout.tile,
        "block_days": layout.block_days,
    }
    return {
        **global_attributes(_soil(about)),
        **grid_attributes(layout.grid),
        ABOUT: json.dumps({"format": FORMAT, **about, "layout": cut}),
    }


def _create_layer(group: zarr.Group, layer: Layer, layout: Layout, attributes: Mapping[str, Any]) -> None:
    side = _CHUNK if layout.tile % _CHUNK == 0 else layout.tile
    days = _CHUNK_DAYS if layout.block_days % _CHUNK_DAYS == 0 else 1
    packing = layer.packing
    assert packing.missing is not None
    size = np.dtype(packing.dtype).itemsize
    group.create_array(
        layer.name,
        shape=(layout.stop - layout.start, *layout.grid.shape),
        dtype=packing.dtype,
        shards=(layout.block_days, layout.tile, layout.tile),
        chunks=(days, side, side),
        compressors=(BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle", typesize=size), Crc32cCodec()),
        fill_value=int(packing.missing),
        dimension_names=_AXES,
        attributes={
            **attributes,
            **grid_attributes(layout.grid),
            "zarr_conventions": declarations("proj", "spatial"),
        },
    )
