"""A cube in the making: it is drafted aside, and takes its name at once when it is whole.

A cube that is brought up to date stays as it was, and readable, until then. On a file system, for a cube
``C``::

    C.partial     the draft: built anew, or begun as a copy of the cube by links
    .C.scratch    what is being copied or removed; never needed, cleared by the next build

An object store has no renaming. There a cube is a folder of states (`mmnet_maps.store.states`). A cube that
was copied there from a file system is read as it stands, and becomes states with its next build.

The attribute ``complete`` of the root tells a build that follows one which was stopped what is left to do:
false of a draft, "new" of a draft that is whole until it has taken its name and its predecessor is gone, true
of a finished cube. All functions here but `draft_of`, `is_cube` and `is_whole` are for the one build that
holds the cube's lock.
"""

from __future__ import annotations

import json
from typing import Any, cast

from mmnet_maps.errors import InputError
from mmnet_maps.store.arrays import create_group, open_group
from mmnet_maps.store.location import Location, Remote
from mmnet_maps.store.states import CURRENT, STATE, clear_states, next_state, state_of, switch
from mmnet_maps.store.whole import copy_folder, link_copy, remove_folder, rename, take_place

__all__ = [
    "appear",
    "begin",
    "begin_update",
    "draft_of",
    "is_cube",
    "is_whole",
    "leave_out",
    "resume",
    "settle",
]

_NEW = "new"


def draft_of(cube: Location) -> Location:
    """Where a cube is drafted."""
    if isinstance(cube, Remote):
        return next_state(cube)
    return cube.with_name(cube.name + ".partial")


def is_cube(cube: Location) -> bool:
    """Whether something under this name is a cube, begun or finished, or may be one."""
    return (state_of(cube) / "zarr.json").is_file() or (isinstance(cube, Remote) and draft_of(cube).exists())


def is_whole(state: object) -> bool:
    """Whether a cube under its name may be read: one that has just taken it is still called new."""
    return state is True or state == _NEW


def settle(cube: Location) -> None:
    """Finish what a build that was stopped had begun: a whole draft takes its name, the rest is cleared.

    Raises
    ------
    InputError
        Where the draft would be is something that no build leaves behind.
    """
    draft = draft_of(cube)
    held, drafted = _complete(state_of(cube)), _complete(draft)
    if drafted == _NEW:
        _take_name(cube)
    elif held == _NEW:
        _finish(cube)
    elif isinstance(cube, Remote):
        if drafted is None:
            remove_folder(draft)
        clear_states(cube)
        return
    elif draft.exists() and drafted is None and any(not _is_zarr_draft(p) for p in draft.iterdir()):
        raise InputError(f"{draft}: holds something else, and the cube is drafted there; move it away")
    elif drafted is None:
        remove_folder(draft)
    elif drafted is True and held is not None:
        raise InputError(f"{cube}: both it and {draft.name} are there; remove the one that is not wanted")
    if not isinstance(cube, Remote):
        remove_folder(_scratch(cube))


def begin(cube: Location) -> Location:
    """An empty draft."""
    if isinstance(cube, Remote):
        create_group(draft_of(cube), {"complete": False})
        return draft_of(cube)
    scratch = _scratch(cube)
    create_group(scratch, {"complete": False})
    return rename(scratch, draft_of(cube))


def begin_update(cube: Location) -> Location:
    """A draft that holds what the cube holds."""
    if isinstance(cube, Remote):
        copy_folder(state_of(cube), draft_of(cube), leave=(CURRENT,), apart=STATE)
        _say_complete(draft_of(cube), False)
        return draft_of(cube)
    scratch = _scratch(cube)
    link_copy(cube, scratch)
    _say_complete(scratch, False)
    return rename(scratch, draft_of(cube))


def resume(cube: Location) -> Location:
    """The draft of a build that was stopped, without files that it had only begun."""
    draft = draft_of(cube)
    if not isinstance(draft, Remote):
        for file in draft.rglob("*.partial"):
            file.unlink()
    _say_complete(draft, False)
    return draft


def leave_out(cube: Location, source: str) -> None:
    """Undo in the draft what was begun of a source: it is as in the cube, or not there."""
    draft, held = draft_of(cube) / source, state_of(cube) / source
    if not held.is_dir():
        remove_folder(draft)
    elif isinstance(cube, Remote):
        remove_folder(draft)
        copy_folder(held, draft)
    else:
        scratch = _scratch(cube)
        link_copy(held, scratch)
        remove_folder(draft)
        rename(scratch, draft)


def appear(cube: Location) -> None:
    """The draft is whole and becomes the cube; what was there before goes afterwards."""
    _say_complete(draft_of(cube), _NEW)
    _take_name(cube)


def _take_name(cube: Location) -> None:
    draft = draft_of(cube)
    if isinstance(cube, Remote):
        assert isinstance(draft, Remote)
        switch(draft)
    else:
        remove_folder(_scratch(cube))
        take_place(draft, cube, _scratch(cube))
    _finish(cube)


def _finish(cube: Location) -> None:
    if isinstance(cube, Remote):
        _say_complete(state_of(cube), True)
        clear_states(cube)
        return
    draft, scratch = draft_of(cube), _scratch(cube)
    if draft.exists():
        remove_folder(scratch)
        rename(draft, scratch)
    for file in cube.glob("zarr.*.partial"):  # of a build that was killed at the next line
        file.unlink()
    _say_complete(cube, True)
    remove_folder(scratch)


def _say_complete(folder: Location, state: bool | str) -> None:
    open_group(folder, "r+").attrs["complete"] = state


def _scratch(cube: Location) -> Location:
    return cube.with_name(f".{cube.name}.scratch")


def _is_zarr_draft(path: Location) -> bool:
    return path.suffix == ".partial" and path.is_file()


def _complete(folder: Location) -> Any:
    """What the root says of itself; None if it is no cube."""
    try:
        found = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
        return cast("dict[str, Any]", found)["attributes"].get("complete")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
