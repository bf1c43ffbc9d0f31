"""How a station table is made."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.config import Config
from mmnet_maps.variables import target_named

__all__ = ["OwnWeatherConfig", "StationTableConfig"]


class StationTableConfig(Config):
    """How a station table is made.

    Attributes
    ----------
    target : str, optional
        What a model of the table learns to estimate, by the depth of the probe: one of
        `mmnet_maps.variables.TARGETS`, such as ``VWC_20``. None keeps that of the catalogue, ``VWC_5``.
    encoding : {"published", "cyclic"}, optional
        Of the day of year and the aspect; None keeps that of the catalogue.
    fill : {"linear", "past"}, optional
        ``past`` lets no day use a later observation; None and ``linear`` keep what the catalogue says.
    gap_limits : {"catalogue", "none"}
        Whether gaps are bridged up to the catalogue's limits, or whatever their length (as published).
    vwc_missing_share : float
        A station is left out if its soil moisture is missing in this share of its rows or more.
    window_missing : {"drop", "fill"}
        What happens to a row if the weather of a day of its window is missing. ``drop`` leaves it out;
        ``fill`` fills the gap if it has no more than `window_gap` days.
    window_gap : int
        Longest gap of daily weather, in days, that ``fill`` bridges.
    networks : tuple of str
        Networks used; empty for all.
    """

    target: str | None = None
    encoding: Literal["published", "cyclic"] | None = None
    fill: Literal["linear", "past"] | None = None
    gap_limits: Literal["catalogue", "none"] = "catalogue"
    vwc_missing_share: float = 0.2
    window_missing: Literal["drop", "fill"] = "drop"
    window_gap: int = 3
    networks: tuple[str, ...] = ("SCAN", "USCRN")

    @field_validator("target")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        return None if name is None else target_named(name).name

    def applied_to(self, catalogue: Catalogue) -> Catalogue:
        """The catalogue with this target and encoding, these fill rules and these limits."""
        if self.target is not None:
            catalogue = catalogue.with_target(self.target)
        if self.encoding is not None:
            catalogue = catalogue.with_encoding(self.encoding)
        if self.fill is not None:
            catalogue = catalogue.with_fill(self.fill)
        if self.gap_limits == "none":
            free = tuple(v.model_copy(update={"max_gap": None}) for v in catalogue.variables)
            catalogue = catalogue.model_copy(update={"variables": free})
        return catalogue


class OwnWeatherConfig(StationTableConfig):
    """For stations that measure their own weather: short gaps in it are bridged, and every station stays."""

    vwc_missing_share: float = 1.0
    window_missing: Literal["drop", "fill"] = "fill"
