"""Credentials: signed links of the Planetary Computer, bearer tokens of NASA Earthdata."""

from __future__ import annotations

import datetime as dt
import netrc
import threading
from typing import Literal
from urllib.parse import urlsplit

from mmnet_maps.errors import InputError
from mmnet_maps.source_reader import HttpConfig
from mmnet_maps.sources.remote.http import Http, Signer, environment

__all__ = ["signer_of"]

#: A signature is renewed so long before it ends.
_MARGIN = dt.timedelta(seconds=60)


class _Planetary(Signer):
    """Adds a signature to links, one for a collection, renewed before it ends and where it is refused."""

    advice = "its signature is not accepted; a collection that needs a key (PC_SDK_SUBSCRIPTION_KEY)?"

    def __init__(self, base: str, collection: str) -> None:
        self._base, self._collection = base.rstrip("/"), collection
        self._token, self._ends = "", dt.datetime.min.replace(tzinfo=dt.UTC)
        self._lock = threading.Lock()

    def sign(self, http: Http, url: str) -> tuple[str, dict[str, str]]:
        with self._lock:
            if dt.datetime.now(dt.UTC) + _MARGIN > self._ends:
                self._fetch(http)
            return f"{url}{'&' if '?' in url else '?'}{self._token}", {}

    def renew(self, http: Http, url: str, used: tuple[str, dict[str, str]]) -> bool:
        with self._lock:
            if not used[0].endswith(self._token):
                return True  # another thread has renewed it
            before = self._token
            self._fetch(http)
            return self._token != before

    def _fetch(self, http: Http) -> None:
        key = environment("PC_SDK_SUBSCRIPTION_KEY")
        headers = {"Ocp-Apim-Subscription-Key": key} if key else {}
        where = f"{self._base}/{self._collection}"
        answer = http.ask(where, what=f"signature for {self._collection}", headers=headers).json()
        self._token = str(answer["token"])
        self._ends = dt.datetime.fromisoformat(str(answer["msft:expiry"]).replace("Z", "+00:00"))


class _Earthdata(Signer):
    """A bearer token: EARTHDATA_TOKEN, else one made with the name and password of ``~/.netrc``."""

    advice = (
        "the Earthdata token is not accepted or has ended: put a new one into EARTHDATA_TOKEN, or name and "
        "password into ~/.netrc (machine urs.earthdata.nasa.gov)"
    )

    def __init__(self, login: str) -> None:
        self._login = login.rstrip("/")
        self._token = environment("EARTHDATA_TOKEN")
        self._lock = threading.Lock()

    def sign(self, http: Http, url: str) -> tuple[str, dict[str, str]]:
        with self._lock:
            if self._token is None and not self._make(http):
                raise InputError(
                    "no Earthdata sign-in: set EARTHDATA_TOKEN, or put name and password into ~/.netrc "
                    "(machine urs.earthdata.nasa.gov)"
                )
            return url, {"Authorization": f"Bearer {self._token}"}

    def renew(self, http: Http, url: str, used: tuple[str, dict[str, str]]) -> bool:
        with self._lock:
            if used[1].get("Authorization") != f"Bearer {self._token}":
                return True
            before = self._token
            return self._make(http) and self._token != before

    def _make(self, http: Http) -> bool:
        """Ask for a token with name and password; False where there are none."""
        known = _password(self._login)
        if known is None:
            return False
        found = http.ask(
            f"{self._login}/api/users/find_or_create_token",
            what="Earthdata token",
            method="POST",
            auth=known,
        ).json()
        self._token = str((found[0] if isinstance(found, list) else found)["access_token"])
        return True


def _password(login: str) -> tuple[str, str] | None:
    try:
        known = netrc.netrc(environment("NETRC")).authenticators(urlsplit(login).hostname or "")
    except (OSError, netrc.NetrcParseError):
        return None
    return None if known is None else (known[0], known[2])


def signer_of(kind: Literal["none", "planetary", "earthdata"], config: HttpConfig, collection: str) -> Signer:
    """What opens the links of a collection."""
    if kind == "planetary":
        return _Planetary(config.sign_url, collection)
    return _Earthdata(config.login_url) if kind == "earthdata" else Signer()
