"""What went wrong with a request, and what to do: try again, ask for less, or stop."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

import ee
from google.auth import exceptions as auth_errors
from googleapiclient.errors import HttpError

from mmnet_maps.errors import InputError, WorkError

__all__ = ["AskForLess", "BadAnswer", "Fault", "Verdict", "judge"]


class AskForLess(WorkError):
    """The request was too much for one answer; half of it may not be."""


class BadAnswer(Exception):
    """An answer came, but not whole."""


class Verdict(Enum):
    """The three ways on."""

    TRY_AGAIN = "try again"
    ASK_FOR_LESS = "ask for less"
    STOP = "stop"


@dataclass(frozen=True)
class Fault:
    """A judged failure.

    Attributes
    ----------
    verdict : Verdict
    reason : str
        One line, for the user.
    wait_s : float, optional
        How long the server asks everybody to wait.
    error : InputError or WorkError, optional
        What to raise when the verdict is to stop.
    """

    verdict: Verdict
    reason: str
    wait_s: float | None = None
    error: InputError | WorkError | None = None


_TOO_MUCH = re.compile(
    r"memory limit exceeded|memory capacity|computation timed out|timed out after|too many pixels|"
    r"total request size|must be less than or equal to|accumulating over|payload size|response size|"
    r"request size|too large|too many bands|grid dimensions",
    re.IGNORECASE,
)
_BUSY = re.compile(
    r"too many concurrent aggregations|internal error|rate ?limit|too many requests|try again", re.IGNORECASE
)
_SPENT = re.compile(
    r"per day|per month|daily|monthly|noncommercial|restricted mode|billing|eecu|storage quota", re.IGNORECASE
)
_UNKNOWN = re.compile(
    r"not found|does not exist|did not match any bands|no band named|cannot load", re.IGNORECASE
)
_SIGN_IN = "sign in with `earthengine authenticate`, or set key_file to a service account's key"


def judge(error: BaseException) -> Fault:
    """Sort an exception of a request; anything unknown is final.

    Parameters
    ----------
    error : BaseException
        As raised by the `ee` client, by the transport or by the check of an answer.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, auth_errors.RefreshError):
        if error.retryable:
            return Fault(Verdict.TRY_AGAIN, text)
        return _stop(text, InputError(f"Earth Engine refused the sign-in ({text}); {_SIGN_IN}"))
    if isinstance(error, BadAnswer | ConnectionError | TimeoutError | auth_errors.TransportError):
        return Fault(Verdict.TRY_AGAIN, text)
    if isinstance(error, ee.EEException | HttpError):
        cause = error if isinstance(error, HttpError) else error.__context__
        if isinstance(cause, HttpError):
            return _by_status(int(cause.resp.status), text, cause.resp.get("retry-after"))
        return _by_text(text)
    return _stop(text, WorkError(f"Earth Engine request failed: {text}"))


def _by_status(status: int, text: str, retry_after: str | None) -> Fault:
    wait = float(retry_after) if retry_after and retry_after.replace(".", "", 1).isdigit() else None
    if status == 429:
        return _quota(text) if _SPENT.search(text) else Fault(Verdict.TRY_AGAIN, text, wait)
    if status in (408, 500, 502, 503, 504):
        return Fault(Verdict.TRY_AGAIN, text, wait)
    if status == 413:
        return Fault(Verdict.ASK_FOR_LESS, text)
    if status == 401:
        return _stop(text, InputError(f"Earth Engine does not accept the sign-in ({text}); {_SIGN_IN}"))
    if status == 403 and _BUSY.search(text):
        return Fault(Verdict.TRY_AGAIN, text, wait)
    if status == 403 and not _UNKNOWN.search(text):
        if _SPENT.search(text):
            return _quota(text)
        return _stop(
            text,
            InputError(
                f"Earth Engine denies access ({text}); see that the project is registered for Earth "
                "Engine and that the account may use it and the asset (`mmnet-maps earthengine check`)"
            ),
        )
    return _by_text(text)


def _by_text(text: str) -> Fault:
    if _TOO_MUCH.search(text):
        return Fault(Verdict.ASK_FOR_LESS, text)
    if _BUSY.search(text):
        return Fault(Verdict.TRY_AGAIN, text)
    if _UNKNOWN.search(text):
        return _stop(
            text,
            InputError(
                f"Earth Engine does not know what was asked for ({text}); set the right collection or "
                "band under `sources` in the configuration"
            ),
        )
    return _stop(text, WorkError(f"Earth Engine refused the request: {text}"))


def _quota(text: str) -> Fault:
    return _stop(
        text,
        WorkError(
            f"the project's Earth Engine quota is spent ({text}); what is done is kept: run the same "
            "command again when the quota is renewed, or with another project"
        ),
    )


def _stop(text: str, error: InputError | WorkError) -> Fault:
    return Fault(Verdict.STOP, text, error=error)
