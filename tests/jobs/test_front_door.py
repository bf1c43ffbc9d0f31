"""`import mmnet_maps as mm`: quick to import and complete; a product opens as xarray."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmnet_maps as mm
from mmnet_maps.produce.product.store import Product


def test_every_name_is_there_and_documented() -> None:
    for name in mm.__all__:
        found = getattr(mm, name)
        assert name == "__version__" or inspect.getdoc(found), name
    assert set(mm.__all__) <= set(dir(mm))
    with pytest.raises(AttributeError, match="no attribute 'predikt'"):
        mm.predikt  # noqa: B018


def test_the_import_is_light() -> None:
    code = (
        "import sys, mmnet_maps as mm; mm.InputError; "
        "print([m for m in ('numpy', 'pandas', 'torch', 'xarray', 'zarr') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_product_and_its_files_open_as_the_same_data_set(
    make_product: Callable[..., Product], tmp_path: Path
) -> None:
    product = make_product(days=3)
    maps: Any = mm.open_product(str(product.path))
    stored = product.read("soil_moisture", product.layout.start, product.layout.stop)
    scale = product.layers["soil_moisture"].packing.scale
    np.testing.assert_allclose(
        maps.soil_moisture, np.where(stored == -32768, np.nan, stored * scale), rtol=1e-6
    )
    assert dict(maps.sizes) == {"time": 3, "y": 96, "x": 120}
    assert maps.quality.dtype == np.uint32
    assert "EPSG" in maps.spatial_ref.attrs["crs_wkt"]
    assert str(maps.time.values[0])[:10] == "2021-06-01"
    loaded = maps.load()
    lazy: Any = mm.open_product(product.path)
    for index in (
        {"time": 0},
        {"x": slice(None, None, 7)},
        {"y": [5, 2], "time": -1},
        {"x": slice(50, 3, -4)},
    ):
        np.testing.assert_array_equal(lazy.isel(index).soil_moisture, loaded.isel(index).soil_moisture)
    mm.export(product.path, tmp_path / "maps", end="2021-06-02")
    files: Any = mm.open_product(tmp_path / "maps")
    np.testing.assert_array_equal(files.soil_moisture, maps.soil_moisture[:2])
    np.testing.assert_array_equal(files.quality, maps.quality[:2])


def test_a_run_folder_given_as_a_bundle_points_to_its_bundles(tmp_path: Path) -> None:
    (tmp_path / "run/all/bundle").mkdir(parents=True)
    (tmp_path / "run/all/bundle/bundle.json").write_text("{}")
    with pytest.raises(mm.InputError, match=r"run folder; its bundles are .*run/all/bundle"):
        mm.load_bundle(str(tmp_path / "run"))


def test_what_cannot_be_a_product_is_refused(tmp_path: Path) -> None:
    with pytest.raises(mm.InputError, match="a product holds the whole cube"):
        mm.predict("b", "c", "2020-03-01", "2020-03-02", tmp_path / "p", box=(0, 0, 1, 1))  # type: ignore[call-overload]
    for precision in ("float16", "bfloat"):
        with pytest.raises(mm.InputError, match=f"--precision {precision}: expected float32 or bfloat16"):
            mm.predict("b", "c", "2020-03-01", "2020-03-02", tmp_path / "p", precision=precision)
    assert list(tmp_path.iterdir()) == []


def test_settings_by_key_reach_groups() -> None:
    from mmnet_maps.jobs.settings import settings_of
    from mmnet_maps.learn.experiments import ExperimentConfig

    first = settings_of(ExperimentConfig, settings={"epochs": 3, "modern.days": 5})
    assert (first.epochs, first.modern.days) == (3, 5)
    second = settings_of(ExperimentConfig, first, ["seed=2"])
    assert (second.epochs, second.modern.days, second.seed) == (3, 5, 2)
    with pytest.raises(mm.InputError, match=r"unknown key epoch; .*did you mean epochs\?"):
        settings_of(ExperimentConfig, settings={"epoch": 3})
    with pytest.raises(mm.InputError, match=r"unknown key modern\.day; .*did you mean days\?"):
        settings_of(ExperimentConfig, settings={"modern.day": 3})
