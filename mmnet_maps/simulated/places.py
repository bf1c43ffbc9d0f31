"""Stations of a site: where they stand, what their probes say, and the files of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
from numpy.typing import NDArray

from mmnet_maps.grid import Tile, lonlat
from mmnet_maps.simulated.site import Observations, Site

__all__ = ["Probe", "Station", "choose_stations", "write_in_situ", "write_network"]

#: Standard deviation of a probe's calibration and of its daily noise, m3 m-3; share of days without a value.
_CALIBRATION, _NOISE, _GAPS = 0.005, 0.006, 0.03
#: Stands in for the time of writing, which would make two equal files differ.
_WRITTEN = "2000-01-01T00:00:00Z"


@dataclass(frozen=True)
class Station:
    """One station, standing at the centre of its pixel.

    Attributes
    ----------
    number : int
        Its row in the exports.
    id, network, domain : str
    row, col : int
        Pixel of its site.
    longitude, latitude : float
        Degree.
    """

    number: int
    id: str
    network: str
    domain: str
    row: int
    col: int
    longitude: float
    latitude: float

    @property
    def index(self) -> str:
        """The row number as it ends an exported ``system:index``."""
        return f"{self.number:020x}"


def choose_stations(rng: np.random.Generator, site: Site, count: int, first: int) -> list[Station]:
    """Scatter stations over the land of a site, apart from each other and from its edges.

    Each is the best of some random pixels: it stands in a land cover that has few stations so far, and far
    from the others.

    Parameters
    ----------
    rng : numpy.random.Generator
    site : Site
    count : int
    first : int
        Number of the first station, which makes its id unique.
    """
    grid, cover = site.landscape.grid, site.landscape.cover
    edge = min(8, grid.height // 8)
    inner = np.zeros(grid.shape, dtype=bool)
    inner[edge:-edge, edge:-edge] = True
    # Nobody installs a probe under a building.
    free = np.flatnonzero(inner & cover.land & (cover.code != 24))
    chosen: list[int] = []
    for _ in range(min(count, free.size)):
        offers = rng.choice(free, 24)
        chosen.append(int(offers[int(np.argmax(_merit(offers, chosen, cover.plant, grid.width)))]))
    lon, lat = lonlat(grid, Tile(0, 0, grid.height, grid.width))
    stations = []
    for number, pixel in enumerate(chosen, start=first):
        row, col = divmod(pixel, grid.width)
        network = "USCRN" if number % 3 == 0 else "SCAN"
        stations.append(
            Station(
                number,
                f"{network}_Simulated_{number}",
                network,
                site.landscape.climate.domain,
                row,
                col,
                float(lon[row, col]),
                float(lat[row, col]),
            )
        )
    return stations


def _merit(
    offers: NDArray[np.int64], chosen: Sequence[int], plant: NDArray[np.uint8], width: int
) -> NDArray[np.float64]:
    if not chosen:
        return np.zeros(offers.size)
    taken = np.array(chosen)
    rows, cols = offers // width, offers % width
    distance = np.hypot(rows[:, None] - taken // width, cols[:, None] - taken % width).min(axis=1)
    alike = (plant.ravel()[offers][:, None] == plant.ravel()[taken]).sum(axis=1)
    return np.asarray(np.minimum(distance / width, 0.25) * 2 - 0.25 * alike)


class Probe:
    """In situ values of some stations: the truth of the pixel with a little error, some days missing."""

    def __init__(self, rng: np.random.Generator, stations: Sequence[Station]) -> None:
        self._rng, self._stations = rng, tuple(stations)
        self._rows = np.array([s.row for s in stations], dtype=np.int64)
        self._cols = np.array([s.col for s in stations], dtype=np.int64)
        self._offset = _CALIBRATION * rng.standard_normal(len(stations))

    def read(self, seen: Observations) -> list[dict[str, Any]]:
        """Rows of a day; NaN is a gap, and a frozen probe, whose value would mean nothing, gives no row."""
        values = seen.moisture[self._rows, self._cols].astype(np.float64) + self._offset
        values += _NOISE * self._rng.standard_normal(values.size)
        values[self._rng.random(values.size) < _GAPS] = np.nan
        values = np.clip(values, 0.005, 0.7)
        date = int(str(np.datetime64(seen.day, "D")).replace("-", ""))
        frozen = seen.frozen[self._rows, self._cols]
        return [
            {
                "ID": s.id,
                "Network": s.network,
                "Latitude": s.latitude,
                "Longitude": s.longitude,
                "Date": date,
                "VWC_5": round(value, 4),
            }
            for s, value, ice in zip(self._stations, values.tolist(), frozen, strict=True)
            if not ice
        ]


def write_in_situ(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the ground truth table: ID Network Latitude Longitude Date VWC_5; an empty cell is a gap."""
    frame = pd.DataFrame(rows, columns=["ID", "Network", "Latitude", "Longitude", "Date", "VWC_5"])
    frame = frame.sort_values(["ID", "Date"], kind="stable")
    frame.to_csv(path, index=False)


def write_network(path: Path, stations: Sequence[Station]) -> None:
    """Write the station network (GeoPackage, EPSG:4326): ID Network Latitude Longitude Domain, points."""
    frame = gpd.GeoDataFrame(
        {
            "ID": [s.id for s in stations],
            "Network": [s.network for s in stations],
            "Latitude": [s.latitude for s in stations],
            "Longitude": [s.longitude for s in stations],
            "Domain": [s.domain for s in stations],
        },
        geometry=gpd.points_from_xy([s.longitude for s in stations], [s.latitude for s in stations]),
        crs="EPSG:4326",
    )
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _WRITTEN})
    try:
        frame.to_file(path, layer="network", driver="GPKG")
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})
