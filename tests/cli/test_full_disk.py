"""A disk that takes no more is one line with a path and status 1; the same command then goes on."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmnet_maps.grid import Grid
from mmnet_maps.prepare.cube.config import Target
from mmnet_maps.prepare.cube.store import build_cube
from mmnet_maps.produce.product.store import open_product
from tests.produce.conftest import FIRST, make_bundle, make_readers

_BOX = ["--box", "-112", "35", "-110", "37"]


def _limited(size: int) -> None:
    """Files of a process have at most so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_product_that_does_not_fit(tmp_path: Path, workers: str) -> None:
    grid = Grid("EPSG:32612", (30.0, 0.0, 420_000.0, 0.0, -30.0, 4_100_000.0), 64, 64)
    make_bundle(tmp_path / "bundle")
    readers = list(make_readers(grid, grid.crs, 30.0).values())
    build_cube(Target(grid, None, "test"), readers, tmp_path / "c.zarr")
    last = str(np.datetime64(FIRST + 15, "D"))
    command = [sys.executable, "-m", "mmnet_maps.cli", "predict", "--bundle", "bundle", "--cube", "c.zarr"]
    command += ["--start", "2020-03-01", "--end", last, "--out", "p.zarr", "--workers", workers]
    # The metadata of a new product are larger than this, or its shards are.
    size = 3_000 if workers == "1" else 30_000
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, preexec_fn=lambda: _limited(size)
    )
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if not line.startswith("units: ")]
    assert all("File too large: '" in line and "p.zarr" in line for line in lines), done.stderr
    assert len(lines) == (1 if workers == "1" else 2)
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert open_product(tmp_path / "p.zarr").finished_days().size == 16
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "c.zarr", "p.zarr"]


@pytest.mark.parametrize(
    ("command", "size", "said"),
    [
        (["export", "--product", "product", "--out", "maps"], 8_000, "maps/.* bytes are free there"),
        (
            ["extract", "product", "--out", "b.nc", *_BOX],
            8_000,
            "too large: 'b.nc'",
        ),
        (["view", "product", "--static", "page"], 8_000, "too large: 'page"),
    ],
)
def test_files_that_do_not_fit(
    make_product: Callable[..., Any], tmp_path: Path, command: list[str], size: int, said: str
) -> None:
    make_product(days=2)
    before = sorted(tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-m", "mmnet_maps.cli", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: _limited(size),
    )
    assert done.returncode == 1, done.stderr
    # Neither libtiff nor HDF5 has lines of its own.
    lines = [line for line in done.stderr.splitlines() if "mmnet-maps: " in line]
    assert len(lines) == 1 and re.search(said, lines[0]), done.stderr
    assert len(done.stderr.splitlines()) - len(lines) <= 1, done.stderr
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "maps"] == before
