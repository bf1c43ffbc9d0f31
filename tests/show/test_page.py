"""The page in a real Chromium: a day is stepped, the map zoomed and clicked, the series read and compared."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.extract.maps import open_maps
from mmnet_maps.produce.judge.stations import validate_stations
from mmnet_maps.show.server import listen, make_server
from mmnet_maps.show.site import Site

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: Draws maps without a graphics card.
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
DRAWN = "body[data-shown='{}']:not([data-loading])"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def address(make_product: Callable[..., Any], tmp_path: Path) -> Iterator[tuple[Any, str]]:
    from pyproj import Transformer

    product = make_product(days=3)
    export_product(product, tmp_path / "out")
    grid = product.grid
    back = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    lon, lat = back.transform(grid.x(np.array([30])), grid.y(np.array([20])))
    station = {"ID": "<b>s1", "Network": "N", "Latitude": lat[0], "Longitude": lon[0]}
    in_situ = pd.DataFrame([{**station, "Date": 20210601 + k, "VWC_5": 0.2 + 0.01 * k} for k in range(3)])
    validate_stations(product, in_situ, None, tmp_path / "validation")
    server = make_server(Site(open_maps(tmp_path / "out"), tmp_path / "validation"))
    with listen("127.0.0.1", 0) as at:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [at]}, daemon=True)
        thread.start()
        while not server.started:
            thread.join(0.02)
        yield product, f"http://127.0.0.1:{at.getsockname()[1]}/"
        server.should_exit = True
        thread.join(10)


def test_a_visitor_steps_zooms_clicks_and_reads(
    browser: Any, address: tuple[Any, str], tmp_path: Path
) -> None:
    product, url = address
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    wrong: list[str] = []
    page.on("console", lambda line: wrong.append(line.text) if line.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(url)
    page.wait_for_selector(DRAWN.format("20210601/soil_moisture"), timeout=60_000)
    page.click("#after")
    page.wait_for_selector(DRAWN.format("20210602/soil_moisture"), timeout=60_000)
    assert page.inner_text("#shown-day") == "2021-06-02"
    before = page.evaluate("mapPage.map.getZoom()")
    page.click(".maplibregl-ctrl-zoom-in")
    page.wait_for_timeout(600)
    assert page.evaluate("mapPage.map.getZoom()") > before + 0.5
    page.locator("#map").click(position={"x": 420, "y": 360})
    page.wait_for_selector("#reading:not([hidden])", timeout=60_000)
    read = page.evaluate("({ row: mapPage.state().reading.row, col: mapPage.state().reading.col })")
    row, col = read["row"], read["col"]
    with page.expect_download() as saved:
        page.click("#csv")
    saved.value.save_as(tmp_path / "series.csv")
    table = pd.read_csv(tmp_path / "series.csv")
    start, stop = product.layout.start, product.layout.stop
    for name, column in (("soil_moisture", "estimate"), ("lower", "lower"), ("upper", "upper")):
        stored = product.read(name, start, stop)[:, row, col]
        np.testing.assert_allclose(table[column], product.packing[name].decode(stored), atol=1e-6)
    np.testing.assert_array_equal(table["quality"], product.read("quality", start, stop)[:, row, col])
    shown = float(
        product.packing["soil_moisture"].decode(product.read("soil_moisture", start + 1, start + 2))[
            0, row, col
        ]
    )
    assert f"{shown:.3f}" in page.inner_text("#value") and "2021-06-02" in page.inner_text("#value")
    for layer in ("width", "quality"):
        page.select_option("#layer", label={"width": "width of the interval", "quality": "quality"}[layer])
        page.wait_for_selector(DRAWN.format(f"20210602/{layer}"), timeout=60_000)
    page.select_option("#layer", index=0)
    page.select_option("#compare", "difference")
    page.wait_for_selector(DRAWN.format("20210602/soil_moisture"), timeout=60_000)
    assert "minus 2021-06-01" in page.inner_text(".shown")
    # A station shows its measurements, and its name is text.
    page.click("#station-list button")
    page.wait_for_selector("#where:has-text('<b>s1')", timeout=60_000)
    # The address brings back the view.
    kept = page.url
    page.close()
    page = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
    page.on("console", lambda line: wrong.append(line.text) if line.type in ("error", "warning") else None)
    page.goto(kept)
    page.wait_for_selector(DRAWN.format("20210602/soil_moisture"), timeout=60_000)
    page.wait_for_selector("#reading:not([hidden])", timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert json.loads(page.evaluate("JSON.stringify(mapPage.state().compare)")) == "difference"
    page.close()
    assert wrong == []


def test_the_picture_on_the_screen_has_the_colours_of_the_values(
    browser: Any, address: tuple[Any, str]
) -> None:
    product, url = address
    page = browser.new_page(viewport={"width": 1100, "height": 800})
    page.goto(url)
    page.wait_for_selector(DRAWN.format("20210601/soil_moisture"), timeout=60_000)
    stored = product.read_day(int(product.days[0]))["soil_moisture"]
    grid = product.grid
    # Grey is missing, anything else is a value: looked up on the screenshot at the centres of pixels.
    from io import BytesIO

    from matplotlib.image import imread
    from pyproj import Transformer

    picture = imread(BytesIO(page.locator("#map").screenshot()), format="png")[..., :3]
    back = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    agreed = 0
    places = [(row, col) for row in range(16, 90, 6) for col in range(30, 110, 6)]
    for row, col in places:
        lon, lat = back.transform(grid.x(np.array([col]))[0], grid.y(np.array([row]))[0])
        x, y = page.evaluate(f"(({{x, y}}) => [x, y])(mapPage.map.project([{lon}, {lat}]))")
        red, green, blue = picture[round(y), round(x)]
        grey = abs(red - green) < 0.02 and abs(green - blue) < 0.02
        agreed += grey == (stored[row, col] == -32768)
    page.close()
    assert agreed / len(places) > 0.9
