"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["appearing", "write_whole"]


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A draft beside `path` to write to; it takes its name when the block ends well, and is gone otherwise.

    A file that is there already is replaced at once, and stays as it was if the block fails.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> Path:
    """Write a text file (UTF-8) as a whole; returns `path`."""
    with appearing(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path
