"""Whatever goes wrong on the way, the result is the same, and nothing is asked for needlessly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
import zarr
from ee_region import END, LAT, LON, START, sign_in_at
from ee_standin import Fault, StandIn
from ee_world import World, to

from mmnet_maps.assets import ASSETS
from mmnet_maps.cli import main
from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.jobs.cubes import build_from_config
from mmnet_maps.jobs.earth_engine_config import EarthEngineCubeConfig
from mmnet_maps.sources.earth_engine.session import open_session
from mmnet_maps.sources.earth_engine.stations import StationJob, download_tables

#: Sources that are quick to compute; what goes wrong does not depend on them.
QUICK = ["hls", "sentinel1", "terrain", "smap", "soil"]


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def fetch(standin: StandIn, config_for, network, out: Path, **settings: object) -> dict[str, bytes]:
    with open_session(config_for(standin, **{"without": QUICK, **settings})) as session:
        download_tables(session, StationJob(network, START, END, out))
    return contents(out)


@pytest.fixture(scope="module")
def plain(
    world: World, network: pd.DataFrame, key_pem: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The files of a job in which nothing goes wrong."""
    folder = tmp_path_factory.mktemp("plain")
    with StandIn(world) as server:
        return fetch(server, partial(sign_in_at, folder, key_pem), network, folder / "raw")


FAULTS = {
    "429": Fault(429, "Too many requests"),
    "429 with a time to wait": Fault(429, "Too many requests", retry_after="0.05"),
    "500": Fault(500, "An internal error has occurred"),
    "503": Fault(503, "The service is currently unavailable."),
    "reset": Fault(kind="reset"),
    "cut short": Fault(kind="short"),
    "broken off": Fault(kind="broken"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_passing_failures(
    name: str, standin: StandIn, config_for, network, tmp_path: Path, plain: dict[str, bytes]
) -> None:
    failed = []

    def every_third(what: str, number: int) -> Fault | None:
        if number % 3 == 0:
            failed.append(number)
            return FAULTS[name]
        return None

    standin.faults = every_third
    assert fetch(standin, config_for, network, tmp_path / "raw") == plain
    assert failed
    # Nothing that was answered is asked for again, and every failure costs one request more.
    assert set(standin.answered.values()) == {1}
    assert len(standin.seen) == len(standin.answered) + len(failed)


def test_slow_answers_are_given_up_and_asked_for_again(
    standin: StandIn, config_for, network, tmp_path: Path, plain: dict[str, bytes]
) -> None:
    standin.faults = lambda what, number: Fault(kind="slow", seconds=2.5) if number == 1 else None
    began = time.monotonic()
    assert fetch(standin, config_for, network, tmp_path / "raw", timeout_s=1.5) == plain
    assert time.monotonic() - began < 20


def test_a_request_that_is_always_too_much_is_cut(
    standin: StandIn, config_for, network, tmp_path: Path, plain: dict[str, bytes]
) -> None:
    refused = set()

    def over_a_station(what: str, number: int) -> Fault | None:
        raw = standin.seen[-1][1] if what == "features" else ""
        if raw.count('"Geometry.buffer"') < 3:
            return None
        assert raw not in refused, "what was too much is not asked for again"
        refused.add(raw)
        return Fault(400, "User memory limit exceeded.")

    standin.faults = over_a_station
    assert fetch(standin, config_for, network, tmp_path / "raw", concurrency=1) == plain
    assert refused


def test_an_expired_token_is_renewed_once(
    standin: StandIn, config_for, network, tmp_path: Path, plain: dict[str, bytes]
) -> None:
    renewed = standin.refreshes

    def expire(what: str, number: int) -> None:
        if number == 1:
            standin.token = "another"

    standin.faults = expire
    standin.seconds = 0.02
    assert fetch(standin, config_for, network, tmp_path / "raw", concurrency=2) == plain
    # One for the new session, one for all the threads whose token was refused.
    assert standin.refreshes == renewed + 2


def test_the_limits_hold_under_load(
    standin: StandIn, config_for, network, tmp_path: Path, plain: dict[str, bytes]
) -> None:
    standin.most_at_once, standin.starts, standin.seconds = 0, [], 0.03
    standin.page = 2
    settings = {"concurrency": 3, "requests_per_second": 40.0, "page_rows": 2}
    assert fetch(standin, config_for, network, tmp_path / "raw", **settings) == plain
    assert standin.most_at_once <= 3
    starts = sorted(standin.starts)
    for first, last in zip(starts, starts[20:], strict=False):
        # 20 spacings of 25 ms; a little less where the clock of the server runs behind.
        assert last - first >= 20 / 40 * 0.85


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        (
            Fault(401, "Request had invalid authentication credentials."),
            InputError,
            "earthengine authenticate",
        ),
        (Fault(403, "Caller does not have required permission"), InputError, "registered for Earth Engine"),
        (Fault(429, "Quota exceeded for EECU-seconds per day"), WorkError, "another project"),
    ],
)
def test_final_errors_stop_at_once_and_say_what_to_do(
    fault: Fault, kind: type, says: str, standin: StandIn, config_for, network, tmp_path: Path
) -> None:
    standin.faults = lambda what, number: fault
    with pytest.raises(kind, match=says) as raised:
        fetch(standin, config_for, network, tmp_path / "raw", concurrency=1)
    assert "\n" not in str(raised.value)
    # A refused token is tried with a new one, twice; nothing else is sent again.
    assert len(standin.seen) <= 3
    assert not list((tmp_path / "raw").glob("*.csv"))


