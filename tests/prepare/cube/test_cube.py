"""Building a cube and reading it back: values, gaps, regions, resuming, and what is refused."""

from __future__ import annotations

import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from shapely import Polygon

from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid, Tile, cell_lookup
from mmnet_maps.packing import Packing
from mmnet_maps.prepare.cube import build as cube_build
from mmnet_maps.prepare.cube import draft
from mmnet_maps.prepare.cube import layout as cube_layout
from mmnet_maps.prepare.cube.config import Target
from mmnet_maps.prepare.cube.store import Cube, build_cube, open_cube
from mmnet_maps.store.location import Location, Remote
from mmnet_maps.store.lock import sole_writer
from mmnet_maps.variables import Cadence, Variable

CATALOGUE = published_catalogue()
TARGET = Grid("EPSG:32612", (30.0, 0.0, 300000.0, 0.0, -30.0, 4120000.0), 90, 70)
INT16 = Packing(dtype="int16", scale=0.0001, missing=-9999)
UINT8 = Packing(dtype="uint8", missing=0)
FLOAT = Packing(dtype="float32")


@dataclass
class Reader:
    """A source in memory that counts what is read of it."""

    name: str
    grid: Grid
    variables: dict[str, Packing]
    values: dict[str, np.ndarray]
    days: np.ndarray
    cadence: Cadence = "irregular"
    marks: dict[int, str] = field(default_factory=dict)
    reads: list[tuple[int, int, slice, slice]] = field(default_factory=list)
    fail_at: int | None = None

    @property
    def definitions(self) -> dict[str, Variable]:
        return {name: CATALOGUE[name] for name in self.variables}

    def read(self, first: int, last: int, rows: slice, cols: slice) -> dict[str, np.ndarray]:
        if self.fail_at is not None and len(self.reads) >= self.fail_at:
            raise OSError("the disk is gone")
        assert 0 <= rows.start < rows.stop <= self.grid.height
        assert 0 <= cols.start < cols.stop <= self.grid.width
        self.reads.append((first, last, rows, cols))
        return {name: values[first:last, rows, cols] for name, values in self.values.items()}

    def identity(self, first: int, last: int) -> str:
        days = self.days[first:last].tolist() if self.days.size else []
        return str([(day, self.marks.get(day, "")) for day in days])


def _draw(seed: int, shape: tuple[int, ...], packing: Packing, gaps: float = 0.2) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = random.integers(1, 200, shape).astype(packing.dtype)
    values[random.random(shape) < gaps] = np.nan if packing.missing is None else packing.missing
    return values


def _hls(days: list[int], grid: Grid = TARGET, seed: int = 0) -> Reader:
    values = {
        name: np.stack([_draw(seed + 10 * day + k, grid.shape, INT16) for day in days])
        for k, name in enumerate(("Red", "NIR"))
    }
    return Reader("hls", grid, {"Red": INT16, "NIR": INT16}, values, np.array(days, dtype=np.int64))


def _weather(count: int = 40) -> Reader:
    grid = Grid("EPSG:4326", (1 / 24, 0.0, -113.5, 0.0, -1 / 24, 37.6), 20, 24)
    days = np.arange(18000, 18000 + count)
    return Reader(
        "gridmet", grid, {"pr": INT16}, {"pr": _draw(5, (count, 20, 24), INT16)}, days, cadence="daily"
    )


def _static(grid: Grid = TARGET) -> Reader:
    values = {"elevation": _draw(9, (1, *grid.shape), FLOAT)}
    return Reader(
        "terrain", grid, {"elevation": FLOAT}, values, np.array([], dtype=np.int64), cadence="static"
    )


def _expected(reader: Reader, cube: Cube, name: str) -> np.ndarray:
    """What the cube should hold over its window, by index arithmetic on the whole source."""
    source = cube.sources[reader.name]
    offset = source.grid.aligned_offset(reader.grid)
    assert offset is not None
    packing = reader.variables[name]
    full = reader.values[name]
    missing = np.nan if packing.missing is None else packing.missing
    out = np.full((len(full), *source.grid.shape), missing, dtype=packing.dtype)
    for row in range(source.grid.height):
        for col in range(source.grid.width):
            i, j = row + offset[0], col + offset[1]
            if 0 <= i < reader.grid.height and 0 <= j < reader.grid.width:
                out[:, row, col] = full[:, i, j]
    return out


