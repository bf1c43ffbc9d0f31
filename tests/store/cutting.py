"""Cut a job off its object store before each request that changes something, and let the same job finish.

A process that is cut off can undo nothing, like one that is killed. Run by hand for every request:
``python -m tests.store.cutting --every 1``; the test samples them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmnet_maps.learn.bundle import load_bundle, save_bundle
from mmnet_maps.prepare.cube.config import Target
from mmnet_maps.prepare.cube.store import build_cube, open_cube
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.produce.run.predict import Request, predict_product
from mmnet_maps.store import lease, remote
from mmnet_maps.store.location import Location, Remote
from mmnet_maps.store.whole import is_draft
from tests.killing import _GRID, _readers, content, run_cases
from tests.produce.conftest import FIRST, make_bundle
from tests.store.s3 import Server

ROOT = Remote("s3://bucket", "job")


def build(root: Location, last: int, names: tuple[str, ...] = ()) -> None:
    """A cube of the small world, up to a day."""
    readers = _readers(last)
    build_cube(
        Target(_GRID, None, "test"), [readers[n] for n in names or readers], root / "c.zarr", workers=1
    )


def predict(root: Location, days: int, **how: Any) -> dict[str, Any]:
    """Maps of the first days; `AssertionError` if a unit fails."""
    first, last = (str(np.datetime64(day, "D")) for day in (FIRST, FIRST + days - 1))
    request = Request(
        root / "bundle", root / "c.zarr", first, last, root / "p.zarr", tile=16, block_days=4, **how
    )
    done = predict_product(request)
    assert not done["failed"], done["failed"]
    return done


def export(root: Location) -> None:
    """Every finished day as files and as one Zarr."""
    export_product(open_product(root / "p.zarr"), root / "maps", workers=1, store="shards")


def put_bundle(root: Location) -> None:
    """An untrained network."""
    with tempfile.TemporaryDirectory() as scratch:
        make_bundle(Path(scratch) / "bundle")
        save_bundle(load_bundle(Path(scratch) / "bundle"), root / "bundle")


def as_on_disk(held: dict[str, bytes]) -> dict[str, bytes]:
    """Objects of a job under the names that they have on a file system."""
    state = json.loads(held.pop("c.zarr/current.json", b'{"state": ""}'))["state"]
    found = {}
    for name, data in held.items():
        name = re.sub(r"^maps/soil_moisture-[0-9a-f]{12}\.zarr/", "maps/soil_moisture.zarr/", name)
        found[name.replace(f"c.zarr/{state}/", "c.zarr/")] = data
    # These name the weights, and the published Zarr.
    for name in [n for n in found if n.startswith("bundle/")]:
        del found[name]
    if "maps/collection.json" in found:
        text = found["maps/collection.json"].decode()
        found["maps/collection.json"] = re.sub(r"soil_moisture-[0-9a-f]{12}", "soil_moisture", text).encode()
    return found


def on_disk(folder: Path) -> dict[str, bytes]:
    """Files of a job in a folder, but for its bundle."""
    return {name: data for name, data in content(folder).items() if not name.startswith("bundle/")}


_FEW = ("hls", "smap")
#: What stands before, and the job.
CASES: dict[str, tuple[Callable[[], None], Callable[[], Any]]] = {}


def _case(name: str, *before: Callable[[], Any]) -> Callable[[Callable[[], Any]], None]:
    def add(job: Callable[[], Any]) -> None:
        CASES[name] = (lambda: [step() for step in before] and None), job

    return add


def _world() -> None:
    put_bundle(ROOT)
    build(ROOT, FIRST + 39)


_case("a new cube")(lambda: build(ROOT, FIRST + 3, _FEW))
_case("days added to a cube", lambda: build(ROOT, FIRST + 3, _FEW))(lambda: build(ROOT, FIRST + 19, _FEW))
_case("a new product", _world)(lambda: predict(ROOT, 5))
_case("days added to a product", _world, lambda: predict(ROOT, 3))(lambda: predict(ROOT, 5))
_case("an export", _world, lambda: predict(ROOT, 2))(lambda: export(ROOT))
_case(
    "days added to an export",
    _world,
    lambda: predict(ROOT, 2),
    lambda: export(ROOT),
    lambda: predict(ROOT, 3),
)(lambda: export(ROOT))


@contextlib.contextmanager
def impatient(server: Server) -> Any:
    """A client that gives up at once, and takes over the lock of an earlier run at once."""
    before = remote._RETRIES, remote._PAUSES_S, lease._is_dead, dict(os.environ)
    # A run of this process has ended when the next one begins.
    remote._RETRIES, remote._PAUSES_S, lease._is_dead = 0, (), lambda owner: True
    os.environ.update(server.environment)
    remote.store_at.cache_clear()
    try:
        yield
    finally:
        remote._RETRIES, remote._PAUSES_S, lease._is_dead = before[:3]
        os.environ.clear()
        os.environ.update(before[3])
        remote.store_at.cache_clear()


def cut_everywhere(name: str, every: int, offset: int = 0) -> tuple[int, int]:
    """Cut a case off before changes ``offset + 1, offset + 1 + every, ...``; how many, and of how many.

    Raises
    ------
    AssertionError
        After a cut the job does not finish, or its result differs.
    InputError
        After a cut what is there cannot be read.
    """
    before, job = CASES[name]
    server = Server()
    try:
        with impatient(server):
            before()
            base, server.changes = dict(server.objects.held), 0
            job()
            expected, total = dict(server.objects.held), server.changes
            cuts = range(offset, total, every)
            for number in cuts:
                where = f"{name}, cut off before change {number + 1} of {total}"
                server.objects.held, server.changes, server.cut_after = dict(base), 0, number
                with contextlib.suppress(Exception):
                    job()
                assert server.changes > number, f"{where}: never cut"
                server.cut_after = None
                _check_readable(server.objects.held)
                job()
                found = server.objects.held
                differ = sorted(k for k in {**expected, **found} if _at(expected, k) != _at(found, k))
                assert not differ, f"{where}: other content of {differ[:5]}"
    finally:
        server.stop()
    return len(cuts), total


def _check_readable(held: Mapping[str, object]) -> None:
    """What is there can be opened, whatever was cut off."""
    if f"bucket/{ROOT.key}/c.zarr/current.json" in held:
        open_cube(ROOT / "c.zarr")
    product = ROOT / "p.zarr"
    if f"bucket/{product.key}/zarr.json" in held and not is_draft(product):
        open_product(product)


def _at(held: dict[str, tuple[bytes, str, float]], key: str) -> bytes | None:
    return held[key][0] if key in held else None


if __name__ == "__main__":
    run_cases(__doc__, CASES, cut_everywhere, "cuts")
