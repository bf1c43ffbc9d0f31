"""What a cube holds and what is wrong with it, variable by variable, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.grid import Tile, tiles
from mmnet_maps.prepare.cube.store import Cube, CubeSource

__all__ = ["audit", "audit_text"]

_NEVER = np.int64(-(2**40))
#: Cells of one column that is looked at together; with the days of a chunk it bounds the memory.
_COLUMN = 256
_STEPS = 32


@dataclass
class _Tally:
    """Counts over the cells and days of one variable."""

    cells: int = 0
    covered: int = 0
    values: int = 0
    expected: int = 0
    low: float = np.inf
    high: float = -np.inf
    longest: int = 0
    outside: int = 0
    empty_days: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))


def audit(cube: Cube) -> dict[str, Any]:
    """Look at every value of a cube once.

    Parameters
    ----------
    cube : Cube

    Returns
    -------
    dict
        ``path``, ``grid``, ``region``, ``variables`` (a dict a variable: source, unit, dates, share of the
        region's cells with any value, share missing, longest gap between two values of a cell in days, least
        and greatest value, count out of range) and ``warnings``. Cells outside the region count nowhere.
    """
    found: dict[str, Any] = {}
    warnings: list[str] = []
    for source in cube.sources.values():
        for name in source.variables:
            tally = _tally(source, name)
            found[name] = _entry(source, name, tally)
            warnings += _warnings(source, name, tally)
    return {
        "path": str(cube.path),
        "grid": cube.grid.to_dict(),
        "region": cube.region,
        "variables": found,
        "warnings": warnings,
    }


def _tally(source: CubeSource, name: str) -> _Tally:
    tally = _Tally(empty_days=np.ones(source.steps, dtype=bool))
    low, high = source.definitions[name].valid_range
    for tile in tiles(source.grid, _COLUMN):
        kept = source.region(tile.rows, tile.cols)
        if not kept.any():
            continue
        last = np.full(int(kept.sum()), _NEVER, dtype=np.int64)
        for first, block in _blocks(source, name, tile):
            values = source.variables[name].decode(block[:, kept])
            valid = ~np.isnan(values)
            tally.values += int(valid.sum())
            tally.expected += valid.size
            tally.empty_days[first : first + len(block)] &= ~valid.any(axis=1)
            if valid.any():
                tally.low, tally.high = (
                    min(tally.low, float(np.nanmin(values))),
                    max(tally.high, float(np.nanmax(values))),
                )
                tally.outside += int(((values < np.float32(low)) | (values > np.float32(high))).sum())
            tally.longest = max(tally.longest, _gaps(source, first, valid, last))
        tally.cells += last.size
        tally.covered += int((last != _NEVER).sum())
    return tally


def _blocks(source: CubeSource, name: str, tile: Tile) -> Iterator[tuple[int, NDArray[Any]]]:
    for first in range(0, source.steps, _STEPS):
        yield first, source.read(name, first, min(first + _STEPS, source.steps), tile.rows, tile.cols)


def _gaps(source: CubeSource, first: int, valid: NDArray[np.bool_], last: NDArray[np.int64]) -> int:
    """Longest distance between two values of one cell; `last` is carried from block to block."""
    longest = 0
    for step, now in enumerate(valid):
        day = source.days[first + step] if source.days.size else 0
        seen = now & (last != _NEVER)
        if seen.any():
            longest = max(longest, int((day - last[seen]).max()))
        last[now] = day
    return longest


def _entry(source: CubeSource, name: str, tally: _Tally) -> dict[str, Any]:
    days = source.days[~tally.empty_days] if source.days.size else source.days
    return {
        "source": source.name,
        "collection": source.definitions[name].collection or None,
        "unit": source.units[name],
        "cadence": source.cadence,
        "dates": int(days.size),
        "from": _date(days[0]) if days.size else None,
        "to": _date(days[-1]) if days.size else None,
        "coverage": tally.covered / tally.cells if tally.cells else 0.0,
        "missing": 1.0 - tally.values / tally.expected if tally.expected else 1.0,
        "longest_gap_days": tally.longest if source.days.size else None,
        "minimum": tally.low if tally.values else None,
        "maximum": tally.high if tally.values else None,
        "out_of_range": tally.outside,
    }


def _date(day: np.int64) -> str:
    return str(np.datetime64(int(day), "D"))


def _warnings(source: CubeSource, name: str, tally: _Tally) -> Iterator[str]:
    variable = source.definitions[name]
    low, high = variable.valid_range
    if tally.values == 0:
        yield f"{name}: no value at all in the region"
        return
    if tally.outside:
        yield (
            f"{name}: {tally.outside} values ({tally.outside / tally.values:.2%}) are outside "
            f"{low:g} to {high:g} {variable.unit}, found {tally.low:g} to {tally.high:g}: "
            "check scale, offset and the missing value"
        )
    if tally.covered < tally.cells:
        yield f"{name}: {1 - tally.covered / tally.cells:.2%} of the region's cells never have a value"
    if variable.max_gap is not None and tally.longest > variable.max_gap:
        yield (
            f"{name}: a cell goes {tally.longest} days without a value; gaps over {variable.max_gap} "
            "are not bridged"
        )
    empty = int(tally.empty_days.sum())
    if source.days.size and empty:
        yield f"{name}: {empty} of {source.days.size} dates have no value in the region"


def audit_text(found: dict[str, Any]) -> str:
    """A table for a reader, with the warnings below it."""
    grid = found["grid"]
    lines = [
        f"{found['path']}: {grid['height']} x {grid['width']} pixels, {grid['crs'][:40]}",
        f"region: {found['region']['made_from']}",
        _row("variable", "source", "dates", "from", "to", "covered", "missing", "gap d", "minimum", "maximum")
        + " unit",
    ]
    for name, entry in found["variables"].items():
        low, high = ("-" if entry[k] is None else f"{entry[k]:.5g}" for k in ("minimum", "maximum"))
        gap = "-" if entry["longest_gap_days"] is None else entry["longest_gap_days"]
        share, gone = f"{entry['coverage']:.1%}", f"{entry['missing']:.1%}"
        dates = entry["dates"], entry["from"] or "-", entry["to"] or "-"
        lines.append(_row(name, entry["source"], *dates, share, gone, gap, low, high) + f" {entry['unit']}")
    return "\n".join(lines + [f"warning: {text}" for text in found["warnings"]])


def _row(*cells: object) -> str:
    left, widths = (0, 1, 3, 4), (12, 12, 6, 11, 11, 8, 8, 6, 11, 11)
    text = [
        f" {cell:<{width}}" if k in left else f" {cell:>{width}}"
        for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "".join(text).strip()
