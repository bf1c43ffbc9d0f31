"""Every HTTP request of a job: one limiter, one retry policy, one place where credentials are renewed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.source_reader import HttpConfig
from mmnet_maps.sources.limiter import Limiter
from mmnet_maps.version import __version__

__all__ = ["Http", "Passing", "Signer"]

_PASSING = {408, 425, 429, 500, 502, 503, 504}
_REFUSED = {401, 403}
#: Redirects to a link that opens for a while, as Earthdata gives one to its store.
_FOR_NOW = {302, 303, 307}
#: What a store says of such a link when it has ended.
_ENDED = {400, 401, 403, 404, 410}


class Passing(Exception):
    """A failure that is worth another attempt; `wait_s` is what the server asked for."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class Signer:
    """Opens addresses that need no credentials; the base of those that do."""

    def sign(self, http: Http, url: str) -> tuple[str, dict[str, str]]:
        """The address to ask, and the headers to ask it with."""
        return url, {}

    def renew(self, http: Http, url: str, used: tuple[str, dict[str, str]]) -> bool:
        """Whether there are other credentials now than those that were refused."""
        return False

    #: What a user can do when credentials are refused.
    advice = "the archive does not let this be read without credentials"


class Http:
    """A client for many threads.

    Parameters
    ----------
    config : HttpConfig
    """

    def __init__(self, config: HttpConfig) -> None:
        self.config = config
        self._limiter = Limiter(config.connections, config.requests_per_second)
        #: Where an address has led to, by method and address: asked at once as long as that opens.
        self._moved: dict[tuple[str, str], str] = {}
        # Proxies as the environment says, but not ~/.netrc: which credentials go where is the signer's.
        self._client = httpx.Client(
            timeout=config.timeout_s,
            follow_redirects=True,
            headers={"User-Agent": f"mmnet-maps/{__version__}"},
            limits=httpx.Limits(max_connections=config.connections + 1),
            auth=_NoAuth(),
        )

    @property
    def closed(self) -> bool:
        """Whether the job has ended."""
        return self._client.is_closed

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def ask(
        self,
        url: str,
        *,
        what: str,
        method: str = "GET",
        signer: Signer | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Callable[[httpx.Response], str | None] = lambda answer: None,
        **more: Any,
    ) -> httpx.Response:
        """Answer to a request, sent again after passing failures.

        Parameters
        ----------
        url : str
        what : str
            What is asked for, as the user would say it.
        method : str
        signer : Signer, optional
        headers : mapping, optional
        accept : callable
            What is wrong with an answer of status 2xx, which is then asked for again; None if it is whole.
        **more
            Further arguments of `httpx.Client.request`.

        Raises
        ------
        InputError
            Nothing is there, or the credentials are not accepted.
        WorkError
            No answer after every attempt.
        """
        signer, url = signer or Signer(), self._mirrored(url)

        def once() -> httpx.Response:
            if self.closed:
                raise WorkError(f"{what}: the job has ended")
            moved = self._moved.get((method, url))
            signed = (moved, {}) if moved else signer.sign(self, url)
            try:
                with self._limiter.slot():
                    answer = self._client.request(
                        method, signed[0], headers={**(headers or {}), **signed[1]}, **more
                    )
            except httpx.TransportError as error:
                raise Passing(f"{type(error).__name__}: {error}") from error
            if moved and answer.status_code in _ENDED:
                self._moved.pop((method, url), None)
                raise Passing(f"status {answer.status_code} of a link that has ended", 0.0)
            found = self._judged(what, url, answer, signer, signed, accept)
            if _led_away(answer) and answer.history[0].status_code in _FOR_NOW and method in ("GET", "HEAD"):
                self._moved[(method, url)] = str(answer.url)
            return found

        policy = Retrying(
            retry=retry_if_exception_type(Passing),
            stop=stop_after_attempt(self.config.attempts),
            wait=self._wait,
            reraise=True,
        )
        try:
            return policy(once)
        except Passing as error:
            raise WorkError(
                f"{what}: no answer in {self.config.attempts} attempts, the last: {error} ({_plain(url)}); "
                "what is done is kept: run the same command again"
            ) from error

    def _mirrored(self, url: str) -> str:
        """The address of a mirror, where the configuration names one."""
        known = max((k for k in self.config.mirrors if url.startswith(k)), key=len, default=None)
        return url if known is None else self.config.mirrors[known] + url.removeprefix(known)

    def _judged(
        self,
        what: str,
        url: str,
        answer: httpx.Response,
        signer: Signer,
        signed: tuple[str, dict[str, str]],
        accept: Callable[[httpx.Response], str | None],
    ) -> httpx.Response:
        status = 401 if _sign_in_page(answer) else answer.status_code
        if status in _PASSING:
            wait = _seconds(answer.headers.get("Retry-After"))
            if wait is not None:
                self._limiter.hold(min(wait, self.config.longest_wait_s))
            raise Passing(f"status {status}", wait)
        if status in _REFUSED:
            if signer.renew(self, url, signed):
                raise Passing(f"status {status}, with other credentials now", 0.0)
            raise InputError(f"{what}: refused with status {status} ({_plain(url)}): {signer.advice}")
        if status in (404, 410):
            raise InputError(f"{what}: nothing is there ({_plain(url)})")
        if not answer.is_success:
            text = " ".join(answer.text.split())[:200]
            raise InputError(f"{what}: refused with status {status} ({_plain(url)}): {text}")
        wrong = accept(answer)
        if wrong is not None:
            raise Passing(wrong)
        return answer

    def _wait(self, state: RetryCallState) -> float:
        config = self.config
        error = state.outcome.exception() if state.outcome is not None else None
        asked = error.wait_s if isinstance(error, Passing) else None
        if asked is not None:
            return min(asked, config.longest_wait_s)
        backoff = wait_random_exponential(multiplier=config.first_wait_s, max=config.longest_wait_s)
        return float(backoff(state))


def _led_away(answer: httpx.Response) -> bool:
    """Whether redirects have led to another host."""
    return bool(answer.history) and answer.url.netloc != answer.history[0].url.netloc


def _sign_in_page(answer: httpx.Response) -> bool:
    """Whether a redirect has led to a page that asks a person for a password.

    Credentials are not sent on to another host (`httpx` takes them away), so an archive that does not take
    them leads to its sign-in, whose page has status 200.
    """
    return _led_away(answer) and answer.headers.get("Content-Type", "").startswith("text/html")


class _NoAuth(httpx.Auth):
    """No credentials of the client's own."""


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else max(0.0, float(text))
    except ValueError:
        return None  # a date: the usual back-off is as good


def _plain(url: str) -> str:
    """An address without its query, which may hold a signature."""
    return url.split("?")[0]


def environment(*names: str) -> str | None:
    """The first of these variables of the environment that is set."""
    return next((value for name in names if (value := os.environ.get(name))), None)
