"""EECU-hours: estimated before a job, counted while it runs."""

from __future__ import annotations

import threading

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.sources.earth_engine.settings import Budgeting

__all__ = ["Budget"]


class Budget:
    """Counts what a job uses, and stops it above the limit."""

    def __init__(self, config: Budgeting) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._seconds = 0.0

    @property
    def used_hours(self) -> float:
        """EECU-hours counted so far."""
        with self._lock:
            return self._seconds / 3600.0

    def seconds(self, rows: float = 0, pixels: float = 0) -> float:
        """EECU-seconds that one direct request uses by estimate.

        Parameters
        ----------
        rows : float
            Stations times images.
        pixels : float
            Pixels times bands.
        """
        c = self._config
        return c.seconds_per_request + rows * c.seconds_per_row + pixels / 1e6 * c.seconds_per_megapixel

    def refuse_above(self, seconds: float) -> None:
        """Raise `InputError` if a job of so many EECU-seconds is above the limit or the rest of the month."""
        limit, left, hours = self._config.eecu_hours, self._config.left_hours, seconds / 3600.0
        if limit is not None and hours > limit:
            raise InputError(
                f"the job needs about {hours:.2f} EECU-hours, the budget is {limit}; "
                "ask for fewer days or stations, or raise budget.eecu_hours"
            )
        if left is not None and hours > left:
            used = self._config.used_this_month
            spent = "" if used is None else f", of which {used:g} are used"
            raise InputError(
                f"the job needs about {hours:.2f} EECU-hours, the project has "
                f"{self._config.month_hours:g} a month{spent}: ask for fewer days or stations, wait for the "
                "next month, or set budget.tier (default, billing, none) as the project is"
            )

    def forecast(self, seconds: float) -> str:
        """What a job will use by estimate, and what the project has left this month, as text."""
        text, left = f"about {seconds / 3600.0:.2f} EECU-hours", self._config.left_hours
        if left is None:
            return text
        if self._config.used_this_month is None:
            return f"{text} of the {left:g} of a month (set budget.used_this_month to count what is used)"
        return f"{text} of the {left:g} left this month"

    def count(self, seconds: float) -> None:
        """Add what was used; raise `WorkError` once the limit is passed."""
        limit = self._config.eecu_hours
        with self._lock:
            self._seconds += seconds
            used = self._seconds / 3600.0
        if limit is not None and used > limit:
            raise WorkError(
                f"the budget of {limit} EECU-hours is used up; what is done is kept: raise "
                "budget.eecu_hours and run the same command again"
            )
