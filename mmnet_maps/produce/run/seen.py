"""Digests of what a work unit rests on in a cube: they change if, and only if, late data can change the unit.

Of a fine source the recorded digests of chunks are taken, on the days that the unit's values reach
(`mmnet_maps.produce.tile.reach`). Of a coarse one, whose chunks hold the cells of many tiles and many days,
it is the series itself: of the tile's own cells, filled as the unit fills them, with what its quality bits
tell of ages.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.prepare.cube.store import Cube, CubeSource
from mmnet_maps.prepare.gap_fill import gap_fill
from mmnet_maps.produce.tile.reach import Reach
from mmnet_maps.produce.tile.reading import Window, required_sources, visible_rows
from mmnet_maps.produce.units import Unit

__all__ = ["source_digests"]


def source_digests(
    cube: Cube,
    catalogue: Catalogue,
    unit: Unit,
    windows: Mapping[str, Window],
    cells: Mapping[str, NDArray[np.int64]],
    reach: Mapping[str, Reach],
) -> dict[str, str]:
    """Digest, by source, of all that a unit rests on in the cube and of nothing more.

    Parameters
    ----------
    windows : mapping of str to (slice, slice)
        By source, the cells that the unit's tile touches (`tile_windows`; the same for every block of days).
    cells : mapping of str to ndarray of int64
        By coarse source, those of a window that count, as flat indices; all where a source is not named
        (`tile_cells`).
    reach : mapping of str to list
        By source, the days that the unit's values rest on (`Reaches.found`); all that it can see where a
        source is not named.
    """
    found = {}
    for source, names in required_sources(cube, catalogue):
        seen = hashlib.sha256(json.dumps(source.grid.to_dict()).encode())
        for name in names:
            seen.update(f"{name} {source.variables[name].model_dump_json()}".encode())
        if source.in_runs:
            for name in names:
                own = cells.get(source.name, slice(None))
                for part in _filled(source, name, catalogue, unit, windows[source.name], own):
                    seen.update(np.ascontiguousarray(part).data)
        else:
            spans = [visible_rows(catalogue[name], catalogue, source.days, unit) for name in names]
            begin, end = min(first for first, _ in spans), max(last for _, last in spans)
            if source.name in reach:
                begin, end = _reached(source.days, reach[source.name], begin, end)
            seen.update(source.days[begin:end].tobytes())
            seen.update(source.digests(begin, end, *windows[source.name]).tobytes())
        found[source.name] = seen.hexdigest()[:32]
    return found


def _reached(days: NDArray[np.int64], reach: Reach, begin: int, end: int) -> tuple[int, int]:
    """Steps of the days that are reached, among those from `begin` to `end`."""
    first, *until = reach
    low = begin if first is None else max(begin, int(np.searchsorted(days, first)))
    last = None if None in until else max(day for day in until if day is not None)
    high = end if last is None else min(end, int(np.searchsorted(days, last, side="right")))
    return low, max(low, high)


def _filled(
    source: CubeSource,
    name: str,
    catalogue: Catalogue,
    unit: Unit,
    window: Window,
    cells: NDArray[np.int64] | slice,
) -> tuple[NDArray[Any], ...]:
    """Series of one variable of a coarse source as the unit takes it: values, and which are filled or old."""
    variable = catalogue[name]
    begin, end = visible_rows(variable, catalogue, source.days, unit)
    stored = source.read(name, begin, end, *window).reshape(end - begin, -1)[:, cells]
    wanted = np.arange(unit.first - catalogue.reach(name), unit.stop, dtype=np.int64)
    values = source.variables[name].decode(stored)
    found = gap_fill(source.days[begin:end], values, wanted, variable.fill, variable.max_gap)
    limit = np.iinfo(np.int32).max if variable.max_age is None else variable.max_age
    return found.values, found.age > 0, found.age > limit
