"""The arrays that tiles are computed with: NumPy's on a processor, tensors on any other device.

Both offer the same operations under the same names, with the same bits. One difference shows: a processor is
asked whether any element of a mask is set, to leave work out; a device always answers that some may be, since
asking it would mean to wait for it (`Arrays.some`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmnet_maps.packing import Packing

__all__ = ["NUMPY", "SENT_AS_STORED", "Array", "Arrays", "DeviceArrays", "sent"]

#: An ndarray, or a tensor of the engine's device.
Array = Any

#: Types that are sent to a device as they are stored; others are decoded first.
SENT_AS_STORED = ("int8", "uint8", "int16", "uint16", "int32", "float32")
_PLAIN = Packing(dtype="float32")


class Arrays:
    """NumPy's arrays.

    Also the namespace `xp` of the formulas in `prepare.features` and `prepare.gap_fill`.

    Attributes
    ----------
    on_device : bool
        Whether arrays are elsewhere than in the processor's memory.
    behind : int
        How many tiles may be computed before the first of them is asked for.
    """

    on_device = False
    behind = 0

    def __getattr__(self, name: str) -> Any:
        """Every other function and type is NumPy's of that name."""
        return getattr(np, name)

    def some(self, mask: Array) -> bool:
        """Whether the mask is set anywhere, or may be."""
        return bool(mask.any())

    def all_finite(self, values: Array) -> bool:
        """Whether every number is finite; False where it may be."""
        # A sum is finite only where every number is, and is told in a third of the time.
        with np.errstate(invalid="ignore", over="ignore"):
            return math.isfinite(values.sum())

    def take(self, values: Array, index: Array, out: Array | None = None) -> Array:
        """Elements of the last axis; every index is within it."""
        # Since the index is known to be in range, "clip" costs nothing and writes without a copy.
        return values.take(index, axis=-1, out=out, mode="clip")

    def put(self, out: Array, columns: Array, values: Array) -> None:
        """Write columns of an array of two axes; `columns` are in increasing order."""
        if columns[-1] - columns[0] == len(columns) - 1:
            out[:, columns[0] : columns[-1] + 1] = values
        else:
            out[:, columns] = values

    def outside(self, rows: Array, low: Array, high: Array) -> Array:
        """Columns of `rows`, shape (names, n), with a value out of its row's limits; NaN is not.

        Parameters
        ----------
        rows : array, shape (names, n)
        low, high : array, shape (names, 1)
        """
        # Most rows lie within a limit as a whole, which a fast reduction tells; one with a missing value
        # fails that test, and is compared value by value.
        found = np.zeros(rows.shape[1:], dtype=np.bool_)
        for row in np.flatnonzero(~(rows.min(axis=1, initial=np.inf) >= low[:, 0])):
            found |= rows[row] < low[row]
        for row in np.flatnonzero(~(rows.max(axis=1, initial=-np.inf) <= high[:, 0])):
            found |= rows[row] > high[row]
        return found

    def decode(self, stored: Array, packing: Packing) -> Array:
        """Physical values in float32, NaN where missing, with the arithmetic of `Packing.decode`."""
        return packing.decode(stored)

    def sendable(self, stored: NDArray[Any], packing: Packing) -> tuple[NDArray[Any], Packing]:
        """What is sent of stored values, and how `decode` reads it there."""
        return stored, packing

    def send(self, array: NDArray[Any]) -> Array:
        """An array to compute with."""
        return array

    def of(self, tensor: Tensor) -> Array:
        """The array that shares a tensor's memory."""
        return tensor.numpy()

    def upload(self, arrays: Mapping[str, NDArray[Any]]) -> Callable[[], Mapping[str, Array]]:
        """Send arrays, from any thread; the function gives them to the thread that computes."""
        return lambda: arrays

    def download(self, arrays: Mapping[str, Array]) -> Callable[[], Mapping[str, NDArray[Any]]]:
        """Bring results back; the function waits for them."""
        return lambda: arrays


#: The processor's.
NUMPY = Arrays()


