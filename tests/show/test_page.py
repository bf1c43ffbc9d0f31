"""The page in a real Chromium: a day is stepped, the map zoomed and clicked, the series read and compared."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmnet_maps.grid import Tile, pixels_at
from mmnet_maps.prepare.cube.store import open_cube
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.extract.maps import open_maps
from mmnet_maps.produce.judge.stations import validate_stations
from mmnet_maps.produce.judge.truth import CoarseField
from mmnet_maps.show.server import listen, make_server
from mmnet_maps.show.site import Site

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: Draws maps without a graphics card.
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
DRAWN = "body[data-shown='{}']:not([data-loading])"


def _kept(folder: Path, name: str) -> Path:
    """Where a screenshot goes: where MMNET_MAPS_SCREENSHOTS says, to be kept, or beside the test's files."""
    place = Path(os.environ.get("MMNET_MAPS_SCREENSHOTS", folder))
    place.mkdir(parents=True, exist_ok=True)
    return place / f"{name}.png"


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
def address(
    make_product: Callable[..., Any], make_cube: Callable[..., Any], tmp_path: Path
) -> Iterator[tuple[Any, str]]:
    from pyproj import Transformer

    product = make_product(days=3)
    export_product(product, tmp_path / "out")
    grid = product.grid
    back = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    lon, lat = back.transform(grid.x(np.array([30])), grid.y(np.array([20])))
    station = {"ID": "<b>s1", "Network": "N", "Latitude": lat[0], "Longitude": lon[0]}
    in_situ = pd.DataFrame([{**station, "Date": 20210601 + k, "VWC_5": 0.2 + 0.01 * k} for k in range(3)])
    validate_stations(product, in_situ, None, tmp_path / "validation")
    site = Site(open_maps(tmp_path / "out"), tmp_path / "validation", cube=make_cube())
    server = make_server(site)
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
    for _ in range(300):
        if page.evaluate("mapPage.map.getZoom()") > before + 0.9 and not page.evaluate(
            "mapPage.map.isMoving()"
        ):
            break
        page.wait_for_timeout(100)
    assert page.evaluate("mapPage.map.getZoom()") > before + 0.9
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
    # Rain and SMAP are those of the cell that holds the pixel.
    cube = open_cube(tmp_path / "cube.zarr")
    for name, column in (("pr", "precipitation_mm"), ("SMAP", "smap")):
        values = [
            CoarseField(cube, name).read(product.grid, day, Tile(row, col, 1, 1))[0, 0]
            for day in range(start, stop)
        ]
        np.testing.assert_allclose(table[column], values, atol=1e-5)
    assert page.locator("#rain canvas").is_visible()
    page.click("#as-table summary")
    page.wait_for_selector("#table tr:nth-child(4)")
    assert page.locator("#table tr").count() == 4
    shown = float(
        product.packing["soil_moisture"].decode(product.read("soil_moisture", start + 1, start + 2))[
            0, row, col
        ]
    )
    assert f"{shown:.3f}" in page.inner_text("#value") and "2021-06-02" in page.inner_text("#value")
    titles = {"width": "width of the interval", "quality": "quality", "SMAP": "SMAP in its own cells"}
    for layer in ("width", "quality", "SMAP", "age_optical"):
        page.select_option("#layer", label=titles.get(layer, "age of the optical input"))
        page.wait_for_selector(DRAWN.format(f"20210602/{layer}"), timeout=60_000)
    page.select_option("#layer", index=0)
    page.select_option("#compare", "difference")
    page.wait_for_selector(DRAWN.format("20210602/soil_moisture"), timeout=60_000)
    assert "minus 2021-06-01" in page.inner_text(".shown")
    # A station shows its measurements, and its name is text.
    page.click("#station-list button")
    page.wait_for_selector("#where:has-text('<b>s1')", timeout=60_000)
    validated = pd.read_csv(tmp_path / "validation" / "pairs.csv").query("Date == 20210602").iloc[0]
    off = validated["y_pred"] - validated["y_test"]
    assert f"{abs(off):.3f}" in page.inner_text("#station-list small")
    colour = page.evaluate("mapPage.map.querySourceFeatures('stations')[0].properties.residual")
    assert colour == pytest.approx(off, abs=1e-4)
    # Two layers side by side, in another unit.
    page.select_option("#compare", "swipe")
    page.select_option("#other-layer", label="SMAP in its own cells")
    page.select_option("#unit", "vol. %")
    assert "SMAP in its own cells" in page.inner_text("#other-shown")
    page.wait_for_selector(DRAWN.format("20210602/soil_moisture"), timeout=60_000)
    assert f"{100 * shown:.1f}" not in page.inner_text("#where") and "vol. %" in page.inner_text("#legend")
    page.screenshot(path=_kept(tmp_path, "desktop"))
    # The address brings back the view.
    kept = page.url
    page.close()
    page = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
    page.on("console", lambda line: wrong.append(line.text) if line.type in ("error", "warning") else None)
    page.goto(kept)
    page.wait_for_selector(DRAWN.format("20210602/soil_moisture"), timeout=60_000)
    page.wait_for_selector("#reading:not([hidden])", timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    state = page.evaluate("mapPage.state()")
    assert (state["compare"], state["unit"]) == ("swipe", "vol. %")
    assert state["site"]["layers"][state["otherLayer"]]["name"] == "SMAP"
    page.screenshot(path=_kept(tmp_path, "phone"), full_page=True)
    page.close()
    assert wrong == []


def test_a_click_reads_the_pixel_that_holds_the_point(browser: Any, address: tuple[Any, str]) -> None:
    product, url = address
    page = browser.new_page(viewport={"width": 1100, "height": 800})
    page.goto(url)
    page.wait_for_selector(DRAWN.format("20210601/soil_moisture"), timeout=60_000)
    random = np.random.default_rng(8)
    west, south, east, north = page.evaluate("mapPage.state().site.bounds")
    lon, lat = random.uniform(west, east, 400), random.uniform(south, north, 400)
    found = page.evaluate(
        """async (points) => {
          const { pixelAt } = await import("./point.js");
          return points.map(([lng, lat]) => pixelAt(mapPage.state().site, { lng, lat }) ?? [-1, -1]);
        }""",
        np.stack([lon, lat], 1).tolist(),
    )
    row, col = pixels_at(product.grid, lon, lat)
    assert (row >= 0).sum() > 300
    np.testing.assert_array_equal(found, np.stack([row, col], 1))
    page.close()


def test_the_keyboard_is_enough(browser: Any, address: tuple[Any, str]) -> None:
    page = browser.new_page(viewport={"width": 1100, "height": 800})
    page.goto(address[1])
    page.wait_for_selector(DRAWN.format("20210601/soil_moisture"), timeout=60_000)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press(".")
    page.wait_for_selector(DRAWN.format("20210602/soil_moisture"), timeout=60_000)
    page.focus(".maplibregl-canvas")
    page.keyboard.press("Enter")
    page.wait_for_selector("#reading:not([hidden])", timeout=60_000)
    page.focus("#day")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(DRAWN.format("20210603/soil_moisture"), timeout=60_000)
    assert page.get_attribute("#day", "aria-valuetext") == "2021-06-03"
    # Whatever can be operated has a name that a screen reader says.
    named = "one.labels?.length || one.ariaLabel || one.textContent.trim() || one.title"
    controls = "[...document.querySelectorAll('main button, main select, main input')]"
    nameless = page.evaluate(f"{controls}.filter((one) => !({named})).length")
    assert nameless == 0
    page.close()


def test_the_picture_on_the_screen_has_the_colours_of_the_values(
    browser: Any, address: tuple[Any, str]
) -> None:
    product, url = address
    page = browser.new_page(viewport={"width": 1100, "height": 800})
    page.goto(url)
    page.wait_for_selector(DRAWN.format("20210601/soil_moisture"), timeout=60_000)
    page.fill("#opacity", "100")
    page.wait_for_timeout(300)
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
