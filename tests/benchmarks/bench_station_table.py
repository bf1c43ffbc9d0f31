"""Station table: rows per second here against a straightforward per-station pandas implementation.

Run ``python tests/benchmarks/bench_station_table.py [STATIONS] [YEARS]``; both read the same raw exports, and
the two tables are compared. The tests use the plain implementation as their second opinion.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

WEATHER = ["pr", "sph", "srad", "vs", "vpd", "eto", "etr"]
SERIES = ["eto", "etr", "pr", "sph", "srad", "vpd", "vs", "LST"]
BANDS = {"B2": "Blue", "B3": "Green", "B4": "Red", "B5": "NIR", "B6": "SWIR1", "B7": "SWIR2"}
CLASSES = {
    "Developed": [21, 22, 23, 24],
    "Barren": [31],
    "Forest": [41, 42, 43],
    "Shrub": [51, 52],
    "Grassland": [71, 72],
    "Pasture": [81],
    "Crop": [82],
    "Wetland": [90, 95],
}
ORDER = ["Shrub", "Grassland", "Barren", "Wetland", "Forest", "Developed", "Crop", "Pasture"]
GEO = '{"geodesic":false,"type":"Polygon","coordinates":[[[-109.36,37.67],[-109.36,37.66],[-109.35,37.67]]]}'


def write_exports(folder: Path, stations: int, years: list[int], seed: int = 1) -> tuple[Path, Path, Path]:
    """Write a raw-export folder in the published layout; returns folder, ground truth and network."""
    rng = np.random.default_rng(seed)
    raw = folder / "raw"
    raw.mkdir(parents=True)
    network = ["SCAN" if i % 2 else "USCRN" for i in range(stations)]
    place = pd.DataFrame(
        {
            "ID": [f"{n}_Station_#{i}" for i, n in enumerate(network)],
            "Latitude": rng.uniform(30, 48, stations).round(3),
            "Longitude": rng.uniform(-120, -70, stations).round(3),
            "Network": network,
        }
    )
    truth = []
    for year in years:
        # The published export leaves out the last day of the year.
        days = pd.date_range(f"{year}-01-01", f"{year}-12-30").strftime("%Y%m%d").to_numpy()
        _write_year(raw, year, days, place, rng)
        everyday = pd.date_range(f"{year}-01-01", f"{year}-12-31").strftime("%Y%m%d").astype(int)
        rows = place.loc[np.repeat(place.index, len(everyday))].reset_index(drop=True)
        rows["Date"] = np.tile(everyday, stations)
        rows["VWC_5"] = rng.uniform(0.03, 0.45, len(rows)).round(4)
        rows.loc[rng.random(len(rows)) < 0.05, "VWC_5"] = np.nan
        truth.append(rows)
    codes = rng.choice([21, 31, 41, 52, 71, 81, 82, 90], stations)
    for year in (2016, 2019, 2021):
        _write(raw / f"LC_SSM_{year}.csv", place, {"mode": codes}, np.arange(stations).astype(str))
    constants = {
        "elevation": rng.uniform(0, 3000, stations).round(2),
        "slope": rng.uniform(0, 20, stations).round(2),
        "aspect": rng.uniform(0, 360, stations).round(2),
        "hillshade": np.full(stations, 180.0),
        "clay_5": rng.uniform(5, 50, stations).round(1),
        "sand_5": rng.uniform(5, 80, stations).round(1),
        "bd_5": rng.uniform(1, 1.7, stations).round(2),
    }
    _write(raw / "constant_SSM.csv", place, constants, np.arange(stations).astype(str))
    pd.concat(truth).sort_values(["ID", "Date"]).to_csv(folder / "in_situ.csv", index=False)
    place.assign(Domain=np.array(["W", "M", "E"])[np.arange(stations) % 3]).to_csv(
        folder / "network.csv", index=False
    )
    return raw, folder / "in_situ.csv", folder / "network.csv"


def _write(path: Path, place: pd.DataFrame, values: dict[str, np.ndarray], index: np.ndarray) -> None:
    frame = place.reset_index(drop=True).assign(**values)
    frame.insert(0, "system:index", index)
    frame[".geo"] = GEO
    frame.to_csv(path, index=False)


def _write_year(
    raw: Path, year: int, days: np.ndarray, place: pd.DataFrame, rng: np.random.Generator
) -> None:
    n = len(place)
    day, station = (a.ravel() for a in np.meshgrid(np.arange(len(days)), np.arange(n), indexing="ij"))
    tail = np.char.add("_", station.astype("U6"))
    scale = {"pr": 8.0, "sph": 0.01, "srad": 300.0, "vs": 6.0, "vpd": 2.0, "eto": 6.0, "etr": 8.0}
    weather = {name: (rng.random(len(day)) * scale[name]).round(6) for name in WEATHER}
    _write(
        raw / f"gridmet_SSM_{year}.csv",
        place.iloc[station],
        weather,
        np.char.add(days.astype("U8")[day], tail),
    )
    keep = rng.random(len(day)) < 0.6
    stamp = np.array([f"{d[:4]}_{d[4:6]}_{d[6:]}" for d in days])
    lst = {"mean": rng.uniform(13500, 16000, keep.sum()).round(1)}
    _write(
        raw / f"LST_MOD11A1_{year}.csv",
        place.iloc[station[keep]],
        lst,
        np.char.add(stamp[day[keep]], tail[keep]),
    )
    keep = (day + station) % 12 == 0
    head = np.array([f"S1A_IW_GRDH_1SDV_{d}T132103_{d}T132128_009305_00E005_A04D" for d in days])
    radar = {
        "VH": rng.uniform(-26, -18, keep.sum()).round(4),
        "VV": rng.uniform(-17, -9, keep.sum()).round(4),
        "angle": rng.uniform(33, 42, keep.sum()).round(3),
    }
    _write(
        raw / f"S1_SSM_{year}.csv", place.iloc[station[keep]], radar, np.char.add(head[day[keep]], tail[keep])
    )
    keep = ((day + 3 * station) % 8 == 0) & (rng.random(len(day)) < 0.7)
    head = np.array([f"T12SBC_{d}T172125" for d in days])
    bands = {f"B{i}": rng.uniform(0.05, 0.5, keep.sum()).round(5) for i in (1, 2, 3, 4, 5, 6, 7, 9)}
    bands |= {f"B{i}": rng.uniform(-5, 40, keep.sum()).round(3) for i in (10, 11)}
    # Blue stays low, which keeps the denominator of EVI off zero.
    bands["B2"] = rng.uniform(0.02, 0.1, keep.sum()).round(5)
    bands["B4"][rng.random(keep.sum()) < 0.03] = 1.2
    half = len(days) // 2
    for part, chosen in enumerate((day[keep] < half, day[keep] >= half), 1):
        _write(
            raw / f"HLSL30_SSM_{year}_{part}.csv",
            place.iloc[station[keep][chosen]],
            {name: values[chosen] for name, values in bands.items()},
            np.char.add(head[day[keep][chosen]], tail[keep][chosen]),
        )
    smap = rng.uniform(0.05, 0.45, (n, len(days))).round(5)
    smap[rng.random(smap.shape) < 0.02] = np.nan
    wide = pd.DataFrame(smap, columns=[f"{d}_sm_surface" for d in days])
    pd.concat([place, wide], axis=1).assign(**{".geo": GEO}).to_csv(raw / f"smap_ssm_{year}.csv", index=False)


def straightforward(raw: Path, in_situ: Path, network: Path) -> pd.DataFrame:
    """Make the table as one would at first: pandas, station by station, without limits to gaps."""
    truth = pd.read_csv(in_situ)
    truth["day"] = pd.to_datetime(truth["Date"].astype(str))
    domains = pd.read_csv(network).set_index("ID")["Domain"]
    long = {
        "gridmet": _read_all(raw, "gridmet_SSM_*.csv", lambda s: s[:8], {n: n for n in WEATHER}),
        "lst": _read_all(raw, "LST_MOD11A1_*.csv", lambda s: s[:10].replace("_", ""), {"mean": "LST"}),
        "s1": _read_all(raw, "S1_SSM_*.csv", lambda s: s.split("_")[4][:8], {"VV": "VV", "VH": "VH"}),
        "hls": _read_all(raw, "HLSL30_SSM_*.csv", lambda s: s.split("_")[1][:8], BANDS),
    }
    bands = list(BANDS.values())
    outlier = (long["hls"][bands] > 1).any(axis=1) | (long["hls"][bands] < 0).any(axis=1)
    long["hls"].loc[outlier, bands] = np.nan
    smap = []
    for path in sorted(raw.glob("smap_ssm_*.csv")):
        wide = pd.read_csv(path)
        days = [c for c in wide.columns if c.endswith("_sm_surface")]
        part = wide.melt(id_vars="ID", value_vars=days, var_name="day", value_name="SMAP")
        part["day"] = pd.to_datetime(part["day"].str[:8])
        smap.append(part)
    long["smap"] = pd.concat(smap)
    cover = {int(p.stem[-4:]): pd.read_csv(p).set_index("ID")["mode"] for p in raw.glob("LC_SSM_*.csv")}
    constants = pd.read_csv(raw / "constant_SSM.csv").set_index("ID")
    tables = []
    for station, rows in truth.groupby("ID"):
        table = _one_station(station, rows, long, cover, constants)
        if table is not None:
            tables.append(table.assign(Domain=domains[station]))
    return pd.concat(tables, ignore_index=True)


def _read_all(raw: Path, pattern: str, date, columns: dict[str, str]) -> pd.DataFrame:
    parts = []
    for path in sorted(raw.glob(pattern)):
        part = pd.read_csv(path)
        part["day"] = pd.to_datetime(part["system:index"].map(date))
        parts.append(part.rename(columns=columns)[["ID", "day", *columns.values()]])
    return pd.concat(parts)


def _one_station(station, rows, long, cover, constants) -> pd.DataFrame | None:
    rows = rows.sort_values("day")
    first = min([rows["day"].min(), *(t["day"].min() for t in long.values())])
    last = max([rows["day"].max(), *(t["day"].max() for t in long.values())])
    daily = pd.DataFrame(index=pd.date_range(first, last))
    for table in long.values():
        mine = table[table["ID"] == station].drop(columns="ID").groupby("day").mean()
        daily = daily.join(mine)
    year_of_cover = {
        y: 2016 if y < 2018 else 2019 if y < 2020 else 2021 for y in rows["day"].dt.year.unique()
    }
    code_to_class = {code: name for name, codes in CLASSES.items() for code in codes}
    rows = rows.assign(
        LC=[code_to_class.get(cover[year_of_cover[y]].get(station)) for y in rows["day"].dt.year]
    ).dropna(subset="LC")
    if rows.empty or rows["VWC_5"].isna().mean() >= 0.2:
        return None
    rows = rows.dropna(subset="VWC_5")
    on_rows = daily.reindex(rows["day"])
    daily["SMAP"] = daily["SMAP"].ffill().bfill()
    for name, share in {
        **dict.fromkeys(["VV", "VH"], 0.05),
        **dict.fromkeys([*BANDS.values(), "LST"], 0.03),
    }.items():
        if on_rows[name].notna().mean() > share:
            daily[name] = daily[name].interpolate("linear", limit_direction="both")
    lags = {f"{name}_{lag}": daily[name].shift(lag) for name in [*SERIES, "SMAP"] for lag in range(1, 11)}
    daily = pd.concat([daily, pd.DataFrame(lags)], axis=1)
    table = rows.merge(daily, left_on="day", right_index=True)
    for name in ("elevation", "slope", "aspect"):
        table[name] = constants.loc[station, name]
    for name in ("clay", "sand", "bd"):
        table[name] = constants.loc[station, f"{name}_5"]
    for name in ORDER:
        table[f"LC_{name}"] = (table["LC"] == name).astype(float)
    table["DoY"] = table["day"].dt.dayofyear
    table["DoY_normalized"] = np.cos((table["DoY"] - 1) / 365 * np.pi)
    table["aspect_normalized"] = np.cos(table["aspect"] / 360 * np.pi)
    _add_indices(table)
    needed = [c for c in table.columns if not c.startswith("SMAP_")]
    return table.replace([np.inf, -np.inf], np.nan).dropna(subset=needed)


def _add_indices(t: pd.DataFrame) -> None:
    t["ndvi"] = (t.NIR - t.Red) / (t.NIR + t.Red)
    t["evi"] = 2.5 * (t.NIR - t.Red) / (t.NIR + 6 * t.Red - 7.5 * t.Blue + 1)
    t["ndwi"] = (t.Green - t.NIR) / (t.Green + t.NIR)
    t["lswi"] = (t.NIR - t.SWIR1) / (t.NIR + t.SWIR1)
    t["nsdsi"] = (t.SWIR1 - t.SWIR2) / t.SWIR1
    t["cr"] = t.VV / t.VH
    t["dpsvim"] = (t.VV**2 + t.VH**2) / 2**5
    t["pol"] = (t.VV + t.VH) / (t.VV - t.VH)
    t["rvim"] = 4 * t.VH / (t.VV + t.VH)
    t["vvvh"] = t.VV - t.VH


def build_here(raw: Path, in_situ: Path, network: Path) -> pd.DataFrame:
    """The same through the package."""
    from mmnet_maps.catalogue import published_catalogue
    from mmnet_maps.prepare.stations.settings import StationTableConfig
    from mmnet_maps.prepare.stations.table import build_station_table
    from mmnet_maps.sources.stations.in_situ import read_in_situ, read_network
    from mmnet_maps.sources.stations.raw_exports import read_raw_folder

    catalogue = published_catalogue().without(["TIRS1", "TIRS2", "angle"])
    settings = StationTableConfig(gap_limits="none")
    truth, places = read_in_situ(in_situ), read_network(network)
    return build_station_table(read_raw_folder(raw, catalogue), truth, places, settings, catalogue).frame


def compare(here: pd.DataFrame, plain: pd.DataFrame) -> float:
    """Largest difference relative to the spread of a column; raises unless rows and columns are the same."""
    plain = plain.sort_values(["ID", "Date"]).reset_index(drop=True)
    assert list(here["ID"]) == list(plain["ID"]) and list(here["Date"]) == list(plain["Date"])
    worst = 0.0
    for name in plain.columns.intersection(here.columns):
        if pd.api.types.is_float_dtype(plain[name]) or pd.api.types.is_float_dtype(here[name]):
            a, b = here[name].to_numpy(float), plain[name].to_numpy(float)
            assert (np.isnan(a) == np.isnan(b)).all(), name
            scale = max(np.nanstd(b), np.nanmax(np.abs(b)) * 1e-3, 1e-12)
            worst = max(worst, float(np.nanmax(np.abs(a - b))) / scale)
    return worst


def timed(
    build: Callable[[Path, Path, Path], pd.DataFrame], files: tuple[Path, Path, Path]
) -> tuple[pd.DataFrame, float, float]:
    """The table, and the wall and processor seconds that it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    table = build(*files)
    return table, time.perf_counter() - wall, time.process_time() - cpu


def main(stations: int = 200, years: int = 7) -> None:
    """Run both on the same exports and print the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        files = write_exports(Path(folder), stations, list(range(2016, 2016 + years)))
        build_here(*files)  # imports and file cache
        here, mine, my_cpu = timed(build_here, files)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        plain, theirs, their_cpu = timed(straightforward, files)
    report = {
        "rows": len(here),
        "rows_per_s": round(len(here) / mine),
        "plain_rows_per_s": round(len(plain) / theirs),
        "ratio": round(theirs / mine, 1),
        "ratio_of_processor_time": round(their_cpu / my_cpu, 1),
        "largest_relative_difference": compare(here, plain),
        "peak_memory_mib": round(peak),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main(*(int(text) for text in sys.argv[1:]))
