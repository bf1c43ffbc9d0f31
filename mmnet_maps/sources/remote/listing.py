"""Which files a source has for a region and days: by a STAC search, a template of addresses, or a listing."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from mmnet_maps.config import parse_json
from mmnet_maps.dates import to_day
from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.source_reader import SourceConfig
from mmnet_maps.sources.remote.http import Http
from mmnet_maps.sources.remote.ranges import Link

__all__ = ["Listed", "Scope", "list_files", "read_listing"]

#: Items a page of a search.
_PAGE = 250


@dataclass(frozen=True)
class Scope:
    """What is wanted of an archive.

    Attributes
    ----------
    box : tuple of float
        West, south, east, north in degrees.
    first, last : date, optional
        Days, both included; None where open.
    """

    box: tuple[float, float, float, float]
    first: dt.date | None
    last: dt.date | None


@dataclass(frozen=True)
class Listed:
    """A file of a source.

    Attributes
    ----------
    link : Link
    variable : str
        Variable that it holds, or ``mask``.
    collection : str
        Collection, which credentials may hang on.
    scene : str
        What values and flags of one scene share.
    day : int, optional
        Days since 1970-01-01; None if the archive does not say.
    file : str, optional
        Where it is, once it was downloaded, relative to the listing.
    """

    link: Link
    variable: str
    collection: str
    scene: str
    day: int | None
    file: str | None = None


def list_files(name: str, config: SourceConfig, http: Http, scope: Scope) -> list[Listed]:
    """Every file of a source that may touch the scope, in a fixed order.

    Raises
    ------
    InputError
        The archive has none, or its items lack what the configuration names.
    WorkError
        The archive does not answer.
    """
    found = list(
        _searched(name, config, http, scope) if config.kind == "stac" else _from_url(name, config, scope)
    )
    if not found:
        days = f"{scope.first or 'the beginning'} to {scope.last or 'today'}"
        where = config.api if config.kind == "stac" else config.url
        raise InputError(f"sources.{name}: {where} has nothing over {_shown(scope.box)} from {days}")
    return sorted(found, key=lambda f: (f.variable, f.link.name))


def read_listing(name: str, path: Path) -> list[Listed]:
    """A listing that `fetch` has kept beside its files."""
    if not path.is_file():
        raise InputError(f"sources.{name}.listing: {path}: no such listing; `mmnet-maps fetch` writes it")
    try:
        records = parse_json(path.read_bytes(), path)
        return [Listed(**{**record, "link": Link(**record["link"])}) for record in records]
    except InputError:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: not a listing of `mmnet-maps fetch`: {error}") from None


def _shown(box: tuple[float, ...]) -> str:
    return "the region (" + " ".join(f"{v:.3f}" for v in box) + ")"


def _name(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.netloc}{parts.path}"


def _searched(name: str, config: SourceConfig, http: Http, scope: Scope) -> Iterator[Listed]:
    skipped = 0
    for item in _items(name, config, http, scope):
        collection = str(item.get("collection"))
        bands = config.collections.get(collection)
        if bands is None:
            continue
        if config.crs is not None and config.regrid is None and not _in_crs(item, config.crs):
            skipped += 1
            continue
        wanted: dict[str, Any] = dict(bands)
        if config.mask is not None and config.mask.file is not None:
            wanted["mask"] = config.mask.file
        for variable, asset in wanted.items():
            if variable in config.variables or variable == "mask":
                yield _listed(name, item, collection, variable, str(asset))
    if skipped:
        from mmnet_maps.progress import say

        say(f"{name}: {skipped} items in another CRS than {config.crs} are left out")


def _items(name: str, config: SourceConfig, http: Http, scope: Scope) -> Iterator[dict[str, Any]]:
    from pystac_client import Client
    from pystac_client.exceptions import APIError
    from pystac_client.stac_api_io import StacApiIO

    class Through(StacApiIO):
        """Pages of a search by way of the one client."""

        def request(
            self,
            href: str,
            method: str | None = None,
            headers: dict[str, str] | None = None,
            parameters: dict[str, Any] | None = None,
        ) -> str:
            body: dict[str, Any] = (
                {"json": parameters} if method == "POST" else {"params": parameters or None}
            )
            return http.ask(
                href,
                what=f"search for {name}",
                method=method or "GET",
                headers=headers,
                accept=_is_json,
                **body,
            ).text

    assert config.api is not None
    found: dict[tuple[str, str], dict[str, Any]] = {}
    dated = config.cadence != "static" and (scope.first or scope.last)
    days = f"{scope.first or '..'}/{scope.last or '..'}" if dated else None
    try:
        client = Client.open(config.api, stac_io=Through())
        for box in boxes(scope.box):
            search = client.search(
                collections=list(config.collections),
                bbox=box,
                datetime=days,
                query=config.query or None,
                limit=_PAGE,
                max_items=None,
            )
            found |= {(str(i.get("collection")), str(i["id"])): i for i in search.items_as_dicts()}
        yield from found.values()
    except APIError as error:
        raise WorkError(f"sources.{name}: {config.api}: {' '.join(str(error).split())}") from error


def boxes(box: tuple[float, float, float, float]) -> list[tuple[float, float, float, float]]:
    """A box in longitudes of -180 to 180; one across 180 degrees, which few APIs take, as its two halves.

    Examples
    --------
    >>> boxes((179.5, -17.0, -179.5, -16.0))
    [(179.5, -17.0, 180.0, -16.0), (-180.0, -17.0, -179.5, -16.0)]
    """
    west, south, east, north = box
    if east - west >= 360:
        return [(-180.0, south, 180.0, north)]
    if not (-180 <= west <= 180 and -180 <= east <= 180):
        west, east = ((v + 180) % 360 - 180 for v in (west, east))
    if west <= east:
        return [(west, south, east, north)]
    return [(west, south, 180.0, north), (-180.0, south, east, north)]


def _is_json(answer: Any) -> str | None:
    try:
        answer.json()
    except ValueError:
        return "an answer that breaks off"
    return None


def _in_crs(item: Mapping[str, Any], crs: str) -> bool:
    """Whether an item is in a CRS, as far as it says so."""
    said = item["properties"].get("proj:code") or item["properties"].get("proj:epsg")
    if said is None and (tile := re.search(r"\.T(\d{2})[C-X][A-Z]{2}\.", str(item["id"]))):
        said = f"326{tile[1]}"  # HLS names the zone of its MGRS tile, and counts northings from the equator
    return said is None or str(said).removeprefix("EPSG:") == crs.removeprefix("EPSG:")


def _listed(name: str, item: Mapping[str, Any], collection: str, variable: str, asset: str) -> Listed:
    """The asset of an item that holds a variable; `InputError` names an item that is none of STAC."""
    try:
        return _asset_of(name, item, collection, variable, asset)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"sources.{name}: no STAC item of {collection} ({type(error).__name__} {error!s:.80}) "
            f"{str(item)[:200]}"
        ) from None


def _asset_of(name: str, item: Mapping[str, Any], collection: str, variable: str, asset: str) -> Listed:
    held = {k: v for k, v in item["assets"].items() if str(v.get("href", "")).startswith("http")}
    key = asset if asset in held else next((k for k in held if fnmatch(held[k]["href"], f"*/{asset}")), None)
    if key is None:
        raise InputError(
            f"sources.{name}: item {item['id']} of {collection} has no asset {asset} for {variable}; it has "
            f"{', '.join(held)}"
        )
    facts, properties = held[key], item["properties"]
    updated = properties.get("updated") or facts.get("updated")
    size, checksum = facts.get("file:size"), facts.get("file:checksum")
    stamp = None if updated is None else " ".join(str(v) for v in (item["id"], updated, size, checksum) if v)
    when = properties.get("datetime") or properties.get("start_datetime")
    day = None if not when else to_day(dt.datetime.fromisoformat(when.replace("Z", "+00:00")).date())
    link = Link(facts["href"], _name(facts["href"]), stamp, size, checksum)
    return Listed(link, variable, collection, f"{collection}/{item['id']}", day)


def _from_url(name: str, config: SourceConfig, scope: Scope) -> Iterator[Listed]:
    assert config.url is not None
    for year in _years(name, config, scope):
        for variable, keys in config.variables.items():
            token = keys.file or variable
            url = config.url.replace("{variable}", token).replace("{year}", str(year))
            day = None if year is None or config.cadence != "yearly" else to_day(dt.date(year, 1, 1))
            yield Listed(Link(url, _name(url)), variable, "", urljoin(url, "."), day)


def _years(name: str, config: SourceConfig, scope: Scope) -> list[int | None]:
    if "{year}" not in str(config.url):
        return [None]
    if config.years:
        return list(config.years)
    if scope.first is None or scope.last is None:
        raise InputError(f"sources.{name}: {{year}} in url needs years:, or start and end of the cube")
    return list(range(scope.first.year, scope.last.year + 1))
