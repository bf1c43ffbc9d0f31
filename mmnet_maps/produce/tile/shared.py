"""What the tiles of a run share: names of features, their limits, tables and buffers."""

from __future__ import annotations

from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.produce.engine.engine import Engine
from mmnet_maps.produce.tile.rules import inputs_of, valid_range
from mmnet_maps.produce.tile.series import Encoder
from mmnet_maps.produce.tile.trust import IntervalCodes, Limits, land_cover_outside

__all__ = ["AHEAD", "Shared"]

#: Steps of a block that are prepared while a processor computes one: the first of a block takes as long as
#: the networks take for two.
AHEAD = 3


class Shared:
    """Of one engine and the days that are asked for.

    Parameters
    ----------
    engine : Engine
    days : ndarray of int64, shape (d,)

    Attributes
    ----------
    static_features, dated_features, daily_features : tuple of str
        Those that stay for a land cover year, those of the date alone, those that change with the day.
    static_names, daily_names : list of str
        Variables that they are made from.
    static_limits, dated_limits, daily_limits : Limits
        Their training range.
    class_outside : array of bool, shape (8,)
        For each land cover class, whether no training row had it.
    intervals : IntervalCodes
    encoder : Encoder
    workspaces : iterator of Workspace
        Endless, in turn: one where a device computes; else one more than are prepared `AHEAD`.
    """

    def __init__(self, engine: Engine, days: NDArray[np.int64]) -> None:
        self.engine, self.xp, self.days = engine, engine.xp, days
        self.static_features = engine.features[: engine.static]
        self.dated_features = engine.features[engine.static : engine.dated]
        self.daily_features = engine.features[engine.dated :]
        self.static_names = inputs_of(engine, self.static_features)
        self.daily_names = inputs_of(engine, self.daily_features)
        about = (engine.bundle.envelope, engine.catalogue)
        self.static_limits = Limits.of(self.static_features, *about, self.xp)
        self.dated_limits = Limits.of(self.dated_features, *about)
        self.daily_limits = Limits.of(self.daily_features, *about, self.xp)
        self.class_outside = self.xp.send(land_cover_outside(*about))
        self.intervals = IntervalCodes(engine.bundle.interval, valid_range(engine), self.xp)
        self.encoder = Encoder(engine)
        first = engine.workspace()
        others = 0 if self.xp.on_device else AHEAD
        self.workspaces = cycle([first, *(first.beside() for _ in range(others))])
