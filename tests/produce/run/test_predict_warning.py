"""What `predict` says of the bundle before it begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmnet_maps.learn.bundle import load_bundle, save_bundle
from mmnet_maps.produce.run.predict import Request, predict_product


def test_predict_repeats_the_warning(
    make_world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = make_world()
    cube, bundle = world.cube(tmp_path / "cube"), load_bundle(world.bundle)
    facts = {**bundle.facts, "held_out": {"stations": 3, "model": {"ubrmse": 0.05}, "SMAP": {"ubrmse": 0.04}}}
    save_bundle(replace(bundle, facts=facts), tmp_path / "bundle")
    days = "2020-03-01", "2020-03-02"
    predict_product(Request(tmp_path / "bundle", cube, *days, tmp_path / "out"), dry_run=True)
    assert "warning: the model is no better than SMAP itself" in capsys.readouterr().err
