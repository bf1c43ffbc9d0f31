"""Who made the data that maps are made from, and under which terms they may be used.

The table holds the collections that the presets and the Earth Engine assets name. A collection that is not
in it is listed by its name alone: its terms are for the user to look up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import pystac

__all__ = ["ORIGINS", "Origin", "origin_of", "source_links", "source_providers", "terms_text"]


class Origin(NamedTuple):
    """A provider of input data and its terms.

    Attributes
    ----------
    words : tuple of str
        Words that all stand in the name of a collection of it.
    provider, url : str
    terms : str
        In words or as SPDX identifier.
    terms_url : str
    """

    words: tuple[str, ...]
    provider: str
    url: str
    terms: str
    terms_url: str


_NASA = "open, without restriction; cite the data set"
_LP = ("NASA LP DAAC", "https://lpdaac.usgs.gov")
_LP_TERMS = "https://lpdaac.usgs.gov/data/data-citation-and-policies/"
_PUBLIC = "public domain"
_SENTINEL = "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice"

ORIGINS = (
    Origin(("HLSL30",), *_LP, _NASA, _LP_TERMS),
    Origin(("HLSS30",), *_LP, f"{_NASA}; contains modified Copernicus Sentinel data", _LP_TERMS),
    Origin(("MOD11A1",), *_LP, _NASA, _LP_TERMS),
    Origin(
        ("SPL4SMGP",),
        "NASA NSIDC DAAC",
        "https://nsidc.org/data/spl4smgp",
        _NASA,
        "https://nsidc.org/about/data-use-and-copyright",
    ),
    Origin(
        ("OPERA", "RTC"),
        "NASA ASF DAAC",
        "https://asf.alaska.edu",
        f"{_NASA}; contains modified Copernicus Sentinel data",
        _SENTINEL,
    ),
    Origin(
        ("SENTINEL", "RTC"),
        "Microsoft Planetary Computer",
        "https://planetarycomputer.microsoft.com/dataset/sentinel-1-rtc",
        "CC-BY-4.0",
        "https://creativecommons.org/licenses/by/4.0/",
    ),
    Origin(
        ("COPERNICUS", "S1"),
        "European Union, ESA, Copernicus",
        "https://sentinels.copernicus.eu",
        "free, full and open; contains modified Copernicus Sentinel data",
        _SENTINEL,
    ),
    Origin(
        ("GRIDMET",), "Climatology Lab", "https://www.climatologylab.org/gridmet.html", _PUBLIC,
        "https://creativecommons.org/publicdomain/mark/1.0/",
    ),
    Origin(
        ("NLCD",), "U.S. Geological Survey, MRLC", "https://www.mrlc.gov", _PUBLIC,
        "https://www.usgs.gov/information-policies-and-instructions/copyrights-and-credits",
    ),
    Origin(
        ("3DEP",), "U.S. Geological Survey", "https://www.usgs.gov/3d-elevation-program", _PUBLIC,
        "https://www.usgs.gov/information-policies-and-instructions/copyrights-and-credits",
    ),
    Origin(
        ("POLARIS",),
        "Duke University, POLARIS",
        "http://hydrology.cee.duke.edu/POLARIS/",
        "CC-BY-NC-4.0: no commercial use",
        "https://creativecommons.org/licenses/by-nc/4.0/",
    ),
)  # fmt: skip


def origin_of(collection: str) -> Origin | None:
    """The origin of a collection; None for one that is not in the table.

    Examples
    --------
    >>> origin_of("projects/sat-io/open-datasets/polaris/clay_mean").terms
    'CC-BY-NC-4.0: no commercial use'
    """
    words = set(re.findall(r"[A-Z0-9]+", collection.upper()))
    return next((origin for origin in ORIGINS if words >= set(origin.words)), None)


def _parts(collections: Iterable[str]) -> list[tuple[str, Origin | None]]:
    """Every single collection, with its origin; a source may be made of several."""
    names = dict.fromkeys(name.strip() for text in collections for name in re.split(r" \+ ", text))
    return [(name, origin_of(name)) for name in sorted(names) if name]


def terms_text(collections: Iterable[str]) -> str:
    """A sentence with every collection and its terms; empty without collections."""
    found = [
        f"{name} ({origin.terms if origin else 'terms not known'})" for name, origin in _parts(collections)
    ]
    return f"Made from {'; '.join(found)}." if found else ""


def source_providers(collections: Iterable[str]) -> list[pystac.Provider]:
    """Providers of the input data, each once."""
    found: dict[str, list[str]] = {}
    origins: dict[str, Origin] = {}
    for name, origin in _parts(collections):
        if origin is not None:
            found.setdefault(origin.provider, []).append(name)
            origins[origin.provider] = origin
    roles = [pystac.ProviderRole.PRODUCER, pystac.ProviderRole.LICENSOR]
    return [
        pystac.Provider(provider, f"input data: {', '.join(names)}", roles, origins[provider].url)
        for provider, names in found.items()
    ]


def source_links(collections: Iterable[str]) -> list[pystac.Link]:
    """A link ``license`` to the terms of every collection that is known."""
    return [
        pystac.Link("license", origin.terms_url, "text/html", f"{name}: {origin.terms}")
        for name, origin in _parts(collections)
        if origin is not None
    ]
