"""What is missing before Earth Engine can be used, step by step."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import ee

from mmnet_maps.assets import Asset, AssetSource
from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.sources.earth_engine.session import Session, find_credentials, open_session
from mmnet_maps.sources.earth_engine.settings import EarthEngineConfig, find_project, sources_of

__all__ = ["check_access"]


#: A day that is asked for, first or last; None where it does not matter.
_Asked = tuple[dt.date | None, dt.date | None]
_Note = Callable[[str, bool, str], bool]


def check_access(
    config: EarthEngineConfig, start: dt.date | None = None, end: dt.date | None = None
) -> dict[str, Any]:
    """Try every step of using Earth Engine.

    Parameters
    ----------
    config : EarthEngineConfig
    start, end : date, optional
        Days that are wanted: with either, the first and last day of every collection are asked for too.

    Returns
    -------
    dict
        ``steps``: a list of ``step``, ``ok`` and ``detail``; ``missing``: the details of those that failed.
        A step that needs an earlier one is left out where that failed.
    """
    found: list[dict[str, Any]] = []

    def note(step: str, ok: bool, detail: str) -> bool:
        found.append({"step": step, "ok": ok, "detail": detail})
        return ok

    project = find_project(config)
    ready = note(
        "project",
        project is not None,
        project or "set `project` in the configuration or EARTHENGINE_PROJECT in the environment",
    )
    try:
        ready &= note("credentials", True, type(find_credentials(config)).__name__)
    except InputError as error:
        ready = note("credentials", False, str(error))
    if ready:
        _try_session(config, note, (start, end))
    return {"steps": found, "missing": [step["detail"] for step in found if not step["ok"]]}


def _try_session(config: EarthEngineConfig, note: _Note, asked: _Asked) -> None:
    try:
        with open_session(config) as session:
            note("sign-in", True, config.url)
            for name, source in sources_of(config).items():
                for asset in source.assets:
                    try:
                        kind = str(session.asset(asset.id).get("type", "asset")).lower().replace("_", " ")
                        note(f"{name}: {asset.id}", *_covers(session, source, asset, kind, asked))
                    except (InputError, WorkError) as error:
                        note(f"{name}: {asset.id}", False, str(error))
    except (InputError, WorkError) as error:
        note("sign-in", False, str(error))


def _covers(
    session: Session, source: AssetSource, asset: Asset, kind: str, asked: _Asked
) -> tuple[bool, str]:
    """Whether a collection reaches the days asked for, and what to tell of it."""
    start, end = asked
    if (start is None and end is None) or source.times in ("static", "yearly"):
        return True, kind
    first, last = (_end_of(session, asset, newest) for newest in (False, True))
    told = f"{kind}, {first} to {last}"
    if start is not None and first > start:
        return False, f"{told}: begins after {start}; ask for later days, or take another collection"
    if end is not None and last < end:
        return False, f"{told}: ends before {end}; ask for earlier days, or take another collection"
    return True, told


def _end_of(session: Session, asset: Asset, newest: bool) -> dt.date:
    """Day of the newest or oldest image of a collection."""
    images = ee.ImageCollection(asset.id).limit(1, "system:time_start", not newest)
    stamps = session.value(
        f"{'last' if newest else 'first'} day of {asset.id}", images.aggregate_array("system:time_start")
    )
    if not stamps:
        raise WorkError(f"{asset.id} holds no image with a time")
    return dt.datetime.fromtimestamp(int(stamps[0]) / 1000, tz=dt.UTC).date()
