"""Training rate of `mmnet_maps.learn.train` against two plainer ways, interleaved in one run; prints JSON.

The plain way is how the published script trains: a Dataset that gives one row at a time, a DataLoader of 512
rows, the network of stock PyTorch modules, the penalty summed over the parameters in every step, Adam. The
other is the network of stock modules in this package's own loop: what `models.training_pass` is worth.

Run with ``OMP_NUM_THREADS=1 python tests/benchmarks/bench_training.py [rows] [rounds]``.
"""

from __future__ import annotations

import itertools
import json
import sys
import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mmnet_maps.learn.models.mmnet import MMNet
from mmnet_maps.learn.train import Batches, TrainConfig, make_optimizer, train_epoch

BATCH = 512


class PlainNoise(nn.Module):
    """GaussianDropout as the published code has it."""

    def forward(self, values: Tensor) -> Tensor:
        """Any shape."""
        return values * (torch.randn_like(values) * 0.25 + 1) if self.training else values


class PlainDay(nn.Module):
    """Linear, BatchNorm over rows and days, ReLU, noise on (n, t, inputs)."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__()
        self.lin, self.bn, self.noise = nn.Linear(first, second), nn.BatchNorm1d(second), PlainNoise()

    def forward(self, days: Tensor) -> Tensor:
        """Shape (n, t, first) to (n, t, second)."""
        return self.noise(torch.relu(self.bn(self.lin(days).transpose(1, 2)).transpose(1, 2)))


def plain_blocks(*widths: int) -> list[nn.Module]:
    """Linear, BatchNorm1d, ReLU, noise for each pair of widths."""
    layers: list[nn.Module] = []
    for first, second in itertools.pairwise(widths):
        layers += [nn.Linear(first, second), nn.BatchNorm1d(second), nn.ReLU(), PlainNoise()]
    return layers


class PlainMMNet(nn.Module):
    """MMNet of stock modules, with the state-dict names of the published checkpoints."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder_s = nn.Sequential(*plain_blocks(28, 32, 64, 128))
        self.encoder_d = nn.Sequential(PlainDay(8, 32), PlainDay(32, 64), PlainDay(64, 128))
        self.inlayernorm = nn.LayerNorm(128)
        self.position_enc = nn.Module()
        self.position_enc.register_buffer("pe", torch.zeros(12, 128))
        layer = nn.TransformerEncoderLayer(128, 16, 256, dropout=0.2, batch_first=True)
        self.transformerencoder = nn.TransformerEncoder(
            layer, 1, norm=nn.LayerNorm(128), enable_nested_tensor=False
        )
        self.fusion = nn.Sequential(*plain_blocks(256, 128))
        self.decoder = nn.Sequential(*plain_blocks(128, 64, 32), nn.Linear(32, 1))

    def forward(self, snapshot: Tensor, series: Tensor) -> Tensor:
        """Shapes (n, 28) and (n, 8, 11) to (n, 1)."""
        days = self.inlayernorm(self.encoder_d(series.transpose(1, 2))) + self.position_enc.pe[:11]
        past = self.transformerencoder(days).mean(dim=1)
        return self.decoder(self.fusion(torch.cat((self.encoder_s(snapshot), past), dim=1)))


class Rows(Dataset):
    """One scaled row at a time."""

    def __init__(self, snapshot: np.ndarray, series: np.ndarray, target: np.ndarray) -> None:
        self.snapshot, self.series, self.target = snapshot, series, target

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, Tensor]:
        return (
            torch.tensor(self.snapshot[row]),
            torch.tensor(self.series[row]),
            torch.tensor(self.target[row : row + 1]),
        )


def plain_epoch(network: nn.Module, loader: DataLoader, optimizer: torch.optim.Optimizer) -> float:
    """One epoch of the plain loop; the mean loss."""
    network.train()
    total = 0.0
    for snapshot, series, target in loader:
        optimizer.zero_grad()
        error = nn.functional.mse_loss(network(snapshot, series), target)
        penalty = sum((p**2).sum() for p in network.parameters() if p.dim() == 2)
        loss = (error + 1e-4 * penalty / len(target)) / 2
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)


def main(rows: int = 5120, rounds: int = 5) -> None:
    """Interleave the two and print the medians."""
    rng = np.random.default_rng(1)
    snapshot = rng.normal(size=(rows, 28)).astype(np.float32)
    series = rng.normal(size=(rows, 8, 11)).astype(np.float32)
    target = rng.uniform(0, 0.5, rows).astype(np.float32)
    torch.manual_seed(1)
    ours, plain, stock = MMNet(), PlainMMNet(), PlainMMNet()
    plain.load_state_dict(ours.state_dict())
    stock.load_state_dict(ours.state_dict())
    config = TrainConfig(batch=BATCH)
    batches = Batches.of((snapshot, series), target)
    our_optimizer, stock_optimizer = make_optimizer(ours, config), make_optimizer(stock, config)
    plain_loader = DataLoader(Rows(snapshot, series, target), batch_size=BATCH, shuffle=True, drop_last=True)
    plain_optimizer = torch.optim.Adam(plain.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(1)
    seconds: dict[str, list[float]] = {"plain": [], "stock": [], "ours": []}
    for _ in range(rounds + 1):
        times = [time.perf_counter()]
        plain_epoch(plain, plain_loader, plain_optimizer)
        times.append(time.perf_counter())
        train_epoch(stock, batches, stock_optimizer, config, generator)
        times.append(time.perf_counter())
        train_epoch(ours, batches, our_optimizer, config, generator)
        times.append(time.perf_counter())
        for name, taken in zip(seconds, np.diff(times), strict=True):
            seconds[name].append(float(taken))
    used = rows // BATCH * BATCH
    rate = {name: used / float(np.median(times[1:])) for name, times in seconds.items()}
    summary = {
        "plain_rows_per_s": round(rate["plain"]),
        "stock_rows_per_s": round(rate["stock"]),
        "rows_per_s": round(rate["ours"]),
        "ratio": round(rate["ours"] / rate["plain"], 2),
        "ratio_to_stock": round(rate["ours"] / rate["stock"], 2),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
