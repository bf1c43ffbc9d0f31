"""Look through the files of a source, and refuse what does not fit together before a value is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid, Tile
from mmnet_maps.packing import Packing
from mmnet_maps.source_reader import MaskConfig, SourceConfig, VariableConfig, defined
from mmnet_maps.sources.rasters.files import Found, find_files, reader_of, refuse_other_band
from mmnet_maps.sources.rasters.formats import Files, Format, Header, Wanted
from mmnet_maps.sources.rasters.granules import Piece
from mmnet_maps.sources.rasters.lattice import TOLERANCE, Part, common_grid, on_target
from mmnet_maps.sources.rasters.reader import MASK, RasterSource
from mmnet_maps.sources.rasters.storage import common_storage, same_storage, storage_of, without_scale
from mmnet_maps.sources.rasters.transforms import LEVEL
from mmnet_maps.sources.rasters.warp import refuse_unsuitable
from mmnet_maps.store.location import Location
from mmnet_maps.variables import Cadence, Variable

__all__ = ["definitions_of", "open_source"]

#: `QC_Day` of MOD11A1: keep where bits 1 and 3 are 0.
_QC_DAY = MaskConfig(band="QC_Day", clear_bits=(1, 3))


@dataclass
class _File:
    """A file and what is wanted of it."""

    found: Found
    wanted: dict[str, Wanted] = field(default_factory=dict)


def open_source(
    name: str, config: SourceConfig, base: Path, target: Grid | None = None, files: Files | None = None
) -> RasterSource:
    """Open raster files as a source; headers are read, values are not.

    Parameters
    ----------
    name : str
        Name of the source.
    config : SourceConfig
    base : Path
        Folder that relative paths start from.
    target : Grid, optional
        Target grid: where `SourceConfig.regrid` brings files to, and what decides the zone and the seam of
        files in several.
    files : Files, optional
        Where files come from if not from folders.

    Raises
    ------
    InputError
        Files are missing or do not fit together; the message names the file or the key.
    """
    definitions = definitions_of(name, config)
    origin = files or Files()
    cadence = config.cadence or next(iter(definitions.values())).cadence
    if config.regrid is not None:
        if target is None:
            raise InputError("regrid needs the target grid; leave it out, or build from a cube configuration")
        for v, variable in definitions.items():
            refuse_unsuitable(f"sources.{name}.variables.{v}", config.regrid, variable.measure)
    wanted = _files_of_variables(name, config, base, cadence, origin)
    kind = _format_name(name, config, wanted)
    if kind == "mod11a1" and config.mask is None:
        config = config.model_copy(update={"mask": _QC_DAY})
    form = _format(kind, origin)
    if config.mask is not None and config.mask.file is None:
        for file in wanted.values():
            file.wanted[MASK] = config.mask.band
    headers = {path: form.header(path, file.wanted, config.crs) for path, file in wanted.items()}
    grids = {path: header.grid for path, header in headers.items()}
    if config.regrid is not None and target is not None:
        grid, parts = target, on_target(grids, target, f"source {name}")
    else:
        grid, parts = common_grid(grids, target)
    storage, packings = _storage(
        headers, config.variables, definitions, f"sources.{name}", _crowded(headers, wanted)
    )
    pieces: list[Piece] = []
    for path, found in parts.items():
        _refuse_shared_bands(path, headers[path])
        each = wanted[path].found
        days = _days(path, each, headers[path], cadence)
        pieces += [_piece(each, headers[path], days, part, storage[path], origin) for part in found]
    notes = [
        *_incomplete_days(name, pieces, headers),
        *without_scale(name, packings, definitions, config.variables),
    ]
    if cadence in ("static", "yearly"):
        notes += _same_pixels(name, pieces, headers)
    flags = _flags_of_scenes(name, config, base, cadence, form, headers, pieces, origin)
    none = np.array([], dtype=np.int64)
    days = none if cadence == "static" else np.unique(np.concatenate([p.days for p in pieces]))
    return RasterSource(
        name,
        grid,
        packings,
        definitions,
        cadence,
        days,
        config,
        form,
        tuple(pieces),
        flags,
        tuple(notes),
        origin,
    )


def definitions_of(name: str, config: SourceConfig) -> dict[str, Variable]:
    """Meaning of every variable of a source, with the collection that it comes from."""
    collection = {"collection": config.collection or ""}
    return {
        v: defined(v, keys, name, config.cadence).model_copy(update=collection)
        for v, keys in config.variables.items()
    }


def _files_of_variables(
    name: str, config: SourceConfig, base: Path, cadence: Cadence, origin: Files
) -> dict[Location, _File]:
    files: dict[Location, _File] = {}
    lacking: dict[str | None, list[Callable[[], list[Found]] | None]] = {}
    for variable, keys in config.variables.items():
        listed = origin.find(variable)
        if listed is not None:
            for found in listed:
                files.setdefault(found.path, _File(found)).wanted[variable] = keys.band
            continue
        paths, pattern = keys.path or config.path, keys.pattern or config.pattern
        where = f"sources.{name}"
        if not paths:
            raise InputError(f"{where}.variables.{variable}: no path, here or for the source; expected one")
        for collection, token in _tokens(config, variable, keys, where):
            find = partial(
                find_files, config, paths, pattern, token, base, where, cadence != "static",
                collection=collection, yearly=cadence == "yearly",
            )  # fmt: skip
            several = collection is not None and len(config.collections) > 1
            each = find(may_lack=several)
            lacking.setdefault(collection, []).append(None if each else find)
            for found in each:
                refuse_other_band(found.path, variable)
                files.setdefault(found.path, _File(found)).wanted[variable] = keys.band
    # A folder of Landsat alone has no S30; but a collection that is there has all of its variables.
    for finds in lacking.values():
        gone = [find for find in finds if find is not None]
        if gone and (len(gone) < len(finds) or not files):
            gone[0]()
    return files


def _tokens(
    config: SourceConfig, variable: str, keys: VariableConfig, where: str
) -> Iterator[tuple[str | None, str]]:
    """Collections that hold a variable, and what ``{variable}`` in the pattern stands for in each."""
    if not config.collections:
        yield None, keys.file or variable
        return
    held = {c: names[variable] for c, names in config.collections.items() if variable in names}
    if not held:
        raise InputError(f"{where}.collections: none has {variable}; found {', '.join(config.collections)}")
    yield from held.items()


def _format_name(name: str, config: SourceConfig, files: dict[Location, _File]) -> str:
    if config.reader != "auto":
        return config.reader
    kinds = {reader_of(path): path for path in files}
    if len(kinds) > 1:
        listed = ", ".join(f"{path.name} ({kind})" for kind, path in kinds.items())
        raise InputError(f"sources.{name}: files of several formats: {listed}; give `pattern:` or `reader:`")
    return next(iter(kinds))


def _format(kind: str, files: Files) -> Format:
    if kind == "geotiff":
        from mmnet_maps.sources.rasters.geotiff import GeoTiff

        return GeoTiff(files)
    if kind == "netcdf":
        from mmnet_maps.sources.rasters.netcdf import NetCdf

        return NetCdf(files)
    if kind == "hdf5":
        from mmnet_maps.sources.rasters.hdf5 import Hdf5

        return Hdf5(files)
    from mmnet_maps.sources.rasters.mod11a1 import Mod11a1

    return Mod11a1(files)


def _storage(
    headers: Mapping[Location, Header],
    variables: Mapping[str, VariableConfig],
    definitions: Mapping[str, Variable],
    where: str,
    crowded: Set[Location],
) -> tuple[dict[Location, dict[str, Packing]], dict[str, Packing]]:
    """How each file stores each variable, and how the source does."""
    storage: dict[Location, dict[str, Packing]] = {path: {} for path in headers}
    packings = {}
    for name, keys in variables.items():
        key = f"{where}.variables.{name}"
        meaning = definitions[name]
        if keys.decibel:
            meaning = meaning.model_copy(update={"unit": "1"})  # what the file holds is power
        stored = {
            path: storage_of(path, header.bands[name], keys, meaning, key, path not in crowded)
            for path, header in headers.items()
            if name in header.bands
        }
        packings[name] = LEVEL if keys.decibel else common_storage(stored)
        for path, own in stored.items():
            storage[path][name] = packings[name] if same_storage(own, packings[name]) else own
    return storage, packings


def _crowded(headers: Mapping[Location, Header], files: Mapping[Location, _File]) -> Set[Location]:
    """Files with several fields of one day, and files that share a day and their pixels with another."""
    found: set[Location] = set()
    seen: dict[tuple[object, ...], Location] = {}
    for path, header in headers.items():
        if header.days is not None and (np.diff(header.days) == 0).any():
            found.add(path)
        day = files[path].found.day if header.days is None else None
        for name in header.bands:
            key = (name, day, header.grid.transform)
            other = path if day is None else seen.setdefault(key, path)
            if other != path:
                found |= {path, other}
    return found


def _refuse_shared_bands(path: Location, header: Header) -> None:
    seen: dict[str | int, str] = {}
    for variable, band in header.bands.items():
        if band.key in seen:
            raise InputError(
                f"{path}: {seen[band.key]} and {variable} are both its band {band.key}; "
                "give `pattern:` with {variable}, or `band:`"
            )
        seen[band.key] = variable


def _days(path: Location, found: Found, header: Header, cadence: Cadence) -> NDArray[np.int64]:
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
    found: Found,
    header: Header,
    days: NDArray[np.int64],
    part: Part,
    storage: dict[str, Packing],
    files: Files,
) -> Piece:
    bands = {name: band for name, band in header.bands.items() if name != MASK}
    flags = header.bands.get(MASK)
    if flags is not None and np.dtype(flags.dtype).kind not in "iu":
        raise InputError(
            f"{found.path}: mask band {flags.key} is {flags.dtype}; expected integers with bit flags"
        )
    tile = part.tile
    return Piece(
        found.path,
        found.key,
        bands,
        flags,
        days,
        tile.row,
        tile.col,
        tile.height,
        tile.width,
        " ".join(files.stamp(path) for path in (found.path, *header.below)),
        part.first_col,
        part.own,
        header.below,
        storage,
    )


def _same_pixels(name: str, pieces: Sequence[Piece], headers: Mapping[Location, Header]) -> Iterator[str]:
    """Files that give one variable of one edition on the very pixels of another."""
    seen: dict[tuple[object, ...], Location] = {}
    for piece in pieces:
        for variable in piece.bands:
            own = headers[piece.path].grid
            key = (variable, int(piece.days[0]), own.transform, own.shape, piece.first_col)
            other = seen.setdefault(key, piece.path)
            if other != piece.path:
                yield (
                    f"source {name}: {variable} of {piece.path.name} has the pixels and the edition "
                    f"of that of {other.name}; choose one of them by `pattern:`"
                )


def _incomplete_days(name: str, pieces: Sequence[Piece], headers: Mapping[Location, Header]) -> Iterator[str]:
    """Days of which the files hold fewer fields than the product has."""
    counts: Counter[tuple[int, tuple[float, ...]]] = Counter()
    expected = 0
    for piece in pieces:
        header = headers[piece.path]
        if header.per_day is not None:
            expected = header.per_day
            counts.update((int(day), header.grid.transform) for day in piece.days if piece.first_col == 0)
    few = sorted((day, count) for (day, _), count in counts.items() if count < expected)
    if few:
        shown = ", ".join(f"{np.datetime64(day, 'D')} ({count})" for day, count in few[:5])
        more = f" and {len(few) - 5} more days" if len(few) > 5 else ""
        yield f"source {name}: fewer than {expected} granules on {shown}{more}; their mean is of those there"


def _flags_of_scenes(
    name: str,
    config: SourceConfig,
    base: Path,
    cadence: Cadence,
    form: Format,
    headers: Mapping[Location, Header],
    pieces: Sequence[Piece],
    origin: Files,
) -> dict[str, Piece]:
    """Flags in files of their own, by scene; every scene must have them on its own pixels."""
    if config.mask is None or config.mask.file is None:
        return {}
    listed = origin.find(MASK)
    if listed is None:
        listed = list(_flags_in_folders(name, config, config.mask.file, base, cadence))
    known = {found.key: found for found in listed}
    flags: dict[str, Piece] = {}
    for piece in pieces:
        if piece.key in flags:
            continue
        if piece.key not in known:
            raise InputError(
                f"{piece.path}: no file with flags ({config.mask.file}) beside it; expected one a scene"
            )
        found, own = known[piece.key], headers[piece.path].grid
        header = form.header(found.path, {MASK: config.mask.band}, config.crs)
        if header.grid.shape != own.shape or header.grid.aligned_offset(own, TOLERANCE) != (0, 0):
            raise InputError(f"{found.path}: does not cover the same pixels as {piece.path.name}")
        part = Part(Tile(0, 0, *own.shape))
        flags[piece.key] = _piece(found, header, piece.days, part, {}, origin)
    return flags


def _flags_in_folders(
    name: str, config: SourceConfig, token: str, base: Path, cadence: Cadence
) -> Iterator[Found]:
    """Files of flags that lie beside those of the variables."""
    where = f"sources.{name}.mask"
    if config.path is None or config.pattern is None or "{variable}" not in config.pattern:
        raise InputError(f"{where}.file: needs path and a pattern with {{variable}} for the source")
    for collection in config.collections or (None,):
        yield from find_files(
            config,
            config.path,
            config.pattern,
            token,
            base,
            where,
            cadence != "static",
            collection=collection,
            yearly=cadence == "yearly",
            may_lack=len(config.collections) > 1,
        )
