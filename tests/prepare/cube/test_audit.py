"""What `cube show` tells, against a count by hand over the whole arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.prepare.cube import audit as cube_audit
from mmnet_maps.prepare.cube.audit import audit, audit_text
from mmnet_maps.prepare.cube.config import Target
from mmnet_maps.prepare.cube.store import build_cube, open_cube
from mmnet_maps.variables import Cadence, Variable

TARGET = Grid("EPSG:32612", (30.0, 0.0, 300000.0, 0.0, -30.0, 4120000.0), 40, 30)
PACKING = Packing(dtype="int16", scale=0.0001, missing=-9999)


@dataclass
class Reader:
    """One variable in memory, on the target's pixels."""

    values: np.ndarray
    days: np.ndarray
    variable: str = "Red"
    cadence: Cadence = "irregular"
    name: str = "hls"
    grid: Grid = field(default_factory=lambda: TARGET)

    @property
    def variables(self) -> dict[str, Packing]:
        return {self.variable: PACKING}

    @property
    def definitions(self) -> dict[str, Variable]:
        return {self.variable: published_catalogue()[self.variable]}

    def read(self, first: int, last: int, rows: slice, cols: slice) -> dict[str, np.ndarray]:
        return {self.variable: self.values[first:last, rows, cols]}

    def identity(self, first: int, last: int) -> str:
        return f"{first} {last}"


@pytest.fixture
def reader() -> Reader:
    random = np.random.default_rng(4)
    days = np.sort(random.choice(np.arange(18000, 18400), 50, replace=False))
    values = random.integers(1, 9000, (50, *TARGET.shape)).astype(np.int16)
    values[random.random(values.shape) < 0.6] = -9999
    values[:, 3, 4] = -9999  # a cell that never has a value
    values[7] = -9999  # a date without any
    values[20, 1, 1] = 12000  # reflectance 1.2
    return Reader(values, days)


def test_counts_gaps_and_ranges_are_those_of_a_count_by_hand(
    tmp_path: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cube_audit, "_COLUMN", 16)
    build_cube(Target(TARGET), [reader], tmp_path / "c.zarr")
    found = audit(open_cube(tmp_path / "c.zarr"))
    entry = found["variables"]["Red"]
    values = np.where(reader.values == -9999, np.nan, reader.values * 0.0001).reshape(50, -1)
    gaps = [np.diff(reader.days[~np.isnan(cell)]) for cell in values.T]
    assert entry["longest_gap_days"] == max(g.max() for g in gaps if g.size)
    assert entry["missing"] == pytest.approx(np.isnan(values).mean())
    assert entry["coverage"] == pytest.approx(1 - 1 / 1200)
    assert entry["dates"] == 49
    assert entry["from"] == str(np.datetime64(int(reader.days[0]), "D"))
    assert entry["minimum"] == pytest.approx(np.nanmin(values))
    assert entry["maximum"] == pytest.approx(1.2)
    assert entry["out_of_range"] == (values > 1).sum() == 1
    text = "\n".join(found["warnings"])
    assert "Red: 1 values (0.00%) are outside 0 to 1 1, found" in text
    assert "Red: 0.08% of the region's cells never have a value" in text
    assert "Red: 1 of 50 dates have no value in the region" in text
    longest = entry["longest_gap_days"]
    assert (longest > 90) == (f"a cell goes {longest} days without a value" in text)
    assert "warning: Red" in audit_text(found)


def test_a_variable_without_any_value_is_told(tmp_path: Path, reader: Reader) -> None:
    reader.values[:] = -9999
    build_cube(Target(TARGET), [reader], tmp_path / "c.zarr")
    found = audit(open_cube(tmp_path / "c.zarr"))
    assert found["warnings"] == ["Red: no value at all in the region"]
    assert found["variables"]["Red"]["minimum"] is None
    assert "100.0%" in audit_text(found)


def test_margins_and_what_lies_outside_the_polygon_count_nowhere(tmp_path: Path, reader: Reader) -> None:
    from shapely import box

    reader.values[:] = 5000
    reader.values[:, :20] = -9999
    lower = box(300000, 4118800, 300900, 4119400)  # rows 20 to 39
    build_cube(Target(TARGET, lower), [reader], tmp_path / "c.zarr")
    entry = audit(open_cube(tmp_path / "c.zarr"))["variables"]["Red"]
    assert entry["coverage"] == pytest.approx(1.0, abs=0.06)
    assert entry["minimum"] == entry["maximum"] == pytest.approx(0.5)
