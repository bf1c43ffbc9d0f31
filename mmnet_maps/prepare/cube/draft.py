"""A cube in the making: it is drafted beside its name, and takes it at once when it is whole.

A cube that is brought up to date stays as it was, and readable, until then. For a cube ``C``::

    C.partial     the draft: built anew, or begun as a copy of the cube by links
    .C.scratch    what is being copied or removed; never needed, cleared by the next build

The attribute ``complete`` of the root tells a build that follows one which was stopped what is left to do:
false of a draft, "new" of a draft that is whole until it has taken its name and its predecessor is gone, true
of a finished cube. All functions here are for the one build that holds the cube's lock.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from mmnet_maps.errors import InputError
from mmnet_maps.store.arrays import create_group, open_group
from mmnet_maps.store.whole import exchange, link_copy, remove_folder

__all__ = ["appear", "begin", "begin_update", "draft_of", "leave_out", "resume", "settle"]

_NEW = "new"


def draft_of(cube: Path) -> Path:
    """Where a cube is drafted."""
    return cube.with_name(cube.name + ".partial")


def settle(cube: Path) -> None:
    """Finish what a build that was stopped had begun: a whole draft takes its name, the rest is cleared.

    Raises
    ------
    InputError
        Where the draft would be is something that no build leaves behind.
    """
    draft = draft_of(cube)
    held, drafted = _complete(cube), _complete(draft)
    if drafted == _NEW:
        _take_name(cube)
    elif held == _NEW:
        _finish(cube)
    elif draft.exists() and drafted is None and any(not _is_zarr_draft(p) for p in draft.iterdir()):
        raise InputError(f"{draft}: holds something else, and the cube is drafted there; move it away")
    elif drafted is None:
        remove_folder(draft)
    elif drafted is True and held is not None:
        raise InputError(f"{cube}: both it and {draft.name} are there; remove the one that is not wanted")
    remove_folder(_scratch(cube))


def begin(cube: Path) -> Path:
    """An empty draft."""
    scratch = _scratch(cube)
    create_group(scratch, {"complete": False})
    return scratch.replace(draft_of(cube))


def begin_update(cube: Path) -> Path:
    """A draft that holds what the cube holds."""
    scratch = _scratch(cube)
    link_copy(cube, scratch)
    open_group(scratch, "r+").attrs["complete"] = False
    return scratch.replace(draft_of(cube))


def resume(cube: Path) -> Path:
    """The draft of a build that was stopped, without files that it had only begun."""
    draft = draft_of(cube)
    for file in draft.rglob("*.partial"):
        file.unlink()
    open_group(draft, "r+").attrs["complete"] = False
    return draft


def leave_out(cube: Path, source: str) -> None:
    """Undo in the draft what was begun of a source: it is as in the cube, or not there."""
    draft, scratch = draft_of(cube), _scratch(cube)
    if (cube / source).is_dir():
        link_copy(cube / source, scratch)
        remove_folder(draft / source)
        scratch.replace(draft / source)
    else:
        remove_folder(draft / source)


def appear(cube: Path) -> None:
    """The draft is whole and becomes the cube; what was there before goes afterwards."""
    root = open_group(draft_of(cube), "r+")
    root.attrs["complete"] = _NEW
    _take_name(cube)


def _take_name(cube: Path) -> None:
    draft, scratch = draft_of(cube), _scratch(cube)
    remove_folder(scratch)
    if not cube.exists():
        draft.replace(cube)
    elif not exchange(draft, cube):
        # Without an exchange the name is free for a moment; `settle` goes on from there.
        cube.replace(scratch)
        draft.replace(cube)
    _finish(cube)


def _finish(cube: Path) -> None:
    draft, scratch = draft_of(cube), _scratch(cube)
    if draft.exists():
        remove_folder(scratch)
        draft.replace(scratch)
    for file in cube.glob("zarr.*.partial"):  # of a build that was killed at the next line
        file.unlink()
    open_group(cube, "r+").attrs["complete"] = True
    remove_folder(scratch)


def _scratch(cube: Path) -> Path:
    return cube.with_name(f".{cube.name}.scratch")


def _is_zarr_draft(path: Path) -> bool:
    return path.suffix == ".partial" and path.is_file()


def _complete(folder: Path) -> Any:
    """What the root says of itself; None if it is no cube."""
    try:
        found = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
        return cast("dict[str, Any]", found)["attributes"].get("complete")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
