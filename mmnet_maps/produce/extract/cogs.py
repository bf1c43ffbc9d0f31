"""Maps in a folder of exported days: files with the layers as bands, ``quality`` among or beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.windows import Window

from mmnet_maps.dates import NO_DAY, from_yyyymmdd
from mmnet_maps.errors import InputError, refuse_damaged
from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.produce.extract.maps import QUALITY, Groups, Layer
from mmnet_maps.produce.product.layers import soil_named
from mmnet_maps.store.location import Location, Remote, opener_of

__all__ = ["CogMaps"]

_DAY = re.compile(r"soil_moisture_(\d{8})\.tif")


class CogMaps:
    """A folder that `export` wrote, opened for reading.

    Parameters
    ----------
    source : Path or Remote

    Raises
    ------
    InputError
        There is no exported day, or the first cannot be read.
    """

    def __init__(self, source: Location) -> None:
        self.source = source
        with refuse_damaged(source, "no days that `export` wrote"):
            self._open(source)

    def _open(self, source: Location) -> None:
        found = sorted((m.group(1), path) for path in source.iterdir() if (m := _DAY.fullmatch(path.name)))
        days = from_yyyymmdd(np.array([int(date) for date, _ in found], dtype=np.int64))
        kept = [(day, pair) for day, pair in zip(days.tolist(), found, strict=True) if day != NO_DAY]
        if not kept:
            raise InputError(f"{source}: no soil_moisture_YYYYMMDD.tif there, expected exported days")
        self.days = np.array([day for day, _ in kept], dtype=np.int64)
        self._paths = [path for _, (_, path) in kept]
        self._bands: dict[str, tuple[bool, int]] = {}
        self.layers: dict[str, Layer] = {}
        self.flags: dict[str, int] = {}
        with _opened(self._paths[0]) as file:
            self._block = file.block_shapes[0]
            self.levels = [_grid_of(self._paths[0], file)]
            self._describe(file, beside=False)
            smaller = len(file.overviews(1))
        for level in range(smaller):
            with _opened(self._paths[0], overview_level=level) as file:
                self.levels.append(_grid_of(self._paths[0], file))
        if QUALITY not in self.layers and _beside(self._paths[0]).is_file():
            with _opened(_beside(self._paths[0])) as file:
                self._describe(file, beside=True)
        if "soil_moisture" not in self.layers:
            raise InputError(f"{self._paths[0]}: no band soil_moisture; there are {', '.join(self.layers)}")
        self.soil_depth = soil_named(self.layers["soil_moisture"].long_name)

    def depth(self, name: str) -> int:
        """Every layer has every overview."""
        return len(self.levels)

    def version(self, index: int) -> str:
        """Changes when a file of the day is written again."""
        path, parts = self._paths[index], []
        for file in (path, _beside(path)) if any(b for b, _ in self._bands.values()) else (path,):
            try:
                state = file.stat()
            except OSError:
                raise InputError(f"{file}: is gone") from None
            parts.append(f"{state.st_mtime_ns:x}.{state.st_ino:x}.{state.st_size:x}")
        return "-".join(parts)

    def read(self, name: str, index: int, rows: slice, cols: slice, level: int = 0) -> NDArray[Any]:
        """Stored values of a layer on a day, shape (rows, columns)."""
        beside, band = self._bands[name]
        options = {"overview_level": level - 1} if level else {}
        with self._file(index, beside, level, **options) as file:
            return self._typed(name, _read(file, band, rows, cols))

    def pixels(
        self,
        names: Sequence[str],
        begin: int,
        end: int,
        row: NDArray[np.int64],
        col: NDArray[np.int64],
        workers: int = 2,
    ) -> dict[str, NDArray[Any]]:
        """Stored values of single pixels, (days, pixels); each file is opened once for all of them."""
        found = {n: np.empty((end - begin, row.size), self.layers[n].dtype) for n in names}
        groups = Groups(row, col, (int(self._block[0]), int(self._block[1])))

        def read(day: int) -> None:
            for beside in (False, True):
                here = [name for name in names if self._bands[name][0] is beside]
                if not here:
                    continue
                with self._file(day, beside) as file:
                    for at in groups.at:
                        if not at.size:
                            continue
                        window = groups.window(at)
                        values = _read(file, [self._bands[name][1] for name in here], *window)
                        inside = row[at] - window[0].start, col[at] - window[1].start
                        for name, plane in zip(here, values, strict=True):
                            found[name][day - begin, at] = self._typed(name, plane[inside])

        with ThreadPoolExecutor(max(1, workers), thread_name_prefix="extract") as pool:
            list(pool.map(read, range(begin, end)))
        return found

    def _describe(self, file: Any, *, beside: bool) -> None:
        """Note the bands of a file; format 1 held the 16 quality bits as int16."""
        for band, name in enumerate(file.descriptions, start=1):
            tags, dtype = file.tags(band), file.dtypes[band - 1]
            name = str(name or (QUALITY if beside else f"band {band}"))
            if name == QUALITY:
                dtype = {"int16": "uint16", "int32": "uint32"}.get(dtype, dtype)
                masks = (int(mask) for mask in tags.get("flag_masks", "").replace(",", " ").split())
                self.flags = dict(zip(tags.get("flag_meanings", "").split(), masks, strict=False))
            packing = Packing(
                dtype=dtype,
                scale=file.scales[band - 1],
                offset=file.offsets[band - 1],
                missing=None if name == QUALITY else file.nodatavals[band - 1],
            )
            self._bands[name] = beside, band
            long_name = tags.get("long_name", name)
            self.layers[name] = Layer(name, long_name, file.units[band - 1] or "1", packing)

    def _typed(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        dtype = self.layers[name].dtype
        return values if values.dtype == dtype else np.ascontiguousarray(values).view(dtype)

    @contextmanager
    def _file(self, index: int, beside: bool, level: int = 0, **options: Any) -> Iterator[Any]:
        path = _beside(self._paths[index]) if beside else self._paths[index]
        with _opened(path, **options) as file:
            if (file.height, file.width) != self.levels[level].shape:
                raise InputError(
                    f"{path}: {file.height} x {file.width} pixels, expected those of the first day, "
                    f"{self.levels[level].height} x {self.levels[level].width}"
                )
            yield file


def _beside(path: Location) -> Location:
    return path.with_name(path.name.replace("soil_moisture_", "quality_"))


@contextmanager
def _opened(path: Location, **options: Any) -> Iterator[Any]:
    """An open file; whatever GDAL says against it is one line that names the file."""
    # GDAL looks for a dozen files beside one; none is written.
    env = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"} if isinstance(path, Remote) else {}
    try:
        with rasterio.Env(**env), rasterio.open(str(path), **opener_of(path), **options) as file:
            yield file
    except (rasterio.errors.RasterioError, CPLE_BaseError) as error:
        raise InputError(f"{path}: not a readable export: {error}") from None


def _grid_of(path: Location, file: Any) -> Grid:
    if file.crs is None:
        raise InputError(f"{path}: no CRS")
    a, b, c, d, e, f = tuple(file.transform)[:6]
    return Grid(file.crs.to_string(), (a, b, c, d, e, f), file.height, file.width)


def _read(file: Any, bands: Any, rows: slice, cols: slice) -> NDArray[Any]:
    high, wide = file.height, file.width
    top, bottom, _ = rows.indices(high)
    left, right, _ = cols.indices(wide)
    found: NDArray[Any] = file.read(bands, window=Window(left, top, right - left, bottom - top))
    return found
