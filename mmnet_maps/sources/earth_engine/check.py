"""What is missing before Earth Engine can be used, step by step."""

from __future__ import annotations

from typing import Any

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.sources.earth_engine.session import find_credentials, open_session
from mmnet_maps.sources.earth_engine.settings import EarthEngineConfig, find_project, sources_of

__all__ = ["check_access"]


def check_access(config: EarthEngineConfig) -> dict[str, Any]:
    """Try every step of using Earth Engine.

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
        _try_session(config, note)
    return {"steps": found, "missing": [step["detail"] for step in found if not step["ok"]]}


def _try_session(config: EarthEngineConfig, note: Any) -> None:
    try:
        with open_session(config) as session:
            note("sign-in", True, config.url)
            for name, source in sources_of(config).items():
                for asset in source.assets:
                    try:
                        kind = session.asset(asset.id).get("type", "asset")
                        note(f"{name}: {asset.id}", True, str(kind).lower().replace("_", " "))
                    except (InputError, WorkError) as error:
                        note(f"{name}: {asset.id}", False, str(error))
    except (InputError, WorkError) as error:
        note("sign-in", False, str(error))
