"""The comparison with a known truth, against a plain computation on whole arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.typing import NDArray
from pyproj import Transformer
from scipy.stats import linregress

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.packing import Packing
from mmnet_maps.produce.judge.truth import (
    CoarseField,
    TruthField,
    closer_within_cells,
    compare_with_truth,
    comparison_table,
)

COARSE = Grid("EPSG:32612", (1000.0, 0.0, 499_000.0, 0.0, -1000.0, 4_001_000.0), 6, 7)


class _Smap:
    """A source of a cube, held in memory."""

    name, grid = "smap", COARSE

    def __init__(self, days: NDArray[np.int64], seed: int = 3) -> None:
        self.days = days
        self.variables = {"SMAP": Packing(dtype="int16", scale=1e-4, missing=-9999)}
        self.stored = (
            np.random.default_rng(seed).integers(1500, 3500, (days.size, *COARSE.shape)).astype(np.int16)
        )
        self.stored[0, 3, 3] = -9999

    def days_between(self, start: int, stop: int) -> tuple[int, int]:
        first, last = np.searchsorted(self.days, [start, stop])
        return int(first), int(last)

    def read(self, variable: str, first: int, last: int, rows: slice, cols: slice) -> NDArray[Any]:
        return self.stored[first:last, rows, cols]


def _field(source: _Smap) -> CoarseField:
    cube: Any = SimpleNamespace(source_of=lambda name: source)
    return CoarseField(cube)


def _truth(product: Any, path: Path, seed: int = 5) -> Path:
    random = np.random.default_rng(seed)
    values = product.packing["soil_moisture"].decode(
        product.read("soil_moisture", product.layout.start, product.layout.stop)
    )
    values = values + random.normal(0, 0.02, values.shape).astype(np.float32)
    values[:, 40:44, 50:54] = np.nan
    data = xr.Dataset(
        {"soil_moisture": (("time", "y", "x"), values)},
        {
            "time": product.days.astype("datetime64[D]").astype("datetime64[ns]"),
            "y": product.grid.y(np.arange(product.grid.height)),
            "x": product.grid.x(np.arange(product.grid.width)),
        },
    )
    if path.suffix == ".nc":
        data.to_netcdf(path, engine="h5netcdf")
    else:
        data.to_zarr(path, consolidated=False)
    return path


def _long_table(product: Any, truth: Path, source: _Smap) -> pd.DataFrame:
    """A row a pixel-day with all three values, by whole arrays and the exact projection."""
    data = xr.open_zarr(truth, consolidated=False) if truth.is_dir() else xr.open_dataset(truth)
    t = data["soil_moisture"].to_numpy().astype(float)
    stored = {
        n: product.read(n, product.layout.start, product.layout.stop)
        for n in ("soil_moisture", "lower", "upper")
    }
    m, low, high = (np.where(v == -32768, np.nan, v * 1e-4) for v in stored.values())
    x, y = np.meshgrid(product.grid.x(np.arange(m.shape[2])), product.grid.y(np.arange(m.shape[1])))
    cx, cy = Transformer.from_crs(product.grid.crs, COARSE.crs, always_xy=True).transform(x, y)
    row = np.floor((cy - COARSE.transform[5]) / COARSE.transform[4]).astype(int)
    col = np.floor((cx - COARSE.transform[2]) / COARSE.transform[0]).astype(int)
    s = np.where(source.stored == -9999, np.nan, source.stored * 1e-4)[:, row, col]
    cell = np.broadcast_to(row * 100 + col, m.shape)
    day, pixel = np.meshgrid(np.arange(m.shape[0]), np.arange(m[0].size), indexing="ij")
    columns = {"t": t, "m": m, "s": s, "cell": cell, "low": low, "high": high}
    frame = pd.DataFrame(
        {k: v.ravel() for k, v in columns.items()} | {"day": day.ravel(), "pixel": pixel.ravel()}
    )
    return frame.dropna(subset=["t", "m", "s"])


def _plain(frame: pd.DataFrame, name: str) -> dict[str, float]:
    t, m = frame["t"].to_numpy(), frame[name].to_numpy()
    rmse, bias = np.sqrt(np.mean((m - t) ** 2)), np.mean(m - t)
    flat = len(t) < 2 or np.std(m) < 1e-6 or np.std(t) < 1e-6
    corr = np.nan if flat else np.corrcoef(t, m)[0, 1]
    ubrmse = np.nan if len(t) < 2 else np.sqrt(max(rmse**2 - bias**2, 0))
    return {"corr": corr, "ubrmse": ubrmse, "bias": bias, "rmse": rmse}


def _gain(frame: pd.DataFrame) -> dict[str, float]:
    """Gains of the maps on SMAP over some rows, by the regressions of scipy."""
    far = {}
    for name in ("m", "s"):
        flat = frame["t"].std(ddof=0) < 1e-6 or frame[name].std(ddof=0) < 1e-6
        line = linregress(frame["t"], frame[name]) if len(frame) > 1 and not flat else None
        slope = np.nan if line is None else line.slope
        if line is None and len(frame) > 1 and frame["t"].std(ddof=0) > 1e-6:
            slope = 0.0  # a constant
        bias = frame[name].mean() - frame["t"].mean()
        far[name] = np.abs([slope - 1, np.nan if line is None else line.rvalue - 1, bias])
    both = far["s"] + far["m"]
    gains = (far["s"] - far["m"]) / np.where(both > 1e-9, both, np.nan)
    return dict(zip(("slope", "corr", "bias", "gdown"), [*gains, gains.mean()], strict=True))


def _mean(groups: Any, name: str) -> dict[str, float]:
    return pd.DataFrame([_plain(part, name) for _, part in groups]).mean().to_dict()


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_every_score_equals_a_plain_computation(
    make_product: Callable[..., Any], tmp_path: Path, suffix: str
) -> None:
    grid = Grid("EPSG:32612", (60.0, 0.0, 500_010.0, 0.0, -50.0, 4_000_020.0), 50, 70)
    product = make_product(grid=grid, days=3, tile=32, block_days=2)
    truth, source = _truth(product, tmp_path / f"truth{suffix}"), _Smap(product.days)
    result = compare_with_truth(product, TruthField(truth, grid), _field(source))
    frame = _long_table(product, truth, source)
    assert result["days"] == 3 and result["pixel_days"] == len(frame)
    inside = (frame["t"] >= frame["low"]) & (frame["t"] <= frame["high"])
    assert result["interval_coverage"] == pytest.approx(inside.mean(), abs=2e-4)
    for model, name in (("MMNet", "m"), ("SMAP", "s")):
        expected = {
            "space": _mean(frame.groupby("day"), name),
            "time": _mean(frame.groupby("pixel"), name),
            "overall": _plain(frame, name),
        }
        for part, scores in expected.items():
            assert result[model][part] == pytest.approx(scores, abs=1e-6), (model, part)
    for part, by in (("space", "day"), ("time", "pixel")):
        gains = pd.DataFrame([_gain(rows) for _, rows in frame.groupby(by)]).mean().to_dict()
        assert result["gain"][part] == pytest.approx(gains, abs=1e-6), part
    anomalies = frame.copy()
    for name in ("t", "m", "s"):
        anomalies[name] -= frame.groupby(["day", "cell"])[name].transform("mean")
    for model, name in (("MMNet", "m"), ("SMAP", "s")):
        found = _mean(anomalies.groupby("day"), name)
        within = {"corr": found["corr"], "ubrmse": found["ubrmse"]}
        assert result[model]["within_cell"] == pytest.approx(within, abs=1e-6, nan_ok=True)


def test_smap_has_no_correlation_within_its_cells_and_misses_all_their_spread(
    make_product: Callable[..., Any], tmp_path: Path
) -> None:
    product = make_product()
    truth, source = _truth(product, tmp_path / "truth.nc"), _Smap(product.days)
    result = compare_with_truth(product, TruthField(truth, product.grid), _field(source))
    frame = _long_table(product, truth, source)
    spread = frame["t"] - frame.groupby(["day", "cell"])["t"].transform("mean")
    by_day = (spread**2).groupby(frame["day"]).mean() ** 0.5
    assert np.isnan(result["SMAP"]["within_cell"]["corr"])
    assert result["SMAP"]["within_cell"]["ubrmse"] == pytest.approx(by_day.mean(), abs=1e-6)
    assert closer_within_cells(result)
    assert "within 9 km, correlation" in comparison_table(result)


def test_scores_do_not_depend_on_the_tiles(make_product: Callable[..., Any], tmp_path: Path) -> None:
    results = []
    for tile, block in ((32, 1), (128, 4)):
        product = make_product(f"p{tile}", tile=tile, block_days=block)
        if not results:
            values = {n: product.read(n, product.layout.start, product.layout.stop) for n in product.packing}
            truth = _truth(product, tmp_path / "truth.nc")
        else:
            for unit in product.layout.units():
                days = slice(unit.first - product.layout.start, unit.stop - product.layout.start)
                product.write_unit(
                    unit, {n: v[days, unit.tile.rows, unit.tile.cols] for n, v in values.items()}
                )
        results.append(
            compare_with_truth(product, TruthField(truth, product.grid), _field(_Smap(product.days)))
        )
    one, two = (pd.json_normalize(r).iloc[0].astype(float) for r in results)
    np.testing.assert_allclose(one, two, rtol=1e-9)


def test_days_without_smap_count_for_neither(make_product: Callable[..., Any], tmp_path: Path) -> None:
    product = make_product()
    truth = TruthField(_truth(product, tmp_path / "truth.nc"), product.grid)
    result = compare_with_truth(product, truth, _field(_Smap(product.days[:2])))
    assert result["days"] == 2


def test_a_truth_on_another_grid_is_refused(make_product: Callable[..., Any], tmp_path: Path) -> None:
    product = make_product()
    path = _truth(product, tmp_path / "truth.nc")
    a, b, c, d, e, f = product.grid.transform
    shifted = Grid(product.grid.crs, (a, b, c + 30, d, e, f), *product.grid.shape)
    with pytest.raises(InputError, match="expected the maps' own"):
        TruthField(path, shifted)
    with pytest.raises(InputError, match="no such truth"):
        TruthField(tmp_path / "none.nc", product.grid)


def test_no_common_day_is_refused(make_product: Callable[..., Any], tmp_path: Path) -> None:
    product = make_product()
    truth = TruthField(_truth(product, tmp_path / "truth.nc"), product.grid)
    with pytest.raises(InputError, match="no finished day is among the days of the truth"):
        compare_with_truth(make_product("later", start="2022-01-01"), truth, _field(_Smap(product.days)))
    with pytest.raises(InputError, match="no pixel has a map value"):
        compare_with_truth(product, truth, _field(_Smap(product.days + 100)))
