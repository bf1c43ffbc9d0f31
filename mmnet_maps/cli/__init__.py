"""The command line: one short function a command; heavy imports stay inside the functions."""

from __future__ import annotations

import sys

from mmnet_maps.cli.main import app
from mmnet_maps.errors import InputError, WorkError

__all__ = ["app", "main"]


def main() -> None:
    """Run a command; a wrong input is one line and status 2, a failure one line and status 1."""
    try:
        app()
    except InputError as error:
        _stop(error, 2)
    except (WorkError, OSError, MemoryError) as error:
        _stop(error, 1)


def _stop(error: BaseException, status: int) -> None:
    print(f"mmnet-maps: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(status)
