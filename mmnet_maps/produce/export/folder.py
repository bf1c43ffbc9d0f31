"""Whose an export folder is: one product's. What others put there is left alone."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from pyproj import CRS
from pyproj.exceptions import CRSError

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.produce.export.cog import VALUES, day_stem, north_up
from mmnet_maps.produce.product.store import Product
from mmnet_maps.produce.units import day_number, iso
from mmnet_maps.store.location import Location

__all__ = [
    "CATALOG",
    "CATALOG_FILE",
    "COLLECTION",
    "check_owner",
    "exported_days",
    "item_path",
    "items_of",
    "read_item",
    "read_json",
]

#: Identifiers of the catalog and of its collection.
CATALOG, COLLECTION = "mmnet-maps", "mmnet-maps-soil-moisture"
#: Where the catalog stands in a folder.
CATALOG_FILE = "catalog.json"
_ITEM = re.compile(rf"{VALUES}_\d{{8}}\.json")


def item_path(folder: Location, stem: str) -> Location:
    """Where the item of a day stands."""
    return folder / f"{stem}.json"


def read_item(path: Location) -> dict[str, Any] | None:
    """An item of ours as JSON; None if there is none, it is cut short, or it is of someone else."""
    found = read_json(path)
    return found if found.get("collection") == COLLECTION and "properties" in found else None


def items_of(folder: Location) -> list[dict[str, Any]]:
    """The exported days of a folder, in order."""
    paths = sorted(path for path in folder.glob("*.json") if _ITEM.fullmatch(path.name))
    return [item for path in paths if (item := read_item(path)) is not None]


def exported_days(folder: Location) -> set[int]:
    """Days since 1970-01-01 that have an item."""
    return {day_number(item["id"][-8:], "start") for item in items_of(folder)}


def check_owner(product: Product, folder: Location, days: Collection[int]) -> None:
    """Refuse to write days of one product among those of another.

    Parameters
    ----------
    product : Product
    folder : Path or Remote
    days : collection of int
        Days that will be written, since 1970-01-01. Those of an earlier bundle may all be replaced at once.

    Raises
    ------
    InputError
        The folder is a Zarr store, holds days on another grid, days of another bundle that would stay, or a
        catalog of something else.
    """
    if any((folder / name).is_file() for name in ("zarr.json", ".zgroup")):
        raise InputError(f"{folder}: is a Zarr store, such as a product or a cube; give another --out")
    for name, identifier in ((CATALOG_FILE, CATALOG), ("collection.json", COLLECTION)):
        path = folder / name
        if path.is_file() and read_json(path).get("id") not in (identifier, None):
            raise InputError(f"{path}: is of another catalog; give another --out")
    grid, bundle = north_up(product.grid)[0], str(product.about.get("bundle", ""))
    ours = {day_stem(VALUES, iso(day)) for day in days}
    for item in items_of(folder):
        held = item["properties"]
        shape, transform = held.get("proj:shape"), held.get("proj:transform")
        if (shape, transform) != (list(grid.shape), list(grid.transform)) or not _same_crs(held, grid):
            code = held.get("proj:code") or "its own CRS"
            raise InputError(
                f"{folder}: holds days of another grid ({shape} pixels, {code}, transform {transform}) than "
                f"{product.path} ({list(grid.shape)} pixels, {grid.crs[:40]}, transform "
                f"{list(grid.transform)}); give another --out"
            )
        if held.get("mmnet_maps:bundle") != bundle and item["id"] not in ours:
            raise InputError(
                f"{folder}: {item['id']} is of bundle {str(held.get('mmnet_maps:bundle'))[:12]}, the product "
                f"{product.path} is of bundle {bundle[:12]}; give another --out, or export all days"
            )


def _same_crs(held: dict[str, Any], grid: Grid) -> bool:
    try:
        return bool(CRS.from_user_input(held.get("proj:code") or held.get("proj:wkt2")) == CRS(grid.crs))
    except CRSError:
        return False


def read_json(path: Location) -> dict[str, Any]:
    """A JSON object; empty if there is none, or it is cut short."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
