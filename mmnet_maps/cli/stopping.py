"""Ctrl-C and SIGTERM: one line that says what is done, and an end within seconds."""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import FrameType

from mmnet_maps.errors import Stopped
from mmnet_maps.progress import where

__all__ = ["end", "stop_on_signals"]

#: Seconds that clearing up may take; what is left behind is cleared by the next run.
_PATIENCE_S = 5.0


def stop_on_signals() -> None:
    """Let Ctrl-C and SIGTERM raise `Stopped` in the main thread, once; a second one ends at once."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def _stop(number: int, _: FrameType | None) -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda again, _: os._exit(128 + again))
    done = where()
    said = f"stopped{f' ({done})' if done else ''}; run the same command again to go on"
    os.write(2, f"\nmmnet-maps: {said}\n".encode() if os.isatty(2) else f"mmnet-maps: {said}\n".encode())
    # What threads, clusters and libraries have to say of their end concerns nobody.
    logging.disable(logging.CRITICAL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    patience = threading.Timer(_PATIENCE_S, os._exit, (128 + number,))
    patience.daemon = True
    patience.start()
    raise Stopped(number)


def end(stopped: Stopped) -> None:
    """End the process without waiting for threads that are still at work."""
    os._exit(128 + stopped.signal)
