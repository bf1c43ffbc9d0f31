"""Pieces of a self-contained HTML page; every text is escaped here."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from mmnet_maps.show.figures import png
from mmnet_maps.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "SCORE_NAMES",
    "facts",
    "figure",
    "heading",
    "lead",
    "note",
    "number",
    "page",
    "preformatted",
    "section",
    "side_by_side",
    "table",
]

#: Scores in the order in which they are shown, with their names.
SCORE_NAMES = {
    "n": "n",
    "corr": "R",
    "rmse": "RMSE",
    "bias": "bias",
    "ubrmse": "ubRMSE",
    "spearman": "Spearman",
    "kge": "KGE",
}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2733;
  max-width: 1180px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
p.note { color: #5a6673; } img { max-width: 100%; height: auto; }
table { border-collapse: collapse; margin: .6rem 0 1.2rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #dfe4ea; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid #9aa7b4; }
td.wide { text-align: left; overflow-wrap: anywhere; }
p.lead { font-size: 1.05rem; } .scroll { overflow-x: auto; }
.side { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); }
@media print { body { max-width: none; font-size: 11pt; } section, img, tr { break-inside: avoid; } }
"""


def page(title: str, body: Iterable[str]) -> str:
    """A whole HTML page around sections that are HTML already."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">",
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f'<p class="note">mmnet-maps {escape(__version__)}</p>',
        *body,
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def section(title: str, parts: Sequence[str]) -> str:
    """A heading with what stands under it."""
    return "\n".join([f"<h2>{escape(title)}</h2>", *parts])


def heading(text: str) -> str:
    """A small heading inside a section."""
    return f"<h3>{escape(text)}</h3>"


def note(text: str) -> str:
    """A sentence."""
    return f'<p class="note">{escape(text)}</p>'


def lead(sentences: Iterable[str]) -> str:
    """The first paragraph."""
    return f'<p class="lead">{escape(" ".join(sentences))}</p>'


def side_by_side(parts: Iterable[str]) -> str:
    """Figures beside each other where there is room, below each other on a phone."""
    return f'<div class="side">{"".join(parts)}</div>'


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; the first column names the row."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(number(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def facts(values: Mapping[str, object]) -> str:
    """A two-column table of names and texts."""
    rows = "".join(
        f'<tr><th>{escape(str(name))}</th><td class="wide">{escape(_text(value))}</td></tr>'
        for name, value in values.items()
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _text(value: object) -> str:
    return json.dumps(value, default=str) if isinstance(value, dict | list | tuple) else str(value)


def number(value: object) -> str:
    """A cell's text: a dash for what is undefined."""
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def figure(drawn: Figure, alternative: str) -> str:
    """A figure, embedded as PNG."""
    data = base64.b64encode(png(drawn)).decode("ascii")
    return f'<img alt="{escape(alternative)}" src="data:image/png;base64,{data}">'


def preformatted(text: str) -> str:
    """Text as it is, in a fixed-width face."""
    return f"<pre>{escape(text)}</pre>"
