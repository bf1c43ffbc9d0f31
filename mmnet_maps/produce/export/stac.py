"""A static STAC catalog of exported days: an item a day, one collection, one catalog, relative links only.

An item is written after its COG, so that its presence means that the day is done. Collection and catalog are
made anew from the items that are there. Nothing here holds the time of writing: same maps, same bytes.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pystac
from pyproj import CRS, Transformer

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.produce.export.cog import DayFile
from mmnet_maps.produce.product.layers import QUALITY, Layer
from mmnet_maps.produce.tile.flags import FLAG_TABLE
from mmnet_maps.version import __version__
from mmnet_maps.whole_file import write_whole

__all__ = ["COLLECTION", "footprint", "item_path", "read_item", "write_collection", "write_item"]

#: Identifier of the collection.
COLLECTION = "mmnet-maps-soil-moisture"
_PREFIX = "soil_moisture_"
_EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.0.0/schema.json",
]
#: Points along each edge of a footprint: a straight edge in one CRS is a curve in another.
_EDGE_POINTS = 8
#: Multihash prefix of a SHA-256 of 32 bytes.
_SHA256 = "1220"


def item_path(folder: Path, stem: str) -> Path:
    """Where the item of a file ``STEM.tif`` stands."""
    return folder / f"{stem}.json"


def read_item(path: Path) -> dict[str, Any] | None:
    """An item as JSON; None if there is none.

    Raises
    ------
    InputError
        The file is not JSON.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(f"{path}: not a STAC item ({error}); delete it to export the day again") from None
    return data if isinstance(data, dict) else None


