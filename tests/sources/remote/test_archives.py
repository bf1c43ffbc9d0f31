"""A cube from an archive over HTTP is the cube of the same files here, whatever happens on the way."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np
import pytest
import rasterio
import yaml
import zarr

sys.path.insert(0, str(Path(__file__).parent))

from archive_standin import ArchiveStandIn

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.jobs.cubes import build_cube
from mmnet_maps.source_reader import HttpConfig, SourceConfig
from mmnet_maps.sources.remote.http import Http
from mmnet_maps.sources.remote.listing import Scope, list_files

UTM, WEST, NORTH, SIDE, DAYS = "EPSG:32614", 500_010.0, 4_000_020.0, 1024, ("2020-06-01", "2020-06-09")
#: A quarter of the tile, away from its corner.
BOX = (WEST + 4_000, NORTH - 18_000, WEST + 18_000, NORTH - 4_000)
LONLAT = [-99.0, 35.5, -98.2, 36.2]
FAST = {"first_wait_s": 0.01, "longest_wait_s": 0.05, "requests_per_second": 5000.0, "timeout_s": 5.0}
BANDS = {"HLSL30_2.0": {"NIR": "B05"}, "HLSS30_2.0": {"NIR": "B8A"}}


def cog(path: Path, values: np.ndarray, nodata: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff", "height": SIDE, "width": SIDE, "count": 1, "dtype": values.dtype, "crs": UTM,
        "transform": rasterio.Affine(30, 0, WEST, 0, -30, NORTH), "nodata": nodata,
        "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(values, 1)
        if values.dtype == np.int16:
            file.scales = (1e-4,)
    return path


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes of two collections, two of them on one day, and two years of weather."""
    root, random = tmp_path_factory.mktemp("archive"), np.random.default_rng(3)
    scenes = (("L30", "2020153", "B05"), ("S30", "2020153", "B8A"), ("L30", "2020161", "B05"))
    for product, day, band in scenes:
        name = f"HLS.{product}.T14SNE.{day}T170000.v2.0"
        values = random.integers(100, 5000, (SIDE, SIDE)).astype(np.int16)
        values[random.random(values.shape) < 0.1] = -9999
        cog(root / f"hls/{name}.{band}.tif", values, -9999)
        flags = random.choice(np.array([0, 2, 8, 64], np.uint8), (SIDE, SIDE), p=[0.7, 0.1, 0.1, 0.1])
        cog(root / f"hls/{name}.Fmask.tif", flags, 255)
    lat, lon = 37 - np.arange(60) / 24, -100 + np.arange(80) / 24
    (root / "gridmet").mkdir()
    for name in ("pr", "pet"):
        days = np.arange(366)
        stored = random.integers(0, 300, (366, lat.size, lon.size)).astype(np.uint16)
        with h5netcdf.File(root / f"gridmet/{name}_2020.nc", "w") as file:
            file.dimensions = {"day": days.size, "lat": lat.size, "lon": lon.size}
            for axis, values, unit in (
                ("day", days, "days since 2020-01-01"),
                ("lat", lat, "degrees_north"),
                ("lon", lon, "degrees_east"),
            ):
                file.create_variable(axis, (axis,), data=values).attrs["units"] = unit
            made = file.create_variable(
                f"{name}_amount",
                ("day", "lat", "lon"),
                data=stored,
                chunks=(30, 20, 20),
                fillvalue=np.uint16(32767),
            )
            made.attrs.update({"units": "mm", "scale_factor": 0.1})
    return root


def with_items(server: ArchiveStandIn) -> ArchiveStandIn:
    for path in sorted((server.root / "hls").glob("*.B*.tif")):
        name, band = path.name.rsplit(".", 2)[0], path.name.split(".")[-2]
        collection = "HLSL30_2.0" if ".L30." in name else "HLSS30_2.0"
        day = str(np.datetime64("2020-01-01") + int(name.split(".")[3][4:7]) - 1)
        flags = path.with_name(f"{name}.Fmask.tif")
        server.add(name, collection, day, LONLAT, **{band: path, "Fmask": flags})
    return server


