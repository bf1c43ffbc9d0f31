"""What every network of this program has: the inputs that it takes, and its layers for the engine.

A new network is a class like `mmnet.MMNet` in a file of its own and a line in `networks.NETWORKS`: training,
bundles, explanations and maps go by what the class says.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from torch import Tensor, nn

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.learn.models.dense import Dense
from mmnet_maps.learn.models.training_pass import noise_factor, rectify

__all__ = ["WIDTH", "Blocks", "GaussianDropout", "Layers", "Network", "Readout", "head", "initialise"]

#: What a temporal encoder gives on: the mean over the steps of the series, or its last step.
Readout = Literal["mean", "last"]
#: Width of the embedding of a snapshot, of a day and of a series.
WIDTH = 128


@dataclass(frozen=True)
class Layers:
    """A network in evaluation, cut where a pixel meets its series. Between layers there is a ReLU.

    Attributes
    ----------
    before : tuple of Dense
        Layers that see the pixel alone: its columns (`Network.columns`) without those of the series, in their
        order. Empty where the pixel and its series meet in the first layer.
    pixel, series : Dense
        The layer in which they meet is the sum of these two; its bias is in `series`.
    after : tuple of Dense
        What follows; the last gives the estimate.
    encoder : nn.Module, optional
        Turns scaled windows, shape (n, t, v), into what `series` takes, shape (n, k). None: `series` takes
        the scaled values of the day itself, in the order of `Catalogue.series`. The engine has a fast form of
        `temporal.Temporal`; any other module is run as it is, once for each distinct series and day.
    each_day : bool
        The two meet on every day of the window, in the first layer of the encoder (a `Temporal`), whose rest
        and readout come between them and `after`.
    """

    before: tuple[Dense, ...]
    pixel: Dense
    series: Dense
    after: tuple[Dense, ...]
    encoder: nn.Module | None = None
    each_day: bool = False


class Network(nn.Module, ABC):
    """A network that takes scaled columns and, if `windows`, scaled series, and gives one value a row.

    It does not handle files or scaling; it gets names from the catalogue. Its last linear layer gives
    the estimate.

    Attributes
    ----------
    windows : bool
        Whether it takes the windows of the series, shape (n, v, t), in addition to the columns. Without them
        every series variable is one of the columns.
    """

    windows: ClassVar[bool] = True

    @staticmethod
    def columns(catalogue: Catalogue) -> tuple[str, ...]:
        """Names of the columns of its first input: snapshot features as a rule.

        A series variable means its value on the day, ``LC`` the number of the land cover class.
        """
        return catalogue.snapshot

    @classmethod
    @abstractmethod
    def build(cls, catalogue: Catalogue, dropout: float, readout: Readout) -> Self:
        """A freshly initialised network, as wide as the catalogue; without a readout it ignores that."""

    @abstractmethod
    def layers(self, catalogue: Catalogue) -> Layers:
        """Its layers in evaluation."""


class GaussianDropout(nn.Module):
    """Multiply by N(1, p / (1 - p)) (a standard deviation) in training; else do nothing."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.deviation = p / (1 - p)

    def forward(self, values: Tensor) -> Tensor:
        """Return `values`, with noise in training; any shape."""
        if not self.training or self.deviation == 0:
            return values
        return values * noise_factor(values, self.deviation)

    def after_relu(self, values: Tensor) -> Tensor:
        """The same of relu(values), in one pass, which may overwrite `values`."""
        if not self.training or self.deviation == 0:
            return values.relu()
        return rectify(values, noise_factor(values, self.deviation))


class Blocks(nn.Sequential):
    """Linear, BatchNorm1d, ReLU, GaussianDropout, for each pair of widths; then what `tail` names."""

    def __init__(self, widths: tuple[int, ...], dropout: float, *tail: nn.Module) -> None:
        layers: list[nn.Module] = []
        for first, second in itertools.pairwise(widths):
            layers += [
                nn.Linear(first, second),
                nn.BatchNorm1d(second),
                nn.ReLU(),
                GaussianDropout(dropout),
            ]
        super().__init__(*layers, *tail)

    def forward(self, values: Tensor) -> Tensor:
        """Shape (n, first width) to (n, last width)."""
        for layer in self:
            if isinstance(layer, GaussianDropout):
                values = layer.after_relu(values)
            elif not isinstance(layer, nn.ReLU):  # the ReLU is part of the noise layer's pass
                values = layer(values)
        return values


def head(dropout: float) -> Blocks:
    """From an embedding, shape (n, 128), to the estimate, shape (n, 1)."""
    return Blocks((WIDTH, 64, 32), dropout, nn.Linear(32, 1))


def initialise(module: nn.Module) -> None:
    """Draw the weights of one linear layer or BatchNorm as published."""
    if isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        nn.init.normal_(module.bias)
    elif isinstance(module, nn.BatchNorm1d):
        nn.init.normal_(module.weight)
        nn.init.zeros_(module.bias)
