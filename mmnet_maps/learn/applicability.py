"""How unlike the training rows a pixel-day is: the area of applicability (Meyer and Pebesma 2021).

The dissimilarity index of doi:10.1111/2041-210X.13650: predictors are standardised and multiplied by their
importance; the index is the distance to the nearest training row over the mean distance between training
rows. Two things are made small enough for maps. A series counts by two numbers a variable, its mean over the
days of the window and its last day. And of the training rows few are kept, the centres of clusters
(`thinned`); the threshold is measured with the rows that are kept, so that it means the same for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.learn.columns import Column, columns_of
from mmnet_maps.learn.folds import station_folds
from mmnet_maps.learn.model_input import ModelInput, columns_of_kind, raw_arrays, takes_windows

__all__ = ["REFERENCES", "Applicability", "summaries", "thinned"]

Array = NDArray[np.float32]
Float = NDArray[np.float64]

#: Training rows that are kept, at most.
REFERENCES = 256
#: Training rows that clusters and threshold are made from, at most.
_ROWS = 8192
#: Rows between all pairs of which the mean distance is taken, about.
_PAIRED = 2048
_ROUNDS = 10
#: Rows whose distances are computed at once.
_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Applicability:
    """What the training rows looked like to the model.

    Attributes
    ----------
    snapshot : tuple of str
        Columns of the model's first input that count, k in number.
    means, lasts : tuple of str
        Series variables whose mean over the window, and whose last day, count.
    centre, factor : ndarray of float32, shape (columns,)
        By column, in the order of the three: what is subtracted, and then multiplied with: importance over
        standard deviation and over the mean distance between training rows.
    reference : ndarray of float32, shape (rows, columns)
        Training rows that are kept, centred and multiplied.
    threshold : float
        Dissimilarity from which on a pixel-day lies outside the area of applicability.
    """

    snapshot: tuple[str, ...]
    means: tuple[str, ...]
    lasts: tuple[str, ...]
    centre: Array
    factor: Array
    reference: Array
    threshold: float

    @classmethod
    def fit(
        cls,
        kind: str,
        inputs: ModelInput,
        station: NDArray[Any],
        catalogue: Catalogue,
        importance: Mapping[Column, float],
        seed: int = 1,
    ) -> Self | None:
        """From complete training rows.

        The threshold is that of Meyer and Pebesma: the index of training rows, each against the rows of the
        other folds alone, here folds of stations; of these values the largest that is no outlier, at most
        their third quartile and 1.5 times their interquartile range.

        Parameters
        ----------
        kind : str
            Of the model.
        inputs : ModelInput, n rows
        station : ndarray, shape (n,)
        catalogue : Catalogue
        importance : mapping of Column to float
            Of the variables (`permutation.variable_importance`); what is not above 0 does not count.
        seed : int
            Of the rows that are drawn where there are many.

        Returns
        -------
        Applicability or None
            None where no variable is of importance, all rows are alike or all of one station.
        """
        snapshot, means, lasts, weight = _weights(kind, catalogue, importance)
        random = np.random.default_rng(seed)
        drawn = np.sort(random.choice(len(inputs), min(_ROWS, len(inputs)), replace=False))
        raw = _raw(kind, inputs.rows(drawn), catalogue, snapshot, means, lasts).astype(np.float64)
        centre, spread = raw.mean(axis=0), raw.std(axis=0)
        factor = np.where(spread > 0, weight / np.where(spread > 0, spread, 1), 0)
        points = (raw - centre) * factor
        scale = _mean_distance(points[:: max(1, len(points) // _PAIRED)])
        fold = station_folds(station.astype(str)[drawn])
        if not scale > 0 or fold.max() < 1:
            return None
        points, factor = points / scale, factor / scale
        reference, of = thinned(points, fold, REFERENCES, random)
        apart = np.full(len(points), np.inf)
        for number in range(int(fold.max()) + 1):
            own = fold == number
            apart[own] = _nearest(points[own], reference[of != number])
        first, third = np.quantile(apart, [0.25, 0.75])
        threshold = min(float(apart.max()), float(third + 1.5 * (third - first)))
        single = [array.astype(np.float32) for array in (centre, factor, reference)]
        return cls(snapshot, means, lasts, single[0], single[1], single[2], threshold)

    def __call__(self, kind: str, inputs: ModelInput, catalogue: Catalogue) -> Array:
        """Dissimilarity of rows, shape (n,); NaN where an input that counts is missing."""
        raw = _raw(kind, inputs, catalogue, self.snapshot, self.means, self.lasts)
        points = (raw.astype(np.float64) - self.centre) * self.factor
        return _nearest(points, self.reference.astype(np.float64)).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """As plain values, without the rows that are kept."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "reference"}
        return {n: v.tolist() if isinstance(v, np.ndarray) else v for n, v in plain.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], reference: Array) -> Self:
        """Undo `to_json`; `ValueError` says what does not fit."""
        snapshot, means, lasts = (tuple(data[name]) for name in ("snapshot", "means", "lasts"))
        centre, factor = (np.array(data[name], dtype=np.float32) for name in ("centre", "factor"))
        width = len(snapshot) + len(means) + len(lasts)
        if centre.shape != (width,) or factor.shape != (width,) or reference.shape[1:] != (width,):
            found = f"{centre.shape}, {factor.shape} and {reference.shape}"
            raise ValueError(f"applicability has the shapes {found}, expected {width} columns")
        if not len(reference) or not all(np.isfinite(part).all() for part in (centre, factor, reference)):
            raise ValueError("the rows of applicability must be there, and finite")
        return cls(snapshot, means, lasts, centre, factor, reference, float(data["threshold"]))


