"""The output store: daily maps as a sharded Zarr v3 group, with a ledger of what is finished.

Dimensions (time, y, x); layers of values are scaled integers, ``quality`` is bits (see `layers`).
A shard is one work unit (a block of days x a tile), so no two workers ever write one object. What was never
written reads as missing, and as "not computed" in ``quality``: never as zero, never as fine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from mmnet_maps.ahead import ahead
from mmnet_maps.errors import InputError, WorkError, refuse_damaged
from mmnet_maps.grid import Grid, Tile
from mmnet_maps.packing import Packing
from mmnet_maps.produce.product.axes import COORDINATES, day_bounds
from mmnet_maps.produce.product.layers import (
    INTERVAL,
    QUALITY,
    Layer,
    layers_at,
    layers_with,
    nominal_coverage,
)
from mmnet_maps.produce.product.ledger import Entry, Ledger
from mmnet_maps.produce.product.objects import day_digests, digest, encoded, lengthen, put
from mmnet_maps.produce.tile.flags import masks
from mmnet_maps.produce.units import Layout, Unit, iso
from mmnet_maps.store.arrays import open_group, refuse_huge_chunks, stored_days
from mmnet_maps.store.location import Location, Remote
from mmnet_maps.store.lock import check_owner
from mmnet_maps.store.states import state_of
from mmnet_maps.store.whole import digest_of_file, write_whole
from mmnet_maps.variables import Depth, Variable, target_named

__all__ = ["ABOUT", "FORMAT", "Product", "check_current", "consolidate", "open_product"]

#: Format of the products that this version writes. Format 1 (16 bits of quality, a dictionary as attribute)
#: is read.
FORMAT = 2
_READ = (1, FORMAT)
#: Attribute that holds what the maps are made from, as one JSON string: NetCDF holds no dictionaries.
ABOUT = "mmnet_maps"


@dataclass(frozen=True)
class Product:
    """An open product.

    Attributes
    ----------
    path : Path or Remote
    layout : Layout
        Grid, days, and how both are cut into units.
    about : dict
        What the maps were made from: ``bundle`` and ``catalogue`` digests, ``target``, ``precision``, ...
    layers : dict of str to Layer
        What it holds, soil moisture first, with the storage that it has (a product of format 1 has 16 bits of
        quality).
    """

    path: Location
    layout: Layout
    about: dict[str, Any]
    group: zarr.Group
    layers: dict[str, Layer]

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
        return {name: layer.packing for name, layer in self.layers.items()}

    @property
    def ledger(self) -> Ledger:
        """What is finished."""
        return Ledger(self.path / "ledger")

    @property
    def target(self) -> Variable:
        """What the maps estimate: the target of their bundle."""
        return target_named(self.about.get("target", "VWC_5"))

    @property
    def soil_depth(self) -> Depth:
        """Top and bottom of the layer of soil, in metres."""
        return self.target.soil

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
        return {name: self.read(name, day, day + 1, rows, cols)[0] for name in self.layers}

    def finished(self, day: int) -> bool:
        """Whether every unit of that day is done, from the bundle that the product names."""
        self.index(day)
        return all(self._holds(unit, day) for unit in self.layout.units(day, day + 1))

    def finished_days(self) -> NDArray[np.int64]:
        """Every finished day since 1970-01-01; reads each ledger entry once."""
        found: list[int] = []
        for begin, end in self.layout.blocks():
            entries = self.ledger.read_all(unit.key for unit in self.layout.units(begin, end))
            if all(self._of_bundle(entry) for entry in entries):
                stop = min((e.stop for e in entries if e is not None), default=begin)
                found.extend(range(begin, min(stop, end)))
        return np.asarray(found, dtype=np.int64)

    def as_of(self, day: int) -> int | None:
        """Day on which a provisional day was made, since 1970-01-01; None of a final one."""
        self.index(day)
        entries = [self.ledger.read(unit.key) for unit in self.layout.units(day, day + 1)]
        made = [e.as_of for e in entries if e is not None and e.as_of is not None and e.is_provisional(day)]
        return max(made, default=None)

    def write_unit(
        self, unit: Unit, values: Mapping[str, NDArray[Any]], run: str | None = None
    ) -> dict[str, str | None]:
        """Write a whole unit and give the digest of every stored object (None where nothing is stored).

        The objects depend on `values` alone, and each replaces the one that was there at once; call it only
        while the ledger has no entry for the unit.

        Parameters
        ----------
        unit : Unit
        values : mapping of str to ndarray, shape (unit.days, tile.height, tile.width)
            Stored values of every layer.
        run : str, optional
            Holder of the product's lock that this is written for.

        Raises
        ------
        WorkError
            The run no longer holds the lock.
        """
        begin, shard = self.index(unit.first), self.layout.shard(unit)
        where = slice(begin, begin + unit.days), unit.tile.rows, unit.tile.cols
        # One layer after the other, the next encoded while one is put: a worker holds two of them, not all.
        objects = ((name, encoded(self._array(name), shard, where, values[name])) for name in self.layers)
        return self._put(unit, ahead(objects), run)

    def erase_unit(self, unit: Unit, run: str | None = None) -> dict[str, str | None]:
        """Leave nothing stored for a unit (it lies outside the region)."""
        return self._put(unit, ((name, None) for name in self.layers), run)

    def _put(
        self, unit: Unit, objects: Iterable[tuple[str, bytes | None]], run: str | None
    ) -> dict[str, str | None]:
        digests = {}
        for name, data in objects:
            put(self._object(unit, name), data, self.owned(run))
            digests[name] = digest(data)
        return digests

    def owned(self, run: str | None) -> Callable[[], None]:
        """What raises `WorkError` where a run no longer holds the product; without a run it never does."""
        return _nobody if run is None else partial(check_owner, self.path, run)

    def digests(self, unit: Unit) -> dict[str, str | None]:
        """SHA-256 of every stored object of a unit as it lies on disk; None where there is none."""
        return {name: digest_of_file(self._object(unit, name)) for name in self.layers}

    def damaged(self, units: Iterable[Unit] | None = None, finished: bool = False) -> dict[str, str]:
        """Finished units whose stored objects are not what the ledger says, and what is wrong.

        Parameters
        ----------
        units : iterable of Unit, optional
            Those to look at; by default all.
        finished : bool
            They should all be in the ledger; one that is not is reported as well.
        """
        lost = "its entry in the ledger is lost" if finished else ""
        with ThreadPoolExecutor(thread_name_prefix="verify") as pool:
            asked = list(self.layout.units() if units is None else units)
            found = pool.map(partial(self._damage, lost=lost), asked)
            return {unit.key: said for unit, said in zip(asked, found, strict=True) if said}

    def _damage(self, unit: Unit, lost: str = "") -> str:
        entry = self.ledger.read(unit.key)
        if entry is None:
            return lost
        found = self.digests(unit)
        bad = [name for name in self.layers if found[name] != entry.outputs.get(name)]
        return ", ".join(
            f"{self._object(unit, name)} {'is lost' if found[name] is None else 'is not what was written'}"
            for name in bad
        )

    def read_checked(self, day: int, tile: Tile) -> dict[str, NDArray[Any]]:
        """Stored values of every layer on a day and a tile of the layout, which are what was written.

        Raises
        ------
        WorkError
            They are not, or the unit is being made again; the message names it.
        """
        unit = next(u for u in self.layout.units(day, day + 1) if u.tile == tile)
        entry, again = self.ledger.read(unit.key), "run `mmnet-maps predict` for these days again"
        if entry is None:
            raise WorkError(f"{self.path}: unit {unit.key} is not finished; {again}")
        try:
            found = self.read_day(day, tile.rows, tile.cols)
        except Exception as error:
            raise WorkError(f"{self.path}: unit {unit.key} cannot be read ({error}); {again}") from error
        if entry.days:
            whole = day_digests({k: v[None] for k, v in found.items()}) == [entry.days[day - entry.first]]
        else:
            whole = entry.outputs == self.digests(unit)
        if not whole:
            said = self._damage(unit) or "it has changed meanwhile"
            raise WorkError(f"{self.path}: unit {unit.key} is damaged: {said}; {again}")
        return found

    def extended(self, stop: int) -> Product:
        """The product with its time axis reaching to ``stop`` (exclusive); never shortened.

        Safe to repeat after a crash: every array is brought to the same length, the days last.
        """
        stop = max(stop, self.layout.stop)
        length = stop - self.layout.start
        for name in self.layers:
            array = self._array(name)
            if array.shape[0] != length:
                array.resize((length, *self.grid.shape))
        time = self._array("time")
        if time.shape[0] != length:
            days = np.arange(self.layout.start, stop, dtype=np.int64)
            lengthen(self.path / "time_bnds", self._array("time_bnds"), day_bounds(days))
            lengthen(self.path / "time", time, days)
        consolidate(self.path)
        return replace(self, layout=replace(self.layout, stop=stop))

    def described(self, about: Mapping[str, Any]) -> Product:
        """The product saying that it is made from something else (another bundle, another precision)."""
        new = {**self.about, **about}
        if new != self.about:
            self.group.attrs[ABOUT] = json.dumps(new)
            for name in INTERVAL:
                own = {k: v for k, v in self._array(name).attrs.items() if k != "nominal_coverage"}
                self._array(name).attrs.put(own | nominal_coverage(name, new.get("interval")))
            consolidate(self.path)
        return replace(self, about=new)

    def clear_drafts(self) -> None:
        """Remove what killed writers left behind; only for the one run that holds the product."""
        for pattern in ("zarr.*.partial", "*/zarr.*.partial", ".*.part", "ledger/.*.part"):
            for draft in self.path.glob(pattern):
                draft.unlink(missing_ok=True)

    def _array(self, name: str) -> zarr.Array[Any]:
        array = self.group[name]
        assert isinstance(array, zarr.Array)
        return array

    def _object(self, unit: Unit, name: str) -> Location:
        time, row, col = self.layout.shard(unit)
        return self.path / name / "c" / str(time) / str(row) / str(col)

    def _of_bundle(self, entry: Entry | None) -> bool:
        return entry is not None and entry.inputs.get("bundle") == self.about.get("bundle")

    def _holds(self, unit: Unit, day: int) -> bool:
        entry = self.ledger.read(unit.key)
        return entry is not None and self._of_bundle(entry) and entry.first <= day < entry.stop


def _nobody() -> None:
    """Nothing to check."""


def open_product(path: Location) -> Product:
    """Open a product for reading or writing; of one in states (`store.states`), the one that counts.

    Raises
    ------
    InputError
        There is no product there, or it is of a later format.
    """
    if not (path / "zarr.json").is_file():
        given, path = path, state_of(path)
        if path == given or not (path / "zarr.json").is_file():
            raise InputError(f"{given}: no product there (expected a folder that `mmnet-maps predict` made)")
    with refuse_damaged(path, "no product that `predict` made"):
        return _open(path)


def _open(path: Location) -> Product:
    mode: Any = "r+" if isinstance(path, Remote) or os.access(path, os.W_OK) else "r"
    group = open_group(path, mode, zarr_format=3, use_consolidated=False)
    about = _about(group.attrs.get(ABOUT))
    if about is None:
        raise InputError(f"{path}: a Zarr group, but not a product of mmnet-maps")
    if about["format"] not in _READ:
        raise InputError(f"{path}: product format {about['format']}, this version reads formats 1 and 2")
    cut = about["layout"]
    start, time = int(cut["start"]), group["time"]
    assert isinstance(time, zarr.Array)
    grid = Grid.from_dict(cut["grid"])
    layout = Layout(grid, start, start + time.shape[0], int(cut["tile"]), int(cut["block_days"]))
    if not np.array_equal(stored_days(path, time), np.arange(layout.start, layout.stop)):
        raise InputError(f"{path}: time does not hold its days in order: damaged or edited")
    layers = _layers(group, target_named(about.get("target", "VWC_5")).soil)
    if "soil_moisture" not in layers or QUALITY not in layers:
        raise InputError(f"{path}: lacks soil_moisture or {QUALITY}; it holds {', '.join(group)}")
    refuse_huge_chunks(path, {name: cast("zarr.Array[Any]", group[name]) for name in layers})
    for name in layers:
        _check_shape(path, name, group[name], layout)
    found = Product(path, layout, about, group, layers)
    found.flags()
    return found


def _check_shape(path: Location, name: str, array: Any, layout: Layout) -> None:
    """`InputError` where a layer is not on the product's grid, or shorter than its days, or not its units."""
    days, *grid = array.shape
    shards = layout.block_days, layout.tile, layout.tile
    if tuple(grid) != layout.grid.shape or days < layout.stop - layout.start or array.shards != shards:
        raise InputError(
            f"{path}: {name} has shape {array.shape} in shards {array.shards}, expected "
            f"{(layout.stop - layout.start, *layout.grid.shape)} in shards {shards}"
        )