def _read_all(cube: Cube, name: str) -> np.ndarray:
    source = cube.source_of(name)
    height, width = source.grid.shape
    return source.read(name, 0, source.steps, slice(0, height), slice(0, width))


def test_every_stored_value_comes_back(tmp_path: Path) -> None:
    readers = [_hls([18001, 18009, 18017]), _weather(), _static()]
    summary = build_cube(Target(TARGET), readers, tmp_path / "c.zarr")
    cube = open_cube(tmp_path / "c.zarr")
    assert summary["parts"] == summary["parts_built"] == 3
    assert cube.grid == TARGET
    assert set(cube.variables) == {"Red", "NIR", "pr", "elevation"}
    for reader in readers:
        for name in reader.variables:
            np.testing.assert_array_equal(_read_all(cube, name), _expected(reader, cube, name))
            assert cube.source_of(name).variables[name] == reader.variables[name]
        np.testing.assert_array_equal(cube.sources[reader.name].days, reader.days)
    assert cube.source_of("pr").units == {"pr": "mm d-1"}
    assert not (tmp_path / "c.zarr.partial").exists()


def test_every_pixel_finds_its_cell_in_the_window_of_a_coarse_source(tmp_path: Path) -> None:
    weather = _weather()
    build_cube(Target(TARGET), [weather], tmp_path / "c.zarr")
    source = open_cube(tmp_path / "c.zarr").sources["gridmet"]
    lookup = cell_lookup(TARGET, Tile(0, 0, *TARGET.shape), source.grid)
    assert (lookup.index >= 0).all()
    whole = cell_lookup(TARGET, Tile(0, 0, *TARGET.shape), weather.grid)
    mine = source.read("pr", 7, 8, lookup.rows, lookup.cols)[0].ravel()[lookup.index]
    theirs = weather.values["pr"][7, whole.rows, whole.cols].ravel()[whole.index]
    np.testing.assert_array_equal(mine, theirs)
    assert lookup.rows.start >= 2
    assert lookup.rows.stop <= source.grid.height - 2
    assert source.grid.height < weather.grid.height


def test_a_source_smaller_than_the_region_is_missing_outside_never_zero(tmp_path: Path) -> None:
    small = TARGET.crop(Tile(20, 10, 30, 40))
    build_cube(Target(TARGET), [_hls([18001], small), _static(small)], tmp_path / "c.zarr")
    cube = open_cube(tmp_path / "c.zarr")
    red, elevation = _read_all(cube, "Red")[0], _read_all(cube, "elevation")[0]
    assert red.shape == TARGET.shape
    outside = np.ones(TARGET.shape, dtype=bool)
    outside[20:50, 10:50] = False
    assert (red[outside] == -9999).all()
    assert np.isnan(elevation[outside]).all()
    assert not (red == 0).any()


def test_an_unwritten_chunk_reads_as_missing(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "g.zarr")
    made = cube_layout.create_source(
        group, "s", TARGET, "daily", cube_layout.choose_layout(90, 70, False, False)
    )
    for name, packing in (("Red", INT16), ("LC", UINT8), ("NIR", FLOAT)):
        cube_layout.add_variable(made, CATALOGUE[name], packing)
    cube_layout.set_days(made, np.array([1, 2, 3], dtype=np.int64))
    assert (np.asarray(made["Red"][...]) == -9999).all()
    assert (np.asarray(made["LC"][...]) == 0).all()
    assert np.isnan(np.asarray(made["NIR"][...])).all()


def test_xarray_and_rioxarray_open_a_source(tmp_path: Path) -> None:
    reader = _hls([18001, 18009])
    build_cube(Target(TARGET), [reader, _static()], tmp_path / "c.zarr")
    data = xr.open_zarr(tmp_path / "c.zarr", group="hls", consolidated=False, decode_coords="all")
    assert data["time"].values.astype("datetime64[D]").astype(int).tolist() == [18001, 18009]
    decoded = INT16.decode(reader.values["Red"])
    np.testing.assert_allclose(data["Red"].values, decoded, rtol=1e-6)
    assert np.isnan(data["Red"].values).sum() == (reader.values["Red"] == -9999).sum()
    import rioxarray  # noqa: F401

    assert data.rio.crs.to_epsg() == 32612
    assert tuple(data.rio.transform())[:6] == TARGET.transform
    static = xr.open_zarr(tmp_path / "c.zarr", group="terrain", consolidated=False)
    np.testing.assert_array_equal(static["elevation"].values, _static().values["elevation"][0])


