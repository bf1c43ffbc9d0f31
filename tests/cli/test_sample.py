"""A table sampled from a cube's sources is what maps are made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from mmnet_maps.bench.made_up import made_up_bundle
from mmnet_maps.bench.naive import naive_maps
from mmnet_maps.cli.main import app
from mmnet_maps.dates import from_yyyymmdd
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.jobs.sample import sample_table
from mmnet_maps.learn.bundle import Bundle, save_bundle
from mmnet_maps.learn.model_input import ModelInput, from_table
from mmnet_maps.prepare.at_places import in_disc, pixel_of
from mmnet_maps.prepare.cube.store import open_cube
from mmnet_maps.prepare.stations.files import read_table
from mmnet_maps.produce.units import Unit
from mmnet_maps.simulated import SimulationConfig, cube_settings, simulate_region

CONFIG = SimulationConfig.from_mapping(
    {
        "region_pixels": 48, "first_day": "2020-05-20", "last_day": "2020-05-24", "history_days": 40,
        "spin_up_days": 10, "validation_stations": 4,
    }
)  # fmt: skip


def run(*words: object) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    simulate_region(CONFIG, folder)
    (folder / "cube.yaml").write_text(yaml.safe_dump(cube_settings(CONFIG)))
    where = ("--network", folder / "region/network.gpkg", "--in-situ", folder / "region/in_situ.csv")
    made = run("stations", "sample", "--config", folder / "cube.yaml", *where, "--out", folder / "t.parquet")
    assert made["stations_not_reached"] == []
    run("cube", "build", "--config", folder / "cube.yaml", "--out", folder / "cube.zarr")
    return folder


def test_a_map_sees_at_a_station_what_the_table_holds(work: Path) -> None:
    frame, catalogue = read_table(work / "t.parquet")
    bundle, cube = made_up_bundle("mmnet", catalogue), open_cube(work / "cube.zarr")
    expected, inputs = bundle.predict(from_table(frame, catalogue)), from_table(frame, catalogue)
    in_situ = pd.read_csv(work / "region/in_situ.csv").drop_duplicates("ID").set_index("ID")
    seen: list[ModelInput] = []

    class Watching(Bundle):
        """Keeps what the path of maps gives the model."""

        def predict(self, given: ModelInput, batch: int = 4096) -> Any:
            seen.append(given)
            return super().predict(given, batch)

    watching = Watching(**{name: getattr(bundle, name) for name in bundle.__dataclass_fields__})
    compared = 0
    for station, rows in frame.groupby("ID"):
        place = in_situ.loc[station]
        pixel = pixel_of(cube.grid, float(place["Longitude"]), float(place["Latitude"]))
        assert pixel is not None
        days = from_yyyymmdd(rows["Date"].to_numpy())
        last = days >= from_yyyymmdd(np.array([20200520]))[0]
        if not last.any():
            continue
        unit = Unit(pixel, int(days[last][0]), int(days[last][-1]) + 1)
        estimate = naive_maps(cube, watching, unit)[:, 0, 0]
        kept = days[last] - unit.first
        positions = rows.index.to_numpy()[last]
        assert np.array_equal(seen[-1].snapshot[kept], inputs.snapshot[positions])
        assert np.array_equal(seen[-1].series[kept], inputs.series[positions])
        np.testing.assert_allclose(estimate[kept], expected[positions], atol=1e-5)
        compared += kept.size
    assert compared >= 12


def test_training_and_mapping_agree_through_the_commands(work: Path) -> None:
    from mmnet_maps.produce.product.store import open_product

    catalogue = read_table(work / "t.parquet")[1]
    save_bundle(made_up_bundle("mmnet", catalogue), work / "bundle")
    ask = ("--bundle", work / "bundle", "--cube", work / "cube.zarr", "--out", work / "p.zarr")
    run("predict", *ask, "--start", "2020-05-20", "--end", "2020-05-24")
    run(
        "stations",
        "predict",
        "--bundle",
        work / "bundle",
        "--table",
        work / "t.parquet",
        "--out",
        work / "y.csv",
    )
    product, found = open_product(work / "p.zarr"), pd.read_csv(work / "y.csv")
    cube = open_cube(work / "cube.zarr")
    in_situ = pd.read_csv(work / "region/in_situ.csv").drop_duplicates("ID").set_index("ID")
    compared = 0
    for row in found[found["Date"] >= 20200520].to_dict("records"):
        place = in_situ.loc[row["ID"]]
        pixel = pixel_of(cube.grid, float(place["Longitude"]), float(place["Latitude"]))
        assert pixel is not None
        day = int(from_yyyymmdd(np.array([row["Date"]]))[0])
        mapped = product.packing["soil_moisture"].decode(product.read_day(day)["soil_moisture"])
        # Half a stored step.
        assert mapped[pixel.row, pixel.col] == pytest.approx(max(0.0, row["y_pred"]), abs=6e-5)
        compared += 1
    assert compared >= 12


def test_the_table_is_that_of_raw_exports_of_the_same_region(work: Path) -> None:
    place = work / "region"
    given = ("--raw", place / "raw", "--in-situ", place / "in_situ.csv", "--network", place / "network.gpkg")
    run("stations", "build", *given, "--out", work / "raw.parquet")
    raw, sampled = (read_table(work / f"{name}.parquet")[0] for name in ("raw", "t"))
    assert raw[["ID", "Date"]].equals(sampled[["ID", "Date"]])
    names = [n for n in raw.columns if raw[n].dtype == np.float32 and n in sampled]
    # A pixel stands for its centre: the place differs by less than a pixel, the rest as exports are printed.
    for name in names:
        np.testing.assert_allclose(sampled[name], raw[name], rtol=2e-6, atol=2e-6, err_msg=name)
    assert np.abs(sampled["Latitude"] - raw["Latitude"]).max() < 30 / 111_000


def test_discs_take_means_modes_and_circles(work: Path) -> None:
    given = (work / "region/network.gpkg", work / "region/in_situ.csv", work / "disc.parquet")
    sample_table(work / "cube.yaml", *given, around="disc")
    disc, pixel = (read_table(work / f"{name}.parquet")[0] for name in ("disc", "t"))
    both = disc.merge(pixel, on=["ID", "Date"], suffixes=("", "_p"))
    assert (both["SMAP"] == both["SMAP_p"]).all() and not (both["elevation"] == both["elevation_p"]).all()
    assert (both["LC"] == both["LC"].round()).all()
    grid = Grid("EPSG:32614", (30.0, 0.0, 500_000.0, 0.0, -30.0, 4_000_000.0), 100, 100)
    found = in_disc(-98.98332, 36.13, 70.7, grid)
    # Pixels of 30 m in a disc of 70.7 m.
    assert found.inside.sum() in range(15, 20)


def test_a_station_outside_the_region_is_sampled_on_a_grid_of_its_own(work: Path) -> None:
    data = cube_settings(CONFIG)
    where = pd.read_csv(work / "region/in_situ.csv").drop_duplicates("ID").iloc[0]
    far = [float(where["Longitude"]) + d for d in (0.002, 0.004)]
    data["region"] = {
        "box": [far[0], float(where["Latitude"]) - 0.001, far[1], float(where["Latitude"]) + 0.001]
    }
    data["grid"] = {"crs": "EPSG:32614", "resolution": 30}
    (work / "far.yaml").write_text(yaml.safe_dump(data))
    given = (work / "region/network.gpkg", work / "region/in_situ.csv", work / "far.parquet")
    sample_table(work / "far.yaml", *given)
    far_table, near = (read_table(work / f"{name}.parquet")[0] for name in ("far", "t"))
    assert len(far_table) == len(near)
    for name in ("SMAP", "pr", "elevation", "NIR"):
        assert far_table[name].equals(near[name])


def test_what_the_model_needs_and_no_source_holds_is_named(work: Path) -> None:
    data = cube_settings(CONFIG)
    del data["sources"]["sentinel1"]
    (work / "less.yaml").write_text(yaml.safe_dump(data))
    given = (work / "region/network.gpkg", work / "region/in_situ.csv", work / "less.parquet")
    with pytest.raises(InputError, match="no table holds VV by Date"):
        sample_table(work / "less.yaml", *given)
    found = sample_table(work / "less.yaml", *given, without=["VV", "VH"])
    assert Path(found["out"]).is_file()
    assert "VV" not in read_table(work / "less.parquet")[1]
