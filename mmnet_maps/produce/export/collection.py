"""The collection and the catalog over the exported days of a folder, made anew from its items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pystac
from pyproj import CRS

from mmnet_maps.errors import InputError, refuse_damaged
from mmnet_maps.produce.export.cog import DayFile, day_files, north_up
from mmnet_maps.produce.export.folder import CATALOG, CATALOG_FILE, COLLECTION, items_of, read_json
from mmnet_maps.produce.export.footprint import joined
from mmnet_maps.produce.export.origins import source_links, source_providers, terms_text
from mmnet_maps.produce.export.stac import EXTENSIONS, asset_fields, code_of, write_json
from mmnet_maps.produce.product.layers import QUALITY, REFERENCE, Layer, title_at
from mmnet_maps.produce.product.store import Product
from mmnet_maps.store.location import Location, Remote
from mmnet_maps.store.states import state_of
from mmnet_maps.version import __version__

__all__ = ["STORE", "Publisher", "stated", "store_in", "write_collection", "write_entrance"]

#: Name of the published Zarr in an export folder.
STORE = "soil_moisture.zarr"
_HOME = "https://stac-extensions.github.io"
_EXTENSIONS = [*EXTENSIONS, f"{_HOME}/datacube/v2.2.0/schema.json", f"{_HOME}/render/v2.0.0/schema.json"]
_EXTENSIONS += [f"{_HOME}/scientific/v1.0.0/schema.json", f"{_HOME}/version/v1.2.0/schema.json"]
#: Properties of items that the collection sums up.
_SUMMED = ("proj:code", "mmnet_maps:bundle", "mmnet_maps:interval", "mmnet_maps:status")
_ZARR: dict[str, Any] = {
    "roles": ["data"],
    "title": "All days as one Zarr store with overviews",
    "zarr:consolidated": True,
    "zarr:node_type": "group",
}


@dataclass(frozen=True)
class Publisher:
    """Who publishes the maps, and under which terms.

    Attributes
    ----------
    institution : str
        Name; empty if it is not to be stated.
    license : str
        SPDX identifier such as ``CC-BY-4.0``; empty: the terms of the input data apply, and none is stated.

    Raises
    ------
    InputError
        The licence is no single word, as an SPDX identifier is.
    """

    institution: str = ""
    license: str = ""

    def __post_init__(self) -> None:
        if self.license and len(self.license.split()) != 1:
            raise InputError(f"--license {self.license}: expected an SPDX identifier such as CC-BY-4.0")


def stated(folder: Location, publisher: Publisher) -> Publisher:
    """What is given, and for the rest what the collection of the folder has stated before."""
    path = folder / "collection.json"
    held = read_json(path)
    with refuse_damaged(path, "no collection that `export` wrote"):
        own = [p for p in held.get("providers", []) if {"producer", "processor"} <= set(p.get("roles", []))]
        names = [p.get("name", "") for p in own]
        terms = held.get("license", "other")
        return Publisher(
            publisher.institution or (names[0] if names else ""),
            publisher.license or ("" if terms == "other" else terms),
        )


def store_in(folder: Location) -> str | None:
    """Name of the published Zarr in a folder: in an object store the one that the collection names."""
    if not isinstance(folder, Remote):
        return STORE if (folder / STORE).is_dir() else None
    path = folder / "collection.json"
    with refuse_damaged(path, "no collection that `export` wrote"):
        asset = read_json(path).get("assets", {}).get("zarr", {})
        return str(asset["href"]).removeprefix("./") if "href" in asset else None


def write_collection(
    folder: Location, product: Product, publisher: Publisher, published: str | None = None
) -> int:
    """Make collection and catalog from the items that are in a folder; gives the number of items.

    Parameters
    ----------
    folder : Path or Remote
    product : Product
        That the days were exported from.
    publisher : Publisher
    published : str, optional
        Name of the published Zarr in the folder.
    """
    items = items_of(folder)
    if not items:
        return 0
    days = sorted(item["properties"]["start_datetime"] for item in items)
    ends = sorted(item["properties"]["end_datetime"] for item in items)
    interval = [pystac.utils.str_to_datetime(days[0]), pystac.utils.str_to_datetime(ends[-1])]
    whole = joined(item["bbox"] for item in items)
    files, flags = day_files(product), product.flags()
    made_from = product.about.get("collections", [])
    said = ("" if publisher.license else "The terms of the input data apply.", terms_text(made_from))
    terms = "".join(f" {text}" for text in said if text)
    collection = pystac.Collection(
        id=COLLECTION,
        title=title_at(product.soil_depth),
        description=f"{title_at(product.soil_depth)}, by MMNet: estimate, prediction interval, and "
        f"quality bits that say why a value is missing or weak.{terms}",
        extent=pystac.Extent(pystac.SpatialExtent([whole]), pystac.TemporalExtent([list(interval)])),
        license=publisher.license or "other",
        keywords=["soil moisture", "SMAP", "MMNet", "daily"],
        providers=[*_providers(publisher), *source_providers(made_from)],
        summaries=pystac.Summaries(_summaries(items)),
        stac_extensions=list(_EXTENSIONS),
        extra_fields={
            "version": _version(items),
            "sci:citation": REFERENCE,
            "item_assets": {file.asset: asset_fields(file, flags) for file in files},
            "renders": _renders(files),
            **_datacube(product, days),
        },
    )
    if published is not None:
        version = 3 if (folder / published / "zarr.json").is_file() else 2
        kind = f"application/vnd.zarr; version={version}"
        fields = {**_ZARR, "type": kind, "zarr:zarr_format": version}
        collection.add_asset("zarr", pystac.Asset(f"./{published}", extra_fields=fields))
        collection.add_link(pystac.Link("store", f"./{published}", kind, "Zarr store"))
    collection.add_links(source_links(made_from))
    collection.add_link(pystac.Link("root", "./catalog.json", pystac.MediaType.JSON))
    collection.add_link(pystac.Link("parent", "./catalog.json", pystac.MediaType.JSON))
    for item in items:
        collection.add_link(pystac.Link("item", f"./{item['id']}.json", pystac.MediaType.GEOJSON))
    catalog = pystac.Catalog(id=CATALOG, title="MMNet maps", description="Maps exported by mmnet-maps.")
    catalog.remove_links("root")
    catalog.add_link(pystac.Link("root", "./catalog.json", pystac.MediaType.JSON))
    catalog.add_link(pystac.Link("child", "./collection.json", pystac.MediaType.JSON, collection.title))
    write_json(folder / "collection.json", collection.to_dict(include_self_link=False, transform_hrefs=False))
    write_json(folder / CATALOG_FILE, catalog.to_dict(include_self_link=False, transform_hrefs=False))
    return len(items)


def _providers(publisher: Publisher) -> list[pystac.Provider]:
    roles, processor = pystac.ProviderRole, f"mmnet-maps {__version__}"
    if not publisher.institution:
        return [pystac.Provider("mmnet-maps", processor, [roles.PROCESSOR])]
    who = [roles.PRODUCER, roles.LICENSOR, roles.PROCESSOR]
    return [pystac.Provider(publisher.institution, f"processed with {processor}", who)]


def _summaries(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Every value that the items have: a folder may hold days of more than one bundle."""
    found: dict[str, Any] = {"gsd": sorted({item["properties"]["gsd"] for item in items})}
    for name in _SUMMED:
        values = {v for item in items if (v := item["properties"].get(name)) is not None}
        if values:
            found[name] = sorted(values)
    return found


