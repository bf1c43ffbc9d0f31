"""Evaluates Earth Engine expressions, as they stand in a request, on the arrays of a small world.

It knows what `World` needs and nothing of the product: images are functions of a pixel window that give
values and a mask; a request is decoded from its JSON, and every function in it is applied for real.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from affine import Affine
from ee_world import Scene, World, lookup, proj_crs, to
from pyproj import Geod
from shapely import area, box, from_wkb, intersection, transform, union_all
from shapely.geometry import Point, Polygon

METRES_PER_DEGREE = 2 * math.pi * 6378137 / 360


class ServerError(Exception):
    """What Earth Engine answers 400 to."""


@dataclass(frozen=True)
class Window:
    """Pixels that are asked for."""

    crs: str
    transform: Affine
    height: int
    width: int

    def padded(self, n: int) -> Window:
        return Window(
            self.crs, self.transform @ Affine.translation(-n, -n), self.height + 2 * n, self.width + 2 * n
        )

    def centres(self, crs: str) -> tuple[np.ndarray, np.ndarray]:
        cols, rows = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        x, y = self.transform @ (cols, rows)
        if proj_crs(self.crs) == proj_crs(crs):
            return x, y
        return to(self.crs, crs).transform(x, y)


Sampler = Callable[[Window], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class BandOf:
    name: str
    sample: Sampler
    dtype: str = "float64"


@dataclass(frozen=True)
class Img:
    bands: tuple[BandOf, ...]
    properties: dict[str, Any] = field(default_factory=dict)
    crs: str = "EPSG:4326"
    transform: Affine = Affine(1, 0, 0, 0, -1, 0)  # noqa: RUF009
    footprint: Any = None

    def named(self, name: str | int) -> BandOf:
        if isinstance(name, int):
            return self.bands[name]
        for band in self.bands:
            if band.name == name:
                return band
        raise ServerError(f"Image.select: Band pattern '{name}' did not match any bands.")


@dataclass(frozen=True)
class Feat:
    geometry: Any
    properties: dict[str, Any]


@dataclass(frozen=True)
class Moment:
    millis: float


@dataclass(frozen=True)
class Reducer:
    kind: str
    outputs: tuple[str, ...] = ()


def leaf(scene: Scene) -> Img:
    def sampler(values: np.ndarray) -> Sampler:
        def sample(window: Window) -> tuple[np.ndarray, np.ndarray]:
            x, y = window.centres(scene.crs)
            cols, rows = ~scene.transform @ (x, y)
            row, col = np.floor(rows).astype(int), np.floor(cols).astype(int)
            inside = (row >= 0) & (row < values.shape[0]) & (col >= 0) & (col < values.shape[1])
            found = values[np.where(inside, row, 0), np.where(inside, col, 0)].astype(np.float64)
            mask = inside & ~np.isnan(found)
            return np.where(mask, found, 0.0), mask

        return sample

    properties = {"system:index": scene.index, "system:time_start": scene.time, **scene.properties}
    bands = tuple(BandOf(name, sampler(values)) for name, values in scene.bands.items())
    return Img(bands, properties, scene.crs, scene.transform, scene.footprint)


def constant(value: float) -> Img:
    def sample(window: Window) -> tuple[np.ndarray, np.ndarray]:
        shape = window.height, window.width
        return np.full(shape, float(value)), np.ones(shape, bool)

    return Img((BandOf("constant", sample),))


def _pixelwise(name: str, one: BandOf, two: BandOf, function: Callable[..., np.ndarray]) -> BandOf:
    def sample(window: Window) -> tuple[np.ndarray, np.ndarray]:
        a, am = one.sample(window)
        b, bm = two.sample(window)
        return np.asarray(function(a, b), dtype=np.float64), am & bm

    return BandOf(name, sample)


_BINARY: dict[str, Callable[..., Any]] = {
    "Image.add": np.add,
    "Image.subtract": np.subtract,
    "Image.multiply": np.multiply,
    "Image.divide": np.divide,
    "Image.eq": np.equal,
    "Image.neq": np.not_equal,
    "Image.gt": np.greater,
    "Image.gte": np.greater_equal,
    "Image.lt": np.less,
    "Image.lte": np.less_equal,
    "Image.bitwiseAnd": lambda a, b: a.astype(np.int64) & b.astype(np.int64),
}
_CASTS = {
    "Image.toUint8": "uint8",
    "Image.toInt8": "int8",
    "Image.toUint16": "uint16",
    "Image.toInt16": "int16",
    "Image.toInt32": "int32",
    "Image.toFloat": "float32",
    "Image.toDouble": "float64",
}


class Evaluator:
    """Applies one expression to a world."""

    def __init__(self, world: World, expression: dict[str, Any]) -> None:
        self._world, self._values = world, expression["values"]
        self._result = expression["result"]
        self._free: dict[str, frozenset[str]] = {}
        self._known: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self.used: set[str] = set()

    def value(self) -> Any:
        return self._node(self._values[self._result], {})

    def _node(self, node: dict[str, Any], scope: dict[str, Any]) -> Any:
        ((kind, body),) = node.items()
        if kind == "constantValue":
            return body
        if kind == "integerValue":
            return int(body)
        if kind == "valueReference":
            return self._shared(body, scope)
        if kind == "argumentReference":
            return scope[body]
        if kind == "arrayValue":
            return [self._node(v, scope) for v in body["values"]]
        if kind == "dictionaryValue":
            return {k: self._node(v, scope) for k, v in body["values"].items()}
        if kind == "functionDefinitionValue":
            names, inner = body["argumentNames"], body["body"]
            return lambda *given: self._shared(inner, {**scope, **dict(zip(names, given, strict=True))})
        if kind == "functionInvocationValue":
            arguments = {k: self._node(v, scope) for k, v in body["arguments"].items()}
            return self._apply(body["functionName"], arguments)
        raise ServerError(f"cannot decode {kind}")

    def _shared(self, name: str, scope: dict[str, Any]) -> Any:
        """A value that several places name is worked out once for the same arguments."""
        bound = [scope[v] for v in sorted(self._free_in_value(name))]
        key = (name, *map(id, bound))
        if key not in self._known:
            # The arguments are kept with it, so that no other object gets their identity.
            self._known[key] = (self._node(self._values[name], scope), bound)
        return self._known[key][0]

    def _free_in_value(self, name: str) -> frozenset[str]:
        if name not in self._free:
            self._free[name] = self._free_in(self._values[name])
        return self._free[name]

    def _free_in(self, node: Any) -> frozenset[str]:
        """Arguments that a node needs from around it."""
        if isinstance(node, list):
            return frozenset().union(*(self._free_in(one) for one in node))
        if not isinstance(node, dict):
            return frozenset()
        if "valueReference" in node:
            return self._free_in_value(node["valueReference"])
        if "argumentReference" in node:
            return frozenset([node["argumentReference"]])
        if "functionDefinitionValue" in node:
            body = node["functionDefinitionValue"]
            return self._free_in_value(body["body"]) - set(body["argumentNames"])
        if "constantValue" in node:
            return frozenset()
        return frozenset().union(*(self._free_in(one) for one in node.values()))

    def _apply(self, name: str, given: dict[str, Any]) -> Any:
        self.used.add(name)
        if name in _BINARY:
            one, two = _image(given["image1"]), _image(given["image2"])
            pairs = zip(one.bands, two.bands * (len(one.bands) if len(two.bands) == 1 else 1), strict=True)
            return replace(one, bands=tuple(_pixelwise(a.name, a, b, _BINARY[name]) for a, b in pairs))
        if name in _CASTS:
            return _cast(_image(given["value"]), _CASTS[name])
        function = getattr(self, "_" + name.replace(".", "_"), None)
        if function is None:
            raise ServerError(f"{name} is not a function that this server has")
        return function(**given)

    # Sources
    def _Image_load(self, id: str) -> Img:
        try:
            scene = lookup(self._world, id)
        except KeyError:
            raise ServerError(f"Image.load: Image asset '{id}' not found (does not exist).") from None
        return leaf(scene)

    def _ImageCollection_load(self, id: str) -> list[Img]:
        try:
            found = lookup(self._world, id)
        except KeyError:
            raise ServerError(
                f"ImageCollection.load: ImageCollection asset '{id}' not found (does not exist)."
            ) from None
        return [leaf(scene) for scene in sorted(found, key=lambda s: s.time)]

    def _Image_constant(self, value: float) -> Img:
        return constant(value)

    def _GeometryConstructors_Point(self, coordinates: list[float]) -> Point:
        return Point(coordinates)

    def _GeometryConstructors_Rectangle(self, coordinates, crs=None, geodesic=None) -> Polygon:
        (west, south), (east, north) = coordinates[0], coordinates[1]
        return box(west, south, east, north)

    def _GeometryConstructors_Polygon(self, coordinates, crs=None, geodesic=None, evenOdd=None) -> Polygon:
        return Polygon(coordinates[0])

    def _Geometry_buffer(self, geometry: Point, distance: float) -> Polygon:
        angles = np.arange(0, 360, 360 / 64)
        n = len(angles)
        lon, lat, _ = Geod(ellps="WGS84").fwd(
            np.full(n, geometry.x), np.full(n, geometry.y), angles, np.full(n, distance)
        )
        return Polygon(np.stack([lon, lat], 1))

    def _Feature(self, geometry: Any, metadata: dict[str, Any] | None = None) -> Feat:
        return Feat(geometry, metadata or {})

    def _Collection(self, features: list[Feat]) -> list[Feat]:
        return features

    def _ImageCollection_fromImages(self, images: list[Img]) -> list[Img]:
        return images

    def _Projection(self, crs: str) -> str:
        return crs

    # Collections
    def _Collection_map(self, collection: list[Any], baseAlgorithm: Callable[[Any], Any]) -> list[Any]:
        return [_keeping_index(baseAlgorithm(one), one) for one in collection]

    def _Collection_filter(self, collection: list[Any], filter: Callable[[Any], bool]) -> list[Any]:
        return [one for one in collection if filter(one)]

    def _Collection_flatten(self, collection: list[Any]) -> list[Any]:
        flat = []
        for outer in collection:
            index = outer.properties.get("system:index", "") if isinstance(outer, Rows) else ""
            for i, one in enumerate(outer):
                flat.append(replace(one, properties={**one.properties, "system:index": f"{index}_{i}"}))
        return flat

    def _Collection_limit(self, collection: list[Any], limit: int, key: str, ascending: bool = True):
        ordered = sorted(collection, key=lambda e: e.properties[key], reverse=not ascending)
        return ordered[: int(limit)]

    def _Collection_size(self, collection: list[Any]) -> int:
        return len(collection)

    def _Collection_geometry(self, collection: list[Feat]) -> Any:
        return union_all([f.geometry for f in collection])

    def _Collection_first(self, collection: list[Any]) -> Any:
        return collection[0]

    def _ImageCollection_merge(self, collection1: list[Img], collection2: list[Img]) -> list[Img]:
        return [*collection1, *collection2]

    def _AggregateFeatureCollection_array(self, collection: list[Any], property: str) -> list[Any]:
        return [one.properties[property] for one in collection if property in one.properties]

    def _List_sequence(self, start: float, end: float) -> list[float]:
        return list(np.arange(start, end + 1e-9))

    def _List_map(self, list: list[Any], baseAlgorithm: Callable[[Any], Any], dropNulls: bool = False):
        return [baseAlgorithm(one) for one in list]

    def _List_distinct(self, list: list[Any]) -> list[Any]:
        return [*dict.fromkeys(list)]

    def _reduce_mean(self, collection: list[Img]) -> Img:
        if not collection:
            return Img(())
        names = [band.name for band in collection[0].bands]

        def mean(name: str) -> BandOf:
            bands = [one.named(name) for one in collection]

            def sample(window: Window) -> tuple[np.ndarray, np.ndarray]:
                found = [band.sample(window) for band in bands]
                count = sum(mask.astype(int) for _, mask in found)
                total = sum(np.where(mask, values, 0.0) for values, mask in found)
                return total / np.maximum(count, 1), count > 0

            return BandOf(name, sample)

        return Img(tuple(mean(name) for name in names))

    def _ImageCollection_toBands(self, collection: list[Img]) -> Img:
        return Img(
            tuple(
                replace(band, name=f"{one.properties['system:index']}_{band.name}")
                for one in collection
                for band in one.bands
            )
        )

    # Filters
    def _Filter_equals(self, leftField: str, rightValue: Any) -> Callable[[Any], bool]:
        return lambda one: one.properties.get(leftField) == rightValue

    def _Filter_greaterThan(self, leftField: str, rightValue: Any) -> Callable[[Any], bool]:
        return lambda one: one.properties.get(leftField, -math.inf) > rightValue

    def _Filter_listContains(self, leftField: str, rightValue: Any) -> Callable[[Any], bool]:
        return lambda one: rightValue in one.properties.get(leftField, [])

    def _Filter_notNull(self, properties: list[str]) -> Callable[[Any], bool]:
        return lambda one: all(one.properties.get(p) is not None for p in properties)

    def _Filter_or(self, filters: list[Callable[[Any], bool]]) -> Callable[[Any], bool]:
        return lambda one: any(f(one) for f in filters)

    def _Filter_dateRangeContains(self, leftValue: tuple[float, float], rightField: str):
        # The end is exclusive, as in Earth Engine.
        return lambda one: leftValue[0] <= one.properties[rightField] < leftValue[1]

    def _Filter_intersects(self, leftField: str, rightValue: Any) -> Callable[[Any], bool]:
        shape = rightValue.geometry if isinstance(rightValue, Feat) else rightValue
        return lambda one: one.footprint is None or one.footprint.intersects(shape)

    # Dates
    def _Date(self, value: Any) -> Moment:
        return value if isinstance(value, Moment) else Moment(_millis(value))

    def _DateRange(self, start: Any, end: Any) -> tuple[float, float]:
        return _millis(start), _millis(end)

    def _Date_advance(self, date: Any, delta: float, unit: str) -> Moment:
        assert unit == "day"
        return Moment(_millis(date) + delta * 86_400_000)

    def _Date_millis(self, date: Any) -> float:
        return _millis(date)

    def _Date_format(self, date: Any, format: str) -> str:
        pattern = {"YYYYMMdd": "%Y%m%d", "YYYY_MM_dd": "%Y_%m_%d"}[format]
        return dt.datetime.fromtimestamp(_millis(date) / 1000, dt.UTC).strftime(pattern)

    def _Image_date(self, image: Img) -> Moment:
        return Moment(image.properties["system:time_start"])

    # Elements
    def _Element_set(self, object: Any, key: str, value: Any) -> Any:
        return replace(object, properties={**object.properties, key: value})

    def _Element_get(self, object: Any, property: str) -> Any:
        return object.properties.get(property)

    def _Image_copyProperties(
        self, destination: Img, source: Img, properties: list[str] | None = None
    ) -> Img:
        return self._Element_copyProperties(destination, source, properties)

    def _Element_copyProperties(self, destination: Any, source: Any, properties: Any = None) -> Any:
        names = properties if properties is not None else source.properties
        copied = {n: source.properties[n] for n in names if n in source.properties}
        return replace(destination, properties={**destination.properties, **copied})

    def _Feature_select(self, input: Feat, propertySelectors: list[str], retainGeometry: bool = True) -> Feat:
        everything = propertySelectors == [".*"]
        found = {
            k: v
            for k, v in input.properties.items()
            if everything or k in propertySelectors or k == "system:index"
        }
        return Feat(input.geometry if retainGeometry else None, found)

    # Images
    def _Image_select(self, input: Img, bandSelectors: Any, newNames: list[str] | None = None) -> Img:
        wanted = bandSelectors if isinstance(bandSelectors, list) else [bandSelectors]
        bands = [input.named(name) for name in wanted]
        if newNames is not None:
            bands = [replace(b, name=n) for b, n in zip(bands, newNames, strict=True)]
        return replace(input, bands=tuple(bands))

    def _Image_rename(self, input: Img, names: list[str]) -> Img:
        renamed = tuple(replace(b, name=n) for b, n in zip(input.bands, names, strict=True))
        return replace(input, bands=renamed)

    def _Image_addBands(self, dstImg: Img, srcImg: Img) -> Img:
        return replace(dstImg, bands=dstImg.bands + srcImg.bands)

    def _Image_updateMask(self, image: Img, mask: Any) -> Img:
        (decides,) = _image(mask).bands

        def masked(band: BandOf) -> BandOf:
            def sample(window: Window) -> tuple[np.ndarray, np.ndarray]:
                values, own = band.sample(window)
                keep, known = decides.sample(window)
                return values, own & known & (keep != 0)

            return replace(band, sample=sample)

        return replace(image, bands=tuple(masked(b) for b in image.bands))

    def _Image_unmask(self, input: Img, value: Any, sameFootprint: bool = True) -> Img:
        (other,) = _image(value).bands

        def unmasked(band: BandOf) -> BandOf:
            def sample(window: Window) -> tuple[np.ndarray, np.ndarray]:
                values, mask = band.sample(window)
                if sameFootprint:
                    raise ServerError("this world keeps no footprints of computed images")
                return np.where(mask, values, other.sample(window)[0]), np.ones_like(mask)

            return replace(band, sample=sample)

        return replace(input, bands=tuple(unmasked(b) for b in input.bands))

    def _Image_remap(self, image, defaultValue=None, bandName=None, **given: list[float]) -> Img:
        assert defaultValue is None
        (band,) = image.bands
        table = dict(zip(given["from"], given["to"], strict=True))

        def sample(window: Window) -> tuple[np.ndarray, np.ndarray]:
            values, mask = band.sample(window)
            listed = np.isin(values, list(table))
            return np.vectorize(lambda v: table.get(v, 0.0))(values).astype(float), mask & listed

        return replace(image, bands=(BandOf("remapped", sample),))

    def _Image_round(self, value: Img) -> Img:
        def rounded(band: BandOf) -> BandOf:
            def sample(window: Window) -> tuple[np.ndarray, np.ndarray]:
                values, mask = band.sample(window)
                return np.rint(values), mask

            return replace(band, sample=sample)

        return replace(value, bands=tuple(rounded(b) for b in value.bands))

    def _Image_projection(self, image: Img) -> dict[str, Any]:
        t = image.transform
        # A CRS without a code comes as WKT.
        name = "wkt" if image.crs.startswith("PROJCS") else "crs"
        return {"type": "Projection", name: image.crs, "transform": [t.a, t.b, t.c, t.d, t.e, t.f]}

    def _Kernel_gaussian(self, radius, sigma=1.0, units="pixels", normalize=True) -> np.ndarray:
        assert units == "pixels" and normalize
        offsets = np.arange(-radius, radius + 1)
        line = np.exp(-(offsets**2) / (2 * sigma**2))
        kernel = np.outer(line, line)
        return kernel / kernel.sum()

    def _Image_reduceNeighborhood(self, image, reducer, kernel, inputWeight, skipMasked) -> Img:
        assert reducer.kind == "mean" and inputWeight == "kernel" and skipMasked
        n = kernel.shape[0] // 2

        def smoothed(band: BandOf) -> BandOf:
            def sample(window: Window) -> tuple[np.ndarray, np.ndarray]:
                values, mask = band.sample(window.padded(n))
                total, weight = (
                    np.zeros((window.height, window.width)),
                    np.zeros((window.height, window.width)),
                )
                for i in range(2 * n + 1):
                    for j in range(2 * n + 1):
                        part = np.s_[i : i + window.height, j : j + window.width]
                        total += kernel[i, j] * np.where(mask[part], values[part], 0.0)
                        weight += kernel[i, j] * mask[part]
                return total / np.where(weight > 0, weight, 1), mask[n:-n, n:-n]

            return BandOf(f"{band.name}_mean", sample)

        return replace(image, bands=tuple(smoothed(b) for b in image.bands))

    def _Terrain_products(self, input: Img) -> Img:
        (height,) = input.bands[:1]

        def gradient(window: Window) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            values, mask = height.sample(window.padded(1))
            a, e = abs(window.transform.a), abs(window.transform.e)
            if window.crs in ("EPSG:4326", "EPSG:4269"):
                _, lat = window.centres("EPSG:4326")
                e = e * METRES_PER_DEGREE
                a = a * METRES_PER_DEGREE * np.cos(np.radians(lat))
            east = (values[1:-1, 2:] - values[1:-1, :-2]) / (2 * a)
            north = (values[:-2, 1:-1] - values[2:, 1:-1]) / (2 * e)
            whole = mask[1:-1, 2:] & mask[1:-1, :-2] & mask[:-2, 1:-1] & mask[2:, 1:-1]
            return east, north, whole & mask[1:-1, 1:-1]

        def slope(window: Window) -> tuple[np.ndarray, np.ndarray]:
            east, north, mask = gradient(window)
            return np.degrees(np.arctan(np.hypot(east, north))), mask

        def aspect(window: Window) -> tuple[np.ndarray, np.ndarray]:
            east, north, mask = gradient(window)
            return np.degrees(np.arctan2(-east, -north)) % 360, mask

        def hillshade(window: Window) -> tuple[np.ndarray, np.ndarray]:
            mask = gradient(window)[2]
            return np.full(mask.shape, 180.0), mask

        derived = (("slope", slope), ("aspect", aspect), ("hillshade", hillshade))
        return replace(input, bands=(*input.bands, *(BandOf(n, f) for n, f in derived)))

    # Reducers
    def _Reducer_mean(self) -> Reducer:
        return Reducer("mean")

    def _Reducer_mode(self) -> Reducer:
        return Reducer("mode")

    def _Reducer_setOutputs(self, reducer: Reducer, outputs: list[str]) -> Reducer:
        return replace(reducer, outputs=tuple(outputs))

    def _Image_reduceRegions(self, image, collection, reducer, scale, crs=None) -> Rows:
        if not image.bands:
            raise ServerError("Image.reduceRegions: the image has no bands")
        crs = crs or image.crs
        unit = METRES_PER_DEGREE if crs in ("EPSG:4326", "EPSG:4269") else 1.0
        size = scale / unit
        base = image.transform if crs == image.crs else Affine(1, 0, 0, 0, -1, 0)
        grid = Affine(math.copysign(size, base.a), 0, base.c, 0, math.copysign(size, base.e), base.f)
        if len(image.bands) == 1:
            names = [reducer.outputs[0] if reducer.outputs else reducer.kind]
        else:
            names = [band.name for band in image.bands]
        rows = Rows()
        for feature in collection:
            found = dict(zip(names, _reduce(image, feature.geometry, crs, grid, reducer), strict=True))
            rows.append(replace(feature, properties={**feature.properties, **found}))
        return rows


class Rows(list):
    """Features of one image; the image's properties stay with them when mapped over."""

    def __init__(self, rows: Iterable[Feat] = (), properties: dict[str, Any] | None = None) -> None:
        super().__init__(rows)
        self.properties = properties or {}


