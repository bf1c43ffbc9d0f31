"""The inner loops over a block of pixels, as functions that TorchScript takes too.

Between two operations of torch, Python takes its lock: while another thread prepares what comes next, each of
a hundred operations of a block waits for it. TorchScript runs a whole loop without the lock. It runs the same
operations in the same order, so that a torch or a Python without it gives the same bits in more time.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

__all__ = ["chain", "distances", "on", "rows_of", "scripted"]


@cache
def scripted(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function in TorchScript; as it is where torch no longer has that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found: Callable[..., Any] = torch.jit.script(function)
        except Exception:
            # Whatever a later torch or Python says of it: the function does the same.
            return function
    return found


def on(device: torch.device, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a device runs it: in TorchScript on a processor."""
    return scripted(function) if device.type == "cpu" else function


def rows_of(table: Tensor, series: Tensor, weights: Tensor | None) -> Tensor:
    """Rows of the series table for some pixels, shape (n, width).

    Parameters
    ----------
    table : Tensor, shape (rows, width)
    series : Tensor of int64, shape (n,) or (n, corners)
    weights : Tensor, shape (n, corners), or None
    """
    if weights is None:
        return torch.index_select(table, 0, series)
    return torch.nn.functional.embedding_bag(
        series, table, mode="sum", per_sample_weights=weights.to(table.dtype)
    )


def chain(
    inputs: Tensor,
    series: Tensor,
    mix: Tensor | None,
    table: Tensor,
    weights: list[Tensor],
    biases: list[Tensor],
    least: list[Tensor],
    shifted: list[bool],
    entry: int,
    results: list[Tensor],
    estimates: Tensor,
    step: int,
    count: int,
) -> None:
    """Layers with ReLU between them over the pixels of a block.

    Parameters
    ----------
    inputs : Tensor, shape (features, block)
    series, mix
        As `pixels.Buffers.series` and its weights.
    table : Tensor, shape (rows, width)
        Biases of the layer `entry`.
    weights, biases : list of Tensor
        Of the layers.
    least : list of Tensor
        The biases with their sign changed.
    shifted : list of bool
        Which layers leave out their bias (`learn.models.dense.shifted_biases`).
    entry : int
    results : list of Tensor, shape (step, outputs)
        Room for the results of the layers but the last.
    estimates : Tensor, shape (block,)
        Written, for the first `count` pixels at least.
    step, count : int
        Pixels of one product, and of all that are wanted.
    """
    last = len(weights) - 1
    taken, ends = torch.split(inputs.t(), step), torch.split(estimates.unsqueeze(1), step)
    own = torch.split(series, step)
    mixes = own if mix is None else torch.split(mix, step)
    for part in range((count + step - 1) // step):
        values = taken[part]
        for index in range(last + 1):
            if values.dtype != weights[index].dtype:
                values = values.to(weights[index].dtype)
            found = ends[part] if index == last else results[index]
            if shifted[index]:
                torch.mm(values, weights[index], out=found)
                values = torch.maximum(found, least[index], out=found)
                continue
            if index == entry:
                if mix is None:
                    torch.index_select(table, 0, own[part], out=found)
                else:
                    found.copy_(rows_of(table, own[part], mixes[part]))
                found.addmm_(values, weights[index])
            else:
                torch.addmm(biases[index], values, weights[index], out=found)
            values = found if index == last else found.relu_()


def distances(
    inputs: Tensor,
    series: Tensor,
    mix: Tensor | None,
    table: Tensor,
    constant: Tensor,
    snapshot: Tensor,
    past: Tensor,
    own: Tensor,
    more: Tensor,
    found: Tensor,
    step: int,
    count: int,
) -> None:
    """Distances of the pixels of a block to the nearest training row (`dissimilarity`).

    Parameters
    ----------
    inputs, series, mix, table
        As `chain`.
    constant : Tensor, shape (training rows,)
    snapshot, past : Tensor, shape (features or columns of the series, training rows)
    own, more : Tensor, shape (features, 1)
    found : Tensor, shape (block,)
        Written, for the first `count` pixels at least.
    step, count : int
    """
    apart = torch.empty((step, constant.shape[0]), dtype=constant.dtype, device=constant.device)
    taken, ends = torch.split(inputs, step, dim=1), torch.split(found, step)
    places = torch.split(series, step)
    mixes = places if mix is None else torch.split(mix, step)
    for part in range((count + step - 1) // step):
        features = taken[part]
        rows = rows_of(table, places[part], None if mix is None else mixes[part])
        torch.addmm(constant, features.t(), snapshot, out=apart)
        least = apart.addmm_(rows, past).amin(dim=1)
        least += torch.addcmul(more, features, own).square_().sum(dim=0)
        least += rows.square_().sum(dim=1)
        ends[part].copy_(least.clamp_(min=0).sqrt_())
