"""How much detail maps have: the semivariogram of the estimate beside that of a known truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.grid import tiles
from mmnet_maps.produce.judge.truth import TruthField
from mmnet_maps.produce.product.store import Product
from mmnet_maps.progress import steps

__all__ = ["variogram", "variogram_table"]

Float = NDArray[np.float64]
#: Most pixels between the two of a pair, and the share of the shorter side of the grid that it may be.
_FARTHEST, _SHARE = 256, 0.5
#: Most days that are looked at.
_DAYS = 8


def variogram(product: Product, truth: TruthField, days: Sequence[int]) -> dict[str, list[float]]:
    """Semivariances of estimate and truth at distances of 1, 2, 4, ... pixels along rows and columns.

    Half the mean square of the difference between two pixels (Matheron 1963, Economic Geology 58, 1246-1266),
    over all pairs and days at which both pixels have an estimate and a truth. Sums are gathered tile by tile;
    pairs reach over tiles.

    Parameters
    ----------
    product : Product
    truth : TruthField
        On the product's grid.
    days : sequence of int
        Days since 1970-01-01, finished in the product and held by the truth; of more than eight, eight that
        are spread over them.

    Returns
    -------
    dict
        ``lag`` (map units, mean of both directions), ``truth`` and ``maps`` (m6 m-6), and ``ratio``, of the
        maps to the truth: below 1 where the maps are smoother, above 1 where they have detail that the truth
        has not. A list each, NaN where no pair is complete.
    """
    shape, size = product.grid.shape, (product.grid.transform[4], product.grid.transform[0])
    lags = [lag for lag in (2**k for k in range(9)) if lag <= min(_FARTHEST, _SHARE * min(shape))]
    sums = np.zeros((len(lags), 3))
    whole = list(tiles(product.grid, product.layout.tile))
    packing, reach = product.packing["soil_moisture"], max(lags, default=0)
    with steps("tiles of the variogram", len(whole)) as advance:
        for tile in whole:
            rows, cols = (
                slice(part.start, min(part.stop + reach, end))
                for part, end in zip((tile.rows, tile.cols), shape, strict=True)
            )
            for day in days[:: max(1, -(-len(days) // _DAYS))]:
                stored = product.read("soil_moisture", int(day), int(day) + 1, rows, cols)[0]
                values = np.stack([truth.read(int(day), rows, cols), packing.decode(stored)])
                values[:, ~np.isfinite(values).all(axis=0)] = np.nan
                for number, lag in enumerate(lags):
                    sums[number] += _pairs(values, lag, tile.height, tile.width)
            advance()
    half = np.where(sums[:, :1] > 0, sums[:, 1:] / np.maximum(2 * sums[:, :1], 1), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = half[:, 1] / half[:, 0]
    return {
        "lag": [lag * float(np.mean(np.abs(size))) for lag in lags],
        "truth": half[:, 0].tolist(),
        "maps": half[:, 1].tolist(),
        "ratio": ratio.tolist(),
    }


def _pairs(values: NDArray[np.float32], lag: int, height: int, width: int) -> Float:
    """Number of pairs whose first pixel is in the tile, and their summed squares of truth and maps."""
    found = np.zeros(3)
    high, wide = (
        max(0, min(n, held - lag)) for n, held in zip((height, width), values.shape[1:], strict=True)
    )
    down = values[:, lag : lag + high, :width] - values[:, :high, :width]
    across = values[:, :height, lag : lag + wide] - values[:, :height, :wide]
    for step in (down, across):
        known = np.isfinite(step[0])
        found[0] += known.sum()
        found[1:] += np.square(step[:, known], dtype=np.float64).sum(axis=1)
    return found


def variogram_table(found: dict[str, Any]) -> str:
    """The measurement as text: a column a distance."""
    lags = "".join(f"{lag:>8.5g}" for lag in found["lag"])
    shown = "".join(f"{v:>8.2f}" if np.isfinite(v) else f"{'-':>8}" for v in found["ratio"])
    return f"{'pixels apart by':<26}{lags}\n{'semivariance, maps/truth':<26}{shown}"
