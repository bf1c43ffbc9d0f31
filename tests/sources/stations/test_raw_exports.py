from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.sources.stations.raw_exports import read_raw_folder, unread_files


@pytest.fixture
def raw(shared: Path, tmp_path: Path) -> Path:
    place = tmp_path / "raw"
    shutil.copytree(shared / "spec" / "published-example" / "raw", place)
    for path in (place, *place.iterdir()):
        path.chmod(0o755)
    return place


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_every_value_is_the_one_in_the_file(raw: Path) -> None:
    tables = read_raw_folder(raw)
    long = {
        "gridmet": ("gridmet_SSM_*.csv", lambda s: s[:8], {n: n for n in ("pr", "eto", "sph")}),
        "modis": ("LST_MOD11A1_*.csv", lambda s: s[:10].replace("_", ""), {"mean": "LST"}),
        "sentinel1": ("S1_SSM_*.csv", lambda s: s.split("_")[4][:8], {"VV": "VV", "VH": "VH"}),
        "hls": (
            "HLSL30_SSM_*.csv",
            lambda s: s.split("_")[1][:8],
            {"B2": "Blue", "B5": "NIR", "B11": "TIRS2"},
        ),
    }
    for source, (pattern, date, columns) in long.items():
        expected = pd.concat([pd.read_csv(path) for path in sorted(raw.glob(pattern))], ignore_index=True)
        found = tables[source]
        assert list(found["ID"]) == list(expected["ID"]), source
        assert list(found["Date"]) == [int(date(text)) for text in expected["system:index"]], source
        for column, name in columns.items():
            np.testing.assert_array_equal(found[name], expected[column])
    wide = pd.concat([pd.read_csv(path).set_index("ID") for path in raw.glob("smap*")], axis=1)
    for row in tables["smap"].sample(50, random_state=1).itertuples():
        assert wide.loc[row.ID, f"{row.Date}_sm_surface"] == row.SMAP
    assert len(tables["smap"]) == wide.filter(like="_sm_surface").notna().sum().sum()
    assert set(tables["landcover"]["Year"]) == {2016, 2019, 2021}
    assert list(tables["constants"]["clay"]) == list(pd.read_csv(raw / "constant_SSM.csv")["clay_5"])


def test_an_empty_part_and_an_empty_year_are_no_trouble(raw: Path) -> None:
    header = (raw / "HLSL30_SSM_2016_1.csv").read_text().splitlines()[0]
    before = read_raw_folder(raw)["hls"]
    (raw / "HLSL30_SSM_2016_2.csv").write_text("\n")
    (raw / "HLSL30_SSM_2016_3.csv").write_text(header + "\n")
    pd.testing.assert_frame_equal(read_raw_folder(raw)["hls"], before)


def test_ids_of_usda_ars_carry_their_network_once(raw: Path) -> None:
    for path in raw.glob("*.csv"):
        table = pd.read_csv(path)
        mine = table["ID"] == "USCRN_Stillwater_2_W"
        table["ID"] = table["ID"].mask(mine, "ARS_7" if "LC" not in path.name else "USDA_ARS_ARS_7")
        table["Network"] = table["Network"].mask(mine, "USDA_ARS")
        table.to_csv(path, index=False)
    for name, table in read_raw_folder(raw).items():
        assert "USDA_ARS_ARS_7" in set(table["ID"]) and len(set(table["ID"])) == 3, name


def test_products_that_the_catalogue_does_without_need_not_be_there(raw: Path) -> None:
    for path in [*raw.glob("S1*"), *raw.glob("smap*"), raw / "constant_SSM.csv"]:
        path.unlink()
    few = ["VV", "VH", "SMAP", "elevation", "slope", "aspect", "clay", "sand", "bd"]
    tables = read_raw_folder(raw, published_catalogue().without(few))
    assert set(tables) == {"gridmet", "modis", "hls", "landcover"}
    with pytest.raises(InputError, match=r"no file S1_SSM_\{year\}.csv, which VV, VH, angle come from"):
        read_raw_folder(raw)


def test_columns_that_no_model_needs_may_lack(raw: Path) -> None:
    for path in raw.glob("HLSL30*"):
        pd.read_csv(path).drop(columns=["B10", "B11"]).to_csv(path, index=False)
    assert read_raw_folder(raw)["hls"]["TIRS1"].isna().all()


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("gridmet_SSM_2016.csv", "20160102_", "20160231_", "row 5: expected a date in system:index"),
        ("LST_MOD11A1_2017.csv", "2017_01_02_", "2017-01-02_", "row 3: expected a date"),
        ("HLSL30_SSM_2017_1.csv", "T14SLM_2017", "2017", "row 2: expected a date"),
        ("gridmet_SSM_2017.csv", ",pr,", ",rain,", "lacks column pr; found system:index, ID"),
        ("smap_ssm_2017.csv", "20170131_sm", "20170132_sm", "column 20170132_sm_surface is not a date"),
        ("LC_SSM_2019.csv", "SCAN_Alkali_Mesa", "", "row 2: expected a station in column ID"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_row(
    raw: Path, name: str, old: str, new: str, expected: str
) -> None:
    edit(raw / name, old, new)
    with pytest.raises(InputError, match=expected) as error:
        read_raw_folder(raw)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_a_cell_that_is_no_number_is_named_with_its_row(raw: Path) -> None:
    lines = (raw / "S1_SSM_2016.csv").read_text().splitlines()
    lines[3] = lines[3].replace("-23.1826", "much")
    (raw / "S1_SSM_2016.csv").write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"S1_SSM_2016.csv.*(R|r)ow #?4.*much"):
        read_raw_folder(raw)


