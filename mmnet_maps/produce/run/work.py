"""One work unit from the cube to the product: read, compute, write, record."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.learn.bundle import Coarse, load_bundle
from mmnet_maps.prepare.cube.store import Cube, open_cube
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.engine.processor import processor_kind
from mmnet_maps.produce.product.layers import layers_with
from mmnet_maps.produce.product.ledger import Entry
from mmnet_maps.produce.product.objects import day_digests
from mmnet_maps.produce.product.store import Product, open_product
from mmnet_maps.produce.run.arrived import Arrived
from mmnet_maps.produce.run.survey import Survey
from mmnet_maps.produce.tile.inputs import TileInputs
from mmnet_maps.produce.tile.program import TileResult, predict_tiles
from mmnet_maps.produce.tile.provisional import mark_provisional
from mmnet_maps.produce.tile.reach import Reach, Reaches
from mmnet_maps.produce.tile.reading import SUB_TILE, tile_inputs
from mmnet_maps.produce.tile.rules import valid_range
from mmnet_maps.produce.units import Unit
from mmnet_maps.store.location import Location
from mmnet_maps.store.lock import check_owner

__all__ = [
    "Job",
    "Report",
    "WorkerState",
    "compute_unit",
    "forget_peak",
    "one_thread",
    "open_worker",
    "peak_mib",
    "resident_mib",
    "run_unit",
]


@dataclass(frozen=True)
class Job:
    """What all units of a run share; small, so that it travels to every worker.

    Attributes
    ----------
    bundle, cube, product : Path or Remote
    precision : {"float32", "bfloat16"}
    device : str
    coarse : {"nearest", "bilinear"}
    run : str
        Name of the run that holds the product's lock. A worker opens everything anew for each run, and what
        it would write for one that has lost the lock is refused.
    common : tuple of (str, str)
        What all units depend on beside their own inputs: bundle digest, precision, ...
    arrived : Arrived, optional
        What has arrived of the sources, where days can be provisional.
    """

    bundle: Location
    cube: Location
    product: Location
    precision: str
    device: str
    coarse: Coarse
    run: str
    common: tuple[tuple[str, str], ...] = ()
    arrived: Arrived | None = None


@dataclass(frozen=True)
class WorkerState:
    """What a worker keeps open from unit to unit."""

    cube: Cube
    catalogue: Catalogue
    engine: Engine
    product: Product
    survey: Survey


@dataclass(frozen=True)
class Report:
    """What a worker tells of a unit.

    Attributes
    ----------
    key : str
    pixel_days : int
        Computed (those inside the region).
    seconds, seconds_writing : float
        In all, and of that for writing.
    peak_mib : float
        Largest resident memory of the worker so far.
    error : str
        Empty if the unit is done.
    """

    key: str
    pixel_days: int = 0
    seconds: float = 0.0
    seconds_writing: float = 0.0
    peak_mib: float = 0.0
    error: str = ""


@lru_cache(maxsize=1)
def open_worker(job: Job) -> WorkerState:
    """Open what the units of a job need; kept until a unit of another job comes."""
    bundle = load_bundle(job.bundle)
    cube, catalogue, product = open_cube(job.cube), bundle.catalogue, open_product(job.product)
    engine = Engine(bundle, job.precision, job.device, coarse=job.coarse, optional=product.layers)
    survey = Survey(cube, catalogue, product.layout, dict(job.common), job.coarse, job.arrived)
    return WorkerState(cube, catalogue, engine, product, survey)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one torch thread: more never helped, and the bits depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak_mib() -> float:
    """Largest resident memory of this process so far.

    Linux's own figure for the process' memory comes first: `getrusage` also counts what the parent held when
    it started this process.
    """
    return _memory_mib("VmHWM:")


def resident_mib() -> float:
    """Resident memory of this process now; its largest so far where the system does not tell."""
    return _memory_mib("VmRSS:")


def forget_peak() -> None:
    """Let `peak_mib` begin anew from what is held now, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _memory_mib(name: str) -> float:
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compute_unit(
    cube: Cube,
    catalogue: Catalogue,
    engine: Engine,
    unit: Unit,
    sub_tile: int = SUB_TILE,
    reaches: Reaches | None = None,
) -> tuple[dict[str, NDArray[Any]], int]:
    """Compute every layer of a unit.

    Parameters
    ----------
    reaches : Reaches, optional
        Is told of every sub-tile.

    Returns
    -------
    values : dict of str to ndarray, shape (unit.days, tile.height, tile.width)
        As stored; missing, and not computed, outside the region.
    pixel_days : int
        How many were computed.
    """
    shape = (unit.days, unit.tile.height, unit.tile.width)
    values = {
        name: np.full(shape, layer.packing.missing, dtype=layer.packing.dtype)
        for name, layer in layers_with(engine.optional).items()
    }
    days = np.arange(unit.first, unit.stop, dtype=np.int64)
    computed = 0
    tiles = tile_inputs(cube, catalogue, unit, sub_tile, engine.coarse)
    if reaches is not None:
        tiles = reaches.told_of(tiles)
    for inputs, result in predict_tiles(engine, tiles, days):
        _copy_piece(unit, inputs, result, values)
        computed += int(np.count_nonzero(inputs.inside)) * unit.days
    return values, computed


