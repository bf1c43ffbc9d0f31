"""The sources of a cube, opened for reading."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

import numpy as np
import zarr
from numpy.typing import NDArray

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.store.arrays import reading, refuse_huge_chunks, stored_days
from mmnet_maps.store.states import STATE
from mmnet_maps.variables import Cadence, Variable

__all__ = ["CubeSource", "open_sources"]


@dataclass(frozen=True)
class CubeSource:
    """One source of a cube.

    Attributes
    ----------
    name : str
    grid : Grid
        The window of the native grid that the cube holds.
    cadence : {"static", "yearly", "daily", "irregular"}
    days : ndarray of int64, shape (s,)
        Days since 1970-01-01, strictly increasing; empty for a static source.
    variables : dict of str to Packing
    definitions : dict of str to Variable
        Unit, valid range, kind and cadence.
    chunks : tuple of int
        (time, y, x) of the arrays.
    arrays : mapping of str to zarr.Array
        Variables, ``digest``, ``made_from`` and ``inside``.
    """

    name: str
    grid: Grid
    cadence: Cadence
    days: NDArray[np.int64]
    variables: dict[str, Packing]
    definitions: dict[str, Variable]
    chunks: tuple[int, int, int]
    arrays: Mapping[str, zarr.Array[Any]]

    @property
    def units(self) -> dict[str, str]:
        """Unit of every variable."""
        return {name: variable.unit for name, variable in self.definitions.items()}

    @property
    def steps(self) -> int:
        """Fields in time; 1 for a static source."""
        return 1 if self.cadence == "static" else int(self.days.size)

    def days_between(self, start: int, stop: int) -> tuple[int, int]:
        """(first, last) steps with days in ``start`` to ``stop`` (exclusive); (0, 1) for a static source."""
        if self.cadence == "static":
            return 0, 1
        first, last = np.searchsorted(self.days, [start, stop], side="left")
        return int(first), int(last)

    def read(self, variable: str, first: int, last: int, rows: slice, cols: slice) -> NDArray[Any]:
        """Stored values of steps ``first`` to ``last`` (exclusive) in a window of `grid`.

        Returns
        -------
        ndarray, shape (last - first, rows, columns)
            Not decoded; one step, whatever is asked for, of a static source.

        Raises
        ------
        InputError
            The source has no such variable, or the window leaves the grid.
        WorkError
            What is stored cannot be decoded.
        """
        if variable not in self.variables:
            raise InputError(
                f"source {self.name} has no variable {variable}; it has {', '.join(self.variables)}"
            )
        height, width = self.grid.shape
        if not (0 <= rows.start <= rows.stop <= height and 0 <= cols.start <= cols.stop <= width):
            raise InputError(f"source {self.name}: window {rows}, {cols} leaves its {height} x {width} cells")
        array = self.arrays[variable]
        with reading(array, " `mmnet-maps cube verify` names the files"):
            if self.cadence == "static":
                return np.asarray(array[rows, cols])[None]
            return np.asarray(array[first:last, rows, cols])

    def digests(self, first: int, last: int, rows: slice, cols: slice) -> NDArray[np.uint64]:
        """Digests of the stored bytes of all variables, of every step and chunk that a window touches.

        Two cubes, or two states of one, that give the same digests give the same values there.
        """
        _, high, wide = self.chunks
        block = (
            slice(rows.start // high, -(-rows.stop // high)),
            slice(cols.start // wide, -(-cols.stop // wide)),
        )
        if self.cadence == "static":
            first, last = 0, 1
        return np.asarray(self.arrays["digest"][(slice(first, last), *block)], dtype=np.uint64)

    @property
    def in_runs(self) -> bool:
        """Whether several days stand in a chunk: a coarse source, whose days are read as a series."""
        return self.cadence in ("daily", "irregular") and self.chunks[0] > 1

    def region(self, rows: slice, cols: slice) -> NDArray[np.bool_]:
        """Cells of a window that belong to the region; the rest is margin, or not held at all."""
        return np.asarray(np.asarray(self.arrays["inside"][rows, cols]) == 2)


def open_sources(root: zarr.Group) -> dict[str, CubeSource]:
    """Sources of an open cube by name."""
    return dict(
        sorted((name, _open_source(name, group)) for name, group in root.groups() if _is_source(name))
    )


def _is_source(name: str) -> bool:
    return name != "region" and not name.startswith(STATE)


def _open_source(name: str, group: zarr.Group) -> CubeSource:
    attrs = cast("dict[str, Any]", group.attrs.asdict())
    arrays = dict(group.arrays())
    held = {key: array.attrs.asdict() for key, array in sorted(arrays.items()) if "packing" in array.attrs}
    if attrs["cadence"] not in get_args(Cadence):
        known = ", ".join(get_args(Cadence))
        raise InputError(f"source {name}: cadence {attrs['cadence']!s:.40}, expected one of {known}")
    grid, chunks = Grid.from_dict(attrs["grid"]), tuple(attrs["chunks"])
    for key in ("chunks", "shards"):
        if len(attrs[key]) != 3 or not all(type(n) is int and n > 0 for n in attrs[key]):
            raise InputError(f"source {name}: {key} {attrs[key]!s:.80}, expected three numbers above 0")
    refuse_huge_chunks(f"source {name}", arrays)
    days = np.array([], dtype=np.int64)
    if attrs["cadence"] != "static":
        days = stored_days(f"source {name}", arrays["time"])
    _check_shapes(name, grid, None if attrs["cadence"] == "static" else days.size, attrs, arrays, held)
    packings = {key: Packing.model_validate(a["packing"]) for key, a in held.items()}
    for key, packing in packings.items():
        if np.dtype(packing.dtype) != arrays[key].dtype:
            raise InputError(f"source {name}: {key} is {arrays[key].dtype}, its packing says {packing.dtype}")
    return CubeSource(
        name=name,
        grid=grid,
        cadence=attrs["cadence"],
        days=days,
        variables=packings,
        definitions={key: Variable.model_validate(a["definition"]) for key, a in held.items()},
        chunks=chunks,
        arrays=arrays,
    )


def _check_shapes(
    source: str,
    grid: Grid,
    steps: int | None,
    attrs: Mapping[str, Any],
    arrays: Mapping[str, zarr.Array[Any]],
    variables: Iterable[str],
) -> None:
    """`InputError` where an array does not have the shape of its grid and days (None of a static source)."""
    whole = grid.shape if steps is None else (steps, *grid.shape)
    chunks, shards = (tuple(attrs[key]) for key in ("chunks", "shards"))
    blocks = (
        1 if steps is None else steps,
        *(-(-n // c) for n, c in zip(grid.shape, chunks[1:], strict=True)),
    )
    expected = {**dict.fromkeys(variables, whole), "inside": grid.shape, "digest": blocks}
    for name, shape in expected.items():
        array, rank = arrays[name], len(shape)
        cut = array.chunks, array.shards
        if array.shape != shape or (shape is whole and cut != (chunks[-rank:], shards[-rank:])):
            said = f"shape {array.shape} in chunks {cut[0]} and shards {cut[1]}"
            wanted = f"{shape} in chunks {chunks[-rank:]} and shards {shards[-rank:]}"
            raise InputError(f"source {source}: {name} has {said}, expected {wanted}")