def summaries(windows: Array) -> tuple[Array, Array]:
    """Mean and last day of windows, shape (..., days), both in float32."""
    return windows.mean(axis=-1, dtype=np.float32), windows[..., -1]


def _weights(
    kind: str, catalogue: Catalogue, importance: Mapping[Column, float]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], Float]:
    """Columns that count, and their weights; the two numbers of a series share that of their variable."""
    own, found = columns_of_kind(kind, catalogue), columns_of(kind, catalogue)
    of_column = {n: importance.get(Column(c.variable, c.part), 0.0) for n, c in zip(own, found, strict=False)}
    windows = takes_windows(kind)
    series = importance if windows else {}
    of_series = {name: series.get(Column(name, "series"), 0.0) for name in catalogue.series}
    if not windows:
        of_series = {name: of_column.pop(name) for name in catalogue.series}
    snapshot = tuple(name for name, weight in of_column.items() if weight > 0)
    lasts = tuple(name for name, weight in of_series.items() if weight > 0)
    means = lasts if windows else ()
    share = np.sqrt(0.5) if windows else 1.0
    weights = [of_column[name] for name in snapshot] + [share * of_series[name] for name in (*means, *lasts)]
    return snapshot, means, lasts, np.array(weights, dtype=np.float64)


def _raw(
    kind: str,
    inputs: ModelInput,
    catalogue: Catalogue,
    snapshot: tuple[str, ...],
    means: tuple[str, ...],
    lasts: tuple[str, ...],
) -> Array:
    """The columns that count, unscaled, shape (n, columns)."""
    columns = columns_of_kind(kind, catalogue)
    first = raw_arrays(kind, inputs, catalogue)[0][:, [columns.index(name) for name in snapshot]]
    mean, last = summaries(inputs.series)
    at = {name: number for number, name in enumerate(catalogue.series)}
    of_mean, of_last = ([at[name] for name in names] for names in (means, lasts))
    return np.concatenate((first, mean[:, of_mean], last[:, of_last]), axis=1)


def thinned(
    points: Float, fold: NDArray[np.int64], count: int, random: np.random.Generator
) -> tuple[Float, NDArray[np.int64]]:
    """Few points instead of many: centres of clusters (Lloyd), for each fold separately.

    Returns
    -------
    kept : ndarray of float64, shape (at most `count`, columns)
    of : ndarray of int64
        Fold of each.
    """
    kept, of = [], []
    for number in range(int(fold.max()) + 1):
        own = points[fold == number]
        wanted = max(1, count * len(own) // len(points))
        found = own if len(own) <= wanted else _clusters(own, wanted, random)
        kept.append(found)
        of.append(np.full(len(found), number))
    return np.concatenate(kept), np.concatenate(of)


def _clusters(points: Float, count: int, random: np.random.Generator) -> Float:
    centres = points[np.sort(random.choice(len(points), count, replace=False))]
    for _ in range(_ROUNDS):
        index = np.argmin((centres**2).sum(axis=1) - 2 * points @ centres.T, axis=1)
        sizes = np.bincount(index, minlength=count)
        sums = np.stack([np.bincount(index, column, count) for column in points.T], axis=1)
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres)
    return centres


def _nearest(points: Float, reference: Float) -> Float:
    """Distance of each point to the nearest reference, shape (n,)."""
    found = np.empty(len(points))
    constant = (reference**2).sum(axis=1)
    for start in range(0, len(points), _BLOCK):
        part = points[start : start + _BLOCK]
        least = (constant - 2 * part @ reference.T).min(axis=1)
        found[start : start + _BLOCK] = np.sqrt(np.maximum(least + (part**2).sum(axis=1), 0))
    return found


def _mean_distance(points: Float) -> float:
    """Mean distance between all pairs of different points."""
    square, total = (points**2).sum(axis=1), 0.0
    for start in range(0, len(points), _BLOCK):
        part = slice(start, start + _BLOCK)
        apart = square[part, None] + square - 2 * points[part] @ points.T
        total += float(np.sqrt(np.maximum(apart, 0)).sum())
    return total / max(1, len(points) * (len(points) - 1))
