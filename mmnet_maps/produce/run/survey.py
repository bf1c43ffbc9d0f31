"""Which work units are new, done or stale: what each can see of its inputs, against the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.errors import WorkError
from mmnet_maps.grid import Tile
from mmnet_maps.learn.bundle import Coarse
from mmnet_maps.prepare.cube.store import Cube
from mmnet_maps.prepare.cube.verify import lost, shards
from mmnet_maps.produce.product.ledger import Entry, Ledger
from mmnet_maps.produce.run.arrived import Arrived
from mmnet_maps.produce.run.seen import source_digests
from mmnet_maps.produce.tile.reach import Reach
from mmnet_maps.produce.tile.reading import (
    Window,
    inside,
    required_sources,
    tile_cells,
    tile_windows,
    visible_rows,
)
from mmnet_maps.produce.units import Layout, Unit

__all__ = ["NUMERICS", "Planned", "State", "Survey"]

State = Literal["new", "done", "stale"]

#: Version of everything between stored inputs and stored outputs that no digest covers. Raise it when the
#: code changes a value: every unit is then stale.
NUMERICS = 1


@dataclass(frozen=True)
class Planned:
    """A unit with its state; `outside` if no pixel of it lies in the region."""

    unit: Unit
    state: State
    outside: bool


@dataclass(frozen=True)
class _Place:
    """What is the same for a tile on all days."""

    pixels: int
    mask: str
    windows: dict[str, Window]
    cells: dict[str, NDArray[np.int64]]


@dataclass
class Survey:
    """The units of a request and their inputs.

    Attributes
    ----------
    cube : Cube
    catalogue : Catalogue
        Of the bundle.
    layout : Layout
    common : dict
        What all units depend on: bundle digest, precision, ...
    coarse : {"nearest", "bilinear"}
        How coarse fields reach a pixel, and so which cells it rests on.
    arrived : Arrived, optional
        What has arrived of the sources; without it nothing more is expected, and every day is final.
    optional : tuple of str
        Optional layers of the product.
    """

    cube: Cube
    catalogue: Catalogue
    layout: Layout
    common: dict[str, Any]
    coarse: Coarse = "nearest"
    arrived: Arrived | None = None
    optional: tuple[str, ...] = ()
    _places: dict[Tile, _Place] = field(default_factory=dict)

    def inputs(self, unit: Unit, reach: Mapping[str, Reach]) -> dict[str, Any]:
        """Digests of everything that the unit's values depend on, given how far they reach."""
        place = self._place(unit.tile)
        found = {**self.common, "numerics": NUMERICS, "days": [unit.first, unit.stop], "region": place.mask}
        if place.pixels:
            found |= source_digests(self.cube, self.catalogue, unit, place.windows, place.cells, reach)
        return found

    def pixels(self, unit: Unit) -> int:
        """Pixels of a unit that lie in the region."""
        return self._place(unit.tile).pixels

    def planned(self, ledger: Ledger | None, first: int, stop: int) -> Iterator[Planned]:
        """Units that touch the days ``first`` to ``stop`` (exclusive) with their state.

        Without a ledger all are new.
        """
        units = list(self.layout.units(first, stop))
        entries = ledger.read_all(unit.key for unit in units) if ledger else [None] * len(units)
        for unit, entry in zip(units, entries, strict=True):
            yield Planned(unit, self._state(unit, entry), self.pixels(unit) == 0)

    def widths(self, unit: Unit, reach: Mapping[str, Reach]) -> list[float]:
        """For each day how many times as wide its intervals are, 0 of a final day; empty if all are final."""
        return [] if self.arrived is None else self.arrived.widths(reach, unit.first)

    def _state(self, unit: Unit, entry: Entry | None) -> State:
        """Whether a unit is new, done, or done from other inputs or of another status (stale)."""
        if entry is None:
            return "new"
        return "done" if self.is_current(unit, entry) else "stale"

    def is_current(self, unit: Unit, entry: Entry) -> bool:
        """Whether an entry is of what the unit would be made from now, and of the same status."""
        same = entry.provisional == self.widths(unit, entry.reach)
        return same and not entry.changed(self.inputs(unit, entry.reach))

    def check_cube(self, units: Iterable[Unit]) -> None:
        """Refuse to go on where a file of the cube that these units see is lost.

        Raises
        ------
        WorkError
            Names the first of the files.
        """
        looked: set[tuple[str, tuple[int, int, int]]] = set()
        for unit in units:
            for source, names in required_sources(self.cube, self.catalogue):
                if not self.pixels(unit):
                    continue
                spans = [visible_rows(self.catalogue[n], self.catalogue, source.days, unit) for n in names]
                steps = slice(min(first for first, _ in spans), max(last for _, last in spans))
                for shard in shards(source, steps, *self._place(unit.tile).windows[source.name]):
                    if (source.name, shard.index) in looked:
                        continue
                    looked.add((source.name, shard.index))
                    if gone := lost(self.cube.folder, source, shard):
                        raise WorkError(
                            f"{gone[0]} is lost; run `mmnet-maps cube build` again, which makes it again"
                        )

    def bytes_seen(self, unit: Unit) -> dict[str, int]:
        """By source, bytes of decoded values that a unit reads."""
        windows, found = self._place(unit.tile).windows, {}
        for source, names in required_sources(self.cube, self.catalogue):
            rows, cols = windows[source.name]
            cells = (rows.stop - rows.start) * (cols.stop - cols.start)
            found[source.name] = 0
            for name in names:
                begin, end = visible_rows(self.catalogue[name], self.catalogue, source.days, unit)
                size = np.dtype(source.variables[name].dtype).itemsize
                found[source.name] += (end - begin) * cells * size
        return found

    def _place(self, tile: Tile) -> _Place:
        if tile not in self._places:
            mask = inside(self.cube, tile)
            digest = hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()[:32]
            windows = tile_windows(self.cube, self.catalogue, tile, self.coarse) if mask.any() else {}
            cells = tile_cells(self.cube, tile, mask, windows) if self.coarse == "nearest" else {}
            self._places[tile] = _Place(int(np.count_nonzero(mask)), digest, windows, cells)
        return self._places[tile]
