"""What a prediction will take: bytes, memory, time, cost and energy, from a few seconds of the same work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from dask.system import cpu_count

from mmnet_maps.prepare.cube.store import Cube, CubeSource
from mmnet_maps.produce.product.layers import layers_with
from mmnet_maps.produce.run.calibration import Calibration, calibrate
from mmnet_maps.produce.run.power import Power, read_power
from mmnet_maps.produce.run.survey import Survey
from mmnet_maps.produce.run.work import resident_mib
from mmnet_maps.produce.tile.reading import SUB_TILE, required_sources
from mmnet_maps.produce.units import Unit

__all__ = ["Calibration", "Estimate", "Prices", "calibrate", "estimate"]

#: Seconds until a worker process has its first unit: imports, weights, opening.
_WORKER_START = 6.0
#: What one more worker or core of this machine adds, as a share of one alone (memory and caches are shared).
_SHARE_OF_ONE_MORE = 0.92
#: What a worker process comes to hold beyond its largest unit when it makes many, as a share of it: memory
#: between blocks that were given back (.04 after two units, .12 after eight, .17 after 46 were measured).
_KEPT_BETWEEN_UNITS = 0.1


@dataclass(frozen=True)
class Prices:
    """What a run costs, in money and in energy.

    Attributes
    ----------
    per_worker_hour, per_gib_month : float
        In any currency: of an hour of one worker, and of a GiB of output for a month.
    power : Power, optional
        Watts and emissions; the table of the package without it.
    electricity : str
        Which of the table's emissions count.
    """

    per_worker_hour: float = 0.0
    per_gib_month: float = 0.0
    power: Power = field(default_factory=read_power)
    electricity: str = "world"

    def __post_init__(self) -> None:
        self.power.co2_kg(0.0, self.electricity)  # refuses what the table does not hold


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
    energy_kwh, co2_kg : float
        By the table of power; CO2 equivalent.
    """

    seconds: float
    workers: int
    peak_memory_mib: float
    bytes_read: int
    bytes_written: int
    cost: float
    energy_kwh: float
    co2_kg: float


def estimate(
    survey: Survey,
    units: Sequence[Unit],
    found: Calibration,
    workers: int,
    prices: Prices,
    device: str = "cpu",
    cores: int | None = None,
) -> Estimate:
    """Scale a calibration up to all units.

    Parameters
    ----------
    units : sequence of Unit
        The work: those that are new or stale and not outside the region.
    workers : int
    prices : Prices
    device : str
        Kind of device.
    cores : int, optional
        Processor cores that the workers share; those of this machine without it.
    """
    seconds, busy, pixel_days, read = 0.0, 0.0, 0, 0.0
    for unit in units:
        pixels = survey.pixels(unit)
        writing = unit.days * found.write_per_pixel_day
        seconds += pixels * (found.per_pixel + unit.days * found.per_pixel_day + writing)
        busy += pixels * (found.cpu_per_pixel + unit.days * found.cpu_per_pixel_day + writing)
        pixel_days += pixels * unit.days
        read += sum(size * found.stored_share[name] for name, size in survey.bytes_seen(unit).items())
    # A worker computes and prepares at once: whether that takes less time depends on whether cores are idle.
    seconds = max(seconds / _gain(min(workers, len(units))), busy / _gain(cores or cpu_count()))
    if workers > 1:
        seconds += _WORKER_START
    written = pixel_days * found.bytes_per_pixel_day
    hours, gib = seconds * workers / 3600, written / 2**30
    memory = _start_mib(found, workers) + max(_more_mib(survey, unit, found) for unit in units)
    if 1 < workers < len(units):
        memory *= 1 + _KEPT_BETWEEN_UNITS
    busy_hours = busy / 3600 if device == "cpu" else hours
    energy = prices.power.energy_kwh(busy_hours, hours, memory, device)
    return Estimate(
        seconds=seconds,
        workers=workers,
        peak_memory_mib=memory,
        bytes_read=round(read),
        bytes_written=round(written),
        cost=hours * prices.per_worker_hour + gib * prices.per_gib_month,
        energy_kwh=energy,
        co2_kg=prices.power.co2_kg(energy, prices.electricity),
    )


def _gain(count: int) -> float:
    """How many times as fast as one so many workers or cores are."""
    return 1 + (count - 1) * _SHARE_OF_ONE_MORE


def _start_mib(found: Calibration, workers: int) -> float:
    """Memory with a calibration's piece: of a process of its own; one worker is this process as it is now."""
    own = resident_mib() if workers == 1 else 0.0
    return found.peak_mib + max(0.0, own - found.resident_mib)


def _more_mib(survey: Survey, unit: Unit, found: Calibration) -> float:
    """Memory of a unit beyond that of a calibration: the rest of its output, a layer's shard, chunks kept."""
    values = unit.days * unit.tile.height * unit.tile.width
    sizes = [_bytes(layer.packing.dtype) for layer in layers_with(survey.optional).values()]
    output = max(0, values - found.pixel_days) * sum(sizes) + values * max(sizes)
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
