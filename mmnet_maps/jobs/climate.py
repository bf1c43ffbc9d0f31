"""Days of a product against their season."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmnet_maps.dates import to_date, to_day
from mmnet_maps.produce.climate.store import write_climate
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.store.location import location, target_location

__all__ = ["climate"]


def climate(
    product: str | Path, out: str | Path, *, start: str | None = None, end: str | None = None
) -> dict[str, Any]:
    """Percentiles, anomalies, drought classes and the chance of a dry soil, against the years of a product.

    Parameters
    ----------
    product : str or Path
        Several years of maps: below five no drought class is given.
    out : str or Path
        Zarr store to write.
    start, end : str, optional
        First and last day to describe, ``YYYY-MM-DD``; by default every finished day.

    Returns
    -------
    dict
        ``out``, ``days`` (how many), ``years`` (the calendar years that seasons are made of) and
        ``enough_years``.

    Raises
    ------
    InputError
        There is no product or no finished day in the span, or `out` exists.
    """
    first, last = (to_day(to_date(text)) if text else None for text in (start, end))
    target = target_location(out)
    return write_climate(open_product(location(product)), target, first, last)
