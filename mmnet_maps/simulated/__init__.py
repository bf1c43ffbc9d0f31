"""A simulated region: the embedded default data and the test bed, with a known truth.

A landscape, stochastic weather and a daily water balance give the true 0-5 cm soil moisture of every pixel;
what the instruments would see of it is written as the same files that a user has. The truth is written
beside them, for validation alone.
"""

from __future__ import annotations

from mmnet_maps.simulated.as_cube import cube_settings
from mmnet_maps.simulated.config import SimulationConfig
from mmnet_maps.simulated.rasters import simulate_region
from mmnet_maps.simulated.stations import simulate_stations

__all__ = ["SimulationConfig", "cube_settings", "simulate_region", "simulate_stations"]
