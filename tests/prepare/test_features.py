from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmnet_maps.catalogue import INDICES, LAND_COVER_CLASSES, published_catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.prepare.features import (
    Scaler,
    encode,
    land_cover_class,
    nearest_release,
    window,
    write_features,
)

# Section 6 of the published method, in float64.
FORMULAS = {
    "ndvi": lambda v: (v["NIR"] - v["Red"]) / (v["NIR"] + v["Red"]),
    "evi": lambda v: 2.5 * (v["NIR"] - v["Red"]) / (v["NIR"] + 6 * v["Red"] - 7.5 * v["Blue"] + 1),
    "ndwi": lambda v: (v["Green"] - v["NIR"]) / (v["Green"] + v["NIR"]),
    "lswi": lambda v: (v["NIR"] - v["SWIR1"]) / (v["NIR"] + v["SWIR1"]),
    "nsdsi": lambda v: (v["SWIR1"] - v["SWIR2"]) / v["SWIR1"],
    "cr": lambda v: v["VV"] / v["VH"],
    "dpsvim": lambda v: (v["VV"] ** 2 + v["VH"] ** 2) / 2**5,
    "pol": lambda v: (v["VV"] + v["VH"]) / (v["VV"] - v["VH"]),
    "rvim": lambda v: 4 * v["VH"] / (v["VV"] + v["VH"]),
    "vvvh": lambda v: v["VV"] - v["VH"],
}


def raw_values(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    raw = {
        name: rng.uniform(0.02, 0.5, n).astype(np.float32)
        for name in ("Green", "Red", "NIR", "SWIR1", "SWIR2")
    }
    raw["Blue"] = rng.uniform(0.02, 0.1, n).astype(np.float32)
    raw["VV"] = rng.uniform(-14, -6, n).astype(np.float32)
    raw["VH"] = rng.uniform(-28, -17, n).astype(np.float32)
    return raw


def test_indices_are_the_published_formulas() -> None:
    raw = raw_values(500)
    out = np.empty((len(INDICES), 500), dtype=np.float32)
    write_features(list(INDICES), raw, out)
    wide = {name: values.astype(np.float64) for name, values in raw.items()}
    assert set(FORMULAS) == set(INDICES)
    for name, values in zip(INDICES, out, strict=True):
        np.testing.assert_allclose(values, FORMULAS[name](wide), rtol=2e-5, atol=2e-6, err_msg=name)


def test_a_zero_denominator_is_missing_not_infinite() -> None:
    raw = raw_values(1)
    zero = np.zeros(1, dtype=np.float32)
    cases = {
        "ndvi": {"NIR": zero, "Red": zero},
        "nsdsi": {"SWIR1": zero},
        "pol": {"VV": raw["VH"]},
        "cr": {"VH": zero},
        "rvim": {"VV": -raw["VH"]},
        "evi": {"NIR": np.float32([-1]), "Red": zero, "Blue": zero},
    }
    for name, changed in cases.items():
        out = np.empty((1, 1), dtype=np.float32)
        write_features([name], raw | changed, out)
        assert np.isnan(out[0, 0]), name


def test_a_missing_band_makes_its_indices_missing_and_no_others() -> None:
    raw = raw_values(1) | {"Green": np.full(1, np.nan, dtype=np.float32)}
    out = np.empty((len(INDICES), 1), dtype=np.float32)
    write_features(list(INDICES), raw, out)
    missing = [name for name, values in zip(INDICES, out[:, 0], strict=True) if np.isnan(values)]
    assert missing == ["ndwi"]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), st.integers(1, 37))
def test_blocks_of_pixels_give_the_same_bits(n: int, block: int) -> None:
    catalogue = published_catalogue()
    names = [f for f in catalogue.snapshot if f in INDICES]
    raw = raw_values(n, seed=n)
    whole = np.empty((len(names), n), dtype=np.float32)
    write_features(names, raw, whole)
    for start in range(0, n, block):
        part = {name: values[start : start + block] for name, values in raw.items()}
        out = np.empty((len(names), len(part["VV"])), dtype=np.float32)
        write_features(names, part, out)
        np.testing.assert_array_equal(out, whole[:, start : start + block])


def test_encodings_are_the_published_and_the_cyclic_ones() -> None:
    doy = np.arange(1, 367)
    np.testing.assert_allclose(encode("DoY_normalized", doy), np.cos((doy - 1) / 365 * np.pi), atol=1e-7)
    angle = np.linspace(0, 360, 37)
    np.testing.assert_allclose(encode("aspect_normalized", angle), np.cos(np.radians(angle) / 2), atol=1e-7)
    np.testing.assert_allclose(encode("aspect_sin", angle), np.sin(np.radians(angle)), atol=1e-6)
    np.testing.assert_allclose(encode("aspect_cos", angle), np.cos(np.radians(angle)), atol=1e-6)
    # The published one jumps at New Year and at north, the cyclic one does not.
    assert encode("DoY_normalized", 366.0) - encode("DoY_normalized", 1.0) == pytest.approx(-2)
    for name in ("DoY_sin", "DoY_cos"):
        assert abs(encode(name, 366.0) - encode(name, 1.0)) < 0.02
    with pytest.raises(KeyError):
        encode("ndvi", 1.0)


