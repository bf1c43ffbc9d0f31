"""Work on an item while the next ones are made."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

__all__ = ["ahead"]

_Item = TypeVar("_Item")


def ahead(items: Iterator[_Item], count: int = 1) -> Iterator[_Item]:
    """The same items, up to `count` of the next made in a thread while the caller works on the last."""
    # Queues, and not a future for each item: a future can cost as much as a small item.
    ready: SimpleQueue[_Item | None] = SimpleQueue()
    wanted: SimpleQueue[bool] = SimpleQueue()

    def make() -> None:
        try:
            while wanted.get() and (item := next(items, None)) is not None:
                ready.put(item)
                del item  # else it would be held until the next one is there
        finally:
            ready.put(None)

    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        try:
            making = pool.submit(make)
            for _ in range(count):
                wanted.put(True)
            while (item := ready.get()) is not None:
                wanted.put(True)
                yield item
            making.result()
        finally:
            wanted.put(False)
