"""Maps against stations: every station-day beside the pixel that holds the station, and their scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmnet_maps.dates import from_yyyymmdd, to_yyyymmdd
from mmnet_maps.errors import InputError
from mmnet_maps.grid import pixels_at
from mmnet_maps.learn.evaluate import evaluate_table, station_scores
from mmnet_maps.produce.judge.against import compare_with_others
from mmnet_maps.produce.product.store import Product
from mmnet_maps.produce.units import iso
from mmnet_maps.progress import say, steps
from mmnet_maps.store.location import Location
from mmnet_maps.store.whole import write_whole

__all__ = ["PAIRS", "LeftOut", "pair_stations", "validate_stations"]

#: Columns of the table of pairs.
PAIRS = ("ID", "Date", "y_test", "y_pred", "lower", "upper", "quality")
#: Stations this near to each other, in pixels, are read together: the side of a stored chunk.
_NEIGHBOURS = 256
#: Layers that are read at a station.
_READ = ("soil_moisture", "lower", "upper", "quality")
#: How many names a message holds.
_NAMED = 8


@dataclass
class LeftOut:
    """Stations that gave no pair, by reason.

    Attributes
    ----------
    outside : list of str
        Outside the grid.
    no_days : list of str
        Without a measurement on a finished day.
    no_value : list of str
        The map has no value on any of the station's days.
    not_in_network : list of str
        Not in the network file; placed by the coordinates of the in situ table, not left out.
    """

    outside: list[str] = field(default_factory=list)
    no_days: list[str] = field(default_factory=list)
    no_value: list[str] = field(default_factory=list)
    not_in_network: list[str] = field(default_factory=list)

    def sentences(self) -> Iterator[str]:
        """A line for each reason that occurs."""
        said = {
            "outside the grid": self.outside,
            "without a measurement on a finished day": self.no_days,
            "without a map value on their days": self.no_value,
            "not in the network file, placed by the in situ table": self.not_in_network,
        }
        for reason, names in said.items():
            if names:
                more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
                yield f"{len(names)} stations {reason}: {', '.join(names[:_NAMED])}{more}"


def pair_stations(
    product: Product, in_situ: pd.DataFrame, network: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, LeftOut]:
    """Pair every measurement with the pixel that holds its station.

    Parameters
    ----------
    product : Product
    in_situ : DataFrame
        ID, Latitude, Longitude (degree), Date (YYYYMMDD), and the product's target, such as VWC_5 (m3 m-3).
        Several rows of one station-day are averaged.
    network : DataFrame, optional
        ID, and Latitude and Longitude, which go before those of `in_situ`.

    Returns
    -------
    pairs : DataFrame
        `PAIRS`, sorted by ID and Date; y_pred, lower and upper in m3 m-3, NaN where the map has none.
    left_out : LeftOut

    Raises
    ------
    InputError
        No station lies in the grid on a finished day; the message says how many were looked at, and why not.
    """
    target = product.target.name
    measured, left = in_situ.dropna(subset=[target]), LeftOut()
    positions = _positions(in_situ, network, left)
    row, col = pixels_at(product.grid, positions["Longitude"].to_numpy(), positions["Latitude"].to_numpy())
    inside = row >= 0
    left.outside = positions.index[~inside].tolist()
    positions = positions.assign(row=row, col=col)[inside]
    wanted = measured.groupby(["ID", "Date"], sort=True)[target].mean().rename("y_test").reset_index()
    wanted["day"] = from_yyyymmdd(wanted["Date"].to_numpy())
    finished = product.finished_days()
    wanted = wanted[wanted["ID"].isin(positions.index) & wanted["day"].isin(finished)]
    left.no_days = sorted(set(positions.index) - set(wanted["ID"]))
    if wanted.empty:
        span = (
            f"{iso(int(finished[0]))} to {iso(int(finished[-1]))}" if finished.size else "none are finished"
        )
        raise InputError(
            f"{product.path}: no measurement to compare with: of {in_situ['ID'].nunique()} stations "
            f"{len(left.outside)} lie outside the grid, {len(left.no_days)} have none on a finished day "
            f"({span})"
        )
    positions = positions.loc[sorted(set(wanted["ID"]))]
    pairs = _read_pairs(product, wanted, positions)
    valued = set(pairs.loc[pairs["y_pred"].notna(), "ID"])
    left.no_value = sorted(set(positions.index) - valued)
    return pairs, left


def _positions(in_situ: pd.DataFrame, network: pd.DataFrame | None, left: LeftOut) -> pd.DataFrame:
    """Latitude and Longitude by ID."""
    found = in_situ.drop_duplicates("ID").set_index("ID")[["Latitude", "Longitude"]].sort_index().copy()
    if network is None:
        return found
    left.not_in_network = sorted(set(found.index) - set(network["ID"]))
    if {"Latitude", "Longitude"} <= set(network.columns):
        known = (
            network.drop_duplicates("ID").set_index("ID")[["Latitude", "Longitude"]].astype(float).dropna()
        )
        found.update(known)
    return found


def _read_pairs(product: Product, wanted: pd.DataFrame, positions: pd.DataFrame) -> pd.DataFrame:
    """Read the pixels of all stations, neighbours and blocks of days together."""
    near = [positions["row"] // _NEIGHBOURS, positions["col"] // _NEIGHBOURS]
    groups = [group for _, group in positions.groupby(near)]
    parts: list[pd.DataFrame] = []
    with steps("station groups read", len(groups)) as advance:
        for group in groups:
            rows = wanted[wanted["ID"].isin(group.index)]
            parts.extend(_read_group(product, rows, group))
            advance()
    pairs: pd.DataFrame = pd.concat(parts).sort_values(["ID", "Date"], ignore_index=True)
    return pairs.loc[:, list(PAIRS)]


def _read_group(product: Product, wanted: pd.DataFrame, group: pd.DataFrame) -> Iterator[pd.DataFrame]:
    top, left = int(group["row"].min()), int(group["col"].min())
    window = slice(top, int(group["row"].max()) + 1), slice(left, int(group["col"].max()) + 1)
    days = wanted["day"].to_numpy()
    for first, stop in product.layout.blocks(int(days.min()), int(days.max()) + 1):
        part = wanted[(days >= first) & (days < stop)]
        if part.empty:
            continue
        at = group.loc[part["ID"]]
        index = (
            part["day"].to_numpy() - first,
            at["row"].to_numpy() - top,
            at["col"].to_numpy() - left,
        )
        stored = {name: product.read(name, first, stop, *window)[index] for name in _READ}
        values = {name: product.packing[name].decode(stored[name]) for name in _READ[:3]}
        yield pd.DataFrame(
            {
                "ID": part["ID"].to_numpy(),
                "Date": to_yyyymmdd(part["day"].to_numpy()),
                "y_test": part["y_test"].to_numpy(),
                "y_pred": values["soil_moisture"],
                "lower": values["lower"],
                "upper": values["upper"],
                "quality": stored["quality"],
            }
        )


def validate_stations(
    product: Product,
    in_situ: pd.DataFrame,
    network: pd.DataFrame | None,
    out: Location,
    against: Sequence[str] = (),
    more: Callable[[], Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Pair the maps with stations and write ``pairs.csv``, ``stations.csv`` and ``scores.json``.

    Parameters
    ----------
    product : Product
    in_situ, network : DataFrame
        As `pair_stations` takes them.
    out : Path or Remote
        Folder of the results; made if it is not there.
    against : sequence of str
        Other products to compare with (`against.compare_with_others`).
    more : callable, optional
        Gives further measures of the maps, kept beside the scores; asked once there are pairs.

    Returns
    -------
    dict
        What ``scores.json`` holds: the scores of `learn.evaluate.evaluate_table`, ``against``, by other
        product (`against.compare_with_others`), ``interval_coverage`` (of
        the pairs with an interval, the share whose measurement lies in it) with its ``n``, and ``left_out``:
        the stations by reason.

    Raises
    ------
    InputError
        Nothing can be compared, or `out` is a file.
    """
    pairs, left = pair_stations(product, in_situ, network)
    for sentence in left.sentences():
        say(sentence)
    if pairs["y_pred"].notna().sum() == 0:
        raise InputError(
            f"{product.path}: the map has no value at any of the {pairs['ID'].nunique()} stations"
        )
    inside, known = _covered(pairs)
    result: dict[str, Any] = {
        **evaluate_table(pairs),
        "interval_coverage": {"share": _share(inside, known), "n": int(known.sum())},
        "pairs_without_a_map_value": int(pairs["y_pred"].isna().sum()),
        "left_out": vars(left),
        **(more() if more else {}),
    }
    if against:
        stations = _positions(in_situ, network, LeftOut())
        result["against"] = compare_with_others(pairs, stations, against)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise InputError(f"{out}: is a file, expected a folder for the results") from None
    write_whole(out / "pairs.csv", pairs.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    table = _by_station(pairs).join(_positions(in_situ, network, LeftOut()), on="ID")
    write_whole(out / "stations.csv", table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    write_whole(out / "scores.json", json.dumps(_plain(result), indent=2, allow_nan=False) + "\n")
    return result


def _covered(pairs: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each measurement lies in its interval, and whether there is one."""
    low, high, real = (pairs[name].to_numpy(dtype=np.float64) for name in ("lower", "upper", "y_test"))
    known = np.isfinite(low) & np.isfinite(high)
    return known & (real >= low) & (real <= high), known


def _share(inside: NDArray[np.bool_], known: NDArray[np.bool_]) -> float:
    return float(inside.sum() / known.sum()) if known.any() else float("nan")


def _by_station(pairs: pd.DataFrame) -> pd.DataFrame:
    real, told = pairs["y_test"].to_numpy(np.float64), pairs["y_pred"].to_numpy(np.float64)
    table = station_scores(real, told, pairs["ID"].to_numpy())
    inside, known = _covered(pairs)
    counts = (
        pd.DataFrame({"ID": pairs["ID"].astype(str), "inside": inside, "known": known}).groupby("ID").sum()
    )
    counts = counts.loc[table["ID"]]
    table["interval_coverage"] = (counts["inside"] / counts["known"].where(counts["known"] > 0)).to_numpy()
    return table


def _plain(value: Any) -> Any:
    """JSON has no NaN: an undefined score is null."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
