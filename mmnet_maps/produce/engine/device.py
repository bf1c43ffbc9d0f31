"""Devices beside the processor: which there are, and how exact their products are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from mmnet_maps.errors import InputError

__all__ = ["exact_products", "find_device", "seen_devices"]


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
    switches: list[tuple[Any, str]] = [(torch.backends.cuda.matmul, "allow_bf16_reduced_precision_reduction")]
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        # Since torch 2.9; set by the function below too, which alone keeps the old setting in step with it.
        switches += [
            (backend.matmul, "fp32_precision") for backend in (torch.backends.cuda, torch.backends.mkldnn)
        ]
    settings = [(*switch, getattr(*switch)) for switch in switches]
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