def _keeping_index(result: Any, source: Any) -> Any:
    index = source.properties.get("system:index")
    if isinstance(result, Feat | Img) and index is not None:
        return replace(result, properties={"system:index": index, **result.properties})
    if isinstance(result, list):
        return Rows(result, {"system:index": index})
    return result


@lru_cache(maxsize=4096)
def _shares(disc: bytes, crs: str, grid: Affine) -> tuple[Window, np.ndarray]:
    """The window of a grid that a disc touches, and the share of each pixel that it covers."""
    shape = transform(from_wkb(disc), to("EPSG:4326", crs).transform, interleaved=False)
    xs, ys = zip(*[~grid @ p for p in shape.exterior.coords], strict=True)
    left, top = math.floor(min(xs)), math.floor(min(ys))
    width, height = math.ceil(max(xs)) - left, math.ceil(max(ys)) - top
    window = Window(crs, grid @ Affine.translation(left, top), height, width)
    cols, rows = np.meshgrid(np.arange(width), np.arange(height))
    x0, y0 = window.transform @ (cols, rows)
    x1, y1 = window.transform @ (cols + 1, rows + 1)
    cells = box(np.minimum(x0, x1), np.minimum(y0, y1), np.maximum(x0, x1), np.maximum(y0, y1))
    return window, area(intersection(cells, shape)) / area(cells)


