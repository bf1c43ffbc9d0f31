"""What the sources of a cube hold for the days asked for, before anything is read in full."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.catalogue import Catalogue, published_catalogue
from mmnet_maps.dates import to_day
from mmnet_maps.errors import InputError
from mmnet_maps.jobs.readers import cube_config, opened
from mmnet_maps.jobs.settings import Settings
from mmnet_maps.prepare.cube.config import CubeConfig, Target
from mmnet_maps.prepare.cube.plan import plan_source
from mmnet_maps.progress import counted
from mmnet_maps.source_reader import SourceReader
from mmnet_maps.store.location import location
from mmnet_maps.variables import Variable

__all__ = ["check_cube", "check_text"]

Days = NDArray[np.int64]


def check_cube(
    config: str | Path,
    *,
    bundle: str | Path | None = None,
    today: dt.date | None = None,
    settings: Settings = (),
) -> dict[str, Any]:
    """Check what the sources of a cube's configuration have. Only listings and headers are read.

    Parameters
    ----------
    config : str or Path
        YAML of the cube. Its ``maps`` are the days asked for; without them its ``start`` and ``end``.
    bundle : str or Path, optional
        The model that will make the maps. Default: inputs and limits of the published model.
    today : date, optional
        Day with which the newest one is compared; by default today.
    settings : mapping or sequence of str
        Single settings over the configuration.

    Returns
    -------
    dict
        ``maps`` (first and last day), ``sources``: for each its variables, ``days``, ``from``, ``to``,
        ``behind_today`` (days), ``holes`` (spans without a field that are longer than the gap limit),
        ``bytes_to_fetch``; and ``problems``: why days cannot be mapped, empty where all is well.

    Raises
    ------
    InputError
        The configuration or a source is not what was expected.
    """
    now = today or dt.datetime.now(dt.UTC).date()
    catalogue = published_catalogue()
    if bundle is not None:
        from mmnet_maps.learn.bundle import load_bundle

        catalogue = load_bundle(location(bundle)).catalogue
    with opened(cube_config(config, settings), Path(config).parent) as work:
        first, last = _asked(work.config)
        sources: dict[str, Any] = {}
        problems: list[str] = []
        for reader in work.readers:
            limits = [_variable(name, reader, catalogue) for name in reader.variables]
            sources[reader.name] = _entry(reader, limits, (first, last), now)
            try:
                sources[reader.name]["bytes_to_fetch"] = _bytes(reader, work.target, work.config.days)
            except InputError as error:
                problems.append(str(error))
            used = [v for v in limits if v.name in catalogue.required]
            problems += _problems(reader, used, catalogue, first, last)
        held = {name for reader in work.readers for name in reader.variables}
    lacking = [name for name in catalogue.required if name not in held]
    if lacking:
        problems.append(f"no source holds {', '.join(lacking)}, which the model needs")
    days = [str(np.datetime64(day, "D")) for day in (first, last)]
    return {"config": str(config), "maps": days, "sources": sources, "problems": problems}


def check_text(found: dict[str, Any]) -> str:
    """A line a source, for a reader, with the problems below."""
    lines = [f"{found['config']}: maps of {found['maps'][0]} to {found['maps'][1]}"]
    for name, entry in found["sources"].items():
        days = counted(entry["days"], "day")
        span = "all time" if not entry["days"] else f"{days}, {entry['from']} to {entry['to']}"
        behind = entry["behind_today"]
        late = "" if behind is None else f", {counted(behind, 'day')} behind today"
        size = (
            f", about {entry['bytes_to_fetch'] / 2**20:,.1f} MiB to fetch" if entry["bytes_to_fetch"] else ""
        )
        lines.append(f"{name}: {span}{late}{size}")
        lines += [f"  no field from {a} to {b}, {n} days" for a, b, n in entry["holes"]]
    return "\n".join(lines + [f"problem: {text}" for text in found["problems"]])


def _asked(config: CubeConfig) -> tuple[int, int]:
    if config.maps is not None:
        return to_day(config.maps[0]), to_day(config.maps[1])
    if config.start is None or config.end is None:
        raise InputError("neither maps nor start and end are in the configuration; expected the days to map")
    return to_day(config.start), to_day(config.end)


def _variable(name: str, reader: SourceReader, catalogue: Catalogue) -> Variable:
    return catalogue[name] if name in catalogue else reader.definitions[name]


def _entry(
    reader: SourceReader, variables: list[Variable], asked: tuple[int, int], now: dt.date
) -> dict[str, Any]:
    days = reader.days
    entry: dict[str, Any] = {
        "variables": list(reader.variables),
        "days": int(days.size),
        "from": _iso(days[0]) if days.size else None,
        "to": _iso(days[-1]) if days.size else None,
        "behind_today": None,
        "holes": [],
        "bytes_to_fetch": 0,
    }
    if days.size and reader.cadence in ("daily", "irregular"):
        entry["behind_today"] = to_day(now) - int(days[-1])
        limit = min(1 if v.fill == "none" else v.max_gap or 10**6 for v in variables)
        near = days[days <= asked[1]]
        wide = np.flatnonzero(np.diff(near) > limit)
        entry["holes"] = [
            [_iso(near[k] + 1), _iso(near[k + 1] - 1), int(near[k + 1] - near[k] - 1)] for k in wide
        ]
    return entry


def _problems(
    reader: SourceReader, variables: list[Variable], catalogue: Catalogue, first: int, last: int
) -> Iterator[str]:
    """One line for each kind of variable of which a day that maps rest on has no field within reach."""
    if reader.cadence not in ("daily", "irregular"):
        return
    groups: dict[tuple[int, int | None, str], list[str]] = {}
    for v in variables:
        groups.setdefault((catalogue.reach(v.name), v.max_gap, v.fill), []).append(v.name)
    for (reach, gap, fill), names in groups.items():
        wanted = np.arange(first - reach, last + 1)
        before, after = _distances(reader.days, wanted)
        nearest = before if fill == "past" else np.minimum(before, after)
        limit = 0 if fill == "none" else gap
        bad = wanted[nearest > limit] if limit is not None else wanted[nearest >= _NEVER]
        if bad.size:
            held = f"{_iso(reader.days[0])} to {_iso(reader.days[-1])}" if reader.days.size else "no day"
            within = "" if not limit else f" within {limit} days"
            yield (
                f"{reader.name}: no field{within} for {bad.size} of the {wanted.size} days that maps of "
                f"{_iso(first)} to {_iso(last)} rest on ({', '.join(names)}), the first {_iso(bad[0])}, the "
                f"last {_iso(bad[-1])}; it holds {held}"
            )


_NEVER = 10**6


def _distances(days: Days, wanted: Days) -> tuple[Days, Days]:
    """Days since the field before (or of) each day, and until the one after (or of) it."""
    padded = np.concatenate([[wanted[0] - 2 * _NEVER], days, [wanted[-1] + 2 * _NEVER]])
    before = wanted - padded[np.searchsorted(padded, wanted, side="right") - 1]
    after = padded[np.searchsorted(padded, wanted, side="left")] - wanted
    return before, after


def _bytes(reader: SourceReader, target: Target, days: tuple[int | None, int | None]) -> int:
    """Bytes that a build would fetch for a source, about; 0 for files that are here."""
    plan = plan_source(reader, target, days)
    weigh = getattr(reader, "fetch_bytes", None)
    if weigh is None:
        return 0
    return int(weigh(plan.first, plan.last, plan.window.rows, plan.window.cols))


def _iso(day: Any) -> str:
    return str(np.datetime64(int(day), "D"))