def test_land_cover_codes_become_the_published_classes() -> None:
    expected = {
        "Developed": [21, 22, 23, 24],
        "Barren": [31],
        "Forest": [41, 42, 43],
        "Shrub": [51, 52],
        "Grassland": [71, 72],
        "Pasture": [81],
        "Crop": [82],
        "Wetland": [90, 95],
    }
    known = {code: LAND_COVER_CLASSES.index(name) for name, codes in expected.items() for code in codes}
    codes = np.arange(256)
    assert land_cover_class(codes).tolist() == [known.get(int(code), -1) for code in codes]
    odd = np.array([np.nan, 52.5, -21, 300, 52.0, 81.0])
    assert land_cover_class(odd).tolist() == [-1, -1, -1, -1, 0, 7]


def test_one_hot_columns_follow_the_class_and_a_missing_class_is_missing() -> None:
    names = [f"LC_{name}" for name in LAND_COVER_CLASSES]
    out = np.empty((8, 9), dtype=np.float32)
    write_features(names, {"LC": np.arange(-1, 8, dtype=np.float32)}, out)
    assert np.isnan(out[:, 0]).all()
    np.testing.assert_array_equal(out[:, 1:], np.eye(8))
    number = np.empty((1, 9), dtype=np.float32)
    write_features(["LC"], {"LC": np.arange(-1, 8, dtype=np.float32)}, number)
    assert np.isnan(number[0, 0]) and number[0, 1:].tolist() == list(range(8))


def test_a_scalar_input_fills_its_row() -> None:
    out = np.empty((3, 4), dtype=np.float32)
    write_features(
        ["DoY_normalized", "elevation", "LC_Shrub"],
        {
            "DoY": np.float32(1),
            "elevation": np.float32(7),
            "LC": np.float32(0),
        },
        out,
    )
    np.testing.assert_array_equal(out, np.repeat([[1], [7], [1]], 4, axis=1))


def test_the_land_cover_release_of_a_year_is_the_published_one() -> None:
    releases = (2016, 2019, 2021)
    expected = {
        2015: 2016,
        2016: 2016,
        2017: 2016,
        2018: 2019,
        2019: 2019,
        2020: 2021,
        2021: 2021,
        2022: 2021,
    }
    years = np.array(list(expected))
    for order in (releases, releases[::-1]):
        found = [order[i] for i in nearest_release(order, years)]
        assert found == list(expected.values())


@given(st.integers(1, 20), st.integers(0, 12), st.integers(0, 5))
def test_windows_are_slices_of_calendar_days(count: int, longest: int, extra: int) -> None:
    lags = tuple(range(longest, -1, -1))
    values = np.random.default_rng(1).normal(size=(longest + extra + count, 3)).astype(np.float32)
    first = longest + extra
    cut = window(values, first, lags, count)
    assert cut.shape == (count, longest + 1, 3)
    for i in range(count):
        np.testing.assert_array_equal(cut[i], values[first + i - longest : first + i + 1])


def test_a_window_beyond_the_series_is_refused() -> None:
    values = np.zeros((15, 1), dtype=np.float32)
    for first, count in ((9, 1), (10, 6)):
        with pytest.raises(ValueError, match="reach"):
            window(values, first, tuple(range(10, -1, -1)), count)


def test_the_scaler_is_mean_and_population_deviation() -> None:
    rng = np.random.default_rng(0)
    snapshot = rng.normal(3, 2, (50, 4)).astype(np.float32)
    snapshot[:, 2] = 7
    series = rng.normal(-1, 5, (50, 3, 11)).astype(np.float32)
    scaler = Scaler.fit(snapshot, series)
    np.testing.assert_allclose(scaler.snapshot_mean, snapshot.astype(float).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scaler.snapshot_std[[0, 1, 3]], snapshot.astype(float).std(axis=0)[[0, 1, 3]])
    assert scaler.snapshot_std[2] == 1
    by_hand = [series[:, v].astype(float) for v in range(3)]
    np.testing.assert_allclose(scaler.series_mean, [v.mean() for v in by_hand])
    np.testing.assert_allclose(scaler.series_std, [np.sqrt(((v - v.mean()) ** 2).mean()) for v in by_hand])
    scaled = scaler.series(series)
    assert scaled.dtype == scaler.snapshot(snapshot).dtype == np.float32
    np.testing.assert_allclose(scaled.mean(axis=(0, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(axis=(0, 2)), 1, atol=1e-6)


def test_the_published_scaler_files_scale_the_published_inputs(shared: Path) -> None:
    example = shared / "spec" / "published-example"
    inputs = np.load(example / "io.npz")
    mean, std = np.load(example / "static_mean_std.npy")
    series_mean, series_std = np.load(example / "dynamic_mean_std.npy")
    scaler = Scaler(mean, std, series_mean, series_std)
    snapshot = scaler.snapshot(inputs["X_s"].astype(np.float32))
    np.testing.assert_allclose(snapshot, (inputs["X_s"] - mean) / std, rtol=1e-5, atol=1e-4)
    series = scaler.series(inputs["X_d"].astype(np.float32))
    expected = (inputs["X_d"] - series_mean[:, None]) / series_std[:, None]
    np.testing.assert_allclose(series, expected, rtol=1e-5, atol=1e-4)


def test_a_scaler_without_rows_or_without_spread_is_refused() -> None:
    with pytest.raises(InputError, match="no training rows"):
        Scaler.fit(np.empty((0, 2), np.float32), np.empty((0, 1, 11), np.float32))
    series = np.zeros((5, 8, 11), dtype=np.float32)
    with pytest.raises(InputError, match="eto is constant"):
        Scaler.fit(np.zeros((5, 28), np.float32), series, published_catalogue())