@pytest.fixture
def archive(originals: Path) -> Any:
    with ArchiveStandIn(originals) as server:
        yield with_items(server)


def settings(server: ArchiveStandIn, sign: str = "none", **hls: Any) -> dict[str, Any]:
    return {
        "region": {"box": list(BOX), "crs": UTM},
        "grid": {"crs": UTM, "resolution": 30},
        "start": DAYS[0],
        "end": DAYS[1],
        "http": {**FAST, "sign_url": f"{server.url}/sign", "login_url": server.url},
        "sources": {
            "hls": {
                "kind": "stac",
                "api": f"{server.url}/stac",
                "collections": BANDS,
                "sign": sign,
                "mask": {"file": "Fmask", "clear_bits": [1, 3]},
                "variables": ["NIR"],
                **hls,
            },
            "gridmet": {
                "kind": "http",
                "url": f"{server.url}/files/gridmet/{{variable}}_{{year}}.nc",
                "sign": sign,
                "variables": {"pr": {}, "eto": {"file": "pet"}},
            },
        },
    }


def local(root: Path) -> dict[str, Any]:
    return {
        "hls": {
            "path": str(root / "hls"),
            "pattern": r"HLS\.{collection}\.T\w{5}\.(?P<date>\d{7})T\d{6}\.v2\.0\.{variable}\.tif",
            "collections": {"L30": {"NIR": "B05"}, "S30": {"NIR": "B8A"}},
            "mask": {"file": "Fmask", "clear_bits": [1, 3]},
            "variables": ["NIR"],
        },
        "gridmet": {
            "path": str(root / "gridmet"),
            "pattern": r"{variable}_\d{4}\.nc",
            "variables": {"pr": {}, "eto": {"file": "pet"}},
        },
    }


def build(folder: Path, data: dict[str, Any], name: str = "cube") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(data))
    build_cube(folder / f"{name}.yaml", folder / f"{name}.zarr", workers=2)
    return folder / f"{name}.zarr"


def contents(cube: Path) -> dict[str, bytes]:
    """Every file of a cube but the ledgers of what it was made from."""
    ledgers = {"made_from", "day_made_from"}
    files = (p for p in sorted(cube.rglob("*")) if p.is_file() and not ledgers & set(p.parts))
    return {str(p.relative_to(cube)): p.read_bytes() for p in files}


