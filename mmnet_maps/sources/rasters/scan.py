"""Look through the files of a source, and refuse what does not fit together before a value is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.source_reader import MaskConfig, SourceConfig, VariableConfig, defined
from mmnet_maps.sources.rasters.files import Found, find_files, reader_of
from mmnet_maps.sources.rasters.formats import Band, Format, Header, Wanted
from mmnet_maps.sources.rasters.granules import Piece
from mmnet_maps.sources.rasters.reader import MASK, RasterSource
from mmnet_maps.variables import Cadence

__all__ = ["open_source"]

#: `QC_Day` of MOD11A1: keep where bits 1 and 3 are 0.
_QC_DAY = MaskConfig(band="QC_Day", clear_bits=(1, 3))


@dataclass
class _File:
    """A file and what is wanted of it."""

    found: Found
    wanted: dict[str, Wanted] = field(default_factory=dict)


def open_source(name: str, config: SourceConfig, base: Path, target: Grid | None = None) -> RasterSource:
    """Open raster files as a source; headers are read, values are not.

    Parameters
    ----------
    name : str
        Name of the source.
    config : SourceConfig
    base : Path
        Folder that relative paths start from.
    target : Grid, optional
        Target grid, needed for `SourceConfig.regrid` alone.

    Raises
    ------
    InputError
        Files are missing or do not fit together; the message names the file or the key.
    """
    definitions = {
        v: defined(v, keys, name, config.cadence).model_copy(update={"collection": config.collection or ""})
        for v, keys in config.variables.items()
    }
    cadence = config.cadence or next(iter(definitions.values())).cadence
    files = _files_of_variables(name, config, base, cadence)
    kind = _format_name(name, config, files)
    if kind == "mod11a1" and config.mask is None:
        config = config.model_copy(update={"mask": _QC_DAY})
    form = _format(kind, config, target)
    if config.mask is not None and config.mask.file is None:
        for file in files.values():
            file.wanted[MASK] = config.mask.band
    headers = {path: form.header(path, file.wanted, config.crs) for path, file in files.items()}
    grid, offsets = _common_grid(headers)
    pieces = []
    for path, file in files.items():
        _refuse_shared_bands(path, headers[path])
        days = _days(path, file.found, headers[path], cadence)
        pieces.append(_piece(file.found, headers[path], days, offsets[path], grid))
    packings = {v: _packing(v, keys, name, pieces) for v, keys in config.variables.items()}
    flags = _flags_of_scenes(name, config, base, cadence, form, grid, pieces)
    none = np.array([], dtype=np.int64)
    days = none if cadence == "static" else np.unique(np.concatenate([p.days for p in pieces]))
    return RasterSource(name, grid, packings, definitions, cadence, days, config, form, tuple(pieces), flags)


def _files_of_variables(name: str, config: SourceConfig, base: Path, cadence: Cadence) -> dict[Path, _File]:
    files: dict[Path, _File] = {}
    for variable, keys in config.variables.items():
        places, pattern = keys.path or config.path, keys.pattern or config.pattern
        where = f"sources.{name}"
        if not places:
            raise InputError(f"{where}.variables.{variable}: no path, here or for the source; expected one")
        token = keys.file or variable
        for found in find_files(config, places, pattern, token, base, where, dated=cadence != "static"):
            files.setdefault(found.path, _File(found)).wanted[variable] = keys.band
    return files


def _format_name(name: str, config: SourceConfig, files: dict[Path, _File]) -> str:
    if config.reader != "auto":
        return config.reader
    kinds = {reader_of(path): path for path in files}
    if len(kinds) > 1:
        listed = ", ".join(f"{path.name} ({kind})" for kind, path in kinds.items())
        raise InputError(f"sources.{name}: files of several formats: {listed}; give `pattern:` or `reader:`")
    return next(iter(kinds))


def _format(kind: str, config: SourceConfig, target: Grid | None) -> Format:
    if kind == "geotiff":
        from mmnet_maps.sources.rasters.geotiff import GeoTiff

        return GeoTiff(target, config.regrid)
    if config.regrid is not None:
        raise InputError(f"regrid: {config.regrid} works for GeoTIFFs, not for {kind}; leave it out")
    if kind == "netcdf":
        from mmnet_maps.sources.rasters.netcdf import NetCdf

        return NetCdf()
    if kind == "hdf5":
        from mmnet_maps.sources.rasters.hdf5 import Hdf5

        return Hdf5()
    from mmnet_maps.sources.rasters.mod11a1 import Mod11a1

    return Mod11a1()


def _common_grid(headers: dict[Path, Header]) -> tuple[Grid, dict[Path, tuple[int, int]]]:
    """The grid over all files, and the (row, column) of each in it."""
    first, reference = next(iter((path, header.grid) for path, header in headers.items()))
    places = {}
    for path, header in headers.items():
        offset = header.grid.aligned_offset(reference)
        if offset is None:
            raise InputError(
                f"{path}: {_describe(header.grid)} does not fit {first.name}, {_describe(reference)}; "
                "expected one CRS and one grid of pixels in a source: make it a source of its own, or regrid"
            )
        places[path] = offset
    top, left = (min(place[k] for place in places.values()) for k in (0, 1))
    bottom = max(places[path][0] + header.grid.height for path, header in headers.items())
    right = max(places[path][1] + header.grid.width for path, header in headers.items())
    a, b, c, d, e, f = reference.transform
    grid = Grid(reference.crs, (a, b, c + a * left, d, e, f + e * top), bottom - top, right - left)
    return grid, {path: (row - top, col - left) for path, (row, col) in places.items()}


def _describe(grid: Grid) -> str:
    a, _, c, _, e, f = grid.transform
    return f"{grid.crs[:40]} with pixels {a:g} x {e:g} from ({c:g}, {f:g})"


def _refuse_shared_bands(path: Path, header: Header) -> None:
    seen: dict[str | int, str] = {}
    for variable, band in header.bands.items():
        if band.key in seen:
            raise InputError(
                f"{path}: {seen[band.key]} and {variable} are both its band {band.key}; "
                "give `pattern:` with {variable}, or `band:`"
            )
        seen[band.key] = variable


def _days(path: Path, found: Found, header: Header, cadence: Cadence) -> NDArray[np.int64]:
    """Days of the fields of a file: what it says itself, else its name or the configuration."""
    if cadence == "static":
        return np.zeros(1, dtype=np.int64)
    days = header.days
    if days is None:
        if found.day is None:
            raise InputError(
                f"{path}: no date in its name; give `pattern:` with (?P<date>...), `date:`, or "
                "`cadence: static`"
            )
        days = np.array([found.day], dtype=np.int64)
    if days.size == 0 or (np.diff(days) < 0).any():
        raise InputError(f"{path}: its days are not in order; expected at least one day, increasing")
    if days[0] < -7305 or days[-1] > 47846:
        span = " to ".join(str(np.datetime64(int(d), "D")) for d in days[[0, -1]])
        raise InputError(f"{path}: its days, {span}, are out of range; expected 1950 to 2100")
    if cadence == "yearly":
        years = days.astype("datetime64[D]").astype("datetime64[Y]")
        days = years.astype("datetime64[D]").astype(np.int64)
    return days


def _piece(
    found: Found, header: Header, days: NDArray[np.int64], place: tuple[int, int], grid: Grid
) -> Piece:
    bands = {name: band for name, band in header.bands.items() if name != MASK}
    flags, stat = header.bands.get(MASK), found.path.stat()
    if flags is not None and np.dtype(flags.dtype).kind not in "iu":
        raise InputError(
            f"{found.path}: mask band {flags.key} is {flags.dtype}; expected integers with bit flags"
        )
    size = header.grid.shape
    stamp = f"{found.path.name} {stat.st_size} {stat.st_mtime_ns}"
    return Piece(found.path, found.key, bands, flags, days, *place, *size, stamp)


def _packing(variable: str, keys: VariableConfig, source: str, pieces: list[Piece]) -> Packing:
    """One storage for all files of a variable."""
    first: tuple[Path, Band] | None = None
    for piece in pieces:
        band = piece.bands.get(variable)
        if band is None:
            continue
        if first is None:
            first = piece.path, band
        one, other = (_storage(b, keys) for b in (first[1], band))
        if one != other:
            raise InputError(
                f"{piece.path}: {variable} is stored as {other.model_dump()}, in {first[0].name} as "
                f"{one.model_dump()}; expected one storage in a source"
            )
    assert first is not None
    packing = _storage(first[1], keys)
    if packing.missing is None and np.dtype(packing.dtype).kind != "f":
        raise InputError(
            f"{first[0]}: {variable} is {packing.dtype} without a nodata value; "
            f"say which stored value is missing: sources.{source}.variables.{variable}.missing"
        )
    return packing


def _storage(band: Band, keys: VariableConfig) -> Packing:
    return Packing(
        dtype=band.dtype,
        scale=band.scale if keys.scale is None else keys.scale,
        offset=band.offset if keys.offset is None else keys.offset,
        missing=band.missing if keys.missing is None else keys.missing,
    )


def _flags_of_scenes(
    name: str,
    config: SourceConfig,
    base: Path,
    cadence: Cadence,
    form: Format,
    grid: Grid,
    pieces: list[Piece],
) -> dict[str, Piece]:
    """Flags in files of their own, by scene; every scene must have them on its own pixels."""
    if config.mask is None or config.mask.file is None:
        return {}
    where = f"sources.{name}.mask"
    if config.path is None or config.pattern is None or "{variable}" not in config.pattern:
        raise InputError(f"{where}.file: needs path and a pattern with {{variable}} for the source")
    flags = {}
    dated = cadence != "static"
    for found in find_files(config, config.path, config.pattern, config.mask.file, base, where, dated):
        header = form.header(found.path, {MASK: config.mask.band}, config.crs)
        place = header.grid.aligned_offset(grid)
        if place is None:
            raise InputError(
                f"{found.path}: {_describe(header.grid)} does not fit {_describe(grid)} of its source"
            )
        flags[found.key] = _piece(found, header, _days(found.path, found, header, cadence), place, grid)
    for piece in pieces:
        mask = flags.get(piece.key)
        if mask is None:
            raise InputError(
                f"{piece.path}: no file with flags ({config.mask.file}) beside it; expected one a scene"
            )
        if (mask.row, mask.col, mask.height, mask.width) != (piece.row, piece.col, piece.height, piece.width):
            raise InputError(f"{mask.path}: does not cover the same pixels as {piece.path.name}")
    return flags
