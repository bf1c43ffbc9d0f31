"""Training: the published way here (Adam, early stopping, the best weights kept), the modern one in `modern`.

Rows live as tensors; a batch is one `index_select`. The penalty of the published loss,
(MSE + c * sum of squares of the 2-D parameters / rows) / 2, has the gradient c * w / rows, which is what
``weight_decay`` of Adam adds: it costs no pass over the weights.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.dates import year_of
from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.learn.applicability import Applicability
from mmnet_maps.learn.bundle import Bundle
from mmnet_maps.learn.intervals import Envelope, IntervalTable
from mmnet_maps.learn.model_input import fit_scaler, model_arrays, side_by_side
from mmnet_maps.learn.models.baselines import BASELINES, Baseline, fit_baseline
from mmnet_maps.learn.models.network import Network
from mmnet_maps.learn.models.networks import build_network
from mmnet_maps.learn.modern import Task, train_modern
from mmnet_maps.learn.permutation import variable_importance
from mmnet_maps.learn.rows import TrainingRows, hold_back
from mmnet_maps.learn.settings import TrainConfig
from mmnet_maps.prepare.features import Scaler
from mmnet_maps.progress import say, steps
from mmnet_maps.version import __version__

__all__ = ["Batches", "Fitted", "TrainConfig", "fit", "make_optimizer", "threads", "train_epoch"]

_EVALUATION_BATCH = 4096
#: Training rows that the importance of variables is measured on, at most.
_SHUFFLED = 1000


@dataclass(frozen=True)
class Batches:
    """Scaled rows as tensors.

    Attributes
    ----------
    arrays : tuple of Tensor
        What the network takes, each with n rows.
    target : Tensor, shape (n, 1)
    """

    arrays: tuple[Tensor, ...]
    target: Tensor

    @classmethod
    def of(cls, arrays: tuple[NDArray[np.float32], ...], target: NDArray[np.float32]) -> Batches:
        """From the arrays of `model_arrays` and a target of shape (n,)."""
        return cls(tuple(map(torch.from_numpy, arrays)), torch.from_numpy(target)[:, None])

    def __len__(self) -> int:
        return len(self.target)

    def take(self, index: Tensor) -> Batches:
        """The chosen rows."""
        return Batches(
            tuple(a.index_select(0, index) for a in self.arrays), self.target.index_select(0, index)
        )


@dataclass(frozen=True)
class Fitted:
    """What a training gives.

    Attributes
    ----------
    bundle : Bundle
        With intervals calibrated on the validation rows; not saved yet.
    log : DataFrame
        A row an epoch of the first network: epoch, train_loss, validation_loss, best; empty for a baseline.
    """

    bundle: Bundle
    log: pd.DataFrame = field(default_factory=pd.DataFrame)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with `count` threads inside the block, with as many as before behind it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fit(
    kind: str,
    rows: TrainingRows,
    catalogue: Catalogue,
    config: TrainConfig,
    name: str = "training",
    facts: dict[str, Any] | None = None,
) -> Fitted:
    """Train one model.

    Parameters
    ----------
    kind : str
        One of `networks.NETWORKS` or `baselines.BASELINES`.
    rows : TrainingRows
        Training rows alone; incomplete ones are left out. Scaler, early stopping and intervals see no others.
    catalogue : Catalogue
    config : TrainConfig
        ``validation`` None means random rows.
    name : str
        What the progress line calls it.
    facts : dict, optional
        Written into the card with the facts of the training.

    Raises
    ------
    InputError
        There are too few rows, stations or blocks, or a series variable is constant.
    WorkError
        The loss is not a number.
    """
    given, rows = len(rows), rows.complete()
    if len(rows) == 0:
        target = catalogue.target.name
        raise InputError(f"{name}: none of the {given} training rows has all inputs and {target}")
    if len(rows) < given:
        say(f"{name}: {given - len(rows)} of {given} training rows lack a value and are left out")
    rows = rows.every(config.every)
    if len(rows) == 0:
        raise InputError(
            f"{name}: no training row is left of every={config.every} days; take a smaller every="
        )
    how = config.validation or "random_rows"
    held = hold_back(rows, how, config.validation_share, config.seed, config.block_days)
    scaler = fit_scaler(kind, rows.inputs, catalogue)
    arrays = model_arrays(kind, rows.inputs, catalogue, scaler)
    learned = {
        "rows": len(rows),
        "stations": len(set(rows.station)),
        "years": np.unique(year_of(rows.day)).tolist(),
        "validation": how,
        "validation_rows": int(held.sum()),
        "config": config.model_dump(mode="json", include=set(TrainConfig.model_fields)),
    }
    task = Task(arrays, rows.target, rows.station, held)
    with threads(config.threads):
        bundle, log = _train_all(kind, task, catalogue, scaler, config, name)
        validation = rows.take(held)
        interval = _interval(bundle, validation, config)
        alone = _interval(bundle.networks_alone(), validation, config) if bundle.trees else None
        applicability = _applicability(bundle, rows, config.seed)
    if kind not in BASELINES:
        best = log[log["best"]].iloc[-1]
        facts_of_epochs = {"epochs": len(log), "best_epoch": int(best["epoch"])}
        learned |= {**facts_of_epochs, "best_validation_loss": float(best["validation_loss"])}
    coarse = config.coarse or ("bilinear" if config.recipe == "modern" else "nearest")
    card = {
        "recipe": config.recipe,
        "coarse": coarse,
        "training": learned,
        "provenance": _provenance(),
        **(facts or {}),
    }
    done = replace(
        bundle,
        interval=interval,
        network_interval=alone,
        envelope=Envelope.fit(rows.inputs),
        applicability=applicability,
        facts=card,
    )
    return Fitted(done, log)


def _applicability(bundle: Bundle, rows: TrainingRows, seed: int) -> Applicability | None:
    """What the rows looked like to the model; its variables weigh what shuffling them costs on some rows."""
    drawn = np.random.default_rng(seed).choice(len(rows), min(_SHUFFLED, len(rows)), replace=False)
    some = rows.take(np.sort(drawn))
    importance = variable_importance(bundle, some.inputs, some.target, seed)
    return Applicability.fit(bundle.kind, rows.inputs, rows.station, bundle.catalogue, importance, seed)


def _interval(bundle: Bundle, validation: TrainingRows, config: TrainConfig) -> IntervalTable | None:
    predicted = bundle.predict(validation.inputs)
    return IntervalTable.calibrate(validation.target, predicted, validation.station, config.coverage)


def _train_all(
    kind: str, task: Task, catalogue: Catalogue, scaler: Scaler, config: TrainConfig, name: str
) -> tuple[Bundle, pd.DataFrame]:
    """Networks, trees or both, and the log of the first network."""
    if kind in BASELINES:
        if config.blend or config.members > 1:
            raise InputError(f"{name}: blend= and members= are settings of networks, the model is {kind}")
        model = _fit_baseline(kind, task, config)
        return Bundle(kind, catalogue, scaler, baseline=model), pd.DataFrame()
    networks, logs = [], []
    for member in range(config.members):
        # Apart far enough that the members of one seed are not those of the next.
        seeded = config.model_copy(update={"seed": config.seed + 1000 * member})
        called = name if config.members == 1 else f"{name}, member {member + 1} of {config.members}"
        if config.recipe == "modern":
            network, log = train_modern(kind, task, catalogue, config.modern, seeded.seed, called)
        else:
            network, log = _train_network(kind, task, catalogue, seeded, called)
        networks.append(network)
        logs.append(log)
    trees = _fit_baseline("xgboost", task, config) if config.blend else None
    bundle = Bundle(kind, catalogue, scaler, networks[0], trees, others=tuple(networks[1:]))
    if config.recipe == "modern":
        bundle = replace(bundle, target=config.modern.target, readout=config.modern.readout)
    return bundle, logs[0]


def _fit_baseline(kind: str, task: Task, config: TrainConfig) -> Baseline:
    columns = side_by_side(task.arrays)
    target, held = task.moisture.astype(np.float64), task.held
    watched = columns[held], target[held]
    return fit_baseline(kind, columns[~held], target[~held], watched, config.baseline, config.seed)


def _provenance() -> dict[str, str]:
    return {"mmnet_maps": __version__, "torch": str(torch.__version__), "numpy": np.__version__}


def _train_network(
    kind: str, task: Task, catalogue: Catalogue, config: TrainConfig, name: str
) -> tuple[Network, pd.DataFrame]:
    batches = Batches.of(task.arrays, task.moisture)
    train = batches.take(torch.from_numpy(np.flatnonzero(~task.held)))
    watched = batches.take(torch.from_numpy(np.flatnonzero(task.held)))
    if len(train) < config.batch:
        raise InputError(
            f"{len(train)} rows to train on ({len(watched)} more are kept for validation) "
            f"are fewer than one batch of {config.batch}; set batch="
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = build_network(kind, catalogue, config.dropout)
        log = _run_epochs(network, train, watched, config, name)
    return network.eval().requires_grad_(False), log


def _run_epochs(
    network: Network, train: Batches, watched: Batches, config: TrainConfig, name: str
) -> pd.DataFrame:
    """Train until it stops improving; the network ends with its best weights."""
    optimizer = make_optimizer(network, config)
    order = torch.Generator().manual_seed(config.seed)
    log: list[dict[str, Any]] = []
    best, best_state = np.inf, deepcopy(network.state_dict())
    since = 0
    with steps(name, config.epochs) as advance:
        for epoch in range(1, config.epochs + 1):
            began = time.perf_counter()
            loss = train_epoch(network, train, optimizer, config, order)
            rate = len(train) // config.batch * config.batch / (time.perf_counter() - began)
            validation = _mean_squared_error(network, watched)
            _refuse_not_a_number(loss, validation, epoch, config)
            better = validation < best
            log.append({"epoch": epoch, "train_loss": loss, "validation_loss": validation, "best": better})
            since = 0 if better else since + 1
            if better:
                best, best_state = validation, deepcopy(network.state_dict())
            advance(note=f"loss {loss:.5f}, validation {validation:.5f}, {rate:,.0f} rows/s")
            if since >= config.patience:
                break
    network.load_state_dict(best_state)
    return pd.DataFrame(log)


def _refuse_not_a_number(loss: float, validation: float, epoch: int, config: TrainConfig) -> None:
    if not (np.isfinite(loss) and np.isfinite(validation)):
        raise WorkError(
            f"epoch {epoch}: training loss {loss}, validation loss {validation}: training diverged; "
            f"try a learning_rate below {config.learning_rate:g}"
        )


def make_optimizer(network: Network, config: TrainConfig) -> torch.optim.Optimizer:
    """Adam whose weight decay is the gradient of the published penalty on the 2-D parameters."""
    wide = [p for p in network.parameters() if p.dim() == 2]
    rest = [p for p in network.parameters() if p.dim() != 2]
    groups: list[dict[str, Any]] = [
        {"params": wide, "weight_decay": config.weight_penalty / config.batch},
        {"params": rest},
    ]
    return torch.optim.Adam(groups, lr=config.learning_rate, fused=True)


def train_epoch(
    network: Network,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    order: torch.Generator,
) -> float:
    """One epoch over shuffled rows, the last short batch dropped.

    Returns
    -------
    float
        Mean over the batches of the published loss, the penalty taken at the end of the epoch.
    """
    network.train()
    count = len(batches) // config.batch
    shuffled = torch.randperm(len(batches), generator=order)[: count * config.batch]
    total = torch.zeros(())
    for index in torch.split(shuffled, config.batch):
        part = batches.take(index)
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.mse_loss(network(*part.arrays), part.target) / 2
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += loss.detach()
    with torch.no_grad():
        squares = sum(float((p**2).sum()) for p in network.parameters() if p.dim() == 2)
    return float(total) / count + config.weight_penalty * squares / config.batch / 2


def _mean_squared_error(network: Network, batches: Batches) -> float:
    network.eval()
    total = 0.0
    with torch.inference_mode():
        for index in torch.split(torch.arange(len(batches)), _EVALUATION_BATCH):
            part = batches.take(index)
            total += float(((network(*part.arrays) - part.target) ** 2).sum(dtype=torch.float64))
    return total / len(batches)
