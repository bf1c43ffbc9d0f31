"""The Transformer that MMNet is compared with."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.learn.models.dense import blocks
from mmnet_maps.learn.models.network import Layers, Readout, head, initialise
from mmnet_maps.learn.models.temporal import Temporal

__all__ = ["Transformer"]


class Transformer(Temporal):
    """Baseline: the snapshot is repeated before the series values of each day; parameters as of `MMNet`."""

    def __init__(
        self,
        snapshot_width: int = 28,
        series_width: int = 8,
        steps: int = 11,
        dropout: float = 0.2,
        readout: Readout = "mean",
    ) -> None:
        super().__init__(snapshot_width + series_width, steps, dropout, readout)
        self.decoder = head(dropout)
        self.apply(initialise)

    @classmethod
    def build(cls, catalogue: Catalogue, dropout: float, readout: Readout) -> Self:
        """As wide as the catalogue."""
        return cls(len(catalogue.snapshot), len(catalogue.series), len(catalogue.lags), dropout, readout)

    def forward(self, snapshot: Tensor, series: Tensor) -> Tensor:
        """Shapes (n, p) and (n, v, t), scaled, to (n, 1)."""
        days = series.transpose(1, 2)
        repeated = snapshot[:, None, :].expand(-1, days.shape[1], -1)
        result: Tensor = self.decoder(self.encode_days(torch.cat((repeated, days), dim=2)))
        return result

    def layers(self, catalogue: Catalogue) -> Layers:
        """The snapshot meets the series on every day, in the first day block."""
        width = len(catalogue.snapshot)
        pixel, series = self.day_layers[0].split(slice(width), slice(width, None))
        return Layers((), pixel, series, tuple(blocks(self.decoder)), self, each_day=True)
