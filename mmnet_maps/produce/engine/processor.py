"""Which kind of processor computes: on another kind floating-point functions round otherwise."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import numpy as np
import torch

__all__ = ["processor_kind"]


@cache
def processor_kind() -> str:
    """Machine, maker, and the instructions that torch and NumPy use, which settle the bits of a result.

    Examples
    --------
    ``x86_64 AuthenticAMD, torch AVX512, numpy AVX512_ICL``
    """
    used = np.show_config(mode="dicts")["SIMD Extensions"]
    extensions = [*used.get("baseline", ()), *used.get("found", ())]
    return (
        f"{platform.machine()} {_maker()}, torch {torch.backends.cpu.get_cpu_capability()}, "
        f"numpy {extensions[-1] if extensions else 'plain'}"
    )


def _maker() -> str:
    """Maker of the processor as the system names it; ``unknown`` where it does not."""
    told = Path("/proc/cpuinfo")
    if told.is_file():
        for line in told.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("vendor_id", "CPU implementer"):
                return value.strip()
    return platform.processor().rpartition(" ")[2] or "unknown"
