"""A file is there whole, as it was before, or not at all."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mmnet_maps.errors import InputError
from mmnet_maps.store.location import location
from mmnet_maps.store.whole import appearing, exchange, write_whole


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


def test_what_a_killed_writer_left_is_cleared_and_a_running_ones_is_kept(tmp_path: Path) -> None:
    host, ended = socket.gethostname(), subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, alive = (tmp_path / f".a.txt.{host}-{number}.part" for number in (ended.pid, os.getppid()))
    dead.write_text("half")
    alive.write_text("half")
    write_whole(tmp_path / "a.txt", "1")
    assert not dead.exists() and alive.exists()


def test_two_folders_swap_their_names(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system cannot exchange two names")
    assert (tmp_path / "a" / "b").exists() and (tmp_path / "b" / "a").exists()
    assert not exchange(tmp_path / "a", tmp_path / "none")


def test_it_is_not_there_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with appearing(path) as draft:
        draft.write_bytes(b"1")
        assert not path.exists() and draft.parent == path.parent
    assert path.read_bytes() == b"1"


def test_an_error_that_names_no_file_names_the_one_that_was_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.txt'"), appearing(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")


def test_a_link_that_leads_back_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").symlink_to(tmp_path / "b.zarr")
    (tmp_path / "b.zarr").symlink_to(tmp_path / "a.zarr")
    with pytest.raises(InputError, match=r"a.zarr: is a symbolic link that leads back to itself"):
        location(tmp_path / "a.zarr")
    assert location(tmp_path / "none.zarr") == tmp_path / "none.zarr"
