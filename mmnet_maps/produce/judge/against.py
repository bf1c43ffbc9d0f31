"""Maps beside other soil-moisture products, on the same days of the same stations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmnet_maps.errors import InputError
from mmnet_maps.learn.bootstrap import paired_difference
from mmnet_maps.learn.scoring import scores
from mmnet_maps.produce.judge.collocation import triple_collocation
from mmnet_maps.produce.judge.others import values_at

__all__ = ["compare_with_others"]

_KEYS = ["ID", "Date", "y_test", "y_pred"]


def compare_with_others(
    pairs: pd.DataFrame, stations: pd.DataFrame, sources: Sequence[str]
) -> dict[str, Any]:
    """Score maps and other products on the station-days that each of them has with the maps.

    Parameters
    ----------
    pairs : DataFrame
        ID, Date, y_test, y_pred of the maps.
    stations : DataFrame
        Longitude and Latitude (degrees), index ID.
    sources : sequence of str
        Paths of other products; ``PATH:VARIABLE`` names a variable or band.

    Returns
    -------
    dict
        By source: ``n`` and ``stations``; ``maps`` and ``other``, the scores of both; ``difference``, maps
        less other, paired by station with bootstrap intervals (`paired_difference`);
        ``triple_collocation`` of maps, other and stations. With two sources or more, ``all``: the triple
        collocation of the maps and the first two.

    Raises
    ------
    InputError
        A source cannot be read, or has no value on any of the pairs.
    """
    usable = pairs[_KEYS].dropna().reset_index(drop=True)
    placed = usable.join(stations[["Longitude", "Latitude"]], on="ID")
    found: dict[str, Any] = {}
    columns = {}
    for source in sources:
        path, variable = _split(source)
        columns[source] = values_at(path, variable, placed)
        found[source] = _compared(usable, columns[source], source)
    if len(sources) >= 2:
        first, second = sources[:2]
        three = np.stack([usable["y_pred"], columns[first], columns[second]], axis=1)
        found["all"] = triple_collocation(three, ("maps", first, second))
    return found


def _split(source: str) -> tuple[Path, str | None]:
    path = Path(source)
    if path.exists() or ":" not in source:
        return path, None
    name, _, variable = source.rpartition(":")
    return Path(name), variable


def _compared(usable: pd.DataFrame, values: np.ndarray[Any, Any], source: str) -> dict[str, Any]:
    both = usable.assign(other=values.astype(np.float64)).dropna(subset=["other"])
    if both.empty:
        raise InputError(
            f"{source}: has no value on any of the {len(usable)} station-days of the maps; expected the same "
            "days and region"
        )
    maps, other = both[_KEYS], both[["ID", "Date", "y_test"]].assign(y_pred=both["other"])
    collocated = both[["y_pred", "other", "y_test"]].to_numpy(np.float64)
    return {
        "n": len(both),
        "stations": int(both["ID"].nunique()),
        "maps": _scores(maps),
        "other": _scores(other),
        "difference": paired_difference(maps, other, names=("the maps", source)),
        "triple_collocation": triple_collocation(collocated, ("maps", "other", "stations")),
    }


def _scores(table: pd.DataFrame) -> dict[str, Any]:
    return scores(table["y_test"].to_numpy(), table["y_pred"].to_numpy(), table["ID"].to_numpy())
