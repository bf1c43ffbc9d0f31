"""Tiles of the map page over 10,000 x 10,000 pixels: time of each, and of 200 requests at once.

``python -m tests.benchmarks.bench_tiles [--side 10000] [--tiles 60]``. A made-up day is exported with its
overviews; a server answers requests for tiles at random places and zooms, none asked for before. The first
few are not counted: they load libraries. Peak memory is that of this process, with the making of the maps.
"""

from __future__ import annotations

import argparse
import http.client
import json
import resource
import shutil
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from mmnet_maps.grid import Grid
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.extract.maps import open_maps
from mmnet_maps.produce.product.create import create_product
from mmnet_maps.produce.product.ledger import Entry
from mmnet_maps.produce.product.objects import day_digests
from mmnet_maps.produce.units import Layout
from mmnet_maps.show.server import listen, make_server
from mmnet_maps.show.site import Site

_DAY = 18_414  # 2020-06-01


def make_maps(folder: Path, side: int) -> Path:
    """A day of `side` x `side` pixels, exported as COGs and as a store."""
    grid = Grid("EPSG:32614", (30.0, 0.0, 400_000.0, 0.0, -30.0, 4_200_000.0), side, side)
    layout = Layout(grid, _DAY, _DAY + 1, 1024, 1)
    product = create_product(folder / "product.zarr", layout, {"bundle": "b", "catalogue": "c"})
    random = np.random.default_rng(1)
    for unit in layout.units():
        shape = 1, unit.tile.height, unit.tile.width
        wave = np.add.outer(np.arange(shape[1]), np.arange(shape[2])) % 997
        moisture = (1200 + wave + random.integers(0, 300, shape)).astype(np.int16)
        values: dict[str, Any] = {"soil_moisture": moisture, "lower": moisture - 300, "upper": moisture + 300}
        values["quality"] = np.where(random.random(shape) < 0.1, 256, 0).astype(np.uint32)
        outputs, days = product.write_unit(unit, values), day_digests(values)
        product.ledger.write(unit.key, Entry(unit.first, unit.stop, {"bundle": "b"}, outputs, days=days))
    export_product(product, folder / "maps", store="shards")
    shutil.rmtree(folder / "product.zarr")
    return folder / "maps"


def _get(connection: http.client.HTTPConnection, path: str) -> tuple[int, int]:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, len(answer.read())


def measure(source: Path, tiles: int) -> str:
    """Times of single tiles, and of 200 requests at once, as a line."""
    server = make_server(Site(open_maps(source)))
    with listen("127.0.0.1", 0) as at:
        port = at.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [at]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/about.json")
        about = json.loads(connection.getresponse().read())
        paths = _paths(about, tiles + 208)
        for path in paths[:8]:
            _get(connection, path)
        taken, used = [], time.process_time()
        for path in paths[8 : tiles + 8]:
            began = time.perf_counter()
            status, _ = _get(connection, path)
            assert status == 200, path
            taken.append(1000 * (time.perf_counter() - began))

        used = 1000 * (time.process_time() - used) / len(taken)

        def single(path: str) -> int:
            own = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            return _get(own, path)[0]

        began = time.perf_counter()
        with ThreadPoolExecutor(200) as pool:
            statuses = list(pool.map(single, paths[tiles + 8 :]))
        together = time.perf_counter() - began
        server.should_exit = True
        thread.join(10)
    middle, most, largest = np.percentile(taken, [50, 95, 100])
    good = statuses.count(200)
    return (
        f"{source.name}: {len(taken)} tiles, median {middle:.0f} ms, 95 % within {most:.0f} ms, slowest "
        f"{largest:.0f} ms, processor {used:.0f} ms a tile; {len(statuses)} at once: {good} answered in "
        f"{together:.1f} s"
    )


def _paths(about: dict[str, Any], count: int) -> list[str]:
    """Different tiles of every layer, at random zooms and places."""
    random = np.random.default_rng(5)
    date = about["days"][0]["date"]
    west, south, east, north = about["bounds"]
    layers = [layer for layer in about["layers"] if layer["drawn"]]
    found: dict[str, None] = {}
    while len(found) < count:
        layer = layers[random.integers(len(layers))]
        z = int(random.integers(layer["minzoom"], about["zoom"][1] + 1))
        lon, lat = random.uniform(west, east), random.uniform(south, north)
        x = int((lon / 360 + 0.5) * 2**z)
        y = int((0.5 - np.arctanh(np.sin(np.radians(lat))) / (2 * np.pi)) * 2**z)
        kind = f"tiles/{layer['name']}/{date}" if random.random() < 0.75 else "pixels"
        found[f"/{kind}/{z}/{x}/{y}.bin"] = None
    return list(found)


def main() -> None:
    """Make the maps, serve them, print what tiles took."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--side", type=int, default=10_000)
    asked.add_argument("--tiles", type=int, default=60)
    asked.add_argument("--keep", type=Path, help="Folder of the maps: made if it is not there, and left.")
    given = asked.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="mmnet-tiles-"))
    try:
        maps = folder / "maps"
        if not maps.is_dir():
            folder.mkdir(exist_ok=True)
            make_maps(folder, given.side)
        for source in (maps, maps / "soil_moisture.zarr"):
            print(measure(source, given.tiles), flush=True)
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")
    finally:
        if given.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
