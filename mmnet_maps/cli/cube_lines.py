"""What a build of a cube did, as lines for a reader."""

from __future__ import annotations

from typing import Any

from mmnet_maps.progress import counted

__all__ = ["cube_lines"]


def cube_lines(summary: dict[str, Any]) -> str:
    """A line a source, and what was built of the cube."""
    lines = [_source_line(name, source) for name, source in summary["sources"].items()]
    built, parts = summary["parts_built"], summary["parts"]
    done = f"{built} of {parts} parts built" if built else f"nothing to do, all {parts} parts are up to date"
    if "eecu_hours" in summary:
        hours = summary["eecu_hours"]
        done += f"; EECU-hours: {hours['estimated']} estimated, {hours['counted']} counted"
    notes = [f"note: {note}" for note in summary.get("notes", ())]
    path = summary["path"]
    return "\n".join([*lines, *notes, f"{path}: {done}", f"next: mmnet-maps cube show {path}"])


def _source_line(name: str, source: dict[str, Any]) -> str:
    rows, cols = source["cells"]
    days = (
        f"{counted(source['days'], 'day')}, {source['from']} to {source['to']}"
        if source["days"]
        else "static"
    )
    return f"{name}: {rows} x {cols} cells, {days}: {', '.join(source['variables'])}"
