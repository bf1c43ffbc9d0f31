"""How fast and how exact a device is, where torch sees one."""

from __future__ import annotations

import numpy as np

from mmnet_maps.bench.engine import interleaved
from mmnet_maps.bench.made_up import made_up_tile
from mmnet_maps.learn.bundle import Bundle
from mmnet_maps.learn.train import threads
from mmnet_maps.produce.engine import device
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.engine.sizes import Sizes
from mmnet_maps.produce.tile.program import TileResult, predict_tile, predict_tiles

__all__ = ["device_figures"]

_DAYS, _TILES = 16, 8


def device_figures(
    bundle: Bundle, rounds: int = 3, size: int = 256, sizes: Sizes | None = None
) -> dict[str, float | str]:
    """Map made-up tiles on the first device beside the processor, and one of them on one core for comparison.

    Parameters
    ----------
    bundle : Bundle
        Of a network.
    rounds : int
        Medians are over so many.
    size : int
        Side of a tile in pixels.
    sizes : Sizes, optional
        Of the device's blocks and products.

    Returns
    -------
    dict
        ``device`` (its name), ``device_pixel_days_per_s`` (tiles in memory to maps in memory, with all
        copies), ``device_ratio`` (how many times one core), ``device_max_abs_difference`` (m3 m-3) and
        ``device_quality_differences`` (pixel-days with other bits). Empty where torch sees no device.
    """
    others = [name for name in device.seen_devices() if name != "cpu"]
    if not others:
        return {}
    days = np.arange(18_800, 18_800 + _DAYS, dtype=np.int64)
    tile = made_up_tile(bundle.catalogue, size, size, days, missing=0.02)
    with threads(1):
        here, there = Engine(bundle), Engine(bundle, device=others[0], sizes=sizes)
        found = interleaved(
            {
                "device": lambda: [0 for _ in predict_tiles(there, iter([tile] * _TILES), days)],
                "cpu": lambda: predict_tile(here, tile, days),
            },
            rounds,
        )
        expected = predict_tile(here, tile, days, keep_prediction=True)
        ((_, result),) = predict_tiles(there, iter([tile]), days, keep_prediction=True)
    pixel_days = int(tile.inside.sum()) * _DAYS
    return {
        "device": others[0],
        "device_pixel_days_per_s": _TILES * pixel_days / found["device"],
        "device_ratio": _TILES * found["cpu"] / found["device"],
        "device_max_abs_difference": _difference(result, expected),
        "device_quality_differences": int((result.quality != expected.quality).sum()),
    }


def _difference(found: TileResult, expected: TileResult) -> float:
    """Largest difference of two estimates; infinite where one is missing and the other is not."""
    assert found.prediction is not None
    assert expected.prediction is not None
    if (np.isnan(found.prediction) != np.isnan(expected.prediction)).any():
        return float("inf")
    return float(np.nanmax(np.abs(found.prediction - expected.prediction), initial=0.0))