def _reduce(image: Img, disc: Any, crs: str, grid: Affine, reducer: Reducer) -> list[float | None]:
    """One number a band: pixels weighted by the share of them that the disc covers."""
    window, share = _shares(disc.wkb, crs, grid)
    found: list[float | None] = []
    for band in image.bands:
        values, mask = band.sample(window)
        weight = share * mask
        if not weight.sum():
            found.append(None)
        elif reducer.kind == "mode":
            kinds = np.unique(values[weight > 0])
            found.append(float(max(kinds, key=lambda k: weight[values == k].sum())))
        else:
            found.append(float((values * weight).sum() / weight.sum()))
    return found


def _cast(image: Img, dtype: str) -> Img:
    def cast(band: BandOf) -> BandOf:
        def sample(window: Window) -> tuple[np.ndarray, np.ndarray]:
            values, mask = band.sample(window)
            if np.dtype(dtype).kind in "iu":
                limits = np.iinfo(dtype)
                values = np.clip(values, limits.min, limits.max)
            return values.astype(dtype).astype(np.float64), mask

        return BandOf(band.name, sample, dtype)

    return replace(image, bands=tuple(cast(b) for b in image.bands))


def _image(value: Any) -> Img:
    return value if isinstance(value, Img) else constant(value)


def _millis(value: Any) -> float:
    if isinstance(value, Moment):
        return value.millis
    if isinstance(value, str):
        return dt.datetime.fromisoformat(value).replace(tzinfo=dt.UTC).timestamp() * 1000
    return float(value)


def pixels(image: Img, grid: dict[str, Any]) -> np.ndarray:
    """What computePixels gives: a masked pixel comes as zero, in the band's type."""
    t, size = grid["affineTransform"], grid["dimensions"]
    transform = Affine(
        t["scaleX"], t.get("shearX", 0), t["translateX"], t.get("shearY", 0), t["scaleY"], t["translateY"]
    )
    window = Window(grid.get("crsCode") or grid["crsWkt"], transform, size["height"], size["width"])
    out = np.zeros((window.height, window.width), dtype=[(b.name, b.dtype) for b in image.bands])
    for band in image.bands:
        values, mask = band.sample(window)
        out[band.name] = np.where(mask, values, 0).astype(band.dtype)
    return out
