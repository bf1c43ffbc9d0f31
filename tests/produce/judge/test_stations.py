"""Maps against stations: the right pixel, the right day, and everything left out is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyproj import Transformer

from mmnet_maps.errors import InputError
from mmnet_maps.produce.judge.stations import PAIRS, pair_stations, validate_stations

Make = Callable[..., Any]
PLACES = {"a": (10, 20), "b": (50, 100), "c": (95, 119), "d": (70, 3)}


def _stations(product: Any, seed: int = 4, days: int = 4) -> pd.DataFrame:
    """Stations in the middle of known pixels, measuring something near the map."""
    random = np.random.default_rng(seed)
    to_degrees = Transformer.from_crs(product.grid.crs, "EPSG:4326", always_xy=True)
    rows = []
    for name, (row, col) in PLACES.items():
        lon, lat = to_degrees.transform(product.grid.x(np.array(col)), product.grid.y(np.array(row)))
        for day in range(days):
            rows.append(
                {
                    "ID": name,
                    "Network": "TEST",
                    "Latitude": float(lat),
                    "Longitude": float(lon),
                    "Date": 20210601 + day,
                    "VWC_5": 0.2 + 0.1 * random.random(),
                }
            )
    return pd.DataFrame(rows)


def test_a_station_is_paired_with_the_pixel_that_holds_it(make_product: Make) -> None:
    product = make_product()
    pairs, left = pair_stations(product, _stations(product))
    assert tuple(pairs.columns) == PAIRS and len(pairs) == 16 and not any(vars(left).values())
    for row in pairs.itertuples():
        stored = product.read_day(product.layout.start + row.Date - 20210601)
        for name, value in (("soil_moisture", row.y_pred), ("lower", row.lower), ("upper", row.upper)):
            expected = stored[name][PLACES[row.ID]]
            assert (np.isnan(value) and expected == -32768) or value == pytest.approx(expected * 1e-4)
        assert row.quality == stored["quality"][PLACES[row.ID]]


def test_pairs_do_not_depend_on_the_tiles(make_product: Make) -> None:
    one, two = make_product("one"), make_product("two", tile=256, block_days=4)
    values = {n: one.read(n, one.layout.start, one.layout.stop) for n in one.packing}
    for unit in two.layout.units():
        two.write_unit(unit, values)
    measured = _stations(one)
    pd.testing.assert_frame_equal(pair_stations(one, measured)[0], pair_stations(two, measured)[0])


def test_the_network_places_the_stations(make_product: Make) -> None:
    product = make_product()
    right = _stations(product)
    wrong = right.assign(Latitude=right["Latitude"] + 3.0)
    network = right.drop_duplicates("ID")[["ID", "Latitude", "Longitude"]]
    pd.testing.assert_frame_equal(pair_stations(product, wrong, network)[0], pair_stations(product, right)[0])


def test_what_is_left_out_is_named(make_product: Make) -> None:
    product = make_product(unfinished=("20210603-r000000-c000000",))
    measured = _stations(product)
    measured.loc[measured["ID"] == "b", "Longitude"] += 1.0
    measured = measured[(measured["ID"] != "c") | (measured["Date"] >= 20210603)]
    measured.loc[measured["ID"] == "d", "VWC_5"] = np.nan
    network = pd.DataFrame({"ID": ["a", "c", "d"]})
    pairs, left = pair_stations(product, measured, network)
    assert left.outside == ["b"] and left.no_days == ["c", "d"] and left.not_in_network == ["b"]
    assert set(pairs["ID"]) == {"a"} and set(pairs["Date"]) == {20210601, 20210602}
    assert "1 stations outside the grid: b" in list(left.sentences())


def test_several_rows_of_a_station_day_are_averaged(make_product: Make) -> None:
    product = make_product()
    measured = _stations(product)
    again = measured.assign(VWC_5=measured["VWC_5"] + 0.1)
    pairs = pair_stations(product, pd.concat([measured, again]))[0]
    once = pair_stations(product, measured)[0]
    np.testing.assert_allclose(pairs["y_test"], once["y_test"] + 0.05)


def test_scores_and_coverage_agree_with_the_written_pairs(make_product: Make, tmp_path: Path) -> None:
    product, out = make_product(), tmp_path / "validation"
    result = validate_stations(product, _stations(product), None, out)
    pairs = pd.read_csv(out / "pairs.csv").dropna(subset=["y_pred"])
    error = pairs["y_pred"] - pairs["y_test"]
    assert result["overall"]["n"] == len(pairs)
    assert result["overall"]["bias"] == pytest.approx(error.mean(), abs=1e-6)
    assert result["overall"]["ubrmse"] == pytest.approx(error.std(ddof=0), abs=1e-6)
    inside = (pairs["y_test"] >= pairs["lower"]) & (pairs["y_test"] <= pairs["upper"])
    assert result["interval_coverage"] == {"share": pytest.approx(inside.mean()), "n": len(pairs)}
    stations = pd.read_csv(out / "stations.csv").set_index("ID")
    for name, part in pairs.groupby("ID"):
        assert stations.loc[name, "n"] == len(part)
        assert stations.loc[name, "interval_coverage"] == pytest.approx(inside[part.index].mean())
        rmse = np.sqrt(((part["y_pred"] - part["y_test"]) ** 2).mean())
        assert stations.loc[name, "rmse"] == pytest.approx(rmse, abs=1e-5)
    assert json.loads((out / "scores.json").read_text())["overall"]["n"] == len(pairs)
    assert sorted(path.name for path in out.iterdir()) == ["pairs.csv", "scores.json", "stations.csv"]


def test_nothing_to_compare_is_refused(make_product: Make, tmp_path: Path) -> None:
    product = make_product()
    measured = _stations(product)
    with pytest.raises(InputError, match="of 4 stations 4 lie outside the grid, 0 have none"):
        validate_stations(product, measured.assign(Latitude=10.0), None, tmp_path / "out")
    with pytest.raises(
        InputError, match="of 4 stations 0 lie outside the grid, 4 have none on a finished day"
    ):
        validate_stations(product, measured.assign(Date=measured["Date"] + 10_000), None, tmp_path / "out")
    assert not (tmp_path / "out").exists()
