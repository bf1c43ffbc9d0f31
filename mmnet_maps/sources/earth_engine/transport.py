"""The one door through which the `ee` client reaches the network: limited, timed, whole answers only."""

from __future__ import annotations

import threading
import time
from typing import Any

import httplib2
import requests

from mmnet_maps.sources.limiter import Limiter

__all__ = ["OneRefresh", "Transport"]

_PIECE = 1 << 16


class Transport:
    """What the client takes for an ``httplib2.Http``: it sends once, and never again by itself.

    Parameters
    ----------
    limiter : Limiter
    timeout_s : float
        Time for the whole answer, not for a silence in it.
    connections : int
        Connections that are kept open.
    """

    def __init__(self, limiter: Limiter, timeout_s: float, connections: int) -> None:
        self._limiter, self._timeout = limiter, timeout_s
        self._session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(
            pool_connections=4, pool_maxsize=max(10, connections), max_retries=0
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: Any = None,
        headers: dict[str, str] | None = None,
        redirections: int | None = None,
        connection_type: Any = None,
    ) -> tuple[httplib2.Response, bytes]:
        """Send one request; a failure of the network is a `ConnectionError` or a `TimeoutError`."""
        with self._limiter.slot():
            try:
                return self._send(uri, method, body, headers)
            except requests.exceptions.Timeout as error:
                raise TimeoutError(f"no answer within {self._timeout:g} s from {_host(uri)}") from error
            except requests.exceptions.RequestException as error:
                raise ConnectionError(f"{type(error).__name__} from {_host(uri)}") from error

    def _send(
        self, uri: str, method: str, body: Any, headers: dict[str, str] | None
    ) -> tuple[httplib2.Response, bytes]:
        end = time.monotonic() + self._timeout
        with self._session.request(
            method, uri, data=body, headers=headers, timeout=self._timeout, stream=True
        ) as response:
            pieces = []
            for piece in response.iter_content(_PIECE):
                pieces.append(piece)
                if time.monotonic() > end:
                    raise requests.exceptions.ReadTimeout
            info = httplib2.Response({k.lower(): v for k, v in response.headers.items()})
            info.status, info.reason = response.status_code, response.reason
            return info, b"".join(pieces)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


class OneRefresh:
    """Credentials that many threads share: an expired token is renewed once, not once a thread."""

    def __init__(self, inner: Any) -> None:
        owned = getattr(inner, "quota_project_id", None)
        self._inner = inner.with_quota_project(None) if owned else inner
        self._lock = threading.Lock()
        self._sent = threading.local()

    @property
    def quota_project_id(self) -> None:
        """None: the client names the project in a header of its own."""
        return None

    def before_request(self, request: Any, method: str, url: str, headers: dict[str, str]) -> None:
        """Renew the token if it has expired, and put it on the request."""
        with self._lock:
            if not self._inner.valid:
                self._inner.refresh(request)
            self._inner.apply(headers)
            self._sent.token = self._inner.token

    def refresh(self, request: Any) -> None:
        """Renew a token that the server refused, unless another thread has done so since."""
        with self._lock:
            if self._inner.token == getattr(self._sent, "token", None):
                self._inner.refresh(request)


def _host(uri: str) -> str:
    return uri.split("//", 1)[-1].split("/", 1)[0]
