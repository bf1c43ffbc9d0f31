"""Batch exports end in the same bytes as direct requests, and are started once."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from ee_region import END, START
from ee_standin import Fault, StandIn

from mmnet_maps.errors import InputError
from mmnet_maps.sources.earth_engine.exports import export_tables
from mmnet_maps.sources.earth_engine.session import open_session
from mmnet_maps.sources.earth_engine.stations import StationJob, download_tables

QUICK = ["sentinel1", "terrain", "hls", "modis"]


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


@pytest.mark.parametrize("via", ["drive", "gcs"])
def test_exports_equal_direct_requests(
    via: str, standin: StandIn, config_for, network: pd.DataFrame, tmp_path: Path
) -> None:
    standin.polls_until_done = 3
    with open_session(config_for(standin, without=QUICK, bucket="b")) as session:
        download_tables(session, StationJob(network, START, END, tmp_path / "direct"))
        before = session.budget.used_hours
        summary = export_tables(session, StationJob(network, START, END, tmp_path / "exported"), via)
        # Each export of the stand-in reports 36 EECU-seconds.
        assert session.budget.used_hours - before == pytest.approx(0.01 * summary["exports"])
    assert contents(tmp_path / "direct") == contents(tmp_path / "exported")
    assert standin.count("export") == summary["exports"] == len(standin.operations)


def test_an_export_that_was_started_is_not_started_again(
    standin: StandIn, config_for, network: pd.DataFrame, tmp_path: Path
) -> None:
    job = StationJob(network, START, END, tmp_path / "raw")
    config = config_for(standin, without=QUICK, attempts=2)
    standin.faults = lambda what, number: Fault(503, "unavailable") if what == "operation" else None
    with open_session(config) as session, pytest.raises(Exception, match="after 2 attempts"):
        export_tables(session, job, "drive")
    standin.faults = lambda what, number: None
    with open_session(config) as session:
        export_tables(session, job, "drive")
    assert standin.count("export") == len(standin.operations)
    assert len(list((tmp_path / "raw").glob("*.csv"))) == 7


def test_a_bucket_must_be_named(standin: StandIn, config_for, network, tmp_path: Path) -> None:
    with open_session(config_for(standin)) as session, pytest.raises(InputError, match="bucket"):
        export_tables(session, StationJob(network, START, END, tmp_path / "raw"), "gcs")
