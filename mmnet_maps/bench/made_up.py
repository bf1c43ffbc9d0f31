"""A made-up tile, stored and laid out as real ones are, and a made-up bundle: to measure and to test with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.grid import Tile
from mmnet_maps.learn.applicability import Applicability
from mmnet_maps.learn.bundle import Bundle
from mmnet_maps.learn.columns import columns_of, variables_of
from mmnet_maps.learn.intervals import Envelope, IntervalTable
from mmnet_maps.learn.model_input import ModelInput, fit_scaler, model_arrays
from mmnet_maps.learn.models.networks import build_network
from mmnet_maps.packing import Packing
from mmnet_maps.prepare.features import write_features
from mmnet_maps.produce.tile.inputs import Layer, TileInputs

__all__ = ["knowing_rows", "made_up_bundle", "made_up_inputs", "made_up_tile"]

_OPTICAL = Packing(dtype="int16", scale=1e-4, missing=-9999)
_RADAR = Packing(dtype="int16", scale=0.01, missing=-32768)
_PACKINGS: Mapping[str, Packing] = {
    "hls": _OPTICAL,
    "sentinel1": _RADAR,
    "smap": _OPTICAL,
    "gridmet": Packing(dtype="uint16", scale=0.01, missing=65535),
    "modis": Packing(dtype="uint16", missing=0),
    "terrain": Packing(dtype="int16", scale=0.1, missing=-32768),
    "soil": Packing(dtype="float32"),
    "landcover": Packing(dtype="uint8", missing=0),
}
#: Side of a cell in pixels of 30 m, and days between scenes.
_CELL = {"smap": 300, "gridmet": 140, "modis": 31}
_REVISIT = {"hls": 8, "sentinel1": 12, "smap": 1, "gridmet": 1, "modis": 1}
#: Share of the clouds that hides each source; radar sees through them, and misses a little for other reasons.
_CLOUDED = {"hls": 1.0, "modis": 1.0, "sentinel1": 0.1}
_FINE = ("hls", "sentinel1", "terrain", "soil", "landcover")
_PLACE = {"Latitude": (36.0, 43.0), "Longitude": (-125.0, -95.0)}
_CODES = np.array([52, 71, 31, 90, 42, 22, 82, 81], dtype=np.uint8)
#: Days of scenes on either side of the mapped days.
_AROUND = 100


def made_up_tile(
    catalogue: Catalogue,
    height: int,
    width: int,
    days: NDArray[np.int64],
    seed: int = 0,
    clouds: float = 0.3,
    missing: float = 0.0,
    origin: tuple[int, int] = (0, 0),
) -> TileInputs:
    """Make a tile whose values are random within the ranges of the catalogue.

    Parameters
    ----------
    catalogue : Catalogue
        Its required variables are made.
    height, width : int
        Pixels.
    days : ndarray of int64
        Days that will be mapped.
    seed : int
    clouds : float
        Share of missing values in optical scenes and in surface temperature.
    missing : float
        Share of missing values in what does not change, of water, and of pixels outside the region.
    origin : (int, int)
        Row and column of the tile.

    Returns
    -------
    TileInputs
    """
    rng = np.random.default_rng(seed)
    index = {source: _cells(height, width, size) for source, size in _CELL.items()}
    own: dict[str, NDArray[np.int32] | None] = dict.fromkeys(_FINE)
    layers: dict[str, Layer] = {}
    gaps: dict[str, NDArray[np.bool_]] = {}
    for name in catalogue.required:
        variable = catalogue[name]
        source, packing = variable.source, _PACKINGS[variable.source]
        cells = height * width if source in own else int(index[source].max()) + 1
        observed = _observed(source, variable.cadence, days)
        if source not in gaps or source in ("terrain", "soil", "landcover"):
            share = clouds * _CLOUDED[source] if source in _CLOUDED else missing
            gaps[source] = rng.random((max(len(observed), 1), cells)) < share
        stored = _values(rng, variable.valid_range, packing, gaps[source], name)
        layers[name] = Layer(source, observed, stored, packing)
    inside = rng.random(height * width) >= missing
    rows, cols = np.divmod(np.arange(height * width), width)
    latitude, longitude = 37.5 - (rows + origin[0]) * 2.7e-4, -113.0 + (cols + origin[1]) * 3.4e-4
    tile = Tile(origin[0], origin[1], height, width)
    return TileInputs(tile, inside, longitude, latitude, layers, {**index, **own})


def _cells(height: int, width: int, size: int) -> NDArray[np.int32]:
    """Square cells, their grid shifted so that no edge falls together with the tile's."""
    rows, cols = (np.arange(n) + size // 3 for n in (height, width))
    across = int(cols[-1]) // size + 1
    return ((rows // size)[:, None] * across + (cols // size)[None, :]).astype(np.int32).ravel()


def _observed(source: str, cadence: str, days: NDArray[np.int64]) -> NDArray[np.int64]:
    if cadence == "static":
        return np.empty(0, dtype=np.int64)
    if cadence == "yearly":
        years = np.unique(days.astype("datetime64[D]").astype("datetime64[Y]"))
        return years.astype("datetime64[D]").astype(np.int64)
    return np.arange(days[0] - _AROUND, days[-1] + _AROUND, _REVISIT[source], dtype=np.int64)


def _values(
    rng: np.random.Generator,
    limits: tuple[float, float],
    packing: Packing,
    gaps: NDArray[np.bool_],
    name: str,
) -> NDArray[Any]:
    if name == "LC":
        codes = _CODES[rng.integers(0, len(_CODES), gaps.shape)]
        # Half of the gaps are water, half have no code.
        return np.where(gaps, np.where(rng.random(gaps.shape) < 0.5, 11, 0), codes).astype(np.uint8)
    kind = np.dtype(packing.dtype)
    low, high = limits
    if kind.kind != "f":
        ends = np.iinfo(kind)
        low, high = max(low, (ends.min + 1) * packing.scale), min(high, (ends.max - 1) * packing.scale)
    values = low + (high - low) * (0.1 + 0.4 * rng.random(gaps.shape))
    return packing.encode(np.where(gaps, np.nan, values))


def made_up_inputs(catalogue: Catalogue, rows: int, seed: int = 0) -> ModelInput:
    """Random model input with the values that `made_up_tile` draws from."""
    rng = np.random.default_rng(seed)
    raw = {name: _spread(rng, catalogue, name, (rows,)) for name in catalogue.snapshot_inputs}
    raw["LC"] = rng.integers(0, len(_CODES), rows).astype(np.float32)
    raw["DoY"] = rng.integers(1, 366, rows).astype(np.float32)
    snapshot = np.empty((len(catalogue.snapshot), rows), dtype=np.float32)
    write_features(catalogue.snapshot, raw, snapshot)
    series = [_spread(rng, catalogue, name, (rows, len(catalogue.lags))) for name in catalogue.series]
    return ModelInput(np.ascontiguousarray(snapshot.T), np.stack(series, axis=1))


def _spread(
    rng: np.random.Generator, catalogue: Catalogue, name: str, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    low, high = _PLACE.get(name, catalogue[name].valid_range)
    # The made-up tile draws from the part of the range that its storage holds; this spread is much the same.
    return (low + (high - low) * (0.1 + 0.4 * rng.random(shape))).astype(np.float32)


def made_up_bundle(kind: str, catalogue: Catalogue, seed: int = 0, rows: int = 4096) -> Bundle:
    """An untrained network whose statistics fit `made_up_inputs` and whose estimates look like soil moisture.

    Parameters
    ----------
    kind : str
        ``mmnet``, ``transformer`` or ``mlp``.
    catalogue : Catalogue
    seed : int
    rows : int
        Rows that the scaler and the BatchNorms see.
    """
    inputs = made_up_inputs(catalogue, rows, seed)
    scaler = fit_scaler(kind, inputs, catalogue)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(kind, catalogue, dropout=0.0)
        arrays = [torch.from_numpy(a) for a in model_arrays(kind, inputs, catalogue, scaler)]
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d)]
        for norm in norms:
            norm.momentum = None
        with torch.no_grad():
            network.train()(*arrays)
            last: nn.Linear = network.decoder[-1]  # type: ignore[index,assignment]
            estimate = network.eval()(*arrays)
            factor = 0.07 / estimate.std()
            last.bias.sub_(estimate.mean()).mul_(factor).add_(0.22)
            last.weight.mul_(factor)
    network.requires_grad_(False)
    bundle = Bundle(kind, catalogue, scaler, network, envelope=Envelope.fit(inputs))
    predicted = bundle.predict(inputs)
    noise = np.random.default_rng(seed).normal(0, 0.04, rows).astype(np.float32)
    interval = IntervalTable.calibrate(predicted + noise, predicted, np.arange(rows) % 40)
    return replace(bundle, interval=interval, digest="0" * 64)


def knowing_rows(bundle: Bundle, seed: int = 0, rows: int = 4096) -> Bundle:
    """A made-up bundle with the training rows that it would know, every variable of the same importance."""
    inputs = made_up_inputs(bundle.catalogue, rows, seed)
    importance = dict.fromkeys(variables_of(columns_of(bundle.kind, bundle.catalogue)), 1.0)
    known = Applicability.fit(bundle.kind, inputs, np.arange(rows) % 40, bundle.catalogue, importance)
    return replace(bundle, applicability=known)
