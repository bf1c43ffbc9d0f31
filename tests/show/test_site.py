"""What the map page fetches, over HTTP and as files, compared with the product."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import Transformer

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.extract.maps import open_maps
from mmnet_maps.show.server import listen, make_server, write_site
from mmnet_maps.show.site import BLOCK, SIDE, Site, policy


@pytest.fixture
def site(make_product: Callable[..., Any], tmp_path: Path) -> Iterator[tuple[Any, int, Path]]:
    product = make_product(days=2)
    export_product(product, tmp_path / "out")
    server = make_server(Site(open_maps(tmp_path / "out")))
    with listen("127.0.0.1", 0) as at:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [at]}, daemon=True)
        thread.start()
        while not server.started:
            thread.join(0.02)
        yield product, at.getsockname()[1], tmp_path / "out"
        server.should_exit = True
        thread.join(10)


def _get(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}
    connection.close()
    return found


def _array(body: bytes, dtype: Any) -> Any:
    return np.frombuffer(gzip.decompress(body), dtype).reshape(SIDE, SIDE)


def _position(product: Any, about: dict[str, Any], row: int, col: int) -> tuple[int, int, int, int, int]:
    """Tile of the last zoom, and the place in it, of the centre of a pixel; by the formula of web maps."""
    to_web = Transformer.from_crs(product.grid.crs, "EPSG:3857", always_xy=True)
    x, y = to_web.transform(product.grid.x(np.array([col]))[0], product.grid.y(np.array([row]))[0])
    world, z = 2 * np.pi * 6378137, about["zoom"][1]
    across, down = (x / world + 0.5) * 2**z, (0.5 - y / world) * 2**z
    return z, int(across), int(down), int(down % 1 * SIDE), int(across % 1 * SIDE)


def test_tiles_and_pixels_are_those_of_the_product(site: tuple[Any, int, Path]) -> None:
    product, port, _ = site
    about = json.loads(_get(port, "/about.json")[1])
    assert [day["date"] for day in about["days"]] == ["20210601", "20210602"]
    assert [layer["name"] for layer in about["layers"] if layer["drawn"]] == [
        "soil_moisture",
        "width",
        "quality",
    ]
    stored = product.read_day(int(product.days[1]))
    for row, col in ((10, 20), (95, 119), (0, 0), (50, 77)):
        z, x, y, down, across = _position(product, about, row, col)
        number = _array(_get(port, f"/pixels/{z}/{x}/{y}.bin")[1], "<i4")[down, across]
        near, beside = divmod(int(number), 120)
        assert abs(near - row) <= 1 and abs(beside - col) <= 1
        for layer, dtype in (("soil_moisture", "<i2"), ("quality", "<u4")):
            values = _array(_get(port, f"/tiles/{layer}/20210602/{z}/{x}/{y}.bin")[1], dtype)
            assert values[down, across] == stored[layer][near, beside]
        width = _array(_get(port, f"/tiles/width/20210602/{z}/{x}/{y}.bin")[1], "<i2")
        expected = 600 if stored["soil_moisture"][near, beside] != -32768 else -32768
        assert width[down, across] == expected


def test_the_colour_range_is_that_of_the_data(site: tuple[Any, int, Path]) -> None:
    product, port, _ = site
    layers = {layer["name"]: layer for layer in json.loads(_get(port, "/about.json")[1])["layers"]}
    stored = product.read("soil_moisture", product.layout.start, product.layout.stop)
    low, high = np.percentile(product.packing["soil_moisture"].decode(stored[stored != -32768]), [2, 98])
    assert layers["soil_moisture"]["range"] == pytest.approx([low, high], abs=0.012)


def test_a_block_of_series_holds_every_day(site: tuple[Any, int, Path]) -> None:
    product, port, _ = site
    body = gzip.decompress(_get(port, "/series/2/3.bin")[1])
    high, wide, offset = 32, 24, 0
    for layer in ("soil_moisture", "lower", "upper", "quality"):
        stored = product.read(layer, product.layout.start, product.layout.stop, slice(64, 96), slice(96, 120))
        part = np.frombuffer(body, stored.dtype, 2 * high * wide, offset).reshape(2, high, wide)
        np.testing.assert_array_equal(part, stored)
        offset += part.nbytes
    assert offset == len(body)


@pytest.mark.parametrize(
    "path",
    [
        "/tiles/soil_moisture/20210603/12/780/1600.bin",
        "/tiles/other/20210601/12/780/1600.bin",
        "/tiles/soil_moisture/20210601/40/1/1.bin",
        "/tiles/soil_moisture/20210601/3/9/1.bin",
        "/tiles/soil_moisture/20210601/3/-1/1.bin",
        "/tiles/soil_moisture/20210601/inf/nan/1.bin",
        "/pixels/99999999999999999999/1/1.bin",
        f"/pixels/{'9' * 5000}/1/1.bin",
        f"/series/{'9' * 5000}/0.bin",
        "/series/3/0.bin",
        "/..%2f..%2fetc/passwd",
        "/../../etc/passwd",
        "/vendor/../../__init__.py",
    ],
)
def test_anything_else_is_not_found(site: tuple[Any, int, Path], path: str) -> None:
    status, body, _ = _get(site[1], path)
    assert status == 404 and "error" in json.loads(body)


def test_headers_allow_nothing_from_elsewhere(site: tuple[Any, int, Path]) -> None:
    status, body, headers = _get(site[1], "/")
    assert status == 200 and b"@POLICY@" not in body and b"://" not in body
    said = headers["content-security-policy"]
    assert "unsafe" not in said and "default-src 'none'" in said and "frame-ancestors 'none'" in said
    assert _get(site[1], "/", "HEAD")[:2] == (200, b"")
    assert _get(site[1], "/", "POST")[0] == 405
    assert _get(site[1], "/", Host="evil.example")[0] == 400
    assert (
        _get(site[1], "/about.json", **{"If-None-Match": _get(site[1], "/about.json")[2]["etag"]})[0] == 304
    )
    assert "https://tiles.example" in policy("https://tiles.example/{z}/{x}/{y}.png")


def test_a_day_that_is_exported_again_is_shown(site: tuple[Any, int, Path], make_product: Any) -> None:
    product, port, out = site
    about = json.loads(_get(port, "/about.json")[1])
    z, x, y, _, _ = _position(product, about, 50, 60)
    path = f"/tiles/soil_moisture/20210601/{z}/{x}/{y}.bin"
    before, series = _get(port, path)[1], _get(port, "/series/1/1.bin")[1]
    export_product(make_product("again", days=2, seed=7), out.with_name("again-out"))
    name = "soil_moisture_20210601.tif"
    shutil.copy(out.with_name("again-out") / name, out / "part")
    (out / "part").replace(out / name)
    assert _get(port, path)[1] != before and _get(port, "/series/1/1.bin")[1] != series
    after = json.loads(_get(port, "/about.json")[1])
    assert after["version"] != about["version"] and after["days"][1] == about["days"][1]
    (out / name).write_bytes((out / name).read_bytes()[:2000])
    status, body, _ = _get(port, path)
    assert status == 500 and "not a readable export" in json.loads(body)["error"]


def test_200_requests_at_once_are_all_answered(site: tuple[Any, int, Path]) -> None:
    product, port, _ = site
    z, x, y, _, _ = _position(product, json.loads(_get(port, "/about.json")[1]), 50, 60)
    paths = [f"/tiles/{layer}/20210601/{z}/{x}/{y}.bin" for layer in ("soil_moisture", "width", "quality")]
    with ThreadPoolExecutor(200) as pool:
        found = list(pool.map(lambda k: _get(port, [*paths, "/", "/about.json"][k % 5])[0], range(200)))
    assert found == [200] * 200


def test_files_hold_what_the_server_answers(site: tuple[Any, int, Path], tmp_path: Path) -> None:
    _, port, out = site
    count = write_site(Site(open_maps(out)), tmp_path / "static")
    files = [path for path in (tmp_path / "static").rglob("*") if path.is_file()]
    assert count == {"files": len(files), "bytes": sum(path.stat().st_size for path in files)}
    for path in files:
        name = path.relative_to(tmp_path / "static").as_posix()
        if name == "about.json":
            assert json.loads(path.read_text()) | {"live": True} == json.loads(_get(port, "/about.json")[1])
        else:
            assert _get(port, f"/{name}")[1] == path.read_bytes(), name
    with pytest.raises(InputError, match="already there"):
        write_site(Site(open_maps(out)), tmp_path / "static")


@pytest.mark.parametrize("blocks", [1, 2, 5, 1000])
def test_every_block_is_written_once_from_windows_of_a_bounded_size(
    make_product: Any, monkeypatch: pytest.MonkeyPatch, blocks: int
) -> None:
    maps, sizes = open_maps(make_product(days=2).path), list[int]()
    monkeypatch.setattr("mmnet_maps.show.site._AT_ONCE", blocks * 2 * BLOCK**2)
    site, pixels = Site(maps), maps.pixels

    def noted(names: Any, begin: int, end: int, row: Any, col: Any) -> Any:
        sizes.append(row.size)
        return pixels(names, begin, end, row, col)

    monkeypatch.setattr(maps, "pixels", noted)
    found = list(site.blocks())
    assert sorted(sizes)[-1] <= blocks * BLOCK**2 and sum(sizes) == 96 * 120
    assert sorted((top, left) for top, left, _ in found) == [(t, k) for t in range(3) for k in range(4)]
    assert all(body == site.series(top, left) for top, left, body in found)


def test_a_product_and_a_published_store_are_shown_too(make_product: Any, tmp_path: Path) -> None:
    product = make_product(days=1)
    export_product(product, tmp_path / "out", store="shards")
    sources = (product.path, tmp_path / "out", tmp_path / "out" / "soil_moisture.zarr")
    made = [Site(open_maps(source)) for source in sources]
    z = made[0].zoom[1]
    x, y = next(iter(made[0].tiles(z)))
    for layer in ("soil_moisture", "width", "quality"):
        assert len({site.tile(layer, "20210601", z, x, y) for site in made}) == 1


def test_a_layer_without_overviews_is_drawn_near_alone(make_product: Any, tmp_path: Path) -> None:
    grid = Grid("EPSG:32612", (30.0, 0.0, 500_010.0, 0.0, -30.0, 4_000_020.0), 1500, 1600)
    product = make_product(grid=grid, days=1, tile=512, block_days=1)
    export_product(product, tmp_path / "out", store="shards")
    site = Site(open_maps(tmp_path / "out" / "soil_moisture.zarr"))
    assert len(site.maps.levels) > 2 and site.maps.depth("lower") == 1
    layers = {layer["name"]: layer for layer in site.about(live=False)["layers"]}
    assert layers["width"]["range"] == pytest.approx([0.06, 0.06], abs=0.011)
    for name in ("soil_moisture", "width"):
        first = layers[name]["minzoom"]
        x, y = next(iter(site.tiles(first)))
        assert _array(site.tile(name, "20210601", first, x, y), "<i2").max() > 0
    assert layers["soil_moisture"]["minzoom"] == site.zoom[0]


def test_what_cannot_be_shown_is_refused(make_product: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, message in (
        (tmp_path / "empty", "no soil_moisture_YYYYMMDD"),
        (tmp_path / "x", "no maps there"),
    ):
        with pytest.raises(InputError, match=message):
            Site(open_maps(source))
    maps = open_maps(make_product(days=1).path)
    with pytest.raises(InputError, match="not what `mmnet-maps validate` writes"):
        Site(maps, validation=tmp_path)
    with pytest.raises(InputError, match="--base-map"):
        Site(maps, base_map="javascript:alert(1)")
    with listen("127.0.0.1", 0) as taken, pytest.raises(InputError, match="cannot be used"):
        taken.listen()
        listen("127.0.0.1", taken.getsockname()[1])


def test_a_request_that_never_becomes_whole_is_closed(
    site: tuple[Any, int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmnet_maps.show.server._REQUEST_S", 0.4)
    whole = b"GET /about.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for before in (b"", whole):
        with socket.create_connection(("127.0.0.1", site[1]), timeout=20) as line:
            line.sendall(before + b"GET / HT")
            began, answered = time.monotonic(), b""
            with contextlib.suppress(OSError):
                # A byte now and then does not keep it open.
                for _ in range(40):
                    line.settimeout(0.1)
                    with contextlib.suppress(TimeoutError):
                        part = line.recv(1 << 20)
                        answered += part
                        if not part:
                            break
                    line.sendall(b"T")
            assert time.monotonic() - began < 3
            assert answered.startswith(b"HTTP/1.1 200" if before else b"")
    assert _get(site[1], "/")[0] == 200


def test_days_that_are_exported_later_appear(
    site: tuple[Any, int, Path], make_product: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, port, out = site
    monkeypatch.setattr("mmnet_maps.show.server._RENEW_S", 0.0)
    before = json.loads(_get(port, "/about.json")[1])
    export_product(make_product("later", days=1, start="2021-06-03"), out)
    after = json.loads(_get(port, "/about.json")[1])
    assert [day["date"] for day in after["days"]] == ["20210601", "20210602", "20210603"]
    assert after["days"][:2] == before["days"] and after["version"] != before["version"]
    z, x, y = before["zoom"][1], *next(iter(Site(open_maps(out)).tiles(before["zoom"][1])))
    assert _get(port, f"/tiles/width/20210603/{z}/{x}/{y}.bin")[0] == 200
    body = gzip.decompress(_get(port, "/series/0/0.bin")[1])
    assert len(body) == 3 * 32 * 32 * (2 + 2 + 2 + 4)


def test_a_day_replaced_while_it_is_read_is_one_of_both(
    site: tuple[Any, int, Path], make_product: Any
) -> None:
    product, port, out = site
    about = json.loads(_get(port, "/about.json")[1])
    z, x, y, _, _ = _position(product, about, 50, 60)
    path = f"/tiles/soil_moisture/20210601/{z}/{x}/{y}.bin"
    export_product(make_product("again", days=2, seed=7), out.with_name("again-out"))
    name = "soil_moisture_20210601.tif"
    files = [
        shutil.copy(folder / name, out.parent / f"{k}.tif")
        for k, folder in enumerate((out, out.with_name("again-out")))
    ]
    states = []
    for file in files:
        shutil.copy(file, out / "part")
        (out / "part").replace(out / name)
        states.append(_get(port, path)[1])
    assert states[0] != states[1]
    stop = threading.Event()

    def replace() -> None:
        while not stop.is_set():
            for file in files:
                shutil.copy(file, out / "part")
                (out / "part").replace(out / name)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: _get(port, path), range(100)))
    finally:
        stop.set()
        writer.join()
    assert all(status == 200 and body in states for status, body, _ in found)
    shutil.copy(files[0], out / "part")
    (out / "part").replace(out / name)
    assert _get(port, path)[1] == states[0]
