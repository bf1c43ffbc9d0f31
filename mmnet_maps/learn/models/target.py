"""What a network estimates: soil moisture itself, or its square root."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = ["TARGETS", "Target", "estimated", "learned"]

Array = NDArray[np.float32]
Target = Literal["identity", "sqrt"]
TARGETS: tuple[Target, ...] = get_args(Target)


def learned(moisture: Array, target: Target) -> Array:
    """What a network is trained towards, from soil moisture (m3 m-3, not negative)."""
    return np.sqrt(np.maximum(moisture, np.float32(0))) if target == "sqrt" else moisture


def estimated(output: Array, target: Target) -> Array:
    """Soil moisture from a network's output; a negative square root is none, and stands for dry."""
    if target == "identity":
        return output
    root = np.maximum(output, np.float32(0))
    return root * root
