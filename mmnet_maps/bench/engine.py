"""How fast the engine is, beside what it replaces and beside the machine's own matrix product.

Every figure of one report is measured in one run, on the same inputs, with the same number of threads,
turn by turn: only their ratios mean anything on a machine that others use too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mmnet_maps.bench.made_up import knowing_rows, made_up_inputs, made_up_tile
from mmnet_maps.learn.bundle import Bundle
from mmnet_maps.learn.model_input import ModelInput, model_arrays
from mmnet_maps.learn.train import threads
from mmnet_maps.prepare.features import window
from mmnet_maps.produce.engine.engine import Engine, Workspace
from mmnet_maps.produce.tile.program import predict_tile

__all__ = ["EngineRates", "interleaved", "measure_engine"]

#: The published batch, the side of the square product that measures the machine, and the days of a tile.
_BATCH, _SQUARE, _DAYS = 512, 2048, 16
#: bfloat16 that reaches less of the rate of float32 is left out.
_HOPELESS = 0.4


def interleaved(cases: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each case; every round runs all of them once, the first round only warms up."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(rounds + 1):
        for name, case in cases.items():
            began = time.perf_counter()
            case()
            if turn:
                taken[name].append(time.perf_counter() - began)
    return {name: float(np.median(seconds)) for name, seconds in taken.items()}


@dataclass(frozen=True)
class EngineRates:
    """What `measure_engine` finds.

    Attributes
    ----------
    published_pixels_per_s : float
        The plain forward pass on scaled inputs, batches of 512.
    engine_pixels_per_s, engine_ratio : float
        The pixel pass, and how many times the plain forward pass it is.
    max_abs_difference : float
        Between the two, m3 m-3.
    matmul_gflops, engine_gflops, roofline_fraction : float
        A square float32 product, the pixel pass (its multiply-adds count 2), and their ratio.
    tile_pixel_days_per_s, tile_fraction : float
        `predict_tile`: series, gap filling, features, engine and trust; and its share of the engine alone.
    all_layers_ratio : float
        How many times as long it takes with every optional layer as without.
    bfloat16_pixels_per_s, bfloat16_ratio, bfloat16_rms, bfloat16_p999 : float or None
        The pixel pass in bfloat16 against float32, and the differences in m3 m-3; None for a network without
        one, and where it is less than 0.4 times as fast.
    bfloat16_matmul_gflops, bfloat16_fraction : float or None
        The same square product in bfloat16, and the share of it that the pixel pass in bfloat16 reaches: its
        first two layers and its last stay in float32.
    threads : int
    """

    published_pixels_per_s: float
    engine_pixels_per_s: float
    engine_ratio: float
    max_abs_difference: float
    matmul_gflops: float
    engine_gflops: float
    roofline_fraction: float
    tile_pixel_days_per_s: float
    tile_fraction: float
    all_layers_ratio: float
    bfloat16_pixels_per_s: float | None
    bfloat16_ratio: float | None
    bfloat16_rms: float | None
    bfloat16_p999: float | None
    bfloat16_matmul_gflops: float | None
    bfloat16_fraction: float | None
    threads: int

    def to_json(self) -> dict[str, float | None]:
        """As plain values."""
        return asdict(self)


def measure_engine(bundle: Bundle, rounds: int = 7, size: int = 256, count: int = 1) -> EngineRates:
    """Measure the engine on made-up inputs.

    Parameters
    ----------
    bundle : Bundle
        Of a network.
    rounds : int
        Medians are over so many.
    size : int
        Side of the tile in pixels.
    count : int
        Torch threads.
    """
    with threads(count):
        engine, catalogue = Engine(bundle, optional=()), bundle.catalogue
        knowing = Engine(knowing_rows(bundle))
        days = np.arange(18_800, 18_800 + _DAYS, dtype=np.int64)
        tile = made_up_tile(catalogue, size, size, days)
        repeats = max(1, size * size * _DAYS // engine.block)
        block = _Block(engine, bundle, repeats)
        one, other = torch.rand(_SQUARE, _SQUARE), torch.rand(_SQUARE, _SQUARE)
        product = torch.empty_like(one)
        cases: dict[str, Callable[[], object]] = {
            "published": block.published,
            "engine": block.engine_days,
            "matmul": lambda: torch.mm(one, other, out=product),
            "tile": lambda: predict_tile(engine, tile, days),
            "layers": lambda: predict_tile(knowing, tile, days),
        }
        half = None
        if (engine.bfloat16_gain() or 0.0) > _HOPELESS:
            half = _Block(Engine(bundle, "bfloat16"), bundle, repeats)
            cases["bfloat16"] = half.engine_days
            halves = [x.to(torch.bfloat16) for x in (one, other, product)]
            cases["bfloat16 matmul"] = lambda: torch.mm(halves[0], halves[1], out=halves[2])
        found = interleaved(cases, rounds)
        difference = float(np.abs(block.plain() - block.estimate()).max())
        error = None if half is None else np.abs(half.estimate() - block.estimate())
    published, rate = _BATCH / found["published"], repeats * engine.block / found["engine"]
    square, billions = 2e-9 * _SQUARE**3, 2e-9 * engine.pixels.multiply_adds
    peak, reached = square / found["matmul"], billions * rate
    half_rate = None if half is None else repeats * engine.block / found["bfloat16"]
    half_peak = None if half is None else square / found["bfloat16 matmul"]
    mapped = int(tile.inside.sum()) * _DAYS / found["tile"]
    return EngineRates(
        published_pixels_per_s=published,
        engine_pixels_per_s=rate,
        engine_ratio=rate / published,
        max_abs_difference=difference,
        matmul_gflops=peak,
        engine_gflops=reached,
        roofline_fraction=reached / peak,
        tile_pixel_days_per_s=mapped,
        tile_fraction=mapped / rate,
        all_layers_ratio=found["layers"] / found["tile"],
        bfloat16_pixels_per_s=half_rate,
        bfloat16_ratio=None if half_rate is None else half_rate / rate,
        bfloat16_rms=None if error is None else float(np.sqrt((error**2).mean())),
        bfloat16_p999=None if error is None else float(np.quantile(error, 0.999)),
        bfloat16_matmul_gflops=half_peak,
        bfloat16_fraction=None
        if half_rate is None or half_peak is None
        else billions * half_rate / half_peak,
        threads=count,
    )


class _Block:
    """One block of made-up pixels for the plain forward pass and for the engine."""

    def __init__(self, engine: Engine, bundle: Bundle, repeats: int) -> None:
        # As many as in the tile: of two cases of different length a busy machine favours the shorter.
        self.repeats = repeats
        catalogue = bundle.catalogue
        self.engine, self.bundle = engine, bundle
        base = made_up_inputs(catalogue, engine.block, seed=1)
        distinct = 64
        self.cell: NDArray[np.int64] = np.sort(np.arange(engine.block) % distinct)
        series = base.series[:distinct].transpose(2, 0, 1)
        history = np.ascontiguousarray(series[-catalogue.window_days - 1 :])
        windows = window(history, catalogue.window_days, catalogue.lags, 1)[0]
        self.inputs = ModelInput(base.snapshot, np.ascontiguousarray(windows.transpose(1, 2, 0)[self.cell]))
        batch = self.inputs.rows(np.resize(np.arange(engine.block), _BATCH))
        arrays = model_arrays(bundle.kind, batch, catalogue, bundle.scaler)
        self.batch = [torch.from_numpy(a) for a in arrays]
        self.table = engine.series_table(history, 1)[0]
        self.workspace = self._workspace()

    def _workspace(self) -> Workspace:
        snapshot, names = self.inputs.snapshot, self.bundle.catalogue.snapshot
        columns = {name: snapshot[:, cell] for cell, name in enumerate(names)}
        covers = [columns[name] for name in names if name.startswith("LC_")]
        columns["LC"] = np.argmax(covers, axis=0).astype(np.float32)
        rows = np.stack([columns[name] for name in self.engine.features])
        workspace = self.engine.workspace()
        self.engine.scale(rows, 0, workspace.inputs)
        workspace.series[:] = self.cell
        return workspace

    def published(self) -> None:
        assert self.bundle.network is not None
        with torch.inference_mode():
            self.bundle.network(*self.batch)

    def engine_days(self) -> None:
        for _ in range(self.repeats):
            self.engine.predict(self.workspace, self.table)

    def plain(self) -> NDArray[np.float32]:
        return self.bundle.predict(self.inputs, batch=_BATCH)

    def estimate(self) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.engine.predict(self.workspace, self.table)
        return found.copy()