REGION = Polygon([(300300, 4119700), (301500, 4119700), (300300, 4118200)])


def test_pixels_outside_the_polygon_are_not_read_and_not_written(tmp_path: Path) -> None:
    target = Grid("EPSG:32612", (30.0, 0.0, 300000.0, 0.0, -30.0, 4120000.0), 2100, 1200)
    wide = Grid(target.crs, target.transform, 2100, 1200)
    reader = _hls([18001], wide)
    build_cube(Target(target, REGION), [reader, _weather()], tmp_path / "c.zarr")
    cube = open_cube(tmp_path / "c.zarr")
    inside = cube.inside(Tile(0, 0, 2100, 1200))
    assert inside is not None
    from shapely import contains_xy

    x, y = np.meshgrid(target.x(np.arange(1200)), target.y(np.arange(2100)))
    np.testing.assert_array_equal(inside, contains_xy(REGION, x, y))
    red = _read_all(cube, "Red")[0]
    np.testing.assert_array_equal(red[inside], reader.values["Red"][0][inside])
    held = red != -9999
    assert not held[62:].any()
    assert not held[:, 52:].any()
    # Nothing but the polygon's own rows and columns was asked for, and one chunk of one shard stored.
    assert [(r.start >= 9, r.stop <= 62, c.start >= 9, c.stop <= 52) for _, _, r, c in reader.reads] == [
        (True, True, True, True)
    ]
    shards = [p for p in (tmp_path / "c.zarr" / "hls" / "Red" / "c").rglob("*") if p.is_file()]
    assert len(shards) == 1
    digests = cube.sources["hls"].digests(0, 1, slice(0, 2100), slice(0, 1200))
    assert (digests != 0).sum() == 1


def test_every_coarse_cell_that_a_pixel_of_the_polygon_needs_is_held(tmp_path: Path) -> None:
    weather = _weather()
    weather.values["pr"][:] = np.abs(weather.values["pr"])
    build_cube(Target(TARGET, REGION), [weather], tmp_path / "c.zarr")
    cube = open_cube(tmp_path / "c.zarr")
    tile = Tile(0, 0, *TARGET.shape)
    inside, source = cube.inside(tile), cube.sources["gridmet"]
    assert inside is not None
    lookup = cell_lookup(TARGET, tile, source.grid)
    values = source.read("pr", 0, 1, lookup.rows, lookup.cols).ravel()[lookup.index[inside]]
    assert (values != -9999).all()
    region = source.region(lookup.rows, lookup.cols).ravel()[lookup.index[inside]]
    assert region.all()


