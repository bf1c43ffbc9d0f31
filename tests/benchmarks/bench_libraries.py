"""Libraries that were tried in place of code of this project: ``python -m tests.benchmarks.bench_libraries``.

Prints JSON; docs/decisions/009-libraries-tried.md, 006 and 010 say what follows from it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmnet_maps.bench.engine import interleaved
from mmnet_maps.bench.made_up import made_up_bundle, made_up_tile
from mmnet_maps.bench.made_up_cube import made_up_cube
from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.grid import Grid, Tile
from mmnet_maps.learn.bundle import save_bundle
from mmnet_maps.learn.train import threads
from mmnet_maps.produce.engine import chain
from mmnet_maps.produce.engine.arrays import DeviceArrays
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.product.create import create_product
from mmnet_maps.produce.run.predict import Request, predict_product
from mmnet_maps.produce.tile.program import predict_tile, predict_tiles
from mmnet_maps.produce.units import Layout, iso
from mmnet_maps.show import page

GRID = Grid("EPSG:32614", (30.0, 0.0, 500_010.0, 0.0, -30.0, 4_200_000.0), 10_000, 10_000)
LAYOUT = Layout(GRID, 18_262, 18_262 + 365, 1024, 16)
MACROS = """{% macro table(header, rows) -%}
<div class="scroll"><table><thead><tr>{% for name in header %}<th>{{ name }}</th>{% endfor %}</tr></thead>
{#- -#}
<tbody>{%- for row in rows %}<tr>{% for cell in row %}<td>{{ cell|number }}</td>{% endfor %}</tr>{% endfor -%}
</tbody></table></div>
{%- endmacro %}"""


def import_seconds(name: str) -> float:
    """Seconds of an import in a fresh interpreter, least of three."""
    code = f"import time; t = time.perf_counter(); import {name}; print(time.perf_counter() - t)"
    runs = (subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(3))
    return min(float(run.stdout) for run in runs)


def microseconds(cases: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median time of each case, turn by turn."""
    many = {name: lambda case=case: [case() for _ in range(repeats)] for name, case in cases.items()}
    return {name: round(1e6 * taken / repeats, 2) for name, taken in interleaved(many, 5).items()}


def geobox() -> dict[str, Any]:
    """Cropping a grid to a tile."""
    from odc.geo.geobox import GeoBox

    box, tile = GeoBox(GRID.shape, GRID.affine, GRID.crs), Tile(2048, 1024, 1024, 1024)
    cases: dict[str, Callable[[], object]] = {
        "GeoBox": lambda: box[tile.rows, tile.cols],
        "Grid": lambda: GRID.crop(tile),
    }
    return {"import_s": import_seconds("odc.geo.geobox"), "crop_us": microseconds(cases, 200)}


def templates() -> dict[str, Any]:
    """A table of a report by jinja2 with autoescape, and by `page.table`."""
    import jinja2

    environment = jinja2.Environment(autoescape=True)
    environment.filters["number"] = page.number
    by_template: Any = environment.from_string(MACROS).module
    header, rows = ["station", "R", "n"], [[f"<station {i}>", i / 7, None] for i in range(2000)]
    cases: dict[str, Callable[[], object]] = {
        "jinja2": lambda: str(by_template.table(header, rows)),
        "own": lambda: page.table(header, rows),
    }
    same = str(by_template.table(header, rows)) == page.table(header, rows)
    return {"import_s": import_seconds("jinja2"), "same_text": same, "table_us": microseconds(cases, 1)}


def days() -> dict[str, Any]:
    """Days as integers and as datetime64[D]."""
    import xarray as xr

    whole, part = np.arange(18_000, 18_400), np.arange(18_100, 18_110)
    dates, wanted = whole.astype("datetime64[D]"), part.astype("datetime64[D]")
    cases: dict[str, Callable[[], object]] = {
        "int64": lambda: np.searchsorted(whole, part),
        "datetime64[D]": lambda: np.searchsorted(dates, wanted),
    }
    try:
        torch.from_numpy(dates)
        taken = True
    except TypeError:
        taken = False
    kept = xr.DataArray(np.zeros(400), coords={"time": dates}, dims="time").time.dtype
    return {"searchsorted_us": microseconds(cases, 1000), "torch_takes_it": taken, "xarray_keeps": str(kept)}


def stores() -> dict[str, Any]:
    """An empty product of a year of 10,000 x 10,000 pixels: own code, and an xarray template."""
    import dask.array as da
    import xarray as xr
    import zarr

    def template(path: Path) -> None:
        shape, tile = (365, *GRID.shape), (16, 1024, 1024)
        kinds = {"soil_moisture": "int16", "lower": "int16", "upper": "int16", "quality": "uint32"}
        empty = {
            k: (("time", "y", "x"), da.zeros(shape, chunks=tile, dtype=kind)) for k, kind in kinds.items()
        }
        how: dict[str, Any] = {name: {"shards": tile, "chunks": (4, 256, 256)} for name in kinds}
        for name in ("soil_moisture", "lower", "upper"):
            how[name] |= {"dtype": "int16", "_FillValue": -32768, "scale_factor": 1e-4}
        xr.Dataset(empty).to_zarr(path, compute=False, encoding=how, zarr_format=3)

    with tempfile.TemporaryDirectory() as folder:
        work, found = Path(folder), {}
        for turn in range(2):  # the first warms up
            for name, make in (("xarray", template), ("own", lambda p: create_product(p, LAYOUT, {}))):
                began = time.perf_counter()
                make(work / f"{name}{turn}")
                found[name] = round(time.perf_counter() - began, 3)
        unwritten = {
            name: int(zarr.open_group(work / f"{name}1")["soil_moisture"][0, 0, 0]) for name in found
        }
    return {"create_s": found, "unwritten_soil_moisture_reads": unwritten}


def tensors() -> dict[str, Any]:
    """The tile program on a processor: NumPy, and torch as a device would run it."""
    bundle, wanted = made_up_bundle("mmnet", published_catalogue()), np.arange(18_800, 18_816, dtype=np.int64)
    tile = made_up_tile(bundle.catalogue, 256, 256, wanted, missing=0.02)
    with threads(1):
        by_numpy, by_torch = Engine(bundle), Engine(bundle, xp=DeviceArrays(torch.device("cpu")))
        seconds = interleaved(
            {
                "numpy": lambda: predict_tile(by_numpy, tile, wanted),
                "torch": lambda: list(predict_tiles(by_torch, iter([tile]), wanted)),
            },
            3,
        )
    return {"torch_over_numpy": round(seconds["torch"] / seconds["numpy"], 2)}


def torchscript() -> dict[str, Any]:
    """The pixel pass, and the path from cube to product: in TorchScript, and from Python."""
    bundle, first = made_up_bundle("mmnet", published_catalogue()), 18_322
    engine, number = Engine(bundle), count()
    workspace, table = engine.workspace(), torch.rand(64, engine.series_width)

    def alone() -> None:
        for _ in range(64):
            engine.predict(workspace, table)

    def from_python(case: Callable[[], object]) -> None:
        fast, chain.scripted = chain.scripted, lambda function: function
        try:
            case()
        finally:
            chain.scripted = fast

    with tempfile.TemporaryDirectory() as folder, threads(1):
        place = Path(folder)
        save_bundle(bundle, place / "bundle")
        made_up_cube(place / "cube", 512, 512, first, first + 16)

        def whole() -> None:
            out = place / f"product-{next(number)}"
            request = Request(place / "bundle", place / "cube", iso(first), iso(first + 15), out)
            predict_product(request, forecast=False)

        cases: dict[str, Callable[[], object]] = {"pixel_pass": alone, "whole_path": whole}
        seconds = interleaved(
            cases | {f"{name}, Python": partial(from_python, case) for name, case in cases.items()}, 5
        )
    return {
        f"python_over_torchscript_{name}": round(seconds[f"{name}, Python"] / seconds[name], 2)
        for name in cases
    }


if __name__ == "__main__":
    parts = (geobox, templates, days, stores, tensors, torchscript)
    print(json.dumps({part.__name__: part() for part in parts}, indent=2))
