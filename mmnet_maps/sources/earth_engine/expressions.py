"""The images and tables that are asked for, as Earth Engine expressions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

import ee
import numpy as np

from mmnet_maps.assets import Asset, AssetSource, Band, Mask
from mmnet_maps.packing import Packing

__all__ = ["collection", "day_image", "daily_means", "kept", "packed", "reduced", "sampled", "static_image"]

#: Standard deviation of the smoothing kernel, in pixels.
_SIGMA = 1.0
_INTEGER_CASTS: dict[str, Callable[[Any], Any]] = {
    "uint8": lambda image: image.toUint8(),
    "int8": lambda image: image.toInt8(),
    "uint16": lambda image: image.toUint16(),
    "int16": lambda image: image.toInt16(),
    "int32": lambda image: image.toInt32(),
    "float32": lambda image: image.toFloat(),
}


def collection(asset: Asset, start: dt.date, end: dt.date, region: ee.Geometry | None) -> ee.ImageCollection:
    """Images of the days `start` to `end`, both included, that touch the region.

    Earth Engine's own date filter leaves the end out: it is set to the day after.
    """
    images = ee.ImageCollection(asset.id).filterDate(_iso(start), _iso(end + dt.timedelta(days=1)))
    if region is not None:
        images = images.filterBounds(region)
    for need in asset.requires:
        if need.contains is not None:
            images = images.filter(ee.Filter.listContains(need.property, need.contains))
        else:
            images = images.filter(ee.Filter.eq(need.property, need.equals))
    return images


def kept(image: ee.Image, asset: Asset, names: Sequence[str] | None = None) -> ee.Image:
    """The asset's variables under catalogue names: masked, in the catalogue's unit, smoothed, in that order.

    A pixel that a mask takes away is masked, and takes no part in the smoothing of its neighbours.
    """
    if asset.terrain:
        image = ee.Terrain.products(image)
    wanted = [name for name in (names if names is not None else asset.bands) if name in asset.bands]
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name in wanted:
        band = asset.bands[name]
        masks = tuple(mask for mask in asset.masks if mask.is_for(name))
        classes = tuple(sorted(band.classes.items()))
        key = (masks, classes, band.factor, band.offset, asset.smooth.get(name, 0))
        groups.setdefault(key, []).append(name)
    parts = []
    for (masks, _, _, _, radius), members in groups.items():
        bands = [asset.bands[name] for name in members]
        part = image.select([band.name for band in bands], members)
        if bands[0].classes:
            part = _recoded(part, members, bands[0].classes)
        part = _line(_masked(part, image, masks), bands[0])
        parts.append(_smoothed(part, members, radius) if radius else part)
    return parts[0] if len(parts) == 1 else ee.Image.cat(parts).select(wanted)


def _masked(part: ee.Image, image: ee.Image, masks: Sequence[Mask]) -> ee.Image:
    for mask in masks:
        decides = image.select(mask.band)
        for bit in mask.clear_bits:
            part = part.updateMask(decides.bitwiseAnd(1 << bit).eq(0))
        if mask.above is not None:
            part = part.updateMask(decides.gt(mask.above))
        if mask.below is not None:
            part = part.updateMask(decides.lt(mask.below))
    return part


def _recoded(part: ee.Image, names: Sequence[str], classes: dict[int, int]) -> ee.Image:
    parts = [part.select([n]).remap(list(classes), list(classes.values())).rename([n]) for n in names]
    return ee.Image.cat(parts)


def _line(part: ee.Image, band: Band) -> ee.Image:
    if band.factor != 1.0:
        part = part.multiply(band.factor)
    return part.add(band.offset) if band.offset else part


def _smoothed(part: ee.Image, names: Sequence[str], radius: int) -> ee.Image:
    # A mean weighted by the kernel over the pixels that are there: a masked neighbour counts as missing and
    # never as zero, and a masked pixel stays masked.
    kernel = ee.Kernel.gaussian(radius=radius, sigma=_SIGMA, units="pixels", normalize=True)
    smooth = part.reduceNeighborhood(
        reducer=ee.Reducer.mean(), kernel=kernel, inputWeight="kernel", skipMasked=True
    )
    return smooth.rename(list(names))


def daily_means(asset: Asset, start: dt.date, end: dt.date, region: ee.Geometry | None) -> ee.ImageCollection:
    """One image a UTC day, the mean of its fields; ``system:index`` is YYYYMMDD; no day without a field."""
    images = collection(asset, start, end, region).map(
        lambda image: kept(image, asset).copyProperties(image, ["system:time_start"])
    )

    def of_day(offset: Any) -> ee.Image:
        day = ee.Date(_iso(start)).advance(offset, "day")
        fields = images.filterDate(day, day.advance(1, "day"))
        return (
            fields.mean()
            .set("system:index", day.format("YYYYMMdd"))
            .set("system:time_start", day.millis())
            .set("fields", fields.size())
        )

    days = ee.List.sequence(0, (end - start).days).map(of_day)
    return ee.ImageCollection(days).filter(ee.Filter.gt("fields", 0))


def static_image(asset: Asset, names: Sequence[str] | None = None) -> ee.Image:
    """The image of a static source or of one edition of a yearly one."""
    return kept(ee.Image(asset.id), asset, names)


def sampled(
    images: ee.ImageCollection,
    prepare: Callable[[ee.Image], ee.Image],
    stations: ee.FeatureCollection,
    source: AssetSource,
    columns: Sequence[str],
    keep: Sequence[str],
) -> ee.FeatureCollection:
    """A row for each image and station whose disc has a value, without geometry.

    Parameters
    ----------
    prepare : callable
        Makes an image with the bands `columns`.
    columns, keep : sequence of str
        Names of the values, and of the station's properties that stay.
    """

    def of_image(image: ee.Image) -> ee.FeatureCollection:
        rows = reduced(prepare(image), stations, source, columns)
        return rows.map(lambda row: row.set("scene", image.get("system:index")))

    present = [ee.Filter.notNull([name]) for name in columns]
    rows = ee.FeatureCollection(images.map(of_image)).flatten()
    some = present[0] if len(present) == 1 else ee.Filter.Or(*present)
    return rows.filter(some).select([*columns, *keep, "scene"], None, False)


def reduced(
    image: ee.Image, stations: ee.FeatureCollection, source: AssetSource, columns: Sequence[str]
) -> ee.FeatureCollection:
    """The stations with the mean (land cover: mode) of every band over their discs."""
    reducer = ee.Reducer.mode() if source.reducer == "mode" else ee.Reducer.mean()
    if len(columns) == 1:
        # An image of one band names its result after the reducer; here it keeps its name.
        reducer = reducer.setOutputs(list(columns))
    return image.reduceRegions(collection=stations, reducer=reducer, scale=source.scale, crs=source.crs)


def day_image(source: AssetSource, day: dt.date, region: ee.Geometry, names: Sequence[str]) -> ee.Image:
    """All variables on one UTC day: every pixel the mean of what that day's images have there."""
    parts = []
    for name in names:
        # A mean over no image has no band: an image that is masked everywhere stands for "nothing that day".
        nothing = ee.Image.constant(0).toDouble().updateMask(0).rename([name])
        images = ee.ImageCollection([nothing])
        for asset in source.assets:
            if name in asset.bands:
                images = images.merge(_kept_on(asset, day, region, name))
        parts.append(images.mean().rename([name]))
    return ee.Image.cat(parts)


