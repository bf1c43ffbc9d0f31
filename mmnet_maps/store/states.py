"""A folder of an object store as a list of states, of which one is current: this replaces renaming there.

::

    F/current.json    names the state that counts: ``{"state": "state-7"}``; put last, at once
    F/state-7/        what F holds, file by file as on a file system
    F/state-8/        the draft of the next state

A folder that was copied there from a file system has no states, and is what it holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from mmnet_maps.errors import InputError
from mmnet_maps.store.location import Location, Remote
from mmnet_maps.store.whole import remove_folder, write_whole

__all__ = [
    "CURRENT",
    "STATE",
    "clear_states",
    "folder_of_state",
    "next_state",
    "standing_state",
    "state_of",
    "switch",
]

#: How states are called, and the object that names the one that counts.
STATE, CURRENT = "state-", "current.json"
_STATE = re.compile(rf"{STATE}\d+")


def state_of(folder: Location) -> Location:
    """Where what a folder holds is: the state that counts, or the folder itself where it has none."""
    number = _number(folder) if isinstance(folder, Remote) else 0
    return folder / f"{STATE}{number}" if number else folder


def next_state(folder: Remote) -> Remote:
    """Where the next state is drafted."""
    return folder / f"{STATE}{_number(folder) + 1}"


def standing_state(folder: Location) -> Location:
    """The state that counts; where there is none yet, a name that nothing has."""
    return folder / f"{STATE}{_number(folder)}" if isinstance(folder, Remote) else folder


def folder_of_state(state: Location) -> Location:
    """The folder that a state belongs to; what is no state is its own."""
    if isinstance(state, Remote) and _STATE.fullmatch(state.name):
        return state.parent
    return state


def switch(state: Remote) -> None:
    """Let a draft that is whole be what its folder holds, at once."""
    write_whole(state.parent / CURRENT, json.dumps({"state": state.name}) + "\n")


def clear_states(folder: Remote, keep: Collection[str] = ()) -> None:
    """Remove what is neither the state that counts nor its draft, nor has a name to be kept.

    A reader of an older state finds its root gone first.
    """
    held, draft = state_of(folder), next_state(folder)
    if held == folder:
        return
    keep = {held.name, draft.name, CURRENT, *keep}
    old = [part for part in folder.iterdir() if part.name not in keep]
    for part in sorted(old, key=lambda part: part.name != "zarr.json"):
        remove_folder(part)
        part.unlink(missing_ok=True)


def _number(folder: Remote) -> int:
    """Number of the state that counts; 0 where the folder itself does, or nothing is there."""
    try:
        found = json.loads((folder / CURRENT).read_text())["state"]
        return int(str(found).removeprefix(STATE))
    except FileNotFoundError:
        return 0
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{folder / CURRENT}: is damaged, expected the name of a state") from None
