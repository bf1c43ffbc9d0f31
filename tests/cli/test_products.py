"""The commands on finished maps, as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmnet_maps.cli import main
from mmnet_maps.grid import lonlat
from mmnet_maps.jobs.products import open_product
from tests.show.conftest import make_cube  # noqa: F401


def _run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = 0
    before = sys.argv
    sys.argv = ["mmnet-maps", *map(str, arguments)]
    try:
        main()
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        sys.argv = before
    said = capsys.readouterr()
    return status, said.out, said.err


def _station_files(product: Any, folder: Path) -> tuple[Path, Path]:
    tile = next(product.layout.tiles())
    lon, lat = lonlat(product.grid, tile)
    rows = [
        {
            "ID": f"s{i}",
            "Network": "SCAN",
            "Latitude": lat[i, i],
            "Longitude": lon[i, i],
            "Date": date,
            "VWC_5": v,
        }
        for i in (20, 40)
        for date, v in ((20210601, 0.2), (20210602, 0.25), (20210604, 0.3))
    ]
    frame = pd.DataFrame(rows)
    frame.to_csv(folder / "in_situ.csv", index=False)
    frame.drop_duplicates("ID").assign(Domain="W").to_csv(folder / "network.csv", index=False)
    return folder / "in_situ.csv", folder / "network.csv"


def test_export_says_what_it_wrote(
    make_product: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product, out = make_product(), tmp_path / "cogs"
    asked = ("export", "--product", product.path, "--out", out, "--start", "2021-06-02", "--end", "20210603")
    status, text, _ = _run(capsys, *asked, "--json")
    assert status == 0
    assert json.loads(text) == {"out": str(out), "written": 2, "kept": 0, "unfinished": [], "items": 2}
    assert "0 days written, 2 kept" in _run(capsys, *asked)[1]


def test_validate_and_report(
    make_product: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = make_product()
    in_situ, network = _station_files(product, tmp_path)
    out = tmp_path / "validation"
    asked = ("validate", "--product", product.path, "--in-situ", in_situ, "--network", network, "--out", out)
    status, text, _ = _run(capsys, *asked, "--json")
    found = json.loads(text)
    assert status == 0 and found["overall"]["n"] + found["pairs_without_a_map_value"] == 6
    status, _, _ = _run(capsys, "report", product.path, "--out", tmp_path / "p.html")
    assert status == 0 and "Against stations" in (tmp_path / "p.html").read_text()


def test_validate_measures_squares_and_compares_with_a_truth(
    make_product: Callable[..., Any],
    make_cube: Callable[..., Any],  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    product, cube = make_product(), make_cube()
    in_situ, network = _station_files(product, tmp_path)
    data = open_product(product.path)[["soil_moisture"]]
    data.to_netcdf(tmp_path / "truth.nc", engine="h5netcdf")
    asked: tuple[Any, ...] = ("validate", "--product", product.path, "--in-situ", in_situ)
    asked += ("--network", network, "--out", tmp_path / "v", "--truth", tmp_path / "truth.nc")
    status, _, error = _run(capsys, *asked)
    assert status == 2 and "give the --cube" in error
    status, text, error = _run(capsys, *asked, "--cube", cube.path)
    # The maps are their own truth: no error is left, and steps at edges are the truth's.
    assert status == 0 and "steps at edges of cells" in text, error
    found = json.loads((tmp_path / "v" / "scores.json").read_text())
    assert found["cell_edges"]["smap"]["ratio"] == pytest.approx(found["cell_edges"]["smap"]["truth_ratio"])
    assert found["truth"]["MMNet"]["overall"]["rmse"] < 1e-6


def test_view_writes_the_page_as_files(
    make_product: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = make_product(days=1)
    in_situ, network = _station_files(product, tmp_path)
    asked = ("validate", "--product", product.path, "--in-situ", in_situ, "--network", network)
    assert _run(capsys, *asked, "--out", tmp_path / "validation")[0] == 0
    static = ("view", product.path, "--static", tmp_path / "site", "--validation", tmp_path / "validation")
    status, text, error = _run(capsys, *static)
    assert status == 0 and "serve" in text, error
    assert len(json.loads((tmp_path / "site" / "stations.json").read_text())) == 2


def test_extract_writes_series_and_boxes(
    make_product: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = make_product()
    _, network = _station_files(product, tmp_path)
    asked = ("extract", product.path, "--points", network, "--out", tmp_path / "probes.parquet")
    status, text, _ = _run(capsys, *asked, "--json")
    assert status == 0 and json.loads(text)["rows"] == 8
    assert _run(capsys, "export", "--product", product.path, "--out", tmp_path / "maps")[0] == 0
    days = ("--start", "2021-06-01", "--end", "2021-06-02")
    box = ("--box", "-111.0", "36.12", "-110.98", "36.14")
    status, text, error = _run(capsys, "extract", tmp_path / "maps", *box, *days, "--out", tmp_path / "c.nc")
    assert status == 0 and text.startswith("2 days of "), error


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("export", "--product", "{tmp}/none", "--out", "{tmp}/o"), "no product there"),
        (
            ("export", "--product", "{tmp}/product", "--out", "{tmp}/o", "--start", "June"),
            "June is not a date",
        ),
        (("report", "{tmp}", "--out", "{tmp}/r.html"), "neither a run"),
        (("view", "{tmp}"), "no soil_moisture_YYYYMMDD.tif"),
        (("extract", "{tmp}/product", "--out", "{tmp}/o.csv"), "expected one of --points, --polygons"),
        (("extract", "{tmp}/product", "--box", "1", "2", "3", "4", "--out", "{tmp}/o.csv"), ".nc for a box"),
        (
            ("extract", "{tmp}/product", "--box", "1", "2", "3", "4", "--out", "{tmp}/o.nc"),
            "touches no pixel",
        ),
        (("extract", "{tmp}/none", "--points", "p.csv", "--out", "{tmp}/o.csv"), "no maps there"),
        (
            (
                "validate",
                "--product",
                "{tmp}/product",
                "--in-situ",
                "{tmp}/no.csv",
                "--network",
                "x",
                "--out",
                "o",
            ),
            "no such in situ CSV",
        ),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    make_product: Callable[..., Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    reason: str,
) -> None:
    make_product(days=1)
    status, text, error = _run(capsys, *(part.format(tmp=tmp_path) for part in arguments))
    assert status == 2 and reason in error and error.count("\n") == 1 and not text
    assert {path.name for path in tmp_path.iterdir()} == {"product"}


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys; import mmnet_maps.cli; "
        "print([m for m in ('numpy', 'rasterio', 'matplotlib', 'zarr', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_product_is_verified(make_product: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    product = make_product()
    status, out, _ = _run(capsys, "product", "verify", product.path)
    assert status == 0 and "8 finished units, 0 damaged" in out
    (product.path / "quality" / "c" / "0" / "0" / "0").unlink()
    status, out, said = _run(capsys, "product", "verify", product.path, "--json")
    assert status == 1 and "run `mmnet-maps predict` for their days again" in said
    assert list(json.loads(out)["damaged"]) == ["20210601-r000000-c000000"]
