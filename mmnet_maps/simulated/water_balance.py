"""Daily bucket water balance of every pixel: the truth of the simulation.

Two layers (0-5 cm over a root zone) hold rain and melt water; the surface layer dries by evaporation, the
root zone by transpiration, both by drainage. What leaves the root zone feeds a shallow ground water that
seeps out again where the wetness index is high. Every millimetre is booked (`WaterBalance.books`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.simulated.fields import spline_matrix
from mmnet_maps.simulated.forcing import Forcing
from mmnet_maps.simulated.landscape import Landscape
from mmnet_maps.simulated.plants import PLANTS, season_table
from mmnet_maps.simulated.weather import LAPSE

__all__ = ["SURFACE_MM", "Books", "WaterBalance"]

Array = NDArray[np.float32]

#: Thickness of the surface layer and of the root zone below it, mm.
SURFACE_MM, ROOT_MM = 50.0, 500.0
#: Rows worked on at once, so that the arrays of a strip stay in the processor's cache.
_STRIP_PIXELS = 32_768
#: Share of the ground water that leaves it a day, and the share of that which seeps out on the hillslope.
_RELEASE, _SEEPING = 0.06, 0.75
_MELT_MM_PER_K = 3.0
#: Capillary rise, mm a day for a unit difference of moisture between the layers.
_RISE_MM = 22.0
#: Share of the water that leaves the surface layer which runs down the slope instead of into the root zone.
_INTERFLOW = 0.3
#: Days between two updates of the green cover, and the days in which it follows its target.
_GREEN_EVERY, _GREEN_DAYS = 4, 18.0
#: Pixels of the mesh that ground water is kept on.
_MESH_PIXELS = 24


@dataclass
class Books:
    """Sums over all days and pixels, mm times pixels."""

    rain: float = 0.0
    evaporation: float = 0.0
    runoff: float = 0.0
    baseflow: float = 0.0


class WaterBalance:
    """State of the water of a site.

    Parameters
    ----------
    landscape : Landscape
    forcing : Forcing
        Daily weather; day 0 is the first step.
    day_of_year : ndarray of int
        Of each step.
    coldest : ndarray of float64
        Lowest mean temperature of each step anywhere on the site, degree C: snow is skipped on warm days.

    Attributes
    ----------
    moisture : ndarray of float32
        True soil moisture of 0-5 cm at the end of the last day, m3 m-3.
    stress : ndarray of float32
        Transpiration as a share of that of well-watered plants.
    dryness : ndarray of float32
        1 less actual by reference evapotranspiration.
    snow, green : ndarray of float32
        Snow water, mm; green cover fraction.
    books : Books
    """

    def __init__(
        self,
        landscape: Landscape,
        forcing: Forcing,
        day_of_year: NDArray[np.int64],
        coldest: NDArray[np.float64],
    ) -> None:
        shape = landscape.grid.shape
        self._forcing, self._day_of_year, self._coldest = forcing, day_of_year, coldest
        self._fields = _pixel_fields(landscape)
        self._plant = landscape.cover.plant
        self._season = season_table(landscape.climate.green_up)
        self._ground = _GroundWater(shape, landscape.terrain.wetness)
        self._surface = 0.8 * self._fields["capacity_1"]
        self._root = 0.8 * self._fields["capacity_2"]
        self.snow = np.zeros(shape, dtype=np.float32)
        self.green = self._season[day_of_year[0]][self._plant]
        self.moisture = self._surface / np.float32(SURFACE_MM)
        self.stress = np.ones(shape, dtype=np.float32)
        self.dryness = np.zeros(shape, dtype=np.float32)
        self.books = Books()

    def storage(self) -> float:
        """All water held by the site, mm times pixels."""
        held = sum(float(a.sum(dtype=np.float64)) for a in (self._surface, self._root, self.snow))
        return held + self._ground.storage()

    def step(self, number: int) -> None:
        """Advance by one day, the `number`-th of the weather."""
        cold = bool(self._coldest[number] < 2.0)
        self._forcing.set_day(number, ("pr", "eto", *(("sea_level_mean",) if cold else ())))
        self.books.baseflow += self._ground.release()
        rows, cols = self.moisture.shape
        height = max(1, _STRIP_PIXELS // cols)
        for top in range(0, rows, height):
            self._strip(slice(top, min(rows, top + height)), number, cold)
        self._ground.settle()

    def _strip(self, rows: slice, number: int, cold: bool) -> None:
        f = {name: values[rows] for name, values in self._fields.items()}
        green = self.green[rows]
        water_in = self._forcing.strip("pr", rows) * f["rain_factor"]
        self.books.rain += float(water_in.sum(dtype=np.float64))
        if cold or self.snow[rows].any():
            water_in = self._snow(rows, water_in, f["elevation"], cold)
        runoff = water_in * f["sealed"]
        surface = self._surface[rows] + (water_in - runoff)
        drained = np.maximum((surface - f["capacity_1"]) * f["drainage_1"], surface - f["pores_1"])
        np.maximum(drained, 0, out=drained)
        surface -= drained
        sideways = drained * np.float32(_INTERFLOW)
        root = self._root[rows] + (drained - sideways)
        root += self._ground.seepage(rows)
        spilled = np.maximum(root - f["pores_2"], 0)
        root -= spilled
        runoff += spilled
        percolated = np.maximum(root - f["capacity_2"], 0) * f["drainage_2"]
        root -= percolated
        self._ground.recharge(rows, percolated + sideways)

        eto = self._forcing.strip("eto", rows) * f["sun_factor"]
        wet = np.clip((surface - f["dry_1"]) * f["per_range_1"], 0, 1)
        stress = np.clip((root - f["wilting_2"]) * f["per_range_2"], 0, 1)
        evaporated = np.minimum(
            eto * (np.float32(0.55) - np.float32(0.42) * green) * wet,
            np.float32(0.6) * np.maximum(surface - f["dry_1"], 0),
        )
        transpired = eto * f["crop_factor"] * green * stress
        shallow = transpired * wet * np.float32(0.12)
        evaporated += shallow
        deep = transpired - shallow
        rise = np.maximum(
            root * np.float32(_RISE_MM / ROOT_MM) - surface * np.float32(_RISE_MM / SURFACE_MM), 0
        )
        surface += rise - evaporated
        root -= rise + deep
        evaporated += deep

        self.books.evaporation += float(evaporated.sum(dtype=np.float64))
        self.books.runoff += float(runoff.sum(dtype=np.float64))
        self._surface[rows], self._root[rows], self.stress[rows] = surface, root, stress
        np.multiply(surface, np.float32(1 / SURFACE_MM), out=self.moisture[rows])
        np.subtract(1, evaporated / (eto + np.float32(0.01)), out=self.dryness[rows])
        if number % _GREEN_EVERY == 0:
            self._grow(rows, number, stress, f["drought_response"])

    def _snow(self, rows: slice, rain: Array, elevation: Array, cold: bool) -> Array:
        """Keep snow back and add melt water."""
        if cold:
            celsius = self._forcing.strip("sea_level_mean", rows) - np.float32(LAPSE) * elevation
        else:
            celsius = np.full(rain.shape, 5.0, dtype=np.float32)
        frozen = rain * np.clip((np.float32(2.0) - celsius) * np.float32(1 / 3), 0, 1)
        snow = self.snow[rows] + frozen
        melt = np.minimum(snow, np.maximum(celsius, 0) * np.float32(_MELT_MM_PER_K))
        np.subtract(snow, melt, out=self.snow[rows])
        return np.asarray(rain - frozen + melt)

    def _grow(self, rows: slice, number: int, stress: Array, response: Array) -> None:
        """Let green cover follow season and water supply, with a delay of weeks."""
        target = self._season[self._day_of_year[number]][self._plant[rows]]
        target *= 1 - response * (1 - stress)
        self.green[rows] += (target - self.green[rows]) * np.float32(_GREEN_EVERY / _GREEN_DAYS)


class _GroundWater:
    """Shallow ground water on a coarse mesh, so that hillslopes share it with their surroundings."""

    def __init__(self, shape: tuple[int, int], wetness: Array) -> None:
        self._rows = spline_matrix(shape[0], _MESH_PIXELS)
        self._cols = spline_matrix(shape[1], _MESH_PIXELS)
        self._share = np.exp(np.float32(1.1) * wetness)
        # Splines spread a node over its pixels; read backwards they collect pixels into nodes, and since the
        # weights of a pixel add up to 1 nothing is lost on the way.
        self._area = self._collect(np.ones(shape, dtype=np.float32))
        self._reach = self._collect(self._share)
        self.level = np.full(self._area.shape, 20.0)
        self._inflow = np.zeros_like(self.level)
        self._across = np.zeros((self._rows.shape[1], shape[1]), dtype=np.float32)

    def _collect(self, field: Array, rows: slice = slice(None)) -> NDArray[np.float64]:
        return np.asarray((self._rows[rows].T @ field @ self._cols).astype(np.float64))

    def storage(self) -> float:
        return float((self.level * self._area).sum())

    def release(self) -> float:
        """Start a day: take out the day's outflow, set the seepage; returns what leaves the site."""
        before = self.storage()
        self.level *= 1.0 - _RELEASE
        out = before - self.storage()
        pattern = float((self.level * self._reach).sum())
        per_level = _SEEPING * out / pattern if pattern > 0 else 0.0
        self._across = (self.level * per_level).astype(np.float32) @ self._cols.T
        return out * (1.0 - _SEEPING)

    def seepage(self, rows: slice) -> Array:
        return np.asarray((self._rows[rows] @ self._across) * self._share[rows])

    def recharge(self, rows: slice, percolated: Array) -> None:
        self._inflow += self._collect(percolated, rows)

    def settle(self) -> None:
        """End a day: the water that percolated joins the ground water."""
        self.level += self._inflow / self._area
        self._inflow[...] = 0.0


