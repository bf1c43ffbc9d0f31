"""A station table of random values from which soil moisture can be learned, on a short window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from mmnet_maps.catalogue import LAND_COVER_CLASSES, Catalogue, published_catalogue
from mmnet_maps.prepare.stations.files import model_columns

TableMaker = Callable[..., pd.DataFrame]


@pytest.fixture
def catalogue() -> Catalogue:
    """The published catalogue with three days of weather instead of eleven: quick to train on."""
    return published_catalogue().model_copy(update={"lags": (2, 1, 0)})


def _table(
    catalogue: Catalogue,
    stations: int = 12,
    years: tuple[int, ...] = (2019, 2020),
    days: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    stamps = [d for y in years for d in pd.date_range(f"{y}-03-01", periods=days).strftime("%Y%m%d")]
    rows = stations * len(stamps)
    values = rng.normal(size=(rows, len(model_columns(catalogue)))).astype(np.float32)
    frame = pd.DataFrame(values, columns=list(model_columns(catalogue)))
    cover = rng.integers(0, 8, stations).repeat(len(stamps))
    for k, name in enumerate(LAND_COVER_CLASSES):
        frame[f"LC_{name}"] = (cover == k).astype(np.float32)
    frame["ID"] = np.repeat([f"s{k:02d}" for k in range(stations)], len(stamps))
    frame["Date"] = np.tile(np.array(stamps, dtype=np.int64), stations)
    frame["Domain"] = np.repeat([("W", "M", "E")[k % 3] for k in range(stations)], len(stamps))
    frame["SMAP"] = rng.uniform(0.1, 0.4, rows).astype(np.float32)
    truth = 0.6 * frame["SMAP"] + 0.02 * frame["pr"] + 0.01 * frame["pr_1"] + 0.1
    frame["VWC_5"] = np.clip(truth + rng.normal(0, 0.01, rows), 0, 1)
    return frame


@pytest.fixture
def make_table(catalogue: Catalogue) -> TableMaker:
    """Makes a table: ``make_table(stations=12, years=(2019, 2020), days=20, seed=0)``."""
    return lambda **kwargs: _table(catalogue, **kwargs)
