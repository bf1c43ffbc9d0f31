"""What every input number adds to an estimate, compared with background rows (SHAP values).

The contributions of a row sum to its estimate less the mean estimate over the background. Networks: expected
gradients (Erion et al. 2021, doi:10.1038/s42256-021-00343-w) by `shap.GradientExplainer`, a Monte Carlo
method; XGBoost: its own tree contributions, exact, against the rows that it was trained on; ridge: the closed
form of a linear model. An ensemble or a blend is a mean, and so are its contributions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmnet_maps.errors import needs_extra
from mmnet_maps.learn.bundle import Bundle
from mmnet_maps.learn.model_input import ModelInput, model_arrays, side_by_side
from mmnet_maps.learn.train import threads
from mmnet_maps.progress import steps

__all__ = ["contributions", "gradient_contributions"]

Array = NDArray[np.float32]
Float = NDArray[np.float64]
#: Rows explained between two steps of progress.
_BLOCK = 50


def contributions(
    bundle: Bundle, explained: ModelInput, compared: ModelInput, samples: int, seed: int
) -> tuple[Float, Float, float]:
    """Explain rows of a bundle.

    Parameters
    ----------
    bundle : Bundle
        Of networks, ridge or XGBoost, or a blend.
    explained, compared : ModelInput
        Complete rows: those that are explained, and the background.
    samples, seed : int
        As for `gradient_contributions`.

    Returns
    -------
    values, noise : ndarray of float64, shape (n, columns)
        m3 m-3, in the order of `columns.columns_of`; and a draw of their Monte Carlo error, zero where the
        method is exact.
    base : float
        The estimate that they start from.
    """
    of = [model_arrays(bundle.kind, part, bundle.catalogue, bundle.scaler) for part in (explained, compared)]
    parts: list[tuple[Float, Float, float]] = []
    if bundle.members:
        network = _Moisture(bundle)
        found, noise = gradient_contributions(network, of[0], of[1], samples, seed)
        parts.append((found, noise, _mean_estimate(network, of[1])))
    if bundle.baseline is not None:
        exact, base = bundle.baseline.contributions(*map(side_by_side, of))
        parts.append((exact, np.zeros_like(exact), base))
    values, errors, bases = zip(*parts, strict=True)
    return np.mean(values, axis=0), np.mean(errors, axis=0), float(np.mean(bases))


def _mean_estimate(network: nn.Module, arrays: tuple[Array, ...]) -> float:
    with torch.inference_mode():
        return float(network(*map(torch.from_numpy, arrays)).double().mean())


class _Moisture(nn.Module):
    """The networks of a bundle as one that gives soil moisture: targets undone, members averaged."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.members = nn.ModuleList(bundle.members)
        self.rooted = bundle.target == "sqrt"
        self.eval()

    def forward(self, *arrays: Tensor) -> Tensor:
        """Scaled arrays to (n, 1), m3 m-3."""
        outputs = torch.stack([member(*arrays) for member in self.members])
        return (torch.relu(outputs) ** 2 if self.rooted else outputs).mean(dim=0)


def gradient_contributions(
    network: nn.Module, explained: tuple[Array, ...], compared: tuple[Array, ...], samples: int, seed: int
) -> tuple[Float, Float]:
    """Expected gradients of a network.

    They are computed twice, from half of the samples each: the mean is what is wanted, and half of the
    difference has the size of its Monte Carlo error.

    Parameters
    ----------
    network : torch.nn.Module
        Takes the arrays, gives (n, 1).
    explained, compared : tuple of ndarray of float32
        One array an input of the network, rows first.
    samples : int
        Points at which the gradient is taken for each row, at least two; the error falls with their root.
    seed : int

    Returns
    -------
    values, noise : ndarray of float64, shape (n, columns)
        The inputs laid side by side, each flattened by row.

    Raises
    ------
    InputError
        The package shap is not installed.
    """
    with needs_extra("science", "explaining a network"):
        import shap
    tensors = [torch.from_numpy(array) for array in compared]
    alone = len(tensors) == 1
    count = len(explained[0])
    halves: list[list[Float]] = [[], []]
    draws = max(1, samples // 2)
    with threads(1), _same_random_state(), steps("rows explained", count) as advance:
        explainer = shap.GradientExplainer(network, tensors[0] if alone else tensors, batch_size=draws)
        for start in range(0, count, _BLOCK):
            block = [torch.from_numpy(array[start : start + _BLOCK]) for array in explained]
            rows = len(block[0])
            for k, half in enumerate(halves):
                # Its generator takes 32 bits: the seeds of all blocks and halves differ and fit.
                drawn = (2 * (seed * 1_000_003 + start) + k) % 2**32
                found = explainer.shap_values(block[0] if alone else block, nsamples=draws, rseed=drawn)
                flat = [array.reshape(rows, -1) for array in ([found] if alone else found)]
                half.append(np.concatenate(flat, axis=1))
            advance(rows)
    first, second = (np.concatenate(half) for half in halves)
    return (first + second) / 2, (first - second) / 2


@contextmanager
def _same_random_state() -> Iterator[None]:
    """The explainer seeds NumPy's global generator: leave it as it was."""
    before = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
