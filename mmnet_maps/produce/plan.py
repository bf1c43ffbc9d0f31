"""What a prediction will take: bytes, memory, time and cost, from a few seconds of the same work."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.grid import Tile
from mmnet_maps.learn.bundle import load_bundle
from mmnet_maps.prepare.cube import Cube, CubeSource
from mmnet_maps.produce.engine import Engine
from mmnet_maps.produce.product import LAYERS, create_product
from mmnet_maps.produce.reading import SUB_TILE, required_sources, sub_tiles
from mmnet_maps.produce.survey import Survey
from mmnet_maps.produce.trust import FLAGS
from mmnet_maps.produce.units import Layout, Unit
from mmnet_maps.produce.work import compute_unit, one_thread, peak_mib

__all__ = ["Calibration", "Estimate", "Prices", "calibrate", "estimate"]

#: Sub-tiles, and days of the short run, of a calibration.
_PIECES, _FEW_DAYS = 2, 2
#: Seconds until a worker process has its first unit: imports, weights, opening.
_WORKER_START = 6.0
#: What one more worker on this machine adds, as a share of a worker alone (memory and caches are shared).
_SHARE_OF_ONE_MORE = 0.92


@dataclass(frozen=True)
class Prices:
    """Prices in any currency: of an hour of one worker, and of a GiB of output for a month."""

    per_worker_hour: float = 0.0
    per_gib_month: float = 0.0


@dataclass(frozen=True)
class Calibration:
    """What a small piece of the work took.

    Attributes
    ----------
    per_pixel, per_pixel_day : float
        Seconds for reading and preparing a pixel of a unit, and for each of its days.
    write_per_pixel_day : float
        Seconds.
    bytes_per_pixel_day : float
        Stored in the product.
    stored_share : dict of str to float
        By source, bytes on disk for a byte of decoded values.
    peak_mib : float
        Memory of this process after it.
    pixel_days : int
        Of the piece.
    """

    per_pixel: float
    per_pixel_day: float
    write_per_pixel_day: float
    bytes_per_pixel_day: float
    stored_share: dict[str, float]
    peak_mib: float
    pixel_days: int


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes
    ----------
    seconds : float
        On `workers` workers of this machine.
    peak_memory_mib : float
        Of the largest worker.
    bytes_read, bytes_written : int
        On disk.
    cost : float
        In the currency of the prices.
    """

    seconds: float
    workers: int
    peak_memory_mib: float
    bytes_read: int
    bytes_written: int
    cost: float


