"""A folder that is changed in a draft, which then replaces it: a reader finds the old state or the new one.

The draft is a copy by links, quick and without space of its own, named after the state that it was begun
from. A run that is killed leaves it; the next one goes on with it, or clears it where the folder has changed.
In an object store the draft is the next of the folder's states, begun by a copy within the store.
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from mmnet_maps.store.location import Location, Remote
from mmnet_maps.store.states import clear_states, next_state, state_of, switch
from mmnet_maps.store.whole import clear_draft, copy_folder, link_copy, marked, remove_folder, take_place

__all__ = ["updating"]


@contextmanager
def updating(folder: Location, keep: Collection[str] = ()) -> Iterator[Callable[[], Location]]:
    """Change a folder in a draft, which replaces it when the block ends well; for the holder of its lock.

    What stopped runs left behind is finished or cleared. Where the block fails the draft stays, and the next
    run goes on with it.

    Parameters
    ----------
    folder : Path or Remote
        Need not exist: the draft is then not there either, and the block makes it.
    keep : collection of str
        What stands beside the states of a folder in an object store, and is not of them.

    Yields
    ------
    callable
        Gives the draft, with what the folder holds. A block that does not ask for it changes nothing.

    Examples
    --------
    >>> folder = Path("maps")
    >>> with updating(folder) as draft:
    ...     draft().mkdir()
    ...     _ = (draft() / "a.txt").write_text("a day")
    ...     print(folder.exists())
    False
    >>> [path.name for path in folder.iterdir()]
    ['a.txt']
    """
    if isinstance(folder, Remote):
        with _next_state(folder, keep) as next_draft:
            yield next_draft
        return
    copying, replaced = (folder.with_name(f".{folder.name}.{name}") for name in ("copying", "replaced"))
    remove_folder(copying)
    if replaced.exists() and not folder.exists():
        replaced.replace(folder)
    remove_folder(replaced)
    begin = f".{folder.name}.from-"
    asked: list[Path] = []

    def draft() -> Path:
        if not asked:
            path = folder.with_name(f"{begin}{_state(folder)}.partial")
            _clear(folder, begin, path)
            if folder.exists() and not path.exists():
                link_copy(folder, copying)
                copying.replace(path)
            asked.append(path)
        return asked[0]

    yield draft
    if not asked:
        _clear(folder, begin)
    elif asked[0].exists():
        take_place(asked[0], folder, replaced)
        remove_folder(replaced)


@contextmanager
def _next_state(folder: Remote, keep: Collection[str]) -> Iterator[Callable[[], Remote]]:
    """The state before is left to those who read it, until the next change."""
    asked: list[Remote] = []

    def draft() -> Remote:
        if not asked:
            held, path = state_of(folder), next_state(folder)
            clear_states(folder, keep)
            clear_draft(path)
            if held != folder and not path.exists():
                with marked(path):
                    copy_folder(held, path)
            asked.append(path)
        return asked[0]

    yield draft
    if asked and asked[0].exists():
        switch(asked[0])


def _clear(folder: Path, begin: str, but: Path | None = None) -> None:
    """Remove drafts, and what stands beside drafts of runs that were killed: their locks and own drafts."""
    for name in (begin, f".{begin}"):
        for path in folder.parent.glob(f"{glob.escape(name)}*"):
            if path.is_file():
                path.unlink()
            elif path != but:
                remove_folder(path)


def _state(folder: Path) -> str:
    """What tells one state of a folder from another: names, sizes and times of its files."""
    seen = hashlib.sha256()
    for path in sorted(folder.rglob("*")) if folder.exists() else ():
        if path.is_file():
            about = path.stat()
            seen.update(f"{path.relative_to(folder)} {about.st_size} {about.st_mtime_ns}\n".encode())
    return seen.hexdigest()[:16]
