"""What a user can set about Earth Engine: sign-in, limits, budget, and where every variable comes from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from mmnet_maps.assets import ASSETS, AssetSource
from mmnet_maps.config import Config
from mmnet_maps.errors import InputError, suggestion

__all__ = ["Budgeting", "EarthEngineConfig", "find_project", "key_path", "sources_of"]

#: Made for many automatic requests; the standard endpoint is https://earthengine.googleapis.com.
_HIGH_VOLUME = "https://earthengine-highvolume.googleapis.com"
#: EECU-hours a month of non-commercial projects, since April 2026.
_MONTH_HOURS = {"default": 150.0, "billing": 1000.0}
_PROJECT_VARIABLES = ("EARTHENGINE_PROJECT", "EE_PROJECT", "GOOGLE_CLOUD_PROJECT")


class Budgeting(Config):
    """What a job may use, and what its parts use by estimate.

    Attributes
    ----------
    eecu_hours : float, optional
        The job does not start, and stops, above this.
    tier : {"default", "billing", "none"}
        What a non-commercial project has a month: 150 EECU-hours by default, 1,000 with a billing account;
        ``none`` for a project without a monthly limit.
    used_this_month : float, optional
        EECU-hours that the project has used this month, as its console shows them. A job above the rest is
        refused.
    seconds_per_request, seconds_per_row, seconds_per_megapixel : float
        EECU-seconds that a direct request uses by estimate: a fixed part, a part for each station and image,
        and a part for each million band pixels. Batch exports are counted as Earth Engine reports them.
    """

    eecu_hours: float | None = Field(default=None, gt=0)
    tier: Literal["default", "billing", "none"] = "default"
    used_this_month: float | None = Field(default=None, ge=0)
    seconds_per_request: float = Field(default=0.5, ge=0)
    seconds_per_row: float = Field(default=0.02, ge=0)
    seconds_per_megapixel: float = Field(default=1.0, ge=0)

    @property
    def month_hours(self) -> float | None:
        """EECU-hours of a month; None without a limit."""
        return _MONTH_HOURS.get(self.tier)

    @property
    def left_hours(self) -> float | None:
        """EECU-hours left of the month, of all that is known; None without a limit."""
        month = self.month_hours
        return None if month is None else max(0.0, month - (self.used_this_month or 0.0))


class EarthEngineConfig(Config):
    """Settings of every ``earthengine`` command.

    Attributes
    ----------
    project : str, optional
        Google Cloud project; by default the environment's EARTHENGINE_PROJECT, EE_PROJECT or
        GOOGLE_CLOUD_PROJECT.
    key_file : str, optional
        Key of a service account (JSON); without one the stored sign-in is used, or the application default.
    url : str
        Endpoint.
    concurrency, requests_per_second : int, float
        Limits for the whole process.
    attempts : int
        How often a request is sent before the job gives up.
    first_wait_s, longest_wait_s : float
        Exponential back-off: about the first wait, doubled each time, never above the longest.
    timeout_s : float
        A request that has not been answered in full by then is given up and sent again.
    page_rows : int
        Rows a page of a table.
    request_mib : float
        Largest size of the pixels of one request; Earth Engine refuses 48 MiB and more.
    poll_s : float
        How often the state of batch exports is asked for.
    drive_folder, bucket : str
        Where batch exports go: a folder of Google Drive, a Cloud Storage bucket.
    drive_url, storage_url : str
        Where finished exports are fetched from.
    budget : Budgeting
    sources : dict of str to AssetSource
        Replaces sources of `mmnet_maps.assets.ASSETS` by name, or adds one.
    without : tuple of str
        Sources that are left out.
    collections : dict of str to str
        Another collection for a source that has one, by the name of the source. ``smap:
        NASA/SMAP/SPL4SMGP/007`` is the version that the published models were trained on.
    """

    project: str | None = None
    key_file: str | None = None
    url: str = _HIGH_VOLUME
    concurrency: int = Field(default=40, ge=1, le=1000)
    requests_per_second: float = Field(default=100.0, gt=0)
    attempts: int = Field(default=8, ge=1)
    first_wait_s: float = Field(default=1.0, ge=0)
    longest_wait_s: float = Field(default=64.0, ge=0)
    timeout_s: float = Field(default=330.0, gt=0)
    page_rows: int = Field(default=1000, ge=1)
    request_mib: float = Field(default=32.0, gt=0, lt=48)
    poll_s: float = Field(default=10.0, gt=0)
    drive_folder: str = "mmnet-maps"
    bucket: str | None = None
    drive_url: str = "https://www.googleapis.com/drive/v3"
    storage_url: str = "https://storage.googleapis.com/storage/v1"
    budget: Budgeting = Budgeting()
    sources: dict[str, AssetSource] = Field(default_factory=dict)
    without: tuple[str, ...] = ()
    collections: dict[str, str] = Field(default_factory=dict)


def sources_of(config: EarthEngineConfig) -> dict[str, AssetSource]:
    """Every source that a job takes: the published ones, replaced, extended and reduced as configured.

    Raises
    ------
    InputError
        A source that is to be left out, or to come from another collection, does not exist or has several.
    """
    known = ASSETS | config.sources
    for name, collection in config.collections.items():
        if name not in known:
            more = suggestion(name, known)
            raise InputError(f"collections: source {name} is not known; known are {', '.join(known)}{more}")
        assets = known[name].assets
        if len(assets) != 1:
            raise InputError(
                f"collections: source {name} has {len(assets)} assets; expected a source of one: "
                "describe it under sources"
            )
        replaced = (assets[0].model_copy(update={"id": collection}),)
        known = known | {name: known[name].model_copy(update={"assets": replaced})}
    for name in config.without:
        if name not in known:
            more = suggestion(name, known)
            raise InputError(f"without: source {name} is not known; known are {', '.join(known)}{more}")
    return {name: source for name, source in known.items() if name not in config.without}


def find_project(config: EarthEngineConfig) -> str | None:
    """The project of the configuration, or of the environment."""
    for value in (config.project, *(os.environ.get(name) for name in _PROJECT_VARIABLES)):
        if value:
            return value
    return None


def key_path(config: EarthEngineConfig) -> Path | None:
    """The key file, if one is configured."""
    return Path(config.key_file).expanduser() if config.key_file else None
