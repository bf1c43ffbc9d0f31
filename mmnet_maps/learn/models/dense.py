"""Trained layers as plain products, with every BatchNorm folded into the linear layer before it.

In evaluation a BatchNorm is y = (x - mean) gamma / sqrt(var + eps) + beta, so Linear then BatchNorm is one
Linear. Folded in float64 and rounded once. Scaling of the inputs is *not* folded: with a narrow training
range (a latitude of 37 with a deviation of 0.01) the folded bias would swallow the digits that matter.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Dense", "blocks", "fold", "plain", "shifted_biases"]


@dataclass(frozen=True)
class Dense:
    """One linear layer, y = x weight + bias.

    Attributes
    ----------
    weight : Tensor, shape (inputs, outputs)
        Contiguous, ready to stand on the right of a product.
    bias : Tensor, shape (outputs,)
    """

    weight: Tensor
    bias: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(inputs, outputs)."""
        return self.weight.shape[0], self.weight.shape[1]

    def split(self, first: Sequence[int] | slice, rest: Sequence[int] | slice) -> tuple[Dense, Dense]:
        """The layer of some of its inputs and of the others, whose sum it is; the bias is in the second."""
        own = self.rows(first)
        return Dense(own.weight, torch.zeros_like(own.bias)), self.rows(rest)

    def rows(self, chosen: Sequence[int] | slice) -> Dense:
        """The layer of some of its inputs, in that order."""
        return Dense(self.weight[chosen].contiguous(), self.bias)

    def of(self, kind: torch.dtype) -> Dense:
        """The same in numbers of another kind."""
        return Dense(self.weight.to(kind), self.bias.to(kind))

    def to(self, device: torch.device) -> Dense:
        """The same on another device."""
        return Dense(self.weight.to(device), self.bias.to(device))


def plain(linear: nn.Linear) -> Dense:
    """A linear layer as it is."""
    return Dense(linear.weight.detach().float().t().contiguous(), linear.bias.detach().float().clone())


def fold(linear: nn.Linear, norm: nn.BatchNorm1d) -> Dense:
    """Fold the running statistics of `norm` into `linear`."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = linear.weight.detach().double(), linear.bias.detach().double()
    factor = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
    shift = norm.bias.detach().double() - norm.running_mean.double() * factor
    folded = (weight * factor[:, None]).t()
    return Dense(folded.float().contiguous(), (bias * factor + shift).float())


def blocks(stack: nn.Sequential) -> list[Dense]:
    """Every Linear of a stack of blocks, each with the BatchNorm that follows it (the last has none)."""
    layers = list(stack)
    found = []
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, nn.Linear):
            found.append(fold(layer, following) if isinstance(following, nn.BatchNorm1d) else plain(layer))
    return found


def shifted_biases(layers: Sequence[Dense], shifted: Collection[int]) -> list[Tensor]:
    """Biases of a chain of layers with ReLU between them, some of which give their values without their bias.

    Since relu(x W + b) = max(x W, -b) + b, a layer may give max(x W, -b) alone if the next one adds b times
    its own weights to its bias: one pass over the results of a product in place of two. Computed in float64
    and rounded once.

    Parameters
    ----------
    layers : sequence of Dense
    shifted : collection of int
        Positions of the layers that do so; not the last.

    Returns
    -------
    list of Tensor
        The bias that each layer has then.
    """
    found: list[Tensor] = []
    for index, layer in enumerate(layers):
        bias = layer.bias.double()
        if index - 1 in shifted:
            bias = bias + found[-1] @ layer.weight.double()
        found.append(bias)
    return [bias.to(layer.bias.dtype) for bias, layer in zip(found, layers, strict=True)]
