"""How a variable is stored: integers with a scale, an offset and a value that means missing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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
