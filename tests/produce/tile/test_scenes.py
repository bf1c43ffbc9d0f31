"""Decoding, screening and filling of tensors against the definitions in NumPy, to the bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.packing import Packing
from mmnet_maps.prepare.features import write_features
from mmnet_maps.prepare.gap_fill import gap_fill
from mmnet_maps.prepare.stations.days import screen_reflectance
from mmnet_maps.produce.engine.arrays import SENT_AS_STORED, DeviceArrays
from mmnet_maps.produce.tile.scenes import Scenes, screen

XP = DeviceArrays(torch.device("cpu"))
OPTICAL = published_catalogue()["NIR"]


@dataclass(frozen=True)
class Case:
    """Observations, and the days asked for."""

    days: Any
    values: Any
    wanted: Any
    variable: Any


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(0, 12))
    days = np.sort(rng.choice(80, size=count, replace=False)).astype(np.int64) + 17_000
    values = rng.normal(size=(draw(st.integers(1, 3)), count, 16)).astype(np.float32)
    values[rng.random(values.shape) < draw(st.sampled_from([0.0, 0.3, 0.8, 1.0]))] = np.nan
    values[rng.random(values.shape) < draw(st.sampled_from([0.0, 0.1]))] = np.inf
    start = 17_000 + draw(st.integers(-20, 80))
    update = {
        "fill": draw(st.sampled_from(["none", "linear", "hold", "past"])),
        "max_gap": draw(st.sampled_from([None, 0, 1, 3, 7, 20, 60])),
        "max_age": draw(st.sampled_from([None, 0, 2, 5, 15])),
    }
    wanted = np.arange(start, start + draw(st.integers(1, 60)), dtype=np.int64)
    return Case(days, values, wanted, OPTICAL.model_copy(update=update))


@given(cases(), st.integers(-5, 5))
@settings(max_examples=300, deadline=None)
def test_filled_days_are_those_of_the_definition(case: Case, origin: int) -> None:
    first = int(case.wanted[0]) + origin
    since = torch.from_numpy((case.days - first).astype(np.int32))
    scenes = Scenes(XP, torch.from_numpy(case.values), case.days, since, first, case.variable)
    values, old = scenes.fill(case.wanted)
    variable = case.variable
    with np.errstate(invalid="ignore"):
        expected = [
            gap_fill(case.days, band, case.wanted, variable.fill, variable.max_gap) for band in case.values
        ]
    for band, filled in zip(values.numpy(), expected, strict=True):
        np.testing.assert_array_equal(band, filled.values)
    if variable.max_age is None:
        assert old is None
    else:
        truly = np.any([filled.age > variable.max_age for filled in expected], axis=0)
        np.testing.assert_array_equal(np.zeros_like(truly) if old is None else old.numpy(), truly)


@given(
    st.sampled_from(SENT_AS_STORED),
    st.sampled_from([1.0, 0.1, 1e-4, 0.02]),
    st.sampled_from([0.0, -3.7, 273.15]),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=100, deadline=None)
def test_decoded_values_are_those_of_the_packing(kind: str, scale: float, offset: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    stored = rng.integers(0, 256, (7, 9 * 8), dtype=np.uint8).view(kind)
    missing = None if kind == "float32" and seed % 2 else float(stored[3, 3])
    if missing is not None and not np.isfinite(missing):
        missing = None
    packing = Packing(dtype=kind, scale=scale, offset=offset, missing=missing)
    with np.errstate(all="ignore"):
        expected = packing.decode(stored)
    np.testing.assert_array_equal(XP.decode(XP.send(stored), packing).numpy(), expected)


def test_reflectance_is_screened_as_for_stations() -> None:
    catalogue, rng = published_catalogue(), np.random.default_rng(0)
    names = ("Blue", "Green", "Red", "NIR", "SWIR1", "SWIR2")
    values = rng.uniform(-0.02, 1.05, (6, 400, 1)).astype(np.float32)
    values[rng.random(values.shape) < 0.2] = np.nan
    found = screen(torch.from_numpy(values), [catalogue[name] for name in names]).numpy()
    frame = pd.DataFrame({name: band[:, 0] for name, band in zip(names, values, strict=True)})
    expected, count = screen_reflectance(frame, catalogue)
    assert 50 < count < 350
    np.testing.assert_array_equal(found[:, :, 0].T, expected.to_numpy())


@pytest.mark.parametrize("encoding", ["published", "cyclic"])
def test_features_of_tensors_are_those_of_arrays(encoding: str) -> None:
    catalogue, rng = published_catalogue(encoding), np.random.default_rng(1)  # type: ignore[arg-type]
    drawn = [name for name in catalogue.snapshot_inputs if name not in ("DoY", "LC")]
    raw = {name: rng.uniform(*catalogue[name].valid_range, 500).astype(np.float32) for name in drawn}
    raw["DoY"] = rng.integers(1, 367, 500).astype(np.float32)
    raw["LC"] = rng.integers(-1, 8, 500).astype(np.float32)
    for name in raw:
        raw[name][rng.random(500) < 0.05] = np.nan
    for name in ("NIR", "Red", "SWIR1", "VH"):
        raw[name][rng.random(500) < 0.1] = 0
    names = (*catalogue.snapshot, "LC")
    expected, found = np.empty((len(names), 500), dtype=np.float32), torch.empty(len(names), 500)
    write_features(names, raw, expected)
    tensors: Any = {name: torch.from_numpy(values) for name, values in raw.items()}
    write_features(names, tensors, found, XP)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-7)
    exact = [row for row, name in enumerate(names) if not name.startswith(("DoY_", "aspect_"))]
    np.testing.assert_array_equal(found.numpy()[exact], expected[exact])
    assert np.isnan(expected).any()
