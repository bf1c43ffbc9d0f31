"""The path that one would write first: all on the target grid in float32, filled, through the plain network.

It gives the same numbers as `predict` and is here to be measured against it: xarray opens the cube, every
input is brought to the pixels, and `xarray.map_blocks` fills gaps, computes features and runs the network.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.dates import day_of_year, year_of
from mmnet_maps.grid import Tile, cell_lookup, lonlat
from mmnet_maps.learn.bundle import Bundle
from mmnet_maps.learn.model_input import ModelInput
from mmnet_maps.prepare.cube.store import Cube
from mmnet_maps.prepare.features import land_cover_class, nearest_release, window, write_features
from mmnet_maps.prepare.gap_fill import gap_fill
from mmnet_maps.produce.tile.reading import visible_rows
from mmnet_maps.produce.units import Unit

__all__ = ["naive_maps"]

Array = NDArray[np.float32]


def naive_maps(cube: Cube, bundle: Bundle, unit: Unit, block: int = 64) -> Array:
    """Soil moisture of a unit.

    Parameters
    ----------
    cube : Cube
        Without a polygon.
    bundle : Bundle
    unit : Unit
    block : int
        Pixels a side of what is computed at once.

    Returns
    -------
    ndarray of float32, shape (unit.days, tile.height, tile.width)
        m3 m-3, not clipped; NaN where missing.
    """
    inputs = _on_target_grid(cube, bundle.catalogue, unit).chunk({"y": block, "x": block})
    shape = (unit.days, unit.tile.height, unit.tile.width)
    template = xr.DataArray(np.empty(shape, dtype=np.float32), dims=("time", "y", "x"))
    template = template.chunk({"time": unit.days, "y": block, "x": block})
    compute = partial(_block, bundle=bundle, first=unit.first, stop=unit.stop)
    found: Array = (
        xr.map_blocks(compute, inputs, template=template).compute(scheduler="synchronous").to_numpy()
    )
    return found


def _on_target_grid(cube: Cube, catalogue: Catalogue, unit: Unit) -> xr.Dataset:
    """Every input that the unit needs as float32 (time of its source, y, x)."""
    tile: Tile = unit.tile
    lon, lat = lonlat(cube.grid, tile)
    layers: dict[str, Any] = {"Longitude": (("y", "x"), lon), "Latitude": (("y", "x"), lat)}
    for name in catalogue.required:
        source = cube.source_of(name)
        cells = cell_lookup(cube.grid, tile, source.grid)
        begin, end = visible_rows(catalogue[name], catalogue, source.days, unit)
        stored = source.read(name, begin, end, cells.rows, cells.cols)
        values = source.variables[name].decode(stored).reshape(end - begin, -1)
        days = source.days[begin:end] if source.days.size else np.zeros(1, dtype=np.int64)
        layers[name] = ((f"days_{name}", "y", "x"), values[:, cells.index])
        layers[f"days_{name}"] = ((f"days_{name}",), days)
    return xr.Dataset(layers)


def _block(part: xr.Dataset, bundle: Bundle, first: int, stop: int) -> xr.DataArray:
    catalogue = bundle.catalogue
    days = np.arange(first, stop, dtype=np.int64)
    shape = (len(days), part.sizes["y"], part.sizes["x"])
    raw = {name: _filled(part, catalogue, name, days) for name in catalogue.snapshot_inputs}
    raw["DoY"] = np.repeat(day_of_year(days).astype(np.float32), shape[1] * shape[2])
    snapshot = np.empty((len(catalogue.snapshot), len(raw["DoY"])), dtype=np.float32)
    write_features(catalogue.snapshot, raw, snapshot)
    series = [_windows(part, catalogue, name, days) for name in catalogue.series]
    inputs = ModelInput(np.ascontiguousarray(snapshot.T), np.stack(series, axis=1))
    return xr.DataArray(bundle.predict(inputs).reshape(shape), dims=("time", "y", "x"))


def _filled(part: xr.Dataset, catalogue: Catalogue, name: str, days: NDArray[np.int64]) -> Array:
    """One value a day and pixel, shape (days x pixels,)."""
    if name in ("Latitude", "Longitude"):
        return np.tile(part[name].to_numpy().ravel().astype(np.float32), len(days))
    variable, values = catalogue[name], part[name].to_numpy()
    values, observed = values.reshape(len(values), -1), part[f"days_{name}"].to_numpy()
    if name == "LC":
        values = land_cover_class(values).astype(np.float32)
    if variable.cadence == "static":
        return np.tile(values[0], len(days))
    if variable.cadence == "yearly":
        return values[nearest_release(year_of(observed).tolist(), year_of(days))].ravel()
    return gap_fill(observed, values, days, variable.fill, variable.max_gap).values.ravel()


def _windows(part: xr.Dataset, catalogue: Catalogue, name: str, days: NDArray[np.int64]) -> Array:
    """Series of every day and pixel, shape (days x pixels, steps)."""
    reach = catalogue.window_days
    whole = np.arange(days[0] - reach, days[-1] + 1, dtype=np.int64)
    filled = _filled(part, catalogue, name, whole).reshape(len(whole), -1)
    cut = window(filled, reach, catalogue.lags, len(days))
    return np.ascontiguousarray(cut.transpose(0, 2, 1)).reshape(-1, len(catalogue.lags))
