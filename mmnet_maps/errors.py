"""The two ways in which a command can end early, and lines that help the user on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = [
    "InputError",
    "Stopped",
    "WorkError",
    "brief",
    "needs_extra",
    "refuse_beyond",
    "refuse_damaged",
    "suggestion",
]

#: Characters of the longest message.
_LONGEST = 1_000


def brief(message: object) -> str:
    r"""A message without its middle where it repeats half a file, and without characters that move a cursor.

    Examples
    --------
    >>> brief("a key\x1b[31m")
    'a key\\x1b[31m'
    >>> len(brief("x" * 10**6))
    1000
    """
    text = str(message)
    if len(text) > _LONGEST:
        end = _LONGEST // 4
        text = f"{text[: _LONGEST - end - 5]} ... {text[-end:]}"
    return "".join(c if c.isprintable() or c.isspace() else ascii(c)[1:-1] for c in text)


class InputError(ValueError):
    """What the user gave is wrong; the message names it and says what was expected.

    The command line prints the message as one line and exits with status 2.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(brief(message))


class WorkError(RuntimeError):
    """The work itself failed although the input was well formed; exit status 1."""

    def __init__(self, message: object = "") -> None:
        super().__init__(brief(message))


@contextmanager
def needs_extra(extra: str, what: str) -> Iterator[None]:
    """Around the import of a package that comes with an extra of mmnet-maps.

    Raises
    ------
    InputError
        The package is not installed; the message says how to install it.

    Examples
    --------
    >>> with needs_extra("science", "xgboost"):
    ...     import no_such_package
    Traceback (most recent call last):
    ...
    mmnet_maps.errors.InputError: xgboost needs the extra 'science': pip install 'mmnet-maps[science]'
    """
    try:
        yield
    except ModuleNotFoundError:
        raise InputError(f"{what} needs the extra '{extra}': pip install 'mmnet-maps[{extra}]'") from None


@contextmanager
def refuse_damaged(where: object, what: str) -> Iterator[None]:
    """Around the opening of what the program wrote itself: any other surprise means damage.

    Storage that fails, or denies access, is reported as it is.

    Raises
    ------
    InputError
        What is there cannot be read; the message names it and the reason.

    Examples
    --------
    >>> with refuse_damaged("m.zarr", "no product that `predict` made"):
    ...     {}["layout"]
    Traceback (most recent call last):
    ...
    mmnet_maps.errors.InputError: m.zarr: is damaged, or no product that `predict` made (KeyError: 'layout')
    """
    try:
        yield
    except (InputError, WorkError, MemoryError, PermissionError):
        raise
    except Exception as error:
        raise InputError(
            f"{where}: is damaged, or {what} ({type(error).__name__}: {error!s:.200})"
        ) from error


def suggestion(name: str, known: Iterable[str]) -> str:
    """The known name that comes nearest, as the end of a message; empty if none is near.

    Examples
    --------
    >>> suggestion("soil_mositure", ["soil_moisture", "lower", "upper"])
    '; did you mean soil_moisture?'
    >>> suggestion("rain", ["soil_moisture"])
    ''
    """
    near = difflib.get_close_matches(str(name), [str(text) for text in known], n=1)
    return f"; did you mean {near[0]}?" if near else ""


class Stopped(BaseException):
    """The user, or the system, asked for the end: Ctrl-C or SIGTERM.

    No `Exception`: nothing that tries again, or goes on without a part of the work, may catch it.

    Attributes
    ----------
    signal : int
    """

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal


def refuse_beyond(what: str, number: float | None, least: float, most: float) -> None:
    """`InputError` unless a number that a user gave lies between two limits, or is not given."""
    if number is not None and not least <= number <= most:
        raise InputError(f"{what} {number}: expected {least:,} to {most:,}")
