"""MMNet, the published multimodal network."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.learn.models.dense import blocks
from mmnet_maps.learn.models.network import WIDTH, Blocks, Layers, Readout, head, initialise
from mmnet_maps.learn.models.temporal import Temporal

__all__ = ["MMNet"]


class MMNet(Temporal):
    """A snapshot encoder and a temporal encoder, fused.

    Layers, state-dict names, initialisation and position code are those of the published checkpoints.

    Parameters
    ----------
    snapshot_width : int
        Snapshot features (28 as published).
    series_width : int
        Series variables (8).
    steps : int
        Days of the series (11).
    dropout : float
        p of every noise layer.
    readout : {"mean", "last"}
        What of the encoded series goes on: the mean over its steps, or the last one.
    """

    def __init__(
        self,
        snapshot_width: int = 28,
        series_width: int = 8,
        steps: int = 11,
        dropout: float = 0.2,
        readout: Readout = "mean",
    ) -> None:
        super().__init__(series_width, steps, dropout, readout)
        self.encoder_s = Blocks((snapshot_width, 32, 64, WIDTH), dropout)
        self.fusion = Blocks((2 * WIDTH, WIDTH), dropout)
        self.decoder = head(dropout)
        self.apply(initialise)

    @classmethod
    def build(cls, catalogue: Catalogue, dropout: float, readout: Readout) -> Self:
        """As wide as the catalogue."""
        return cls(len(catalogue.snapshot), len(catalogue.series), len(catalogue.lags), dropout, readout)

    def forward(self, snapshot: Tensor, series: Tensor) -> Tensor:
        """Estimate soil moisture.

        Parameters
        ----------
        snapshot : Tensor, shape (n, p)
            Scaled.
        series : Tensor, shape (n, v, t)
            Scaled, oldest day first.

        Returns
        -------
        Tensor, shape (n, 1)
        """
        own = self.encoder_s(snapshot)
        past = self.encode_days(series.transpose(1, 2))
        result: Tensor = self.decoder(self.fusion(torch.cat((own, past), dim=1)))
        return result

    def layers(self, catalogue: Catalogue) -> Layers:
        """The snapshot and the encoded series meet in the fusion layer."""
        (fusion,) = blocks(self.fusion)
        pixel, series = fusion.split(slice(WIDTH), slice(WIDTH, None))
        return Layers(tuple(blocks(self.encoder_s)), pixel, series, tuple(blocks(self.decoder)), self)
