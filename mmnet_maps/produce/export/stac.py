"""STAC items of exported days: an item a day, an asset for its values and one for its quality.

Bands are described twice: as STAC 1.1 has it (``bands``), and in the spelling that loaders still read
(``raster:bands``, ``eo:bands``). An item is written last, so that its presence means that the day is done.
Nothing here holds the time of writing: same maps, same bytes.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pystac
from pyproj import CRS

from mmnet_maps.grid import Grid
from mmnet_maps.produce.export.cog import DayFile
from mmnet_maps.produce.export.folder import COLLECTION, item_path
from mmnet_maps.produce.export.footprint import footprint
from mmnet_maps.produce.product.layers import QUALITY, Layer
from mmnet_maps.produce.tile.flags import FLAG_TABLE
from mmnet_maps.store.location import Location
from mmnet_maps.store.whole import write_whole
from mmnet_maps.version import __version__

__all__ = ["EXTENSIONS", "asset_fields", "code_of", "metres", "write_item", "write_json"]

_HOME = "https://stac-extensions.github.io"
#: Version 1.1 of raster is the one that knows ``raster:bands``.
EXTENSIONS = [
    f"{_HOME}/projection/v2.0.0/schema.json",
    f"{_HOME}/raster/v1.1.0/schema.json",
    f"{_HOME}/eo/v1.1.0/schema.json",
    f"{_HOME}/classification/v2.0.0/schema.json",
    f"{_HOME}/file/v2.1.0/schema.json",
    f"{_HOME}/processing/v1.0.0/schema.json",
]
#: Multihash prefix of a SHA-256 of 32 bytes.
_SHA256 = "1220"


def write_item(
    folder: Location,
    stem: str,
    day: int,
    grid: Grid,
    files: Sequence[tuple[DayFile, str]],
    facts: Mapping[str, Mapping[str, Any]],
    flags: Mapping[str, int],
    properties: Mapping[str, Any],
) -> Location:
    """Write the item of a finished day beside its files; it appears whole or not at all.

    Parameters
    ----------
    folder : Path or Remote
    stem : str
        Identifier of the item, and name of its file.
    day : int
        Days since 1970-01-01.
    grid : Grid
        Of the files, north up.
    files : sequence of (DayFile, str)
        With their names; a style stands beside each.
    facts : mapping
        `file_facts` of files and styles, by name.
    flags : mapping of str to int
        Bits of ``quality`` by meaning.
    properties : mapping
        Further properties (digests, share of valid pixels).
    """
    box, geometry = footprint(grid)
    start = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(days=day)
    item = pystac.Item(
        id=stem,
        geometry=geometry,
        bbox=box,
        datetime=start,
        start_datetime=start,
        end_datetime=start + datetime.timedelta(days=1, seconds=-1),
        properties={
            "title": f"Soil moisture, {start:%Y-%m-%d}",
            "gsd": abs(grid.transform[0]) * metres(grid),
            **_projection(grid),
            "processing:software": {"mmnet-maps": __version__},
            "processing:level": "L4",
            **properties,
        },
        stac_extensions=list(EXTENSIONS),
    )
    item.collection_id = COLLECTION
    for file, name in files:
        fields = {**facts[name], **asset_fields(file, flags)}
        item.add_asset(file.asset, pystac.Asset(f"./{name}", extra_fields=fields))
        style = Path(name).with_suffix(".qml").name
        look = {"type": "application/xml", "roles": ["metadata"], "title": f"QGIS style of {name}"}
        item.add_asset(
            f"{file.asset}_style", pystac.Asset(f"./{style}", extra_fields={**facts[style], **look})
        )
    for relation, target in (("root", "catalog"), ("parent", "collection"), ("collection", "collection")):
        item.add_link(pystac.Link(relation, f"./{target}.json", pystac.MediaType.JSON))
    path = item_path(folder, stem)
    write_json(path, item.to_dict(include_self_link=False, transform_hrefs=False))
    return path


def metres(grid: Grid) -> float:
    """Metres of a unit of the grid's CRS."""
    crs = CRS.from_user_input(grid.crs)
    # A geographic pixel's size on the ground differs by direction; a degree of latitude stands for it.
    return 111_320.0 if crs.is_geographic else float(crs.axis_info[0].unit_conversion_factor or 1.0)


def code_of(grid: Grid) -> str | None:
    """``EPSG:32614`` and the like; None for a CRS without a code."""
    authority = CRS.from_user_input(grid.crs).to_authority()
    return ":".join(authority) if authority else None


def _projection(grid: Grid) -> dict[str, Any]:
    code = code_of(grid)
    found: dict[str, Any] = {"proj:code": code}
    if code is None:
        found["proj:wkt2"] = CRS.from_user_input(grid.crs).to_wkt()
    elif code.startswith("EPSG:"):
        # The spelling of version 1, which some loaders know alone.
        found["proj:epsg"] = int(code.removeprefix("EPSG:"))
    return {
        **found,
        "proj:shape": list(grid.shape),
        "proj:transform": list(grid.transform),
        "proj:bbox": list(grid.bounds),
    }


def asset_fields(file: DayFile, flags: Mapping[str, int]) -> dict[str, Any]:
    """What is the same of a file on every day: title, type, roles, bands."""
    quality = file.name == QUALITY
    return {
        "title": "Quality bits" if quality else ", ".join(layer.name for layer in file.layers),
        "type": str(pystac.MediaType.COG),
        "roles": ["data", "quality-mask"] if quality else ["data"],
        "bands": [_band(layer, flags) for layer in file.layers],
        "raster:bands": [_raster_band(layer) for layer in file.layers],
        "eo:bands": [{"name": layer.name, "description": layer.long_name} for layer in file.layers],
    }


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


def _raster_band(layer: Layer) -> dict[str, Any]:
    return {
        "data_type": layer.packing.dtype,
        "nodata": int(layer.packing.missing or 0),
        "unit": layer.units,
        "scale": layer.packing.scale,
        "offset": layer.packing.offset,
    }


def _bit_field(name: str, mask: int) -> dict[str, Any]:
    flag = FLAG_TABLE.get(name)
    classes: list[dict[str, Any]] = [{"value": 0, "name": "no"}, {"value": 1, "name": name}]
    found: dict[str, Any] = {"name": name, "offset": mask.bit_length() - 1, "length": 1, "classes": classes}
    if flag is not None:
        found["description"] = classes[1]["description"] = flag.meaning
        classes[1]["color_hint"] = flag.colour.lstrip("#").upper()
    return found


def file_facts(content: Path | bytes) -> dict[str, Any]:
    """Size and checksum of a file, as the extension ``file`` wants them."""
    if isinstance(content, bytes):
        size, digest = len(content), hashlib.sha256(content).hexdigest()
    else:
        with content.open("rb") as file:
            size, digest = content.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
    return {"file:size": size, "file:checksum": _SHA256 + digest}


def write_json(path: Location, data: dict[str, Any]) -> None:
    """Write a STAC object; it appears whole or not at all."""
    write_whole(path, json.dumps(data, indent=2) + "\n")
