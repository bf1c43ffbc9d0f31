"""Training stations in several climates, written as raw exports, ground truth and a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mmnet_maps.progress import steps
from mmnet_maps.simulated.climates import CLIMATES
from mmnet_maps.simulated.config import SimulationConfig
from mmnet_maps.simulated.exports import RawExports
from mmnet_maps.simulated.fields import generator
from mmnet_maps.simulated.folders import fresh_folders
from mmnet_maps.simulated.landscape import square_grid, utm_zone
from mmnet_maps.simulated.places import Probe, Station, choose_stations, write_in_situ, write_network
from mmnet_maps.simulated.site import Site

__all__ = ["collect_days", "simulate_stations"]


def simulate_stations(config: SimulationConfig, out: Path) -> dict[str, Any]:
    """Simulate the training stations.

    Writes ``stations/raw/*.csv`` (the published export layout), ``stations/in_situ.csv`` and
    ``stations/network.gpkg`` under `out`, each complete or not at all.

    Parameters
    ----------
    config : SimulationConfig
    out : Path
        Folder of the simulation.

    Returns
    -------
    dict
        ``stations``, ``rows`` (of the ground truth), ``first_day``, ``last_day``, ``domains``, and the paths
        ``raw``, ``in_situ``, ``network``.

    Raises
    ------
    InputError
        ``out / "stations"`` is there and is no simulation.
    """
    exports = RawExports()
    truth: list[dict[str, Any]] = []
    everyone: list[Station] = []
    with fresh_folders(config, out, ("stations",)) as root:
        places = [(c, i) for c in config.climates for i in range(_landscapes(config))]
        with steps("Simulating stations", len(places)) as advance:
            for climate, landscape in places:
                site, stations = _site(config, climate, landscape, len(everyone) + 1)
                everyone += stations
                truth += collect_days(config, site, stations, exports)
                advance()
        folder = root / "stations"
        (folder / "raw").mkdir()
        exports.write(folder / "raw")
        write_in_situ(folder / "in_situ.csv", truth)
        write_network(folder / "network.gpkg", everyone)
    return {
        "stations": len(everyone),
        "rows": len(truth),
        "first_day": config.station_first_day.isoformat(),
        "last_day": config.station_last_day.isoformat(),
        "domains": {d: sum(s.domain == d for s in everyone) for d in "WME"},
        "raw": str(out / "stations" / "raw"),
        "in_situ": str(out / "stations" / "in_situ.csv"),
        "network": str(out / "stations" / "network.gpkg"),
    }


def _landscapes(config: SimulationConfig) -> int:
    return min(config.landscapes_per_climate, config.stations_per_climate)


def _site(config: SimulationConfig, climate: str, landscape: int, first: int) -> tuple[Site, list[Station]]:
    """One landscape of a climate and its share of the climate's stations."""
    # A place's number depends on the climate's own place in the table, not on which others are simulated.
    place = 1 + 100 * list(CLIMATES).index(climate) + landscape
    terms = CLIMATES[climate]
    east, north = generator(config.seed, place, 0).uniform(-1.2, 1.2, 2)
    longitude, latitude = terms.longitude + float(east), terms.latitude + float(north)
    grid = square_grid(utm_zone(longitude), longitude, latitude, config.station_pixels, config.resolution)
    site = Site(config, place, terms, grid, config.station_first_day, config.station_last_day)
    shares = np.array_split(np.arange(config.stations_per_climate), _landscapes(config))
    rng = generator(config.seed, place, 30)
    return site, choose_stations(rng, site, shares[landscape].size, first)


def collect_days(
    config: SimulationConfig, site: Site, stations: list[Station], exports: RawExports
) -> list[dict[str, Any]]:
    """Run a site through its days into the exports; returns the rows of the ground truth."""
    probe = Probe(generator(config.seed, stations[0].number, 31), stations)
    exports.add_site(site, stations)
    rows: list[dict[str, Any]] = []
    for seen in site.days():
        exports.add_day(site, stations, seen)
        rows += probe.read(seen)
    return rows
