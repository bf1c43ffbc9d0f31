"""The table of flags: what the bits of ``quality`` say of a pixel-day.

Attributes of stores and files, STAC, colours, the documentation and the constants of `trust` are derived from
`FLAG_TABLE`. A bit keeps its number for ever; a new flag takes the next free one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "FINE_COLOUR",
    "FLAGS",
    "FLAG_TABLE",
    "NO_FLAG",
    "UNKNOWN_COLOUR",
    "Flag",
    "colour_of",
    "masks",
    "meaning_of",
]

#: What a pixel-day without any flag is called, and its colour.
NO_FLAG, FINE_COLOUR = "no remark", "#e8f1e4"
#: Colour of a flag that this version does not know.
UNKNOWN_COLOUR = "#000000"


@dataclass(frozen=True)
class Flag:
    """One bit of ``quality``.

    Attributes
    ----------
    name : str
        As CF ``flag_meanings`` lists it.
    bit : int
        Its number, from 0.
    meaning : str
        In words.
    missing : bool
        Whether it explains a missing value; every missing value has at least one such flag. The other flags
        mark a value that is weak.
    colour : str
        ``#rrggbb``, in pictures and styles.
    """

    name: str
    bit: int
    meaning: str
    missing: bool
    colour: str

    @property
    def mask(self) -> int:
        """The value of ``quality`` with this bit alone."""
        return 1 << self.bit


#: Every flag by name, in the order of bits.
FLAG_TABLE: dict[str, Flag] = {
    flag.name: flag
    for flag in (
        Flag(
            "water_or_ice",
            0,
            "land cover is open water, ice or a code that is no class",
            True,
            "#3f6fb5",
        ),
        Flag("land_cover_missing", 1, "no land cover", True, "#8c5a3c"),
        Flag(
            "snapshot_missing",
            2,
            "an optical, radar, terrain, soil or other snapshot input is missing",
            True,
            "#7d5ba6",
        ),
        Flag("smap_missing", 3, "no SMAP value near enough in time", True, "#c24d7c"),
        Flag("series_missing", 4, "a day of the weather or temperature window is missing", True, "#5f5f5f"),
        Flag("snow_or_frozen", 5, "snow by its reflectance, or a surface below 0 degC", False, "#74c5e8"),
        Flag("urban", 6, "developed land", False, "#d1495b"),
        Flag(
            "outside_training_domain",
            7,
            "an input lies outside the range of the training rows",
            False,
            "#efb366",
        ),
        Flag("old_optical", 8, "the optical input is older than it should be", False, "#c9a227"),
        Flag("old_radar", 9, "the radar input is older than it should be", False, "#9bb53c"),
        Flag("old_smap", 10, "the SMAP input is older than it should be", False, "#3c9b8f"),
        Flag("old_other", 11, "another snapshot input is older than it should be", False, "#b08968"),
        Flag("window_gap_filled", 12, "more than half of a window of days is gap filled", False, "#f2dd6e"),
        Flag(
            "clipped",
            13,
            "the estimate left the physical range and was set to its end",
            False,
            "#e07a3f",
        ),
        Flag("no_interval", 14, "the bundle has no interval for the value", False, "#a9a9c9"),
        Flag("not_computed", 15, "outside the region, or not computed yet", True, "#b9b9b9"),
        Flag("adjusted", 16, "the estimate was brought to the level of a probe nearby", False, "#5b8c5a"),
        Flag("provisional", 17, "observations that can change the value are still to come", False, "#8fb8de"),
        Flag(
            "outside_applicability",
            18,
            "unlike the training rows: outside the area of applicability",
            False,
            "#9c6b98",
        ),
    )
}


def masks() -> dict[str, int]:
    """The bit of every flag of the table, by name, as CF ``flag_masks`` lists them."""
    return {flag.name: flag.mask for flag in FLAG_TABLE.values()}


def meaning_of(name: str) -> str:
    """A flag in words; of one that this version does not know, its name."""
    return FLAG_TABLE[name].meaning if name in FLAG_TABLE else name.replace("_", " ")


def colour_of(flags: Mapping[str, int], bits: int) -> str:
    """Colour of a value of ``quality``: that of its first flag.

    Parameters
    ----------
    flags : mapping of str to int
        Bits by meaning, as a product or a file lists them.
    bits : int
    """
    for name, mask in flags.items():
        if bits & mask:
            return FLAG_TABLE[name].colour if name in FLAG_TABLE else UNKNOWN_COLOUR
    return FINE_COLOUR


#: Bits of ``quality`` by meaning.
FLAGS: dict[str, int] = masks()
