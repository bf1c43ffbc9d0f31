"""A whole job in an object store gives what it gives on a file system, whatever happens on the way."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.learn.bundle import load_bundle
from mmnet_maps.prepare.cube.store import open_cube
from mmnet_maps.prepare.stations.files import read_table, write_table
from mmnet_maps.produce.extract.maps import open_maps
from mmnet_maps.produce.extract.places import read_points, read_polygons
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.produce.run.work import open_worker
from mmnet_maps.store import lease
from mmnet_maps.store.location import Remote
from mmnet_maps.store.lock import check_owner, sole_writer
from tests.produce.conftest import FIRST, make_bundle
from tests.store.cutting import (
    ROOT,
    as_on_disk,
    build,
    cut_everywhere,
    export,
    on_disk,
    predict,
    put_bundle,
)
from tests.store.s3 import Server


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The job on a file system: maps of five days, then of two more with what had come late."""
    root = tmp_path_factory.mktemp("local")
    make_bundle(root / "bundle")
    for last, days in ((12, 3), (15, 5)):
        build(root, FIRST + last)
        predict(root, days)
        export(root)
    return root


@pytest.fixture
def restarting(s3: Server, tmp_path: Path) -> Iterator[Server]:
    """A server of which one request of a hundred fails, and that is gone for a while, once."""
    s3.stop()
    server = Server(faults=0.01, folder=tmp_path, port=s3.port)
    ended = threading.Event()

    def restart() -> None:
        while server.requests < 2000 and not ended.wait(0.01):
            pass
        server.restart(1.0)

    thread = threading.Thread(target=restart)
    thread.start()
    yield server
    ended.set()
    thread.join()
    server.stop()


def test_a_job_with_failing_requests_and_a_restart_gives_the_same_bytes(
    local: Path, restarting: Server
) -> None:
    put_bundle(ROOT)
    for last, days in ((12, 3), (15, 5)):
        build(ROOT, FIRST + last)
        predict(ROOT, days)
        export(ROOT)
    assert restarting.failed > 20 and restarting.restarts == 1
    there, here = as_on_disk(restarting.content("bucket/job/")), on_disk(local)
    assert [name for name in {**there, **here} if there.get(name) != here.get(name)] == []
    assert load_bundle(ROOT / "bundle").digest == load_bundle(local / "bundle").digest


