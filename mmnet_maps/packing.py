"""How a variable is stored: integers with a scale, an offset and a value that means missing."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from mmnet_maps.config import Config

__all__ = ["Packing"]


class Packing(Config):
    """Storage of one variable; physical value = stored x scale + offset.

    Attributes
    ----------
    dtype : str
        NumPy name of the stored type.
    scale, offset : float
        CF ``scale_factor`` and ``add_offset``.
    missing : int or float, optional
        Stored value that means missing (CF ``_FillValue`` and Zarr's fill value alike). None only for
        floating-point storage, where NaN is missing.
    """

    dtype: str
    scale: float = 1.0
    offset: float = 0.0
    missing: float | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        try:
            kind = np.dtype(self.dtype)
        except TypeError:
            raise ValueError(f"dtype {self.dtype:.40} is none that NumPy knows") from None
        if kind.kind not in "iuf":
            raise ValueError(f"dtype {self.dtype:.40}, expected integers or floating-point numbers")
        if not (math.isfinite(self.scale) and self.scale and math.isfinite(self.offset)):
            raise ValueError(
                f"scale {self.scale}, offset {self.offset}: expected finite numbers, no scale of 0"
            )
        limits = None if kind.kind == "f" or self.missing is None else np.iinfo(kind)
        if limits is not None and not limits.min <= float(self.missing or 0) <= limits.max:
            raise ValueError(f"missing {self.missing} is not among the values of {self.dtype}")
        return self

    def decode(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Physical values in float32, NaN where missing; the same bits wherever it is called."""
        values = stored.astype(np.float32)
        if self.scale != 1.0:
            values *= np.float32(self.scale)
        if self.offset != 0.0:
            values += np.float32(self.offset)
        if self.missing is not None:
            values[stored == np.dtype(self.dtype).type(self.missing)] = np.nan
        return values

    def encode(self, values: NDArray[Any]) -> NDArray[Any]:
        """Stored values; NaN becomes `missing`, and values that the type cannot hold become missing too."""
        kind = np.dtype(self.dtype)
        scaled = (np.asarray(values, dtype=np.float64) - self.offset) / self.scale
        if kind.kind == "f":
            return scaled.astype(kind)
        limits = np.iinfo(kind)
        whole = np.rint(scaled)
        bad = ~((whole >= limits.min) & (whole <= limits.max))
        missing = limits.min if self.missing is None else int(self.missing)
        return np.where(bad, missing, np.where(bad, 0, whole)).astype(kind)