class DeviceArrays(Arrays):
    """Tensors of one device.

    On CUDA, arrays are copied through page-locked memory on streams of their own while the device computes.
    Other devices take plain copies.

    Parameters
    ----------
    device : torch.device
    """

    on_device = True
    behind = 1

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "mps":
            # Apple's devices have no float64.
            self.float64 = torch.float32
        self._up = self._down = None
        if device.type == "cuda":
            self._up = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._down = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __getattr__(self, name: str) -> Any:
        """Every other function and type is torch's of that name."""
        return getattr(torch, name)

    def asarray(self, values: Array, dtype: Any) -> Array:
        """The values in that type."""
        return values.to(dtype)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of any values."""
        return torch.empty(shape, dtype=dtype, device=self.device)

    def full(self, shape: tuple[int, ...], value: float, dtype: Any) -> Array:
        """An array of one value."""
        return torch.full(shape, value, dtype=dtype, device=self.device)

    def some(self, mask: Array) -> bool:
        """True: the mask may be set somewhere."""
        return True

    def all_finite(self, values: Array) -> bool:
        """False: some number may not be."""
        return False

    def take(self, values: Array, index: Array, out: Array | None = None) -> Array:
        """Elements of the last axis; every index is within it."""
        return torch.index_select(values, -1, index, out=out)

    def put(self, out: Array, columns: Array, values: Array) -> None:
        """Write columns of an array of two axes."""
        out.index_copy_(1, columns, values)

    def outside(self, rows: Array, low: Array, high: Array) -> Array:
        """Columns of `rows`, shape (names, n), with a value out of its row's limits; NaN is not."""
        return ((rows < low) | (rows > high)).any(0)

    def decode(self, stored: Array, packing: Packing) -> Array:
        """Physical values in float32, NaN where missing, with the arithmetic of `Packing.decode`.

        Parameters
        ----------
        stored : Tensor
            As `send` gives it: uint16 as int16 of the same bits.
        packing : Packing
            Its type is one of `SENT_AS_STORED`.
        """
        if packing.dtype == "uint16":
            stored = stored.to(torch.int32) & 0xFFFF
        values = stored.to(torch.float32)
        if packing.scale != 1.0:
            values = values * float(np.float32(packing.scale))
        if packing.offset != 0.0:
            values = values + float(np.float32(packing.offset))
        if packing.missing is not None:
            missing = np.dtype(packing.dtype).type(packing.missing).item()
            values = values.masked_fill(stored == missing, torch.nan)
        return values

    def sendable(self, stored: NDArray[Any], packing: Packing) -> tuple[NDArray[Any], Packing]:
        """What is sent of stored values, and how `decode` reads it there."""
        if packing.dtype in SENT_AS_STORED and stored.dtype == packing.dtype:
            return stored, packing
        return packing.decode(stored), _PLAIN

    def send(self, array: NDArray[Any]) -> Array:
        """A copy on the device, made in the order of the current stream without waiting for it."""
        return sent(array, self.device)

    def of(self, tensor: Tensor) -> Array:
        """The tensor itself."""
        return tensor

    def upload(self, arrays: Mapping[str, NDArray[Any]]) -> Callable[[], Mapping[str, Array]]:
        """Send arrays, from any thread; the function gives them to the thread that computes."""
        with _on(self._up):
            tensors = {name: self.send(array) for name, array in arrays.items()}
        arrived = None if self._up is None else self._up.record_event()

        def there() -> Mapping[str, Array]:
            if arrived is not None:
                current = torch.cuda.current_stream(self.device)
                current.wait_event(arrived)
                for tensor in tensors.values():
                    # Their memory belongs to the copying stream, which must not reuse it too early.
                    tensor.record_stream(current)
            return tensors

        return there

    def download(self, arrays: Mapping[str, Array]) -> Callable[[], Mapping[str, NDArray[Any]]]:
        """Bring back results of what the current stream was told to do; the function waits for them."""
        if self._down is None:
            here = {name: tensor.to("cpu").numpy() for name, tensor in arrays.items()}
            return lambda: here
        self._down.wait_event(torch.cuda.current_stream(self.device).record_event())
        copies = {}
        with torch.cuda.stream(self._down):
            for name, tensor in arrays.items():
                tensor.record_stream(self._down)
                copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
                copies[name] = copy.copy_(tensor, non_blocking=True)
        done = self._down.record_event()

        def arrived() -> Mapping[str, NDArray[Any]]:
            done.synchronize()
            return {name: tensor.numpy() for name, tensor in copies.items()}

        return arrived


def sent(array: NDArray[Any], device: torch.device) -> Tensor:
    """A copy on a device, made in the order of the current stream without waiting for it.

    Parameters
    ----------
    array : ndarray
        Numbers or bool; uint16 arrives as int16 with the same bits, since torch computes little with it.
    device : torch.device
    """
    if array.dtype == np.uint16:
        array = array.view(np.int16)
    kind = torch.from_numpy(np.empty(0, dtype=array.dtype)).dtype
    staged = torch.empty(array.shape, dtype=kind, pin_memory=device.type == "cuda")
    staged.numpy()[...] = array
    # Page-locked memory is not given to anyone else before the copy has been made: torch sees to it.
    return staged.to(device, non_blocking=device.type == "cuda")


def _on(stream: torch.cuda.Stream | None) -> AbstractContextManager[object]:
    return nullcontext() if stream is None else torch.cuda.stream(stream)
