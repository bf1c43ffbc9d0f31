"""The weights file of a bundle: networks and trees as named arrays, checked when they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.learn.models.baselines import Baseline, load_baseline
from mmnet_maps.learn.models.network import Network, Readout
from mmnet_maps.learn.models.networks import build_network

__all__ = ["network_from_arrays", "pack", "unpack"]

Arrays = Mapping[str, NDArray[Any]]
#: Before the names of the weights of several networks, and of the trees beside networks.
_MEMBER, _TREES = "member.{}.", "trees."
#: Name of the training rows that are kept (`applicability.Applicability.reference`).
_REFERENCE = "applicability.reference"


def pack(
    networks: Sequence[Network], baseline: Baseline | None, reference: NDArray[np.float32] | None = None
) -> bytes:
    """Everything in one safetensors file.

    A single network and a lone baseline keep the names of their own; several networks stand under
    ``member.0.``, ``member.1.``, ..., a baseline beside networks under ``trees.``, and training rows that are
    kept under ``applicability.reference``.
    """
    arrays: dict[str, NDArray[Any]] = {} if reference is None else {_REFERENCE: reference}
    for number, network in enumerate(networks):
        before = _MEMBER.format(number) if len(networks) > 1 else ""
        arrays |= {before + name: value.numpy() for name, value in network.state_dict().items()}
    if baseline is not None:
        before = _TREES if networks else ""
        arrays |= {before + name: value for name, value in baseline.arrays().items()}
    return save({name: np.array(array, order="C") for name, array in arrays.items()})


def unpack(
    weights: bytes,
    catalogue: Catalogue,
    kind: str,
    members: int,
    trees: str | None,
    readout: Readout,
    where: str,
) -> tuple[tuple[Network, ...], Baseline | None, NDArray[np.float32] | None]:
    """Undo `pack`.

    Parameters
    ----------
    weights : bytes
    catalogue : Catalogue
    kind : str
        Of the networks, or of a lone baseline.
    members : int
        Number of networks; 0 for a lone baseline.
    trees : str or None
        Kind of the baseline beside networks.
    readout : {"mean", "last"}
    where : str
        What to call the weights in errors.

    Raises
    ------
    InputError
        The file is none, or the weights are not those of these models.
    """
    try:
        arrays = load(weights)
    except SafetensorError as error:
        raise InputError(f"{where}: not a safetensors file: {error}") from None
    reference = arrays.pop(_REFERENCE, None)
    if not members:
        return (), load_baseline(kind, arrays), reference
    baseline = None
    if trees is not None:
        baseline = load_baseline(trees, _under(_TREES, arrays))
        arrays = {name: array for name, array in arrays.items() if not name.startswith(_TREES)}
    if members == 1:
        return (network_from_arrays(kind, catalogue, arrays, where, readout),), baseline, reference
    _refuse_other_members(arrays, members, where)
    networks = []
    for number in range(members):
        before = _MEMBER.format(number)
        named = f"{where}: {before[:-1]}"
        networks.append(network_from_arrays(kind, catalogue, _under(before, arrays), named, readout))
    return tuple(networks), baseline, reference


def _under(before: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Arrays whose names begin so, under the rest of their names."""
    return {name.removeprefix(before): array for name, array in arrays.items() if name.startswith(before)}


def _refuse_other_members(arrays: Arrays, members: int, where: str) -> None:
    known = tuple(_MEMBER.format(number) for number in range(members))
    for name in arrays:
        if not name.startswith(known):
            raise InputError(f"{where}: {name}: unknown to {members} networks")


def network_from_arrays(
    kind: str, catalogue: Catalogue, arrays: Arrays, where: str, readout: Readout = "mean"
) -> Network:
    """A network in evaluation mode with these weights.

    Parameters
    ----------
    kind : str
        One of `networks.NETWORKS`.
    catalogue : Catalogue
        Gives the widths.
    arrays : mapping of str to ndarray
        State dict by name.
    where : str
        What to call the weights in errors.
    readout : {"mean", "last"}
        What of the encoded series goes on.

    Raises
    ------
    InputError
        The kind is none of a network, or a name is missing, unknown or of another shape, or a value is not
        finite; the message names it.
    """
    with torch.random.fork_rng(devices=[]):
        network = build_network(kind, catalogue, readout=readout)
    expected = network.state_dict()
    for name, found in _differences(expected, arrays):
        raise InputError(f"{where}: {name}: {found} ({kind} of {len(catalogue.snapshot)} snapshot features)")
    state = {name: torch.from_numpy(np.array(arrays[name])).to(expected[name].dtype) for name in expected}
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def _differences(expected: Mapping[str, torch.Tensor], arrays: Arrays) -> Iterator[tuple[str, str]]:
    for name, tensor in expected.items():
        if name not in arrays:
            yield name, f"missing, expected with shape {tuple(tensor.shape)}"
        elif arrays[name].shape != tuple(tensor.shape):
            yield name, f"has shape {arrays[name].shape}, expected {tuple(tensor.shape)}"
        elif arrays[name].dtype != tensor.numpy().dtype:
            yield name, f"holds {arrays[name].dtype}, expected {tensor.numpy().dtype}"
        elif not np.isfinite(arrays[name]).all():
            yield name, "holds values that are not finite"
    for name in arrays:
        if name not in expected:
            yield name, "unknown to this network"
