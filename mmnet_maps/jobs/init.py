"""The first file of a user: a commented cube configuration that builds as it is."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import yaml

from mmnet_maps.catalogue import Catalogue, published_catalogue
from mmnet_maps.dates import to_date
from mmnet_maps.errors import InputError, refuse_beyond
from mmnet_maps.jobs.regions import region_of, utm_of
from mmnet_maps.prepare.cube.config import CubeConfig
from mmnet_maps.presets import SOURCES, preset
from mmnet_maps.store.location import Remote, local_path, location
from mmnet_maps.store.whole import write_whole
from mmnet_maps.variables import last_year_of, normal_of

__all__ = ["init"]

#: A UTM zone serves a region up to this many degrees of longitude around its centre.
_WIDEST = 12.0


@dataclass(frozen=True)
class _Region:
    """A region as the file will name it, and its west, south, east and north."""

    keys: dict[str, Any]
    bounds: tuple[float, float, float, float]

    @property
    def utm(self) -> str:
        """EPSG code of the UTM zone of its centre."""
        return utm_of(self.bounds)


def init(
    region: str | Path | Sequence[float],
    start: str | int | dt.date,
    end: str | int | dt.date,
    door: str,
    out: str | Path,
    *,
    sources: Mapping[str, str] | None = None,
    bundle: str | Path | None = None,
    presets: str | Path | None = None,
    resolution: float = 30.0,
    mirrors: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write the configuration of a cube for daily maps of a region, ready for `cube build`.

    Parameters
    ----------
    region : str, Path or four numbers
        A GeoPackage, GeoJSON or Shapefile with its outline; or west, south, east, north in degrees, as
        numbers or as text ("-98.5,36.3,-98.3,36.5").
    start, end : str, int or date
        First and last day to map. The cube starts earlier: as far back as windows, gaps and the memory of
        soil-state channels reach.
    door : str
        Where sources come from: ``planetary``, ``earthdata``, ``earthengine``, or ``files:DIR`` and
        ``simulated:DIR`` with a folder a source in DIR.
    out : str or Path
        The YAML file.
    sources : mapping of str to str, optional
        Another door for single sources.
    bundle : str or Path, optional
        The model that is to map: only what it needs is taken, and its history and normals are seen to. By
        default the published model's inputs.
    presets : str or Path, optional
        Folder of own presets (``<door>/<source>.yaml``), which go before those of the package.
    resolution : float
        Metres a pixel.
    mirrors : mapping of str to str, optional
        Other addresses for archives over HTTP: one that begins with a key is asked at its value.

    Returns
    -------
    dict
        ``out``, ``grid``, ``start``, ``end``, ``maps`` (first and last day) and ``doors`` (by source).

    Raises
    ------
    InputError
        A region, day, door or source is not as described, or the model needs what no preset holds.

    Examples
    --------
    >>> init("-98.5,36.3,-98.3,36.5", "2020-05-16", "2020-06-14", "planetary", "cube.yaml")  # doctest: +SKIP
    """
    out, first, last = local_path(out, to_write=True), _day(start), _day(end)
    if first > last:
        raise InputError(f"--start {first} is after --end {last}")
    refuse_beyond("--resolution", resolution, 1, 100_000)
    catalogue = _catalogue(bundle)
    area = _region(region, out.parent)
    doors = _doors(door, sources or {}, catalogue)
    own = None if presets is None else local_path(presets)
    if own is not None and not own.is_dir():
        raise InputError(f"--presets {own}: no such folder")
    back, why = _history(catalogue)
    begin = first - dt.timedelta(days=back)
    normals = _normals(catalogue)
    texts = {name: _source_text(name, *doors[name], area, out.parent, own) for name in doors}
    lines = [
        f"# Inputs of daily soil-moisture maps, {first} to {last}. Paths start from this file.",
        f"# Look first: mmnet-maps cube check {out.name}",
        f"# Then build: mmnet-maps cube build --config {out.name} --out cube.zarr",
        f"region: {_flow(area.keys)}",
        f"grid: {{crs: {area.utm}, resolution: {resolution:g}}}    # the UTM zone of the region's centre",
        f"maps: [{first}, {last}]    # days to map",
        f"start: {begin}    # {back} days earlier: {why}",
        f"end: {last}    # a later day would fill gaps near the end from both sides",
        *([f"normals: {_flow(normals)}    # climate normals that the model takes"] if normals else []),
        *_mirrors(mirrors or {}),
        *_blocks(texts, doors),
    ]
    text = "\n".join(lines) + "\n"
    _refuse_unbuildable(text, catalogue, out)
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: the folder {out.parent} does not exist")
    write_whole(out, text)
    return {
        "out": str(out),
        "grid": {"crs": area.utm, "resolution": resolution},
        "start": begin.isoformat(),
        "end": last.isoformat(),
        "maps": [first.isoformat(), last.isoformat()],
        "doors": {name: ":".join(filter(None, where)) for name, where in doors.items()},
    }


def _day(value: str | int | dt.date) -> dt.date:
    return value if isinstance(value, dt.date) else to_date(value)


def _catalogue(bundle: str | Path | None) -> Catalogue:
    if bundle is None:
        return published_catalogue()
    from mmnet_maps.learn.bundle import load_bundle

    return load_bundle(location(bundle)).catalogue


