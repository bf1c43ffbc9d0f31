"""Progress that suits its reader: a bar on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["counted", "say", "steps", "where"]

_LINE_EVERY_S = 10.0
#: What is being counted now: description, steps done, steps in all.
_now: list[tuple[str, int, int]] = []


def say(text: str) -> None:
    """Print one plain line on standard error, which `--json` leaves free."""
    print(text, file=sys.stderr, flush=True)


def counted(number: int, what: str) -> str:
    """A number with its noun, in the plural where that is right.

    Examples
    --------
    >>> counted(1, "day"), counted(2_380, "day")
    ('1 day', '2,380 days')
    """
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def where() -> str:
    """What is being done and how far it is: ``units: 3 of 16 done``; empty between two jobs."""
    return f"{_now[-1][0]}: {_now[-1][1]:,} of {_now[-1][2]:,} done" if _now else ""


@contextmanager
def steps(description: str, total: int) -> Iterator[Callable[..., None]]:
    """Count `total` steps of a job on standard error.

    Parameters
    ----------
    description : str
        What is being done, as the reader would say it.
    total : int
        How many steps there are.

    Yields
    ------
    advance : callable
        ``advance(n=1, note="")`` counts ``n`` steps; the note (a loss, a rate) stands behind the count.
    """
    with (_bar if sys.stderr.isatty() else _lines)(description, total) as tell:
        _now.append((description, 0, total))

        def advance(n: int = 1, note: str = "") -> None:
            _now[-1] = description, _now[-1][1] + n, total
            tell(n, note)

        try:
            yield advance
        finally:
            _now.pop()


@contextmanager
def _bar(description: str, total: int) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total, note="")

        def advance(n: int = 1, note: str = "") -> None:
            progress.update(task, advance=n, note=note)

        yield advance


@contextmanager
def _lines(description: str, total: int) -> Iterator[Callable[..., None]]:
    done, note_now, began = 0, "", time.monotonic()
    last = began

    def advance(n: int = 1, note: str = "") -> None:
        nonlocal done, last, note_now
        done, note_now = done + n, note or note_now
        now = time.monotonic()
        if now - last >= _LINE_EVERY_S:
            last = now
            say(f"{description}: {done}/{total} {note_now}".rstrip())

    yield advance
    say(f"{description}: {done}/{total} in {time.monotonic() - began:.1f} s {note_now}".rstrip())
