"""Units that files state, compared with the catalogue's: the line from the one to the other, or None."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pint

__all__ = ["conversion", "part_of", "says_nothing"]

#: What is written where a value has no unit, or where nobody thought of one.
_NOTHING = {"", "-", "n/a", "na", "nan", "none", "null", "unknown", "unitless", "no units", "dimensionless"}
_NOTHING |= {"reflectance", "fraction", "vol. fraction", "undefined", "code", "class", "index", "dn"}
#: Common forms that pint reads otherwise or not at all.
_FORMS = {
    "c": "degC",
    "deg c": "degC",
    "deg_c": "degC",
    "degrees c": "degC",
    "degree c": "degC",
    "°c": "degC",
    "celsius": "degC",
    "degrees celsius": "degC",
    "degree celsius": "degC",
    "deg k": "K",
    "degrees k": "K",
    "kelvin": "K",
    "kelvins": "K",
    "deg": "degree",
    "degrees": "degree",
    "metre": "m",
    "meters above sea level": "m",
    "us survey foot": "survey_foot",
    "pct": "percent",
}
_DECIBEL = ("db", "decibel", "decibels")


def says_nothing(stated: str) -> bool:
    """Whether the text that stands for a unit names none."""
    return stated.strip().lower() in _NOTHING


def part_of(unit: str) -> tuple[float, str]:
    """Number and unit of a unit such as ``0.02 K``; 1 and the unit for any other."""
    found = re.fullmatch(r"([\d.]+(?:[eE][-+]?\d+)?) +(\D.*)", unit.strip())
    return (float(found[1]), found[2]) if found else (1.0, unit)


@lru_cache(maxsize=256)
def conversion(stated: str, wanted: str, daily: bool = False) -> tuple[float, float] | None:
    """Factor and offset that bring values of one unit to another.

    A mass of water on an area is its depth at 1000 kg m-3. A sum that a daily field states (mm, J m-2) is
    that of the day.

    Parameters
    ----------
    stated, wanted : str
        UDUNITS text.
    daily : bool
        Whether the values are fields of a day.

    Returns
    -------
    (float, float) or None
        ``wanted = stated x factor + offset``; None if there is no way, or the text is no unit.

    Examples
    --------
    >>> conversion("hPa", "kPa"), conversion("K", "0.02 K"), conversion("mm", "K")
    ((0.1, 0.0), (50.0, 0.0), None)
    """
    if _plain(stated) == _plain(wanted):
        return 1.0, 0.0
    if stated.strip().lower() in _DECIBEL or wanted.strip().lower() in _DECIBEL:
        return (1.0, 0.0) if stated.strip().lower() == wanted.strip().lower() else None
    return _between(stated, wanted) or (_between(f"({_plain(stated)})/day", wanted) if daily else None)


def _between(stated: str, wanted: str) -> tuple[float, float] | None:
    import pint

    registry = _registry()
    size, unit = part_of(wanted)
    try:
        one, goal = registry.parse_expression(_plain(stated)), registry.parse_expression(_plain(unit))
        one, goal = registry.Quantity(one), registry.Quantity(goal)
        if one.dimensionless and goal.dimensionless and ("degree" in str(goal.units)) != _angle(one):
            return None
        low, high = (registry.Quantity(k * one.magnitude, one.units).to(goal.units, "water") for k in (0, 1))
        scale = size * goal.magnitude
        offset = _round(float(low.magnitude / scale))
        return _round(float(high.magnitude / scale) - offset), offset
    except (pint.PintError, AssertionError, AttributeError, TypeError, ValueError, SyntaxError):
        return None  # what is no unit ends in many ways


def _angle(one: Any) -> bool:
    return any(word in str(one.units) for word in ("degree", "radian"))


def _round(value: float) -> float:
    """Without the residue of the arithmetic: units are related by few digits."""
    return float(f"{value:.12g}")


def _plain(unit: str) -> str:
    """A unit in pint's way of writing: ``kg m-2 s-1`` is ``kg*m**-2*s**-1``."""
    text = " ".join(unit.strip().split())
    text = _FORMS.get(text.lower(), text)
    text = (
        text.replace("^", "**").replace("%", "percent").replace("·", " ").replace("²", "2").replace("³", "3")
    )
    text = re.sub(r"(?<=[A-Za-z)])(-?\d+)", r"**\1", text)
    text = re.sub(r" *\* *(?!\*)", "*", text.replace("**", "@")).replace("@", "**")
    return re.sub(r" *([/*]+) *| +", lambda m: m[1] or "*", text)


def _depth(ureg: Any, value: Any, **_: Any) -> Any:
    """Depth of water from its mass on an area."""
    return value / ureg("1000 kg/m**3")


@lru_cache(maxsize=1)
def _registry() -> pint.UnitRegistry[float]:
    import pint

    registry: pint.UnitRegistry[float] = pint.UnitRegistry(autoconvert_offset_to_baseunit=True)
    water = pint.Context("water")
    for time in ("", "/[time]"):
        water.add_transformation(f"[mass]/[length]**2{time}", f"[length]{time}", _depth)
    registry.add_context(water)
    return registry
