"""A daily job while data arrive late: provisional days, then the maps of all data at hand, byte for byte."""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmnet_maps.dates import to_day
from mmnet_maps.errors import InputError
from mmnet_maps.jobs import daily as job
from mmnet_maps.jobs.cubes import build_cube
from mmnet_maps.jobs.daily import daily, daily_text
from mmnet_maps.jobs.maps import predict
from mmnet_maps.jobs.products import export
from mmnet_maps.learn.bundle import load_bundle, save_bundle
from mmnet_maps.learn.intervals import IntervalTable
from mmnet_maps.produce.export.folder import items_of, read_json
from mmnet_maps.produce.extract.maps import open_maps
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.produce.tile.flags import FLAGS
from mmnet_maps.produce.units import iso
from mmnet_maps.simulated import SimulationConfig
from mmnet_maps.store.location import Location, Remote
from mmnet_maps.store.lock import sole_writer
from mmnet_maps.store.states import state_of
from tests.arrivals import Region
from tests.produce.conftest import make_bundle
from tests.store.s3 import Server

FIRST, LAST = dt.date(2020, 4, 1), dt.date(2020, 5, 30)
#: Long after everything has arrived, and no gap reaches back to the maps.
LATER = dt.date(2020, 10, 1)


def _after(days: int) -> dt.date:
    return FIRST + dt.timedelta(days=days)


def _bytes(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Region:
    config = SimulationConfig(
        region_pixels=64, first_day=FIRST, last_day=LAST, history_days=20, spin_up_days=5,
        validation_stations=0, optical_revisit_days=5, radar_revisit_days=6,
    )  # fmt: skip
    return Region(tmp_path_factory.mktemp("region"), config)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("model") / "bundle")


def _begin(region: Region, bundle: Path, user: Path, **keys: Any) -> Path:
    return region.write_configs(user, bundle, tile=64, block_days=10, **keys)


def _flagged(quality: NDArray[Any]) -> bool:
    """Whether a day is flagged as provisional: on every pixel that can have a value, or on none."""
    never = FLAGS["not_computed"] | FLAGS["water_or_ice"] | FLAGS["land_cover_missing"]
    flagged = (quality & FLAGS["provisional"] != 0)[quality & never == 0]
    assert flagged.all() or not flagged.any()
    return bool(flagged.any())


def test_after_all_have_arrived_the_maps_are_those_of_all_data_at_hand(
    region: Region, bundle: Path, tmp_path: Path
) -> None:
    user = tmp_path / "user"
    config = _begin(region, bundle, user, maps=None)
    final: dict[int, bytes] = {}
    for today in [*(_after(k) for k in (4, 16, 28, 40, 52, 63)), LATER]:
        region.deliver(user, today)
        done, made = daily(config, today=today), open_product(user / "product.zarr")
        assert done["mapped"] == [FIRST.isoformat(), min(LAST, today - dt.timedelta(days=1)).isoformat()]
        days = made.finished_days().tolist()
        assert len(days) == done["provisional"] + done["final"]
        stored = {name: made.read(name, days[0], days[-1] + 1) for name in made.layers}
        for k, day in enumerate(days):
            provisional, values = (
                made.as_of(day) is not None,
                b"".join(v[k].tobytes() for v in stored.values()),
            )
            assert _flagged(stored["quality"][k]) == provisional
            # What is final stays as it is.
            assert final.get(day, values) == values
            if not provisional:
                final[day] = values
        assert len(final) == done["final"], "a final day stays final"
        assert today == LATER or made.as_of(days[-1]) == to_day(today)
    assert done["provisional"] == 0
    assert sorted(path.name for path in user.iterdir()) == [
        "cube.yaml", "cube.zarr", "daily.yaml", "product.zarr", "rasters",
    ]  # fmt: skip
    build_cube(user / "cube.yaml", tmp_path / "cube.zarr")
    span = FIRST.isoformat(), LAST.isoformat()
    predict(bundle, tmp_path / "cube.zarr", *span, tmp_path / "product.zarr", tile=64, block_days=10)
    assert _bytes(user / "product.zarr") == _bytes(tmp_path / "product.zarr")


