"""How much is computed at once: small pieces for a processor's caches, large ones for a device.

Products have a fixed shape wherever a pixel or a day comes to lie in them, so that its bits depend on the
sizes, but not on what it is computed together with.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["ON_CPU", "Sizes", "sizes_of"]


@dataclass(frozen=True)
class Sizes:
    """Sizes of blocks and products.

    Attributes
    ----------
    block : int
        Pixels, on a device pixels times days, whose features are computed together; a multiple of `step` and
        of `windows`.
    step : int
        Pixels of one product.
    windows : int
        Pixels whose windows are encoded together, where a network meets the pixel on every day.
    day_batch, window_batch : int
        Days, and windows, of coarse series that are encoded together.
    """

    block: int
    step: int
    windows: int
    day_batch: int
    window_batch: int

    def __post_init__(self) -> None:
        if self.block % self.step or self.block % self.windows:
            raise ValueError("a block must be a whole number of products and of window batches")


#: One row of features is so long that NumPy's calls cost little, one product's widest results fit a level-2
#: cache of 1 MiB.
ON_CPU = Sizes(block=8192, step=1024, windows=32, day_batch=256, window_batch=64)
#: Sixteen days of a sub-tile: about 0.15 GB of scaled features, and as much for a product's widest results.
_ON_DEVICE = Sizes(block=2**20, step=2**16, windows=2**13, day_batch=2048, window_batch=1024)
#: Windows that are encoded by pixel keep rows of 128 numbers each beside them.
_WINDOWS_ON_DEVICE = Sizes(block=2**18, step=2**16, windows=2**13, day_batch=2048, window_batch=1024)


def sizes_of(device: torch.device, each_day: bool) -> Sizes:
    """Sizes that suit a device, and a network that meets the pixel on every day of its window or does not."""
    if device.type == "cpu":
        return ON_CPU
    return _WINDOWS_ON_DEVICE if each_day else _ON_DEVICE
