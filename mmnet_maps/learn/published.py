"""Published checkpoints become bundles, without a single pickled instruction being run.

A checkpoint is ``torch.save({"model_state": ..., "criterion": MSELoss()})``. PyTorch's restricted
reader knows tensors, plain containers and the loss classes named here, and refuses everything else.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mmnet_maps.catalogue import Catalogue, Encoding, published_catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.learn.bundle import Bundle
from mmnet_maps.learn.bundle_weights import network_from_arrays
from mmnet_maps.learn.models.networks import NETWORKS
from mmnet_maps.prepare.features import Scaler

__all__ = ["import_published"]

#: Classes that a published checkpoint may name beside tensors and containers; none does anything when built.
_HARMLESS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    nn.MSELoss,
    nn.L1Loss,
    nn.SmoothL1Loss,
    nn.HuberLoss,
]


#: What PyTorch's reader raises at a file that is damaged, cut off or of another kind.
_UNREADABLE = (
    pickle.UnpicklingError,
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    KeyError,
    AttributeError,
)


def import_published(
    model: str, weights: Path, static: Path, dynamic: Path | None = None, encoding: Encoding = "published"
) -> Bundle:
    """Turn a published checkpoint and its scaler files into a bundle (not saved yet).

    Parameters
    ----------
    model : {"mmnet", "transformer", "mlp"}
    weights : Path
        ``model_best.pth``.
    static, dynamic : Path
        ``static_mean_std.npy`` (2, 28; the MLP: 2, 29) and ``dynamic_mean_std.npy`` (2, 8; only for networks
        that take windows): means in the first row, deviations in the second.
    encoding : {"published", "cyclic"}
        What the weights were trained with.

    Returns
    -------
    Bundle
        Without intervals and without the range of the training inputs, which a checkpoint does not hold.

    Raises
    ------
    InputError
        A file is missing, holds something else than expected, or a shape or name does not fit.
    """
    if model not in NETWORKS:
        raise InputError(f"--model {model}: published checkpoints are of {', '.join(NETWORKS)}")
    catalogue = published_catalogue(encoding)
    scaler = _read_scaler(model, static, dynamic, catalogue)
    network = network_from_arrays(model, catalogue, _read_state(weights), str(weights))
    names = {"weights": weights.name, "static": static.name, "dynamic": dynamic.name if dynamic else None}
    facts = {"recipe": "published", "imported": names}
    return Bundle(model, catalogue, scaler, network, facts=facts)


def _read_state(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())
        detail = reason[reason.find("Unsupported") :] if "Unsupported" in reason else reason
        raise InputError(
            f"{path}: refused: not a checkpoint of tensors and plain containers alone ({detail[:160]})"
        ) from None
    state = found.get("model_state") if isinstance(found, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        holds = ", ".join(map(str, list(found)[:5])) if isinstance(found, Mapping) else type(found).__name__
        raise InputError(f"{path}: expected a state dict under 'model_state', found {holds}")
    return {str(name): value.detach().numpy() for name, value in state.items()}


def _read_scaler(model: str, static: Path, dynamic: Path | None, catalogue: Catalogue) -> Scaler:
    kind = NETWORKS[model]
    if dynamic is not None and not kind.windows:
        raise InputError(f"--dynamic {dynamic}: {model} has one scaler file, --static")
    if dynamic is None and kind.windows:
        raise InputError(f"--dynamic is missing: {model} needs dynamic_mean_std.npy too")
    mean, std = _read_mean_std(static, len(kind.columns(catalogue)))
    if dynamic is None:
        return Scaler(mean, std, np.empty(0), np.empty(0))
    return Scaler(mean, std, *_read_mean_std(dynamic, len(catalogue.series)))


def _read_mean_std(path: Path, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not path.is_file():
        raise InputError(f"{path}: no such scaler file")
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: not a plain .npy array: {' '.join(str(error).split())[:120]}") from None
    if not isinstance(values, np.ndarray) or values.shape != (2, width):
        found = getattr(values, "shape", type(values).__name__)
        raise InputError(f"{path}: shape {found}, expected (2, {width}): means, then deviations")
    if values.dtype.kind != "f" or not np.isfinite(values).all() or (values[1] <= 0).any():
        raise InputError(f"{path}: expected finite means and positive deviations, dtype {values.dtype}")
    return values[0].astype(np.float64), values[1].astype(np.float64)