def test_readers_find_whole_states_and_items_say_what_is_provisional(
    region: Region, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = tmp_path / "user"
    config = _begin(region, bundle, user, start="2020-05-26")
    under_its_name = _watch(monkeypatch, user / "product.zarr", user / "maps")
    seen = Reader(user / "product.zarr", user / "maps")
    for today in (dt.date(2020, 5, 29), dt.date(2020, 5, 31), LATER):
        region.deliver(user, today)
        with seen.reading():
            daily(config, today=today)
        made = open_product(user / "product.zarr")
        items = {item["id"][-8:]: item["properties"] for item in items_of(user / "maps")}
        assert len(items) == made.finished_days().size
        for day in made.finished_days().tolist():
            about, as_of = items[iso(day).replace("-", "")], made.as_of(day)
            assert about["mmnet_maps:status"] == ("final" if as_of is None else "provisional")
            assert about.get("updated") == (None if as_of is None else f"{iso(as_of)}T00:00:00Z")
            assert (today == LATER) == (as_of is None)
    assert under_its_name == [True] * 6
    assert seen.count > 10
    export(user / "product.zarr", tmp_path / "maps")
    assert _bytes(user / "maps") == _bytes(tmp_path / "maps")


class Reader:
    """Reads product and catalogue again and again while a block runs: all that it finds must fit together.

    On a file system what it has read counts only if the folders are still the same afterwards: names are
    looked up for each file. In an object store it always counts.
    """

    def __init__(self, product: Location, maps: Location) -> None:
        self.product, self.maps, self.count = product, maps, 0
        self.failures: list[BaseException] = []

    @contextmanager
    def reading(self) -> Iterator[None]:
        ended = threading.Event()

        def read() -> None:
            while not ended.wait(0.05):
                before = self._folders()
                try:
                    self._read_product()
                    self._read_maps()
                except BaseException as error:
                    if before == self._folders():
                        self.failures.append(error)
                self.count += 1

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        assert not self.failures, self.failures

    def _folders(self) -> list[int]:
        here = [path for path in (self.product, self.maps) if isinstance(path, Path)]
        return [path.stat().st_ino if path.exists() else 0 for path in here]

    def _read_product(self) -> None:
        if state_of(self.product).is_dir() and (state_of(self.product) / "zarr.json").is_file():
            made = open_product(self.product)
            for day in made.finished_days().tolist():
                for unit in made.layout.units(day, day + 1):
                    made.read_checked(day, unit.tile)

    def _read_maps(self) -> None:
        """As a client of STAC does: the catalog, its collection, the items, and their files."""
        for link in read_json(self.maps / "catalog.json").get("links", []):
            if link["rel"] == "child":
                collection = self.maps / link["href"].removeprefix("./")
                for one in read_json(collection)["links"]:
                    if one["rel"] == "item":
                        self._read_item(collection.parent / one["href"].removeprefix("./"))

    def _read_item(self, path: Location) -> None:
        for asset in read_json(path)["assets"].values():
            data = (path.parent / asset["href"].removeprefix("./")).read_bytes()
            assert asset["file:checksum"].endswith(hashlib.sha256(data).hexdigest()), asset["href"]


def test_in_an_object_store_readers_find_whole_states_and_the_end_is_that_on_disk(
    region: Region,
    bundle: Path,
    tmp_path: Path,
    s3: Server,
) -> None:
    user, there = tmp_path / "user", Remote("s3://bucket", "år 1%20")
    product, maps = there / "product.zarr", there / "maps"
    config = _begin(region, bundle, user, product=str(product), maps=str(maps), start="2020-05-26")
    seen = Reader(product, maps)
    for today in (dt.date(2020, 5, 29), LATER):
        region.deliver(user, today)
        with seen.reading():
            said = daily(config, today=today)
    assert seen.count > 5 and said["provisional"] == 0
    predict(bundle, user / "cube.zarr", "2020-05-26", "2020-05-30", tmp_path / "p", tile=64, block_days=10)
    export(tmp_path / "p", tmp_path / "m")
    for here, folder in ((tmp_path / "p", product), (tmp_path / "m", maps)):
        assert s3.content(f"bucket/{folder.key}/state-2/") == _bytes(here)
        # The state before is left to those who read it.
        states = ["current.json", "state-1", "state-2"]
        assert [part.name for part in folder.iterdir()] == ["catalog.json"][folder != maps :] + states
    before = s3.content("bucket/")
    assert "nothing new" in daily_text(daily(config, today=LATER))
    assert s3.content("bucket/") == before
    assert open_maps(maps).days.tolist() == open_maps(tmp_path / "m").days.tolist()
    with pytest.raises(InputError, match=r"product\.zarr: `daily` writes to it; give another"):
        predict(bundle, user / "cube.zarr", "2020-05-26", "2020-05-27", str(product))
    with pytest.raises(InputError, match=r"maps: `daily` writes to it; give another --out"):
        export(tmp_path / "p", str(maps))
    export(tmp_path / "p", str(there / "other"))
    with pytest.raises(
        InputError, match="other: `predict` or `export` made it; `daily` keeps a folder of its"
    ):
        daily(config, today=LATER, settings={"maps": str(there / "other")})


def _watch(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> list[bool]:
    """Whether the folders are as they were, while the next state of either is being made."""
    seen = []

    def watched(name: str) -> None:
        original = getattr(job, name)

        def run(*arguments: Any, **named: Any) -> Any:
            before = [_bytes(folder) for folder in folders]
            found = original(*arguments, **named)
            seen.append(before == [_bytes(folder) for folder in folders])
            return found

        monkeypatch.setattr(job, name, run)

    watched("predict_product")
    watched("export_product")
    return seen


def test_a_run_with_nothing_new_says_so_and_a_second_one_at_once_is_refused(
    region: Region, bundle: Path, tmp_path: Path
) -> None:
    config = _begin(region, bundle, tmp_path / "user", maps=None)
    region.deliver(tmp_path / "user", _after(4))
    with sole_writer(tmp_path / "user" / "product.zarr"), pytest.raises(InputError, match="another run"):
        daily(config, today=_after(4))
    assert not (tmp_path / "user" / "cube.zarr").exists()
    daily(config, today=_after(4))
    before = (tmp_path / "user" / "product.zarr").stat().st_ino, _bytes(tmp_path / "user")
    said = daily_text(daily(config, today=_after(4)))
    assert "nothing new on 2020-04-05; 2020-04-01 to 2020-04-04 mapped, 4 days provisional" in said
    with pytest.raises(InputError, match="holds maps up to 2020-04-04; expected --today on or after it"):
        daily(config, today=_after(2))
    assert ((tmp_path / "user" / "product.zarr").stat().st_ino, _bytes(tmp_path / "user")) == before


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"late": {"smop": 3}}, "late.smop: no source of cube.yaml, which has"),
        ({"late": {"smap": -1}}, "late.smap: expected 0 to 366 days"),
        ({"widen": {5: 0.5}}, "widen.5: expected a factor of 1 to 100, found 0.5"),
        ({"workers": 0}, "workers: Input should be greater than or equal to 1, found 0"),
        ({"start": "2020-02-30"}, "start"),
        ({"bundles": "x"}, "unknown key bundles; known keys are config, cube"),
        ({"config": "none.yaml"}, "none.yaml: no such configuration file"),
        ({"start": "2021-01-01"}, "the first map is wanted of 2021-01-01"),
    ],
)
def test_a_wrong_configuration_is_one_line(
    region: Region, bundle: Path, tmp_path: Path, keys: dict[str, Any], said: str
) -> None:
    config = _begin(region, bundle, tmp_path / "user", **keys)
    if keys.get("start") == "2021-01-01":
        region.deliver(tmp_path / "user", _after(4))
    with pytest.raises(InputError) as error:
        daily(config, today=_after(4))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_intervals_of_young_days_are_wider(region: Region, bundle: Path, tmp_path: Path) -> None:
    model = load_bundle(bundle)
    ends = (np.array([value]) for value in (0.3, -0.02, 0.02))
    table = IntervalTable(*ends, nominal=0.9, rows=100, stations=10)
    save_bundle(replace(model, interval=table), tmp_path / "bundle")
    user = tmp_path / "user"
    config = _begin(region, tmp_path / "bundle", user, maps=None, widen={3: 2.0})
    region.deliver(user, _after(8))
    daily(config, today=_after(8))
    product = open_product(user / "product.zarr")
    width = {}
    for day in product.days.tolist():
        found = product.read_day(day)
        valued = found["soil_moisture"] != -32768
        width[iso(day)] = np.median((found["upper"].astype(int) - found["lower"])[valued])
    assert to_day(_after(8)) - product.days[-1] == 1
    assert set(list(width.values())[-3:]) == {800}
    assert set(list(width.values())[:-3]) == {400}
