"""The requests that a station table is made of: of bounded size, and able to be cut in half."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import ee
import pandas as pd

from mmnet_maps.assets import Asset, AssetSource, Band
from mmnet_maps.errors import InputError
from mmnet_maps.sources.earth_engine import expressions
from mmnet_maps.sources.stations.raw_layout import LAYOUTS, PLACE, layout_of

__all__ = ["Request", "requests_of", "build", "digest_of", "network_discs"]

#: Days and stations of a request: regular fields over many stations, scenes over one.
_REGULAR_DAYS, _REGULAR_STATIONS = 31, 40
_SCENE_STATIONS = 1
_STATIC_STATIONS = 100


@dataclass(frozen=True)
class Request:
    """One request: an asset, a span of days (both ends included), some stations.

    Attributes
    ----------
    source : AssetSource
    asset : Asset
    layout : str
        Which kind of file its rows go into.
    file : str
        The file itself.
    start, end : date
    stations : range
        Rows of the network.
    """

    source: AssetSource
    asset: Asset
    layout: str
    file: str
    start: dt.date
    end: dt.date
    stations: range

    @property
    def columns(self) -> dict[str, str]:
        """Column of each variable that the asset gives."""
        layout = LAYOUTS[self.layout]
        also = {name: name for name in self.asset.also if name in layout.also}
        return {name: layout.columns[name] for name in self.asset.bands} | also

    @property
    def images(self) -> int:
        """How many images it is thought to meet."""
        days = (self.end - self.start).days + 1
        per_day = {"daily": 1.0, "means": 8.0, "scenes": 0.25}.get(self.source.times)
        return max(1, round(days * per_day)) if per_day else 1

    def halves(self) -> tuple[Request, Request] | None:
        """The same in two, by days, then by stations; None for one station and day."""
        days = (self.end - self.start).days
        if days and self.source.times not in ("static", "yearly"):
            middle = self.start + dt.timedelta(days=days // 2)
            return replace(self, end=middle), replace(self, start=middle + dt.timedelta(days=1))
        if len(self.stations) > 1:
            cut = len(self.stations) // 2
            return replace(self, stations=self.stations[:cut]), replace(self, stations=self.stations[cut:])
        return None

    def __str__(self) -> str:
        return f"{self.file}, {self.start} to {self.end}, {len(self.stations)} station(s)"


def requests_of(
    sources: dict[str, AssetSource], start: dt.date, end: dt.date, stations: int
) -> list[Request]:
    """Every request of a station table, in a fixed order."""
    requests: list[Request] = []
    parts: dict[str, int] = {}
    for source in sources.values():
        for asset in source.assets:
            names = {layout_of(name)[0] for name in asset.bands}
            if len(names) > 1:
                raise InputError(f"asset {asset.id}: variables of several raw files: {sorted(names)}")
            (name,) = names
            parts[name] = parts.get(name, 0) + 1
            requests += _requests(source, asset, name, parts[name], start, end, stations)
    return requests


def _requests(
    source: AssetSource, asset: Asset, name: str, part: int, start: dt.date, end: dt.date, stations: int
) -> Iterator[Request]:
    layout = LAYOUTS[name]
    if source.times == "static":
        for group in _groups(stations, _STATIC_STATIONS):
            yield Request(source, asset, name, layout.file, start, end, group)
    elif source.times == "yearly":
        if asset.year in {edition.year for edition in editions(source, start, end)}:
            for group in _groups(stations, _STATIC_STATIONS):
                yield Request(source, asset, name, layout.file.format(year=asset.year), start, end, group)
    else:
        scenes = source.times == "scenes"
        for first, last in _spans(start, end, 366 if scenes else _REGULAR_DAYS):
            file = layout.file.format(year=first.year, part=part)
            for group in _groups(stations, _SCENE_STATIONS if scenes else _REGULAR_STATIONS):
                yield Request(source, asset, name, file, first, last, group)


def editions(source: AssetSource, start: dt.date, end: dt.date) -> list[Asset]:
    """Editions of a yearly source that the years from start to end need, oldest first."""
    known = {asset.year or 0: asset for asset in source.assets}
    # The nearest, of two equally near the later: the same rule as when tables are built and maps are made.
    used = {
        min(known, key=lambda edition: (abs(edition - year), -edition))
        for year in range(start.year, end.year + 1)
    }
    return [known[edition] for edition in sorted(used)]


def _groups(count: int, size: int) -> Iterator[range]:
    for first in range(0, count, size):
        yield range(first, min(count, first + size))


def _spans(start: dt.date, end: dt.date, days: int) -> Iterator[tuple[dt.date, dt.date]]:
    """Spans of at most so many days that never cross a New Year."""
    first = start
    while first <= end:
        last = min(end, first + dt.timedelta(days=days - 1), dt.date(first.year, 12, 31))
        yield first, last
        first = last + dt.timedelta(days=1)


def network_discs(network: pd.DataFrame, rows: Sequence[int], radius: float) -> ee.FeatureCollection:
    """Discs of `radius` metres around the stations, with the properties that every table carries."""
    features = []
    for row in rows:
        station = {name: network[name].iloc[row] for name in PLACE}
        position = {"Latitude": float(station["Latitude"]), "Longitude": float(station["Longitude"])}
        point = ee.Geometry.Point([position["Longitude"], position["Latitude"]])
        properties = {"ID": str(station["ID"]), "Network": str(station["Network"]), **position}
        features.append(ee.Feature(point.buffer(radius), properties))
    return ee.FeatureCollection(features)


def build(request: Request, network: pd.DataFrame, radius: float) -> ee.FeatureCollection:
    """The table of a request, long: a row for each image and station."""
    discs = network_discs(network, request.stations, radius)
    layout, asset = LAYOUTS[request.layout], _with_also(request)
    names, columns = list(request.columns), list(request.columns.values())
    if request.source.times in ("static", "yearly"):
        image = expressions.static_image(asset, names).select(names, columns)
        rows = expressions.reduced(image, discs, request.source, columns)
        return rows.select([*columns, *PLACE], None, False)
    if request.source.times == "means":
        images = expressions.daily_means(asset, request.start, request.end, discs.geometry())
        return expressions.sampled(
            images, lambda image: image.select(names, columns), discs, request.source, columns, PLACE
        )
    images = expressions.collection(asset, request.start, request.end, discs.geometry())
    if layout.day is not None:
        images = images.map(lambda image: image.set("system:index", image.date().format(layout.day)))
    return expressions.sampled(
        images,
        lambda image: expressions.kept(image, asset, names).select(names, columns),
        discs,
        request.source,
        columns,
        PLACE,
    )


def digest_of(table: ee.FeatureCollection) -> str:
    """Digest of everything that a request asks for."""
    return hashlib.sha256(table.serialize(for_cloud_api=True).encode()).hexdigest()[:32]


def _with_also(request: Request) -> Asset:
    also = {name: Band(name=name) for name in request.columns if name not in request.asset.bands}
    return request.asset.model_copy(update={"bands": {**request.asset.bands, **also}})
