"""How fast this processor multiplies, in the precisions that maps can be computed in."""

from __future__ import annotations

import time

import torch

__all__ = ["product_rates"]

#: Side of the square matrices: large enough to be bound by arithmetic, small enough for the cache.
_SIDE = 512


def product_rates(seconds: float = 0.2) -> dict[str, float]:
    """Matrix products a second of one thread, in 10^9 operations (GFLOP/s), by precision.

    Parameters
    ----------
    seconds : float
        Time spent on each precision; the fastest product counts.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {
            "float32": _rate(torch.float32, seconds),
            "bfloat16": _rate(torch.bfloat16, seconds),
        }
    finally:
        torch.set_num_threads(threads)


def _rate(dtype: torch.dtype, seconds: float) -> float:
    left = torch.ones((_SIDE, _SIDE), dtype=dtype)
    right, best = torch.ones_like(left), float("inf")
    torch.mm(left, right)  # the first product chooses its kernel
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        torch.mm(left, right)
        best = min(best, time.perf_counter() - began)
    return 2 * _SIDE**3 / best / 1e9
