"""The rest of the job - cube, files, scores, series - beside what a good script takes for the same result.

A finished demo is the input of both: files of a region, its product and its stations. A script here is
what someone who knows rasterio, xarray and pandas writes in an afternoon: it reads and writes the same,
without checks, digests, resumption or catalogue.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
import rasterio.shutil
import xarray as xr
import zarr
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.io import MemoryFile
from zarr.codecs import BloscCodec

from mmnet_maps.bench.engine import interleaved
from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.jobs.cubes import build_cube
from mmnet_maps.jobs.extract import extract
from mmnet_maps.jobs.products import export, report, validate
from mmnet_maps.prepare.cube.store import open_cube
from mmnet_maps.produce.product.store import Product, open_product

__all__ = ["job_text", "measure_job"]

_POINTS = 100
#: Of the files that a script writes, as ours are.
_COG = {"driver": "COG", "compress": "DEFLATE", "predictor": "YES", "blocksize": 512, "num_threads": "1"}
_ZSTD = BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")


def measure_job(demo: Path, rounds: int = 3) -> dict[str, float]:
    """Seconds of each part of the job on a finished demo, and how many times as fast as a script it is.

    Parameters
    ----------
    demo : Path
        What ``mmnet-maps demo --out`` made.
    rounds : int
        Medians are over so many.

    Returns
    -------
    dict of str to float
        ``{part}_s`` for ``cube``, ``export``, ``validate``, ``extract`` and ``report``; ``{part}_ratio``, the
        script's time over ours, for all but the report, which no short script makes.

    Raises
    ------
    InputError
        The folder is not a finished demo.
    WorkError
        A script and the program disagree.
    """
    for name in ("cube.yaml", "product.zarr", "data/region/in_situ.csv", "data/region/network.gpkg"):
        if not (demo / name).exists():
            raise InputError(f"{demo}: no {name} in it; expected the folder of a finished `mmnet-maps demo`")
    product = open_product(demo / "product.zarr")
    with tempfile.TemporaryDirectory(prefix="mmnet-maps-") as scratch, redirect_stderr(StringIO()):
        work = _Work(Path(scratch), demo, product)
        cases = {**work.ours(), **work.scripts()}
        found = interleaved(cases, rounds)
        work.refuse_difference()
    parts = [name for name in cases if "script" not in name]
    return {f"{part}_s": found[part] for part in parts} | {
        f"{part}_ratio": found[f"{part} script"] / found[part] for part in parts if f"{part} script" in found
    }


def job_text(found: Mapping[str, float]) -> str:
    """What `measure_job` finds, a line a part."""
    lines = []
    for name in (key.removesuffix("_s") for key in found if key.endswith("_s")):
        ratio = found.get(f"{name}_ratio")
        beside = "" if ratio is None else f", {ratio:.2f} times as fast as a script"
        lines.append(f"{name}: {found[f'{name}_s']:.2f} s{beside}")
    return "\n".join(lines)


class _Work:
    """The parts, ours and as scripts; each run writes to a folder of its own."""

    def __init__(self, folder: Path, demo: Path, product: Product) -> None:
        self.folder, self.demo, self.product = folder, demo, product
        self.runs = 0
        self.points = folder / "points.csv"
        random = np.random.default_rng(0)
        grid = product.grid
        x = grid.x(random.integers(0, grid.width, _POINTS))
        y = grid.y(random.integers(0, grid.height, _POINTS))
        lon, lat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(x, y)
        pd.DataFrame({"id": range(_POINTS), "lon": lon, "lat": lat}).to_csv(self.points, index=False)
        self.last: dict[str, Path] = {}

    def _new(self, name: str) -> Path:
        self.runs += 1
        self.last[name] = self.folder / f"{self.runs}-{name}"
        return self.last[name]

    def ours(self) -> dict[str, Callable[[], object]]:
        """What the program does, by part."""
        region, product = self.demo / "data/region", self.demo / "product.zarr"
        truth, network = region / "in_situ.csv", region / "network.gpkg"
        return {
            "cube": lambda: build_cube(self.demo / "cube.yaml", self._new("cube.zarr")),
            "export": lambda: export(product, self._new("maps")),
            "validate": lambda: validate(product, truth, network, self._new("scores")),
            "extract": lambda: extract(product, self._new("series.csv"), points=self.points),
            "report": lambda: report(product, self._new("report.html")),
        }

    def scripts(self) -> dict[str, Callable[[], object]]:
        """What a script does, by part."""
        return {
            "cube script": self._cube,
            "export script": self._export,
            "validate script": self._validate,
            "extract script": self._extract,
        }

    def _cube(self) -> None:
        """Every raster of the region in Zarr, a group a source, with the chunks that the cube has."""
        group = zarr.create_group(self._new("script-cube.zarr"))
        chunks = {name: source.chunks for name, source in open_cube(self.demo / "cube.zarr").sources.items()}
        for folder in sorted(path for path in (self.demo / "data/rasters").iterdir() if path.is_dir()):
            own = group.create_group(folder.name)
            if folder.name == "gridmet":
                for file in sorted(folder.glob("*.nc")):
                    with xr.open_dataset(file, mask_and_scale=False) as data:
                        for name, values in data.data_vars.items():
                            if values.ndim == 3:
                                _write(own, f"{file.stem}-{name}", values.to_numpy(), chunks[folder.name])
                continue
            with ThreadPoolExecutor(2) as pool:
                files = sorted(folder.glob("*.tif"))
                scenes = list(pool.map(_bands, files))
                if len({len(scene) for scene in scenes}) == 1 and len(files) > 3:
                    stack = np.stack(scenes)
                    for band in range(stack.shape[1]):
                        _write(own, f"band{band}", stack[:, band], chunks[folder.name])
                else:
                    for file, scene in zip(files, scenes, strict=True):
                        _write(own, file.stem, scene, chunks[folder.name])

    def _export(self) -> None:
        """Two COGs a day: values, and quality."""
        out = self._new("script-maps")
        out.mkdir()
        group = zarr.open_group(self.product.path, mode="r")
        profile = {
            "driver": "GTiff",
            "height": self.product.grid.height,
            "width": self.product.grid.width,
            "crs": self.product.grid.crs,
            "transform": rasterio.Affine(*self.product.grid.transform[:6]),
        }
        names = ("soil_moisture", "lower", "upper")

        def day(index: int) -> None:
            for label, layers in (("values", names), ("quality", ("quality",))):
                bands = np.stack([np.asarray(group[name][index]) for name in layers])  # type: ignore[index]
                with MemoryFile() as memory:
                    with memory.open(**profile, count=len(bands), dtype=bands.dtype) as file:
                        file.write(bands)
                    rasterio.shutil.copy(memory.name, out / f"{label}-{index}.tif", **_COG)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(day, range(len(self.product.days))))

    def _series(self, lon: NDArray[Any], lat: NDArray[Any]) -> xr.Dataset:
        maps = xr.open_zarr(self.product.path, consolidated=False)
        x, y = Transformer.from_crs("EPSG:4326", self.product.grid.crs, always_xy=True).transform(lon, lat)
        at = {"x": xr.DataArray(x, dims="point"), "y": xr.DataArray(y, dims="point")}
        found: xr.Dataset = maps[["soil_moisture", "lower", "upper", "quality"]].sel(at, method="nearest")
        return found.load()

    def _validate(self) -> None:
        """Scores by station from the pixels below the stations."""
        truth = pd.read_csv(self.demo / "data/region/in_situ.csv", dtype={"ID": str}).dropna(subset=["VWC_5"])
        places = truth.groupby("ID")[["Longitude", "Latitude"]].first()
        series = self._series(places["Longitude"].to_numpy(), places["Latitude"].to_numpy())
        times, estimate = series["time"].to_numpy(), series["soil_moisture"].to_numpy()
        maps = pd.DataFrame(
            {
                "ID": np.tile(places.index.to_numpy(), len(times)),
                "time": np.repeat(times, len(places)),
                "y_pred": estimate.ravel(),
            }
        )
        truth["time"] = pd.to_datetime(truth["Date"].astype(str))
        pairs = truth.merge(maps.dropna(), on=["ID", "time"])
        rows = [
            {
                "ID": name,
                "R": own["VWC_5"].corr(own["y_pred"]),
                "RMSE": float(((own["VWC_5"] - own["y_pred"]) ** 2).mean() ** 0.5),
            }
            for name, own in pairs.groupby("ID")
        ]
        pd.DataFrame(rows).to_csv(self._new("script-scores.csv"))

    def _extract(self) -> None:
        points = pd.read_csv(self.points)
        series = self._series(points["lon"].to_numpy(), points["lat"].to_numpy())
        series.to_dataframe().to_csv(self._new("script-series.csv"))

    def refuse_difference(self) -> None:
        """Raise where a script's result is not ours."""
        ours = pd.read_csv(self.last["series.csv"]).sort_values(["id", "date"])["estimate"]
        theirs = pd.read_csv(self.last["script-series.csv"]).sort_values(["point", "time"])["soil_moisture"]
        if not np.allclose(ours.to_numpy(), theirs.to_numpy(), atol=1e-6, equal_nan=True):
            raise WorkError("extract and its script give different series")
        days = len(self.product.days)
        if len(list(self.last["maps"].rglob("*.tif"))) != 2 * days:
            raise WorkError(f"export wrote other files than two for each of {days} days")


def _bands(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as file:
        found: NDArray[Any] = file.read()
    return found


def _write(group: zarr.Group, name: str, values: NDArray[Any], chunks: tuple[int, ...]) -> None:
    own = tuple(min(a, b) for a, b in zip(chunks, values.shape, strict=True))
    array = group.create_array(name, shape=values.shape, dtype=values.dtype, chunks=own, compressors=_ZSTD)
    array[...] = values
