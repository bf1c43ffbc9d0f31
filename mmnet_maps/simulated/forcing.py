"""Weather of the coarse grid drawn smoothly over the pixels of a site, strip by strip."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from mmnet_maps.grid import Grid
from mmnet_maps.simulated.fields import spline_matrix
from mmnet_maps.simulated.weather import Weather

__all__ = ["Forcing"]

Array = NDArray[np.float32]

#: Distance between the nodes that a field is drawn from, metres.
_NODE_M = 3_840.0


class Forcing:
    """Daily weather at pixels.

    Cell values are interpolated bilinearly to nodes on the site's own grid, and from these by splines to the
    pixels, so that nothing of the coarse grid's outline is left in the field.

    Parameters
    ----------
    site : Grid
    weather : Weather
    """

    def __init__(self, site: Grid, weather: Weather) -> None:
        spacing = _NODE_M / abs(site.transform[0])
        self._rows = spline_matrix(site.height, spacing)
        self._cols = np.ascontiguousarray(spline_matrix(site.width, spacing).T)
        self._weights = _node_weights(site, weather.grid, spacing, self._rows.shape[1], self._cols.shape[0])
        self._weather = weather
        self._across: dict[str, Array] = {}

    def set_day(self, number: int, names: Iterable[str]) -> None:
        """Choose the day (row of the weather) and the variables to be drawn."""
        shape = self._rows.shape[1], self._cols.shape[0]
        for name in names:
            nodes = (self._weights @ self._weather.values[name][number]).reshape(shape)
            self._across[name] = nodes.astype(np.float32) @ self._cols

    def strip(self, name: str, rows: slice) -> Array:
        """Values of a variable on some rows of pixels, float32."""
        return np.asarray(self._rows[rows] @ self._across[name])


def _node_weights(site: Grid, cells: Grid, spacing: float, rows: int, cols: int) -> NDArray[np.float64]:
    """Bilinear weights from cells to nodes, shape (nodes, cells); nodes beyond the outer cells take these."""
    a, _, left, _, e, top = site.transform
    x = left + a * spacing * (np.arange(cols) - 1.0)
    y = top + e * spacing * (np.arange(rows) - 1.0)
    to = Transformer.from_crs(site.crs, cells.crs, always_xy=True)
    lon, lat = to.transform(np.tile(x, rows), np.repeat(y, cols))
    r, c = cells.position(lon, lat)
    r = np.clip(r - 0.5, 0.0, cells.height - 1.0)
    c = np.clip(c - 0.5, 0.0, cells.width - 1.0)
    weights = np.zeros((r.size, cells.height * cells.width))
    node = np.arange(r.size)
    for row, row_share in _neighbours(r, cells.height):
        for col, col_share in _neighbours(c, cells.width):
            np.add.at(weights, (node, row * cells.width + col), row_share * col_share)
    return weights


def _neighbours(
    place: NDArray[np.float64], count: int
) -> tuple[tuple[NDArray[np.int64], NDArray[np.float64]], ...]:
    first = np.minimum(place.astype(np.int64), max(count - 2, 0))
    second = np.minimum(first + 1, count - 1)
    return (first, 1.0 - (place - first)), (second, place - first)
