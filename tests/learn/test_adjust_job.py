"""`adjust --table` and the predictions of the adjusted bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import mmnet_maps as mm
from mmnet_maps.catalogue import Catalogue
from mmnet_maps.cli.main import app
from mmnet_maps.errors import InputError
from mmnet_maps.learn.bundle import load_bundle
from mmnet_maps.prepare.stations.files import write_table


@pytest.fixture
def folder(make_table: Callable[..., pd.DataFrame], catalogue: Catalogue, tmp_path: Path) -> Path:
    """A table, a ridge trained on it, and the record of a probe at one of its stations."""
    table = make_table()
    table["Latitude"] = 36 + table.groupby("ID").ngroup() * 0.1
    table["Longitude"] = -98.0
    write_table(table, tmp_path / "table.parquet", catalogue)
    mm.train(
        tmp_path / "table.parquet", tmp_path / "run", model="ridge", experiment="all", settings={"folds": 2}
    )
    own = table[table["ID"] == "s03"][["ID", "Date", "Latitude", "Longitude"]].assign(Network="OWN")
    own["VWC_5"] = table["VWC_5"][own.index] + 0.05
    own.loc[own.index[3], "VWC_5"] = 0.99
    own.to_csv(tmp_path / "probe.csv", index=False)
    own[:1].to_csv(tmp_path / "network.csv", index=False)
    return tmp_path


def call(*words: object) -> dict[str, object]:
    result = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_the_station_with_a_probe_is_moved_and_the_others_keep_their_numbers(folder: Path) -> None:
    probe = ("--in-situ", folder / "probe.csv", "--network", folder / "network.csv")
    bundle, own = folder / "run/all/bundle", folder / "own"
    found = call("adjust", "--bundle", bundle, *probe, "--table", folder / "table.parquet", "--out", own)
    left_out = found["days_left_out"]
    assert isinstance(left_out, dict) and left_out["out of range"] == 1 and left_out["stuck"] == 0
    tables = {}
    for name, path in (("plain", bundle), ("own", own)):
        call(
            "stations",
            "predict",
            "--bundle",
            path,
            "--table",
            folder / "table.parquet",
            "--out",
            folder / f"{name}.csv",
        )
        tables[name] = pd.read_csv(folder / f"{name}.csv")
    mine = tables["plain"]["ID"] == "s03"
    pd.testing.assert_frame_equal(tables["plain"][~mine], tables["own"][~mine])
    moved = (tables["own"]["y_pred"] - tables["plain"]["y_pred"])[mine]
    assert 0.02 < moved.median() < 0.055
    width = {name: (table["upper"] - table["lower"])[mine].mean() for name, table in tables.items()}
    assert width["own"] < width["plain"]
    inside = (tables["plain"]["lower"] <= tables["plain"]["y_pred"]) & (
        tables["plain"]["y_pred"] <= tables["plain"]["upper"]
    )
    assert inside.all()
    assert load_bundle(own).digest != load_bundle(bundle).digest == load_bundle(own).adjustment.digest  # type: ignore[union-attr]


def test_a_probe_that_is_too_short_or_elsewhere_is_named(folder: Path) -> None:
    frame = pd.read_csv(folder / "probe.csv")
    frame[:6].to_csv(folder / "short.csv", index=False)
    kept = folder / "network.csv"
    with pytest.raises(InputError, match="no probe has 10 days or more"):
        mm.adjust(
            folder / "run/all/bundle",
            folder / "short.csv",
            kept,
            folder / "x",
            table=folder / "table.parquet",
        )
    frame.assign(ID="other").to_csv(folder / "other.csv", index=False)
    with pytest.raises(InputError, match="holds none of the 1 probes"):
        mm.adjust(
            folder / "run/all/bundle",
            folder / "other.csv",
            kept,
            folder / "x",
            table=folder / "table.parquet",
        )
    assert not (folder / "x").exists()
    assert np.isfinite(frame["VWC_5"]).all()
