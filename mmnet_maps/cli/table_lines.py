"""What a station table was made from, as lines for a reader."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

__all__ = ["ismn_lines", "table_lines"]


def table_lines(summary: dict[str, Any]) -> str:
    """Counts of the files, then of the table."""
    from mmnet_maps.prepare.stations.report import TableReport

    counts = {field.name for field in fields(TableReport)}
    notes = [
        f"{name.replace('_', ' ')}: {', '.join(value) if isinstance(value, list) else value}"
        for name, value in summary.items()
        if name not in counts and name != "out" and value != []
    ]
    report = TableReport(**{name: summary[name] for name in counts})
    return "\n".join([*notes, report.text(), f"written: {summary['out']}"])


def ismn_lines(summary: dict[str, Any]) -> str:
    """What was read of an archive, and what was left out."""
    from mmnet_maps.sources.stations.ismn import IsmnReport

    report = IsmnReport(**{name: value for name, value in summary.items() if name != "out"})
    return f"{report.text()}\nwritten: {summary['out']}"
