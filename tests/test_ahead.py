"""Items made in a thread while the caller works on the last."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from mmnet_maps.ahead import ahead


@pytest.mark.parametrize("count", [1, 3])
def test_the_items_come_in_order_and_no_more_are_made_than_asked(count: int) -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    for number in ahead(items(), count):
        # Those in flight, the one at hand, and none beyond.
        assert len(made) <= number + 1 + count
    assert made == list(range(10))


def test_the_next_item_is_made_while_the_caller_works() -> None:
    second = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        second.set()
        yield 2

    for number in ahead(items()):
        assert number != 1 or second.wait(10)


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("no second")

    found = []
    with pytest.raises(ValueError, match="no second"):
        found.extend(ahead(items(), 3))
    assert not found or found == [1]
    assert list(ahead(iter(()), 3)) == []


def test_a_caller_that_stops_leaves_no_thread_behind() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            yield number

    for number in ahead(items(), 3):
        if number == 5:
            break
    assert not [one for one in threading.enumerate() if one.name.startswith("ahead")]
    assert len(made) <= 5 + 1 + 3