def _about(stored: Any) -> dict[str, Any] | None:
    """What the attribute says; a dictionary in products of format 1."""
    try:
        found = json.loads(stored) if isinstance(stored, str) else stored
    except ValueError:
        return None
    return dict(found) if isinstance(found, dict) and "layout" in found else None


def _layers(group: zarr.Group, soil: Depth) -> dict[str, Layer]:
    """Layers of the table that a store holds, with the storage that they have there."""
    found = {}
    for name, layer in layers_at(soil).items():
        array = group.get(name)
        if isinstance(array, zarr.Array):
            if np.dtype(array.dtype).kind != np.dtype(layer.packing.dtype).kind:
                raise InputError(f"{name} holds {array.dtype}, expected {layer.packing.dtype}")
            packing = layer.packing.model_copy(update={"dtype": str(array.dtype)})
            found[name] = replace(layer, packing=packing)
    return found


def check_current(product: Product) -> None:
    """Refuse to go on with a product whose format, layers or flags are not those that this version writes.

    Raises
    ------
    InputError
        Says what differs, and how to go on.
    """
    way = "give another --out (`export`, `validate`, `report` and `extract` still read this one)"
    if product.about["format"] != FORMAT:
        raise InputError(
            f"{product.path}: product format {product.about['format']}, new maps have {FORMAT}; {way}"
        )
    known = {*COORDINATES, "ledger"}
    held = sorted(name for name in product.group if name not in known)
    for what, has, wants in (
        ("layers", held, sorted(layers_with(held))),
        (f"flags of {QUALITY}", list(product.flags()), list(masks())),
    ):
        if has != wants:
            raise InputError(
                f"{product.path}: has the {what} {', '.join(has)}, new maps have {', '.join(wants)}; {way}"
            )


def consolidate(path: Location) -> None:
    """Gather the metadata of all arrays of a group in it, so that it opens with one read and no warning.

    The declaration of the Zarr conventions stays with the arrays: NetCDF has no attribute that can hold it,
    and what was opened could not be saved.

    Parameters
    ----------
    path : Path or Remote
        Group in Zarr format 3, of arrays or of groups of arrays.
    """
    root = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = {}

    def gather(folder: Location, above: str) -> None:
        for name in sorted(part.name for part in folder.iterdir()):
            try:
                node = json.loads((folder / name / "zarr.json").read_text(encoding="utf-8"))
            except (FileNotFoundError, NotADirectoryError):
                continue
            node.pop("consolidated_metadata", None)
            node["attributes"].pop("zarr_conventions", None)
            found[f"{above}{name}"] = node
            if node["node_type"] == "group":
                gather(folder / name, f"{above}{name}/")

    gather(path, "")
    root["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": found}
    write_whole(path / "zarr.json", json.dumps(root, indent=2) + "\n")
