"""Daily values of what changes with the day, at blocks of pixels: one protocol, and who fills what.

A source with few cells is filled on its cells, once for all days, and gathered. A source with about a cell a
pixel is filled pixel by pixel: along lines in time on a processor (`lines`), from all its scenes at once on a
device (`scenes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.prepare.gap_fill import gap_fill
from mmnet_maps.produce.engine.arrays import Array
from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.tile.inputs import TileInputs
from mmnet_maps.produce.tile.layers import outliers, together
from mmnet_maps.produce.tile.lines import LineFiller
from mmnet_maps.produce.tile.scenes import SceneFiller
from mmnet_maps.produce.tile.trust import age_flag
from mmnet_maps.variables import Variable

__all__ = ["BlockFiller", "Filler", "fillers_of"]

#: Fewer cells than this part of the pixels are filled as cells.
_COARSE = 4


class BlockFiller(Protocol):
    """Variables that are filled together, at a block of pixels."""

    def write(self, days: slice, out: Array, bits: Array) -> None:
        """Write the values of some days, each later than those before.

        Parameters
        ----------
        days : slice
            Positions in the filler's days.
        out : array of float32, shape (names, days, pixels)
            Overwritten; NaN where missing.
        bits : array of int32, shape (days, pixels)
            The bit of what is old is added.
        """


class Filler(Protocol):
    """Variables that are filled together.

    Attributes
    ----------
    names : tuple of str
    depth : int
        Observations of a pixel that a block decodes at once, over all variables.
    """

    names: tuple[str, ...]
    depth: int

    def block(self, there: Mapping[str, Array], pixels: Array) -> BlockFiller:
        """At some pixels, shape (n,); `there` holds the arrays that were sent."""


def fillers_of(
    engine: Engine,
    inputs: TileInputs,
    names: Sequence[str],
    days: NDArray[np.int64],
    arrays: dict[str, NDArray[Any]],
) -> list[Filler]:
    """A filler for each group of variables that change with the day.

    Parameters
    ----------
    names : sequence of str
    days : ndarray of int64
        That will be asked for, consecutive.
    arrays : dict
        What the fillers need sent is added.
    """
    found: list[Filler] = []
    for variables in together(inputs, engine.catalogue, names):
        cells = inputs.layers[variables[0].name].stored.shape[1]
        # What is interpolated does not depend on how many pixels a tile has.
        if _between(engine, inputs, variables) or cells * _COARSE <= len(inputs.inside):
            found.append(_CoarseFiller(engine, inputs, variables, days, arrays))
        elif engine.xp.on_device:
            found.append(SceneFiller(engine.xp, inputs, variables, days, arrays))
        else:
            found.append(LineFiller(inputs, variables, days))
    return found


def _between(engine: Engine, inputs: TileInputs, variables: Sequence[Variable]) -> bool:
    """Whether these variables of one source are interpolated between its cells."""
    nodes, source = inputs.nodes, inputs.layers[variables[0].name].source
    there = engine.coarse == "bilinear" and nodes is not None and source in nodes.cells
    return there and all(variable.measure == "amount" for variable in variables)


class _CoarseFiller:
    """Variables of a source with few cells: filled once for all days on the cells, then gathered."""

    depth = 0

    def __init__(
        self,
        engine: Engine,
        inputs: TileInputs,
        variables: Sequence[Variable],
        days: NDArray[np.int64],
        arrays: dict[str, NDArray[Any]],
    ) -> None:
        self.names = tuple(v.name for v in variables)
        self.xp = engine.xp
        layers = [inputs.layers[name] for name in self.names]
        values = np.empty((len(layers), len(days), layers[0].stored.shape[1]), dtype=np.float32)
        old = np.zeros(values.shape[1:], dtype=np.int32)
        screened = outliers(np.stack([layer.stored for layer in layers]), layers[0].packing, variables)
        for out, layer, variable in zip(values, layers, variables, strict=True):
            decoded = layer.packing.decode(layer.stored)
            if screened is not None:
                decoded[screened] = np.nan
            filled = gap_fill(layer.days, decoded, days, variable.fill, variable.max_gap)
            out[...] = filled.values
            if variable.max_age is not None:
                old[filled.age > variable.max_age] |= age_flag(variable)
        self.any_old: NDArray[np.bool_] = np.logical_or.reduce(old != 0, axis=1)
        source = layers[0].source
        index, nodes = inputs.index[source], inputs.nodes
        assert index is not None
        sent = {"values": values, "old": old, "cells": index}
        self.between = _between(engine, inputs, variables)
        #: By day, whether a cell has no value.
        self.any_missing: NDArray[np.bool_] = np.logical_or.reduce(np.isnan(values), axis=(0, 2))
        if self.between:
            assert nodes is not None
            sent |= {"values": nodes.bring(source, values), "missing": np.isnan(values)}
            sent |= {f"corner {k}": np.ascontiguousarray(nodes.corners[:, k]) for k in range(4)}
            sent |= {f"weight {k}": np.ascontiguousarray(nodes.weights[:, k]) for k in range(4)}
        self._sent = {what: f"{what} of {self.names[0]}" for what in sent}
        arrays |= {self._sent[what]: array for what, array in sent.items()}

    def block(self, there: Mapping[str, Array], pixels: Array) -> _CoarseBlock:
        """At some pixels."""
        return _CoarseBlock(self, {what: there[name] for what, name in self._sent.items()}, pixels)


class _CoarseBlock:
    def __init__(self, filler: _CoarseFiller, sent: Mapping[str, Array], pixels: Array) -> None:
        self._filler, self._values, self._old = filler, sent["values"], sent["old"]
        take, asarray, int64 = filler.xp.take, filler.xp.asarray, filler.xp.int64
        self._cells = asarray(take(sent["cells"], pixels), int64)
        if filler.between:
            self._missing = sent["missing"]
            self._corners = [
                (take(sent[f"corner {k}"], pixels), take(sent[f"weight {k}"], pixels)) for k in range(4)
            ]

    def write(self, days: slice, out: Array, bits: Array) -> None:
        take = self._filler.xp.take
        if self._filler.between:
            self._write_between(days, out)
        else:
            take(self._values[:, days], self._cells, out=out)
        if self._filler.any_old[days].any():
            bits |= take(self._old[days], self._cells)

    def _write_between(self, days: slice, out: Array) -> None:
        """Interpolate between nodes; a pixel without a value in its own cell has none."""
        xp, values = self._filler.xp, self._values[:, days]
        parts = [xp.take(values, corner) * weight for corner, weight in self._corners]
        out[...] = parts[0] + parts[1] + parts[2] + parts[3]
        if self._filler.any_missing[days].any():
            out[...] = xp.where(xp.take(self._missing[:, days], self._cells), np.nan, out)
