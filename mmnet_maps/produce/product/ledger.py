"""The ledger: one small JSON file a finished unit, written after the unit's data.

Its presence means that the unit is done; what it holds tells whether it is still up to date.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mmnet_maps.store.location import Location
from mmnet_maps.store.whole import in_parallel, put_owned

__all__ = ["Entry", "Ledger"]


@dataclass(frozen=True)
class Entry:
    """What the ledger holds of a unit.

    Attributes
    ----------
    first, stop : int
        Days covered, since 1970-01-01; ``stop`` is exclusive.
    inputs : dict
        Digest of everything that the unit's values depend on, by what it is of.
    outputs : dict of str to str or None
        Digest of the stored object of every layer; None where all values are missing and nothing is stored.
    outside : bool
        The unit lies wholly outside the region: nothing was read or computed.
    days : list of str
        Digest of the stored values of every layer, day by day; empty in entries of older versions.
    processor : str
        Kind of processor that made it; empty in entries of older versions. Another kind is no reason to make
        a unit again: it gives the same values to float rounding.
    reach : dict of str to list of int or None
        By source that changes with the day: the first day whose observations the values rest on, then for
        each day the last one; None where there is no limit. Empty in entries of older versions.
    provisional : list of float
        For each day how many times as wide its intervals are, 0 of a final day; empty where all are final.
    as_of : int, optional
        Day on which provisional days were made, since 1970-01-01.
    """

    first: int
    stop: int
    inputs: dict[str, Any]
    outputs: dict[str, str | None]
    outside: bool = False
    days: list[str] = field(default_factory=list)
    processor: str = ""
    reach: dict[str, list[int | None]] = field(default_factory=dict)
    provisional: list[float] = field(default_factory=list)
    as_of: int | None = None

    def is_sound(self) -> bool:
        """Whether it has the form of an entry: what is in the file was written by anybody."""
        return (
            type(self.first) is int
            and type(self.stop) is int
            and isinstance(self.inputs, dict)
            and isinstance(self.outputs, dict)
            and isinstance(self.days, list)
            and isinstance(self.processor, str)
            and len(self.days) in (0, self.stop - self.first)
            and isinstance(self.reach, dict)
            and all(self._is_reach(days) for days in self.reach.values())
            and isinstance(self.provisional, list)
            and len(self.provisional) in (0, self.stop - self.first)
        )

    def _is_reach(self, days: Any) -> bool:
        whole = isinstance(days, list) and len(days) == 1 + self.stop - self.first
        return whole and all(day is None or type(day) is int for day in days)

    def is_provisional(self, day: int) -> bool:
        """Whether observations that can change a day were still to come when it was made."""
        return bool(self.provisional) and bool(self.provisional[day - self.first])

    def changed(self, inputs: dict[str, Any]) -> list[str]:
        """Names of the inputs that differ from those given."""
        names = dict.fromkeys((*self.inputs, *inputs))
        return [name for name in names if self.inputs.get(name) != inputs.get(name)]


class Ledger:
    """Entries in a folder, a file ``KEY.json`` each.

    Parameters
    ----------
    path : Path or Remote
        Folder; it need not exist to be read.
    """

    def __init__(self, path: Location) -> None:
        self.path = path

    def read(self, key: str) -> Entry | None:
        """The entry of a unit; None if it has not been finished, or what is there is no entry."""
        try:
            found = Entry(**json.loads(self._place(key).read_text(encoding="utf-8")))
        except (FileNotFoundError, IsADirectoryError, ValueError, TypeError, RecursionError):
            return None
        return found if found.is_sound() else None

    def read_all(self, keys: Iterable[str]) -> list[Entry | None]:
        """The entries of several units, in their order."""
        return in_parallel(self.read, keys, self.path)

    def write(self, key: str, entry: Entry, check: Callable[[], None] = lambda: None) -> None:
        """Record a finished unit; the file appears whole or not at all, and not where `check` raises."""
        self.path.mkdir(parents=True, exist_ok=True)
        text = json.dumps(vars(entry), indent=1, sort_keys=True) + "\n"
        put_owned(self._place(key), text.encode(), check)

    def remove(self, key: str) -> None:
        """Forget a unit, before its data are written again."""
        self._place(key).unlink(missing_ok=True)

    def keys(self) -> Iterator[str]:
        """Keys of all finished units, in order."""
        if self.path.is_dir():
            yield from sorted(place.stem for place in self.path.glob("*-r*-c*.json"))

    def _place(self, key: str) -> Location:
        return self.path / f"{key}.json"
