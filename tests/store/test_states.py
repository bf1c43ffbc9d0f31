"""A folder of an object store that is changed as the next of its states."""

from __future__ import annotations

import contextlib

import pytest

from mmnet_maps.errors import InputError
from mmnet_maps.store.location import Location, Remote
from mmnet_maps.store.states import state_of
from mmnet_maps.store.updating import updating
from mmnet_maps.store.whole import is_draft
from tests.store.s3 import Server

FOLDER = Remote("s3://bucket", "a/maps")


def write(content: str, keep: tuple[str, ...] = ()) -> None:
    with updating(FOLDER, keep) as draft:
        (draft() / content).write_bytes(b"1")


def names(folder: Location = FOLDER) -> list[str]:
    assert isinstance(folder, Remote)
    return sorted(str(file.relative_to(folder)) for file in folder.files())


def test_the_state_before_stays_until_the_next_change(s3: Server) -> None:
    write("one")
    assert names() == ["current.json", "state-1/one"]
    write("two")
    (FOLDER / "entrance").write_bytes(b"")
    assert names() == ["current.json", "entrance", "state-1/one", "state-2/one", "state-2/two"]
    with updating(FOLDER, ("entrance",)):
        pass  # changes nothing
    assert len(names()) == 5
    write("three", ("entrance",))
    assert "state-1/one" not in names() and "state-2/two" in names() and "entrance" in names()
    assert names(state_of(FOLDER)) == ["one", "three", "two"]


def test_a_change_that_fails_is_gone_on_with_and_a_copy_that_was_cut_off_is_made_anew(s3: Server) -> None:
    write("one")
    with contextlib.suppress(ZeroDivisionError), updating(FOLDER) as draft:
        (draft() / "half").write_bytes(b"1")
        raise ZeroDivisionError
    assert names(state_of(FOLDER)) == ["one"]
    write("two")
    assert names(state_of(FOLDER)) == ["half", "one", "two"]
    # A killed copy: the mark of a draft, and some of the files.
    for name in (".draft", "one"):
        (FOLDER / "state-3" / name).write_bytes(b"")
    assert is_draft(FOLDER / "state-3")
    write("four")
    assert names(FOLDER / "state-3") == ["four", "half", "one", "two"]
    assert (FOLDER / "state-3" / "one").read_bytes() == b"1"


def test_a_damaged_name_of_the_state_is_one_line(s3: Server) -> None:
    for content in (b"{", b"[]", b'{"state": "x"}', b'{"state": null}', b"[" * 100_000):
        (FOLDER / "current.json").write_bytes(content)
        with pytest.raises(InputError, match=r"current\.json: is damaged, expected the name of a state$"):
            state_of(FOLDER)
