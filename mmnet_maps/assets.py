"""Where Earth Engine keeps every variable: collections, bands, masks, pixel sizes, storage.

What the published method takes stands in the presets, a YAML file a source. SMAP is the version that goes on
(008); what was published used 007, which ended in June 2025. A configuration replaces any of it, a
source at a time, so that another collection can stand in (Daymet, ERA5-Land, another land cover) or beside
(HLSS30 with HLSL30).
"""

from __future__ import annotations

from typing import Any, Literal, Self

import yaml
from pydantic import Field, field_validator, model_validator

from mmnet_maps.config import Config
from mmnet_maps.packing import Packing
from mmnet_maps.presets import SOURCES, preset

__all__ = ["ASSETS", "Asset", "AssetSource", "Band", "Mask", "Requirement"]

Times = Literal["daily", "means", "scenes", "yearly", "static"]


class Band(Config):
    """A band and the line from its values to the catalogue's unit: value = band x factor + offset.

    Attributes
    ----------
    name : str
        Name of the band.
    factor : float
        What a value is multiplied by.
    offset : float
        What is added after that.
    classes : dict of int to int
        For codes: the catalogue's code of each of the band's; a code that is not listed is missing.
    """

    name: str
    factor: float = 1.0
    offset: float = 0.0
    classes: dict[int, int] = Field(default_factory=dict)


class Mask(Config):
    """Which pixels are kept; all others are missing.

    Attributes
    ----------
    band : str
        Band of the collection that decides.
    clear_bits : tuple of int
        Keep where these bits of the band are all 0.
    above, below : float, optional
        Keep where the band lies strictly between them.
    variables : tuple of str
        Variables that the mask is for; empty for all of the asset.
    """

    band: str
    clear_bits: tuple[int, ...] = ()
    above: float | None = None
    below: float | None = None
    variables: tuple[str, ...] = ()

    def is_for(self, name: str) -> bool:
        """Whether the variable of that name is masked by it."""
        return not self.variables or name in self.variables


class Requirement(Config):
    """A property that an image must have: equal to a value, or a list that contains one.

    Attributes
    ----------
    property : str
        Name of the property.
    equals : str or float, optional
        The value that it must have.
    contains : str, optional
        What it must contain, if it is a list.
    """

    property: str
    equals: str | float | None = None
    contains: str | None = None


class Asset(Config):
    """One collection (or, for yearly and static sources, one image) and what is taken from it.

    Attributes
    ----------
    id : str
        Earth Engine id.
    bands : dict of str to Band
        Band of each catalogue variable; a plain string is a band already in the catalogue's unit.
    masks : tuple of Mask
    requires : tuple of Requirement
        Properties of the images that are used.
    smooth : dict of str to int
        Radius in pixels of the Gaussian kernel that a variable is smoothed with, after its masks.
    also : tuple of str
        Further bands that station tables carry, under their own names.
    terrain : bool
        The image is an elevation; slope, aspect and hillshade are computed from it.
    year : int, optional
        For yearly sources: the edition. It serves the years that it is nearest to, of two equally near the
        later, as `mmnet_maps.prepare.features.nearest_release` has it.
    """

    id: str
    bands: dict[str, Band]
    masks: tuple[Mask, ...] = ()
    requires: tuple[Requirement, ...] = ()
    smooth: dict[str, int] = Field(default_factory=dict)
    also: tuple[str, ...] = ()
    terrain: bool = False
    year: int | None = None

    @field_validator("bands", mode="before")
    @classmethod
    def _plain_bands(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {k: {"name": v} if isinstance(v, str) else v for k, v in value.items()}


class AssetSource(Config):
    """One source of the catalogue as Earth Engine gives it.

    Attributes
    ----------
    times : {"daily", "means", "scenes", "yearly", "static"}
        An image a day; several fields a day, of which the mean of the UTC day is taken; scenes on irregular
        days, mosaicked by day in a cube; an edition for some years; one image for all time.
    assets : tuple of Asset
        Collections whose images stand beside each other.
    scale : float
        Pixel size, in metres, at which the disc around a station is sampled.
    crs : str, optional
        CRS of that sampling; by default each image's own.
    reducer : {"mean", "mode"}
        What is taken of the pixels in the disc.
    pixel : float, optional
        Pixel size, in metres, of the cube's grid in the region's UTM zone; without one the grid is the
        asset's own.
    packings : dict of str to Packing
        How a cube stores each variable; the missing value must be given.
    """

    times: Times
    assets: tuple[Asset, ...]
    scale: float = 30.0
    crs: str | None = None
    reducer: Literal["mean", "mode"] = "mean"
    pixel: float | None = None
    packings: dict[str, Packing] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name in self.variables:
            if name in self.packings and self.packings[name].missing is None:
                raise ValueError(f"packing of {name} has no missing value; masked pixels need one")
        if self.times == "yearly" and any(asset.year is None for asset in self.assets):
            raise ValueError("every asset of a yearly source needs a year")
        years = [asset.year for asset in self.assets]
        if self.times == "yearly" and len(set(years)) < len(years):
            raise ValueError(f"two assets of a yearly source have the same year; found {years}")
        return self

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of all variables that its assets give, each once."""
        return tuple(dict.fromkeys(name for asset in self.assets for name in asset.bands))

    def collection_of(self, name: str) -> str:
        """Where a variable comes from: the ids of its assets, in one text."""
        return " + ".join(asset.id for asset in self.assets if name in asset.bands)


#: Every source of the published method, with the masks of its exports: presets of the door ``earthengine``.
ASSETS: dict[str, AssetSource] = {
    name: AssetSource.from_mapping(yaml.safe_load(preset("earthengine", name)), f"preset earthengine/{name}")
    for name in SOURCES
}
