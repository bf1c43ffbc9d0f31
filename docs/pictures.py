"""Take the pictures of the gallery after ``make demo``: ``python docs/pictures.py out/demo`` (Chromium)."""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from mmnet_maps.prepare.cube.store import open_cube
from mmnet_maps.produce.extract.maps import open_maps
from mmnet_maps.show.server import listen, make_server
from mmnet_maps.show.site import Site

FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
OUT = Path(__file__).parent / "_static" / "gallery"


def settled(page: Page) -> None:
    """Wait until the picture that was asked for is on the screen."""
    page.wait_for_timeout(400)
    page.wait_for_selector("body[data-shown]:not([data-loading])", timeout=120_000)
    page.wait_for_timeout(400)


def take(page: Page, name: str) -> None:
    """Save a picture."""
    settled(page)
    page.screenshot(path=OUT / f"{name}.jpg", type="jpeg", quality=82)


def pictures(page: Page, address: str) -> None:
    """The page at work, on a wide screen."""
    page.goto(address)
    settled(page)
    page.click("#station-list button")
    page.wait_for_selector("#reading:not([hidden])")
    take(page, "page")
    page.select_option("#layer", label="quality")
    take(page, "quality")
    page.select_option("#layer", label="soil moisture")
    page.select_option("#compare", "difference")
    page.evaluate("document.querySelector('#day').value = 17")
    page.dispatch_event("#day", "input")
    take(page, "difference")


def main(demo: Path) -> None:
    """Serve the demo's maps and look at them."""
    OUT.mkdir(parents=True, exist_ok=True)
    site = Site(open_maps(demo / "maps"), demo / "validation", cube=open_cube(demo / "cube.zarr"))
    server = make_server(site)
    browser_at = shutil.which("chromium") or "chromium"
    with listen("127.0.0.1", 0) as at, sync_playwright() as driver:
        threading.Thread(target=server.run, kwargs={"sockets": [at]}, daemon=True).start()
        address = f"http://127.0.0.1:{at.getsockname()[1]}/"
        browser = driver.chromium.launch(executable_path=browser_at, args=FLAGS)
        pictures(browser.new_page(viewport={"width": 1280, "height": 800}), address)
        phone = browser.new_page(viewport={"width": 390, "height": 780}, has_touch=True)
        phone.goto(address)
        take(phone, "phone")
        report = browser.new_page(viewport={"width": 1000, "height": 1000})
        report.goto((demo / "report.html").resolve().as_uri())
        report.screenshot(path=OUT / "report.jpg", type="jpeg", quality=82)
        browser.close()
        server.should_exit = True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
