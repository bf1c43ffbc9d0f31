"""Fast exact inference: what is coarse is computed coarsely, the rest in blocks that stay in the cache.

MMNet's temporal encoder sees only weather and surface temperature, so it runs once per distinct series.
With the fusion layer split as W [s; d] = W_s s + W_d d, the product W_d d + b is a row per series that
enters the pixel pass as a bias. The MLP's and the Transformer's first layers are split in the same way. The
results equal the plain forward pass to float rounding, and one pixel's bits do not depend on the pixels
beside it: every product has the same shape, short blocks are padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.learn.bundle import Bundle
from mmnet_maps.prepare.features import window
from mmnet_maps.produce.engine.device import find_device, sent
from mmnet_maps.produce.engine.folding import Dense, blocks, fold
from mmnet_maps.produce.engine.half import HalfPass, require_half
from mmnet_maps.produce.engine.members import MembersPass
from mmnet_maps.produce.engine.pixels import DensePass, PixelPass, WindowPass
from mmnet_maps.produce.engine.precision import MixedPass, require_bfloat16
from mmnet_maps.produce.engine.series import Attention, DayEncoder, in_batches
from mmnet_maps.produce.engine.sizes import ON_CPU, Sizes, sizes_of

__all__ = ["BLOCK", "PRECISIONS", "Engine", "Workspace"]

#: Pixels whose features are computed together on a CPU.
BLOCK = ON_CPU.block
PRECISIONS = ("float32", "bfloat16")

Array = NDArray[np.float32]


class Workspace:
    """Buffers of one worker; an engine is shared between threads, a workspace is not.

    Attributes
    ----------
    inputs : ndarray of float32, shape (features, block)
        Scaled features, a row each, in the order of `Engine.features`.
    series : ndarray of int64, shape (block,)
        Which row of the series table each pixel takes.
    """

    def __init__(self, engine: Engine) -> None:
        self.tensors = engine.pixels.buffers(engine.block)
        self.inputs: Array = self.tensors.inputs.numpy()
        self.series: NDArray[np.int64] = self.tensors.series.numpy()


@dataclass(frozen=True)
class _SeriesSide:
    """The part of one network that sees the series.

    Attributes
    ----------
    coarse : Dense
        Layer that makes the row of the series table.
    encoder, attention : DayEncoder, Attention, optional
        None for the MLP.
    """

    coarse: Dense
    encoder: DayEncoder | None = None
    attention: Attention | None = None


class Engine:
    """A bundle, ready to map.

    Parameters
    ----------
    bundle : Bundle
        Of MMNet, the Transformer or the MLP, one network or several.
    precision : {"float32", "bfloat16"}
        Of the pixel pass.
    device : str
        ``cpu``, or what torch calls a device that it sees (`device.find_device`).
    sizes : Sizes, optional
        Of blocks and products; what suits the device without it.

    Attributes
    ----------
    bundle : Bundle
    catalogue : Catalogue
    device : torch.device
        Where weights, buffers and tables are.
    whole_tiles : bool
        Tiles are computed on the device (`device_tile`), not in NumPy a block of pixels at a time (`tile`).
    features : tuple of str
        Pixel features in the order of the workspace's rows: those that stay the same for a land cover year
        first, then those of the date, then those that change with the day.
    static, dated : int
        How many of `features` are of the first kind, and of the first two.
    block : int
        Pixels that are computed at once.
    mean, std : ndarray of float32, shape (features, 1)
        Scale of each.

    Raises
    ------
    InputError
        The bundle holds no network or trees beside it, or the precision or device is not there.
    """

    def __init__(
        self,
        bundle: Bundle,
        precision: str = "float32",
        device: str = "cpu",
        sizes: Sizes | None = None,
    ) -> None:
        if bundle.network is None:
            raise InputError(f"the bundle holds a {bundle.kind}; maps need mmnet, transformer or mlp")
        if bundle.trees:
            raise InputError(
                f"the bundle blends {bundle.kind} with {bundle.trees} trees, which maps leave out: write its "
                "networks alone with mmnet-maps bundle networks BUNDLE --out NEW"
            )
        if precision not in PRECISIONS:
            raise InputError(f"precision {precision} is not known; known are {', '.join(PRECISIONS)}")
        self.device = find_device(device)
        self.whole_tiles = self.device.type != "cpu"
        if precision == "bfloat16" and self.whole_tiles:
            require_half(bundle.kind, self.device)
        elif precision == "bfloat16":
            require_bfloat16(bundle.kind)
        self.bundle, self.precision = bundle, precision
        self.catalogue: Catalogue = bundle.catalogue
        self.sizes = sizes or sizes_of(self.device, bundle.kind)
        self.block = self.sizes.block
        self._set_features()
        split = [self._split(network.eval()) for network in bundle.members]
        self._sides = [side for side, _ in split]
        self.pixels: PixelPass = split[0][1]
        if len(split) > 1 or bundle.target != "identity":
            self.pixels = MembersPass([own for _, own in split], self._row_width, bundle.target)

    def _set_features(self) -> None:
        catalogue, scaler = self.catalogue, self.bundle.scaler
        mlp = self.bundle.kind == "mlp"
        columns = catalogue.mlp_features if mlp else catalogue.snapshot
        names = [name for name in columns if name not in catalogue.series]
        kinds = {name: _cadence(catalogue, name) for name in names}
        self.features = tuple(sorted(names, key=lambda name: kinds[name]))
        self.static = sum(kind == 0 for kind in kinds.values())
        self.dated = self.static + sum(kind == 1 for kind in kinds.values())
        #: Columns of the network's input that hold the features, and those that hold the day's series.
        self._columns = [columns.index(name) for name in self.features]
        self._series_columns = [columns.index(name) for name in catalogue.series] if mlp else []
        mean, std = scaler.snapshot_mean.astype(np.float32), scaler.snapshot_std.astype(np.float32)
        self.mean, self.std = mean[self._columns, None], std[self._columns, None]
        if mlp:
            self._series_mean, self._series_std = mean[self._series_columns], std[self._series_columns]
        else:
            self._series_mean = scaler.series_mean.astype(np.float32)
            self._series_std = scaler.series_std.astype(np.float32)

    def _split(self, network: Any) -> tuple[_SeriesSide, PixelPass]:
        """A network as its series' side and its pixel pass."""
        if self.bundle.kind == "mlp":
            first, *rest = [*blocks(network.encoder), *blocks(network.decoder)]
            layers = [Dense(first.rows(self._columns).weight, torch.zeros_like(first.bias)), *rest]
            return _SeriesSide(first.rows(self._series_columns).to(self.device)), self._dense(layers, 0)
        encoder = DayEncoder(network, self.device)
        attention = Attention(network, len(self.catalogue.lags), self.device)
        if self.bundle.kind == "mmnet":
            first, *rest = blocks(network.encoder_s)
            (fusion,) = blocks(network.fusion)
            width = rest[-1].shape[1]
            own = Dense(fusion.weight[:width].contiguous(), torch.zeros_like(fusion.bias))
            layers = [first.rows(self._columns), *rest, own, *blocks(network.decoder)]
            side = _SeriesSide(fusion.rows(slice(width, None)).to(self.device), encoder, attention)
            return side, self._dense(layers, 1 + len(rest))
        entry = network.encoder_d[0]
        first = fold(entry.lin, entry.bn)
        place = Dense(first.rows(self._columns).weight, torch.zeros_like(first.bias)).to(self.device)
        head = [layer.to(self.device) for layer in blocks(network.decoder)]
        daily = first.rows(slice(len(self.features), None)).to(self.device)
        side = _SeriesSide(daily, encoder, attention)
        return side, WindowPass(place, encoder, attention, head, self.sizes)

    def _dense(self, layers: list[Dense], entry: int) -> PixelPass:
        if self.precision == "bfloat16" and not self.whole_tiles:
            return MixedPass(layers, entry)
        chosen = DensePass if self.precision == "float32" else HalfPass
        return chosen([layer.to(self.device) for layer in layers], entry, self.sizes.step)

    @property
    def series_width(self) -> int:
        """Numbers in a row of the series table: those of every network side by side."""
        return self._row_width * len(self._sides)

    @property
    def _row_width(self) -> int:
        steps = len(self.catalogue.lags) if self.bundle.kind == "transformer" else 1
        return self._sides[0].coarse.shape[1] * steps

    def workspace(self) -> Workspace:
        """Buffers for `predict`, one a thread."""
        return Workspace(self)

    def scale(self, rows: Array, first: int, out: Array) -> None:
        """Scale feature rows ``first, first + 1, ...``, with the arithmetic of `Scaler.snapshot`."""
        stop = first + len(rows)
        np.subtract(rows, self.mean[first:stop], out=out)
        np.divide(out, self.std[first:stop], out=out)

    @torch.inference_mode()
    def series_table(self, values: Array, count: int) -> Tensor:
        """Encode the series of every distinct place and predicted day.

        Parameters
        ----------
        values : ndarray of float32, shape (days, places, v)
            One value a calendar day, unscaled: `Catalogue.window_days` days, then the predicted days.
        count : int
            Number of predicted days.

        Returns
        -------
        Tensor, shape (count, places, series_width)
            NaN where a value of the window is missing or infinite.
        """
        lags, first = self.catalogue.lags, self.catalogue.window_days
        days, places, _ = values.shape
        finite: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(values), axis=2)
        whole = (window(finite.astype(np.float32), first, lags, count) > 0).all(axis=1)
        scaled = ((values - self._series_mean) / self._series_std).reshape(days * places, -1)
        table = torch.full((count * places, self.series_width), torch.nan, device=self.device)
        wanted = np.flatnonzero(whole)
        if wanted.size:
            day, place = np.divmod(wanted, places)
            rows = (first + day[:, None] - np.asarray(lags)[None, :]) * places + place[:, None]
            used, rows = np.unique(rows, return_inverse=True)
            dense, target = sent(scaled[used], self.device), sent(wanted, self.device)
            windows = sent(rows.reshape(len(wanted), -1), self.device)
            for number, side in enumerate(self._sides):
                own = table.narrow(1, number * self._row_width, self._row_width)
                self._encode(side, dense, windows, target, own)
        return table.view(count, places, -1).to(self.pixels.table_dtype)

    def _encode(self, side: _SeriesSide, days: Tensor, rows: Tensor, target: Tensor, table: Tensor) -> None:
        """Fill rows `target` of the table from scaled days, shape (n, v), and the rows of each window."""
        if self.bundle.kind == "mlp":
            own = rows[:, self.catalogue.lags.index(0)]
            table[target] = _padded(side.coarse, days, self.sizes.day_batch)[own]
        elif self.bundle.kind == "transformer":
            table[target] = _padded(side.coarse, days, self.sizes.day_batch)[rows].flatten(1)
        else:
            _encode_windows(side, days, rows, target, table, self.sizes)

    @torch.inference_mode()
    def predict(self, workspace: Workspace, table: Tensor, count: int | None = None) -> Array:
        """Soil moisture of the block that stands in the workspace.

        Parameters
        ----------
        workspace : Workspace
            With `inputs` and `series` set for every pixel (a short block repeats one of its own).
        table : Tensor, shape (places, series_width)
            The day's rows of `series_table`.
        count : int, optional
            Pixels of the block that are wanted; all without it.

        Returns
        -------
        ndarray of float32, shape (block,)
            A buffer of the workspace, overwritten by the next call; NaN where an input is missing. Behind
            `count` it holds anything.
        """
        return self.pixels(workspace.tensors, table, self.block if count is None else count).numpy()