@pytest.mark.parametrize("name", ["a new cube", "days added to a cube", "a new product", "an export"])
def test_a_job_that_is_cut_off_is_finished_by_the_same_job(name: str) -> None:
    # Every change: python -m tests.store.cutting
    cuts, changes = cut_everywhere(name, every=71, offset=37)
    assert cuts == -(-(changes - 37) // 71) > 0


def test_maps_are_read_from_there_as_from_disk(local: Path, s3: Server) -> None:
    for file in sorted(local.rglob("*")):
        if file.is_file():
            (ROOT / file.relative_to(local).as_posix()).write_bytes(file)
    row, col = np.array([3, 15, 9]), np.array([2, 20, 9])
    for name in ("p.zarr", "maps", "maps/soil_moisture.zarr"):
        here, there = open_maps(local / name), open_maps(ROOT / name)
        assert there.days.tolist() == here.days.tolist() and there.flags == here.flags
        found = here.pixels(["soil_moisture", "quality"], 0, 4, row, col)
        for layer, values in there.pixels(["soil_moisture", "quality"], 0, 4, row, col).items():
            np.testing.assert_array_equal(values, found[layer])
        assert there.version(1)
    # A cube that was copied there is read as it stands, and becomes one of states with its next build.
    assert open_cube(ROOT / "c.zarr").folder == ROOT / "c.zarr"
    predict(ROOT, 5)
    build(ROOT, FIRST + 18)
    assert [part.name for part in (ROOT / "c.zarr").iterdir()] == ["current.json", "state-1"]
    assert not open_product(ROOT / "p.zarr").damaged()


def test_a_lost_object_is_found_and_made_again(s3: Server) -> None:
    put_bundle(ROOT)
    build(ROOT, FIRST + 39)
    predict(ROOT, 3)
    before = s3.content("bucket/job/p.zarr/")
    lost = next((ROOT / "p.zarr" / "quality").glob("c/0/0/*"))
    lost.unlink()
    assert list(open_product(ROOT / "p.zarr").damaged().values()) == [f"{lost} is lost"]
    predict(ROOT, 3)
    assert s3.content("bucket/job/p.zarr/") == before


def test_a_second_run_is_refused_and_changes_nothing(s3: Server) -> None:
    put_bundle(ROOT)
    build(ROOT, FIRST + 39)
    with sole_writer(ROOT / "p.zarr"):
        before = s3.keys("")
        with pytest.raises(
            InputError, match=r"s3://bucket/job/p.zarr: another run is writing to it \(process"
        ):
            predict(ROOT, 3)
        assert s3.keys("") == before
    assert not (ROOT / ".p.zarr.lock").exists() and not (ROOT / "p.zarr").exists()


def test_the_lock_of_a_killed_run_is_taken_over_at_once(s3: Server) -> None:
    code = "import os\nfrom mmnet_maps.store.lock import sole_writer\n"
    code += "from mmnet_maps.store.location import Remote\n"
    code += (
        "with sole_writer(Remote('s3://bucket', 'x')) as run:\n    print(run, flush=True)\n    os._exit(9)"
    )
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    run, began = killed.stdout.strip(), time.monotonic()
    check_owner(Remote("s3://bucket", "x"), run)  # nobody has taken over: what is under way may end
    with sole_writer(Remote("s3://bucket", "x")), pytest.raises(WorkError, match="has ended; process"):
        check_owner(Remote("s3://bucket", "x"), run)
    assert time.monotonic() - began < lease.LEASE_S / 3
    assert not s3.keys("")


def test_the_lock_of_a_run_elsewhere_is_taken_over_when_its_lease_ends(
    s3: Server, short_lease: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Remote("s3://bucket", "x")
    monkeypatch.setattr(lease, "_machine", lambda: "")  # as seen from another machine
    (path.with_name(".x.lock")).write_bytes(b'{"run": "r", "process": 1, "host": "far"}')
    began = time.monotonic()
    with sole_writer(path):
        assert short_lease < time.monotonic() - began < 4 * short_lease


def test_an_old_workers_write_is_refused_after_its_lease_is_lost(s3: Server, short_lease: float) -> None:
    put_bundle(ROOT)
    build(ROOT, FIRST + 39)
    predict(ROOT, 3)
    product = open_product(ROOT / "p.zarr")
    unit = next(iter(product.layout.units()))
    values = {
        name: product.read(name, unit.first, unit.stop, unit.tile.rows, unit.tile.cols)
        for name in product.layers
    }
    lock = ROOT / ".p.zarr.lock"
    with pytest.raises(WorkError, match=r"p\.zarr: the lock was lost"), sole_writer(product.path) as old:
        s3.objects.held.pop("bucket/job/.p.zarr.lock")
        lock.write_bytes(b'{"run": "new", "process": 1, "host": "far"}')
        before = s3.content("bucket/job/p.zarr/")
        with pytest.raises(WorkError, match="process 1 on far writes there now: nothing is written"):
            product.write_unit(unit, {name: value + 1 for name, value in values.items()}, old)
        assert s3.content("bucket/job/p.zarr/") == before
    assert lock.read_bytes().startswith(b'{"run": "new"')  # the other run's lock is left alone


def test_maps_of_a_cube_that_is_brought_up_to_date_meanwhile_are_not_recorded(
    s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_bundle(ROOT)
    build(ROOT, FIRST + 10)
    from mmnet_maps.produce.run import work

    def compute(*given: object, **how: object) -> object:
        build(ROOT, FIRST + 20)
        return real(*given, **how)  # type: ignore[arg-type]

    real = work.compute_unit
    monkeypatch.setattr(work, "compute_unit", compute)
    with pytest.raises(AssertionError, match="was brought up to date meanwhile; run the same command again"):
        predict(ROOT, 2)
    open_worker.cache_clear()
    assert not list(open_product(ROOT / "p.zarr").ledger.keys())


def test_points_and_polygons_may_be_there(s3: Server, tmp_path: Path) -> None:
    (ROOT / "points.csv").write_bytes(b"id,lon,lat\na,-98.5,36.25\n")
    box = '{"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}'
    (ROOT / "fields.geojson").write_bytes(
        f'{{"type": "Feature", "properties": {{}}, "geometry": {box}}}'.encode()
    )
    assert read_points(ROOT / "points.csv").to_numpy().tolist() == [["a", -98.5, 36.25]]
    assert len(read_polygons(ROOT / "fields.geojson")) == 1
    with pytest.raises(InputError, match=r"^s3://bucket/job/none\.csv: no such file of points$"):
        read_points(ROOT / "none.csv")


def test_a_table_goes_there_and_back(s3: Server) -> None:
    import pandas as pd

    from mmnet_maps.catalogue import published_catalogue

    catalogue = published_catalogue()
    with pytest.raises(InputError, match=r"s3://bucket/none\.parquet: no such station table"):
        read_table(Remote("s3://bucket", "none.parquet"))
    frame = pd.DataFrame({"ID": ["a"], "Date": [20200101]})
    for ending in ("csv", "parquet"):
        there = Remote("s3://bucket", f"t.{ending}")
        write_table(frame, there, catalogue)
        with pytest.raises(InputError, match=rf"^s3://bucket/t\.{ending}: "):
            read_table(there)  # it lacks columns, and says so by its name