def _region(region: str | Path | Sequence[float], folder: Path) -> _Region:
    found = _Region(*region_of(region, folder))
    wide = found.bounds[2] - found.bounds[0]
    if wide > _WIDEST:
        raise InputError(
            f"--region {region}: {wide:.1f} degrees wide, too wide for one UTM zone; "
            f"expected at most {_WIDEST:g}: map it in parts, or write `grid:` yourself"
        )
    return found


def _doors(door: str, others: Mapping[str, str], catalogue: Catalogue) -> dict[str, tuple[str, str]]:
    """(door, folder) of every source that the model needs."""
    for name in others:
        if name not in SOURCES:
            raise InputError(f"--source {name}: not a source; known are {', '.join(SOURCES)}")
    needed = {catalogue[name].source for name in catalogue.required}
    return {name: _door(others.get(name, door)) for name in SOURCES if name in needed}


def _door(text: str) -> tuple[str, str]:
    name, _, folder = re.sub(r"[\s=:]+", " ", text.strip(), count=1).partition(" ")
    if name in ("files", "simulated") and not folder:
        raise InputError(f"door {name}: expected {name}:DIR, the folder that holds a folder a source")
    return name, folder


def _history(catalogue: Catalogue) -> tuple[int, str]:
    """Days before the first mapped day that the cube must reach back, and which variable wants them."""
    reach = {
        v.name: catalogue.reach(v.name) + (v.max_gap or 0)
        for v in (catalogue[name] for name in catalogue.required)
        if v.cadence in ("daily", "irregular")
    }
    most = max(reach, key=lambda name: reach[name])
    window, gap = catalogue.reach(most), catalogue[most].max_gap or 0
    parts = [f"is looked at {window} days back"] if window else []
    parts += [f"may have gaps of {gap} days"] if gap else []
    return reach[most], f"{most} {' and '.join(parts)}"


def _normals(catalogue: Catalogue) -> dict[str, Any]:
    made = {normal_of(v).name for v in catalogue.variables if v.cadence == "daily"}
    used = [name for name in catalogue.required if name in made]
    years = sorted({year for name in used if (year := last_year_of(catalogue[name]))})
    if not used:
        return {}
    if len(years) != 1:
        raise InputError(
            f"the bundle's normals are of the years to {years or 'unknown'}; expected one last year"
        )
    return {"until": years[0], "since": years[0] - 9, "variables": [n.removesuffix("_normal") for n in used]}


def _source_text(name: str, door: str, folder: str, area: _Region, base: Path, own: Path | None) -> str:
    given = "" if not folder else _named(door, folder, base)
    return Template(preset(door, name, own)).safe_substitute(folder=given, utm=area.utm)


def _named(door: str, folder: str, base: Path) -> str:
    """A folder of files as the configuration names it; one that is not there yet may come later."""
    found = location(folder)
    if isinstance(found, Remote):
        return str(found)
    try:
        found.stat()
        if not found.is_dir():
            raise InputError(f"door {door}:{folder}: is a file, expected a folder")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise InputError(f"door {door}:{folder}: cannot be looked at: {error.strerror}") from None
    return os.path.relpath(found, base)


def _mirrors(mirrors: Mapping[str, str]) -> Iterator[str]:
    for address, mirror in mirrors.items():
        if not all(text.startswith(("http://", "https://")) for text in (address, mirror)):
            raise InputError(f"--mirror {address}={mirror}: expected two addresses, ADDRESS=MIRROR")
    if mirrors:
        yield "http:"
        yield "  mirrors:    # what begins so is asked there"
        yield from (f"    {_flow(dict([pair])).strip('{}')}" for pair in mirrors.items())


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=200).strip()


def _blocks(texts: Mapping[str, str], doors: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    """The parts ``sources:`` and ``earthengine:``, each preset with its comments."""
    direct = [name for name in texts if doors[name][0] != "earthengine"]
    theirs = [name for name in texts if doors[name][0] == "earthengine"]
    if direct:
        yield "sources:"
        for name in direct:
            yield f"  {name}:"
            yield from (f"    {line}".rstrip() for line in texts[name].splitlines())
    if theirs:
        yield "earthengine:"
        yield "  # project: my-project       # or EARTHENGINE_PROJECT in the environment"
        yield f"  without: [{', '.join(name for name in SOURCES if name not in theirs)}]"
        yield "  sources:"
        for name in theirs:
            yield f"    {name}:"
            yield from (f"      {line}".rstrip() for line in texts[name].splitlines())


def _refuse_unbuildable(text: str, catalogue: Catalogue, out: Path) -> None:
    """`InputError` if the presets make no configuration, or lack what the model needs."""
    data = yaml.safe_load(text)
    held: set[str] = set()
    if "earthengine" in data:
        from mmnet_maps.jobs.earth_engine_config import EarthEngineCubeConfig

        found = EarthEngineCubeConfig.from_mapping(data, str(out))
        held |= {v for source in found.earthengine.sources.values() for v in source.variables}
        config: CubeConfig = found
    else:
        config = CubeConfig.from_mapping(data, str(out))
    held |= {name for source in config.sources.values() for name in source.variables}
    if config.normals is not None:
        held |= {f"{name}_normal" for name in config.normals.variables or ()}
    lacking = [name for name in catalogue.required if name not in held]
    if lacking:
        raise InputError(
            f"the model needs {', '.join(lacking)}, which none of these presets holds: add a source"
        )
