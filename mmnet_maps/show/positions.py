"""Where a point of a web map lies in the grid of the maps, as a polynomial that a browser evaluates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from mmnet_maps.crs import near, transform
from mmnet_maps.grid import Grid

__all__ = ["evaluate", "fitted"]

Float = NDArray[np.float64]

#: Degrees that are tried, the error in pixels that is enough, and nodes a side of the fit and of its check.
_DEGREES, _ENOUGH, _NODES = (2, 3, 4, 6, 8, 10, 12, 14), 1e-4, 24


def fitted(grid: Grid, bounds: tuple[float, ...]) -> dict[str, Any]:
    """Row and column of a grid as Chebyshev series in the position on a web map.

    Parameters
    ----------
    grid : Grid
    bounds : (west, south, east, north)
        In degrees; the east of a grid across 180 degrees is above 180.

    Returns
    -------
    dict
        ``centre`` and ``half``: the middle and half the size of the bounds on the unit square of a web map,
        (x, y); ``row`` and ``col``: coefficients c[i][j] of T_i(u) T_j(v), where u and v run from -1 to 1;
        ``error``: the largest difference from the projection, in pixels.
    """
    west, south, east, north = bounds
    x = np.array([west, east]) / 360 + 0.5
    y = 0.5 - np.arctanh(np.sin(np.radians(np.clip([north, south], -85.05, 85.05)))) / (2 * np.pi)
    centre, half = (x.mean(), y.mean()), (float(np.ptp(x)) / 2, float(np.ptp(y)) / 2)
    nodes, check = np.cos(np.pi * (np.arange(_NODES) + 0.5) / _NODES), np.linspace(-1, 1, _NODES + 7)
    fit, test = (np.meshgrid(part, part, indexing="ij") for part in (nodes, check))
    (known, wanted), (other, expected) = (_positions(grid, centre, half, *part) for part in (fit, test))
    found: dict[str, Any] = {}
    for degree in _DEGREES:
        basis, again = (
            chebyshev.chebvander2d(u.ravel()[kept], v.ravel()[kept], [degree, degree])
            for (u, v), kept in ((fit, known), (test, other))
        )
        solved = np.linalg.lstsq(basis, wanted, rcond=None)[0]
        error = float(np.abs(again @ solved - expected).max())
        found = {"centre": centre, "half": half, "error": error}
        for k, name in enumerate(("row", "col")):
            found[name] = solved[:, k].reshape(degree + 1, degree + 1).tolist()
        if error < _ENOUGH:
            break
    return found


def evaluate(found: dict[str, Any], lon: Float, lat: Float) -> tuple[Float, Float]:
    """Row and column, with their fractions, as the page computes them."""
    west = (found["centre"][0] - found["half"][0] - 0.5) * 360
    turned = west + (lon - west) % 360
    u = (turned / 360 + 0.5 - found["centre"][0]) / found["half"][0]
    down = 0.5 - np.arctanh(np.sin(np.radians(lat))) / (2 * np.pi)
    v = (down - found["centre"][1]) / found["half"][1]
    return tuple(chebyshev.chebval2d(u, v, np.array(found[name])) for name in ("row", "col"))


def _positions(
    grid: Grid, centre: tuple[float, float], half: tuple[float, float], u: Float, v: Float
) -> tuple[NDArray[np.bool_], Float]:
    """Which points have a position in the grid, and row and column of those."""
    lon = (centre[0] + half[0] * u.ravel() - 0.5) * 360
    lat = np.degrees(np.arcsin(np.tanh((0.5 - centre[1] - half[1] * v.ravel()) * 2 * np.pi)))
    x, y = transform("EPSG:4326", grid.crs, lon, lat)
    left, _, right, _ = grid.bounds
    at = np.stack(grid.position(near(x, (left + right) / 2, grid.crs), y), axis=1)
    known: NDArray[np.bool_] = np.asarray(np.isfinite(at).all(axis=1))
    return known, at[known]
