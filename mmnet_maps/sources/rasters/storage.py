"""How the files of a source store a variable, in its unit, and the one storage for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from mmnet_maps.errors import InputError
from mmnet_maps.packing import Packing
from mmnet_maps.source_reader import VariableConfig
from mmnet_maps.sources.rasters.formats import Band
from mmnet_maps.sources.rasters.units import conversion, part_of, says_nothing
from mmnet_maps.store.location import Location
from mmnet_maps.variables import Variable

__all__ = ["common_storage", "same_storage", "storage_of", "without_scale"]

#: A wider type for integers of which all may be values: one beyond them then stands for missing.
#: A variable whose whole range is below this is not told by whole numbers.
_FRACTIONS = 3.0
_WIDER = {"int8": "int16", "uint8": "int16", "int16": "int32", "uint16": "int32"}


def storage_of(
    path: Location, band: Band, keys: VariableConfig, variable: Variable, where: str, whole_days: bool
) -> Packing:
    """How a file stores a variable, with a scale and an offset that lead to the variable's unit.

    Parameters
    ----------
    path : Path or Remote
    band : Band
    keys : VariableConfig
        What the configuration says goes before what the file says.
    variable : Variable
    where : str
        Its key in the configuration.
    whole_days : bool
        Whether a field is all that there is of a day; a sum (mm) is then that of the day.

    Raises
    ------
    InputError
        The file states a unit that cannot be converted, or no missing value where one is needed.
    """
    scale = band.scale if keys.scale is None else keys.scale
    offset = band.offset if keys.offset is None else keys.offset
    if keys.scale is None and keys.offset is None:
        factor, shift = _to_unit(path, band, keys, variable, where, whole_days)
        scale, offset = scale * factor, offset * factor + shift
    missing = keys.missing if keys.missing is not None else next(iter(band.missing), None)
    dtype = band.dtype
    if missing is None and np.dtype(dtype).kind != "f":
        if not band.masked:
            raise InputError(
                f"{path}: {variable.name} is {dtype} without a nodata value; "
                f"say which stored value is missing: {where}.missing"
            )
        dtype = _WIDER.get(dtype, "float64")
        missing = None if dtype == "float64" else float(np.iinfo(dtype).min)
    return Packing(dtype=dtype, scale=scale, offset=offset, missing=missing)


def _to_unit(
    path: Location, band: Band, keys: VariableConfig, variable: Variable, where: str, whole_days: bool
) -> tuple[float, float]:
    """Factor and offset from the unit that a file states to that of the variable."""
    if variable.measure == "class":
        return 1.0, 0.0
    stated = keys.file_unit or band.unit
    if says_nothing(stated):
        size, unit = part_of(variable.unit)
        if size == 1.0 or not np.isclose(band.scale, size, rtol=1e-6):
            return 1.0, 0.0
        # The catalogue's unit is what the integers count; the file's scale leads past it, to the plain one.
        stated = unit
    found = conversion(stated, variable.unit, variable.cadence == "daily" and whole_days)
    if found is None:
        several = "" if whole_days else ", several fields of a day"
        raise InputError(
            f"{path}: {variable.name} is in {stated!r}{several}; expected {variable.unit!r} or a unit that "
            f"converts to it: say what the values are in, {where}.file_unit"
        )
    return found


def without_scale(
    source: str,
    stored: Mapping[str, Packing],
    variables: Mapping[str, Variable],
    keys: Mapping[str, VariableConfig],
) -> Iterator[str]:
    """A line for each variable of small numbers that is stored as whole ones, without a scale."""
    for name, packing in stored.items():
        low, high = variables[name].valid_range
        plain = np.dtype(packing.dtype).kind in "iu" and (packing.scale, packing.offset) == (1.0, 0.0)
        if (
            plain
            and keys[name].scale is None
            and variables[name].measure == "amount"
            and high - low < _FRACTIONS
        ):
            yield (
                f"source {source}: {name} is {packing.dtype} without a scale, though of {low:g} to {high:g}; "
                f"is it as the archive describes it? else give sources.{source}.variables.{name}.scale"
            )


def common_storage(stored: Mapping[Location, Packing]) -> Packing:
    """One storage for all files of a variable: theirs where they agree, else values in single precision.

    Scales that are equal in single precision, in which values are decoded, are one.
    """
    first = next(iter(stored.values()))
    if all(same_storage(first, other) for other in stored.values()):
        return first
    return Packing(dtype="float32")


def same_storage(one: Packing, other: Packing) -> bool:
    """Whether values stored in one way decode to the same numbers in the other."""
    numbers = ("scale", "offset")
    return (one.dtype, one.missing) == (other.dtype, other.missing) and all(
        np.float32(getattr(one, n)) == np.float32(getattr(other, n)) for n in numbers
    )
