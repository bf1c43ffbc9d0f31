"""Digests of what a work unit can see of a cube: they change if, and only if, late data can change the unit.

Of a fine source the recorded digests of whole days and chunks are taken. Of a coarse one, whose chunks hold
the cells of many tiles and many days, it is the series itself: of the tile's own cells, filled as the unit
fills them, with the ages and gaps that its quality bits come from.
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
from mmnet_maps.produce.tile.reading import Window, required_sources, visible_rows
from mmnet_maps.produce.units import Unit

__all__ = ["source_digests"]


def source_digests(
    cube: Cube, catalogue: Catalogue, unit: Unit, windows: Mapping[str, Window]
) -> dict[str, str]:
    """Digest, by source, of all that a unit can see of the cube and of nothing more.

    Parameters
    ----------
    windows : mapping of str to (slice, slice)
        By source, the cells that the unit's tile touches (`tile_windows`; the same for every block of days).
    """
    found = {}
    for source, names in required_sources(cube, catalogue):
        seen = hashlib.sha256(json.dumps(source.grid.to_dict()).encode())
        for name in names:
            seen.update(f"{name} {source.variables[name].model_dump_json()}".encode())
        if source.cadence in ("daily", "irregular") and source.chunks[0] > 1:
            for name in names:
                for part in _filled(source, name, catalogue, unit, windows[source.name]):
                    seen.update(np.ascontiguousarray(part).data)
        else:
            spans = [visible_rows(catalogue[name], catalogue, source.days, unit) for name in names]
            begin, end = min(first for first, _ in spans), max(last for _, last in spans)
            seen.update(source.days[begin:end].tobytes())
            seen.update(source.digests(begin, end, *windows[source.name]).tobytes())
        found[source.name] = seen.hexdigest()[:32]
    return found


def _filled(
    source: CubeSource, name: str, catalogue: Catalogue, unit: Unit, window: Window
) -> tuple[NDArray[Any], ...]:
    """Series of one variable of a coarse source as the unit takes it: values, and what they rest on."""
    variable = catalogue[name]
    begin, end = visible_rows(variable, catalogue, source.days, unit)
    stored = source.read(name, begin, end, *window).reshape(end - begin, -1)
    wanted = np.arange(unit.first - catalogue.reach(name), unit.stop, dtype=np.int64)
    values = source.variables[name].decode(stored)
    found = gap_fill(source.days[begin:end], values, wanted, variable.fill, variable.max_gap)
    return found.values, found.age, found.gap, found.ahead
