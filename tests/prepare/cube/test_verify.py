"""Damage to a stored cube is found and named, and made good by the next build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.cli import app
from mmnet_maps.errors import WorkError
from mmnet_maps.grid import Grid
from mmnet_maps.jobs.cubes import verify_cube
from mmnet_maps.packing import Packing
from mmnet_maps.prepare.cube.config import Target
from mmnet_maps.prepare.cube.store import build_cube, open_cube
from mmnet_maps.prepare.cube.verify import chunk_digests
from mmnet_maps.variables import Cadence, Variable

GRID = Grid("EPSG:32612", (30.0, 0.0, 300000.0, 0.0, -30.0, 4120000.0), 40, 30)
PACKING = Packing(dtype="int16", scale=0.0001, missing=-9999)


class Scenes:
    """Two bands of random values; NIR is missing throughout on the first eight days."""

    name, grid = "hls", GRID
    cadence: Cadence = "irregular"
    days = np.arange(1, 13, dtype=np.int64)

    def __init__(self) -> None:
        self.variables = {"Red": PACKING, "NIR": PACKING}
        draw = np.random.default_rng(1).integers
        self.values = {name: draw(1, 5000, (12, 40, 30)).astype(np.int16) for name in self.variables}
        self.values["NIR"][:8] = -9999

    @property
    def definitions(self) -> dict[str, Variable]:
        return {name: published_catalogue()[name] for name in self.variables}

    def read(self, first: int, last: int, rows: slice, cols: slice) -> dict[str, np.ndarray]:
        return {name: values[first:last, rows, cols] for name, values in self.values.items()}

    def identity(self, first: int, last: int) -> str:
        return f"{first} {last}"


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 4
    path.write_bytes(bytes(data))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "lost": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "flipped": _flip,
    "swapped": lambda path: path.write_bytes((path.parents[4] / "Red/c/1/0/0").read_bytes()),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damage_is_named_and_the_next_build_makes_it_good(tmp_path: Path, how: str) -> None:
    out = tmp_path / "c.zarr"
    build_cube(Target(GRID), [Scenes()], out)
    assert verify_cube(out) == {"path": str(out), "shards": 2, "damaged": []}
    assert not (out / "hls/NIR/c/0/0/0").exists(), "all is missing: nothing is stored, and that is no damage"
    shard = out / "hls/Red/c/0/0/0"
    before = shard.read_bytes()
    DAMAGE[how](shard)
    assert str(shard) in verify_cube(out)["damaged"]
    if how in ("cut", "flipped"):
        with pytest.raises(WorkError, match="Red: stored values cannot be read"):
            source = open_cube(out).sources["hls"]
            source.read("Red", 0, 8, slice(0, 40), slice(0, 30))
    if how not in ("lost", "emptied"):
        shard.unlink()
    assert build_cube(Target(GRID), [Scenes()], out)["parts_built"] == 1
    assert shard.read_bytes() == before
    assert build_cube(Target(GRID), [Scenes()], out)["parts_built"] == 0


def test_the_steps_of_two_chunks_are_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, held = tmp_path / "c.zarr", list[int]()
    build_cube(Target(GRID), [Scenes()], out)

    def noted(blocks: dict[str, np.ndarray], *rest: Any) -> Any:
        held.extend(len(block) for block in blocks.values())
        return chunk_digests(blocks, *rest)

    monkeypatch.setattr("mmnet_maps.prepare.cube.verify.chunk_digests", noted)
    assert verify_cube(out)["damaged"] == []
    # 12 steps of two variables in chunks of one step, though a shard has eight.
    assert held == [2] * 12


def test_the_command_names_the_file_and_fails(tmp_path: Path) -> None:
    out = tmp_path / "c.zarr"
    build_cube(Target(GRID), [Scenes()], out)
    fine = CliRunner().invoke(app, ["cube", "verify", str(out)])
    assert fine.exit_code == 0 and "2 shards, 0 damaged" in fine.stdout
    (out / "hls/Red/c/1/0/0").unlink()
    broken = CliRunner().invoke(app, ["cube", "verify", str(out)])
    assert isinstance(broken.exception, WorkError)
    assert "Red/c/1/0/0; remove them and run" in str(broken.exception)
