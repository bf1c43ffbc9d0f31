from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmnet_maps.catalogue import FEATURE_INPUTS, LAND_COVER_CLASSES, Catalogue, published_catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.prepare.stations.files import model_columns, read_table, write_table


def make_frame(catalogue: Catalogue, rows: int = 7, seed: int = 0) -> pd.DataFrame:
    """A small table with awkward ids and a missing value here and there."""
    rng = np.random.default_rng(seed)
    columns: dict[str, object] = {
        "ID": [f"SCAN_A,{i}#1" if i % 2 else f"USCRN_B_{i}" for i in range(rows)],
        "Network": ["SCAN"] * rows,
        "Latitude": rng.uniform(25, 49, rows),
        "Longitude": rng.uniform(-124, -67, rows),
        "Date": 20200101 + np.arange(rows),
        "Domain": ["W"] * rows,
        "VWC_5": rng.uniform(0, 0.5, rows),
    }
    for name in model_columns(catalogue):
        columns.setdefault(
            name, rng.normal(size=rows).astype(np.float32) * np.float32(10.0 ** rng.integers(-6, 6))
        )
    frame = pd.DataFrame(columns)
    for k, name in enumerate(n for n in catalogue.snapshot if n.startswith("LC_")):
        frame[name] = (np.arange(rows) % 8 == k).astype(np.float32)
    frame.loc[2, "VWC_5"] = np.nan
    frame.loc[3, "eto_4"] = np.nan
    return frame


@pytest.mark.parametrize("ending", ["parquet", "csv"])
@pytest.mark.parametrize("encoding", ["published", "cyclic"])
def test_a_table_comes_back_bit_for_bit_with_its_catalogue(
    tmp_path: Path, ending: str, encoding: str
) -> None:
    catalogue = published_catalogue(encoding).without(["VV", "VH"]).with_fill("past")
    frame, path = make_frame(catalogue), tmp_path / f"table.{ending}"
    write_table(frame, path, catalogue)
    again, its_catalogue = read_table(path)
    assert its_catalogue == catalogue
    pd.testing.assert_frame_equal(again, frame, check_exact=True, check_dtype=ending == "parquet")
    for name in model_columns(catalogue):
        if name not in ("Latitude", "Longitude"):
            assert again[name].dtype == np.float32
    assert not list(tmp_path.glob(".*")), "no temporary file stays"


def test_a_table_without_a_catalogue_is_of_the_published_one(tmp_path: Path) -> None:
    for encoding in ("published", "cyclic"):
        frame = make_frame(published_catalogue(encoding))
        frame.to_csv(tmp_path / "t.csv", index=False)
        frame.to_parquet(tmp_path / "t.parquet")
        for ending in ("csv", "parquet"):
            again, catalogue = read_table(tmp_path / f"t.{ending}")
            assert catalogue == published_catalogue(encoding)
            assert (again["Date"] == frame["Date"]).all()


def test_derived_features_that_a_published_table_lacks_are_computed(tmp_path: Path) -> None:
    catalogue = published_catalogue()
    frame = make_frame(catalogue)
    derived = [name for name in catalogue.snapshot if name in FEATURE_INPUTS]
    frame = frame.drop(columns=derived)
    for name in ("Blue", "Green", "Red", "NIR", "SWIR1", "SWIR2"):
        frame[name] = np.linspace(0.1, 0.4, len(frame))
    frame["VV"], frame["VH"], frame["aspect"] = -10.0, -16.0, 90.0
    frame["LC"] = ["Shrub", "Pasture", "Forest", "Water", "Crop", "Barren", "Wetland"]
    frame.to_csv(tmp_path / "t.csv", index=False)
    again, _ = read_table(tmp_path / "t.csv")
    assert again["vvvh"].tolist() == [6.0] * 7
    assert again["LC_Forest"].fillna(-1).tolist() == [0, 0, 1, -1, 0, 0, 0]
    assert again["DoY_normalized"][1] == pytest.approx(np.cos(np.pi / 365))


