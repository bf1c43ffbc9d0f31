"""What a finished cube holds, by day: a build that brings it up to date reads only other days anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.errors import WorkError
from mmnet_maps.prepare.cube.plan import Part
from mmnet_maps.prepare.cube.sources import CubeSource, open_sources
from mmnet_maps.store.arrays import open_group
from mmnet_maps.store.location import Location

__all__ = ["Earlier", "earlier_of"]


@dataclass(frozen=True)
class Earlier:
    """A source of the cube that a build brings up to date.

    Attributes
    ----------
    source : CubeSource
    made_from : ndarray of uint64, shape (steps, shards of rows, shards of columns)
        What each day of each shard was made from.
    """

    source: CubeSource
    made_from: NDArray[np.uint64]

    def steps(self, part: Part, made_from: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Steps that hold the days of a part, made from the same; -1 for days that are to be made.

        Parameters
        ----------
        part : Part
        made_from : ndarray of uint64, shape (days,)
            What each day of the part is made from now.
        """
        days = part.plan.reader.days[part.begin : part.end]
        known = np.minimum(np.searchsorted(self.source.days, days), max(self.source.days.size - 1, 0))
        if not self.source.days.size:
            return np.full(days.size, -1)
        same = self.source.days[known] == days
        same &= self.made_from[known, part.index[1], part.index[2]] == made_from
        return np.where(same, known, -1)

    def read(self, part: Part, steps: NDArray[np.int64]) -> dict[str, NDArray[Any]] | None:
        """Stored values of steps, shape (steps, rows, columns) of the part; None if they are lost."""
        first, last = int(steps[0]), int(steps[-1]) + 1
        try:
            return {
                name: self.source.read(name, first, last, part.tile.rows, part.tile.cols)[steps - first]
                for name in part.plan.reader.variables
            }
        except WorkError:
            return None

    def digests(self, steps: NDArray[np.int64], rows: slice, cols: slice) -> NDArray[np.uint64]:
        """Digests recorded with the values of steps, of a block of chunks."""
        return np.asarray(self.source.arrays["digest"][:, rows, cols], dtype=np.uint64)[steps]


def earlier_of(cube: Location) -> dict[str, Earlier]:
    """Sources with days of a finished cube, but for cubes that do not say what a day was made from."""
    sources = open_sources(open_group(cube))
    return {
        name: Earlier(source, np.asarray(source.arrays["day_made_from"][...], dtype=np.uint64))
        for name, source in sources.items()
        if "day_made_from" in source.arrays
    }
