from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mmnet_maps.cli import app
from mmnet_maps.learn.bundle import load_bundle, save_bundle
from mmnet_maps.learn.model_input import from_table
from mmnet_maps.learn.published import import_published
from mmnet_maps.prepare.stations.files import read_table


def call(*words: object) -> dict[str, object]:
    result = CliRunner().invoke(app, ["stations", *(str(w) for w in words), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    summary: dict[str, object] = json.loads(result.stdout)
    return summary


@pytest.fixture(scope="module")
def example(shared: Path) -> Path:
    return shared / "spec" / "published-example"


def build(example: Path, out: Path, *more: object) -> dict[str, object]:
    files = (
        "--raw",
        example / "raw",
        "--in-situ",
        example / "in_situ.csv",
        "--network",
        example / "network.gpkg",
    )
    return call("build", *files, "--out", out, *more)


def test_build_writes_the_same_table_as_parquet_and_csv(example: Path, tmp_path: Path) -> None:
    summary = build(example, tmp_path / "t.parquet")
    build(example, tmp_path / "t.csv")
    one, its = read_table(tmp_path / "t.parquet")
    two, theirs = read_table(tmp_path / "t.csv")
    assert its == theirs and len(one) == summary["rows"]
    assert summary["rows"] + sum(summary["left_out"].values()) == summary["rows_read"]  # type: ignore
    pd.testing.assert_frame_equal(one, two, check_dtype=False, check_exact=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.csv", "t.csv.catalogue.json", "t.parquet"]


def test_build_takes_its_settings_from_options_and_file(example: Path, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("gap_limits: none\n")
    more = "--encoding", "cyclic", "--fill", "past", "--without", "VV", "--without", "VH"
    build(example, tmp_path / "t.parquet", *more, "--config", tmp_path / "s.yaml", "--set", "networks=[SCAN]")
    frame, catalogue = read_table(tmp_path / "t.parquet")
    assert catalogue.encoding == "cyclic" and "VV" not in catalogue
    assert catalogue["NIR"].fill == "past" and catalogue["NIR"].max_gap is None
    assert set(frame["Network"]) == {"SCAN"}


def test_predict_gives_what_the_bundle_gives(example: Path, tmp_path: Path) -> None:
    bundle = import_published(
        "mmnet",
        example / "model_best.pth",
        example / "static_mean_std.npy",
        example / "dynamic_mean_std.npy",
    )
    save_bundle(bundle, tmp_path / "bundle")
    build(example, tmp_path / "t.parquet")
    summary = call(
        "predict",
        "--bundle",
        tmp_path / "bundle",
        "--table",
        tmp_path / "t.parquet",
        "--out",
        tmp_path / "p.csv",
    )
    frame, catalogue = read_table(tmp_path / "t.parquet")
    found = pd.read_csv(tmp_path / "p.csv")
    assert list(found.columns) == ["ID", "Date", "y_test", "y_pred", "lower", "upper", "outside"]
    # Nothing was held out for a published checkpoint.
    assert found[["lower", "upper"]].isna().all(axis=None) and (found["outside"] == 0).all()
    assert summary["rows"] == len(found) and summary["rows_without_prediction"] == 0
    expected = load_bundle(tmp_path / "bundle").predict(from_table(frame, catalogue))
    np.testing.assert_allclose(found["y_pred"], expected, rtol=1e-6)
    build(example, tmp_path / "c.parquet", "--encoding", "cyclic")
    words = "--bundle", tmp_path / "bundle", "--table", tmp_path / "c.parquet", "--out", tmp_path / "q.csv"
    result = CliRunner().invoke(app, ["stations", "predict", *(str(w) for w in words)])
    assert "DoY_normalized only in the bundle" in str(result.exception)
    assert not (tmp_path / "q.csv").exists()


def test_from_ismn_keeps_standard_output_for_the_summary(shared: Path, tmp_path: Path) -> None:
    archive = shared / "data" / "ismn" / "Data_seperate_files_header_20170810_20180809.zip"
    words = "--archive", archive, "--depth", 0, 0.3, "--min-hours", 12, "--out", tmp_path / "i.csv"
    summary = call("from-ismn", *words)
    assert summary["days"] == len(pd.read_csv(tmp_path / "i.csv"))
    assert list(tmp_path.iterdir()) == [tmp_path / "i.csv"]


def test_from_uscrn_makes_a_table_of_what_the_files_hold(tmp_path: Path, shared: Path) -> None:
    import zipfile

    with zipfile.ZipFile(shared / "data" / "uscrn" / "CRND0103_2015-2022.zip") as content:
        names = [n for n in content.namelist() if "AZ_Elgin" in n or "AL_Selma" in n]
        content.extractall(tmp_path / "files", names)
    summary = call(
        "from-uscrn", "--files", tmp_path / "files", "--out", tmp_path / "u.parquet", "--encoding", "cyclic"
    )
    frame, catalogue = read_table(tmp_path / "u.parquet")
    assert summary["files_read"] == 16 and summary["rows"] == len(frame)
    assert catalogue.snapshot == ("DoY_sin", "DoY_cos", "Latitude", "Longitude")
    assert catalogue.series == ("tmax", "tmin", "pr", "srad", "rh", "skin")
    assert set(frame["State"]) == {"AZ", "AL"} and set(frame["Network"]) == {"USCRN"}


def test_a_wrong_input_is_one_line_and_status_2_and_leaves_nothing(example: Path, tmp_path: Path) -> None:
    words = ["--raw", tmp_path, "--in-situ", example / "in_situ.csv", "--network", example / "network.gpkg"]
    command = [
        sys.executable,
        "-m",
        "mmnet_maps.cli",
        "stations",
        "build",
        *words,
        "--out",
        tmp_path / "t.csv",
    ]
    done = subprocess.run([str(w) for w in command], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "no file gridmet_SSM_{year}.csv" in done.stderr
    assert list(tmp_path.iterdir()) == []
    for out, expected in (
        (tmp_path / "t.txt", "ends in .parquet or .csv"),
        (tmp_path / "no" / "t.csv", "does not exist"),
    ):
        command[-1] = out
        done = subprocess.run([str(w) for w in command], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and expected in done.stderr


def test_soil_state_and_normals_go_into_the_table_of_uscrn_files(shared: Path, tmp_path: Path) -> None:
    archive = shared / "data" / "uscrn" / "CRND0103_2015-2022.zip"
    some = tmp_path / "files"
    some.mkdir()
    with zipfile.ZipFile(archive) as whole:
        for name in whole.namelist():
            if name.endswith(("AZ_Elgin_5_S.txt", "AL_Selma_13_WNW.txt")):
                (some / Path(name).name).write_bytes(whole.read(name))
    more = "--soil-state", "--normals-until", "2018"
    call("from-uscrn", "--files", some, "--out", tmp_path / "t.parquet", *more)
    frame, catalogue = read_table(tmp_path / "t.parquet")
    assert catalogue.history_days == 270 and catalogue.lags[0] == 90
    assert {"bucket50", "swe", "balance90", "eto", "skin_range"} <= set(catalogue.series)
    assert {"pr_normal", "eto_normal"} <= set(catalogue.snapshot)
    inputs = from_table(frame, catalogue)
    assert inputs.complete.all()
    # Arizona is dry and Alabama wet, in the normals and in what is left in the soil.
    normal = frame.groupby("ID")["pr_normal"].first()
    assert normal["USCRN_Elgin_5_S"] < 1.6 < 3 < normal["USCRN_Selma_13_WNW"]
    bucket = frame.groupby("ID")["bucket150"].median()
    assert bucket["USCRN_Elgin_5_S"] < bucket["USCRN_Selma_13_WNW"]
