"""Damage small valid files in many ways, and see that each reader works or refuses with a line.

``python -m tests.fuzz --minutes 10`` runs longer; the test runs a few examples of every reader. The same seed
makes the same examples. What a reader may do: read, or raise `InputError` or `WorkError` with a short
message, within seconds and bounded memory.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.grid import Grid
from mmnet_maps.learn.bundle import load_bundle
from mmnet_maps.learn.model_input import from_table
from mmnet_maps.prepare.cube.audit import audit
from mmnet_maps.prepare.cube.config import CubeConfig, Target
from mmnet_maps.prepare.cube.store import build_cube, open_cube
from mmnet_maps.prepare.stations.files import read_table
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.source_reader import SourceConfig
from mmnet_maps.sources.rasters.scan import open_source
from mmnet_maps.sources.remote.listing import _listed, read_listing
from mmnet_maps.sources.stations.in_situ import read_in_situ, read_network
from mmnet_maps.sources.stations.ismn import read_ismn
from mmnet_maps.sources.stations.uscrn import read_uscrn
from tests.cli.test_wrong_input import a_raster, a_table
from tests.killing import _predict, _world
from tests.produce.conftest import make_bundle, make_readers

#: Seconds and bytes of address space; Arrow reserves 2 GiB for a page of Parquet that says it is so large.
LIMIT_S, MEMORY = 20, 8 << 30
GRID = Grid("EPSG:32612", (30.0, 0.0, 420_000.0, 0.0, -30.0, 4_100_000.0), 10, 12)
#: Values that few readers expect.
ODD: list[Any] = [
    None, True, -1, 0, 2**31, 10**12, 10**30, 1e308, "", "x", "NaN", [], {}, [[]], [None], {"a": 1}, "\0",
]  # fmt: skip
WORDS = [
    b"NaN",
    b"inf",
    b"-1",
    b"1e999",
    b"9" * 5000,
    b"",
    b"\0",
    b"\xff\xfe",
    b"[" * 3000,
    b"null",
    b",",
    b'"',
    b"20190230",
]


@dataclass(frozen=True)
class Reader:
    """A reader, and a file that it reads: path below the folder, how it is damaged, and the reading."""

    file: str
    damage: Callable[[random.Random, bytes], bytes]
    read: Callable[[Path], Any]


def damaged_bytes(rng: random.Random, data: bytes) -> bytes:
    """One or two changes of bytes: flipped, cut, left out, doubled, or replaced by an odd word."""
    for _ in range(rng.randint(1, 2)):
        begin = rng.randrange(max(1, len(data)))
        end = min(len(data), begin + rng.choice([1, 2, 8, 64, 512]))
        match rng.randrange(6):
            case 0:
                data = data[:begin] + bytes(b ^ (1 << rng.randrange(8)) for b in data[begin:end]) + data[end:]
            case 1:
                data = data[:begin]
            case 2:
                data = data[:begin] + data[end:]
            case 3:
                data = data[:end] + data[begin:end] * rng.choice([1, 50]) + data[end:]
            case 4:
                data = data[:begin] + rng.choice(WORDS) + data[end:]
            case 5:
                data = data[:begin] + rng.choice(WORDS) + data[begin:]
    return data


def damaged_words(rng: random.Random, data: bytes) -> bytes:
    """A word of a text, by commas and blanks, replaced, left out or doubled; or bytes."""
    if rng.random() < 0.3:
        return damaged_bytes(rng, data)
    for mark in rng.sample([b",", b" ", b"\n", b":"], 4):
        words = data.split(mark)
        if len(words) > 1:
            at = rng.randrange(len(words))
            words[at : at + 1] = rng.choice([[], [words[at]] * 2, [rng.choice(WORDS)]])
            return mark.join(words)
    return data


def damaged_json(rng: random.Random, data: bytes) -> bytes:
    """A node replaced by an odd value, left out or doubled; or bytes."""
    if rng.random() < 0.2:
        return damaged_bytes(rng, data)
    tree = json.loads(data)
    for _ in range(rng.randint(1, 2)):
        node: Any = tree
        while True:
            keys: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(node[key], dict | list) and node[key] and rng.random() < 0.8:
                node = node[key]
                continue
            match rng.randrange(4):
                case 0:
                    del node[key]
                case 1 if isinstance(node, list):
                    node.append(copy.deepcopy(node[key]))
                case _:
                    node[key] = copy.deepcopy(rng.choice(ODD))
            break
    return json.dumps(tree).encode()


def _with_digest(rng: random.Random, data: bytes) -> bytes:
    """A card whose digest is right, whatever else is not; `_load` has the weights beside it."""
    found = damaged_json(rng, data)
    try:
        card = json.loads(found)
        card.pop("digest")
        text = json.dumps(card, sort_keys=True, allow_nan=False)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return found
    digest = hashlib.sha256(text.encode() + bytes.fromhex(_WEIGHTS[0])).hexdigest()
    return json.dumps({**card, "digest": digest}).encode()


_WEIGHTS: list[str] = []


def _bundle(folder: Path) -> None:
    bundle = load_bundle(folder / "bundle")
    frame, _ = read_table(folder / "table.csv")
    if bundle.catalogue.fingerprint == published_catalogue().fingerprint:
        bundle.predict(from_table(frame, bundle.catalogue))


def _cube(folder: Path) -> None:
    audit(open_cube(folder / "small.zarr"))


def _product(folder: Path) -> None:
    product = open_product(folder / "p.zarr")
    product.damaged()
    for tile in list(product.layout.tiles())[:4]:
        product.read_checked(int(product.days[0]), tile)


def _source(folder: Path, name: str, **keys: Any) -> None:
    source = open_source(name, SourceConfig(**keys), folder)
    steps = 1 if source.cadence == "static" else source.days.size
    source.read(0, min(steps, 2), slice(0, min(8, source.grid.height)), slice(0, min(8, source.grid.width)))


def _export(folder: Path) -> None:
    export_product(open_product(folder / "p.zarr"), folder / "maps")


def _config(folder: Path) -> None:
    CubeConfig.load(folder / "cube.yaml").target(folder)


def _item(folder: Path) -> None:
    from mmnet_maps.config import parse_json

    _listed("hls", parse_json((folder / "item.json").read_bytes(), "item"), "HLSL30", "Red", "B04")


READERS = {
    "configuration": Reader("cube.yaml", damaged_words, _config),
    "card": Reader("bundle/bundle.json", _with_digest, _bundle),
    "weights": Reader("bundle/weights.safetensors", damaged_bytes, _bundle),
    "in situ": Reader("in_situ.csv", damaged_words, lambda f: read_in_situ(f / "in_situ.csv")),
    "network": Reader("network.csv", damaged_words, lambda f: read_network(f / "network.csv")),
    "table": Reader("table.csv", damaged_words, lambda f: read_table(f / "table.csv")),
    "Parquet": Reader("table.parquet", damaged_bytes, lambda f: read_table(f / "table.parquet")),
    "cube": Reader("small.zarr/zarr.json", damaged_json, _cube),
    "cube source": Reader("small.zarr/hls/zarr.json", damaged_json, _cube),
    "cube array": Reader("small.zarr/hls/Red/zarr.json", damaged_json, _cube),
    "product": Reader("p.zarr/zarr.json", damaged_json, _product),
    "product array": Reader("p.zarr/soil_moisture/zarr.json", damaged_json, _product),
    "GeoTIFF": Reader(
        "e.tif", damaged_bytes, lambda f: _source(f, "terrain", path="e.tif", variables=["elevation"])
    ),
    "NetCDF": Reader("pr.nc", damaged_bytes, lambda f: _source(f, "gridmet", path="pr.nc", variables=["pr"])),
    "collection": Reader("maps/collection.json", damaged_json, _export),
    "STAC item": Reader("item.json", damaged_json, _item),
    "listing": Reader("listing.json", damaged_json, lambda f: read_listing("hls", f / "listing.json")),
    "ISMN": Reader(
        "ismn/NET/ST1/NET_NET_ST1_sm_0.050000_0.050000_S_20200601_20200608.stm",
        damaged_words,
        lambda f: read_ismn(f / "ismn"),
    ),
    "USCRN": Reader("uscrn/CRND0103-2020-OK_Test_1_N.txt", damaged_words, lambda f: read_uscrn(f / "uscrn")),
}


def make_files(folder: Path) -> None:
    """A valid file of every kind."""
    _world(folder)
    _predict(folder, 2)
    shutil.rmtree(folder / "bundle")
    make_bundle(folder / "bundle")
    _WEIGHTS[:] = [hashlib.sha256((folder / "bundle" / "weights.safetensors").read_bytes()).hexdigest()]
    _export(folder)
    readers = make_readers(GRID, GRID.crs, 30.0)
    build_cube(Target(GRID, None, "test"), [readers["hls"], readers["terrain"]], folder / "small.zarr")
    a_raster(folder / "e.tif")
    shape = {"day": np.arange(3), "lat": np.linspace(36, 35, 9), "lon": np.linspace(-99, -98, 9)}
    field = xr.DataArray(np.ones((3, 9, 9), np.float32), shape, attrs={"units": "mm"})
    field["day"].attrs["units"] = "days since 2020-01-01"
    field["lat"].attrs["units"], field["lon"].attrs["units"] = "degrees_north", "degrees_east"
    field.to_dataset(name="pr").to_netcdf(folder / "pr.nc", engine="h5netcdf")
    for name in ("table.csv", "table.parquet"):
        frame = a_table(folder / name, stations=3, days=5)
    rows = [f"{i},SCAN,36.1,-98.2,{d},0.2" for i, d in zip(frame["ID"], frame["Date"], strict=True)]
    (folder / "in_situ.csv").write_text("ID,Network,Latitude,Longitude,Date,VWC_5\n" + "\n".join(rows) + "\n")
    (folder / "network.csv").write_text(
        "ID,Domain,Latitude,Longitude\nSCAN_0,W,36.1,-98.2\nSCAN_1,E,36.3,-98.4\n"
    )
    (folder / "cube.yaml").write_text(
        "region: {box: [500000, 3999400, 500600, 4000000], crs: EPSG:32614}\n"
        "grid: {crs: EPSG:32614, resolution: 30}\nstart: 2020-03-01\nend: '2020-06-14'\n"
        "sources:\n  terrain: {path: e.tif, variables: [elevation]}\n"
        "  smap: {path: ., pattern: 'SMAP_(?P<date>\\d{8})\\.tif', variables: {SMAP: {band: 1}}}\n"
    )
    link = {"href": "http://a.org/B04.tif", "file:size": 5, "file:checksum": "1220ab"}
    properties = {"datetime": "2020-06-01T10:00:00Z", "proj:epsg": 32614, "updated": "2020-07-01T00:00:00Z"}
    item = {"id": "a", "collection": "HLSL30", "assets": {"B04": link}, "properties": properties}
    (folder / "item.json").write_text(json.dumps(item))
    listed = {"variable": "Red", "collection": "c", "scene": "s", "day": 18000, "file": "a.tif"}
    href = {"href": "http://a.org/a.tif", "name": "a.tif", "stamp": "x", "size": 5, "checksum": None}
    (folder / "listing.json").write_text(json.dumps([{**listed, "link": href}]))
    station = folder / "ismn" / "NET" / "ST1"
    station.mkdir(parents=True)
    hours = [
        f"2020/06/{d:02d} {h:02d}:00 2020/06/{d:02d} {h:02d}:00 NET        NET             ST1              "
        "36.10000   -98.20000   300.00   0.05   0.05   0.2000 G M\n"
        for d in range(1, 9)
        for h in range(24)
    ]
    (station / "NET_NET_ST1_sm_0.050000_0.050000_S_20200601_20200608.stm").write_text("".join(hours))
    (folder / "uscrn").mkdir()
    numbers = "20.1 10.2 15.1 15.0 0.0 12.5 C 30.1 5.2 16.0 80.1 20.2 50.0 0.201 0.210 0.220 0.230 0.240"
    lines = [
        f"53182 202006{d:02d} 2.622 -98.20 36.10 {numbers} 15.0 15.1 15.2 15.3 15.4\n" for d in range(1, 9)
    ]
    (folder / "uscrn" / "CRND0103-2020-OK_Test_1_N.txt").write_text("".join(lines))


def _too_long(*_: object) -> None:
    raise TimeoutError(f"more than {LIMIT_S} s")


def tried(reader: Reader, folder: Path, data: bytes) -> str:
    """What a reader did wrong with these bytes; empty if nothing."""
    (folder / reader.file).write_bytes(data)
    signal.alarm(LIMIT_S)
    try:
        reader.read(folder)
    except (InputError, WorkError) as error:
        return "" if 0 < len(str(error)) <= 1_000 else f"a message of {len(str(error))} characters"
    except (Exception, TimeoutError) as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "mmnet_maps/" in f.filename]
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
        return f"{type(error).__name__} at {where}: {error!s:.150}"
    finally:
        signal.alarm(0)
    return ""


def fuzz(seed: int, examples: int, seconds: float, names: list[str], keep: Path) -> dict[str, str]:
    """Try examples of every reader in turn; faults by reader and kind, with the path of the first of each."""
    found: dict[str, str] = {}
    warnings.simplefilter("ignore")
    keep.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        folder = Path(scratch)
        make_files(folder)
        whole = {name: (folder / READERS[name].file).read_bytes() for name in names}
        for name in names:
            assert not (said := tried(READERS[name], folder, whole[name])), f"{name}, undamaged: {said}"
        for number in range(examples):
            for name in names:
                if time.monotonic() - began > seconds:
                    return found
                rng = random.Random(f"{seed} {number} {name}")
                data = READERS[name].damage(rng, whole[name])
                # It stays if the reader takes the process with it.
                at = keep / f"{name.replace(' ', '_')}-{seed}-{number}"
                at.write_bytes(data)
                said = tried(READERS[name], folder, data)
                (folder / READERS[name].file).write_bytes(whole[name])
                kind = f"{name}: {said.split(': ')[0]}"
                if said and kind not in found:
                    found[kind] = said
                    print(f"{name} {number}: {said} ({at})", flush=True)
                else:
                    at.unlink()
        print(f"{number + 1} examples of {len(names)} readers, {time.monotonic() - began:.0f} s", flush=True)
    return found


def main() -> None:
    """Fuzz the readers named, or all."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("readers", nargs="*", help=f"of: {', '.join(READERS)}")
    options.add_argument("--minutes", type=float, default=1.0)
    options.add_argument("--examples", type=int, default=10**9, help="of each reader, at most")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument(
        "--keep", type=Path, default=Path("out/fuzz"), help="folder of files that show a fault"
    )
    given = options.parse_args()
    signal.signal(signal.SIGALRM, _too_long)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (pages + MEMORY, pages + MEMORY))
    faults = fuzz(given.seed, given.examples, 60 * given.minutes, given.readers or list(READERS), given.keep)
    sys.exit(f"{len(faults)} kinds of fault" if faults else 0)


if __name__ == "__main__":
    main()