def _encode_windows(
    side: _SeriesSide, days: Tensor, rows: Tensor, target: Tensor, table: Tensor, sizes: Sizes
) -> None:
    """MMNet's temporal encoder and its half of the fusion layer, in batches of fixed size."""
    encoder, attention = side.encoder, side.attention
    assert encoder is not None
    assert attention is not None
    embedded = torch.empty(len(days), attention.width, device=days.device)
    projected = torch.empty(len(days), 3 * attention.width, device=days.device)
    for start, stop in in_batches(len(days), sizes.day_batch):
        part = _pad(days[start:stop], sizes.day_batch)
        found = encoder.after_first(torch.addmm(encoder.first.bias, part, encoder.first.weight))
        embedded[start:stop] = found[: stop - start]
        projected[start:stop] = attention.project_days(found)[: stop - start]
    shape = (sizes.window_batch, attention.steps, -1)
    for start, stop in in_batches(len(rows), sizes.window_batch):
        chosen = _pad(rows[start:stop], sizes.window_batch).flatten()
        own, seen = (x.index_select(0, chosen).view(shape) for x in (embedded, projected))
        past = torch.addmm(side.coarse.bias, attention(own, seen), side.coarse.weight)
        table.index_copy_(0, target[start:stop], past[: stop - start])


def _cadence(catalogue: Catalogue, feature: str) -> int:
    """0 for a feature that stays, 1 for one of the date alone, 2 for one that changes with the day."""
    names: Sequence[str] = ("LC",) if feature == "LC" else catalogue.inputs_of(feature)
    if all(name == "DoY" for name in names):
        return 1
    return 0 if all(name != "DoY" and catalogue[name].kind == "constant" for name in names) else 2


def _pad(rows: Tensor, size: int) -> Tensor:
    """`rows` with its last row repeated up to `size`."""
    if len(rows) == size:
        return rows
    return torch.cat((rows, rows[-1:].expand(size - len(rows), *rows.shape[1:])))


def _padded(layer: Dense, rows: Tensor, batch: int) -> Tensor:
    """A layer applied in batches of fixed size."""
    out = torch.empty(len(rows), layer.shape[1], device=rows.device)
    for start, stop in in_batches(len(rows), batch):
        found = torch.addmm(layer.bias, _pad(rows[start:stop], batch), layer.weight)
        out[start:stop] = found[: stop - start]
    return out
