"""One gate for every request of the process, and the waits between attempts."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Limiter", "backoff", "shared_limiter"]


class Limiter:
    """At most so many requests at once, and at most so many starts a second.

    Starts are spaced evenly, so that no second ever holds more than the limit.
    """

    def __init__(self, concurrency: int = 40, per_second: float = 100.0) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._next_start = 0.0
        self.configure(concurrency, per_second)

    def configure(self, concurrency: int, per_second: float) -> None:
        """Set both limits; requests under way keep their slots."""
        with self._changed:
            self._concurrency, self._spacing = concurrency, 1.0 / per_second
            self._changed.notify_all()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a slot and for the time to start; hold the slot while the block runs."""
        with self._changed:
            self._changed.wait_for(lambda: self._running < self._concurrency)
            self._running += 1
        try:
            self._wait_for_start()
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify()

    def hold(self, seconds: float) -> None:
        """Let nobody start for a while: the server has asked for it."""
        with self._changed:
            self._next_start = max(self._next_start, time.monotonic() + seconds)

    def _wait_for_start(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                wait = self._next_start - now
                if wait <= 0:
                    self._next_start = now + self._spacing
                    return
            time.sleep(wait)


_SHARED = Limiter()


def shared_limiter(concurrency: int, per_second: float) -> Limiter:
    """The one limiter of this process, with these limits from now on."""
    _SHARED.configure(concurrency, per_second)
    return _SHARED


def backoff(attempt: int, first: float, longest: float, rng: random.Random) -> float:
    """Seconds to wait after attempt 0, 1, ...: doubled each time, with jitter over its upper half.

    Jitter keeps many clients, refused together, from coming back together.
    """
    full = min(longest, first * 2.0**attempt)
    return full * (0.5 + 0.5 * rng.random())
