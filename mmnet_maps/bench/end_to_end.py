"""The whole path, from cube to product on disk, beside the engine alone and beside the naive path."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mmnet_maps.bench.device import device_figures
from mmnet_maps.bench.engine import interleaved, measure_engine
from mmnet_maps.bench.made_up import made_up_bundle
from mmnet_maps.bench.made_up_cube import made_up_cube
from mmnet_maps.bench.naive import naive_maps
from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.errors import WorkError, refuse_beyond
from mmnet_maps.grid import Tile
from mmnet_maps.learn.bundle import Bundle, load_bundle, save_bundle
from mmnet_maps.learn.train import threads
from mmnet_maps.prepare.cube.store import open_cube
from mmnet_maps.produce.engine.engine import BLOCK, Engine
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.produce.run.predict import Request, predict_product
from mmnet_maps.produce.run.work import peak_mib
from mmnet_maps.produce.tile.trust import SOIL_MOISTURE
from mmnet_maps.produce.units import Unit, iso

__all__ = ["EndToEndRates", "bench_report", "measure_end_to_end"]

_FIRST, _DAYS = 18_322, 16
#: Blocks of pixels in one turn of the engine alone.
_BLOCKS = 128
#: Half a step of storage, and what float rounding adds to it.
_LARGEST_DIFFERENCE = 0.5 * SOIL_MOISTURE.scale + 1e-5


@dataclass(frozen=True)
class EndToEndRates:
    """What `measure_end_to_end` finds.

    Attributes
    ----------
    end_to_end_pixel_days_per_s : float
        Cube on disk to product on disk: opening, planning, reading, computing, writing, recording.
    end_to_end_fraction : float
        Of the engine alone, measured turn by turn with it.
    naive_pixel_days_per_s : float
        `naive_maps` on a part of the same cube.
    end_to_end_ratio : float
        How many times the naive path the whole path is.
    """

    end_to_end_pixel_days_per_s: float
    end_to_end_fraction: float
    naive_pixel_days_per_s: float
    end_to_end_ratio: float


def bench_report(rounds: int = 3) -> dict[str, float | str | None]:
    """Every figure of ``mmnet-maps bench``, under the names that scripts rely on; a minute or two.

    What is of bfloat16 is None where the processor has no such instructions.
    """
    refuse_beyond("--rounds", rounds, 1, 1000)
    bundle = made_up_bundle("mmnet", published_catalogue())
    engine, whole = measure_engine(bundle, rounds=2 * rounds + 1), measure_end_to_end(bundle, rounds)
    return {
        "published_pixels_per_s": engine.published_pixels_per_s,
        "engine_pixels_per_s": engine.engine_pixels_per_s,
        "engine_ratio": engine.engine_ratio,
        "max_abs_difference": engine.max_abs_difference,
        "matmul_gflops": engine.matmul_gflops,
        "engine_gflops": engine.engine_gflops,
        "roofline_fraction": engine.roofline_fraction,
        "all_layers_ratio": engine.all_layers_ratio,
        **asdict(whole),
        **{name: value for name, value in engine.to_json().items() if name.startswith("bfloat16_")},
        "peak_memory_mib": peak_mib(),
        "threads": engine.threads,
        **device_figures(bundle, rounds),
    }


def _engine_alone(bundle: Bundle) -> Callable[[], None]:
    """The pixel pass on blocks that stand ready in memory."""
    engine = Engine(bundle)
    workspace, rng = engine.workspace(), np.random.default_rng(0)
    workspace.inputs[:] = rng.standard_normal(workspace.inputs.shape)
    workspace.series[:] = np.arange(BLOCK) // (BLOCK // 64)
    table = torch.from_numpy(rng.standard_normal((64, engine.series_width)).astype(np.float32))

    def run() -> None:
        for _ in range(_BLOCKS):
            engine.predict(workspace, table)

    return run


@contextmanager
def _bench_cube(bundle: Bundle, height: int, width: int) -> Iterator[Path]:
    """A folder with `bundle` and `cube`, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="mmnet-maps-") as folder:
        work = Path(folder)
        save_bundle(bundle, work / "bundle")
        made_up_cube(work / "cube", height, width, _FIRST, _FIRST + _DAYS)
        yield work


def measure_end_to_end(
    bundle: Bundle, rounds: int = 3, height: int = 512, width: int = 1024, naive_side: int = 96
) -> EndToEndRates:
    """Measure on a made-up cube, one worker and one torch thread.

    Parameters
    ----------
    bundle : Bundle
        Of a network.
    rounds : int
        Medians are over so many.
    height, width : int
        Of the map, of 16 days.
    naive_side : int
        Side of the part that the naive path maps.

    Raises
    ------
    WorkError
        The two paths disagree.
    """
    with _bench_cube(bundle, height, width) as work, threads(1):
        saved, cube = load_bundle(work / "bundle"), open_cube(work / "cube")
        part = Unit(Tile(0, 0, min(naive_side, height), min(naive_side, width)), _FIRST, _FIRST + _DAYS)
        run = count()

        def whole() -> None:
            out = work / f"product-{next(run)}"
            request = Request(work / "bundle", work / "cube", iso(_FIRST), iso(_FIRST + _DAYS - 1), out)
            summary = predict_product(request, forecast=False)
            if summary["failed"]:
                raise WorkError(f"a work unit failed: {summary['failed']}")

        found = interleaved(
            {"engine": _engine_alone(saved), "whole": whole, "naive": lambda: naive_maps(cube, saved, part)},
            rounds,
        )
        _refuse_difference(work / "product-0", saved, naive_maps(cube, saved, part), part)
    rate = height * width * _DAYS / found["whole"]
    engine = _BLOCKS * BLOCK / found["engine"]
    naive = part.tile.height * part.tile.width * _DAYS / found["naive"]
    return EndToEndRates(rate, rate / engine, naive, rate / naive)


def _refuse_difference(path: Path, bundle: Bundle, naive: NDArray[np.float32], part: Unit) -> None:
    stored = open_product(path).read("soil_moisture", part.first, part.stop, part.tile.rows, part.tile.cols)
    maps, (low, high) = SOIL_MOISTURE.decode(stored), (0.0, 1.0)
    if (np.isnan(maps) != np.isnan(naive)).any():
        raise WorkError("the whole path and the naive path differ in what is missing")
    difference = np.nanmax(np.abs(maps - np.clip(naive, low, high)), initial=0.0)
    if difference > _LARGEST_DIFFERENCE:
        raise WorkError(f"the whole path and the naive path differ by {difference:.2g} m3 m-3")
