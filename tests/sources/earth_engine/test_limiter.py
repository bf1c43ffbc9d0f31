"""The gate of the process and the sorting of errors."""

from __future__ import annotations

import random
import threading
import time

import ee
import httplib2
import pytest
from googleapiclient.errors import HttpError
from hypothesis import given
from hypothesis import strategies as st

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.sources.earth_engine.budget import Budget
from mmnet_maps.sources.earth_engine.faults import BadAnswer, Verdict, judge
from mmnet_maps.sources.earth_engine.settings import Budgeting
from mmnet_maps.sources.limiter import Limiter, backoff, shared_limiter


def test_never_more_at_once_and_never_more_a_second() -> None:
    limiter, lock = Limiter(concurrency=5, per_second=200.0), threading.Lock()
    now, most, starts = 0, 0, []

    def work() -> None:
        nonlocal now, most
        for _ in range(6):
            with limiter.slot():
                with lock:
                    now += 1
                    most = max(most, now)
                    starts.append(time.monotonic())
                time.sleep(0.005)
                with lock:
                    now -= 1

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most <= 5 and len(starts) == 72
    # 72 starts at 200 a second take at least 71 spacings.
    assert max(starts) - min(starts) >= 71 / 200 * 0.97


def test_a_hold_stops_every_start() -> None:
    limiter = Limiter(concurrency=5, per_second=1000.0)
    began = time.monotonic()
    limiter.hold(0.15)
    with limiter.slot():
        assert time.monotonic() - began >= 0.14


def test_the_process_has_one_limiter() -> None:
    assert shared_limiter(3, 10.0) is shared_limiter(40, 100.0)


@given(st.integers(0, 30), st.floats(0.01, 5), st.floats(5, 100), st.integers(0, 2**32))
def test_waits_double_up_to_the_longest(attempt: int, first: float, longest: float, seed: int) -> None:
    wait = backoff(attempt, first, longest, random.Random(seed))
    full = min(longest, first * 2.0**attempt)
    assert full / 2 <= wait <= full <= longest


def answered(status: int, message: str) -> ee.EEException:
    """An exception as the client raises it."""
    info = httplib2.Response({"status": status, "content-type": "application/json"})
    info.reason = message
    content = b'{"error": {"code": %d, "message": "%s"}}' % (status, message.encode())
    try:
        try:
            raise HttpError(info, content)
        except HttpError:
            raise ee.EEException(message)  # noqa: B904
    except ee.EEException as error:
        return error


@pytest.mark.parametrize(
    ("status", "message", "verdict", "kind"),
    [
        (429, "Too many requests", Verdict.TRY_AGAIN, None),
        (500, "An internal error has occurred", Verdict.TRY_AGAIN, None),
        (503, "The service is currently unavailable.", Verdict.TRY_AGAIN, None),
        (400, "Too many concurrent aggregations.", Verdict.TRY_AGAIN, None),
        (400, "User memory limit exceeded.", Verdict.ASK_FOR_LESS, None),
        (400, "Computation timed out.", Verdict.ASK_FOR_LESS, None),
        (400, "Output of image computation is too large", Verdict.ASK_FOR_LESS, None),
        (
            400,
            "Total request size (99 bytes) must be less than or equal to 50331648 bytes.",
            Verdict.ASK_FOR_LESS,
            None,
        ),
        (413, "Request Entity Too Large", Verdict.ASK_FOR_LESS, None),
        (401, "Invalid credentials", Verdict.STOP, InputError),
        (403, "Caller does not have required permission", Verdict.STOP, InputError),
        (404, "Asset not found", Verdict.STOP, InputError),
        (400, "Image.load: Image asset 'x' not found", Verdict.STOP, InputError),
        (400, "Band pattern 'B99' did not match any bands", Verdict.STOP, InputError),
        (429, "Quota exceeded for quota metric EECU-seconds per day", Verdict.STOP, WorkError),
        (400, "Invalid argument", Verdict.STOP, WorkError),
    ],
)
def test_errors_are_sorted(status: int, message: str, verdict: Verdict, kind: type | None) -> None:
    fault = judge(answered(status, message))
    assert fault.verdict is verdict
    assert (type(fault.error) is kind) if kind else fault.error is None


def test_failures_of_the_network_are_tried_again() -> None:
    for error in (ConnectionError("reset"), TimeoutError("late"), BadAnswer("half")):
        assert judge(error).verdict is Verdict.TRY_AGAIN
    assert judge(ZeroDivisionError("a mistake of ours")).verdict is Verdict.STOP


def test_a_budget_is_refused_before_and_stops_during() -> None:
    budget = Budget(Budgeting(eecu_hours=1.0, seconds_per_request=10.0))
    with pytest.raises(InputError, match="EECU-hours"):
        budget.refuse_above(3601.0)
    for _ in range(360):
        budget.count(budget.seconds())
    assert budget.used_hours == pytest.approx(1.0)
    with pytest.raises(WorkError, match="used up"):
        budget.count(10.0)


def test_a_job_is_held_against_what_the_month_has_left() -> None:
    Budget(Budgeting()).refuse_above(149 * 3600)
    with pytest.raises(InputError, match="has 150 a month"):
        Budget(Budgeting()).refuse_above(151 * 3600)
    Budget(Budgeting(tier="billing")).refuse_above(999 * 3600)
    told = Budget(Budgeting(tier="billing", used_this_month=990))
    with pytest.raises(InputError, match="has 1000 a month, of which 990 are used"):
        told.refuse_above(11 * 3600)
    assert told.forecast(3600) == "about 1.00 EECU-hours of the 10 left this month"
    Budget(Budgeting(tier="none")).refuse_above(1e9)
