"""Climate normals of a cube: those of a table of the same weather, whatever the parts and the days held."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.dates import to_yyyymmdd
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.prepare.cube.config import CubeConfig, NormalsConfig, Target
from mmnet_maps.prepare.cube.normals import NormalsReader, normals_readers
from mmnet_maps.prepare.cube.store import build_cube, open_cube
from mmnet_maps.prepare.normals import climate_normals
from mmnet_maps.source_reader import SourceConfig, VariableConfig, defined

GRID = Grid("EPSG:32612", (4000.0, 0.0, 300_000.0, 0.0, -4000.0, 4_200_000.0), 5, 7)
FIRST, LAST = "2016-06-15", "2018-12-31"
PR = Packing(dtype="uint16", scale=0.1, missing=65535)
ETO = Packing(dtype="int16", scale=0.01, offset=3.0, missing=-1)


class Daily:
    """A daily source of made-up integers, two variables, some missing."""

    def __init__(self, name: str = "gridmet", first: str = FIRST, last: str = LAST) -> None:
        self.name, self.grid, self.cadence = name, GRID, "daily"
        self.variables = {"pr": PR, "eto": ETO}
        self.definitions = {v: published_catalogue()[v] for v in self.variables}
        self.days = np.arange(first, np.datetime64(last) + 1, dtype="datetime64[D]").astype(np.int64)
        rng = np.random.default_rng(5)
        shape = self.days.size, *GRID.shape
        self.stored: dict[str, NDArray[Any]] = {
            "pr": rng.integers(0, 400, shape).astype(np.uint16),
            "eto": rng.integers(0, 500, shape).astype(np.int16),
        }
        self.stored["pr"][rng.random(shape) < 0.1] = 65535
        self.longest = 0

    def read(self, first: int, last: int, rows: slice, cols: slice) -> dict[str, NDArray[Any]]:
        self.longest = max(self.longest, last - first)
        return {n: v[first:last, rows, cols] for n, v in self.stored.items()}

    def identity(self, first: int, last: int) -> str:
        return f"{first} {last} {int(self.stored['pr'][first:last].sum())}"


def as_table(source: Daily) -> pd.DataFrame:
    """The same weather as a table, a station a cell."""
    cells = GRID.height * GRID.width
    columns = {n: packing.decode(source.stored[n]).ravel() for n, packing in source.variables.items()}
    dates = np.repeat(to_yyyymmdd(source.days), cells)
    ids = np.tile([f"{i:02d}" for i in range(cells)], source.days.size)
    return pd.DataFrame({"ID": ids, "Date": dates, **columns})


def whole(reader: NormalsReader) -> dict[str, NDArray[np.float32]]:
    return reader.read(0, 1, slice(0, GRID.height), slice(0, GRID.width))


def test_normals_of_cells_are_those_of_stations_with_the_same_weather() -> None:
    source = Daily()
    source.stored["pr"][:, 2, 3] = np.where(to_yyyymmdd(source.days) // 100 % 100 == 4, 65535, 7)
    (reader,) = normals_readers(NormalsConfig(until=2017), [source])
    found, expected = whole(reader), climate_normals(as_table(source), ["pr", "eto"], 2017)
    for name in ("pr_normal", "eto_normal"):
        np.testing.assert_allclose(found[name].ravel(), expected[name], rtol=1e-7)
    assert np.isnan(found["pr_normal"][0, 2, 3]) and np.isnan(found["pr_normal"]).sum() == 1
    assert source.longest <= 32
    # By hand: the mean of the means of the months.
    pr = PR.decode(source.stored["pr"][:, 1, 1]).astype(float)
    when = pd.DatetimeIndex(source.days.astype("datetime64[D]"))
    months = pd.Series(pr[when.year <= 2017]).groupby(when.month[when.year <= 2017]).mean()
    assert found["pr_normal"][0, 1, 1] == pytest.approx(months.mean(), rel=1e-6)


def test_a_normal_has_the_same_bits_in_any_window_and_ignores_other_years() -> None:
    source = Daily()
    (reader,) = normals_readers(NormalsConfig(since=2017, until=2017), [source])
    found = whole(reader)
    part = reader.read(0, 1, slice(1, 4), slice(2, 3))
    np.testing.assert_array_equal(part["eto_normal"], found["eto_normal"][:, 1:4, 2:3])
    before = reader.identity(0, 1)
    year = to_yyyymmdd(source.days) // 10_000
    source.stored["pr"][year != 2017] = 399
    assert reader.identity(0, 1) == before
    np.testing.assert_array_equal(whole(reader)["pr_normal"], found["pr_normal"])
    source.stored["pr"][year == 2017] = 399
    assert reader.identity(0, 1) != before


def test_a_cube_holds_normals_of_years_before_its_own_days(tmp_path: Path) -> None:
    source = Daily()
    target = Target(Grid("EPSG:32612", (500.0, 0.0, 304_000.0, 0.0, -500.0, 4_196_000.0), 16, 24))
    readers = [source, *normals_readers(NormalsConfig(until=2017), [source])]
    start = int(np.datetime64("2018-11-01").astype(int))
    build_cube(target, readers, tmp_path / "c.zarr", (start, None), 1)
    cube = open_cube(tmp_path / "c.zarr")
    held = cube.source_of("pr_normal")
    assert held.name == "gridmet_normals" and held.cadence == "static"
    assert cube.source_of("pr").days[0] == start
    assert cube.variables["eto_normal"].long_name.endswith("mean of the years to 2017")
    offset = held.grid.aligned_offset(GRID)
    assert offset is not None
    read = held.read("pr_normal", 0, 1, slice(2, 4), slice(2, 5))[0]
    row, col = offset[0] + 2, offset[1] + 2
    np.testing.assert_array_equal(
        read,
        whole(readers[1])["pr_normal"][0, row : row + 2, col : col + 3],  # type: ignore[arg-type]
    )
    again = build_cube(target, readers, tmp_path / "c.zarr", (start, None), 1)
    assert again["parts_built"] == 0
    source.stored["pr"][0] = 3
    assert build_cube(target, readers, tmp_path / "c.zarr", (start, None), 1)["parts_built"] == 1


@pytest.mark.parametrize(
    ("keys", "source", "message"),
    [
        ({"until": 2015}, Daily(), "source gridmet has 0 days of month 1 in the years to 2015, its rasters"),
        ({"until": 2016}, Daily(), "has 0 days of month 1 in the years to 2016.* static source instead"),
        ({"until": 2018, "since": 2019}, None, "since 2019 is after until 2018"),
        ({"until": 2018, "variables": ["tmax"]}, Daily(), "no source holds tmax; expected daily rasters"),
        ({"until": 2018, "varables": ["pr"]}, None, "unknown key normals.varables"),
        ({"since": 2016}, None, "normals.until"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(keys: dict[str, Any], source: Any, message: str) -> None:
    grid = {"crs": "EPSG:32612", "resolution": 30}
    region = {"box": [-113.1, 37.1, -112.9, 37.3]}
    sources = {"gridmet": {"path": "x", "variables": ["pr"]}}
    with pytest.raises(InputError, match=message) as error:
        found = CubeConfig.from_mapping(
            {"region": region, "grid": grid, "sources": sources, "normals": keys}, "c.yaml"
        )
        assert found.normals is not None
        normals_readers(found.normals, _of(source))
    assert "\n" not in str(error.value)


def _of(source: Any) -> Sequence[Any]:
    return [source]


def test_rasters_of_normals_can_be_listed_without_declaring_them() -> None:
    variable = defined("vpd_normal", VariableConfig(), "normals", None)
    assert (variable.unit, variable.kind, variable.cadence) == ("kPa", "constant", "static")
    config = SourceConfig.model_validate({"path": "x", "variables": ["vpd_normal"]})
    assert list(config.variables) == ["vpd_normal"]
    with pytest.raises(InputError, match="elevation_normal: not in the catalogue"):
        defined("elevation_normal", VariableConfig(), "normals", None)
