"""The native-resolution cube, opened for reading: every source on its own grid and days, values as stored.

Everything here may be called from several threads at once, and a `Cube` can be sent to other processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, cast

import numpy as np
import zarr
import zarrs  # noqa: F401  (makes the pipeline known to zarr)
from numpy.typing import NDArray

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid, Tile
from mmnet_maps.packing import Packing
from mmnet_maps.prepare.cube.build import build_cube
from mmnet_maps.prepare.cube.layout import FORMAT
from mmnet_maps.variables import Cadence, Variable

__all__ = ["Cube", "CubeSource", "build_cube", "open_cube"]

_SETTING = Lock()


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
    """

    name: str
    grid: Grid
    cadence: Cadence
    days: NDArray[np.int64]
    variables: dict[str, Packing]
    definitions: dict[str, Variable]
    chunks: tuple[int, int, int]
    _arrays: Mapping[str, zarr.Array[Any]]

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
        """
        if variable not in self.variables:
            raise InputError(
                f"source {self.name} has no variable {variable}; it has {', '.join(self.variables)}"
            )
        height, width = self.grid.shape
        if not (0 <= rows.start <= rows.stop <= height and 0 <= cols.start <= cols.stop <= width):
            raise InputError(f"source {self.name}: window {rows}, {cols} leaves its {height} x {width} cells")
        array = self._arrays[variable]
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
        return np.asarray(self._arrays["digest"][(slice(first, last), *block)], dtype=np.uint64)

    def region(self, rows: slice, cols: slice) -> NDArray[np.bool_]:
        """Cells of a window that belong to the region; the rest is margin, or not held at all."""
        return np.asarray(np.asarray(self._arrays["inside"][rows, cols]) == 2)


@dataclass(frozen=True)
class Cube:
    """A cube on disk.

    Attributes
    ----------
    path : Path
    grid : Grid
        The target grid: what a map made from this cube is on.
    sources : dict of str to CubeSource
    region : dict
        Bounds, digest of the polygon, and what it was made from.
    """

    path: Path
    grid: Grid
    sources: dict[str, CubeSource]
    region: dict[str, Any]

    def __reduce__(self) -> tuple[Any, ...]:
        return open_cube, (self.path,)

    @cached_property
    def _inside(self) -> zarr.Array[Any] | None:
        if not (self.path / "region" / "inside").is_dir():
            return None
        with _fast_decoding():
            return zarr.open_array(self.path / "region" / "inside", mode="r")

    @property
    def variables(self) -> dict[str, Variable]:
        """Every variable held."""
        return {k: v for source in self.sources.values() for k, v in source.definitions.items()}

    def source_of(self, variable: str) -> CubeSource:
        """The source that holds a variable; `InputError` lists what the cube holds if there is none."""
        for source in self.sources.values():
            if variable in source.variables:
                return source
        raise InputError(f"{self.path}: no variable {variable}; the cube holds {', '.join(self.variables)}")

    def inside(self, tile: Tile) -> NDArray[np.bool_] | None:
        """Pixels of a tile that lie in the region; None where the region is a box, and all do."""
        if self._inside is None:
            return None
        return np.asarray(self._inside[tile.rows, tile.cols]).astype(bool)


def open_cube(path: Path | str) -> Cube:
    """Open a finished cube for reading.

    Raises
    ------
    InputError
        There is no cube, its build did not finish, or it is of another format.
    """
    path = Path(path)
    if not (path / "zarr.json").is_file():
        partial = path.with_name(path.name + ".partial")
        more = f"; its build did not finish: run `cube build --out {path}` again" if partial.exists() else ""
        raise InputError(f"{path}: no cube here{more}")
    with _fast_decoding():
        return _open(path)


@contextmanager
def _fast_decoding() -> Iterator[None]:
    """Arrays opened in here are decoded by the Rust pipeline, several times faster than by Zarr's own.

    Zarr knows the pipeline as a global setting, which is read when an array is opened and put back here.
    Cubes are written without it: it orders the chunks of a shard as its threads finish, and bytes would
    differ.
    """
    with _SETTING, zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        yield


def _open(path: Path) -> Cube:
    root = zarr.open_group(path, mode="r")
    if "mmnet_maps_cube" not in root.attrs:
        raise InputError(f"{path}: a Zarr group, but not a cube; expected what `cube build` writes")
    if root.attrs["mmnet_maps_cube"] != FORMAT:
        raise InputError(
            f"{path}: cube format {root.attrs['mmnet_maps_cube']}; expected {FORMAT}: build it again"
        )
    if not root.attrs.get("complete"):
        raise InputError(f"{path}: its build did not finish; run `cube build --out {path}` again")
    sources = {name: _open_source(name, group) for name, group in root.groups() if name != "region"}
    grid = Grid.from_dict(cast("dict[str, Any]", root.attrs["grid"]))
    return Cube(path, grid, dict(sorted(sources.items())), cast("dict[str, Any]", root.attrs["region"]))


def _open_source(name: str, group: zarr.Group) -> CubeSource:
    attrs = cast("dict[str, Any]", group.attrs.asdict())
    arrays = dict(group.arrays())
    held = {key: array.attrs.asdict() for key, array in sorted(arrays.items()) if "packing" in array.attrs}
    days = np.asarray(arrays["time"][:]) if "time" in arrays else np.array([])
    chunk_t, chunk_y, chunk_x = attrs["chunks"]
    return CubeSource(
        name=name,
        grid=Grid.from_dict(attrs["grid"]),
        cadence=attrs["cadence"],
        days=days.astype(np.int64),
        variables={key: Packing.model_validate(a["packing"]) for key, a in held.items()},
        definitions={key: Variable.model_validate(a["definition"]) for key, a in held.items()},
        chunks=(chunk_t, chunk_y, chunk_x),
        _arrays=arrays,
    )
