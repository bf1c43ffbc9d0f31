"""A run that stops anywhere goes on from there to the same bytes, and late data redo what they change."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.produce.run import work
from mmnet_maps.produce.run.predict import Request, predict_product
from mmnet_maps.store.lock import sole_writer
from tests.produce.conftest import make_bundle

FIRST = 18322


def _day(number: int) -> str:
    return str(np.datetime64(number, "D"))


def _request(world: Any, cube: Path, out: Path, days: int = 8) -> Request:
    return Request(world.bundle, cube, _day(FIRST), _day(FIRST + days - 1), out, tile=16, block_days=4)


def _bytes(path: Path) -> dict[str, bytes]:
    return {
        str(place.relative_to(path)): place.read_bytes()
        for place in sorted(path.rglob("*"))
        if place.is_file() and place.name != ".lock"
    }


@pytest.fixture(scope="module")
def whole(make_world: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """World, cube, and the bytes of a product made in one go."""
    folder = tmp_path_factory.mktemp("whole")
    world = make_world(width=16)
    cube = world.cube(folder / "cube")
    summary = predict_product(_request(world, cube, folder / "product"))
    assert summary["units"]["new"] == 4
    return world, cube, folder / "product"


def test_a_second_run_does_nothing_and_changes_nothing(whole: Any) -> None:
    world, cube, product = whole
    before = _bytes(product)
    summary = predict_product(_request(world, cube, product))
    assert summary["units"] == {"new": 0, "done": 4, "stale": 0, "outside": 0}
    assert summary["pixel_days"] == 0
    assert _bytes(product) == before


@pytest.mark.parametrize("where", ["compute_unit", "write", "ledger"])
def test_a_run_that_dies_is_completed_to_the_same_bytes(
    whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    world, cube, product = whole
    calls = 0

    def dying(original: Any) -> Any:
        def run(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 3:
                raise KeyboardInterrupt
            return original(*arguments, **named)

        return run

    if where == "compute_unit":
        monkeypatch.setattr(work, "compute_unit", dying(work.compute_unit))
    elif where == "write":
        from mmnet_maps.produce.product.store import Product

        monkeypatch.setattr(Product, "write_unit", dying(Product.write_unit))
    else:
        from mmnet_maps.produce.product.ledger import Ledger

        monkeypatch.setattr(Ledger, "write", dying(Ledger.write))
    with pytest.raises(KeyboardInterrupt):
        predict_product(_request(world, cube, tmp_path / "product"))
    monkeypatch.undo()
    assert len(list(open_product(tmp_path / "product").ledger.keys())) == 2
    summary = predict_product(_request(world, cube, tmp_path / "product"))
    assert summary["units"] == {"new": 2, "done": 2, "stale": 0, "outside": 0}
    assert _bytes(tmp_path / "product") == _bytes(product)


def test_a_killed_process_is_completed_to_the_same_bytes(whole: Any, tmp_path: Path) -> None:
    world, cube, product = whole
    out = tmp_path / "product"
    command = [sys.executable, "-m", "mmnet_maps.cli", "predict", "--bundle", str(world.bundle)]
    command += ["--cube", str(cube), "--start", _day(FIRST), "--end", _day(FIRST + 7), "--out", str(out)]
    command += ["--tile", "16", "--block-days", "4"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if any((out / "ledger").glob("*.json")) and len(list((out / "ledger").glob("2020*"))) >= 2:
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    predict_product(_request(world, cube, out))
    assert _bytes(out) == _bytes(product)


def test_late_scenes_redo_exactly_the_units_that_they_reach(whole: Any, tmp_path: Path) -> None:
    world, _, _ = whole
    cube, out = world.cube(tmp_path / "cube"), tmp_path / "product"
    predict_product(_request(world, cube, out))
    before = _bytes(out)
    radar = world.readers["sentinel1"]
    # Radar reaches 60 days; a day of SMAP its own day, and those without one behind it.
    smap = world.readers["smap"]
    early = int(np.searchsorted(smap.days, FIRST + 1))
    world.with_reader(smap.changed(early)).cube(cube)
    plan = predict_product(_request(world, cube, out), dry_run=True)
    assert plan["units"] == {"new": 0, "done": 2, "stale": 2, "outside": 0}
    predict_product(_request(world, cube, out))
    assert predict_product(_request(world, cube, out), dry_run=True)["units"]["done"] == 4
    world.with_reader(radar.changed(3)).cube(cube)
    assert predict_product(_request(world, cube, out), dry_run=True)["units"]["stale"] == 4
    world.cube(cube)
    predict_product(_request(world, cube, out))
    assert _bytes(out) == before


def test_late_days_of_a_coarse_source_redo_the_units_whose_series_they_change(
    make_world: Any, tmp_path: Path
) -> None:
    # Tiles of 2.4 km: the western ones do not see the easternmost cells of 926 m, of the same stored chunk.
    world = make_world(height=16, width=160)
    cube, out = world.cube(tmp_path / "cube"), tmp_path / "product"
    request = replace(_request(world, cube, out), tile=80)
    predict_product(request)
    before, modis = _units(out), world.readers["modis"]
    for ahead in (-9, 1, 12):
        late = modis.changed(int(np.searchsorted(modis.days, FIRST + ahead)))
        late.values["LST"][:, :, :-3] = modis.values["LST"][:, :, :-3]  # only the east has news
        world.with_reader(late).cube(cube)
        stale = predict_product(request, dry_run=True)["units"]["stale"]
        predict_product(request)
        after = _units(out)
        assert sum(after[key] != before[key] for key in before) <= stale <= 2, ahead
        assert stale or ahead > 8
        world.cube(cube)
        predict_product(request)
        assert _units(out) == before


def _units(out: Path) -> dict[str, list[bytes]]:
    """Stored values of every unit."""
    product, found = open_product(out), {}
    for unit in product.layout.units():
        where = unit.first, unit.stop, unit.tile.rows, unit.tile.cols
        found[unit.key] = [product.read(name, *where).tobytes() for name in product.layers]
    return found


def test_data_that_no_unit_can_see_leave_all_done(whole: Any, tmp_path: Path) -> None:
    world, _, _ = whole
    cube, out = world.cube(tmp_path / "cube"), tmp_path / "product"
    predict_product(_request(world, cube, out))
    weather = world.readers["gridmet"]
    changed = weather.changed(int(np.searchsorted(weather.days, FIRST + 8)))
    world.with_reader(changed).cube(cube)
    assert predict_product(_request(world, cube, out), dry_run=True)["units"]["done"] == 4


def test_later_days_extend_a_product_to_the_bytes_of_one_made_at_once(whole: Any, tmp_path: Path) -> None:
    world, cube, product = whole
    out = tmp_path / "product"
    predict_product(_request(world, cube, out, days=6))
    assert open_product(out).finished_days().size == 6
    summary = predict_product(_request(world, cube, out, days=8))
    assert summary["units"] == {"new": 0, "done": 2, "stale": 2, "outside": 0}
    assert _bytes(out) == _bytes(product)


def test_another_bundle_makes_every_unit_stale(whole: Any, tmp_path: Path) -> None:
    from mmnet_maps.learn.bundle import load_bundle, save_bundle

    world, cube, _ = whole
    out, other = tmp_path / "product", tmp_path / "bundle"
    predict_product(_request(world, cube, out, days=4))
    save_bundle(replace(load_bundle(world.bundle), facts={"note": "another"}), other)
    request = replace(_request(world, cube, out, days=4), bundle=other)
    assert predict_product(request, dry_run=True)["units"] == {"new": 0, "done": 0, "stale": 2, "outside": 0}
    assert open_product(out).finished(FIRST)
    predict_product(request)
    assert open_product(out).finished(FIRST)
    assert open_product(out).about["bundle"] == load_bundle(other).digest


def test_a_run_that_is_refused_changes_nothing(whole: Any, tmp_path: Path) -> None:
    world, cube, product = whole
    other = replace(_request(world, cube, product, days=12), bundle=make_bundle(tmp_path / "bundle", seed=1))
    before = _bytes(product)
    with sole_writer(product), pytest.raises(InputError, match="another run is writing"):
        predict_product(other)
    assert _bytes(product) == before


def test_a_worker_of_a_run_that_lost_the_product_writes_nothing(whole: Any, tmp_path: Path) -> None:
    world, cube, product = whole
    with sole_writer(product) as run:
        job = work.Job(world.bundle, cube, product, "float32", "cpu", "nearest", run)
    unit, before = next(iter(open_product(product).layout.units())), _bytes(product)
    with sole_writer(product), pytest.raises(WorkError, match="the run that asked for this unit has ended"):
        work.run_unit(job, unit, False)
    with sole_writer(product), pytest.raises(WorkError, match="has ended"):
        open_product(product).erase_unit(unit, run)
    assert _bytes(product) == before


def test_a_unit_that_another_worker_has_made_meanwhile_is_left_alone(
    whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the worker that the scheduler has lost does: it still has units that were given to others.
    world, cube, product = whole
    out, compute, asked = tmp_path / "product", work.compute_unit, []
    before = _bytes(product)

    def slow(*given: Any, **how: Any) -> Any:
        asked.append(given)
        if len(asked) == 1:
            work.run_unit(job, unit, False)  # the other one is given the unit, and is done first
        return compute(*given, **how)

    shutil.copytree(product, out)
    unit = next(iter(open_product(out).layout.units()))
    with sole_writer(out) as run:
        common = {"bundle": open_product(out).about["bundle"], "precision": "float32"}
        common["catalogue"] = open_product(out).about["catalogue"]
        job = work.Job(world.bundle, cube, out, "float32", "cpu", "nearest", run, tuple(common.items()))
        open_product(out).ledger.remove(unit.key)
        monkeypatch.setattr(work, "compute_unit", slow)
        work.run_unit(job, unit, False)
        assert len(asked) == 2 and _bytes(out) == before
        assert work.run_unit(job, unit, False).pixel_days == 16 * 16 * 4
        assert len(asked) == 2
    with pytest.raises(WorkError, match="has ended"):
        work.run_unit(job, unit, False)
    assert _bytes(out) == before


def test_a_run_that_lost_its_lock_ends_at_once_in_one_line(
    whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world, cube, _ = whole
    out, compute, asked = tmp_path / "product", work.compute_unit, []

    def lose(*given: Any, **how: Any) -> Any:
        asked.append(given)
        if len(asked) == 2:
            (tmp_path / ".product.lock").write_text('{"run": "new", "process": 1, "host": "far"}')
        return compute(*given, **how)

    monkeypatch.setattr(work, "compute_unit", lose)
    with pytest.raises(WorkError, match="process 1 on far writes there now: nothing is written"):
        predict_product(_request(world, cube, out))
    assert "failed" not in capsys.readouterr().err
    assert len(list(open_product(out).ledger.keys())) == 1


def test_a_unit_that_is_lost_from_the_ledger_before_the_end_is_told(
    whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, cube, _ = whole
    out, compute, asked = tmp_path / "product", work.compute_unit, []

    def spoil(*given: Any, **how: Any) -> Any:
        asked.append(given)
        if len(asked) == 4:
            for key in list(open_product(out).ledger.keys())[:1]:
                open_product(out).ledger.remove(key)
        return compute(*given, **how)

    monkeypatch.setattr(work, "compute_unit", spoil)
    failed = predict_product(_request(world, cube, out))["failed"]
    assert list(failed.values()) == ["its entry in the ledger is lost"]


@pytest.mark.parametrize(
    "how", ["lost", "emptied", "cut", "flipped", "swapped", "torn entry", "foreign entry"]
)
def test_damage_is_named_and_made_good_by_the_same_run(
    whole: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    world, cube, product = whole
    out = tmp_path / "product"
    shutil.copytree(product, out)
    before, shard = _bytes(out), out / "soil_moisture" / "c" / "0" / "1" / "0"
    other, entry = (
        out / "soil_moisture" / "c" / "0" / "0" / "0",
        out / "ledger" / "20200301-r000016-c000000.json",
    )
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 1
    damage: dict[str, Any] = {
        "lost": shard.unlink,
        "emptied": lambda: shard.write_bytes(b""),
        "cut": lambda: shard.write_bytes(data[:-50]),
        "flipped": lambda: shard.write_bytes(data),
        "swapped": lambda: shard.write_bytes(other.read_bytes()),
        "torn entry": lambda: entry.write_text(entry.read_text()[:40]),
        "foreign entry": lambda: entry.write_text('{"first": "x"}'),
    }
    damage[how]()
    if "entry" not in how:
        done = export_product(open_product(out), tmp_path / "maps", FIRST + 4, FIRST + 7)
        assert len(done.written) == 4
        with pytest.raises(WorkError, match=r"unit 20200301-r000016-c000000 (is damaged|cannot be read)"):
            export_product(open_product(out), tmp_path / "maps")
        assert len(list((tmp_path / "maps").glob("soil_moisture_*.tif"))) == 4
    summary = predict_product(_request(world, cube, out))
    assert summary["units"]["done"] == 3
    if "entry" not in how:
        said = "is lost" if how == "lost" else "is not what was written"
        assert f"20200301-r000016-c000000 is made again: {shard} {said}" in capsys.readouterr().err
    assert _bytes(out) == before
    assert len(export_product(open_product(out), tmp_path / "maps").written) == (8 if "entry" in how else 4)
