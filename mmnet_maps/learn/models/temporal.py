"""The temporal encoder that MMNet and the Transformer share: a series of days becomes one vector a row."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from mmnet_maps.learn.models.dense import Dense, fold
from mmnet_maps.learn.models.network import WIDTH, GaussianDropout, Network, Readout
from mmnet_maps.learn.models.training_pass import encoder_layer, last_step

__all__ = ["Temporal", "position_code"]

HEADS = 16
FEED_FORWARD = 256


class _DayBlock(nn.Module):
    """A block that is applied to every day with the same weights; BatchNorm over rows and days."""

    def __init__(self, first: int, second: int, dropout: float) -> None:
        super().__init__()
        self.lin = nn.Linear(first, second)
        self.bn = nn.BatchNorm1d(second)
        self.noise = GaussianDropout(dropout)

    def forward(self, days: Tensor) -> Tensor:
        """Shape (rows x days, first) to (rows x days, second)."""
        return self.noise.after_relu(self.bn(self.lin(days)))


def position_code(steps: int, width: int = WIDTH) -> Tensor:
    """The position table, shape (steps + 1, width): row 0 zero, row k of angle w_j (k - 1).

    w_j = exp(-2 j ln(1000) / width); sines in the even columns, cosines in the odd ones.
    """
    table = torch.zeros(steps + 1, width)
    frequency = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(1000.0) / width))
    angle = torch.arange(steps, dtype=torch.float32)[:, None] * frequency
    table[1:, 0::2] = torch.sin(angle)
    table[1:, 1::2] = torch.cos(angle)
    return table


class _PositionCode(nn.Module):
    """Adds row i of the table to day i."""

    pe: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.register_buffer("pe", position_code(steps))

    def forward(self, days: Tensor) -> Tensor:
        """Shape (n, t, width) kept."""
        return days + self.pe[: days.shape[1]]


class Temporal(Network):
    """A network with day blocks, position code and one transformer layer.

    Parameters
    ----------
    width : int
        Numbers of a day.
    steps : int
        Days of the series.
    dropout : float
        p of every noise layer.
    readout : {"mean", "last"}
        What of the encoded series goes on: the mean over its steps, or the last one.
    """

    def __init__(self, width: int, steps: int, dropout: float, readout: Readout) -> None:
        super().__init__()
        widths = (width, 32, 64, WIDTH)
        self.readout = readout
        self.dropout = dropout
        self.encoder_d = nn.Sequential(*(_DayBlock(a, b, dropout) for a, b in itertools.pairwise(widths)))
        self.inlayernorm = nn.LayerNorm(WIDTH)
        self.position_enc = _PositionCode(steps)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, FEED_FORWARD, dropout=dropout, batch_first=True)
        self.transformerencoder = nn.TransformerEncoder(
            layer, num_layers=1, norm=nn.LayerNorm(WIDTH), enable_nested_tensor=False
        )

    def encode_days(self, days: Tensor) -> Tensor:
        """Embed days, shape (n, t, inputs) to (n, 128)."""
        rows, steps, width = days.shape
        flat = self.encoder_d(days.reshape(rows * steps, width))
        coded = self.position_enc(self.inlayernorm(flat).view(rows, steps, WIDTH))
        return self._last(coded) if self.readout == "last" else self._attend(coded).mean(dim=1)

    def _attend(self, coded: Tensor) -> Tensor:
        if not self.training:
            encoded: Tensor = self.transformerencoder(coded)
            return encoded
        layer, norm = self.transformer_layer
        normed: Tensor = norm(encoder_layer(layer, coded, self.dropout))
        return normed

    def _last(self, coded: Tensor) -> Tensor:
        layer, norm = self.transformer_layer
        normed: Tensor = norm(last_step(layer, coded, self.dropout if self.training else 0.0))
        return normed

    @property
    def day_layers(self) -> list[Dense]:
        """The day blocks in evaluation."""
        found = [block for block in self.encoder_d if isinstance(block, _DayBlock)]
        return [fold(block.lin, block.bn) for block in found]

    @property
    def transformer_layer(self) -> tuple[nn.TransformerEncoderLayer, nn.LayerNorm]:
        """The transformer layer and the norm behind it."""
        layer, norm = self.transformerencoder.layers[0], self.transformerencoder.norm
        assert isinstance(layer, nn.TransformerEncoderLayer)
        assert isinstance(norm, nn.LayerNorm)
        return layer, norm
