"""The networks by the name that the command line uses."""

from __future__ import annotations

from torch import nn

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.learn.models.mlp import MLP
from mmnet_maps.learn.models.mmnet import MMNet
from mmnet_maps.learn.models.network import Network, Readout
from mmnet_maps.learn.models.transformer import Transformer

__all__ = ["NETWORKS", "build_network", "network_class", "reset_to_defaults"]

#: Every network; a line here and its class are all that another one takes.
NETWORKS: dict[str, type[Network]] = {"mmnet": MMNet, "transformer": Transformer, "mlp": MLP}


def network_class(kind: str) -> type[Network]:
    """The class of that name.

    Raises
    ------
    InputError
        There is no network of that name.
    """
    if kind not in NETWORKS:
        raise InputError(f"there is no network {kind}; known are {', '.join(NETWORKS)}")
    return NETWORKS[kind]


def build_network(
    kind: str, catalogue: Catalogue, dropout: float = 0.2, readout: Readout = "mean"
) -> Network:
    """A freshly initialised network of that kind, as wide as the catalogue.

    Raises
    ------
    InputError
        There is no network of that name.
    """
    return network_class(kind).build(catalogue, dropout, readout)


def reset_to_defaults(network: Network) -> Network:
    """Initialise the linear layers and BatchNorms as torch does by default instead of as published."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.BatchNorm1d):
            module.reset_parameters()
    return network