def _kept_on(asset: Asset, day: dt.date, region: ee.Geometry, name: str) -> ee.ImageCollection:
    return collection(asset, day, day, region).map(lambda image: kept(image, asset, [name]))


def packed(image: ee.Image, packings: dict[str, Packing], rename: dict[str, str]) -> ee.Image:
    """Stored integers, masked pixels as the missing value.

    Parameters
    ----------
    image : ee.Image
        In catalogue units.
    packings : dict of str to Packing
        Storage of each band that is wanted.
    rename : dict of str to str
        Band of the result for each of them.
    """
    parts = []
    for name, packing in packings.items():
        part = image.select([name], [rename[name]])
        if packing.offset:
            part = part.subtract(packing.offset)
        if packing.scale != 1.0:
            part = part.divide(packing.scale)
        part = _within(part, packing)
        # sameFootprint=False: also where no image reaches, which would come as zero.
        part = part.unmask(packing.missing, False)
        parts.append(_INTEGER_CASTS[packing.dtype](part))
    return ee.Image.cat(parts)


def _within(part: ee.Image, packing: Packing) -> ee.Image:
    """Rounded; a value that the type cannot hold, or that would read as missing, is masked."""
    if np.dtype(packing.dtype).kind == "f" or packing.missing is None:
        return part
    limits = np.iinfo(packing.dtype)
    part = part.round()
    part = part.updateMask(part.gte(int(limits.min))).updateMask(part.lte(int(limits.max)))
    return part.updateMask(part.neq(packing.missing))


def _iso(day: dt.date) -> str:
    return day.isoformat()