def test_missing_folders_and_empty_tables_are_refused(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_raw_folder(tmp_path / "nowhere")
    twice = pd.read_csv(raw / "constant_SSM.csv")
    pd.concat([twice, twice.iloc[:1]]).to_csv(raw / "constant_SSM.csv", index=False)
    with pytest.raises(InputError, match="row 5: station SCAN_Alkali_Mesa is there twice"):
        read_raw_folder(raw)
    (raw / "constant_SSM.csv").write_text("")
    with pytest.raises(InputError, match=r"constant_SSM.csv: the table is empty"):
        read_raw_folder(raw)


def _halves(path: Path, first: Path, second: Path) -> None:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    path.unlink()
    table[: len(table) // 2].to_csv(first, index=False)
    table[len(table) // 2 :].to_csv(second, index=False)


@pytest.mark.parametrize("name", ["gridmet_SSM_2016", "HLSL30_SSM_2016_1", "S1_SSM_2017", "smap_ssm_2016"])
def test_parts_and_second_copies_are_read_once(raw: Path, name: str) -> None:
    def sorted_rows() -> dict[str, pd.DataFrame]:
        found = read_raw_folder(raw)
        return {
            k: t.assign(ID=t["ID"].astype(str)).sort_values(list(t.columns), ignore_index=True)
            for k, t in found.items()
        }

    before = sorted_rows()
    shutil.copy(raw / f"{name}.csv", raw / f"{name} (1).csv")  # the same export, fetched twice
    _halves(raw / f"{name}.csv", raw / f"{name}.csv", raw / f"{name.removesuffix('_1')}_7.csv")
    after = sorted_rows()
    for source, table in before.items():
        pd.testing.assert_frame_equal(after[source], table)
    assert unread_files(raw) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{}_part1.csv", "{}_part2.csv"),
        ("{}.csv", "{}-1.csv"),
        ("Copy of {}.csv", "{} - Copy.csv"),
        ("{}.CSV", "{} (2).csv"),
    ],
)
def test_parts_as_people_name_them(raw: Path, first: str, second: str) -> None:
    name = "gridmet_SSM_2016"
    before = read_raw_folder(raw)["gridmet"]
    _halves(raw / f"{name}.csv", raw / first.format(name), raw / second.format(name))
    after, keys = read_raw_folder(raw)["gridmet"], ["ID", "Date"]
    one, other = (t.astype({"ID": str}).sort_values(keys, ignore_index=True) for t in (before, after))
    pd.testing.assert_frame_equal(one, other)
    assert unread_files(raw) == []


def test_tables_that_are_no_csv_of_earth_engine_are_one_line(raw: Path) -> None:
    path = raw / "gridmet_SSM_2016.csv"
    text = path.read_text()
    for change, says in (
        (lambda: path.write_text(text.replace(",", ";")), "expected commas between columns"),
        (lambda: path.write_text(text, encoding="utf-16"), r"is not in UTF-8 \(in UTF-16\?\)"),
        (lambda: path.write_text(text.replace("sph,", "pr,", 1)), "lacks column sph"),
        (lambda: path.write_text(text.replace("system:index,", "pr,", 1)), "lacks column system:index"),
        (lambda: path.write_text(text.replace(".geo", "pr", 1)), "column pr is there twice; expected one"),
    ):
        change()
        with pytest.raises(InputError, match=says):
            read_raw_folder(raw)


def test_two_exports_of_one_scene_with_other_values_are_refused(raw: Path) -> None:
    table = pd.read_csv(raw / "gridmet_SSM_2016.csv")
    table.loc[3, "pr"] = 77.0
    table.to_csv(raw / "gridmet_SSM_2016_2.csv", index=False)
    with pytest.raises(
        InputError, match=r"gridmet_SSM_2016_2.csv: 20160\d+_.* of station .* is also in gridmet_SSM"
    ):
        read_raw_folder(raw)


def test_a_part_with_a_header_alone_is_no_trouble_and_other_files_are_named(raw: Path) -> None:
    before = read_raw_folder(raw)["hls"]
    (raw / "HLSL30_SSM_2016_2.csv").write_text("system:index,.geo\n")
    (raw / "HLSS30_SSM_2016_1.csv").write_text("system:index,.geo\n")
    (raw / "notes.txt").write_text("")
    pd.testing.assert_frame_equal(read_raw_folder(raw)["hls"], before)
    assert unread_files(raw) == ["HLSS30_SSM_2016_1.csv"]


@pytest.mark.parametrize("name", ["gridmet_SSM_2016", "HLSL30_SSM_2016_1", "S1_SSM_2016", "LST_MOD11A1_2016"])
def test_numbers_of_merged_collections_stand_before_the_date(raw: Path, name: str) -> None:
    before = read_raw_folder(raw)
    table = pd.read_csv(raw / f"{name}.csv", dtype=str, keep_default_na=False)
    table["system:index"] = "1_2_" + table["system:index"]
    table.to_csv(raw / f"{name}.csv", index=False)
    for source, found in read_raw_folder(raw).items():
        pd.testing.assert_frame_equal(found, before[source])
