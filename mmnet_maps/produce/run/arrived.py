"""Which days of a unit are final: as far as all that their values rest on has arrived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmnet_maps.produce.tile.reach import Reach

__all__ = ["Arrived"]


@dataclass(frozen=True)
class Arrived:
    """What has arrived of the sources on the day of a run.

    Attributes
    ----------
    today : int
        Days since 1970-01-01.
    complete : tuple of (str, int)
        By source, the last day of which nothing more is expected.
    widen : tuple of (int, float)
        Intervals of a provisional day that is at most so many days old are so many times as wide; by age.
    """

    today: int
    complete: tuple[tuple[str, int], ...]
    widen: tuple[tuple[int, float], ...] = ()

    def widths(self, reach: Mapping[str, Reach], first: int) -> list[float]:
        """For each day of a unit, how many times as wide its intervals are; 0 of a final day.

        Parameters
        ----------
        reach : mapping of str to list
            By source, as `Reaches.found` gives it.
        first : int
            First day of the unit.

        Returns
        -------
        list of float
            Empty where all days are final.
        """
        complete = dict(self.complete)
        count = max((len(days) - 1 for days in reach.values()), default=0)
        final = [
            all(
                source not in complete or ((until := days[1 + k]) is not None and until <= complete[source])
                for source, days in reach.items()
            )
            for k in range(count)
        ]
        if all(final):
            return []
        return [0.0 if done else self._width(first + k) for k, done in enumerate(final)]

    def _width(self, day: int) -> float:
        return next((factor for age, factor in self.widen if self.today - day <= age), 1.0)
