"""The native-resolution cube, opened for reading: every source on its own grid and days, values as stored.

Everything here may be called from several threads at once, and a `Cube` can be sent to other processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from mmnet_maps.errors import InputError, WorkError, refuse_damaged
from mmnet_maps.grid import Grid, Tile
from mmnet_maps.prepare.cube import draft
from mmnet_maps.prepare.cube.build import build_cube
from mmnet_maps.prepare.cube.layout import FORMAT
from mmnet_maps.prepare.cube.sources import CubeSource, open_sources
from mmnet_maps.store.arrays import fast_decoding, open_group
from mmnet_maps.store.location import Location, Remote, location
from mmnet_maps.store.states import state_of
from mmnet_maps.variables import Variable

__all__ = ["Cube", "CubeSource", "build_cube", "open_cube"]


@dataclass(frozen=True)
class Cube:
    """A cube on disk.

    Attributes
    ----------
    path : Path or Remote
        Its name.
    folder : Path or Remote
        Where its arrays are; in an object store a state of the cube, which later ones do not change.
    grid : Grid
        The target grid: what a map made from this cube is on.
    sources : dict of str to CubeSource
    region : dict
        Bounds, digest of the polygon, and what it was made from.
    """

    path: Location
    folder: Location
    grid: Grid
    sources: dict[str, CubeSource]
    region: dict[str, Any]

    def __reduce__(self) -> tuple[Any, ...]:
        return open_cube, (self.folder,)

    @cached_property
    def _inside(self) -> zarr.Array[Any] | None:
        if not (self.folder / "region" / "inside").is_dir():
            return None
        with fast_decoding():
            found = open_group(self.folder / "region")["inside"]
            assert isinstance(found, zarr.Array)
            return found

    @property
    def variables(self) -> dict[str, Variable]:
        """Every variable of the cube."""
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

    def refuse_replaced(self) -> None:
        """Raise `WorkError` where this state of the cube has been removed: what was read may lack values."""
        if isinstance(self.folder, Remote) and not (self.folder / "zarr.json").is_file():
            raise WorkError(f"{self.path}: was brought up to date meanwhile; run the same command again")


def open_cube(path: Location | str) -> Cube:
    """Open a finished cube for reading.

    Raises
    ------
    InputError
        There is no cube, its build did not finish, or it is of another format.
    """
    path = location(path)
    folder = state_of(path)
    if not (folder / "zarr.json").is_file():
        begun = draft.draft_of(path).exists()
        more = f"; its build did not finish: run `cube build --out {path}` again" if begun else ""
        raise InputError(f"{path}: no cube here{more}")
    with refuse_damaged(path, "no cube that `cube build` wrote"), fast_decoding():
        return _open(path, folder)


def _open(path: Location, folder: Location) -> Cube:
    root = open_group(folder)
    if "mmnet_maps_cube" not in root.attrs:
        raise InputError(f"{path}: a Zarr group, but not a cube; expected what `cube build` writes")
    if root.attrs["mmnet_maps_cube"] != FORMAT:
        raise InputError(
            f"{path}: cube format {root.attrs['mmnet_maps_cube']}; expected {FORMAT}: build it again"
        )
    if not draft.is_whole(root.attrs.get("complete")):
        raise InputError(f"{path}: its build did not finish; run `cube build --out {path}` again")
    grid = Grid.from_dict(cast("dict[str, Any]", root.attrs["grid"]))
    region = cast("dict[str, Any]", root.attrs["region"])
    if tuple(region["bounds"]) != grid.bounds:
        raise InputError(
            f"{path}: its grid spans {grid.bounds}, its region {region['bounds']}: damaged or edited"
        )
    return Cube(path, folder, grid, open_sources(root), region)
