"""The command line: one short function a command; heavy imports stay inside the functions."""

from __future__ import annotations

import sys

from mmnet_maps.cli.main import app
from mmnet_maps.cli.stopping import end, stop_on_signals
from mmnet_maps.errors import InputError, Stopped, WorkError, brief

__all__ = ["app", "main"]


def main() -> None:
    """Run a command; a wrong input is one line and status 2, a failure one line and status 1.

    A command that is stopped by Ctrl-C or SIGTERM ends with one line and status 130 or 143.
    """
    stop_on_signals()
    try:
        app()
    except Stopped as stopped:
        end(stopped)
    except InputError as error:
        _stop(error, 2)
    except (WorkError, OSError, MemoryError) as error:
        _stop(error, 1)


def _stop(error: BaseException, status: int) -> None:
    said = " ".join(brief(error).split()) or type(error).__name__
    print(f"mmnet-maps: {said}", file=sys.stderr)
    sys.exit(status)
