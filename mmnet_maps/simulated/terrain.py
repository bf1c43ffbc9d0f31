"""Fractal terrain and what water makes of it: flow, slope, aspect, wetness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mmnet_maps.simulated.fields import correlated_field, standardised

__all__ = ["Terrain", "flow_accumulation", "make_terrain", "slope_aspect"]

Array = NDArray[np.float32]

#: The eight neighbours, as (row, column) steps.
_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
#: Half widths of the windows in which a pit looks for lower ground to spill to.
_SPILL_REACH = (2, 4, 8, 16, 32)
#: Pixels drawn around a site and cut away, so that its edge is not the edge of its streams.
_MARGIN = 24


@dataclass(frozen=True)
class Terrain:
    """Shape of the ground, every array of the site's shape, float32.

    Attributes
    ----------
    elevation, slope, aspect : ndarray
        m; degree; degree clockwise from north, the direction that the slope faces.
    wetness : ndarray
        Topographic wetness index ln(a / tan(slope)) (Beven and Kirkby 1979), standardised over the site and
        cut at -2 and 3.
    """

    elevation: Array
    slope: Array
    aspect: Array
    wetness: Array


def slope_aspect(elevation: Array, step: float) -> tuple[Array, Array]:
    """Slope and aspect (degree) of a north-up elevation model with square pixels of `step` metres."""
    down_rows, east = np.gradient(elevation, step)
    slope = np.degrees(np.arctan(np.hypot(down_rows, east)))
    # Rows run south: downslope has the component -east to the east and +down_rows to the north.
    aspect = np.degrees(np.arctan2(-east, down_rows)) % 360.0
    return slope.astype(np.float32), aspect.astype(np.float32)


def flow_accumulation(elevation: Array, rng: np.random.Generator, walks: int = 6) -> NDArray[np.float64]:
    """How many pixels drain through each pixel, itself included.

    Multiple-direction flow as the mean of random single-direction flows: in each walk a pixel sends its water
    to one lower neighbour, with a chance in proportion to the slope (the idea of Rho8, Fairfield and Leymarie
    1991). A pit spills to lower ground nearby. The water is then added up along all paths at once by pointer
    doubling, so the time grows with the logarithm of the longest path.

    Parameters
    ----------
    elevation : ndarray of float32, shape (rows, cols)
    rng : numpy.random.Generator
    walks : int
        Random flows in the mean.

    Returns
    -------
    ndarray of float64, shape (rows, cols)
        At least 1.
    """
    rows, cols = elevation.shape
    count = rows * cols
    # Nothing flows over the edge from pixel to pixel; water leaves through the lowest pixels of the edge.
    padded = np.pad(elevation, 1, constant_values=np.inf)
    steepness = np.empty((8, rows, cols), dtype=np.float32)
    for layer, (i, j) in zip(steepness, _NEIGHBOURS, strict=True):
        drop = elevation - padded[1 + i : 1 + i + rows, 1 + j : 1 + j + cols]
        np.maximum(drop / np.float32(np.hypot(i, j)), 0.0, out=layer)
    cumulative = np.cumsum(steepness, axis=0).reshape(8, count)
    total = cumulative[-1]
    offsets = np.array([i * cols + j for i, j in _NEIGHBOURS], dtype=np.int64)
    pits, spill = _spill(elevation, np.flatnonzero(total == 0))
    flow = np.zeros(count)
    for _ in range(walks):
        wanted = rng.random(count, dtype=np.float32) * total
        choice = (cumulative <= wanted).sum(axis=0)
        target = np.arange(count + 1)
        target[:-1] += offsets[np.minimum(choice, 7)]
        target[pits] = spill
        flow += _add_along(target, count)
    return (flow / walks).reshape(rows, cols)


def _spill(elevation: Array, pits: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each pit's water goes: the lowest ground of the smallest window with lower ground, else out."""
    rows, cols = elevation.shape
    flat = elevation.ravel()
    target = np.full(pits.size, flat.size, dtype=np.int64)
    row, col = pits // cols, pits % cols
    inner = (row > 0) & (row < rows - 1) & (col > 0) & (col < cols - 1)
    open_pits = np.flatnonzero(inner)
    for reach in _SPILL_REACH:
        i, j = (a.ravel() for a in np.mgrid[-reach : reach + 1, -reach : reach + 1])
        unsettled = []
        for part in np.array_split(open_pits, max(1, open_pits.size * i.size // 2_000_000)):
            near = np.clip(row[part, None] + i, 0, rows - 1) * cols + np.clip(
                col[part, None] + j, 0, cols - 1
            )
            lowest = np.take_along_axis(near, flat[near].argmin(axis=1)[:, None], axis=1)[:, 0]
            lower = flat[lowest] < flat[pits[part]]
            target[part[lower]] = lowest[lower]
            unsettled.append(part[~lower])
        open_pits = np.concatenate(unsettled)
        if open_pits.size == 0:
            break
    return pits, target


def _add_along(target: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Size of the tree above every node; `target` has one extra node, `count`, where all water ends."""
    flow = np.ones(count + 1)
    flow[count] = 0.0
    target[count] = count
    while True:
        flow += np.bincount(target, weights=flow, minlength=count + 1)
        flow[count] = 0.0
        target = target[target]
        if (target == count).all():
            return flow[:count]


def make_terrain(
    rng: np.random.Generator, shape: tuple[int, int], step: float, mean_elevation: float, mean_slope: float
) -> Terrain:
    """Terrain of a given mean elevation (m) and mean slope (degree), with valleys where water gathers."""
    rows, cols = (n + 2 * _MARGIN for n in shape)
    surface = correlated_field(rng, (rows, cols), step, longest=15_000.0, shortest=110.0, slope=2.1)
    # Streams cut valleys: lower ground where more water passes, widened to the width of a valley floor. The
    # second round follows the valleys of the first, so that they join up.
    for depth in (0.03, 0.02):
        log_flow = np.log(flow_accumulation(surface, rng, walks=3)).astype(np.float32)
        surface -= np.float32(depth) * ndimage.gaussian_filter(log_flow, 2.5)
    flow = flow_accumulation(surface, rng, walks=4)
    surface *= np.float32(np.tan(np.radians(mean_slope)) / _mean_gradient(surface, step))
    elevation = (surface - surface.mean() + np.float32(mean_elevation)).astype(np.float32)
    slope, aspect = slope_aspect(elevation, step)
    steepness = np.maximum(np.tan(np.radians(slope)), np.float32(0.005))
    index = np.log(flow * step / ndimage.gaussian_filter(steepness, 1.0)).astype(np.float32)
    # Ground water spreads from the stream over the valley floor.
    near, wide = (standardised(ndimage.gaussian_filter(index, width)) for width in (1.5, 7.0))
    wetness = np.clip(standardised(near + np.float32(0.8) * wide), -2.0, 3.0)
    inner = slice(_MARGIN, rows - _MARGIN), slice(_MARGIN, cols - _MARGIN)
    return Terrain(
        *(np.ascontiguousarray(a[inner], dtype=np.float32) for a in (elevation, slope, aspect, wetness))
    )


def _mean_gradient(elevation: Array, step: float) -> float:
    down_rows, east = np.gradient(elevation, step)
    return float(np.hypot(down_rows, east).mean())
