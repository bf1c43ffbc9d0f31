"""``cube build`` and ``cube show`` from the command line."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from mmnet_maps.cli import main

YAML = """
region: {box: [300000, 4119390, 300600, 4119990], crs: EPSG:32612}
grid: {crs: EPSG:32612, resolution: 30}
sources:
  hls: {path: hls, variables: [Red]}
"""


@dataclass
class Done:
    """What a command left."""

    status: int
    stdout: str
    stderr: str


class Shell:
    """Runs commands as the console script does, in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: str) -> Done:
        self.monkeypatch.setattr(sys, "argv", ["mmnet-maps", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        return Done(int(stopped.value.code or 0), *self.capsys.readouterr())


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hls").mkdir()
    profile = {"driver": "GTiff", "count": 1, "dtype": "int16", "nodata": -9999, "crs": "EPSG:32612"}
    transform = Affine(30, 0, 300000, 0, -30, 4119990)
    for day in ("20200101", "20200109"):
        path = tmp_path / "hls" / f"HLS_{day}.tif"
        with rasterio.open(path, "w", height=20, width=20, transform=transform, **profile) as file:
            file.write(np.full((1, 20, 20), 2000, dtype=np.int16))
            file.scales = (0.0001,)
    (tmp_path / "c.yaml").write_text(YAML)
    return tmp_path


def test_a_cube_is_built_and_shown(folder: Path, run: Shell) -> None:
    built = run("cube", "build", "--config", "c.yaml", "--out", "c.zarr", "--json")
    assert built.status == 0, built.stderr
    assert json.loads(built.stdout)["sources"]["hls"]["days"] == 2
    shown = run("cube", "show", "c.zarr", "--json")
    assert shown.status == 0, shown.stderr
    red = json.loads(shown.stdout)["variables"]["Red"]
    assert (red["dates"], red["missing"], red["longest_gap_days"]) == (2, 0.0, 8)
    assert "Red" in run("cube", "show", "c.zarr").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["cube", "build", "--config", "none.yaml", "--out", "d.zarr"],
            "none.yaml: no such configuration file",
        ),
        (
            ["cube", "build", "--config", "c.yaml", "--out", "d.zarr", "--set", "start=2021-01-01"],
            "source hls has no day in 2021-01-01 to open",
        ),
        (
            ["cube", "build", "--config", "c.yaml", "--out", "d.zarr", "--set", "sources.hls.path=gone"],
            "gone: no such file or folder",
        ),
        (["cube", "show", "none.zarr"], "none.zarr: no cube here"),
    ],
)
def test_a_wrong_input_is_one_line_and_status_2(
    folder: Path, run: Shell, arguments: list[str], message: str
) -> None:
    done = run(*arguments)
    assert done.status == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(folder.glob("d.zarr*"))