def test_a_second_build_makes_nothing_again(tmp_path: Path) -> None:
    out = tmp_path / "c.zarr"
    build_cube(Target(TARGET), [_hls([18001]), _static()], out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    again = [_hls([18001]), _static()]
    assert build_cube(Target(TARGET), again, out)["parts_built"] == 0
    assert all(not reader.reads for reader in again)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("days", [[1, 2, 3, 4], [1, 3, 9], list(range(1, 20)), [2, 3], [5, 6, 7]])
def test_new_removed_and_inserted_days_give_the_same_as_a_fresh_build(
    tmp_path: Path, days: list[int]
) -> None:
    build_cube(Target(TARGET), [_hls([1, 2, 3])], tmp_path / "a.zarr")
    build_cube(Target(TARGET), [_hls(days)], tmp_path / "a.zarr")
    build_cube(Target(TARGET), [_hls(days)], tmp_path / "b.zarr")
    one, other = open_cube(tmp_path / "a.zarr"), open_cube(tmp_path / "b.zarr")
    np.testing.assert_array_equal(one.sources["hls"].days, days)
    everywhere = 0, len(days), slice(0, 90), slice(0, 70)
    np.testing.assert_array_equal(
        one.sources["hls"].digests(*everywhere), other.sources["hls"].digests(*everywhere)
    )
    for name in ("Red", "NIR"):
        np.testing.assert_array_equal(_read_all(one, name), _read_all(other, name))


def test_later_days_and_replaced_files_read_their_own_days_alone(tmp_path: Path) -> None:
    days = list(range(1, 25))
    build_cube(Target(TARGET), [_hls(days)], tmp_path / "c.zarr")
    before = open_cube(tmp_path / "c.zarr").sources["hls"].digests(0, 24, slice(0, 90), slice(0, 70))
    later = _hls([*days, 25])
    assert build_cube(Target(TARGET), [later], tmp_path / "c.zarr")["parts_built"] == 1
    assert [(first, last) for first, last, _, _ in later.reads] == [(24, 25)]
    replaced = _hls([*days, 25])
    replaced.values["NIR"][9, 5, 5] = 77
    replaced.marks[10] = "new file"
    assert build_cube(Target(TARGET), [replaced], tmp_path / "c.zarr")["parts_built"] == 1
    assert [(first, last) for first, last, _, _ in replaced.reads] == [(9, 10)]
    after = open_cube(tmp_path / "c.zarr").sources["hls"].digests(0, 25, slice(0, 90), slice(0, 70))
    assert np.flatnonzero((before != after[:24]).any(axis=(1, 2))).tolist() == [9]


def test_a_build_that_died_goes_on_where_it_was(tmp_path: Path) -> None:
    out, days = tmp_path / "c.zarr", list(range(1, 41))
    dying = _hls(days)
    dying.fail_at = 2
    with pytest.raises(OSError, match="the disk is gone"):
        build_cube(Target(TARGET), [dying], out, workers=1)
    assert not out.exists()
    with pytest.raises(InputError, match="did not finish: run `cube build"):
        open_cube(out)
    partial = tmp_path / "c.zarr.partial"
    with pytest.raises(InputError, match="did not finish"):
        open_cube(partial)
    resumed = _hls(days)
    assert build_cube(Target(TARGET), [resumed], out)["parts_built"] == 3
    assert len(resumed.reads) == 3
    np.testing.assert_array_equal(_read_all(open_cube(out), "Red"), resumed.values["Red"])
    assert not partial.exists()


def test_the_number_of_workers_changes_no_byte(tmp_path: Path) -> None:
    for workers in (1, 4):
        build_cube(
            Target(TARGET, REGION),
            [_hls([1, 2, 30]), _weather()],
            tmp_path / f"{workers}.zarr",
            workers=workers,
        )

    def content(folder: Path) -> dict[str, bytes]:
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    assert content(tmp_path / "1.zarr") == content(tmp_path / "4.zarr")


def test_only_the_days_asked_for_are_held(tmp_path: Path) -> None:
    cover = Reader(
        "landcover",
        TARGET,
        {"LC": UINT8},
        {"LC": _draw(1, (2, 90, 70), UINT8)},
        np.array([16071, 17167]),
        "yearly",
    )
    build_cube(Target(TARGET), [_weather(), cover], tmp_path / "c.zarr", days=(18010, 18019))
    cube = open_cube(tmp_path / "c.zarr")
    assert cube.sources["gridmet"].days.tolist() == list(range(18010, 18020))
    assert cube.sources["gridmet"].days_between(18012, 18015) == (2, 5)
    assert cube.sources["landcover"].days.tolist() == [16071, 17167]
    with pytest.raises(
        InputError, match=r"source gridmet has no day in 2021-01-01 to open; its rasters are of"
    ):
        build_cube(Target(TARGET), [_weather()], tmp_path / "d.zarr", days=(18628, None))
    assert not list(tmp_path.glob("d.zarr*"))


def test_another_source_joins_and_the_others_stay(tmp_path: Path) -> None:
    build_cube(Target(TARGET), [_hls([1])], tmp_path / "c.zarr")
    assert build_cube(Target(TARGET), [_static()], tmp_path / "c.zarr")["parts_built"] == 1
    assert set(open_cube(tmp_path / "c.zarr").variables) == {"Red", "NIR", "elevation"}


def test_a_cube_of_another_region_or_grid_is_refused_and_kept(tmp_path: Path) -> None:
    out = tmp_path / "c.zarr"
    build_cube(Target(TARGET), [_hls([1])], out)
    moved = Grid(TARGET.crs, (30.0, 0.0, 300030.0, 0.0, -30.0, 4120000.0), 90, 70)
    for target, reader in (
        (Target(moved), _hls([1])),
        (Target(TARGET, REGION), _hls([1])),
        (Target(TARGET), _hls([1], Grid(TARGET.crs, (30.0, 0.0, 300010.0, 0.0, -30.0, 4120000.0), 90, 70))),
    ):
        with pytest.raises(InputError, match="another"):
            build_cube(target, [reader], out)
        assert open_cube(out).sources["hls"].days.tolist() == [1]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "x.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        build_cube(Target(TARGET), [_hls([1])], tmp_path / "notes")


def test_other_storage_is_refused_and_the_cube_kept(tmp_path: Path) -> None:
    out = tmp_path / "c.zarr"
    build_cube(Target(TARGET), [_hls([1])], out)
    other = _hls([1, 2])
    other.variables = {"Red": INT16, "NIR": Packing(dtype="int16", scale=0.001, missing=-9999)}
    with pytest.raises(InputError, match=r"holds NIR stored as .* choose another --out"):
        build_cube(Target(TARGET), [other], out)
    assert open_cube(out).sources["hls"].days.tolist() == [1]


def test_what_no_build_has_left_where_a_cube_is_drafted_is_kept(tmp_path: Path) -> None:
    out, draft = tmp_path / "c.zarr", tmp_path / "c.zarr.partial"
    build_cube(Target(TARGET), [_hls([1])], out)
    shutil.copytree(out, draft)
    with pytest.raises(InputError, match="remove the one that is not wanted"):
        build_cube(Target(TARGET), [_hls([1, 2])], out)
    shutil.rmtree(draft)
    draft.mkdir()
    (draft / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"c\.zarr\.partial: holds something else"):
        build_cube(Target(TARGET), [_hls([1, 2])], out)
    assert open_cube(out).sources["hls"].days.tolist() == [1]


def test_a_cube_that_is_brought_up_to_date_stays_as_it_was_until_the_new_one_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "c.zarr"
    build_cube(Target(TARGET), [_hls([1]), _static()], out)
    before = _read_all(open_cube(out), "Red")
    dying = _hls([1, 2, 30])
    dying.fail_at = 0
    with pytest.raises(OSError, match="the disk is gone"):
        build_cube(Target(TARGET), [dying], out)
    np.testing.assert_array_equal(_read_all(open_cube(out), "Red"), before)
    # The next build names another source: what was begun of the first is undone.
    cover = Reader(
        "cover", TARGET, {"LC": UINT8}, {"LC": _draw(1, (1, 90, 70), UINT8)}, np.array([0]), "yearly"
    )
    build_cube(Target(TARGET), [cover], out)
    assert set(open_cube(out).variables) == {"Red", "NIR", "elevation", "LC"}
    np.testing.assert_array_equal(_read_all(open_cube(out), "Red"), before)
    build_cube(Target(TARGET), [_hls([1, 2, 30])], out)
    assert open_cube(out).sources["hls"].days.tolist() == [1, 2, 30]
    assert [p.name for p in tmp_path.iterdir()] == ["c.zarr"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_cube_can_be_read_from_the_moment_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    out: Location = Remote("memory://new", "c.zarr") if elsewhere else tmp_path / "c.zarr"
    held, finish = list[list[int]](), draft._finish

    def read_first(cube: Location) -> None:
        held.append(open_cube(cube).sources["hls"].days.tolist())
        finish(cube)

    monkeypatch.setattr(draft, "_finish", read_first)
    build_cube(Target(TARGET), [_hls([1])], out)
    build_cube(Target(TARGET), [_hls([1, 2])], out)
    assert held == [[1], [1, 2]]


def test_two_builds_at_once_are_refused_and_change_nothing(tmp_path: Path) -> None:
    out = tmp_path / "c.zarr"
    with sole_writer(out), pytest.raises(InputError, match=rf"another run .* \(process {os.getpid()} on"):
        build_cube(Target(TARGET), [_hls([1])], out)
    assert not list(tmp_path.iterdir())


def test_a_cube_takes_its_name_where_the_system_cannot_exchange_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmnet_maps.store.whole.exchange", lambda *_: False)
    out = tmp_path / "c.zarr"
    build_cube(Target(TARGET), [_hls([1])], out)
    build_cube(Target(TARGET), [_hls([1, 2])], out)
    assert open_cube(out).sources["hls"].days.tolist() == [1, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["c.zarr"]


def test_a_source_elsewhere_is_refused_with_both_places(tmp_path: Path) -> None:
    swapped = Grid("EPSG:4326", (1 / 24, 0.0, 36.0, 0.0, -1 / 24, -112.0), 20, 24)
    reader = _weather()
    reader.grid = swapped
    with pytest.raises(InputError, match=r"source gridmet: .* do not touch the region .* swapped axes"):
        build_cube(Target(TARGET, made_from="the box"), [reader], tmp_path / "c.zarr")
    assert not list(tmp_path.iterdir())


def test_a_polygon_between_pixel_centres_is_refused(tmp_path: Path) -> None:
    sliver = Polygon([(300000, 4119991), (300010, 4119991), (300000, 4119999)])
    with pytest.raises(InputError, match="holds no pixel centre"):
        build_cube(Target(TARGET, sliver, "polygon x"), [_hls([1])], tmp_path / "c.zarr")
    assert not list(tmp_path.iterdir())


def test_one_variable_in_two_sources_is_refused(tmp_path: Path) -> None:
    other = _hls([1])
    other.name = "landsat"
    with pytest.raises(InputError, match="variable Red is in source hls and in source landsat"):
        build_cube(Target(TARGET), [_hls([1]), other], tmp_path / "c.zarr")


def test_what_is_no_cube_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no cube here"):
        open_cube(tmp_path / "none.zarr")
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(InputError, match="not a cube"):
        open_cube(tmp_path / "other.zarr")
    build_cube(Target(TARGET), [_hls([1])], tmp_path / "c.zarr")
    zarr.open_group(tmp_path / "c.zarr").attrs["mmnet_maps_cube"] = 99
    with pytest.raises(InputError, match="cube format 99; expected 1"):
        open_cube(tmp_path / "c.zarr")


def test_unknown_variables_and_windows_are_named(tmp_path: Path) -> None:
    build_cube(Target(TARGET), [_hls([1])], tmp_path / "c.zarr")
    cube = open_cube(tmp_path / "c.zarr")
    with pytest.raises(InputError, match="no variable SMAP; the cube holds NIR, Red"):
        cube.source_of("SMAP")
    with pytest.raises(InputError, match="source hls has no variable SMAP; it has NIR, Red"):
        cube.sources["hls"].read("SMAP", 0, 1, slice(0, 1), slice(0, 1))
    with pytest.raises(InputError, match="leaves its 90 x 70 cells"):
        cube.sources["hls"].read("Red", 0, 1, slice(80, 91), slice(0, 1))


def test_a_cube_can_be_read_from_threads_and_sent_to_processes(tmp_path: Path) -> None:
    reader = _hls(list(range(1, 20)))
    build_cube(Target(TARGET), [reader], tmp_path / "c.zarr")
    cube = pickle.loads(pickle.dumps(open_cube(tmp_path / "c.zarr")))
    windows = [(r, c) for r in range(0, 90, 9) for c in range(0, 70, 7)]

    def read(window: tuple[int, int]) -> Any:
        rows, cols = slice(window[0], window[0] + 9), slice(window[1], window[1] + 7)
        found = cube.source_of("NIR").read("NIR", 3, 17, rows, cols)
        return np.array_equal(found, reader.values["NIR"][3:17, rows, cols])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, windows))


def test_large_windows_are_cut_into_shards_that_fit_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = cube_layout.Layout((1, 16, 16), (2, 32, 32))
    from mmnet_maps.prepare.cube import plan as cube_plan

    monkeypatch.setattr(cube_plan, "choose_layout", lambda *_: small)
    reader = _hls([1, 2, 3, 4, 5])
    summary = build_cube(Target(TARGET), [reader], tmp_path / "c.zarr", workers=4)
    assert summary["parts"] == 3 * 3 * 3
    cube = open_cube(tmp_path / "c.zarr")
    np.testing.assert_array_equal(_read_all(cube, "Red"), reader.values["Red"])
    assert cube.sources["hls"].digests(0, 5, slice(16, 33), slice(0, 16)).shape == (5, 2, 1)
    assert (
        cube_build.build_cube(Target(TARGET), [_hls([1, 2, 3, 4, 5])], tmp_path / "c.zarr")["parts_built"]
        == 0
    )
