"""Sign-in as users expect it, and what `check` says is missing."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import ee
import pytest
from ee_standin import StandIn

from mmnet_maps.assets import ASSETS
from mmnet_maps.errors import InputError
from mmnet_maps.sources.earth_engine.check import check_access
from mmnet_maps.sources.earth_engine.session import find_credentials, open_session
from mmnet_maps.sources.earth_engine.settings import EarthEngineConfig, find_project, sources_of


def test_all_is_well(standin: StandIn, config_for) -> None:
    found = check_access(config_for(standin))
    assert found["missing"] == []
    steps = [step["step"] for step in found["steps"]]
    assert steps[:3] == ["project", "credentials", "sign-in"]
    assert len(steps) == 3 + sum(len(source.assets) for source in ASSETS.values())


def test_it_says_what_is_missing(standin: StandIn, config_for, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_for(standin, project=None)
    assert "EARTHENGINE_PROJECT" in check_access(config)["missing"][0]
    monkeypatch.setenv("EARTHENGINE_PROJECT", "p-test")
    assert find_project(config) == "p-test" and check_access(config)["missing"] == []
    assert "no such file" in check_access(config_for(standin, key_file="/no/key.json"))["missing"][0]
    source = ASSETS["smap"].model_dump()
    source["assets"][0]["id"] = "NO/SUCH"
    missing = check_access(config_for(standin, sources={"smap": source}))["missing"]
    assert len(missing) == 1 and "NO/SUCH" in missing[0]


def test_days_asked_for_are_compared_with_each_collection(standin: StandIn, config_for, tmp_path) -> None:
    from ee_region import END, START

    found = check_access(config_for(standin), START + dt.timedelta(days=2), END - dt.timedelta(days=4))
    told = {step["step"]: step["detail"] for step in found["steps"]}
    assert found["missing"] == []
    assert told["smap: NASA/SMAP/SPL4SMGP/008"] == f"image collection, {START} to {END}"
    assert told["terrain: USGS/3DEP/10m"] == "image"
    late = check_access(config_for(standin), START + dt.timedelta(days=2), END + dt.timedelta(days=30))[
        "missing"
    ]
    # gridMET has a field on the day after the end too; every collection of days is told, and no other asset.
    assert len(late) == 5 and all(f"ends before {END + dt.timedelta(days=30)}" in text for text in late)
    early = check_access(config_for(standin), START - dt.timedelta(days=1))["missing"]
    assert any("begins after" in text for text in early)


def test_another_version_is_a_line_in_the_settings(standin: StandIn, config_for) -> None:
    config = config_for(standin, collections={"smap": "NASA/SMAP/SPL4SMGP/007"})
    assert "NASA/SMAP/SPL4SMGP/007" in check_access(config)["missing"][0]
    assert sources_of(EarthEngineConfig())["smap"].collection_of("SMAP") == "NASA/SMAP/SPL4SMGP/008"
    with pytest.raises(InputError, match="source landcover has 3 assets"):
        sources_of(config_for(standin, collections={"landcover": "X"}))
    with pytest.raises(InputError, match="source nothing is not known"):
        sources_of(config_for(standin, collections={"nothing": "X"}))


def test_the_stored_sign_in_then_the_application_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = tmp_path / "credentials"
    monkeypatch.setattr(ee.oauth, "get_credentials_path", lambda: str(stored))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    # Neither the metadata server of a cloud machine is asked, nor Google whether a token is good.
    monkeypatch.setattr("google.auth._default._get_gce_credentials", lambda *_, **__: (None, None))
    monkeypatch.setattr(ee.oauth, "is_valid_credentials", lambda credentials: True)
    with pytest.raises(InputError, match="earthengine authenticate"):
        find_credentials(EarthEngineConfig())
    default = {
        "type": "authorized_user",
        "client_id": "c",
        "client_secret": "s",
        "refresh_token": "of the default",
        "quota_project_id": "p-default",
    }
    (tmp_path / "adc.json").write_text(json.dumps(default))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
    assert find_credentials(EarthEngineConfig()).refresh_token == "of the default"
    stored.write_text(json.dumps({"refresh_token": "of ee.Authenticate"}))
    assert find_credentials(EarthEngineConfig()).refresh_token == "of ee.Authenticate"


def test_a_key_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text("{}")
    with pytest.raises(InputError, match=r"key\.json: not the key of a service account"):
        find_credentials(EarthEngineConfig(key_file=str(path)))


def test_the_client_does_not_retry_by_itself(standin: StandIn, config_for) -> None:
    from ee_standin import Fault

    with open_session(config_for(standin, attempts=1)) as session:
        standin.faults = lambda what, number: Fault(503, "unavailable")
        with pytest.raises(Exception, match="after 1 attempts"):
            session.asset("IDAHO_EPSCOR/GRIDMET")
    assert len(standin.seen) == 1


def test_the_command_says_what_is_missing(standin: StandIn, config_for, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from mmnet_maps.cli import app

    path = tmp_path / "ee.yaml"
    path.write_text(config_for(standin).to_yaml())
    done = CliRunner().invoke(app, ["earthengine", "check", "--config", str(path), "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["missing"] == []
    done = CliRunner().invoke(
        app, ["earthengine", "check", "--config", str(path), "--set", "key_file=/no/key.json"]
    )
    assert isinstance(done.exception, InputError) and "/no/key.json" in str(done.exception)
    assert "MISSING credentials" in done.stdout


def test_the_settings_of_a_cube_do_for_every_command(standin: StandIn, config_for, tmp_path: Path) -> None:
    from mmnet_maps.jobs.earth_engine import earth_engine_settings

    example = Path(__file__).resolve().parents[3] / "configs" / "earthengine_cube.yaml"
    found = earth_engine_settings(example, ["project=p-test"])
    assert found.project == "p-test" and found.budget.eecu_hours == 20


def test_the_commands_of_stations_and_cubes(standin: StandIn, config_for, network, tmp_path: Path) -> None:
    import yaml
    from ee_region import END, START
    from typer.testing import CliRunner

    from mmnet_maps.cli import app

    settings = config_for(standin, without=[name for name in ASSETS if name not in ("smap", "gridmet")])
    where = {
        "region": {"box": [-113.005, 37.196, -112.995, 37.205]},
        "grid": {"crs": "EPSG:32612", "resolution": 30},
    }
    plain = {**where, "start": str(START), "end": str(END), "earthengine": settings.model_dump(mode="json")}
    config = tmp_path / "cube.yaml"
    config.write_text(yaml.safe_dump(plain))
    network.to_csv(tmp_path / "network.csv", index=False)
    days = ["--start", str(START), "--end", str(END), "--config", str(config)]
    files = ["--network", str(tmp_path / "network.csv"), "--out", str(tmp_path / "raw")]
    done = CliRunner().invoke(app, ["earthengine", "stations", *files, *days], catch_exceptions=False)
    assert done.exit_code == 0 and "EECU-hours used: 0" in done.stdout and "{" not in done.stdout
    assert "next: mmnet-maps stations build --raw" in done.stdout and (tmp_path / "raw").is_dir()
    out = ["--config", str(config), "--out", str(tmp_path / "cube.zarr")]
    done = CliRunner().invoke(app, ["earthengine", "cube", *out], catch_exceptions=False)
    assert done.exit_code == 0 and "gridmet: " in done.stdout and "EECU-hours: " in done.stdout