def _pixel_fields(landscape: Landscape) -> dict[str, Array]:
    """What the balance needs of each pixel; water contents in mm of their layer."""
    soil, terrain, cover = landscape.soil, landscape.terrain, landscape.cover
    organic = 1.8 + 0.4 * terrain.wetness
    # Rawls, Brakensiek and Saxton (1982): water held at 33 and at 1,500 kPa.
    field = 0.2576 - 0.0020 * soil.sand + 0.0036 * soil.clay + 0.0299 * organic
    wilting = 0.0260 + 0.0050 * soil.clay + 0.0158 * organic
    pores = 1.0 - soil.bd / 2.65
    field = np.clip(field, wilting + 0.04, 0.85 * pores)
    # Cosby et al. (1984): saturated conductivity, inch per hour, here mm per day.
    conductivity = 25.4 * 24 * 10 ** (-0.6 + 0.0126 * soil.sand - 0.0064 * soil.clay)
    dry = 0.55 * wilting
    table = {name: cover.table({k: getattr(p, name) for k, p in PLANTS.items()}) for name in _OF_PLANTS}
    fields = {
        "capacity_1": SURFACE_MM * field,
        "pores_1": SURFACE_MM * pores,
        "dry_1": SURFACE_MM * dry,
        "per_range_1": 1 / (SURFACE_MM * (field - dry)),
        "drainage_1": 1 - np.exp(-conductivity / 150.0 - 0.5),
        "capacity_2": ROOT_MM * field,
        "pores_2": ROOT_MM * 0.95 * pores,
        "wilting_2": ROOT_MM * wilting,
        "per_range_2": 1 / (0.6 * ROOT_MM * (field - wilting)),
        "drainage_2": 1 - np.exp(-conductivity / 1_500.0 - 0.05),
        "rain_factor": np.clip(1 + 0.4e-3 * (terrain.elevation - landscape.climate.elevation), 0.7, 1.5),
        "sun_factor": _sun_factor(landscape),
        "elevation": terrain.elevation,
        "sealed": table["sealed"],
        "crop_factor": table["coefficient"],
        "drought_response": 0.7 - 0.1 * table["water"],
    }
    return {name: values.astype(np.float32) for name, values in fields.items()}


_OF_PLANTS = ("sealed", "coefficient", "water")


def _sun_factor(landscape: Landscape) -> NDArray[np.floating]:
    """Radiation on the slope by that on level ground, the sun in the south, 50 degrees high."""
    slope, aspect = np.radians(landscape.terrain.slope), np.radians(landscape.terrain.aspect)
    direct = np.cos(slope) + np.tan(np.radians(40.0)) * np.sin(slope) * np.cos(np.pi - aspect)
    return np.asarray(np.clip(0.25 + 0.75 * direct, 0.3, 1.5))
