"""The tiny region: eight days around New Year, three stations, every published collection."""

from __future__ import annotations

import datetime as dt
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
from affine import Affine
from ee_standin import StandIn
from ee_world import SINUSOIDAL, Scene, World, to

from mmnet_maps.assets import ASSETS
from mmnet_maps.sources.earth_engine.settings import EarthEngineConfig

#: Three stations within two kilometres of each other, near Zion.
LON, LAT = -113.0, 37.2
STATIONS = {"SCAN_North": (0.004, 0.006), "SCAN_South": (-0.003, -0.005), "USCRN_West": (-0.008, 0.001)}
START, END = dt.date(2019, 12, 28), dt.date(2020, 1, 4)
UTM = "EPSG:32612"


def days_of(start: dt.date = START, end: dt.date = END) -> list[dt.date]:
    return [start + dt.timedelta(days=i) for i in range((end - start).days + 1)]


def millis(day: dt.date, hour: int = 0) -> int:
    return int(dt.datetime(day.year, day.month, day.day, hour, tzinfo=dt.UTC).timestamp() * 1000)


def grid_around(crs: str, size: float, count: int, snap: float | None = None) -> Affine:
    x, y = to("EPSG:4326", crs).transform(LON, LAT)
    snap = snap or size
    left = math.floor((x - size * count / 2) / snap) * snap
    top = math.ceil((y + size * count / 2) / snap) * snap
    return Affine(size, 0, left, 0, -size, top)


