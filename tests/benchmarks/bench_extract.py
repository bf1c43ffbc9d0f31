"""Series at 1,000 points over 365 days from a product of 10,000 x 10,000 pixels: time and peak memory.

``python -m tests.benchmarks.bench_extract [--sites 40] [--days 365] [--points 1000]``. The product is made
up and sparse: only the stored chunks that a point touches hold values, and these are noise of 12 bits, so
that they decode about as slowly as real maps. The points lie at ``--sites`` sites (the fields of a farm,
the probes of a network), each within one stored chunk; more sites mean more chunks to decode, which is what
takes the time. Scattered points are as many sites as points: ``--sites 100 --points 100 --days 96``
measures them on less disk. What is read is compared with reading the arrays directly, after the clock has
stopped.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmnet_maps.grid import Grid, pixels_at
from mmnet_maps.produce.product.create import create_product
from mmnet_maps.produce.product.store import Product, open_product
from mmnet_maps.produce.units import Layout

_SIDE = 10_000


def make_product(folder: Path, sites: int, days: int, points: int) -> tuple[Path, Path]:
    """A product with values in the chunks of the sites alone, and a CSV of the points."""
    grid = Grid("EPSG:32614", (30.0, 0.0, 400_000.0, 0.0, -30.0, 4_200_000.0), _SIDE, _SIDE)
    layout = Layout(grid, 18262, 18262 + days, 1024, 16)
    product = create_product(folder / "product.zarr", layout, {"bundle": "b", "catalogue": "c"})
    random = np.random.default_rng(1)
    chunks = random.permutation((_SIDE // 256) ** 2)[:sites]
    row, col = (256 * part for part in np.divmod(chunks, _SIDE // 256))
    for name, packing in product.packing.items():
        array = product.group[name]
        for k in range(sites):
            shape = days, 256, 256
            block = (
                random.integers(800, 4900, shape) if packing.scale != 1.0 else random.integers(0, 8, shape)
            )
            array[:, row[k] : row[k] + 256, col[k] : col[k] + 256] = block.astype(packing.dtype)
    at = np.arange(points) % sites
    rows, cols = row[at] + random.integers(0, 256, points), col[at] + random.integers(0, 256, points)
    _write_points(product, rows, cols, folder / "points.csv")
    return folder / "product.zarr", folder / "points.csv"


def _write_points(product: Product, rows: np.ndarray, cols: np.ndarray, path: Path) -> None:
    from pyproj import Transformer

    back = Transformer.from_crs(product.grid.crs, "EPSG:4326", always_xy=True)
    lon, lat = back.transform(product.grid.x(cols), product.grid.y(rows))
    pd.DataFrame({"id": range(len(rows)), "lon": lon, "lat": lat}).to_csv(path, index=False)


def _child(source: Path, points: Path, out: Path, send: Any) -> None:
    """Seconds, processor seconds, peak MiB and rows of a process that does nothing else."""
    import resource

    from mmnet_maps.jobs.extract import extract

    began, used = time.perf_counter(), time.process_time()
    done = extract(source, out, points=points)
    seconds = time.perf_counter() - began, time.process_time() - used
    send.send((*seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, done["rows"]))


def _equal(source: Path, points: Path, out: Path) -> bool:
    """Whether a table holds what `Product.read` gives at some of the points."""
    product, table, asked = open_product(source), pd.read_parquet(out), pd.read_csv(points)
    row, col = pixels_at(product.grid, asked["lon"].to_numpy(), asked["lat"].to_numpy())
    days = product.layout.start, product.layout.stop
    same = []
    for k in range(0, len(asked), max(1, len(asked) // 5)):
        part = table[table["id"] == str(k)]
        for name, column in (("soil_moisture", "estimate"), ("lower", "lower"), ("quality", "quality")):
            window = slice(row[k], row[k] + 1), slice(col[k], col[k] + 1)
            stored = product.read(name, *days, *window)[:, 0, 0]
            values = stored if name == "quality" else product.packing[name].decode(stored)
            same.append(np.array_equal(values, part[column].to_numpy(), equal_nan=name != "quality"))
    return all(same)


def main() -> None:
    """Make the product, extract in a process of its own, print what it took."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--sites", type=int, default=40)
    asked.add_argument("--days", type=int, default=365)
    asked.add_argument("--points", type=int, default=1000)
    given = asked.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mmnet-extract-"))
    try:
        source, points = make_product(folder, given.sites, given.days, given.points)
        context = get_context("spawn")
        receive, send = context.Pipe(duplex=False)
        child = context.Process(target=_child, args=(source, points, folder / "out.parquet", send))
        child.start()
        seconds, used, peak, rows = receive.recv()
        child.join()
        print(
            f"{given.points} points at {given.sites} sites, {given.days} days, {_SIDE} x {_SIDE} pixels: "
            f"{rows:,} rows in {seconds:.1f} s ({used:.1f} s of processor), peak {peak:,.0f} MiB"
        )
        print(f"equal to direct reading, bit for bit: {_equal(source, points, folder / 'out.parquet')}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
