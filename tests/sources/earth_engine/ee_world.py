"""A small world that the stand-in server holds: images of known arrays, each on its own grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from affine import Affine
from pyproj import Transformer
from shapely import transform
from shapely.geometry import box

SINUSOIDAL = "+proj=sinu +R=6371007.181 +nadgrids=@null +wktext +units=m"
#: What Earth Engine calls it; pyproj does not know the name.
KNOWN_CRS = {"SR-ORG:6974": SINUSOIDAL}


def proj_crs(crs: str) -> str:
    return KNOWN_CRS.get(crs, crs)


@lru_cache
def to(source: str, target: str) -> Transformer:
    return Transformer.from_crs(proj_crs(source), proj_crs(target), always_xy=True)


@dataclass
class Scene:
    """One image asset: bands of one grid; a NaN is a masked pixel."""

    index: str
    crs: str
    transform: Affine
    bands: dict[str, np.ndarray]
    time: int = 0
    properties: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def footprint(self):
        height, width = next(iter(self.bands.values())).shape
        left, top = self.transform @ (0, 0)
        right, bottom = self.transform @ (width, height)
        outline = box(min(left, right), min(top, bottom), max(left, right), max(top, bottom)).segmentize(
            max(abs(right - left), abs(top - bottom)) / 16
        )
        return transform(outline, to(self.crs, "EPSG:4326").transform, interleaved=False)


#: Asset id -> a list of scenes (a collection) or one scene (an image).
World = dict[str, "list[Scene] | Scene"]


def lookup(world: World, asset: str) -> list[Scene] | Scene:
    if asset in world:
        return world[asset]
    parent, _, index = asset.rpartition("/")
    for scene in world.get(parent, []) if isinstance(world.get(parent), list) else []:
        if scene.index == index:
            return scene
    raise KeyError(asset)