def make_world() -> World:
    rng = np.random.default_rng(5)
    world: World = {}

    def holes(values: np.ndarray, share: float) -> np.ndarray:
        return np.where(rng.random(values.shape) < share, np.nan, values)

    a = ASSETS
    n, t = 160, grid_around(UTM, 30.0, 160)
    optical = []
    for day in days_of()[1::3]:
        for tile, part in (("T12SUG", np.s_[:, :110]), ("T12SVG", np.s_[:, 70:])):
            bands = {
                f"B{b}": np.round(rng.uniform(0.01, 0.6, (n, n))[part], 4) for b in (1, 2, 3, 4, 5, 6, 7, 9)
            }
            bands |= {f"B{b}": np.round(rng.uniform(-5, 30, (n, n))[part], 2) for b in (10, 11)}
            # Clear, cloud (bit 1), adjacent to cloud (bit 2, kept), shadow (bit 3), snow (bit 4, kept).
            bands["Fmask"] = rng.choice([0, 2, 4, 8, 10, 16], (n, n), p=[0.6, 0.1, 0.1, 0.1, 0.05, 0.05])[
                part
            ]
            bands["Fmask"] = bands["Fmask"].astype(float)
            shifted = t @ Affine.translation(part[1].start or 0, 0)
            index = f"{tile}_{day:%Y%m%d}T180000"
            optical.append(Scene(index, UTM, shifted, bands, millis(day, 18)))
    world[a["hls"].assets[0].id] = optical
    m, radar = 420, []
    for i, day in enumerate(days_of()[::4]):
        bands = {
            "VV": holes(rng.uniform(-23, -3, (m, m)), 0.05),
            "VH": holes(rng.uniform(-33, -8, (m, m)), 0.05),
            "angle": np.full((m, m), 35.0 + i),
        }
        stamp = f"{day:%Y%m%d}T013303_{day:%Y%m%d}T013328_0093{i:02d}_00E005_A0A{i}"
        properties = {"instrumentMode": "IW", "transmitterReceiverPolarisation": ["VV", "VH"]}
        index = f"S1A_IW_GRDH_1SDV_{stamp}"
        radar.append(Scene(index, UTM, grid_around(UTM, 10.0, m), bands, millis(day, 1), properties))
    # A scene of another mode and one of a single polarisation: neither may be used.
    for name, other in (
        ("S1A_EW", {**properties, "instrumentMode": "EW"}),
        ("S1A_1P", {**properties, "transmitterReceiverPolarisation": ["VV"]}),
    ):
        radar.append(
            Scene(f"{name}_x_x_x_{stamp}", UTM, grid_around(UTM, 10.0, m), bands, millis(day, 2), other)
        )
    world[a["sentinel1"].assets[0].id] = radar
    smap, gridmet, modis = [], [], []
    for day in days_of():
        for hour in (1, 4, 7, 10, 13, 16, 19, 22):
            values = np.round(rng.uniform(0.05, 0.4, (6, 6)), 4)
            transform = grid_around("EPSG:6933", 9008.055, 6)
            smap.append(
                Scene(
                    f"{day:%Y%m%d}_{hour:02d}30",
                    "EPSG:6933",
                    transform,
                    {"sm_surface": values},
                    millis(day, hour),
                )
            )
        fields = {name: np.round(rng.uniform(1, 20, (5, 5)), 1) for name in ("eto", "etr", "pr", "srad")}
        fields |= {"sph": np.round(rng.uniform(0.001, 0.01, (5, 5)), 5)}
        fields |= {name: np.round(rng.uniform(0.1, 5, (5, 5)), 1) for name in ("vpd", "vs")}
        if day.day == 30:
            fields["vpd"][:] = np.nan
        transform = grid_around("EPSG:4326", 1 / 24, 5)
        gridmet.append(Scene(f"{day:%Y%m%d}", "EPSG:4326", transform, fields, millis(day, 6)))
        quality = rng.choice([0, 1, 2, 8, 65], (12, 12)).astype(float)
        lst = {"LST_Day_1km": rng.integers(13000, 15000, (12, 12)).astype(float), "QC_Day": quality}
        transform = grid_around(SINUSOIDAL, 926.6254330558, 12)
        modis.append(Scene(f"{day:%Y_%m_%d}", "SR-ORG:6974", transform, lst, millis(day)))
    # The first field of the day after the end: an inclusive filter would take it.
    after = END + dt.timedelta(days=1)
    gridmet.append(
        Scene(f"{after:%Y%m%d}", "EPSG:4326", transform_of(gridmet), gridmet[-1].bands, millis(after))
    )
    world[a["smap"].assets[0].id], world[a["gridmet"].assets[0].id] = smap, gridmet
    world[a["modis"].assets[0].id] = modis
    k, dem = 900, grid_around("EPSG:4269", 1 / 10800, 900)
    rows, cols = np.mgrid[:k, :k]
    world[a["terrain"].assets[0].id] = Scene(
        "dem", "EPSG:4269", dem, {"elevation": 1500.0 + 0.8 * cols - 0.5 * rows}
    )
    for name, low, high, digits in (("clay", 5, 40, 2), ("sand", 20, 70, 2), ("bd", 1.1, 1.7, 3)):
        asset = next(x for x in a["soil"].assets if name in x.bands)
        values = np.round(rng.uniform(low, high, (300, 300)), digits)
        world[asset.id] = Scene("x", "EPSG:4326", grid_around("EPSG:4326", 1 / 3600, 300), {"b1": values})
    for asset in a["landcover"].assets:
        codes = rng.choice([41, 42, 52, 71, 82], (20, 20)).repeat(10, 0).repeat(10, 1).astype(float)
        codes[:3] = np.nan
        world[asset.id] = Scene(
            str(asset.year), "EPSG:5070", grid_around("EPSG:5070", 30.0, 200), {"landcover": codes}
        )
    return world


def transform_of(scenes: list[Scene]) -> Affine:
    return scenes[0].transform


def make_network() -> pd.DataFrame:
    rows = [
        {
            "ID": name,
            "Network": name.split("_")[0],
            "Latitude": LAT + dy,
            "Longitude": LON + dx,
            "Domain": "W",
        }
        for name, (dx, dy) in STATIONS.items()
    ]
    return pd.DataFrame(rows)


def sign_in_at(folder: Path, key_pem: str, server: StandIn, **settings: object) -> EarthEngineConfig:
    """A configuration for a stand-in: a service account's key, short waits, all traffic on loopback."""
    key = folder / "key.json"
    about = {
        "type": "service_account",
        "client_email": "someone@p-test.iam.gserviceaccount.com",
        "private_key": key_pem,
        "private_key_id": "1",
        "project_id": "p-test",
        "token_uri": f"{server.url}/token",
    }
    key.write_text(json.dumps(about))
    usual: dict[str, object] = {
        "project": "p-test",
        "key_file": str(key),
        "url": server.url,
        "first_wait_s": 0.01,
        "longest_wait_s": 0.05,
        "requests_per_second": 2000.0,
        "concurrency": 8,
        "timeout_s": 20.0,
        "poll_s": 0.01,
        "drive_url": f"{server.url}/drive",
        "storage_url": f"{server.url}/storage",
    }
    return EarthEngineConfig.from_mapping({**usual, **settings})
