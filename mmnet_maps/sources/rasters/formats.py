"""What every file format answers: where its pixels lie, how its bands are stored, and their values."""

from __future__ import annotations

import hashlib
import io
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.grid import Grid
from mmnet_maps.sources.rasters.files import Found
from mmnet_maps.store.location import Location, Remote, location
from mmnet_maps.store.remote import Facts

__all__ = ["Band", "Files", "Format", "Header", "Wanted", "axis_grid", "crs_name", "settle_crs"]

#: What a user asks for: a name or number of a band, or None for the obvious one.
Wanted = str | int | None
#: Bytes that are asked of an object at least: headers are small, and values are asked for as they are needed.
_READ = 1 << 14


@dataclass(frozen=True)
class Band:
    """One band (variable, dataset) of a file, as the file describes it.

    Attributes
    ----------
    key : str or int
        How `Format.read` finds it again.
    dtype : str
    scale, offset : float
    missing : tuple of float
        Stored values that mean missing, those that the type can hold; NaN always does.
    valid : (float, float), optional
        Stored values below or above are missing.
    unit : str
        Unit of the values after scale and offset; empty if the file names none.
    masked : bool
        The file has a mask or an alpha band: `Format.read` gives masked arrays.
    """

    key: str | int
    dtype: str
    scale: float = 1.0
    offset: float = 0.0
    missing: tuple[float, ...] = ()
    valid: tuple[float, float] | None = None
    unit: str = ""
    masked: bool = False


@dataclass(frozen=True)
class Header:
    """What is known of a file without reading its values.

    Attributes
    ----------
    grid : Grid
    days : ndarray of int64, shape (steps,), or None
        Days since 1970-01-01 of the fields in the file; None if the file does not say.
    bands : mapping of str to Band
        By the names that were asked for.
    below : tuple of Path or Remote
        Other files that its values come from, such as the tiles of a VRT.
    per_day : int, optional
        Fields that the product has of one day, where that is known.
    """

    grid: Grid
    days: NDArray[np.int64] | None
    bands: Mapping[str, Band]
    below: tuple[Location, ...] = ()
    per_day: int | None = None


class Files:
    """Where the bytes of a source's files come from: here, the files and objects themselves."""

    def __init__(self) -> None:
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.RLock()
        self._failure = threading.local()

    def find(self, variable: str) -> list[Found] | None:
        """Files of a variable (``mask`` for its flags); None where folders are to be looked through."""
        return None

    def here(self, path: Location) -> bool:
        """Whether a file is on this machine."""
        return isinstance(path, Path)

    def stream(self, path: Location) -> BinaryIO:
        """A file to read from."""
        return path.open(_READ) if isinstance(path, Remote) else path.open("rb")

    def local(self, path: Location) -> Path:
        """A file on this machine with the same bytes; of an object, a copy that lasts as long as this."""
        if isinstance(path, Path):
            return path
        with self._lock:
            if self._scratch is None:
                self._scratch = tempfile.TemporaryDirectory(prefix="mmnet-maps-")
            folder = Path(self._scratch.name, hashlib.sha256(str(path).encode()).hexdigest())
            if not folder.exists():
                data = path.read_bytes()
                folder.mkdir()
                (folder / path.name).write_bytes(data)
        return folder / path.name

    def opener(self, path: str, mode: str = "rb") -> BinaryIO:
        """What GDAL opens files with.

        GDAL takes a failure for a damaged file: the reason is kept for `reraise`.
        """
        try:
            file = self.stream(location(path))
            file.seek(0, io.SEEK_END)
            file.seek(0)
        except (InputError, WorkError) as error:
            self._failure.reason = error
            raise FileNotFoundError(path) from error
        return cast("BinaryIO", _Watched(file, self._failure))

    def reraise(self) -> None:
        """Raise what the last opening or reading in this thread has failed with, if it has."""
        reason = getattr(self._failure, "reason", None)
        if reason is not None:
            self._failure.reason = None
            raise reason

    def stamp(self, path: Location) -> str:
        """What changes when a file is replaced: name, size, and time of change or tag of an object."""
        facts = path.stat()
        changed = facts.tag if isinstance(facts, Facts) else facts.st_mtime_ns
        return f"{path.name} {facts.st_size} {changed}"

    def size(self, path: Location) -> int:
        """Bytes that reading all of a file would fetch."""
        return path.stat().st_size if isinstance(path, Remote) else 0


class _Watched(io.RawIOBase):
    """A file whose failures are kept, since GDAL hides them."""

    def __init__(self, file: BinaryIO, failure: threading.local) -> None:
        super().__init__()
        self._file, self._failure = file, failure

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except (InputError, WorkError) as error:
            self._failure.reason = error
            raise OSError(str(error)) from error

    def close(self) -> None:
        self._file.close()
        super().close()


class Format(Protocol):
    """A file format; every method may be called from several threads."""

    def header(self, path: Location, wanted: Mapping[str, Wanted], crs: str | None) -> Header:
        """Header of a file, with the bands that are wanted.

        Raises
        ------
        InputError
            The file cannot be read, has no (or another) CRS, or lacks a band; the message names file and key.
        """
        ...

    def read(
        self, path: Location, bands: Mapping[str, Band], steps: slice, rows: slice, cols: slice
    ) -> dict[str, NDArray[Any]]:
        """Stored values, each of shape (steps, rows, columns)."""
        ...


def crs_name(crs: CRS) -> str:
    """``EPSG:<code>`` where the CRS is exactly one, else its WKT."""
    code = crs.to_epsg(min_confidence=100)
    return f"EPSG:{code}" if code is not None else str(crs.to_wkt())


def settle_crs(path: Location, found: CRS | None, said: str | None) -> str:
    """The CRS of a file, of what it carries and what the configuration says."""
    try:
        expected = None if said is None else CRS.from_user_input(said)
    except CRSError:
        raise InputError(
            f"crs: {said} is not a CRS that PROJ knows; expected for example EPSG:32612"
        ) from None
    if found is None and expected is None:
        raise InputError(f"{path}: has no CRS; give it as `crs:` of the source")
    if found is not None and expected is not None and found != expected:
        raise InputError(f"{path}: its CRS is {crs_name(found)}; the configuration says {said}")
    known = found if found is not None else expected
    assert known is not None
    return crs_name(known)


def axis_grid(path: Location, crs: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> Grid:
    """Grid from the centres of columns and rows.

    Raises
    ------
    InputError
        The axes are too short, uneven, or, in degrees, beyond the poles (swapped).
    """
    steps = []
    for name, values in (("x", x), ("y", y)):
        if values.ndim != 1 or values.size < 2 or not np.isfinite(values).all():
            raise InputError(
                f"{path}: axis {name} has {values.size} values; expected two or more in one dimension"
            )
        step = float(values[-1] - values[0]) / (values.size - 1)
        # Single precision coordinates, as some products have, wander by a few hundredths of a cell.
        if step == 0 or np.abs(values - (values[0] + step * np.arange(values.size))).max() > 0.05 * abs(step):
            raise InputError(f"{path}: axis {name} is not evenly spaced; expected a regular grid")
        steps.append(step)
    if CRS.from_user_input(crs).is_geographic and max(abs(y[0]), abs(y[-1])) > 90.0 + abs(steps[1]):
        raise InputError(f"{path}: latitudes from {y[0]:g} to {y[-1]:g}; expected -90 to 90: axes swapped?")
    dx, dy = steps
    return Grid(crs, (dx, 0.0, float(x[0]) - dx / 2, 0.0, dy, float(y[0]) - dy / 2), y.size, x.size)