def test_an_unknown_asset_is_named(standin: StandIn, config_for, network, tmp_path: Path) -> None:
    source = ASSETS["gridmet"].model_dump()
    source["assets"][0]["id"] = "NO/SUCH/THING"
    with pytest.raises(InputError, match=r"NO/SUCH/THING.*sources"):
        fetch(standin, config_for, network, tmp_path / "raw", sources={"gridmet": source})


def test_a_server_that_never_answers_ends_the_job(standin: StandIn, config_for, network, tmp_path) -> None:
    standin.faults = lambda what, number: Fault(503, "unavailable")
    with pytest.raises(WorkError, match="after 3 attempts"):
        fetch(standin, config_for, network, tmp_path / "raw", attempts=3, concurrency=1)
    assert len(standin.seen) == 3


def test_a_budget_stops_the_job(standin: StandIn, config_for, network, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="EECU-hours"):
        fetch(standin, config_for, network, tmp_path / "raw", budget={"eecu_hours": 1e-6})
    assert not standin.count("features")


_DRIVER = """
import sys, json, ee.deprecation
ee.deprecation._FetchDataCatalogStac = dict
from mmnet_maps.cli import main
main()
"""


def test_a_killed_job_goes_on_where_it_was(
    standin: StandIn, config_for, network, tmp_path: Path, plain: dict[str, bytes]
) -> None:
    config = config_for(standin, without=QUICK, concurrency=2)
    (tmp_path / "ee.yaml").write_text(config.to_yaml())
    network.to_csv(tmp_path / "network.csv", index=False)
    command = [sys.executable, "-c", _DRIVER, "earthengine", "stations", "--json"]
    command += ["--network", str(tmp_path / "network.csv"), "--config", str(tmp_path / "ee.yaml")]
    command += ["--start", "20191228", "--end", END.isoformat(), "--out", str(tmp_path / "raw")]
    standin.faults = lambda what, number: Fault(kind="slow", seconds=60) if number >= 4 else None
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    parts = tmp_path / ".raw.earthengine"
    end = time.monotonic() + 60
    while time.monotonic() < end and len(list(parts.glob("*.json"))) < 4:
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert len(list(parts.glob("*.json"))) == 4 and not list((tmp_path / "raw").glob("*.csv"))
    done = set(standin.answered)
    standin.faults, standin.seen = lambda what, number: None, []
    # The next run needs nothing but what is on disk.
    with open_session(config) as session:
        job = StationJob(network, START, END, tmp_path / "raw")
        assert download_tables(session, job)["kept"] == 4
    assert contents(tmp_path / "raw") == plain
    assert not done & {key for _, key in standin.seen}, "what was answered before is not asked for again"


def test_a_killed_cube_goes_on_where_it_was(standin: StandIn, config_for, tmp_path: Path) -> None:
    x, y = to("EPSG:4326", "EPSG:32612").transform(LON, LAT)
    names = ("gridmet", "modis", "landcover", "soil")
    settings = config_for(standin, without=[n for n in ASSETS if n not in names])
    config = {
        "region": {"box": [x - 600, y - 600, x + 600, y + 600], "crs": "EPSG:32612"},
        "grid": {"crs": "EPSG:32612", "resolution": 30},
        "start": START.isoformat(),
        "end": END.isoformat(),
        "earthengine": settings.model_dump(mode="json", exclude_defaults=True),
    }
    (tmp_path / "cube.yaml").write_text(yaml.safe_dump(config))

    def command(out: str) -> list[str]:
        line = [sys.executable, "-c", _DRIVER, "earthengine", "cube", "--json", "--workers", "1"]
        return [*line, "--config", str(tmp_path / "cube.yaml"), "--out", str(tmp_path / out)]

    standin.faults = lambda w, n: Fault(kind="slow", seconds=60) if w == "pixels" and n >= 3 else None
    first = subprocess.Popen(command("cube.zarr"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.monotonic() + 60
    while time.monotonic() < end and standin.count("pixels") < 4:
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert not (tmp_path / "cube.zarr").exists(), "nothing half-built under its final name"
    done = {key for kind, key in standin.seen if kind == "pixels"} & set(standin.answered)
    assert len(done) == 3
    standin.faults, standin.seen = lambda what, number: None, []
    loaded = EarthEngineCubeConfig.load(tmp_path / "cube.yaml")
    summary = build_from_config(loaded, tmp_path, tmp_path / "cube.zarr", 1)
    assert summary["parts_built"] == summary["parts"] - 3
    assert not done & {key for _, key in standin.seen}
    build_from_config(loaded, tmp_path, tmp_path / "whole.zarr")
    one, two = zarr.open_group(tmp_path / "cube.zarr"), zarr.open_group(tmp_path / "whole.zarr")
    for source in names:
        for variable in ASSETS[source].variables:
            np.testing.assert_array_equal(one[f"{source}/{variable}"][:], two[f"{source}/{variable}"][:])


def test_wrong_input_is_one_line_and_status_2(
    tmp_path: Path, network, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network.to_csv(tmp_path / "network.csv", index=False)
    line = ["mmnet-maps", "earthengine", "stations", "--network", str(tmp_path / "network.csv")]
    line += ["--out", str(tmp_path / "raw"), "--start", "2020-01-02", "--end", "2020-01-01"]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and said.count("\n") == 1 and "2020-01-01 is before" in said
    assert not (tmp_path / "raw").exists()
