"""A file is there whole, as it was before, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmnet_maps.whole_file import appearing, write_whole


def test_a_text_is_written_and_nothing_else(tmp_path: Path) -> None:
    assert write_whole(tmp_path / "a.txt", "ä\n") == tmp_path / "a.txt"
    assert (tmp_path / "a.txt").read_bytes() == "ä\n".encode()
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("before", [None, "old"])
def test_what_fails_halfway_leaves_the_file_as_it_was(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "a.csv"
    if before is not None:
        path.write_text(before)
    with pytest.raises(KeyboardInterrupt), appearing(path) as draft:
        draft.write_text("half")
        assert not path.exists() or path.read_text() == before
        raise KeyboardInterrupt
    assert [p.read_text() for p in tmp_path.iterdir()] == ([] if before is None else [before])


def test_it_is_not_there_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with appearing(path) as draft:
        draft.write_bytes(b"1")
        assert not path.exists() and draft.parent == path.parent
    assert path.read_bytes() == b"1"
