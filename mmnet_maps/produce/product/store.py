"""The output store: daily maps as a sharded Zarr v3 group, with a ledger of what is finished.

Dimensions (time, y, x); ``soil_moisture``, ``lower`` and ``upper`` are scaled integers, ``quality`` is bits.
A shard is one work unit (a block of days x a tile), so no two workers ever write one object. What was never
written reads as missing, and as "not computed" in ``quality``: never as zero, never as fine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from pyproj import CRS
from zarr.codecs import BloscCodec

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.produce.product.ledger import Entry, Ledger
from mmnet_maps.produce.tile.trust import FLAGS, NOT_COMPUTED, SOIL_MOISTURE
from mmnet_maps.produce.units import Layout, Unit, iso

__all__ = ["LAYERS", "Product", "create_product", "open_product"]

#: Storage of every layer, by name, in the order of the bands of an export.
LAYERS: dict[str, Packing] = {
    "soil_moisture": SOIL_MOISTURE,
    "lower": SOIL_MOISTURE,
    "upper": SOIL_MOISTURE,
    # What was never written has the bit "not computed".
    "quality": Packing(dtype="uint16", missing=int(NOT_COMPUTED)),
}
_LONG_NAMES = {
    "soil_moisture": "volumetric soil moisture, 0-5 cm, daily mean",
    "lower": "lower bound of the prediction interval of soil moisture",
    "upper": "upper bound of the prediction interval of soil moisture",
    "quality": "why a value is missing or weak",
}
_FORMAT = 1
_ABOUT = "mmnet_maps"
_AXES = ("time", "y", "x")
#: Days and side of the chunks inside a shard. Of the shapes and codecs that were measured this pair reads a
#: day's map as fast as single days do, a pixel's series in half the time, and compresses 1.5 times faster.
_CHUNK_DAYS, _CHUNK = 4, 256
#: Length of the time axis' chunk: one object for centuries of days.
_TIME_CHUNK = 1 << 16


@dataclass(frozen=True)
class Product:
    """An open product.

    Attributes
    ----------
    path : Path
    layout : Layout
        Grid, days, and how both are cut into units.
    about : dict
        What the maps were made from: ``bundle`` and ``catalogue`` digests, ``precision``, ``interval``, ...
    """

    path: Path
    layout: Layout
    about: dict[str, Any]
    group: zarr.Group

    @property
    def grid(self) -> Grid:
        """Target grid."""
        return self.layout.grid

    @property
    def days(self) -> NDArray[np.int64]:
        """Days of the time axis since 1970-01-01, finished or not."""
        return np.arange(self.layout.start, self.layout.stop, dtype=np.int64)

    @property
    def packing(self) -> dict[str, Packing]:
        """Storage of every layer."""
        return dict(LAYERS)

    @property
    def ledger(self) -> Ledger:
        """What is finished."""
        return Ledger(self.path / "ledger")

    def flags(self) -> dict[str, int]:
        """Bits of ``quality`` by meaning."""
        attributes = self.group["quality"].attrs
        meanings, masks = str(attributes["flag_meanings"]).split(), attributes["flag_masks"]
        return dict(zip(meanings, (int(m) for m in masks), strict=True))  # type: ignore[union-attr,arg-type]

    def index(self, day: int) -> int:
        """Place of a day on the time axis; `InputError` names the days that there are."""
        if not self.layout.start <= day < self.layout.stop:
            raise InputError(
                f"{self.path}: day {iso(day)} is not in the product, which holds {iso(self.layout.start)} "
                f"to {iso(self.layout.stop - 1)}"
            )
        return int(day) - self.layout.start

    def read(
        self, name: str, first: int, stop: int, rows: slice = slice(None), cols: slice = slice(None)
    ) -> NDArray[Any]:
        """Stored values of a layer over days ``first`` to ``stop`` (exclusive): (days, rows, columns)."""
        begin, end = self.index(first), self.index(stop - 1) + 1
        return np.asarray(self._array(name)[begin:end, rows, cols])

    def read_day(
        self, day: int, rows: slice = slice(None), cols: slice = slice(None)
    ) -> dict[str, NDArray[Any]]:
        """Stored values of every layer on a day, shape (rows, columns)."""
        return {name: self.read(name, day, day + 1, rows, cols)[0] for name in LAYERS}

    def finished(self, day: int) -> bool:
        """Whether every unit of that day is done, from the bundle that the product names."""
        self.index(day)
        return all(self._holds(unit, day) for unit in self.layout.units(day, day + 1))

    def finished_days(self) -> NDArray[np.int64]:
        """Every finished day since 1970-01-01; reads each ledger entry once."""
        found: list[int] = []
        for begin, end in self.layout.blocks():
            entries = [self.ledger.read(unit.key) for unit in self.layout.units(begin, end)]
            if all(self._of_bundle(entry) for entry in entries):
                stop = min((e.stop for e in entries if e is not None), default=begin)
                found.extend(range(begin, min(stop, end)))
        return np.asarray(found, dtype=np.int64)

    def write_unit(self, unit: Unit, values: Mapping[str, NDArray[Any]]) -> dict[str, str | None]:
        """Write a whole unit and give the digest of every stored object (None where nothing is stored).

        What was there is removed first, so that the objects depend on `values` alone; call it only while the
        ledger has no entry for the unit.

        Parameters
        ----------
        unit : Unit
        values : mapping of str to ndarray, shape (unit.days, tile.height, tile.width)
            Stored values of every layer.
        """
        begin = self.index(unit.first)
        for name in LAYERS:
            self._clear(self._object(unit, name))
            self._array(name)[begin : begin + unit.days, unit.tile.rows, unit.tile.cols] = values[name]
        return self.digests(unit)

    def erase_unit(self, unit: Unit) -> dict[str, str | None]:
        """Leave nothing stored for a unit (it lies outside the region)."""
        for name in LAYERS:
            self._clear(self._object(unit, name))
        return dict.fromkeys(LAYERS)

    def digests(self, unit: Unit) -> dict[str, str | None]:
        """SHA-256 of every stored object of a unit as it lies on disk; None where there is none."""
        return {name: _digest(self._object(unit, name)) for name in LAYERS}

    def damaged(self) -> list[str]:
        """Keys of finished units whose stored objects are not what the ledger says."""
        bad = []
        for unit in self.layout.units():
            entry = self.ledger.read(unit.key)
            if entry is not None and entry.outputs != self.digests(unit):
                bad.append(unit.key)
        return bad

    def extended(self, stop: int) -> Product:
        """The product with its time axis reaching to ``stop`` (exclusive); never shortened.

        Safe to repeat after a crash: every array is brought to the same length, the days last.
        """
        stop = max(stop, self.layout.stop)
        length = stop - self.layout.start
        for name in LAYERS:
            array = self._array(name)
            if array.shape[0] != length:
                array.resize((length, *self.grid.shape))
        time = self._array("time")
        if time.shape[0] != length or stop != self.layout.stop:
            time.resize((length,))
            time[:] = np.arange(self.layout.start, stop, dtype=np.int64)
        return replace(self, layout=replace(self.layout, stop=stop))

    def described(self, about: Mapping[str, Any]) -> Product:
        """The product saying that it is made from something else (another bundle, another precision)."""
        new = {**self.about, **about}
        if new != self.about:
            self.group.attrs[_ABOUT] = new
        return replace(self, about=new)

    def _array(self, name: str) -> zarr.Array[Any]:
        array = self.group[name]
        assert isinstance(array, zarr.Array)
        return array

    def _object(self, unit: Unit, name: str) -> Path:
        time, row, col = self.layout.shard(unit)
        return self.path / name / "c" / str(time) / str(row) / str(col)

    def _clear(self, place: Path) -> None:
        # A writer that was killed leaves its draft beside the object.
        for draft in place.parent.glob(f"{place.name}.*.partial"):
            draft.unlink(missing_ok=True)
        place.unlink(missing_ok=True)

    def _of_bundle(self, entry: Entry | None) -> bool:
        return entry is not None and entry.inputs.get("bundle") == self.about.get("bundle")

    def _holds(self, unit: Unit, day: int) -> bool:
        entry = self.ledger.read(unit.key)
        return entry is not None and self._of_bundle(entry) and entry.first <= day < entry.stop


def create_product(
    path: Path, layout: Layout, about: Mapping[str, Any], flags: Mapping[str, int] = FLAGS
) -> Product:
    """Create an empty product; it appears whole under its name or not at all.

    Parameters
    ----------
    path : Path
        Must not exist.
    layout : Layout
    about : mapping
        JSON values: what the maps are made from (``bundle``: its digest, ``catalogue``, ``precision``, ...).
    flags : mapping of str to int
        Bits of ``quality`` by meaning; ``not_computed`` is the fill value of the layer.

    Raises
    ------
    InputError
        The path exists.
    """
    if path.exists():
        raise InputError(f"{path}: already exists, expected a new product")
    with _appearing(path) as draft:
        group = zarr.create_group(store=draft, zarr_format=3, attributes=_global_attributes(layout, about))
        # A group of its own keeps Zarr readers from taking the ledger for a broken array.
        group.create_group("ledger", attributes={"comment": "a JSON file a finished work unit"})
        _create_coordinates(group, layout)
        for name, packing in LAYERS.items():
            _create_layer(group, name, packing, layout, flags)
    return open_product(path)


def open_product(path: Path) -> Product:
    """Open a product for reading or writing.

    Raises
    ------
    InputError
        There is no product there, or it is of a later format.
    """
    if not (path / "zarr.json").is_file():
        raise InputError(f"{path}: no product there (expected a folder that `mmnet-maps predict` made)")
    group = zarr.open_group(path, mode="r+" if os.access(path, os.W_OK) else "r", zarr_format=3)
    about = group.attrs.get(_ABOUT)
    if not isinstance(about, dict) or "layout" not in about:
        raise InputError(f"{path}: a Zarr group, but not a product of mmnet-maps")
    if about["format"] != _FORMAT:
        raise InputError(f"{path}: product format {about['format']}, this version reads format {_FORMAT}")
    cut = about["layout"]
    start, time = int(cut["start"]), group["time"]
    assert isinstance(time, zarr.Array)
    grid = Grid.from_dict(cut["grid"])
    layout = Layout(grid, start, start + time.shape[0], int(cut["tile"]), int(cut["block_days"]))
    return Product(path, layout, dict(about), group)


def _global_attributes(layout: Layout, about: Mapping[str, Any]) -> dict[str, Any]:
    cut = {
        "grid": layout.grid.to_dict(),
        "start": layout.start,
        "tile": layout.tile,
        "block_days": layout.block_days,
    }
    return {
        "Conventions": "CF-1.11",
        "title": "Daily soil moisture, 0-5 cm",
        "source": "MMNet on satellite images, weather, terrain, soil and land cover",
        "history": "made by mmnet-maps predict",
        _ABOUT: {"format": _FORMAT, **about, "layout": cut},
    }


def _create_coordinates(group: zarr.Group, layout: Layout) -> None:
    crs, grid = CRS.from_user_input(layout.grid.crs), layout.grid
    days = np.arange(layout.start, layout.stop, dtype=np.int64)
    unit = "days since 1970-01-01"
    time = {"standard_name": "time", "axis": "T", "units": unit, "calendar": "proleptic_gregorian"}
    _write_axis(group, "time", days, time, chunk=_TIME_CHUNK)
    _write_axis(group, "y", grid.y(np.arange(grid.height)), _axis(crs, "y"), chunk=grid.height)
    _write_axis(group, "x", grid.x(np.arange(grid.width)), _axis(crs, "x"), chunk=grid.width)
    a, b, c, d, e, f = grid.transform
    attributes = {
        **{k: v for k, v in crs.to_cf().items() if k != "crs_wkt"},
        "crs_wkt": crs.to_wkt(),
        "GeoTransform": " ".join(repr(float(v)) for v in (c, a, b, f, d, e)),
    }
    group.create_array(
        "spatial_ref", shape=(), dtype="int32", fill_value=0, attributes=attributes, dimension_names=()
    )


def _axis(crs: CRS, name: str) -> dict[str, Any]:
    if crs.is_geographic:
        long = "latitude" if name == "y" else "longitude"
        return {
            "standard_name": long,
            "axis": name.upper(),
            "units": "degrees_north" if name == "y" else "degrees_east",
        }
    unit = crs.axis_info[0].unit_name
    return {
        "standard_name": f"projection_{name}_coordinate",
        "axis": name.upper(),
        "units": "m" if unit == "metre" else unit,
    }


def _write_axis(
    group: zarr.Group, name: str, values: NDArray[Any], attributes: Mapping[str, Any], chunk: int
) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=(chunk,),
        fill_value=np.iinfo(np.int64).min if values.dtype.kind == "i" else np.nan,
        dimension_names=(name,),
        attributes=dict(attributes),
    )
    array[:] = values


def _create_layer(
    group: zarr.Group, name: str, packing: Packing, layout: Layout, flags: Mapping[str, int]
) -> None:
    side = _CHUNK if layout.tile % _CHUNK == 0 else layout.tile
    days = _CHUNK_DAYS if layout.block_days % _CHUNK_DAYS == 0 else 1
    assert packing.missing is not None
    group.create_array(
        name,
        shape=(layout.stop - layout.start, *layout.grid.shape),
        dtype=packing.dtype,
        shards=(layout.block_days, layout.tile, layout.tile),
        chunks=(days, side, side),
        compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle", typesize=2),
        fill_value=int(packing.missing),
        dimension_names=_AXES,
        attributes=_layer_attributes(name, packing, flags),
    )


def _layer_attributes(name: str, packing: Packing, flags: Mapping[str, int]) -> dict[str, Any]:
    shared: dict[str, Any] = {
        "long_name": _LONG_NAMES[name],
        "grid_mapping": "spatial_ref",
        "cell_methods": "time: mean",
    }
    if name == "quality":
        # No _FillValue: readers would turn the bits into floats with NaN. "not_computed" is a bit of its own.
        shared |= {
            "standard_name": "quality_flag",
            "flag_masks": list(flags.values()),
            "flag_meanings": " ".join(flags),
        }
        del shared["cell_methods"]
        return shared
    shared |= {
        "units": "m3 m-3",
        "scale_factor": packing.scale,
        "_FillValue": int(packing.missing or 0),
        "ancillary_variables": "quality",
    }
    if name == "soil_moisture":
        shared |= {
            "standard_name": "volume_fraction_of_condensed_water_in_soil",
            "ancillary_variables": "lower upper quality",
        }
    return shared


def _digest(place: Path) -> str | None:
    try:
        with place.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """A draft folder beside `path` that takes its name when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield draft
        draft.replace(path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
