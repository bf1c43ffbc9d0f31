"""Ctrl-C and SIGTERM end a command within seconds, with one line, and it goes on from there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mmnet_maps.grid import Grid
from mmnet_maps.prepare.cube.config import Target
from mmnet_maps.prepare.cube.store import build_cube
from tests.produce.conftest import FIRST, make_bundle, make_readers


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, and a cube of 400 units of maps."""
    folder = tmp_path_factory.mktemp("stopping")
    grid = Grid("EPSG:32612", (30.0, 0.0, 420_000.0, 0.0, -30.0, 4_100_000.0), 80, 80)
    make_bundle(folder / "bundle")
    build_cube(
        Target(grid, None, "test"), list(make_readers(grid, grid.crs, 30.0).values()), folder / "c.zarr"
    )
    return folder


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 1), (signal.SIGINT, 2)])
def test_a_run_is_stopped(world: Path, tmp_path: Path, number: signal.Signals, workers: int) -> None:
    out = tmp_path / "p.zarr"
    first, last = (str(np.datetime64(FIRST + d, "D")) for d in (0, 3))
    command = [sys.executable, "-m", "mmnet_maps.cli", "predict", "--bundle", str(world / "bundle")]
    command += ["--cube", str(world / "c.zarr"), "--start", first, "--end", last, "--out", str(out)]
    command += ["--tile", "8", "--block-days", "1", "--workers", str(workers)]
    # A group of its own, as a terminal gives it: Ctrl-C reaches the workers too.
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and len(list((out / "ledger").glob("2020*.json"))) < 3:
            assert process.poll() is None
            time.sleep(0.02)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        began = time.monotonic()
        said = process.communicate(timeout=60)[1]
    assert time.monotonic() - began < 15
    assert process.returncode == 128 + number
    lines = [line for line in said.splitlines() if not line.startswith("units: ")]
    assert len(lines) == 1, said
    assert lines[0].startswith("mmnet-maps: stopped (units: ") and "of 400 done" in lines[0]
    assert [p.name for p in tmp_path.iterdir()] == ["p.zarr"]
