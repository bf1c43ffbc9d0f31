"""The commands that make maps."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmnet_maps.cli import main
from mmnet_maps.cli.main import app


@pytest.mark.parametrize("command", ["predict", "plan"])
def test_a_missing_bundle_ends_with_one_line_and_status_2(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--bundle", "none", "--cube", "none", "--start", "2020-03-01", "--end", "2020-03-02"]
    monkeypatch.setattr(sys, "argv", ["mmnet-maps", command, *arguments, "--out", str(tmp_path / "product")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "none" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["predict", "plan"])
def test_a_device_that_is_not_there_ends_with_one_line_and_status_2(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mmnet_maps.produce.engine import device

    monkeypatch.setattr(device, "seen_devices", lambda: ["cpu", "mps"])
    arguments = ["--bundle", "b", "--cube", "c", "--start", "2020-03-01", "--end", "2020-03-02"]
    more = ["--out", str(tmp_path / "product"), "--device", "cuda:1"]
    monkeypatch.setattr(sys, "argv", ["mmnet-maps", command, *arguments, *more])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "device cuda:1: torch sees no such device here; it sees cpu, mps" in error


def test_a_failed_unit_is_status_1_and_the_summary_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mmnet_maps.jobs import maps

    summary = {
        "product": "p",
        "units": {"new": 2, "done": 0, "stale": 0, "outside": 0},
        "pixel_days_done": 5,
        "seconds": 1.0,
        "peak_memory_mib": 1.0,
        "failed": {"20200301-r000000-c000000": "OSError: disk full"},
    }
    monkeypatch.setattr(maps, "predict_product", lambda *_, **__: summary)
    arguments = ["--bundle", "b", "--cube", "c", "--start", "2020-03-01", "--end", "2020-03-02", "--out", "p"]
    monkeypatch.setattr(sys, "argv", ["mmnet-maps", "predict", *arguments, "--json"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    out, error = capsys.readouterr()
    assert json.loads(out) == summary
    assert "20200301-r000000-c000000: OSError: disk full" in error


def test_every_command_has_help() -> None:
    for command in ("predict", "plan", "bench"):
        found = CliRunner().invoke(app, [command, "--help"])
        assert found.exit_code == 0
        assert "--json" in found.output
