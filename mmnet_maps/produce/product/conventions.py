"""What a store says of its grid by the Zarr conventions ``proj``, ``spatial`` and ``multiscales``, tag v0.1.

Readers know a convention by its uuid (https://github.com/zarr-conventions).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyproj import CRS

from mmnet_maps.grid import Grid

__all__ = ["declarations", "grid_attributes"]

_UUIDS = {
    "proj": ("f17cb550-5864-4468-aeb7-f3180cfb622f", "Coordinate reference system"),
    "spatial": ("689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "Where the pixels lie"),
    "multiscales": ("d35379db-88df-4056-af3a-620245f8e347", "Levels of resolution"),
}
_HOME = "https://github.com/zarr-conventions"


def declarations(*names: str) -> list[dict[str, str]]:
    """The value of ``zarr_conventions`` of a node that uses these conventions.

    Parameters
    ----------
    *names : {"proj", "spatial", "multiscales"}

    Examples
    --------
    >>> [entry["name"] for entry in declarations("proj", "spatial")]
    ['proj:', 'spatial:']
    """
    return [
        {
            "uuid": _UUIDS[name][0],
            "schema_url": f"https://raw.githubusercontent.com/zarr-conventions/{name}/refs/tags/v0.1/schema.json",
            "spec_url": f"{_HOME}/{name}/blob/v0.1/README.md",
            "name": name if name == "multiscales" else f"{name}:",
            "description": _UUIDS[name][1],
        }
        for name in names
    ]


def grid_attributes(grid: Grid, dimensions: Sequence[str] = ("y", "x")) -> dict[str, Any]:
    """CRS and position of the pixels, by ``proj`` and ``spatial``; strings and lists of numbers alone.

    Parameters
    ----------
    grid : Grid
    dimensions : sequence of str
        Names of the row and the column dimension.
    """
    authority = CRS.from_user_input(grid.crs).to_authority()
    crs = {"proj:code": ":".join(authority)} if authority else {"proj:wkt2": CRS(grid.crs).to_wkt()}
    return {
        **crs,
        "spatial:dimensions": list(dimensions),
        "spatial:transform": list(grid.transform),
        "spatial:transform_type": "affine",
        "spatial:shape": list(grid.shape),
        "spatial:bbox": list(grid.bounds),
        "spatial:registration": "pixel",
    }
