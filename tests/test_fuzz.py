"""Readers work or refuse with a line, whatever a file holds; a few examples of each, the same every time."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mmnet_maps.errors import InputError
from mmnet_maps.sources.stations.uscrn import read_uscrn

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux counts it")
def test_a_few_examples_of_every_reader(tmp_path: Path) -> None:
    # Longer: python -m tests.fuzz --minutes 10
    command = [sys.executable, "-m", "tests.fuzz", "--examples", "10", "--minutes", "5"]
    done = subprocess.run(
        [*command, "--keep", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-500:]
    assert "10 examples of" in done.stdout


def test_a_zip_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("CRND0103-2020-OK_Test_1_N.txt", "w") as file,
    ):
        for _ in range(200):
            file.write(bytes(2**20))
    with pytest.raises(InputError, match=r"Test_1_N.txt: holds 209,715,200 bytes, .* most 1,048,576"):
        read_uscrn(tmp_path / "z.zip")
