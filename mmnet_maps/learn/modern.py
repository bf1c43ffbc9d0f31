"""The recipe beyond the published one: what a search on real stations found to matter, for one network.

Huber loss on standardised (square-root) targets, half of it on errors from which the mean error of their
station is taken away, so that following time counts as much as the level; batches of some days of some
stations; AdamW over one cycle of the learning rate; the moving average of the weights is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import huber_loss

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.learn.models.network import Network
from mmnet_maps.learn.models.networks import NETWORKS, build_network, reset_to_defaults
from mmnet_maps.learn.models.target import estimated, learned
from mmnet_maps.learn.settings import ModernConfig
from mmnet_maps.progress import steps

__all__ = ["StationBatches", "Task", "station_loss", "train_modern"]

Array = NDArray[np.float32]
_EVALUATION_BATCH = 4096
_PLACE = ("Latitude", "Longitude")


@dataclass(frozen=True)
class Task:
    """Rows of one training.

    Attributes
    ----------
    arrays : tuple of ndarray of float32
        Scaled inputs (`model_arrays`), n rows each.
    moisture : ndarray of float32, shape (n,)
        m3 m-3.
    station : ndarray, shape (n,)
    held : ndarray of bool, shape (n,)
        Validation rows: they are watched, and choose nothing.
    """

    arrays: tuple[Array, ...]
    moisture: Array
    station: NDArray[Any]
    held: NDArray[np.bool_]


class StationBatches:
    """Draws batches of some days of some stations.

    Stations come in a random order, which is drawn anew when too few are left for a batch; days are drawn
    with replacement, so that a station with few rows counts as much as one with many.

    Parameters
    ----------
    station : ndarray, shape (n,)
        Station of each row.
    stations, days : int
        Of a batch; no more stations than there are.
    seed : int
    """

    def __init__(self, station: NDArray[Any], stations: int, days: int, seed: int) -> None:
        names, index = np.unique(station.astype(str), return_inverse=True)
        self.stations, self.days = min(stations, len(names)), days
        self.rows = torch.from_numpy(np.argsort(index, kind="stable"))
        self.count = torch.from_numpy(np.bincount(index))
        self.start = torch.cumsum(self.count, 0) - self.count
        self.random = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        """Batches of an epoch: as many rows as there are."""
        return max(1, len(self.rows) // (self.stations * self.days))

    def __iter__(self) -> Iterator[Tensor]:
        """Rows of each batch, shape (stations x days,), the days of a station side by side."""
        waiting = torch.empty(0, dtype=torch.int64)
        for _ in range(len(self)):
            if len(waiting) < self.stations:
                waiting = torch.randperm(len(self.count), generator=self.random)
            chosen, waiting = waiting[: self.stations], waiting[self.stations :]
            draw = torch.rand((self.stations, self.days), generator=self.random, dtype=torch.float64)
            day = (draw * self.count[chosen, None]).long()
            yield self.rows[(self.start[chosen, None] + day).flatten()]


def station_loss(error: Tensor, days: int, config: ModernConfig) -> Tensor:
    """Huber loss of errors and of errors less the mean error of their station.

    Parameters
    ----------
    error : Tensor, shape (stations x days,)
        The days of a station side by side.
    days : int
    config : ModernConfig
        ``huber`` and ``centred`` are used.
    """
    by_station = error.view(-1, days)
    centred = by_station - by_station.mean(dim=1, keepdim=True)
    zero = torch.zeros_like(by_station)
    plain = huber_loss(by_station, zero, delta=config.huber)
    return (1 - config.centred) * plain + config.centred * huber_loss(centred, zero, delta=config.huber)


def train_modern(
    kind: str, task: Task, catalogue: Catalogue, config: ModernConfig, seed: int, name: str
) -> tuple[Network, pd.DataFrame]:
    """Train one network.

    Parameters
    ----------
    kind : str
        One of `networks.NETWORKS`.
    task : Task
    catalogue : Catalogue
    config : ModernConfig
    seed : int
    name : str
        What the progress line calls it.

    Returns
    -------
    network : Network
        In evaluation mode, with the averaged weights; gives the target of `config`, unscaled.
    log : DataFrame
        A row an epoch: epoch, train_loss (standardised), validation_loss (mean squared error of soil
        moisture), best (the last, which is kept).

    Raises
    ------
    InputError
        There are no rows to train on, or soil moisture is the same in all of them.
    WorkError
        The loss is not a number.
    """
    config = config.settled(known=False)
    training = np.flatnonzero(~task.held)
    wanted = learned(task.moisture, config.target)
    level, spread = float(wanted[training].mean()), float(wanted[training].std())
    if np.ptp(wanted[training]) == 0:
        raise InputError(f"{name}: soil moisture is the same in all {len(training)} training rows")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        assert config.dropout is not None
        network = reset_to_defaults(build_network(kind, catalogue, config.dropout, config.readout))
        arrays = tuple(torch.from_numpy(a[training]) for a in task.arrays)
        target = torch.from_numpy((wanted[training] - level) / spread)
        batches = StationBatches(task.station[training], config.stations, config.days, seed)
        noise = _place_noise(kind, catalogue, config)
        epochs = _epochs(network, arrays, target, batches, noise, config)
        log = []
        with steps(name, config.epochs) as advance:
            for epoch, (loss, averaged) in enumerate(epochs, start=1):
                network_now = _unscaled(averaged, level, spread)
                validation = _error(network_now, task, config)
                if not (np.isfinite(loss) and np.isfinite(validation)):
                    raise WorkError(
                        f"epoch {epoch}: training loss {loss}, validation loss {validation}: training "
                        f"diverged; try a modern.learning_rate below {config.learning_rate:g}"
                    )
                log.append({"epoch": epoch, "train_loss": loss, "validation_loss": validation, "best": False})
                advance(note=f"loss {loss:.4f}, validation {validation:.5f}")
    log[-1]["best"] = True
    return network_now.eval().requires_grad_(False), pd.DataFrame(log)


def _place_noise(kind: str, catalogue: Catalogue, config: ModernConfig) -> Tensor:
    """Standard deviation of the noise on every column of the first input."""
    columns = NETWORKS[kind].columns(catalogue)
    noisy = [name in _PLACE or name.endswith("_normal") for name in columns]
    assert config.place_noise is not None
    return torch.tensor(noisy, dtype=torch.float32) * config.place_noise


def _epochs(
    network: Network,
    arrays: tuple[Tensor, ...],
    target: Tensor,
    batches: StationBatches,
    noise: Tensor,
    config: ModernConfig,
) -> Iterator[tuple[float, Network]]:
    """Train; after every epoch the mean loss and a copy of the network with the averaged weights."""
    assert config.learning_rate is not None
    optimizer = _optimizer(network, config.learning_rate, config.weight_decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.epochs * len(batches)
    )
    averaged = _copy(network)
    for _ in range(config.epochs):
        network.train()
        total = torch.zeros(())
        for index in batches:
            first, *rest = (a.index_select(0, index) for a in arrays)
            if bool(noise.any()):
                first = first + torch.randn_like(first) * noise
            optimizer.zero_grad(set_to_none=True)
            error = network(first, *rest)[:, 0] - target.index_select(0, index)
            loss = station_loss(error, batches.days, config)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), config.clip)
            optimizer.step()
            cycle.step()
            _move_average(averaged, network, config.average)
            total += loss.detach()
        yield float(total) / len(batches), averaged


def _optimizer(network: Network, rate: float, decay: float) -> torch.optim.Optimizer:
    """AdamW; biases and norms do not decay."""
    wide = [p for p in network.parameters() if p.dim() >= 2]
    rest = [p for p in network.parameters() if p.dim() < 2]
    groups: list[dict[str, Any]] = [{"params": wide}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, weight_decay=decay, fused=True)


def _copy(network: Network) -> Network:
    return deepcopy(network).eval().requires_grad_(False)


def _move_average(averaged: Network, network: Network, decay: float) -> None:
    now = network.state_dict()
    with torch.no_grad():
        for name, value in averaged.state_dict().items():
            if value.is_floating_point():
                value.lerp_(now[name], 1 - decay)
            else:
                value.copy_(now[name])


def _unscaled(network: Network, level: float, spread: float) -> Network:
    """A copy whose last layer gives the target itself instead of the standardised one."""
    found = _copy(network)
    last = [layer for layer in found.modules() if isinstance(layer, nn.Linear)][-1]
    last.weight.mul_(spread)
    last.bias.mul_(spread).add_(level)
    return found


def _error(network: Network, task: Task, config: ModernConfig) -> float:
    """Mean squared error of soil moisture over the validation rows."""
    rows = np.flatnonzero(task.held)
    total = 0.0
    for start in range(0, len(rows), _EVALUATION_BATCH):
        part = rows[start : start + _EVALUATION_BATCH]
        with torch.inference_mode():
            output = network(*(torch.from_numpy(a[part]) for a in task.arrays))[:, 0].numpy()
        error = estimated(output, config.target).astype(np.float64) - task.moisture[part]
        total += float((error**2).sum())
    return total / len(rows)
