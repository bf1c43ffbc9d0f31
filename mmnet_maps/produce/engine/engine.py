"""Fast exact inference: what is coarse is computed coarsely, the rest in blocks that stay in the cache.

MMNet's temporal encoder sees only weather and surface temperature, so it runs once per distinct series.
With the fusion layer split as W [s; d] = W_s s + W_d d, the product W_d d + b is a row per series that
enters the pixel pass as a bias. Every network says in which of its layers a pixel meets its series
(`learn.models.network.Layers`), and that layer is split in this way. The results equal the plain forward
pass to float rounding, and one pixel's bits do not depend on the pixels beside it: every product has the
same shape, short blocks are padded.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.learn.bundle import Bundle, Coarse
from mmnet_maps.learn.model_input import columns_of_kind, takes_windows
from mmnet_maps.learn.models.dense import Dense
from mmnet_maps.learn.models.network import Layers
from mmnet_maps.learn.models.networks import NETWORKS
from mmnet_maps.learn.models.temporal import Temporal
from mmnet_maps.prepare.features import window
from mmnet_maps.produce.engine.arrays import NUMPY, Array, Arrays, DeviceArrays, sent
from mmnet_maps.produce.engine.device import find_device
from mmnet_maps.produce.engine.dissimilarity import Dissimilarity
from mmnet_maps.produce.engine.members import MembersPass
from mmnet_maps.produce.engine.pixels import Buffers, DensePass, PixelPass, WindowPass
from mmnet_maps.produce.engine.precision import PRECISIONS, Bfloat16Pass, bfloat16_gain, refuse_device
from mmnet_maps.produce.engine.series import (
    Attention,
    DayEncoder,
    DayRows,
    EncodedWindows,
    PlainWindows,
    SeriesSide,
)
from mmnet_maps.produce.engine.sizes import ON_CPU, Sizes, sizes_of

__all__ = ["BLOCK", "Engine", "Workspace"]

#: Pixels whose features are computed together on a CPU.
BLOCK = ON_CPU.block


class Workspace:
    """Buffers of one worker; an engine is shared between threads, a workspace is not.

    Attributes
    ----------
    inputs : array of float32, shape (features, block)
        Scaled features, a row each, in the order of `Engine.features`.
    series : array of int64, shape (block,), or (block, 4) with bilinear coarse fields
        Which row of the series table each pixel takes, or which it lies between.
    weights : array of float32, shape (block, 4), or None
        Of the rows that a pixel lies between.
    """

    def __init__(self, xp: Arrays, tensors: Buffers) -> None:
        self.xp, self.tensors = xp, tensors
        self.inputs, self.series = xp.of(tensors.inputs), xp.of(tensors.series)
        self.weights: Array = None if tensors.weights is None else xp.of(tensors.weights)

    def beside(self) -> Workspace:
        """Another, to write to while the networks work on this one: their results have the same places."""
        return Workspace(self.xp, self.tensors.beside())


class Engine:
    """A bundle, ready to map.

    Parameters
    ----------
    bundle : Bundle
        Of one network or several.
    precision : {"float32", "bfloat16"}
        Of the pixel pass.
    device : str
        ``cpu``, or what torch calls a device that it sees (`device.find_device`).
    sizes : Sizes, optional
        Of blocks and products; what suits the device without it.
    xp : Arrays, optional
        What tiles are computed with; NumPy on a processor and tensors elsewhere without it.
    coarse : {"nearest", "bilinear"}, optional
        How a pixel gets its coarse fields (`tile.nodes`). Default: as the bundle says.
    optional : collection of str, optional
        Names of the optional layers that are computed; all that the bundle can give without it.

    Attributes
    ----------
    bundle : Bundle
    catalogue : Catalogue
    device : torch.device
        Where weights, buffers and tables are.
    xp : Arrays
        Operations on the arrays that tiles are computed with.
    features : tuple of str
        Pixel features in the order of the workspace's rows: those that stay the same for a land cover year
        first, then those of the date, then those that change with the day.
    static, dated : int
        How many of `features` are of the first kind, and of the first two.
    block : int
        Pixels that are computed at once.
    mean, std : array of float32, shape (features, 1)
        Scale of each.
    dissimilarity : Dissimilarity or None
        None where it is not asked for, or the bundle does not describe its training rows.

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
        xp: Arrays | None = None,
        coarse: Coarse | None = None,
        optional: Collection[str] | None = None,
    ) -> None:
        if bundle.network is None:
            raise InputError(f"the bundle holds a {bundle.kind}; maps need a network ({', '.join(NETWORKS)})")
        if bundle.trees:
            raise InputError(
                f"the bundle blends {bundle.kind} with {bundle.trees} trees, which maps leave out: write its "
                "networks alone with mmnet-maps bundle networks BUNDLE --out NEW"
            )
        if precision not in PRECISIONS:
            raise InputError(f"precision {precision} is not known; known are {', '.join(PRECISIONS)}")
        self.device = find_device(device)
        self.xp = xp or (NUMPY if self.device.type == "cpu" else DeviceArrays(self.device))
        self.bundle, self.precision = bundle, precision
        self.coarse: Coarse = coarse or bundle.coarse
        self.catalogue: Catalogue = bundle.catalogue
        members = [network.eval().layers(self.catalogue) for network in bundle.members]
        each_day = members[0].each_day
        if precision == "bfloat16":
            if each_day:
                raise InputError(f"precision bfloat16 is not for a {bundle.kind}: use float32")
            refuse_device(self.device)
        self.sizes = sizes or sizes_of(self.device, each_day)
        self.block = self.sizes.block
        self._set_features()
        split = [self._split(member) for member in members]
        self._sides = [side for side, _ in split]
        self.pixels: PixelPass = split[0][1]
        if len(split) > 1 or bundle.target != "identity":
            self.pixels = MembersPass([own for _, own in split], self._row_width, bundle.target)
        self.dissimilarity: Dissimilarity | None = None
        if bundle.applicability is not None and (optional is None or "dissimilarity" in optional):
            scale = (self._scale[0][:, 0], self._scale[1][:, 0])
            self.dissimilarity = Dissimilarity(
                bundle.applicability, self.catalogue, self.features, *scale, self.sizes.step, self.device
            )

    @property
    def optional(self) -> tuple[str, ...]:
        """Names of the optional layers that tiles get."""
        return () if self.dissimilarity is None else ("dissimilarity",)

    def _set_features(self) -> None:
        catalogue, scaler = self.catalogue, self.bundle.scaler
        columns = columns_of_kind(self.bundle.kind, catalogue)
        own = [name for name in columns if name not in catalogue.series]
        kinds = {name: _cadence(catalogue, name) for name in own}
        self.features = tuple(sorted(own, key=lambda name: kinds[name]))
        self.static = sum(kind == 0 for kind in kinds.values())
        self.dated = self.static + sum(kind == 1 for kind in kinds.values())
        #: Which of the network's own columns stands in each row of features.
        self._order = [own.index(name) for name in self.features]
        mean, std = scaler.snapshot_mean.astype(np.float32), scaler.snapshot_std.astype(np.float32)
        chosen = [columns.index(name) for name in self.features]
        self._scale = mean[chosen, None], std[chosen, None]
        self.mean, self.std = (self.xp.send(part) for part in self._scale)
        if takes_windows(self.bundle.kind):
            self._series_mean = scaler.series_mean.astype(np.float32)
            self._series_std = scaler.series_std.astype(np.float32)
        else:
            daily = [columns.index(name) for name in catalogue.series]
            self._series_mean, self._series_std = mean[daily], std[daily]

    def _split(self, found: Layers) -> tuple[SeriesSide, PixelPass]:
        """A network as its series' side and its pixel pass."""
        device, sizes = self.device, self.sizes
        steps = len(self.catalogue.lags)
        series = found.series.to(device)
        if found.each_day:
            assert isinstance(found.encoder, Temporal)
            encoder, attention = DayEncoder(found.encoder, device), Attention(found.encoder, steps, device)
            pixel = found.pixel.rows(self._order).to(device)
            side = DayRows(series, slice(None), steps, sizes.day_batch)
            return side, WindowPass(pixel, encoder, attention, found.after, sizes)
        entry, layers = len(found.before), [*found.before, found.pixel, *found.after]
        layers[0] = layers[0].rows(self._order)
        pixels = self._dense(layers, entry)
        series = Dense(series.weight, series.bias + pixels.on_rows.to(series.bias.dtype))
        if found.encoder is None:
            day = self.catalogue.lags.index(0)
            return DayRows(series, slice(day, day + 1), 1, sizes.day_batch), pixels
        if isinstance(found.encoder, Temporal):
            encoder, attention = DayEncoder(found.encoder, device), Attention(found.encoder, steps, device)
            return EncodedWindows(encoder, attention, series, sizes), pixels
        return PlainWindows(deepcopy(found.encoder).to(device), series, sizes.window_batch), pixels

    def _dense(self, layers: list[Dense], entry: int) -> DensePass:
        if self.precision == "float32":
            return DensePass(layers, entry, self.sizes.step, self.device)
        on_cpu = self.device.type == "cpu"
        # torch packs the weights of a bfloat16 product on a processor at every call: few and large ones.
        return Bfloat16Pass(layers, entry, self.block if on_cpu else self.sizes.step, self.device)

    @property
    def series_width(self) -> int:
        """Numbers in a row of the series table: those of every network side by side."""
        return self._row_width * len(self._sides)

    @property
    def _row_width(self) -> int:
        return self._sides[0].width

    def bfloat16_gain(self) -> float | None:
        """Rate of the pixel pass in bfloat16 over that of this engine in float32, measured now.

        None where there is nothing to measure: on a device, and for a network without such a pass.
        """
        first = self.pixels.passes[0] if isinstance(self.pixels, MembersPass) else self.pixels
        if self.device.type != "cpu" or not isinstance(first, DensePass):
            return None
        return bfloat16_gain(first.layers, first.entry, self.block, self.sizes.step)

    def workspace(self) -> Workspace:
        """Buffers for `predict`, one a thread."""
        tensors = self.pixels.buffers(self.block)
        return Workspace(self.xp, tensors.between_rows(4) if self.coarse == "bilinear" else tensors)

    def scale(self, rows: Array, first: int, out: Array) -> None:
        """Scale feature rows ``first, first + 1, ...``, with the arithmetic of `Scaler.snapshot`."""
        stop = first + len(rows)
        self.xp.subtract(rows, self.mean[first:stop], out=out)
        self.xp.divide(out, self.std[first:stop], out=out)

    @torch.inference_mode()
    def series_table(self, values: NDArray[np.float32], count: int) -> Tensor:
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
                side.fill(dense, windows, target, own)
        return table.view(count, places, -1).to(self.pixels.table_dtype)

    @torch.inference_mode()
    def predict(self, workspace: Workspace, table: Tensor, count: int | None = None) -> Array:
        """Soil moisture of the block in the workspace.

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
        array of float32, shape (block,)
            A buffer of the workspace, overwritten by the next call; NaN where an input is missing. Behind
            `count` it holds anything.
        """
        wanted = self.block if count is None else count
        return self.xp.of(self.pixels(workspace.tensors, table, wanted))

    @torch.inference_mode()
    def apart(self, workspace: Workspace, table: Tensor, count: int) -> Array:
        """Dissimilarity of the block in the workspace, shape (block,), as `predict` has it.

        Parameters
        ----------
        table : Tensor, shape (places, columns)
            The day's rows of `Dissimilarity.table`.
        """
        assert self.dissimilarity is not None
        return self.xp.of(self.dissimilarity(workspace.tensors, table, count))


def _cadence(catalogue: Catalogue, feature: str) -> int:
    """0 for a feature that stays, 1 for one of the date alone, 2 for one that changes with the day."""
    names: Sequence[str] = ("LC",) if feature == "LC" else catalogue.inputs_of(feature)
    if all(name == "DoY" for name in names):
        return 1
    return 0 if all(name != "DoY" and catalogue[name].kind == "constant" for name in names) else 2