def footprint(grid: Grid) -> tuple[list[float], dict[str, Any]]:
    """Bounding box (west, south, east, north) and GeoJSON polygon of a grid in EPSG:4326."""
    left, bottom, right, top = grid.bounds
    part = np.arange(_EDGE_POINTS) / _EDGE_POINTS
    x = np.concatenate([left + part * (right - left), np.full(_EDGE_POINTS, right)])
    x = np.concatenate([x, right - part * (right - left), np.full(_EDGE_POINTS, left)])
    y = np.concatenate([np.full(_EDGE_POINTS, bottom), bottom + part * (top - bottom)])
    y = np.concatenate([y, np.full(_EDGE_POINTS, top), top - part * (top - bottom)])
    lon, lat = Transformer.from_crs(CRS.from_user_input(grid.crs), "EPSG:4326", always_xy=True).transform(
        x, y
    )
    ring = [[round(float(a), 7), round(float(b), 7)] for a, b in zip(lon, lat, strict=True)]
    box = [min(p[0] for p in ring), min(p[1] for p in ring), max(p[0] for p in ring), max(p[1] for p in ring)]
    return box, {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def write_item(
    folder: Path,
    stem: str,
    day: int,
    grid: Grid,
    files: Sequence[tuple[DayFile, Path]],
    flags: Mapping[str, int],
    properties: Mapping[str, Any],
) -> Path:
    """Write the item of a finished day beside its files; it appears whole or not at all.

    Parameters
    ----------
    folder : Path
    stem : str
        Identifier of the item, and name of its file.
    day : int
        Days since 1970-01-01.
    grid : Grid
        Of the files, north up.
    files : sequence of (DayFile, Path)
        The paths are their final ones.
    flags : mapping of str to int
        Bits of ``quality`` by meaning.
    properties : mapping
        Further properties (digests, share of valid pixels).
    """
    box, geometry = footprint(grid)
    start = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(days=day)
    end = start + datetime.timedelta(days=1, seconds=-1)
    item = pystac.Item(
        id=stem,
        geometry=geometry,
        bbox=box,
        datetime=start,
        start_datetime=start,
        end_datetime=end,
        properties={
            "title": f"Soil moisture, {start:%Y-%m-%d}",
            "gsd": abs(grid.transform[0]) * _metres(grid),
            **_projection(grid),
            "processing:software": {"mmnet-maps": __version__},
            "processing:level": "L4",
            **properties,
        },
        stac_extensions=list(_EXTENSIONS),
    )
    item.collection_id = COLLECTION
    for file, path in files:
        item.add_asset(file.name, _asset(file, path, flags))
    for relation, target in (("root", "catalog"), ("parent", "collection"), ("collection", "collection")):
        item.add_link(pystac.Link(relation, f"./{target}.json", pystac.MediaType.JSON))
    path = item_path(folder, stem)
    _write(path, item.to_dict(include_self_link=False, transform_hrefs=False))
    return path


def _metres(grid: Grid) -> float:
    crs = CRS.from_user_input(grid.crs)
    # A geographic pixel's size on the ground differs by direction; a degree of latitude stands for it.
    return 111_320.0 if crs.is_geographic else float(crs.axis_info[0].unit_conversion_factor or 1.0)


def _projection(grid: Grid) -> dict[str, Any]:
    crs = CRS.from_user_input(grid.crs)
    authority = crs.to_authority()
    found: dict[str, Any] = {"proj:code": ":".join(authority) if authority else None}
    if authority is None:
        found["proj:wkt2"] = crs.to_wkt()
    return {
        **found,
        "proj:shape": list(grid.shape),
        "proj:transform": list(grid.transform),
        "proj:bbox": list(grid.bounds),
    }


def _asset(file: DayFile, path: Path, flags: Mapping[str, int]) -> pystac.Asset:
    quality = file.name == QUALITY
    return pystac.Asset(
        href=f"./{path.name}",
        title="Quality bits" if quality else "Soil moisture and its interval",
        media_type=pystac.MediaType.COG,
        roles=["data", "quality-mask"] if quality else ["data"],
        extra_fields={
            "file:size": path.stat().st_size,
            "file:checksum": _SHA256 + _sha256(path),
            "bands": [_band(layer, flags) for layer in file.layers],
        },
    )


def _band(layer: Layer, flags: Mapping[str, int]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": layer.name,
        "description": layer.long_name,
        "data_type": layer.packing.dtype,
        "nodata": int(layer.packing.missing or 0),
        "unit": layer.units,
        "raster:scale": layer.packing.scale,
        "raster:offset": layer.packing.offset,
    }
    if layer.name == QUALITY:
        entry["classification:bitfields"] = [_bit_field(name, mask) for name, mask in flags.items()]
    return entry


def _bit_field(name: str, mask: int) -> dict[str, Any]:
    flag = FLAG_TABLE.get(name)
    classes: list[dict[str, Any]] = [{"value": 0, "name": "no"}, {"value": 1, "name": name}]
    found: dict[str, Any] = {"name": name, "offset": mask.bit_length() - 1, "length": 1, "classes": classes}
    if flag is not None:
        found["description"] = classes[1]["description"] = flag.meaning
        classes[1]["color_hint"] = flag.colour.lstrip("#").upper()
    return found


def write_collection(folder: Path, provenance: Mapping[str, Any]) -> int:
    """Make collection and catalog from the items that are in a folder; gives the number of items.

    Parameters
    ----------
    folder : Path
    provenance : mapping
        Further fields of the collection.
    """
    items = [item for path in sorted(folder.glob(f"{_PREFIX}*.json")) if (item := read_item(path))]
    if not items:
        return 0
    boxes = np.array([item["bbox"] for item in items], dtype=np.float64)
    days = sorted(item["properties"]["start_datetime"] for item in items)
    ends = sorted(item["properties"]["end_datetime"] for item in items)
    whole = [*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist()]
    interval = [pystac.utils.str_to_datetime(days[0]), pystac.utils.str_to_datetime(ends[-1])]
    collection = pystac.Collection(
        id=COLLECTION,
        title="Daily soil moisture, 0-5 cm",
        description="Daily soil moisture by MMNet, with its prediction interval and quality bits.",
        extent=pystac.Extent(pystac.SpatialExtent([whole]), pystac.TemporalExtent([list(interval)])),
        # The maps' licence is that of whoever makes them.
        license="other",
        keywords=["soil moisture", "MMNet", "daily"],
        extra_fields=dict(provenance),
    )
    collection.add_link(pystac.Link("root", "./catalog.json", pystac.MediaType.JSON))
    collection.add_link(pystac.Link("parent", "./catalog.json", pystac.MediaType.JSON))
    for item in items:
        collection.add_link(pystac.Link("item", f"./{item['id']}.json", pystac.MediaType.GEOJSON))
    catalog = pystac.Catalog(id="mmnet-maps", title="MMNet maps", description="Maps exported by mmnet-maps.")
    catalog.remove_links("root")
    catalog.add_link(pystac.Link("root", "./catalog.json", pystac.MediaType.JSON))
    catalog.add_link(pystac.Link("child", "./collection.json", pystac.MediaType.JSON, "Daily soil moisture"))
    _write(folder / "collection.json", collection.to_dict(include_self_link=False, transform_hrefs=False))
    _write(folder / "catalog.json", catalog.to_dict(include_self_link=False, transform_hrefs=False))
    return len(items)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, data: dict[str, Any]) -> None:
    write_whole(path, json.dumps(data, indent=2) + "\n")