@pytest.fixture(scope="session")
def here(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("here")
    with ArchiveStandIn(originals) as server:
        return contents(build(folder, {**settings(server), "sources": local(originals)}))


def needed(root: Path) -> int:
    """Bytes of the tiles and chunks that the region lies in, and of the files' directories."""
    total = 0
    for path in (root / "hls").glob("*.tif"):
        with rasterio.open(path) as file:
            window = file.window(*BOX)
            rows = range(int(window.row_off) // 256, -(-int(window.row_off + window.height) // 256))
            cols = range(int(window.col_off) // 256, -(-int(window.col_off + window.width) // 256))
            tags = [file.tags(1, ns="TIFF").get(f"BLOCK_SIZE_{c}_{r}") for r in rows for c in cols]
            sizes = [
                int(t) if t else int(file.get_tag_item(f"BLOCK_SIZE_{c}_{r}", "TIFF", bidx=1) or 0)
                for t, (r, c) in zip(tags, [(r, c) for r in rows for c in cols], strict=True)
            ]
            total += sum(sizes) + 8192
    return total


def test_the_cube_of_an_archive_is_the_cube_of_its_files(
    archive: ArchiveStandIn, here: dict[str, bytes], originals: Path, tmp_path: Path
) -> None:
    cube = build(tmp_path, settings(archive))
    assert contents(cube) == here
    stored = np.asarray(zarr.open_array(cube / "hls/NIR", mode="r")[:])
    assert stored.shape[0] == 2 and (stored != -9999).mean() > 0.5
    scenes = sum(n for path, n in archive.given.items() if "/hls/" in path)
    assert scenes <= 1.3 * needed(originals), (scenes, needed(originals))
    assert scenes < 0.75 * sum(p.stat().st_size for p in (originals / "hls").glob("*.tif"))
    # No byte is given out twice.
    for path in archive.given:
        spans = sorted((a, b) for p, a, b in archive.spans if p == path)
        assert all(b <= c for (_, b), (c, _) in pairwise(spans)), path
    # What is up to date asks for the listing, and whether files without a stamp have changed: for no value.
    before, asked = sum(archive.given.values()), len(archive.seen)
    build(tmp_path, settings(archive))
    assert sum(archive.given.values()) == before
    assert {m for m, p, _ in archive.seen[asked:] if p.startswith("/files")} == {"HEAD"}


def _now_and_then(*kinds: Any) -> Callable[[str, int], Any]:
    """Every file fails in each of these ways, one after the other, before it is given."""
    return lambda path, number: kinds[number] if number < len(kinds) else None


@pytest.mark.parametrize("kinds", [(429, 503), ("reset",), ("short",), ("wrong", 500)])
def test_passing_failures_change_nothing(
    archive: ArchiveStandIn, here: dict[str, bytes], tmp_path: Path, kinds: tuple[Any, ...]
) -> None:
    archive.faults = _now_and_then(*kinds)
    assert contents(build(tmp_path, settings(archive))) == here


def test_signatures_are_renewed_in_mid_run(
    archive: ArchiveStandIn, here: dict[str, bytes], tmp_path: Path
) -> None:
    archive.guard, archive.lives = "signature", 12
    data = settings(archive, "planetary")
    del data["sources"]["gridmet"]
    cube = build(tmp_path, data)
    assert archive.issued > 2
    assert {k: v for k, v in contents(cube).items() if k.startswith("hls/c") or "NIR" in k} == {
        k: v for k, v in here.items() if "NIR" in k
    }


def test_tokens_are_renewed_with_name_and_password(
    archive: ArchiveStandIn, here: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("EARTHDATA_TOKEN", "of last year")
    archive.users = {"Basic " + base64.b64encode(b"someone:secret").decode(): "ok"}
    archive.guard, archive.lives = "token", 20
    assert contents(build(tmp_path / "w", settings(archive, "earthdata"))) == here
    assert archive.issued > 2
    # The password goes to the sign-in alone.
    assert archive.count("find_or_create_token") == archive.issued


def test_links_to_another_store_get_no_token_and_are_kept_while_they_open(
    archive: ArchiveStandIn, here: dict[str, bytes], originals: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("EARTHDATA_TOKEN", archive.issue())
    archive.guard, archive.left = "token", 10**9
    with ArchiveStandIn(originals, guard="link", lives=3) as store:
        archive.store = store
        assert contents(build(tmp_path / "a", settings(archive, "earthdata"))) == here
        asked = [p for _, p, _ in archive.seen if p.startswith("/files")]
        opened = [p for _, p, _ in store.seen]
        # The store never sees the token; a link is asked again only when it has ended.
        assert not any("Authorization" in h for h in store.headers)
        assert len(opened) > 1.5 * len(asked) and max(Counter(opened).values()) == 4
        monkeypatch.setenv("EARTHDATA_TOKEN", "of last year")
        with pytest.raises(InputError, match=r"refused with status 401.*put a new one into EARTHDATA_TOKEN"):
            build(tmp_path / "b", settings(archive, "earthdata"))


def test_a_search_across_180_degrees_is_two_and_finds_each_item_once(tmp_path: Path) -> None:
    with ArchiveStandIn(tmp_path) as server:
        (tmp_path / "a.tif").touch()
        for name, box in (("east", [179, -18, 180, -16]), ("west", [-180, -18, -179, -16])):
            server.add(name, "C", "2020-06-01", [float(v) for v in box], data=tmp_path / "a.tif")
        server.add("both", "C", "2020-06-01", [-180.0, -18.0, 180.0, -16.0], data=tmp_path / "a.tif")
        keys = {"kind": "stac", "api": f"{server.url}/stac", "collections": {"C": {"pr": "data"}}}
        http = Http(HttpConfig.from_mapping(FAST))
        scope = Scope((179.9, -17.0, -179.9, -16.9), None, None)
        found = list_files("it", SourceConfig.from_mapping(keys), http, scope)
        http.close()
    assert sorted(f.scene for f in found) == ["C/both", "C/east", "C/west"]
    assert server.count("/search") == 2


def test_a_mirror_is_asked_instead(archive: ArchiveStandIn, here: dict[str, bytes], tmp_path: Path) -> None:
    data = settings(archive)
    data["http"]["mirrors"] = {"https://archive.example/": f"{archive.url}/files/"}
    data["sources"]["gridmet"]["url"] = "https://archive.example/gridmet/{variable}_{year}.nc"
    assert contents(build(tmp_path, data)) == here


def test_a_token_that_has_ended_is_one_clear_line(
    archive: ArchiveStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    archive.guard = "token"
    monkeypatch.setenv("EARTHDATA_TOKEN", "of last year")
    with pytest.raises(InputError, match=r"refused with status 401.*put a new one into EARTHDATA_TOKEN"):
        build(tmp_path / "a", settings(archive, "earthdata"))
    monkeypatch.delenv("EARTHDATA_TOKEN")
    with pytest.raises(InputError, match="no Earthdata sign-in: set EARTHDATA_TOKEN"):
        build(tmp_path / "b", settings(archive, "earthdata"))


def test_an_archive_that_stays_away_is_one_line_and_what_is_there_goes_on(
    archive: ArchiveStandIn, here: dict[str, bytes], tmp_path: Path
) -> None:
    archive.faults = lambda path, number: 503 if "gridmet/pr" in path and number > 2 else None
    with pytest.raises(WorkError, match=r"pr_2020\.nc: no answer in 6 attempts, the last: status 503"):
        build(tmp_path, settings(archive))
    asked = {f"/files/{p.relative_to(archive.root)}" for p in (archive.root / "hls").iterdir()}
    given = sum(archive.given[p] for p in asked)
    archive.faults = lambda path, number: None
    assert contents(build(tmp_path, settings(archive))) == here
    again = sum(archive.given[p] for p in asked) - given
    # What a stopped job has fetched is not fetched again, and is gone when the job is done.
    assert again + given <= 1.3 * needed(archive.root)
    assert not list((tmp_path / ".mmnet-maps/values").iterdir())


def test_a_replaced_or_late_item_redoes_its_days_alone(originals: Path, tmp_path: Path) -> None:
    root = tmp_path / "archive"
    for path in originals.rglob("*"):
        if path.is_file():
            (root / path.relative_to(originals)).parent.mkdir(parents=True, exist_ok=True)
            (root / path.relative_to(originals)).write_bytes(path.read_bytes())
    with ArchiveStandIn(root) as server:
        with_items(server)
        data = settings(server)
        cube = build(tmp_path / "w", data)
        ledger = np.asarray(zarr.open_array(cube / "hls/made_from", mode="r")[:])
        item = next(i for i in server.items if "2020161" in i["id"])
        values = np.full((SIDE, SIDE), 777, np.int16)
        cog(root / f"hls/{item['id']}.B05.tif", values, -9999)
        item["properties"]["updated"] = "2020-07-01T00:00:00Z"
        server.seen.clear()
        build(tmp_path / "w", data)
        touched = {p.split("?")[0] for _, p, r in server.seen if p.startswith("/files/hls") and r}
        assert touched == {f"/files/hls/{item['id']}.{band}.tif" for band in ("B05", "Fmask")}
        assert not np.array_equal(ledger, np.asarray(zarr.open_array(cube / "hls/made_from", mode="r")[:]))
        found = np.asarray(zarr.open_array(cube / "hls/NIR", mode="r")[1])
        assert set(np.unique(found)) == {-9999, 777}
        # A scene that comes late, between days that are there: they move, and are not asked for.
        late = item["id"].replace("2020161", "2020157")
        paths = {band: cog(root / f"hls/{late}.{band}.tif", values, -9999) for band in ("B05",)}
        paths["Fmask"] = cog(root / f"hls/{late}.Fmask.tif", np.zeros_like(values, np.uint8), 255)
        server.add(late, item["collection"], "2020-06-05", LONLAT, **paths)
        server.seen.clear()
        build(tmp_path / "w", data)
        touched = {p.split("?")[0] for _, p, r in server.seen if p.startswith("/files") and r}
        assert touched == {f"/files/hls/{late}.{band}.tif" for band in ("B05", "Fmask")}
        assert contents(cube) == contents(build(tmp_path / "anew", data))
        # What is damaged in the cube is read from the archive.
        (shard,) = (cube / "hls/NIR").rglob("c/0/0/0")
        shard.write_bytes(shard.read_bytes()[:-9] + b"something")
        item["properties"]["updated"] = "2020-07-02T00:00:00Z"
        build(tmp_path / "w", data)
        assert contents(cube) == contents(tmp_path / "anew/cube.zarr")


def test_a_server_without_ranges_gives_whole_files(
    archive: ArchiveStandIn, here: dict[str, bytes], tmp_path: Path
) -> None:
    archive.ranges = False
    assert contents(build(tmp_path, settings(archive))) == here
    assert max(archive.count(f"/files/{p}") for p in ("hls/HLS.L30.T14SNE.2020153T170000.v2.0.B05",)) == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"collections": {"HLSL30_2.0": {"NIR": "B99"}}}, "has no asset B99 for NIR; it has B05, Fmask"),
        ({"collections": {"OTHER": {"NIR": "B05"}}}, r"has nothing over the region .* from 2020-06-01"),
        ({"kind": "stac", "api": None}, "kind stac needs api and collections"),
        ({"collections": {"HLSL30_2.0": {"Red": "B04"}}}, "Red: not among the variables of the source"),
    ],
)
def test_what_an_archive_lacks_is_named(
    archive: ArchiveStandIn, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        build(tmp_path, settings(archive, **change))


def test_a_file_that_is_not_there_is_named(archive: ArchiveStandIn, tmp_path: Path) -> None:
    data = settings(archive)
    data["sources"]["gridmet"]["variables"]["eto"] = {"file": "eto"}
    with pytest.raises(InputError, match=r"gridmet/eto_2020\.nc: nothing is there"):
        build(tmp_path, data)


def test_checksums_are_sha256() -> None:
    from mmnet_maps.sources.remote.download import sha256

    assert sha256(Path(__file__)) == hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def test_fetched_files_build_the_same_cube_without_a_network(
    archive: ArchiveStandIn, here: dict[str, bytes], tmp_path: Path
) -> None:
    from mmnet_maps.jobs.fetch import fetch

    (tmp_path / "cube.yaml").write_text(yaml.safe_dump(settings(archive)))
    stopped = {"on": True}
    archive.faults = lambda path, number: 500 if stopped["on"] and "pet_2020" in path and number > 0 else None
    with pytest.raises(WorkError, match=r"pet_2020\.nc: no answer"):
        fetch(tmp_path / "cube.yaml", tmp_path / "files")
    stopped["on"], given = False, dict(archive.given)
    found = fetch(tmp_path / "cube.yaml", tmp_path / "files")
    # Nothing that is here is asked for again.
    assert archive.given["/files/gridmet/pr_2020.nc"] == given["/files/gridmet/pr_2020.nc"]
    assert found["files"] == 8 and found["downloaded"] == 7
    assert fetch(tmp_path / "cube.yaml", tmp_path / "files")["downloaded"] == 0
    asked = len(archive.seen)
    build_cube(tmp_path / "files/cube.yaml", tmp_path / "files/cube.zarr", workers=2)
    assert len(archive.seen) == asked and contents(tmp_path / "files/cube.zarr") == here
