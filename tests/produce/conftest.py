"""A small world to map: a cube of random values with gaps on seven grids, and an untrained network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pyproj import Transformer

from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.grid import Grid
from mmnet_maps.learn.bundle import Bundle, save_bundle
from mmnet_maps.learn.models.networks import build_network
from mmnet_maps.packing import Packing
from mmnet_maps.prepare.cube.config import Target
from mmnet_maps.prepare.cube.store import build_cube
from mmnet_maps.prepare.features import Scaler
from mmnet_maps.variables import Cadence, Variable

#: 2020-03-01, and how many days before and after it the world holds.
FIRST, REACH = 18322, 40
SINUSOIDAL = "+proj=sinu +R=6371007.181 +nadgrids=@null +wktext +units=m"
PACKED = Packing(dtype="int16", scale=0.0001, missing=-9999)
DECIBEL = Packing(dtype="int16", scale=0.01, missing=-32768)
KELVIN = Packing(dtype="uint16", missing=0)
FLOAT = Packing(dtype="float32", missing=-9999)
COVER = Packing(dtype="uint8", missing=0)


@dataclass(frozen=True)
class ArrayReader:
    """A source whose values stand in memory."""

    name: str
    grid: Grid
    cadence: Cadence
    days: NDArray[np.int64]
    variables: Mapping[str, Packing]
    values: Mapping[str, NDArray[Any]]
    version: Mapping[int, int] = field(default_factory=dict)

    @property
    def definitions(self) -> Mapping[str, Variable]:
        catalogue = published_catalogue()
        return {name: catalogue[name] for name in self.variables}

    def read(self, first: int, last: int, rows: slice, cols: slice) -> dict[str, NDArray[Any]]:
        return {name: values[first:last, rows, cols] for name, values in self.values.items()}

    def identity(self, first: int, last: int) -> str:
        return f"{self.name} {first} {last} {sorted(self.version.items())}"

    def changed(self, step: int) -> ArrayReader:
        """The same with other values on one of its days."""
        values = {name: array.copy() for name, array in self.values.items()}
        for name, array in values.items():
            usable = array[step] != self.variables[name].missing
            array[step][usable] -= array.dtype.type(1)
        return replace(self, values=values, version={**self.version, step: 1})


def _around(grid: Grid, crs: str, resolution: float, margin: int = 2) -> Grid:
    """A grid of that CRS and pixel size over another, some cells larger on every side."""
    left, bottom, right, top = Transformer.from_crs(grid.crs, crs, always_xy=True).transform_bounds(
        *grid.bounds
    )
    wide = margin * resolution
    return Grid.from_bounds(crs, (left - wide, bottom - wide, right + wide, top + wide), resolution)


def _draw(
    rng: np.random.Generator, shape: tuple[int, ...], low: float, high: float, packing: Packing, gaps: float
) -> NDArray[Any]:
    values = rng.uniform(low, high, shape)
    return (
        packing.encode(np.where(rng.random(shape) < gaps, np.nan, values)) if gaps else packing.encode(values)
    )


@dataclass(frozen=True)
class World:
    """Readers by source, the target, and a bundle on disk."""

    target: Target
    readers: dict[str, ArrayReader]
    bundle: Path

    def cube(self, path: Path) -> Path:
        build_cube(self.target, list(self.readers.values()), path, workers=1)
        return path

    def with_reader(self, reader: ArrayReader) -> World:
        return replace(self, readers={**self.readers, reader.name: reader})


def make_readers(grid: Grid, scene_crs: str, scene_pixel: float, seed: int = 0) -> dict[str, ArrayReader]:
    rng = np.random.default_rng(seed)
    daily = np.arange(FIRST - REACH, FIRST + REACH, dtype=np.int64)
    scenes = grid if scene_crs == grid.crs else _around(grid, scene_crs, scene_pixel)
    found = []

    def add(
        name: str,
        on: Grid,
        cadence: Cadence,
        days: NDArray[np.int64],
        packing: Packing,
        gaps: float,
        **ranges: Any,
    ) -> None:
        shape = (max(1, days.size), *on.shape)
        values = {key: _draw(rng, shape, *span, packing, gaps) for key, span in ranges.items()}
        found.append(ArrayReader(name, on, cadence, days, dict.fromkeys(ranges, packing), values))

    bands = dict.fromkeys(("Blue", "Green", "Red", "NIR", "SWIR1", "SWIR2"), (0.02, 0.5))
    add("hls", scenes, "irregular", daily[3::8], PACKED, 0.3, **bands)
    add("sentinel1", scenes, "irregular", daily[5::12], DECIBEL, 0.05, VV=(-15, -7), VH=(-25, -15))
    add("smap", _around(grid, "EPSG:6933", 9008.055), "daily", daily, PACKED, 0.1, SMAP=(0.05, 0.45))
    weather = {
        "eto": (1, 8), "etr": (1, 9), "pr": (0, 20), "sph": (0.002, 0.01), "srad": (100, 300),
        "vpd": (0.2, 2), "vs": (1, 6),
    }  # fmt: skip
    add("gridmet", _around(grid, "EPSG:4326", 1 / 24), "daily", daily, FLOAT, 0.0, **weather)
    add("modis", _around(grid, SINUSOIDAL, 926.625), "daily", daily, KELVIN, 0.3, LST=(13500, 15500))
    none = np.array([], dtype=np.int64)
    add("terrain", grid, "static", none, FLOAT, 0.0, elevation=(500, 2000), slope=(0, 30), aspect=(0, 360))
    add("soil", grid, "static", none, FLOAT, 0.02, clay=(5, 40), sand=(10, 80), bd=(1.1, 1.6))
    years = np.array(["2019-01-01", "2021-01-01"], dtype="datetime64[D]").astype(np.int64)
    codes = rng.choice(np.array([11, 21, 42, 52, 71, 82], dtype=np.uint8), size=(2, *grid.shape))
    found.append(ArrayReader("landcover", grid, "yearly", years, {"LC": COVER}, {"LC": codes}))
    return {reader.name: reader for reader in found}


def make_bundle(folder: Path, seed: int = 0, kind: str = "mmnet") -> Path:
    catalogue = published_catalogue()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_network(kind, catalogue).eval()
        # Estimates of a fresh network lie far outside the physical range, and would all be clipped.
        last = network.decoder[-1]
        last.weight.data.mul_(0.1 / last.weight.data.abs().sum())
        last.bias.data.fill_(0.25)
    rng = np.random.default_rng(seed)
    scaler = Scaler(
        rng.uniform(0, 1, len(catalogue.snapshot)),
        rng.uniform(1, 5, len(catalogue.snapshot)),
        np.array([4, 5, 5, 0.006, 200, 1, 3, 14500.0]),
        np.array([2, 2, 6, 0.003, 60, 0.6, 1.5, 600.0]),
    )
    save_bundle(Bundle(kind, catalogue, scaler, network=network), folder)
    return folder


@pytest.fixture(scope="session")
def make_world(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., World]:
    """``make_world(height=, width=, crs=, transform=, scene_crs=, polygon=, seed=)`` gives a `World`."""
    bundle = make_bundle(tmp_path_factory.mktemp("bundle") / "bundle")

    def make(
        height: int = 20,
        width: int = 28,
        crs: str = "EPSG:32612",
        pixel: tuple[float, float] = (30.0, -30.0),
        corner: tuple[float, float] = (420_000.0, 4_100_000.0),
        scene_crs: str | None = None,
        polygon: Any = None,
        seed: int = 0,
    ) -> World:
        grid = Grid(crs, (pixel[0], 0.0, corner[0], 0.0, pixel[1], corner[1]), height, width)
        readers = make_readers(grid, scene_crs or crs, max(abs(v) for v in pixel), seed)
        return World(Target(grid, polygon, "test"), readers, bundle)

    return make
