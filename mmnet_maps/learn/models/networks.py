"""MMNet and the two networks that it is compared with.

Layers, state-dict names, initialisation and position code are those of the published checkpoints. A network
takes scaled inputs and gives one value a row; it knows nothing of names, files or scaling.
"""

from __future__ import annotations

import itertools
import math
from typing import Literal

import torch
from torch import Tensor, nn

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.learn.models.training_pass import encoder_layer, last_step, noise_factor, rectify

__all__ = [
    "MLP",
    "NETWORKS",
    "GaussianDropout",
    "MMNet",
    "Readout",
    "Transformer",
    "build_network",
    "position_code",
    "reset_to_defaults",
]

#: What the temporal encoder gives on: the mean over the steps of the series, or its last step.
Readout = Literal["mean", "last"]

#: Width of the embedding of a snapshot, of a day and of a series.
WIDTH = 128
HEADS = 16
FEED_FORWARD = 256


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


def _rectify(noise: GaussianDropout, values: Tensor) -> Tensor:
    if noise.training and noise.deviation > 0:
        return rectify(values, noise_factor(values, noise.deviation))
    return torch.relu(values)


class _Blocks(nn.Sequential):
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
                values = _rectify(layer, values)
            elif not isinstance(layer, nn.ReLU):  # the ReLU is part of the noise layer's pass
                values = layer(values)
        return values


class _DayBlock(nn.Module):
    """A block that is applied to every day with the same weights; BatchNorm over rows and days."""

    def __init__(self, first: int, second: int, dropout: float) -> None:
        super().__init__()
        self.lin = nn.Linear(first, second)
        self.bn = nn.BatchNorm1d(second)
        self.noise = GaussianDropout(dropout)

    def forward(self, days: Tensor) -> Tensor:
        """Shape (rows x days, first) to (rows x days, second)."""
        return _rectify(self.noise, self.bn(self.lin(days)))


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


class _Temporal(nn.Module):
    """What MMNet and the Transformer share: a series of days becomes one vector a row."""

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
        layer, norm = self._layers()
        normed: Tensor = norm(encoder_layer(layer, coded, self.dropout))
        return normed

    def _last(self, coded: Tensor) -> Tensor:
        layer, norm = self._layers()
        normed: Tensor = norm(last_step(layer, coded, self.dropout if self.training else 0.0))
        return normed

    def _layers(self) -> tuple[nn.TransformerEncoderLayer, nn.LayerNorm]:
        layer, norm = self.transformerencoder.layers[0], self.transformerencoder.norm
        assert isinstance(layer, nn.TransformerEncoderLayer)
        assert isinstance(norm, nn.LayerNorm)
        return layer, norm


def _head(dropout: float, first: int = WIDTH) -> _Blocks:
    return _Blocks((first, 64, 32), dropout, nn.Linear(32, 1))


class MMNet(_Temporal):
    """The published multimodal network: a snapshot encoder and a temporal encoder, fused.

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
        self.encoder_s = _Blocks((snapshot_width, 32, 64, WIDTH), dropout)
        self.fusion = _Blocks((2 * WIDTH, WIDTH), dropout)
        self.decoder = _head(dropout)
        self.apply(_initialise)

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
        place = self.encoder_s(snapshot)
        past = self.encode_days(series.transpose(1, 2))
        result: Tensor = self.decoder(self.fusion(torch.cat((place, past), dim=1)))
        return result


class Transformer(_Temporal):
    """Baseline: the snapshot is repeated before the series values of each day."""

    def __init__(
        self,
        snapshot_width: int = 28,
        series_width: int = 8,
        steps: int = 11,
        dropout: float = 0.2,
        readout: Readout = "mean",
    ) -> None:
        super().__init__(snapshot_width + series_width, steps, dropout, readout)
        self.decoder = _head(dropout)
        self.apply(_initialise)

    def forward(self, snapshot: Tensor, series: Tensor) -> Tensor:
        """Shapes (n, p) and (n, v, t), scaled, to (n, 1)."""
        days = series.transpose(1, 2)
        repeated = snapshot[:, None, :].expand(-1, days.shape[1], -1)
        result: Tensor = self.decoder(self.encode_days(torch.cat((repeated, days), dim=2)))
        return result


class MLP(nn.Module):
    """Baseline: one row of `Catalogue.mlp_features`."""

    def __init__(self, width: int = 29, dropout: float = 0.2) -> None:
        super().__init__()
        self.encoder = _Blocks((width, 32, 64, WIDTH), dropout)
        self.decoder = _head(dropout)
        self.apply(_initialise)

    def forward(self, columns: Tensor) -> Tensor:
        """Shape (n, width), scaled, to (n, 1)."""
        result: Tensor = self.decoder(self.encoder(columns))
        return result


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        nn.init.normal_(module.bias)
    elif isinstance(module, nn.BatchNorm1d):
        nn.init.normal_(module.weight)
        nn.init.zeros_(module.bias)


def reset_to_defaults(network: nn.Module) -> nn.Module:
    """Initialise the linear layers and BatchNorms as torch does by default instead of as published."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.BatchNorm1d):
            module.reset_parameters()
    return network


#: The networks by the name that the command line uses.
NETWORKS = ("mmnet", "transformer", "mlp")


def build_network(
    kind: str, catalogue: Catalogue, dropout: float = 0.2, readout: Readout = "mean"
) -> nn.Module:
    """A freshly initialised network of that kind, as wide as the catalogue.

    `readout` is that of MMNet and the Transformer; the MLP has no series to read out.

    Raises
    ------
    InputError
        There is no network of that name.
    """
    widths = len(catalogue.snapshot), len(catalogue.series), len(catalogue.lags)
    match kind:
        case "mmnet":
            return MMNet(*widths, dropout, readout)
        case "transformer":
            return Transformer(*widths, dropout, readout)
        case "mlp":
            return MLP(len(catalogue.mlp_features), dropout)
    raise InputError(f"there is no network {kind}; known are {', '.join(NETWORKS)}")