def calibrate(
    survey: Survey, units: Sequence[Unit], bundle: Path, precision: str, device: str
) -> Calibration:
    """Run a few sub-tiles of a unit from the middle of the work through the same code, writing aside.

    Parameters
    ----------
    survey : Survey
    units : sequence of Unit
        The work, at least one unit.
    bundle : Path
    precision, device : str
        Of the engine.
    """
    engine = Engine(load_bundle(bundle), precision=precision, device=device)
    whole = units[len(units) // 2]
    piece = Unit(_densest(survey, whole), whole.first, whole.stop)
    short = Unit(piece.tile, piece.first, min(piece.first + _FEW_DAYS, piece.stop))
    cube, catalogue = survey.cube, survey.catalogue
    with one_thread():
        compute_unit(cube, catalogue, engine, short)  # the first run also loads code and fills caches
        few, _, _ = _timed(cube, catalogue, engine, short)
        many, many_days, (writing, stored) = _timed(cube, catalogue, engine, piece, write=True)
    pixels = max(1, many_days // piece.days)
    days = piece.days - short.days
    per_day = max(0.0, many - few) / (pixels * days) if days else many / many_days
    per_pixel = max(0.0, many / pixels - per_day * piece.days) if days else 0.0
    share = {source.name: _stored_share(cube, source) for source, _ in required_sources(cube, catalogue)}
    return Calibration(
        per_pixel, per_day, writing / many_days, stored / many_days, share, peak_mib(), many_days
    )


def _densest(survey: Survey, unit: Unit) -> Tile:
    """Neighbouring sub-tiles of a unit's tile that together hold the most pixels of the region."""
    pieces = sub_tiles(unit.tile, SUB_TILE)
    pairs = [_joined(a, b) for a, b in pairwise(pieces) if a.row == b.row]
    candidates = pairs or pieces
    return max(candidates, key=lambda tile: survey.pixels(Unit(tile, unit.first, unit.stop)))


def _joined(left: Tile, right: Tile) -> Tile:
    return Tile(left.row, left.col, left.height, left.width + right.width)


def _timed(
    cube: Cube, catalogue: Catalogue, engine: Engine, unit: Unit, write: bool = False
) -> tuple[float, int, tuple[float, int]]:
    """Seconds of computing, pixel-days, and (seconds, bytes) of writing."""
    began = time.perf_counter()
    values, pixel_days = compute_unit(cube, catalogue, engine, unit)
    took, writing = time.perf_counter() - began, (0.0, 0)
    if write:
        with tempfile.TemporaryDirectory(prefix="mmnet-maps-") as scratch:
            grid, side = cube.grid.crop(unit.tile), max(unit.tile.height, unit.tile.width)
            side = -(-side // SUB_TILE) * SUB_TILE
            layout = Layout(grid, unit.first, unit.stop, side, unit.days)
            product = create_product(Path(scratch) / "product", layout, {}, FLAGS)
            own = next(iter(layout.units()))
            start = time.perf_counter()
            product.write_unit(own, values)
            seconds = time.perf_counter() - start
            writing = seconds, sum(_size(product.path / name / "c") for name in LAYERS)
    return took, pixel_days, writing


def _size(folder: Path) -> int:
    found = 0
    for place, _, names in os.walk(folder):
        found += sum((Path(place) / name).stat().st_size for name in names)
    return found


def _stored_share(cube: Cube, source: CubeSource) -> float:
    cells = source.grid.height * source.grid.width * source.steps
    decoded = sum(cells * _item(source, name) for name in source.variables)
    stored = sum(_size(cube.path / source.name / name) for name in source.variables)
    return stored / decoded if decoded else 0.0


def _item(source: CubeSource, name: str) -> int:
    return np.dtype(source.variables[name].dtype).itemsize


def estimate(
    survey: Survey, units: Sequence[Unit], found: Calibration, workers: int, prices: Prices
) -> Estimate:
    """Scale a calibration up to all units.

    Parameters
    ----------
    units : sequence of Unit
        The work: those that are new or stale and not outside the region.
    workers : int
    prices : Prices
    """
    seconds, pixel_days, read = 0.0, 0, 0.0
    for unit in units:
        pixels = survey.pixels(unit)
        seconds += pixels * (found.per_pixel + unit.days * (found.per_pixel_day + found.write_per_pixel_day))
        pixel_days += pixels * unit.days
        read += sum(size * found.stored_share[name] for name, size in survey.bytes_seen(unit).items())
    lanes = min(workers, len(units))
    if workers > 1:
        seconds = _WORKER_START + seconds / (1 + (lanes - 1) * _SHARE_OF_ONE_MORE)
    written = pixel_days * found.bytes_per_pixel_day
    hours, gib = seconds * workers / 3600, written / 2**30
    return Estimate(
        seconds=seconds,
        workers=workers,
        peak_memory_mib=found.peak_mib + max(_more_mib(survey, unit, found) for unit in units),
        bytes_read=round(read),
        bytes_written=round(written),
        cost=hours * prices.per_worker_hour + gib * prices.per_gib_month,
    )


def _more_mib(survey: Survey, unit: Unit, found: Calibration) -> float:
    """Memory of a unit beyond that of a calibration: the rest of its output, and chunks kept."""
    values = unit.days * unit.tile.height * unit.tile.width - found.pixel_days
    output = max(0, values) * sum(_bytes(packing.dtype) for packing in LAYERS.values())
    rows = min(1.0, SUB_TILE / unit.tile.height)
    seen = survey.bytes_seen(unit)
    kept = sum(
        rows * seen[source.name]
        for source, _ in required_sources(survey.cube, survey.catalogue)
        if not _in_step(survey.cube, source)
    )
    return (output + kept) / 2**20


def _in_step(cube: Cube, source: CubeSource) -> bool:
    """Whether a sub-tile is a whole number of the source's chunks: none is kept for its neighbours."""
    offset = cube.grid.aligned_offset(source.grid)
    if offset is None:
        return False
    return all(n % chunk == 0 for n, chunk in zip(offset, source.chunks[1:], strict=True))


def _bytes(dtype: str) -> int:
    return np.dtype(dtype).itemsize
