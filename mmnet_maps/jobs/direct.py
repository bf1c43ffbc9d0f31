"""Maps of a box and some days, computed in this process and given back as an xarray data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid, Tile
from mmnet_maps.learn.bundle import Bundle, load_bundle
from mmnet_maps.prepare.cube.store import Cube, open_cube
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.extract.box import as_dataset, box_tile
from mmnet_maps.produce.extract.maps import Layer
from mmnet_maps.produce.product.layers import global_attributes, layer_attributes, layers_with
from mmnet_maps.produce.run.chosen import coarse_choice, optional_layers
from mmnet_maps.produce.run.work import compute_unit, one_thread
from mmnet_maps.produce.tile.flags import FLAGS
from mmnet_maps.produce.tile.reading import check_cube
from mmnet_maps.produce.units import Unit, day_number
from mmnet_maps.store.location import Location, location
from mmnet_maps.variables import Depth

__all__ = ["Box", "predict_box"]

#: West, south, east, north.
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class _Computed:
    """Maps in memory, read as those of a store are (`mmnet_maps.produce.extract.maps.Maps`)."""

    source: Location
    days: NDArray[np.int64]
    grid: Grid
    values: dict[str, NDArray[Any]]
    soil_depth: Depth

    @property
    def levels(self) -> Sequence[Grid]:
        return (self.grid,)

    @property
    def layers(self) -> dict[str, Layer]:
        return {
            name: Layer(name, layer.long_name, layer.units, layer.packing)
            for name, layer in layers_with(self.values, self.soil_depth).items()
        }

    @property
    def flags(self) -> dict[str, int]:
        return dict(FLAGS)

    def depth(self, name: str) -> int:
        del name
        return 1

    def version(self, index: int) -> str:
        del index
        return ""

    def read(self, name: str, index: int, rows: slice, cols: slice, level: int = 0) -> NDArray[Any]:
        del level
        return self.values[name][index, rows, cols]

    def pixels(
        self,
        names: Sequence[str],
        begin: int,
        end: int,
        row: NDArray[np.int64],
        col: NDArray[np.int64],
        workers: int = 2,
    ) -> dict[str, NDArray[Any]]:
        del workers
        return {name: self.values[name][begin:end, row, col] for name in names}


def predict_box(
    bundle: str | Path | Bundle,
    cube: str | Path | Cube,
    start: str,
    end: str | None = None,
    box: Box | None = None,
    crs: str = "EPSG:4326",
    precision: str = "float32",
    device: str = "cpu",
    coarse: str | None = None,
    layers: Sequence[str] | None = None,
) -> xr.Dataset:
    """Maps as an xarray data set; see `mmnet_maps.jobs.maps.predict`."""
    model = bundle if isinstance(bundle, Bundle) else load_bundle(location(bundle))
    store = cube if isinstance(cube, Cube) else open_cube(location(cube))
    first = day_number(start, "start")
    stop = first + 1 if end is None else day_number(end, "end") + 1
    if stop <= first:
        raise InputError(f"start {start} is after end {end}")
    grid = store.grid
    tile = Tile(0, 0, grid.height, grid.width) if box is None else box_tile(grid, box, crs)
    check_cube(store, model.catalogue, first, stop, str(store.path))
    with one_thread():
        how, optional = coarse_choice(coarse, model), optional_layers(layers, model)
        engine = Engine(model, precision=precision, device=device, coarse=how, optional=optional)
        values, _ = compute_unit(store, model.catalogue, engine, Unit(tile, first, stop))
    days, soil = np.arange(first, stop), model.catalogue.target.soil
    maps = _Computed(store.path, days, grid.crop(tile), values, soil)
    found = as_dataset(maps, Tile(0, 0, tile.height, tile.width)).compute()
    nominal = model.interval.nominal if model.interval else None
    held = layers_with(values, soil)
    for name, layer in held.items():
        attributes = layer_attributes(layer, FLAGS, nominal, held)
        attributes.pop("coordinates")
        found[name].attrs = {**attributes, **found[name].attrs}
    found.attrs |= global_attributes(soil)
    found.attrs |= {"bundle": model.digest, "precision": precision, "coarse": how}
    return xr.decode_cf(found, decode_coords="all")
