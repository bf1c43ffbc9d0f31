"""Exported days: the product's own values, north up, complete or not there, written once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.grid import Grid
from mmnet_maps.produce.export import days as export_module
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.extract.maps import open_maps
from mmnet_maps.produce.product.ledger import Entry

Make = Callable[..., Any]


def _file(out: Path, date: str = "20210601") -> Path:
    return out / f"soil_moisture_{date}.tif"


def _bits(out: Path, date: str = "20210601") -> Path:
    return out / f"quality_{date}.tif"


def _stamps(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.glob("*_2021*")}


def test_the_values_of_the_file_are_those_of_the_product(make_product: Make, tmp_path: Path) -> None:
    product = make_product()
    export_product(product, tmp_path)
    for day, date in zip(product.days, ("20210601", "20210602", "20210603", "20210604"), strict=True):
        stored = product.read_day(int(day))
        with rasterio.open(_file(tmp_path, date)) as file:
            for number, name in enumerate(("soil_moisture", "lower", "upper"), start=1):
                np.testing.assert_array_equal(file.read(number), stored[name])
            assert file.crs.to_epsg() == 32612
            assert tuple(file.transform)[:6] == product.grid.transform
        with rasterio.open(_bits(tmp_path, date)) as file:
            assert file.dtypes == ("uint32",) and tuple(file.transform)[:6] == product.grid.transform
            np.testing.assert_array_equal(file.read(1), stored["quality"])


def test_the_file_says_what_it_holds(make_product: Make, tmp_path: Path) -> None:
    product = make_product()
    export_product(product, tmp_path)
    with rasterio.open(_file(tmp_path)) as file:
        assert file.descriptions == ("soil_moisture", "lower", "upper")
        assert file.units == ("m3 m-3",) * 3
        assert file.scales == (1e-4,) * 3
        assert file.nodata == -32768
        values = np.ma.masked_equal(product.read_day(int(product.days[0]))["soil_moisture"], -32768)
        assert float(file.tags(1)["STATISTICS_MEAN"]) == pytest.approx(values.mean())
        assert int(file.tags(1)["STATISTICS_MAXIMUM"]) == values.max()
        assert file.tags()["date"] == "2021-06-01" and file.tags()["bundle"] == product.about["bundle"]
    with rasterio.open(_bits(tmp_path)) as file:
        assert file.descriptions == ("quality",) and file.units == ("1",) and file.scales == (1.0,)
        assert file.nodata == product.flags()["not_computed"]
        tags = file.tags(1)
        flags = dict(zip(tags["flag_meanings"].split(), tags["flag_masks"].split(), strict=True))
        assert flags == {name: str(mask) for name, mask in product.flags().items()}
        assert file.tags()["digest"] and "STATISTICS_MEAN" not in tags


def test_a_missing_pixel_is_nodata_not_zero(make_product: Make, tmp_path: Path) -> None:
    product = make_product()
    export_product(product, tmp_path)
    with rasterio.open(_file(tmp_path)) as file:
        masks = file.read_masks()
    assert not masks[:, :4, :4].any(), "not computed"
    with rasterio.open(_bits(tmp_path)) as file:
        known = file.read_masks(1) > 0
        assert not known[:4, :4].any(), "nothing is known of a pixel that was not computed"
        water = (file.read(1) & 1) == 1
    assert water.sum() > 100 and not masks[0][water & known].any()
    computed = product.read_day(int(product.days[0]))["quality"] != product.flags()["not_computed"]
    np.testing.assert_array_equal(known, computed)


def test_files_are_strictly_valid_and_overviews_suit_what_they_hold(
    make_product: Make, tmp_path: Path
) -> None:
    grid = Grid("EPSG:32612", (30.0, 0.0, 500_010.0, 0.0, -30.0, 4_000_020.0), 700, 1100)
    product = make_product(grid=grid, days=1, tile=256, block_days=1)
    export_product(product, tmp_path)
    for path in (_file(tmp_path), _bits(tmp_path)):
        assert cog_validate(str(path), strict=True) == (True, [], [])
        with rasterio.open(path) as file:
            assert file.overviews(1) == [2, 4]
    with rasterio.open(_file(tmp_path)) as file:
        full, compress = file.read(), file.profile["compress"]
        assert compress == "zstd" and file.block_shapes[0] == (512, 512)
    with rasterio.open(_file(tmp_path), OVERVIEW_LEVEL=0) as file:
        half = file.read()
    for row, col in ((100, 200), (349, 10), (17, 549)):
        block = full[:, 2 * row : 2 * row + 2, 2 * col : 2 * col + 2].reshape(3, 4)
        known = block[0][block[0] != -32768]
        assert half[0, row, col] == pytest.approx(known.mean(), abs=1) if known.size else -32768
    with rasterio.open(_bits(tmp_path)) as file, rasterio.open(_bits(tmp_path), OVERVIEW_LEVEL=0) as coarse:
        invented = set(np.unique(coarse.read(1))) - set(np.unique(file.read(1)))
    assert not invented, "an overview never invents a combination of bits"


def test_a_grid_stored_south_up_is_exported_north_up(make_product: Make, tmp_path: Path) -> None:
    grid = Grid("EPSG:32612", (30.0, 0.0, 500_010.0, 0.0, 30.0, 4_000_020.0), 90, 70)
    product = make_product(grid=grid, days=1)
    export_product(product, tmp_path)
    stored = product.read_day(int(product.days[0]))["soil_moisture"]
    with rasterio.open(_file(tmp_path)) as file:
        assert file.transform.e < 0
        for row, col in ((5, 6), (80, 11), (64, 69)):
            place = file.index(grid.x(np.array(col)), grid.y(np.array(row)))
            assert file.read(1)[place] == stored[row, col]


def test_non_square_geographic_pixels_keep_their_place(make_product: Make, tmp_path: Path) -> None:
    grid = Grid("EPSG:4326", (0.0005, 0.0, -111.0, 0.0, -0.0004, 37.0), 64, 80)
    product = make_product(grid=grid, days=1)
    export_product(product, tmp_path)
    with rasterio.open(_file(tmp_path)) as file:
        assert file.crs.to_epsg() == 4326 and tuple(file.transform)[:6] == grid.transform
    assert open_maps(tmp_path).levels[0] == grid


def test_exporting_twice_writes_nothing_the_second_time(make_product: Make, tmp_path: Path) -> None:
    product = make_product()
    first = export_product(product, tmp_path)
    before = _stamps(tmp_path)
    again = export_product(product, tmp_path)
    assert first.written == again.kept == tuple(product.days) and not again.written and not first.kept
    assert _stamps(tmp_path) == before


def test_changed_data_renew_their_days_alone(make_product: Make, tmp_path: Path) -> None:
    product = make_product()
    export_product(product, tmp_path)
    unit = next(product.layout.units(product.layout.start + 2))
    values = {
        n: product.read(n, unit.first, unit.stop, unit.tile.rows, unit.tile.cols) for n in product.packing
    }
    values["soil_moisture"] = values["soil_moisture"] + (values["soil_moisture"] > 0).astype(np.int16)
    outputs = product.write_unit(unit, values)
    product.ledger.write(unit.key, Entry(unit.first, unit.stop, {"bundle": product.about["bundle"]}, outputs))
    again = export_product(product, tmp_path)
    assert again.written == tuple(range(unit.first, unit.stop)) and len(again.kept) == 2


@pytest.mark.parametrize("harm", ["file gone", "file cut", "quality gone", "item gone"])
def test_a_damaged_export_is_made_again(make_product: Make, tmp_path: Path, harm: str) -> None:
    product = make_product(days=2)
    export_product(product, tmp_path)
    whole = _file(tmp_path).read_bytes()
    if harm == "file gone":
        _file(tmp_path).unlink()
    elif harm == "quality gone":
        _bits(tmp_path).unlink()
    elif harm == "file cut":
        _file(tmp_path).write_bytes(whole[:1000])
    else:
        _file(tmp_path).with_suffix(".json").unlink()
    assert len(export_product(product, tmp_path).written) == 1
    assert _file(tmp_path).read_bytes() == whole, "same maps, same bytes"
    assert _bits(tmp_path).is_file()


def test_unfinished_days_are_left_out_and_said(
    make_product: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = make_product(unfinished=("20210603-r000000-c000064",))
    result = export_product(product, tmp_path)
    assert len(result.written) == 2 and result.unfinished == tuple(product.days[2:])
    assert "2 of 4 days are unfinished and left out, from 2021-06-03" in capsys.readouterr().err
    assert not _file(tmp_path, "20210603").exists()


def test_a_failure_leaves_no_half_file(
    make_product: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        write(*args, **kwargs)
        raise WorkError("the disk is full")

    product, write = make_product(days=1), export_module.write_cogs
    monkeypatch.setattr(export_module, "write_cogs", broken)
    with pytest.raises(WorkError, match="disk is full"):
        export_product(product, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_drafts_of_a_killed_export_are_cleared(make_product: Make, tmp_path: Path) -> None:
    product, out = make_product(days=1), tmp_path / "out"
    (out / ".soil_moisture_20210601.partial").mkdir(parents=True)
    (out / ".soil_moisture_20210601.partial" / "values.tif").write_bytes(b"half")
    export_product(product, out)
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_wrong_days_and_places_are_refused(make_product: Make, tmp_path: Path) -> None:
    product = make_product()
    first = product.layout.start
    with pytest.raises(InputError, match="day 2021-05-31 is not in the product"):
        export_product(product, tmp_path / "a", first - 1)
    with pytest.raises(InputError, match="start 2021-06-02 is after end 2021-06-01"):
        export_product(product, tmp_path / "b", first + 1, first)
    (tmp_path / "c").write_text("")
    with pytest.raises(InputError, match="is a file, expected a folder"):
        export_product(product, tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "product"]


def test_nothing_finished_is_refused(make_product: Make, tmp_path: Path) -> None:
    product = make_product(days=1)
    shutil.rmtree(product.path / "ledger")
    with pytest.raises(InputError, match="no day from 2021-06-01 to 2021-06-01 is finished"):
        export_product(product, tmp_path / "out")
    assert not (tmp_path / "out").exists()