def _copy_piece(unit: Unit, inputs: TileInputs, result: TileResult, values: dict[str, NDArray[Any]]) -> None:
    piece = inputs.tile
    top, left = piece.row - unit.tile.row, piece.col - unit.tile.col
    for name, out in values.items():
        out[:, top : top + piece.height, left : left + piece.width] = getattr(result, name).reshape(
            unit.days, piece.height, piece.width
        )


def run_unit(job: Job, unit: Unit, outside: bool) -> Report:
    """Make a unit, from nothing to its entry in the ledger.

    The old entry goes first and the new one comes last: whenever this stops, the ledger never vouches for
    data that are not whole. A unit that another worker has made meanwhile is left alone: a scheduler gives
    the units of a worker that it has lost to others, and the lost one may go on with them.

    Parameters
    ----------
    job : Job
    unit : Unit
    outside : bool
        The unit lies wholly outside the region: nothing is stored, which reads as not computed.
    """
    began = time.perf_counter()
    with one_thread():
        state = open_worker(job)
        check_owner(job.product, job.run)
        if (old := state.product.ledger.read(unit.key)) is not None:
            if state.survey.is_current(unit, old) and not state.product.damaged([unit]):
                return Report(unit.key, state.survey.pixels(unit) * unit.days, time.perf_counter() - began)
            state.product.ledger.remove(unit.key)
        computed, writing, days = 0, time.perf_counter(), list[str]()
        reach, widths = dict[str, Reach](), list[float]()
        if outside:
            outputs = state.product.erase_unit(unit, job.run)
        else:
            reaches = Reaches(state.engine, np.arange(unit.first, unit.stop, dtype=np.int64))
            values, computed = compute_unit(state.cube, state.catalogue, state.engine, unit, reaches=reaches)
            reach = reaches.found()
            widths = state.survey.widths(unit, reach)
            mark_provisional(values, widths, valid_range(state.engine))
            writing = time.perf_counter()
            with ThreadPoolExecutor(1, thread_name_prefix="digests") as pool:
                digests = pool.submit(day_digests, values)
                outputs = state.product.write_unit(unit, values, job.run)
                days = digests.result()
        state.cube.refuse_replaced()
        as_of = job.arrived.today if job.arrived is not None and widths else None
        inputs = state.survey.inputs(unit, reach)
        entry = Entry(
            unit.first, unit.stop, inputs, outputs, outside, days, processor_kind(), reach, widths, as_of
        )
        state.product.ledger.write(unit.key, entry, state.product.owned(job.run))
    done = time.perf_counter()
    return Report(unit.key, computed, done - began, done - writing, peak_mib())
