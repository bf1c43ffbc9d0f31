"""The map page: days, pictures and values of an export, on this machine alone."""

from __future__ import annotations

import http.client
import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from mmnet_maps.errors import InputError
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.show.viewer import make_server


@pytest.fixture
def site(make_product: Callable[..., Any], tmp_path: Path) -> Iterator[tuple[Any, int]]:
    product = make_product(days=2)
    export_product(product, tmp_path / "out")
    with make_server(tmp_path / "out") as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield product, server.server_port
        server.shutdown()
        thread.join()


def _get(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers={"Host": f"{host}:{port}"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_the_page_loads_nothing_from_elsewhere(site: tuple[Any, int]) -> None:
    status, body = _get(site[1], "/")
    assert status == 200 and b"//" not in body.replace(b"<!doctype", b"")
    about = json.loads(_get(site[1], "/about.json")[1])
    assert about["days"] == ["20210601", "20210602"]
    assert len(about["layers"]["quality"]["classes"]) == len(site[0].flags()) + 1


def test_a_picture_has_grey_where_values_are_missing(site: tuple[Any, int]) -> None:
    product, port = site
    stored = product.read_day(int(product.days[0]))
    for layer in ("soil_moisture", "width", "quality"):
        status, body = _get(port, f"/map/20210601/{layer}.png")
        assert status == 200
        picture = imread(io.BytesIO(body))[..., :3]
        assert picture.shape[:2] == product.grid.shape
        if layer != "quality":
            grey = (picture[..., 0] == picture[..., 1]) & (picture[..., 1] == picture[..., 2])
            np.testing.assert_array_equal(grey, stored["soil_moisture"] == -32768)


def test_the_value_at_a_place_is_that_of_the_product(site: tuple[Any, int]) -> None:
    product, port = site
    stored = product.read_day(int(product.days[1]))
    for row, col in ((10, 20), (95, 119), (0, 0)):
        x, y = (col + 0.5) / 120, (row + 0.5) / 96
        found = json.loads(_get(port, f"/value/20210602?x={x}&y={y}")[1])
        value = int(stored["soil_moisture"][row, col])
        assert found["soil_moisture"] == (None if value == -32768 else pytest.approx(value * 1e-4))
        bits = int(stored["quality"][row, col])
        assert found["quality"] == [n.replace("_", " ") for n, m in product.flags().items() if bits & m]
        assert -112 < found["longitude"] < -110 and 36 < found["latitude"] < 37
    assert json.loads(_get(port, "/value/20210602?x=1.5&y=0.5")[1]) == {}


@pytest.mark.parametrize(
    "path",
    [
        "/map/20210603/soil_moisture.png",
        "/map/20210601/other.png",
        "/map/..%2f..%2fetc/passwd.png",
        "/../../etc/passwd",
        "/value/20210601?x=a&y=0",
        "/value/20210601",
        "/value/20210601?x=nan&y=0",
    ],
)
def test_anything_else_is_not_found(site: tuple[Any, int], path: str) -> None:
    assert _get(site[1], path)[0] == 404


def test_another_host_name_is_refused(site: tuple[Any, int]) -> None:
    assert _get(site[1], "/about.json", host="evil.example")[0] == 403


def test_a_folder_without_exports_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no soil_moisture_YYYYMMDD\.tif"):
        make_server(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        make_server(tmp_path / "none")
