"""Dissimilarity of the pixels of a block to the training rows (`learn.applicability`), beside the networks.

With the columns of a pixel-day split into those of the pixel and those of its series, p = [s; c], the
squared distance to a training row r is (|r|^2 - 2 s.r_s - 2 c.r_c) + |s|^2 + |c|^2: two products and a
minimum over the rows. The columns of the series are made once per distinct series and day, and reach a pixel
as the rows of the series table do. Every product has the same shape, as in the pixel pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.learn.applicability import Applicability, summaries
from mmnet_maps.prepare.features import window
from mmnet_maps.produce.engine.arrays import sent
from mmnet_maps.produce.engine.chain import distances, on
from mmnet_maps.produce.engine.pixels import Buffers

__all__ = ["Dissimilarity"]

#: Pixels of one product on a processor: the distances to 512 rows then fit a level-2 cache.
_STEP = 256


class Dissimilarity:
    """The pass over the pixels of a block.

    Parameters
    ----------
    known : Applicability
    catalogue : Catalogue
    features : sequence of str
        Pixel features in the order of the workspace's rows.
    mean, std : ndarray of float32, shape (features,)
        That the workspace's rows are scaled with.
    step : int
        Pixels of one product.
    device : torch.device

    Attributes
    ----------
    threshold : float
    """

    def __init__(
        self,
        known: Applicability,
        catalogue: Catalogue,
        features: Sequence[str],
        mean: NDArray[np.float32],
        std: NDArray[np.float32],
        step: int,
        device: torch.device,
    ) -> None:
        self.catalogue, self.threshold, self.device = catalogue, known.threshold, device
        self.step = min(step, _STEP) if device.type == "cpu" else step
        count = len(known.snapshot)
        centre, factor, rows = (
            part.astype(np.float64) for part in (known.centre, known.factor, known.reference)
        )
        # A feature z of the workspace is the column z std + mean; centred and weighted it is z own + more.
        at = [features.index(name) for name in known.snapshot]
        own, more, width = (
            np.zeros(len(features)),
            np.zeros(len(features)),
            np.zeros((len(features), len(rows))),
        )
        own[at] = std[at] * factor[:count]
        more[at] = (mean[at] - centre[:count]) * factor[:count]
        width[at] = -2 * own[at, None] * rows[:, :count].T
        constant = (rows**2).sum(axis=1) - 2 * rows[:, :count] @ more[at]
        self.own, self.more, self.snapshot, self.constant, self.series = (
            sent(np.ascontiguousarray(part, dtype=np.float32), device)
            for part in (own[:, None], more[:, None], width, constant, -2 * rows[:, count:].T)
        )
        self._means = [catalogue.series.index(name) for name in known.means]
        self._lasts = [catalogue.series.index(name) for name in known.lasts]
        self._centre, self._factor = known.centre[count:], known.factor[count:]

    def table(self, values: NDArray[np.float32], count: int) -> Tensor:
        """The columns of every distinct series and predicted day, as `Engine.series_table` takes the values.

        Returns
        -------
        Tensor, shape (count, places, columns)
            NaN where a value of the window is missing.
        """
        windows = window(values, self.catalogue.window_days, self.catalogue.lags, count)
        mean, last = summaries(np.moveaxis(windows, 1, -1))
        found = np.concatenate((mean[..., self._means], last[..., self._lasts]), axis=-1)
        return sent((found - self._centre) * self._factor, self.device)

    def __call__(self, buffers: Buffers, table: Tensor, count: int) -> Tensor:
        """Dissimilarity of the first `count` pixels at least, shape (block,).

        Parameters
        ----------
        buffers : Buffers
            With the scaled features, and the row of the table for each pixel.
        table : Tensor, shape (rows, columns)
        count : int
        """
        found = torch.empty_like(buffers.estimates)
        on(self.device, distances)(
            buffers.inputs,
            buffers.series,
            buffers.weights,
            table,
            self.constant,
            self.snapshot,
            self.series,
            self.own,
            self.more,
            found,
            self.step,
            count,
        )
        return found
