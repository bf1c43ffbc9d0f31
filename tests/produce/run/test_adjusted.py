"""Maps of a bundle that was adjusted to probes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mmnet_maps as mm
from mmnet_maps.dates import to_yyyymmdd
from mmnet_maps.errors import InputError
from mmnet_maps.grid import Tile, lonlat
from mmnet_maps.learn.bundle import load_bundle, save_bundle
from mmnet_maps.learn.intervals import IntervalTable
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.produce.tile.flags import FLAGS

FIRST, DAYS = 18322, 14
REACH = 200.0


@pytest.fixture(scope="module")
def maps(make_world: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Maps of a model with an interval; of the same adjusted to a probe 0.06 above them; and the summary."""
    folder = tmp_path_factory.mktemp("adjusted")
    world = make_world()
    cube = world.cube(folder / "cube")
    centre = np.array([0.1, 0.4])
    table = IntervalTable(centre, np.array([-0.1, -0.12]), np.array([0.11, 0.12]), 0.9, 1000, 30)
    save_bundle(replace(load_bundle(world.bundle), interval=table), folder / "plain")
    start, end = (str(np.datetime64(day, "D")) for day in (FIRST, FIRST + DAYS - 1))
    mm.predict(folder / "plain", cube, start, end, folder / "before", tile=32)
    before = open_product(folder / "before")
    everywhere = before.read("soil_moisture", FIRST, FIRST + DAYS)
    # The pixel with most estimates that were not clipped.
    row, col = np.unravel_index((everywhere > 0).sum(axis=0).argmax(), before.grid.shape)
    told = everywhere[:, row, col]
    assert (told > 0).sum() >= 10
    lon, lat = (float(v[0, 0]) for v in lonlat(before.grid, Tile(int(row), int(col), 1, 1)))
    probe = pd.DataFrame(
        {
            "ID": "mine", "Network": "OWN", "Latitude": lat, "Longitude": lon,
            "Date": to_yyyymmdd(np.arange(FIRST, FIRST + DAYS)),
            "VWC_5": np.where(told > 0, told * 1e-4 + 0.06, np.nan),
        }
    )  # fmt: skip
    probe.to_csv(folder / "probes.csv", index=False)
    probe[:1].drop(columns=["Date", "VWC_5"]).to_csv(folder / "network.csv", index=False)
    summary = mm.adjust(
        folder / "plain",
        folder / "probes.csv",
        folder / "network.csv",
        folder / "own",
        cube=cube,
        reach=REACH,
    )
    mm.predict(folder / "own", cube, start, end, folder / "after", tile=32)
    at = (slice(None), row, col)
    return {
        "at": at,
        "folder": folder,
        "cube": cube,
        "before": before,
        "after": open_product(folder / "after"),
        "summary": summary,
    }


def _read(product: Any, name: str) -> np.ndarray:
    return product.read(name, FIRST, FIRST + DAYS)


def test_the_probe_moves_its_pixel_and_the_job_says_by_how_much(maps: dict[str, Any]) -> None:
    (found,) = maps["summary"]["probes"]
    assert found["shift"] == pytest.approx(0.06, abs=1e-4)
    assert found["rmse_before"] == pytest.approx(0.06, abs=1e-4) and found["rmse_after"] < 0.04
    assert found["rmse_from_others"] == found["rmse_before"]
    before, after = (_read(maps[k], "soil_moisture")[maps["at"]].astype(float) for k in ("before", "after"))
    known = before > 0
    local = load_bundle(maps["folder"] / "own").adjustment
    assert local is not None
    told = (before[known] * 1e-4).astype(np.float32)
    probe = local.probes[0]
    expected = local.at(np.array([probe.longitude]), np.array([probe.latitude])).adjust(told[:, None])[:, 0]
    np.testing.assert_allclose(after[known] * 1e-4, expected, atol=5.1e-5)


def test_out_of_reach_every_stored_number_is_as_before(maps: dict[str, Any]) -> None:
    grid = maps["before"].grid
    rows, cols = np.indices(grid.shape)
    far = np.hypot(rows - maps["at"][1], cols - maps["at"][2]) * 30.0 > REACH + 1
    for name in ("soil_moisture", "lower", "upper", "quality"):
        np.testing.assert_array_equal(_read(maps["after"], name)[:, far], _read(maps["before"], name)[:, far])


def test_within_reach_intervals_are_narrower_and_pixels_say_that_they_are_adjusted(
    maps: dict[str, Any],
) -> None:
    widths = {}
    for key in ("before", "after"):
        lower, upper = (_read(maps[key], name).astype(float) for name in ("lower", "upper"))
        widths[key] = (upper - lower)[maps["at"]]
    known = _read(maps["before"], "soil_moisture")[maps["at"]] > 0
    assert (widths["after"][known] < widths["before"][known]).all()
    marked = (_read(maps["after"], "quality") & FLAGS["adjusted"]) != 0
    valued = _read(maps["after"], "soil_moisture") != -32768
    assert marked[maps["at"]][known].all() and not (marked & ~valued).any()
    assert maps["after"].about["adjusted"]["probes"] == ["mine"]
    assert "adjusted" not in maps["before"].about


def test_an_adjusted_bundle_is_not_adjusted_again(maps: dict[str, Any]) -> None:
    folder = maps["folder"]
    own = folder / "probes.csv", folder / "network.csv"
    with pytest.raises(InputError, match="adjusted already"):
        mm.adjust(
            folder / "own", folder / "probes.csv", folder / "network.csv", folder / "x", cube=maps["cube"]
        )
    with pytest.raises(InputError, match="one of --cube and --table"):
        mm.adjust(folder / "plain", *own, folder / "x")
