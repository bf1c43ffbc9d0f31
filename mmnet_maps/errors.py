"""The two ways in which a command can end early."""

from __future__ import annotations

__all__ = ["InputError", "WorkError"]


class InputError(ValueError):
    """What the user gave is wrong; the message names it and says what was expected.

    The command line prints the message as one line and exits with status 2.
    """


class WorkError(RuntimeError):
    """The work itself failed although the input was well formed; exit status 1."""
