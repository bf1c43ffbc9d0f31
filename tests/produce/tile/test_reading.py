"""Reading of work units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Tile, cell_lookup
from mmnet_maps.prepare.cube.store import open_cube
from mmnet_maps.produce.tile import reading
from mmnet_maps.produce.units import Unit

CATALOGUE = published_catalogue()
FIRST = 18322


@pytest.fixture(scope="module")
def cube(make_world: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return open_cube(make_world(scene_crs="EPSG:32611").cube(tmp_path_factory.mktemp("cube") / "cube"))


def test_every_pixel_gets_the_value_of_the_cell_that_holds_it(cube: Any) -> None:
    unit = Unit(Tile(3, 5, 14, 20), FIRST, FIRST + 4)
    for inputs in reading.tile_inputs(cube, CATALOGUE, unit, size=8):
        for name, layer in inputs.layers.items():
            source = cube.source_of(name)
            cells = cell_lookup(cube.grid, inputs.tile, source.grid)
            begin, end = reading.visible_rows(CATALOGUE[name], CATALOGUE, source.days, unit)
            wanted = source.read(name, begin, end, cells.rows, cells.cols).reshape(end - begin, -1)
            index = inputs.index[layer.source]
            got = layer.stored if index is None else layer.stored[:, index]
            np.testing.assert_array_equal(got, wanted[:, cells.index.ravel()])


def test_sub_tiles_cover_a_tile_once_and_are_cut_at_multiples_of_the_grid() -> None:
    tile = Tile(10, 3, 30, 20)
    seen = np.zeros((40, 23), dtype=int)
    for piece in reading.sub_tiles(tile, 8):
        seen[piece.rows, piece.cols] += 1
        assert piece.row in (10, 16, 24, 32)
    assert (seen[10:, 3:] == 1).all()
    assert seen.sum() == 600


def test_every_stored_chunk_is_decoded_once_a_unit(cube: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, slice, slice]] = []
    original = type(cube.sources["hls"]).read

    def counted(self: Any, name: str, first: int, last: int, rows: slice, cols: slice) -> Any:
        calls.append((name, rows, cols))
        return original(self, name, first, last, rows, cols)

    monkeypatch.setattr(type(cube.sources["hls"]), "read", counted)
    list(reading.tile_inputs(cube, CATALOGUE, Unit(Tile(0, 0, 20, 28), FIRST, FIRST + 2), size=5))
    assert len(calls) == len({str(c) for c in calls})


def test_a_series_reaches_back_by_its_window_and_its_gaps(cube: Any) -> None:
    rain = reading.needed_days(CATALOGUE["pr"], CATALOGUE, FIRST, FIRST + 4)
    assert rain == (FIRST - 10, FIRST + 4)
    assert reading.needed_days(CATALOGUE["LST"], CATALOGUE, FIRST, FIRST + 4) == (FIRST - 40, FIRST + 34)
    past = CATALOGUE.with_fill("past")
    assert reading.needed_days(past["LST"], past, FIRST, FIRST + 4) == (FIRST - 40, FIRST + 4)


@pytest.mark.parametrize(
    ("year", "rows"), [("2018", (0, 1)), ("2019", (0, 1)), ("2020", (1, 2)), ("2025", (1, 2))]
)
def test_the_nearest_yearly_map_serves(cube: Any, year: str, rows: tuple[int, int]) -> None:
    first = int(np.datetime64(f"{year}-05-01", "D").astype(int))
    unit = Unit(Tile(0, 0, 1, 1), first, first + 3)
    assert reading.visible_rows(CATALOGUE["LC"], CATALOGUE, cube.sources["landcover"].days, unit) == rows


def test_days_that_weather_does_not_cover_are_refused_with_those_it_covers(cube: Any) -> None:
    with pytest.raises(InputError, match=r"eto is there from 2020-01-21 to 2020-04-09.*needs 2020-01-15"):
        reading.check_cube(cube, CATALOGUE, FIRST - 36, FIRST, "here")


def test_scenes_far_from_the_days_are_refused(cube: Any) -> None:
    catalogue = CATALOGUE.without(CATALOGUE.series)
    with pytest.raises(InputError, match="at least one date within 10 days"):
        reading.check_cube(cube, catalogue, FIRST + 60, FIRST + 61, "here")


def test_a_missing_variable_and_another_unit_are_refused_by_name(
    cube: Any, make_world: Any, tmp_path: Path
) -> None:
    world = make_world()
    del world.readers["soil"]
    other = open_cube(world.cube(tmp_path / "cube"))
    with pytest.raises(InputError, match=r"no (?=.*clay)(?=.*sand)(?=.*bd)[\w, ]+, which the bundle needs"):
        reading.check_cube(other, CATALOGUE, FIRST, FIRST + 1, "here")
    kelvin = CATALOGUE["LST"].model_copy(update={"unit": "K"})
    changed = tuple(kelvin if v.name == "LST" else v for v in CATALOGUE.variables)
    with pytest.raises(InputError, match=r"LST is in 0\.02 K, the bundle expects K"):
        reading.check_cube(
            cube, CATALOGUE.model_copy(update={"variables": changed}), FIRST, FIRST + 1, "here"
        )


def test_the_window_of_a_tile_holds_every_cell_that_it_touches(cube: Any) -> None:
    tile = Tile(2, 3, 15, 21)
    for source, _ in reading.required_sources(cube, CATALOGUE):
        rows, cols = reading.tile_windows(cube, CATALOGUE, tile)[source.name]
        cells = cell_lookup(cube.grid, tile, source.grid)
        assert rows.start <= cells.rows.start
        assert rows.stop >= cells.rows.stop
        assert cols.start <= cells.cols.start
        assert cols.stop >= cells.cols.stop


def test_single_cells_are_kept_of_coarse_sources_alone(cube: Any) -> None:
    # Cells of fine sources are as many as pixels, and a large map has many tiles.
    tile, mask = Tile(3, 5, 14, 20), np.ones((14, 20), dtype=bool)
    mask[:, 15:] = False
    windows = reading.tile_windows(cube, CATALOGUE, tile)
    found = reading.tile_cells(cube, tile, mask, windows)
    assert set(found) == {"gridmet", "modis", "smap"}
    for name, cells in found.items():
        rows, cols = windows[name]
        looked = cell_lookup(cube.grid, tile, cube.sources[name].grid)
        row, col = np.divmod(np.unique(looked.index[:, :15]), looked.shape[1])
        wide = cols.stop - cols.start
        expected = (row + looked.rows.start - rows.start) * wide + col + looked.cols.start - cols.start
        np.testing.assert_array_equal(cells, expected)


def test_soil_state_reaches_half_a_year_further_back_in_the_weather_it_is_made_of(cube: Any) -> None:
    catalogue = CATALOGUE.with_soil_state()
    assert reading.needed_days(catalogue["pr"], catalogue, FIRST, FIRST + 4)[0] == FIRST - 270
    assert reading.needed_days(catalogue["sph"], catalogue, FIRST, FIRST + 4)[0] == FIRST - 90
    assert reading.needed_days(catalogue["SMAP"], catalogue, FIRST, FIRST + 4)[0] == FIRST - 10
    with pytest.raises(InputError, match=r"is there from 2020-01-21 to 2020-04-09.*needs 2019-06-05"):
        reading.check_cube(cube, catalogue, FIRST, FIRST + 1, "here")
