"""Devices beside the processor: which there are, how arrays travel, and how exact their products are.

On CUDA, arrays are copied through page-locked memory on streams of their own while the device computes.
Other devices take plain copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmnet_maps.errors import InputError

__all__ = ["Lanes", "Outgoing", "Parcel", "exact_products", "find_device", "seen_devices", "sent"]


def seen_devices() -> list[str]:
    """What torch can compute on here: ``cpu``, then ``cuda:0``, ``xpu:0``, ``mps``, ... as there are."""
    found = ["cpu"]
    for kind in ("cuda", "xpu"):
        module = getattr(torch, kind, None)
        if module is not None and module.is_available():
            found += [f"{kind}:{number}" for number in range(module.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def find_device(name: str) -> torch.device:
    """The device of that name.

    Parameters
    ----------
    name : str
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ``xpu``.

    Raises
    ------
    InputError
        Torch sees no such device; the message says which it sees.
    """
    seen = seen_devices()
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is not None and device.type == "cpu":
        return torch.device("cpu")
    if device is None or not any(device == torch.device(one) or name == one.split(":")[0] for one in seen):
        raise InputError(f"device {name}: torch sees no such device here; it sees {', '.join(seen)}")
    return device


@contextmanager
def exact_products() -> Iterator[None]:
    """Float32 products in float32 (no TF32), and sums of bfloat16 products in float32, on CUDA.

    The settings are torch's, for the whole process; they are as before afterwards.
    """
    places: list[tuple[Any, str]] = [(torch.backends.cuda.matmul, "allow_bf16_reduced_precision_reduction")]
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        # Since torch 2.9; set by the function below too, which alone keeps the old setting in step with it.
        places += [
            (backend.matmul, "fp32_precision") for backend in (torch.backends.cuda, torch.backends.mkldnn)
        ]
    settings = [(*at, getattr(*at)) for at in places]
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:
        before = "highest"  # set under the new name alone, on which torch refuses to tell the old one
    try:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        for owner, name, value in settings:
            setattr(owner, name, value)


def sent(array: NDArray[Any], device: torch.device) -> Tensor:
    """A copy on the device, made in the order of the current stream without waiting for it.

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


class Lanes:
    """Where copies to and from a device run, beside what it computes.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.up = self.down = None
        if device.type == "cuda":
            self.up = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self.down = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _along(stream: torch.cuda.Stream | None) -> AbstractContextManager[object]:
    return nullcontext() if stream is None else torch.cuda.stream(stream)


class Parcel:
    """Arrays on their way to a device; may be sent by another thread than the one that opens it.

    Parameters
    ----------
    arrays : mapping of str to ndarray
    lanes : Lanes
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], lanes: Lanes) -> None:
        self._lanes = lanes
        with _along(lanes.up):
            self._tensors = {name: sent(array, lanes.device) for name, array in arrays.items()}
        self._there = None if lanes.up is None else lanes.up.record_event()

    def open(self) -> dict[str, Tensor]:
        """The tensors, for what the current stream does from now on."""
        if self._there is not None:
            current = torch.cuda.current_stream(self._lanes.device)
            current.wait_event(self._there)
            for tensor in self._tensors.values():
                # Their memory belongs to the copying stream, which must not reuse it too early.
                tensor.record_stream(current)
        return self._tensors


class Outgoing:
    """Tensors on their way back from a device.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Results of what the current stream was told to do.
    lanes : Lanes
    """

    def __init__(self, tensors: Mapping[str, Tensor], lanes: Lanes) -> None:
        self._there: torch.cuda.Event | None = None
        if lanes.down is None:
            self._held = {name: tensor.to("cpu") for name, tensor in tensors.items()}
            return
        lanes.down.wait_event(torch.cuda.current_stream(lanes.device).record_event())
        with torch.cuda.stream(lanes.down):
            self._held = {}
            for name, tensor in tensors.items():
                tensor.record_stream(lanes.down)
                place = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
                self._held[name] = place.copy_(tensor, non_blocking=True)
        self._there = lanes.down.record_event()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays, once they are here."""
        if self._there is not None:
            self._there.synchronize()
        return {name: tensor.numpy() for name, tensor in self._held.items()}
