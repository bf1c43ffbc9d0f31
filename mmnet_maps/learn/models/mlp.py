"""The multilayer perceptron that MMNet is compared with."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from mmnet_maps.catalogue import INDICES, Catalogue
from mmnet_maps.learn.models.dense import blocks
from mmnet_maps.learn.models.network import WIDTH, Blocks, Layers, Network, Readout, head, initialise

__all__ = ["MLP"]


class MLP(Network):
    """Baseline: one row of columns, with the weather of the day alone.

    Parameters
    ----------
    width : int
        Number of columns (29 as published).
    dropout : float
        p of every noise layer.
    """

    windows = False

    def __init__(self, width: int = 29, dropout: float = 0.2) -> None:
        super().__init__()
        self.encoder = Blocks((width, 32, 64, WIDTH), dropout)
        self.decoder = head(dropout)
        self.apply(initialise)

    @staticmethod
    def columns(catalogue: Catalogue) -> tuple[str, ...]:
        """Land cover as a number first, the series of the day before SMAP and the indices."""
        cover = [name for name in catalogue.snapshot if name.startswith("LC_")]
        rest = [name for name in catalogue.snapshot if name not in cover]
        late = [name for name in rest if name == "SMAP" or name in INDICES]
        early = [name for name in rest if name not in late]
        return (*(["LC"] if cover else []), *early, *catalogue.series, *late)

    @classmethod
    def build(cls, catalogue: Catalogue, dropout: float, readout: Readout) -> Self:
        """As wide as its columns; it has no series to read out."""
        return cls(len(cls.columns(catalogue)), dropout)

    def forward(self, columns: Tensor) -> Tensor:
        """Shape (n, width), scaled, to (n, 1)."""
        result: Tensor = self.decoder(self.encoder(columns))
        return result

    def layers(self, catalogue: Catalogue) -> Layers:
        """The day's weather enters the first layer."""
        names = self.columns(catalogue)
        first, *rest = [*blocks(self.encoder), *blocks(self.decoder)]
        own = [k for k, name in enumerate(names) if name not in catalogue.series]
        pixel, series = first.split(own, [names.index(name) for name in catalogue.series])
        return Layers((), pixel, series, tuple(rest))