def test_bad_tables_are_refused_by_name(tmp_path: Path) -> None:
    catalogue = published_catalogue()
    frame = make_frame(catalogue)
    cases = {
        "ndvi, eto_10": frame.drop(columns=["ndvi", "eto_10"]),
        "lacks columns ID": frame.drop(columns=["ID"]),
        "no rows": frame.iloc[:0],
        "column Date": frame.assign(Date="yesterday"),
        "column clay": frame.assign(clay="much"),
    }
    for expected, bad in cases.items():
        bad.to_csv(tmp_path / "bad.csv", index=False)
        with pytest.raises(InputError, match=expected) as error:
            read_table(tmp_path / "bad.csv")
        assert "bad.csv" in str(error.value) and "\n" not in str(error.value)
    for path, expected in (("no.csv", "no such"), ("table.xlsx", "ends in .parquet or .csv")):
        with pytest.raises(InputError, match=expected):
            read_table(tmp_path / path)
    (tmp_path / "junk.parquet").write_bytes(b"not parquet")
    with pytest.raises(InputError, match="not a readable parquet table"):
        read_table(tmp_path / "junk.parquet")
    write_table(frame, tmp_path / "t.csv", catalogue)
    (tmp_path / "t.csv.catalogue.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="not valid JSON"):
        read_table(tmp_path / "t.csv")


def test_writing_elsewhere_than_csv_or_parquet_is_refused(tmp_path: Path) -> None:
    frame = make_frame(published_catalogue())
    for path in (tmp_path / "t.json", tmp_path / "nowhere" / "t.csv"):
        with pytest.raises(InputError):
            write_table(frame, path, published_catalogue())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", [None, "NLCD", "class"])
def test_land_cover_in_words_is_read_as_the_published_scripts_write_it(
    tmp_path: Path, code: str | None
) -> None:
    catalogue = published_catalogue()
    hot = [f"LC_{name}" for name in LAND_COVER_CLASSES]
    frame = make_frame(catalogue, rows=9).drop(columns=hot)
    words = [*LAND_COVER_CLASSES, "Water"]
    frame["LC_name"] = words
    if code is not None:
        frame["LC"] = [52, 71, 31, 90, 41, 22, 82, 81, 11] if code == "NLCD" else [*range(8), -1]
    for path in (tmp_path / "t.csv", tmp_path / "t.parquet"):
        frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
        again, _ = read_table(path)
        found = again[hot].to_numpy()
        np.testing.assert_array_equal(found[:8], np.eye(8))
        assert np.isnan(found[8]).all()
    if code is not None:
        frame.drop(columns="LC_name").to_csv(tmp_path / "t.csv", index=False)
        np.testing.assert_array_equal(read_table(tmp_path / "t.csv")[0][hot].to_numpy()[:8], np.eye(8))


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("Date", 20190230, "row 1: expected a Date YYYYMMDD from 1950 to 2100, found 20190230"),
        ("Date", -20190101, "expected a Date"),
        ("Date", 18000101, "expected a Date"),
        ("ID", " ", "row 1: expected a station in column ID"),
        ("ID", None, "expected a station in column ID"),
        ("Latitude", 999.0, "row 1: expected a Latitude between -90 and 90, found 999"),
        ("Longitude", np.inf, "expected a Longitude between -180 and 180, found inf"),
    ],
)
def test_rows_that_there_cannot_be(tmp_path: Path, column: str, value: object, said: str) -> None:
    from tests.cli.test_wrong_input import a_table

    frame = a_table(tmp_path / "t.parquet", stations=2, days=3).assign(Latitude=36.0, Longitude=-98.0)
    frame[column] = [value, *frame[column].iloc[1:]]
    write_table(frame, tmp_path / "t.parquet", published_catalogue())
    with pytest.raises(InputError, match=said):
        read_table(tmp_path / "t.parquet")


def test_two_rows_of_a_station_and_day(tmp_path: Path) -> None:
    from tests.cli.test_wrong_input import a_table

    frame = a_table(tmp_path / "t.parquet", stations=2, days=3).assign(Latitude=36.0, Longitude=-98.0)
    write_table(pd.concat([frame, frame.iloc[[1]]]), tmp_path / "t.parquet", published_catalogue())
    with pytest.raises(InputError, match=r"row 7: expected one row .* found 20190502 of SCAN_0"):
        read_table(tmp_path / "t.parquet")


def test_rows_of_no_land_cover_class_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.cli.test_wrong_input import a_table

    path = tmp_path / "t.parquet"
    frame = a_table(path, stations=2, days=3).assign(Latitude=36.0, Longitude=-98.0)
    frame.loc[frame.index[:2], [f"LC_{name}" for name in LAND_COVER_CLASSES]] = 0
    write_table(frame, path, published_catalogue())
    read_table(path)
    assert f"{path}: 2 rows of no land cover class" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"eto": np.inf}, "row 2: expected a finite number, or none, in column eto, found inf"),
        ({"eto_3": -np.inf}, "in column eto_3, found -inf"),
        ({"LC_Crop": 7}, "row 2: expected 0 or 1 in column LC_Crop, found 7"),
        ({"LC_Crop": 0.5}, "row 2: expected 0 or 1 in column LC_Crop, found 0.5"),
        ({"LC": 41.5}, "row 2: expected a whole number in column LC, found 41.5"),
        ({f"LC_{name}": 1 for name in LAND_COVER_CLASSES}, "row 2: expected one land cover class"),
        ({"VWC_5": -5}, "row 2: expected a VWC_5 between 0 and 1"),
        ({"VWC_5": 300}, "found 300"),
        ({"VWC_5": np.inf}, "found inf"),
    ],
)
def test_values_that_there_are_not_are_refused_with_their_row(
    wrong: dict[str, float], said: str, tmp_path: Path
) -> None:
    from tests.cli.test_wrong_input import a_table

    path = tmp_path / "t.parquet"
    frame = a_table(path, stations=2, days=3).assign(Latitude=36.0, Longitude=-98.0)
    for name, value in wrong.items():
        frame.loc[frame.index[1], name] = value
    write_table(frame, path, published_catalogue())
    with pytest.raises(InputError, match=re.escape(said)):
        read_table(path)
