"""What satellites with coarse pixels see of the truth: SMAP, MODIS surface temperature, and clouds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from mmnet_maps.simulated.fields import correlated_field, spline_matrix
from mmnet_maps.simulated.forcing import Forcing
from mmnet_maps.simulated.grids import EASE2_9KM, MODIS_1KM, Cells, cells_of
from mmnet_maps.simulated.landscape import Landscape
from mmnet_maps.simulated.packings import LST, SMAP
from mmnet_maps.simulated.water_balance import WaterBalance
from mmnet_maps.simulated.weather import LAPSE

__all__ = ["Clouds", "PassiveRadiometer", "Thermometer"]

Array = NDArray[np.float32]

#: Pixels between the nodes of the cloud field.
_CLOUD_NODE = 16
#: Height of the cloud field above which a 1 km cell is screened: a little below that of cloud (0), since a
#: cell beside a cloud holds some of it.
_SCREENED = -0.3


class Clouds:
    """A cloud field a day, in patches, covering the share of the sky that the weather says.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : (int, int)
        Pixels of the site.
    step : float
        Pixel size, m.
    """

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int], step: float) -> None:
        self._rng, self._step = rng, step
        self._rows, self._cols = spline_matrix(shape[0], _CLOUD_NODE), spline_matrix(shape[1], _CLOUD_NODE)
        self._nodes = np.zeros((self._rows.shape[1], self._cols.shape[1]), dtype=np.float32)

    def set_day(self, share: float) -> None:
        """Draw the field of a day on which clouds cover this share of the sky."""
        node_m = _CLOUD_NODE * self._step
        field = correlated_field(self._rng, self._nodes.shape, node_m, longest=9_000.0, slope=1.5)
        # Morning overpasses find less cloud than the day's mean.
        self._nodes = field + np.float32(ndtri(np.clip(0.9 * share, 0.002, 0.998)))

    def density(self, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Array:
        """The field at some pixels; it is above 0 inside a cloud."""
        return np.asarray(np.einsum("ij,ij->i", self._rows[rows] @ self._nodes, self._cols[cols]))

    def mask(self) -> NDArray[np.bool_]:
        """True where a pixel is under a cloud or in its shadow."""
        density = self._rows @ self._nodes @ self._cols.T
        # Ragged edges: detail that only matters where the field is near its threshold.
        density += np.float32(0.25) * correlated_field(
            self._rng, density.shape, self._step, longest=500.0, slope=1.2
        )
        cloud = density > 0
        rows, cols = cloud.shape
        down, left = (int(n) for n in self._rng.integers(4, 20, 2))
        shadow = np.zeros_like(cloud)
        # The sun stands in the south-east: shadows fall to the north-west.
        shadow[: max(rows - down, 0), : max(cols - left, 0)] = cloud[down:, left:]
        return np.asarray(cloud | shadow)


class PassiveRadiometer:
    """SMAP at 9 km: the mean of the truth over the land of each cell, biased and noisy.

    A cell that reaches beyond the site is the mean of its part inside.

    Parameters
    ----------
    rng : numpy.random.Generator
    landscape : Landscape

    Attributes
    ----------
    cells : Cells
    """

    def __init__(self, rng: np.random.Generator, landscape: Landscape) -> None:
        self._rng, self._land = rng, landscape.cover.land
        self.cells: Cells = cells_of(EASE2_9KM, landscape.grid)
        self._inland = self.cells.of(self._land)
        self._bias = 0.012 * rng.standard_normal(self.cells.count)
        self._drift = 0.012 * rng.standard_normal(self.cells.count)

    def mean(self, moisture: Array) -> NDArray[np.float64]:
        """Mean of the truth over the land of each cell; NaN for a cell of water."""
        return self._inland.mean(moisture[self._land])

    def see(self, moisture: Array) -> NDArray[np.int16]:
        """Stored values of a day, shape (cells,)."""
        fresh = self._rng.standard_normal((2, self.cells.count))
        self._drift = 0.8 * self._drift + 0.012 * 0.6 * fresh[0]
        # The model behind the product has a smaller range than the ground, and a wet bias.
        seen = 0.035 + 0.88 * self.mean(moisture) + self._bias + self._drift + 0.008 * fresh[1]
        return np.asarray(SMAP.encode(np.clip(seen, 0.01, 0.6)))


class Thermometer:
    """MOD11A1 day-time surface temperature at 1 km: hotter where the ground is short of water.

    Parameters
    ----------
    rng : numpy.random.Generator
    landscape : Landscape
    forcing : Forcing

    Attributes
    ----------
    cells : Cells
    """

    def __init__(self, rng: np.random.Generator, landscape: Landscape, forcing: Forcing) -> None:
        self._rng, self._forcing = rng, forcing
        self._height = np.float32(LAPSE) * landscape.terrain.elevation
        self._rows = slice(0, landscape.grid.height)
        self.cells: Cells = cells_of(MODIS_1KM, landscape.grid)
        rows, cols = np.indices(landscape.grid.shape, dtype=np.float32)
        # Where the pixels of a cell have their middle; a cell without pixels sees nothing, wherever it is.
        middle = (np.nan_to_num(self.cells.mean(a)).astype(np.int64) for a in (rows, cols))
        self._middle_row, self._middle_col = middle

    def kelvin(self, number: int, balance: WaterBalance) -> Array:
        """Surface temperature of every pixel under a clear sky."""
        self._forcing.set_day(number, ("sea_level_max", "srad"))
        heating = balance.dryness * (np.float32(0.050) - np.float32(0.026) * balance.green)
        heating += np.float32(0.012)
        heating *= self._forcing.strip("srad", self._rows)
        heating += self._forcing.strip("sea_level_max", self._rows) - self._height
        if balance.snow.any():
            np.minimum(heating, np.float32(0.5), out=heating, where=balance.snow > 5)
        heating += np.float32(273.15)
        return np.asarray(heating)

    def see(self, number: int, balance: WaterBalance, clouds: Clouds) -> NDArray[np.uint16]:
        """Stored values of a day, shape (cells,); missing where there is cloud."""
        hidden = clouds.density(self._middle_row, self._middle_col) > _SCREENED
        noise = 0.5 * self._rng.standard_normal(self.cells.count)
        seen = (self.cells.mean(self.kelvin(number, balance)) + noise) / 0.02
        return np.asarray(LST.encode(np.where(hidden, np.nan, seen)))
