from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest

from mmnet_maps.errors import InputError
from mmnet_maps.sources.stations.in_situ import read_in_situ, read_network, station_names
from mmnet_maps.store.location import Remote, location


def rows(**changes: object) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "ID": ["A", "B"],
            "Network": ["SCAN", "USDA_ARS"],
            "Latitude": [40.0, 41.0],
            "Longitude": [-100.0, -90.0],
            "Date": [20160101, 20160102],
            "VWC_5": [0.2, np.nan],
        }
    )
    return frame.assign(**changes)


def test_the_published_ground_truth_is_read_as_it_is(shared: Path) -> None:
    path = shared / "spec" / "published-example" / "in_situ.csv"
    found, expected = read_in_situ(path), pd.read_csv(path)
    pd.testing.assert_frame_equal(found, expected[found.columns])


def test_ids_of_usda_ars_are_prefixed_once(tmp_path: Path) -> None:
    rows().to_csv(tmp_path / "t.csv", index=False)
    assert list(read_in_situ(tmp_path / "t.csv")["ID"]) == ["A", "USDA_ARS_B"]
    ids = pd.Series(["USDA_ARS_B", "B"])
    assert list(station_names(ids, pd.Series(["USDA_ARS", "USDA_ARS"]))) == ["USDA_ARS_B"] * 2


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (rows().drop(columns="VWC_5"), "lacks column VWC_5; found ID, Network"),
        (rows().iloc[:0], "no rows"),
        (rows(Date=[20160101, 20160230]), "row 3: expected a Date YYYYMMDD, found 20160230"),
        (rows(VWC_5=["wet", 0.1]), "row 2: expected a number in VWC_5, found 'wet'"),
        (rows(Latitude=[140.0, 0.0]), "row 2: expected Latitude between -90 and 90"),
        (rows(ID=["A", None]), "row 3: expected a station ID"),
    ],
)
def test_bad_ground_truth_is_refused_with_its_row(tmp_path: Path, frame: pd.DataFrame, expected: str) -> None:
    frame.to_csv(tmp_path / "truth.csv", index=False)
    with pytest.raises(InputError, match=expected) as error:
        read_in_situ(tmp_path / "truth.csv")
    assert "truth.csv" in str(error.value) and "\n" not in str(error.value)


def test_the_depth_that_is_asked_for_is_read_and_what_is_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows(VWC_20=[0.3, 0.31]).to_csv(path, index=False)
    found = read_in_situ(path, "VWC_20")
    assert list(found["VWC_20"]) == [0.3, 0.31] and "VWC_5" not in found.columns
    assert "VWC_20" not in read_in_situ(path).columns
    with pytest.raises(InputError, match=r"lacks column VWC_50; found ID, .*Date, VWC_5, VWC_20"):
        read_in_situ(path, "VWC_50")
    with pytest.raises(InputError, match="target VWC_7: expected one of"):
        read_in_situ(path, "VWC_7")


def test_networks_are_read_from_every_format(tmp_path: Path) -> None:
    points = geopandas.points_from_xy([-100.0, -90.0], [40.0, 41.0], crs="EPSG:4326").to_crs("EPSG:5070")
    layer = geopandas.GeoDataFrame({"ID": ["A", "B"], "Domain": ["W", "E"]}, geometry=points)
    layer.to_file(tmp_path / "n.gpkg")
    layer.to_file(tmp_path / "n.shp")
    pd.DataFrame(layer.drop(columns="geometry")).to_csv(tmp_path / "n.csv", index=False)
    for name in ("n.gpkg", "n.shp", "n.csv"):
        found = read_network(tmp_path / name)
        assert list(found["ID"]) == ["A", "B"] and list(found["Domain"]) == ["W", "E"]
        if name != "n.csv":
            np.testing.assert_allclose(found["Latitude"], [40, 41], atol=1e-6)
            np.testing.assert_allclose(found["Longitude"], [-100, -90], atol=1e-6)


def test_a_bad_network_is_refused_by_name(tmp_path: Path) -> None:
    good = pd.DataFrame({"ID": ["A", "B"], "Domain": ["W", "E"]})
    cases = {
        "lacks column Domain": good[["ID"]],
        "station B has no Domain": good.assign(Domain=["W", None]),
        "station A is there twice": pd.concat([good, good.iloc[:1].assign(Domain="M")]),
        "no stations": good.iloc[:0],
    }
    for expected, frame in cases.items():
        frame.to_csv(tmp_path / "n.csv", index=False)
        with pytest.raises(InputError, match=expected):
            read_network(tmp_path / "n.csv")
    good[["ID"]].to_csv(tmp_path / "n.csv", index=False)
    assert list(read_network(tmp_path / "n.csv", domain=False)["ID"]) == ["A", "B"]
    (tmp_path / "n.gpkg").write_text("no layer")
    for path, expected in ((tmp_path / "n.gpkg", "not a readable network"), (tmp_path / "x.gpkg", "no such")):
        with pytest.raises(InputError, match=expected):
            read_network(path)


def test_records_and_networks_may_stand_in_an_object_store(tmp_path: Path) -> None:
    store = Remote("memory://stations", "in")
    (store / "t.csv").write_bytes(rows().to_csv(index=False).encode())
    (store / "n.csv").write_bytes(b"ID,Domain\nA,W\nB,E\n")
    points = geopandas.points_from_xy([-100.0, -90.0], [40.0, 41.0], crs="EPSG:4326")
    layer = geopandas.GeoDataFrame({"ID": ["A", "B"], "Domain": ["W", "E"]}, geometry=points)
    layer.to_file(tmp_path / "n.gpkg")
    (store / "n.gpkg").write_bytes(tmp_path / "n.gpkg")
    # As a command line gives it: one slash short.
    assert list(read_in_situ(location(Path("memory://stations/in/t.csv")))["ID"]) == ["A", "USDA_ARS_B"]
    assert list(read_network(store / "n.csv")["ID"]) == ["A", "B"]
    assert read_network(store / "n.gpkg")["Latitude"].tolist() == [40.0, 41.0]
    for read in (read_in_situ, read_network):
        with pytest.raises(InputError, match=r"^memory://stations/in/none\.csv: no such"):
            read(store / "none.csv")
