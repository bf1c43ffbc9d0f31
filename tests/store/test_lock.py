"""One writer at a time, and an old worker's write is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.produce.product.ledger import Ledger
from mmnet_maps.store.lock import check_owner, sole_writer


def test_a_second_writer_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "new" / "product"
    with sole_writer(path):
        words = rf"another run is writing to it \(process {os.getpid()} on "
        with pytest.raises(InputError, match=words), sole_writer(path):
            pass
        with sole_writer(tmp_path / "new" / "other"):
            pass
    assert not list(tmp_path.iterdir())


def test_a_run_that_lost_the_lock_may_not_write(tmp_path: Path) -> None:
    path = tmp_path / "product"
    with sole_writer(path) as first:
        check_owner(path, first)
    with pytest.raises(WorkError, match="the run that asked for this unit has ended: nothing is written"):
        check_owner(path, first)
    with sole_writer(path) as second, pytest.raises(WorkError, match=f"process {os.getpid()} on .* now"):
        assert second != first
        check_owner(path, first)


def test_the_lock_of_a_killed_run_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "product"
    code = "import os, sys, pathlib\nfrom mmnet_maps.store.lock import sole_writer\n"
    code += "with sole_writer(pathlib.Path(sys.argv[1])) as run:\n    print(run, flush=True)\n    os._exit(9)"
    killed = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    check_owner(path, killed.stdout.strip())  # nobody has taken over: what is under way may end
    with sole_writer(path), pytest.raises(WorkError, match="has ended"):
        check_owner(path, killed.stdout.strip())
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_with_what_was_being_written(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match=r"No space left on device: '.*p\.zarr'"),
        sole_writer(tmp_path / "p.zarr"),
    ):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff{", b'{"run": 7}', b"[" * 100_000])
def test_a_foreign_lock_file_is_no_owner(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "product"
    (tmp_path / ".product.lock").write_bytes(content)
    with pytest.raises(WorkError, match="has ended"):
        check_owner(path, "a")
    with sole_writer(path) as run:
        check_owner(path, run)


def test_a_folder_under_the_name_of_a_ledger_entry_is_no_entry(tmp_path: Path) -> None:
    (tmp_path / "k.json").mkdir()
    assert Ledger(tmp_path).read("k") is None
