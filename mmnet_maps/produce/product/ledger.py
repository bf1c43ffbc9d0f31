"""The ledger: one small JSON file a finished unit, written after the unit's data.

Its presence means that the unit is done; what it holds tells whether it is still up to date.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mmnet_maps.errors import InputError

__all__ = ["Entry", "Ledger", "State"]

State = Literal["new", "done", "stale"]


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
    """

    first: int
    stop: int
    inputs: dict[str, Any]
    outputs: dict[str, str | None]
    outside: bool = False

    def changed(self, inputs: dict[str, Any]) -> list[str]:
        """Names of the inputs that differ from those given."""
        names = dict.fromkeys((*self.inputs, *inputs))
        return [name for name in names if self.inputs.get(name) != inputs.get(name)]


class Ledger:
    """Entries in a folder, a file ``KEY.json`` each.

    Parameters
    ----------
    path : Path
        Folder; it need not exist to be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, key: str) -> Entry | None:
        """The entry of a unit; None if it has not been finished.

        Raises
        ------
        InputError
            The file is not an entry.
        """
        place = self._place(key)
        try:
            return Entry(**json.loads(place.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise InputError(f"{place}: not a ledger entry ({error}); delete it to redo the unit") from None

    def write(self, key: str, entry: Entry) -> None:
        """Record a finished unit; the file appears whole or not at all."""
        self.path.mkdir(parents=True, exist_ok=True)
        place = self._place(key)
        draft = place.with_suffix(".partial")
        draft.write_text(json.dumps(vars(entry), indent=1, sort_keys=True) + "\n", encoding="utf-8")
        draft.replace(place)

    def remove(self, key: str) -> None:
        """Forget a unit, before its data are written again."""
        self._place(key).unlink(missing_ok=True)

    def state(self, key: str, inputs: dict[str, Any]) -> State:
        """Whether a unit with these inputs is new, done, or done from other inputs (stale)."""
        entry = self.read(key)
        if entry is None:
            return "new"
        return "stale" if entry.changed(inputs) else "done"

    def keys(self) -> Iterator[str]:
        """Keys of all finished units, in order."""
        if self.path.is_dir():
            yield from sorted(place.stem for place in self.path.glob("*-r*-c*.json"))

    def _place(self, key: str) -> Path:
        return self.path / f"{key}.json"
