"""What a small piece of the work takes, measured in a process of its own.

The process that asks may have held anything before, and memory that was freed is not always given back: only
a process that did nothing else tells what a worker needs.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.errors import WorkError
from mmnet_maps.grid import Tile
from mmnet_maps.learn.bundle import load_bundle
from mmnet_maps.learn.local_cluster import ENVIRONMENT
from mmnet_maps.prepare.cube.store import Cube, CubeSource
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.product.create import create_product
from mmnet_maps.produce.run.survey import Survey
from mmnet_maps.produce.run.work import compute_unit, one_thread, peak_mib, resident_mib
from mmnet_maps.produce.tile.reading import SUB_TILE, required_sources, sub_tiles
from mmnet_maps.produce.units import Layout, Unit
from mmnet_maps.store.location import Location
from mmnet_maps.store.whole import size_of

__all__ = ["Calibration", "calibrate", "measure"]

#: Days of the short run of a calibration.
_FEW_DAYS = 2


@dataclass(frozen=True)
class Calibration:
    """What a small piece of the work took.

    Attributes
    ----------
    per_pixel, per_pixel_day : float
        Seconds for reading and preparing a pixel of a unit, and for each of its days, on an idle machine.
    cpu_per_pixel, cpu_per_pixel_day : float
        The same in seconds of one processor core: a worker reads and prepares while it computes.
    write_per_pixel_day : float
        Seconds.
    bytes_per_pixel_day : float
        Stored in the product.
    stored_share : dict of str to float
        By source, bytes on disk for a byte of decoded values.
    resident_mib, peak_mib : float
        Memory of a process of its own before it, and the most that it held.
    pixel_days : int
        Of the piece.
    """

    per_pixel: float
    per_pixel_day: float
    cpu_per_pixel: float
    cpu_per_pixel_day: float
    write_per_pixel_day: float
    bytes_per_pixel_day: float
    stored_share: dict[str, float]
    resident_mib: float
    peak_mib: float
    pixel_days: int


def calibrate(
    survey: Survey, units: Sequence[Unit], bundle: Location, precision: str, device: str, workers: int = 1
) -> Calibration:
    """`measure` a unit from the middle of the work in a process of its own.

    Parameters
    ----------
    survey : Survey
    units : sequence of Unit
        The work, at least one unit.
    bundle : Path or Remote
    precision, device : str
        Of the engine.
    workers : int
        For several the process holds what a worker of a cluster holds.

    Raises
    ------
    WorkError
        The process failed.
    """
    job = pickle.dumps((workers, (survey, units[len(units) // 2], bundle, precision, device)))
    # The package that runs here must run there, installed or not.
    path = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=job,
        capture_output=True,
        env={**os.environ, **(ENVIRONMENT if workers > 1 else {}), "PYTHONPATH": path.rstrip(os.pathsep)},
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise WorkError(f"the calibration failed: {said[-1] if said else f'exit status {done.returncode}'}")
    return Calibration(**json.loads(done.stdout))


def measure(survey: Survey, unit: Unit, bundle: Location, precision: str, device: str) -> Calibration:
    """Run a few sub-tiles of a unit through the same code, writing aside.

    Parameters
    ----------
    survey : Survey
    unit : Unit
    bundle : Path or Remote
    precision, device : str
        Of the engine.
    """
    resident = resident_mib()
    engine = Engine(load_bundle(bundle), precision, device, coarse=survey.coarse, optional=survey.optional)
    piece = Unit(_densest(survey, unit), unit.first, unit.stop)
    short = Unit(piece.tile, piece.first, min(piece.first + _FEW_DAYS, piece.stop))
    cube, catalogue = survey.cube, survey.catalogue
    with one_thread():
        compute_unit(cube, catalogue, engine, short)  # the first run also loads code and fills caches
        few, _, _ = _timed(cube, catalogue, engine, short)
        many, many_days, (writing, stored) = _timed(cube, catalogue, engine, piece, write=True)
    pixels, days = max(1, many_days // piece.days), piece.days - short.days
    per_day = np.maximum(0.0, many - few) / (pixels * days) if days else many / many_days
    per_pixel = np.maximum(0.0, many / pixels - per_day * piece.days) if days else np.zeros(2)
    share = {source.name: _stored_share(cube, source) for source, _ in required_sources(cube, catalogue)}
    return Calibration(
        per_pixel=float(per_pixel[0]),
        per_pixel_day=float(per_day[0]),
        cpu_per_pixel=float(per_pixel[1]),
        cpu_per_pixel_day=float(per_day[1]),
        write_per_pixel_day=writing / many_days,
        bytes_per_pixel_day=stored / many_days,
        stored_share=share,
        resident_mib=resident,
        peak_mib=peak_mib(),
        pixel_days=many_days,
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
) -> tuple[NDArray[np.float64], int, tuple[float, int]]:
    """Seconds of computing (by the clock, of cores), pixel-days, and (seconds, bytes) of writing."""
    began = _now()
    values, pixel_days = compute_unit(cube, catalogue, engine, unit)
    took, writing = _now() - began, (0.0, 0)
    if write:
        with tempfile.TemporaryDirectory(prefix="mmnet-maps-") as scratch:
            grid, side = cube.grid.crop(unit.tile), max(unit.tile.height, unit.tile.width)
            side = -(-side // SUB_TILE) * SUB_TILE
            layout = Layout(grid, unit.first, unit.stop, side, unit.days)
            product = create_product(Path(scratch) / "product", layout, {}, engine.optional)
            own = next(iter(layout.units()))
            start = time.perf_counter()
            product.write_unit(own, values)
            seconds = time.perf_counter() - start
            writing = seconds, sum(size_of(product.path / name / "c") for name in product.layers)
    return took, pixel_days, writing


def _now() -> NDArray[np.float64]:
    return np.array([time.perf_counter(), time.process_time()])


def _stored_share(cube: Cube, source: CubeSource) -> float:
    cells = source.grid.height * source.grid.width * source.steps
    decoded = sum(cells * _item(source, name) for name in source.variables)
    stored = sum(size_of(cube.folder / source.name / name) for name in source.variables)
    return stored / decoded if decoded else 0.0


def _item(source: CubeSource, name: str) -> int:
    return np.dtype(source.variables[name].dtype).itemsize


def _serve() -> None:
    """Do the job that stands on standard input, and print what was found."""
    workers, job = pickle.load(sys.stdin.buffer)
    if workers > 1:
        # A worker of a cluster has this loaded before it begins.
        import distributed  # noqa: F401
    print(json.dumps(asdict(measure(*job))))


if __name__ == "__main__":
    _serve()
