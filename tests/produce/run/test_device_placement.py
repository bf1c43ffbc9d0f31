"""Where tensors are, checked without a GPU: the whole path on a device that refuses what a real one would."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmnet_maps.bench import device as bench_device
from mmnet_maps.bench.made_up import made_up_bundle, made_up_tile
from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.learn.models.dense import Dense
from mmnet_maps.produce.engine import device
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.engine.pixels import DensePass
from mmnet_maps.produce.engine.precision import Bfloat16Pass
from mmnet_maps.produce.engine.sizes import Sizes
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.produce.run import predict
from mmnet_maps.produce.run.calibration import Calibration, measure
from mmnet_maps.produce.run.predict import Request, predict_product
from mmnet_maps.produce.tile import program
from mmnet_maps.produce.tile.program import predict_tile, predict_tiles

sys.path.insert(0, str(Path(__file__).parent))

from lent_device import NAME, Lending, lending

DAYS = np.arange(18_810, 18_816, dtype=np.int64)
SMALL = Sizes(block=4096, step=2048, windows=256, day_batch=512, window_batch=256)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def lent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lending]:
    """The device, seen by the package; it is there in one thread alone, so tiles are read in that too."""
    monkeypatch.setattr(device, "seen_devices", lambda: ["cpu", f"{NAME}:0"])
    monkeypatch.setattr(program, "ahead", lambda items, count=1: items)
    with lending() as mode:
        yield mode


def test_the_check_refuses_what_a_device_would(lent: Lending) -> None:
    here = torch.arange(12.0).reshape(3, 4)
    there = here.to(torch.device(NAME, 0))
    with pytest.raises(RuntimeError, match="mixes"):
        there + here
    with pytest.raises(RuntimeError, match="mixes"):
        there.index_select(0, torch.tensor([1]))
    with pytest.raises(RuntimeError, match="mixes"):
        torch.addmm(torch.zeros(3), there, there.t())
    for waits in (lambda: float(there[0, 0]), lambda: bool((there > 1).any()), lambda: there[there > 1]):
        with pytest.raises(RuntimeError, match="waits"):
            waits()
    with pytest.raises(RuntimeError, match="not supported"):
        there.numpy()
    np.testing.assert_array_equal((there @ there.t()).to("cpu").numpy(), (here @ here.t()).numpy())
    assert lent.returned == [torch.Size([3, 3])]


class _Half(Engine):
    """With the bfloat16 products of a GPU."""

    def _dense(self, layers: list[Dense], entry: int) -> DensePass:
        return Bfloat16Pass(layers, entry, self.sizes.step, self.device)


@pytest.mark.parametrize("kind", ["mmnet", "mlp", "transformer", "ensemble", "half"])
def test_everything_stays_on_the_device_until_the_maps_come_back(kind: str, lent: Lending) -> None:
    name = kind if kind in ("mlp", "transformer") else "mmnet"
    bundle = made_up_bundle(name, published_catalogue(), rows=512)
    if kind == "ensemble":
        other = made_up_bundle(name, published_catalogue(), seed=1, rows=512).network
        assert other is not None
        bundle = replace(bundle, others=(other,), target="sqrt")
    first, second = (
        made_up_tile(bundle.catalogue, height, 23, DAYS, seed=5, clouds=0.4, missing=0.02)
        for height in (11, 14)
    )
    engine = (_Half if kind == "half" else Engine)(bundle, device=NAME, sizes=SMALL)
    assert engine.xp.on_device
    found = list(predict_tiles(engine, iter([first, second]), DAYS, keep_prediction=True))
    assert lent.operations > 100
    # Of each tile four maps and the estimates come back, and nothing else.
    assert [tuple(shape) for shape in lent.returned] == [(6, 11 * 23)] * 5 + [(6, 14 * 23)] * 5
    for inputs, result in found:
        expected = predict_tile(Engine(bundle), inputs, DAYS, keep_prediction=True)
        assert result.prediction is not None
        assert expected.prediction is not None
        np.testing.assert_allclose(
            result.prediction, expected.prediction, rtol=0, atol=0.02 if kind == "half" else 2e-6
        )
        np.testing.assert_array_equal(result.quality, expected.quality)


def test_a_product_is_made_on_the_device_and_another_device_makes_it_anew(
    make_world: Any, tmp_path: Path, lent: Lending, monkeypatch: pytest.MonkeyPatch
) -> None:
    def calibrate(survey: Any, units: Any, *about: Any) -> Calibration:
        # Another process has no lent device: the piece is measured in this one.
        return measure(survey, units[0], *about[:-1])

    monkeypatch.setattr(predict, "calibrate", calibrate)
    world = make_world(seed=3)
    cube = world.cube(tmp_path / "cube")
    asked = Request(world.bundle, cube, "2020-03-01", "2020-03-04", tmp_path / "there", block_days=4)
    there = replace(asked, device=NAME)
    here = replace(asked, out=tmp_path / "here")
    before = lent.operations
    assert not predict_product(there)["failed"]
    assert lent.operations > before
    assert not predict_product(here)["failed"]
    one, other = open_product(there.out), open_product(here.out)
    assert (one.about["device"], other.about["device"]) == (NAME, "cpu")
    for name in one.layers:
        maps = [p.read(name, 18_322, 18_326, slice(0, 20), slice(0, 28)).astype(int) for p in (one, other)]
        assert np.abs(maps[0] - maps[1]).max() <= (1 if name != "quality" else 0)
    assert predict_product(there)["units"] == {"new": 0, "done": 1, "stale": 0, "outside": 0}
    assert predict_product(replace(there, device="cpu"), dry_run=True)["units"]["stale"] == 1
    assert predict_product(replace(here, device=NAME), dry_run=True)["units"]["stale"] == 1
    assert not predict_product(replace(there, device="cpu"))["failed"]
    assert open_product(there.out).about["device"] == "cpu"


def test_workers_of_a_scheduler_have_devices_of_their_own(make_world: Any, tmp_path: Path) -> None:
    world = make_world()
    cube = world.cube(tmp_path / "cube")
    asked = Request(world.bundle, cube, "2020-03-01", "2020-03-04", tmp_path / "out", device="cuda:9")
    with pytest.raises(InputError, match="device cuda:9: torch sees no such device here"):
        predict_product(asked, dry_run=True)
    summary = predict_product(replace(asked, scheduler="tcp://elsewhere:8786"), dry_run=True)
    assert summary["units"]["new"] == 1
    assert "forecast" not in summary


def test_a_device_without_bfloat16_says_so(lent: Lending) -> None:
    bundle = made_up_bundle("mmnet", published_catalogue(), rows=512)
    with pytest.raises(InputError, match="bfloat16 is for cpu and cuda, not for device privateuseone"):
        Engine(bundle, "bfloat16", NAME)
    bundle = made_up_bundle("transformer", published_catalogue(), rows=512)
    with pytest.raises(InputError, match="not for a transformer"):
        Engine(bundle, "bfloat16", NAME)


def test_the_benchmark_measures_what_is_seen(lent: Lending) -> None:
    bundle = made_up_bundle("mlp", published_catalogue(), rows=512)
    found = bench_device.device_figures(bundle, rounds=1, size=24, sizes=SMALL)
    assert found["device"] == f"{NAME}:0"
    assert float(found["device_pixel_days_per_s"]) > 0
    assert float(found["device_max_abs_difference"]) <= 2e-6
    assert found["device_quality_differences"] == 0


def test_the_benchmark_says_nothing_where_torch_sees_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "seen_devices", lambda: ["cpu"])
    assert bench_device.device_figures(made_up_bundle("mlp", published_catalogue(), rows=512)) == {}