def _version(items: list[dict[str, Any]]) -> str:
    """Version of the newest software among the items, and how many there are."""
    versions = {item["properties"].get("processing:software", {}).get("mmnet-maps", "") for item in items}
    return ", ".join(sorted(versions))


def _datacube(product: Product, days: list[str]) -> dict[str, Any]:
    grid = north_up(product.grid)[0]
    left, bottom, right, top = grid.bounds
    code = code_of(grid)
    reference: Any = int(code[5:]) if code and code.startswith("EPSG:") else CRS(grid.crs).to_json_dict()
    dimensions: dict[str, Any] = {
        "time": {"type": "temporal", "extent": [days[0], days[-1]], "values": days},
        "y": _spatial("y", bottom, top, abs(grid.transform[4]), reference),
        "x": _spatial("x", left, right, abs(grid.transform[0]), reference),
        "depth": {"type": "spatial", "axis": "z", "extent": list(product.soil_depth), "unit": "m"},
    }
    variables = {
        layer.name: {
            "dimensions": ["time", "y", "x"],
            "type": "auxiliary" if layer.name == QUALITY else "data",
            "description": layer.long_name,
            "unit": layer.units,
        }
        for layer in product.layers.values()
    }
    return {"cube:dimensions": dimensions, "cube:variables": variables}


def _spatial(axis: str, low: float, high: float, step: float, reference: Any) -> dict[str, Any]:
    return {
        "type": "spatial",
        "axis": axis,
        "extent": [low, high],
        "step": step,
        "reference_system": reference,
    }


def _renders(files: tuple[DayFile, ...]) -> dict[str, Any]:
    """How a tile server draws the bands: limits in stored integers, colours of the table of layers."""
    found = {}
    for file in files:
        for number, layer in enumerate(file.layers, start=1):
            if layer.colours:
                low, high = layer.colour_range
                scaled = [(end - layer.packing.offset) / layer.packing.scale for end in (low, high)]
                found[layer.name] = {
                    "title": f"{layer.long_name}, {low:g} to {high:g} {layer.units}",
                    "assets": [file.asset],
                    "bidx": [number],
                    "nodata": file.nodata,
                    "rescale": [[round(end, 6) for end in scaled]],
                    "colormap": _colour_map(layer),
                    "resampling": "nearest",
                }
    return found


def _colour_map(layer: Layer) -> Mapping[str, str]:
    """256 colours between those of a layer."""
    stops = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in layer.colours], dtype=float)
    at = np.linspace(0, len(stops) - 1, 256)
    parts = [np.rint(np.interp(at, np.arange(len(stops)), stops[:, i])).astype(int) for i in range(3)]
    return {str(n): "#" + "".join(f"{int(p[n]):02x}" for p in parts) for n in range(256)}


def write_entrance(folder: Remote) -> None:
    """Let the catalog of a folder that is kept in states lead readers of STAC to the state that counts."""
    state = state_of(folder)
    catalog = read_json(state / CATALOG_FILE)
    if state == folder or not catalog:
        return
    for link in catalog["links"]:
        if link["rel"] != "root":
            link["href"] = f"./{state.name}/{link['href'].removeprefix('./')}"
    if read_json(folder / CATALOG_FILE) != catalog:
        write_json(folder / CATALOG_FILE, catalog)
