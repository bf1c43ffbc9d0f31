"""A signed-in session: every request goes through one limiter and one layer of retries."""

from __future__ import annotations

import io
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, TypeVar

import ee
import numpy as np
from google.auth import exceptions as auth_errors
from google.oauth2 import service_account
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient.errors import HttpError
from numpy.typing import NDArray

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.sources.earth_engine.budget import Budget
from mmnet_maps.sources.earth_engine.faults import AskForLess, BadAnswer, Verdict, judge
from mmnet_maps.sources.earth_engine.settings import EarthEngineConfig, find_project, key_path
from mmnet_maps.sources.earth_engine.transport import OneRefresh, Transport
from mmnet_maps.sources.limiter import backoff, shared_limiter

__all__ = ["Session", "find_credentials", "open_session"]

T = TypeVar("T")

#: After so many answers that did not come in time a request is taken for too large, not for unlucky.
_LATE_BEFORE_LESS = 3


def find_credentials(config: EarthEngineConfig) -> Any:
    """Credentials: the configured key file, else the stored sign-in, else the application default.

    Raises
    ------
    InputError
        The key file is missing or wrong, or nobody has signed in.
    WorkError
        Google cannot be reached.
    """
    path = key_path(config)
    if path is None:
        try:
            return ee.data.get_persistent_credentials()
        except auth_errors.TransportError as error:
            raise WorkError(f"Google cannot be reached for the sign-in: {error}") from error
        except (ee.EEException, auth_errors.GoogleAuthError):
            raise InputError(
                "not signed in to Earth Engine: run `earthengine authenticate`, or set key_file to a service "
                "account's key, or GOOGLE_APPLICATION_CREDENTIALS"
            ) from None
    if not path.is_file():
        raise InputError(f"key_file {path}: no such file")
    try:
        return service_account.Credentials.from_service_account_file(  # type: ignore[no-untyped-call]
            str(path), scopes=ee.oauth.SCOPES
        )
    except (ValueError, auth_errors.GoogleAuthError) as error:
        raise InputError(f"key_file {path}: not the key of a service account: {error}") from None


@contextmanager
def open_session(config: EarthEngineConfig) -> Iterator[Session]:
    """Sign in, and sign out at the end.

    The client's own retries are switched off: `Session.call` is the only layer that sends a request twice.

    Raises
    ------
    InputError
        Nothing to sign in with, no project, or the server does not accept either.
    """
    project = find_project(config)
    if project is None:
        raise InputError(
            "no Google Cloud project: set `project` in the configuration or EARTHENGINE_PROJECT in the "
            "environment"
        )
    credentials = OneRefresh(find_credentials(config))
    limiter = shared_limiter(config.concurrency, config.requests_per_second)
    transport = Transport(limiter, config.timeout_s, config.concurrency)
    session = Session(config, Budget(config.budget), AuthorizedHttp(credentials, http=transport))

    def sign_in() -> None:
        ee.data.setMaxRetries(0)
        ee.Initialize(credentials=credentials, url=config.url, project=project, http_transport=transport)

    try:
        session.call("sign-in", sign_in)
        yield session
    finally:
        ee.Reset()
        transport.close()


class Session:
    """Requests to Earth Engine, each sent until it is answered in full or judged hopeless.

    Attributes
    ----------
    config : EarthEngineConfig
    budget : Budget
    """

    def __init__(self, config: EarthEngineConfig, budget: Budget, http: Any) -> None:
        self.config, self.budget = config, budget
        self._http = http
        self._limiter = shared_limiter(config.concurrency, config.requests_per_second)
        # Jitter is for spreading load; results never depend on it.
        self._rng = random.Random()
        self._stopping, self._lock = threading.Event(), threading.Lock()
        self._cause: BaseException | None = None

    def stop(self, cause: BaseException | None = None) -> None:
        """Let every other request give up, for the reason of the first that failed."""
        with self._lock:
            self._cause = self._cause or cause
        self._stopping.set()

    def refuse_if_stopped(self) -> None:
        """Raise what another request has failed with for good, if one has."""
        if not self._stopping.is_set():
            return
        cause = self._cause
        if isinstance(cause, InputError | WorkError):
            raise type(cause)(str(cause)) from cause
        raise WorkError("given up: the job was interrupted")

    def call(self, what: str, ask: Callable[[], T]) -> T:
        """Answer of `ask`, sent again after passing failures.

        Parameters
        ----------
        what : str
            What is asked for, as the user would say it.
        ask : callable
            Makes one request with the `ee` client, and raises `BadAnswer` if the answer is not whole.

        Raises
        ------
        AskForLess
            The request is too much for one answer.
        InputError, WorkError
            Nothing more can be done; the message says what the user can do.
        """
        late = 0
        for attempt in range(self.config.attempts):
            self.refuse_if_stopped()
            try:
                return ask()
            except Exception as error:
                fault = judge(error)
                late += isinstance(error, TimeoutError)
                if fault.error is not None:
                    raise type(fault.error)(f"{what}: {fault.error}") from error
                if fault.verdict is Verdict.ASK_FOR_LESS or late >= _LATE_BEFORE_LESS:
                    raise AskForLess(f"{what}: {fault.reason}") from error
                reason = fault.reason
                if fault.wait_s is not None:
                    self._limiter.hold(min(fault.wait_s, self.config.longest_wait_s))
            if attempt + 1 < self.config.attempts:
                self._pause(attempt)
        raise WorkError(f"{what}: no answer after {self.config.attempts} attempts, the last: {reason}")

    def _pause(self, attempt: int) -> None:
        wait = backoff(attempt, self.config.first_wait_s, self.config.longest_wait_s, self._rng)
        end = time.monotonic() + wait
        while (left := end - time.monotonic()) > 0 and not self._stopping.is_set():
            self._stopping.wait(left)

    def together(self, tasks: Sequence[Callable[[], T]], done: Callable[[], object] | None = None) -> list[T]:
        """Run tasks side by side, as many as requests may be under way; the first failure stops the rest.

        Parameters
        ----------
        done : callable, optional
            Called after each task.

        Returns
        -------
        list
            Results in the order of the tasks.
        """

        def run(task: Callable[[], T]) -> T:
            try:
                return task()
            except BaseException as error:
                # At once, before a thread of the pool takes up the next task.
                self.stop(error)
                raise

        workers = min(self.config.concurrency, max(1, len(tasks)))
        with ThreadPoolExecutor(workers, thread_name_prefix="earthengine") as pool:
            futures = [pool.submit(run, task) for task in tasks]
            try:
                for future in as_completed(futures):
                    future.result()
                    if done is not None:
                        done()
            except BaseException as error:
                self.stop(error)
                for future in futures:
                    future.cancel()
                raise
        return [future.result() for future in futures]

    def value(self, what: str, computed: ee.ComputedObject) -> Any:
        """Value of a computed object (a number, a list, a dictionary)."""

        def ask() -> Any:
            try:
                return ee.data.computeValue(computed)
            except (ValueError, KeyError) as error:
                raise BadAnswer(f"the answer breaks off: {error}") from error

        found = self.call(what, ask)
        self.budget.count(self.budget.seconds())
        return found

    def get(self, what: str, url: str) -> bytes:
        """Content at an address that the sign-in opens."""

        def ask() -> bytes:
            info, content = self._http.request(url)
            if info.status == 404:
                raise BadAnswer(f"nothing is there (yet): {url.split('?')[0]}")
            if info.status != 200:
                raise HttpError(info, content, uri=url)
            return bytes(content)

        return self.call(what, ask)

    def asset(self, asset_id: str) -> dict[str, Any]:
        """What Earth Engine knows of an asset; `InputError` if it does not know it."""
        found: dict[str, Any] = self.call(f"asset {asset_id}", lambda: _whole(ee.data.getAsset, asset_id))
        return found

    def features(self, what: str, table: ee.FeatureCollection) -> list[dict[str, Any]]:
        """Properties of every feature of a table, page by page, in the server's order."""
        rows: list[dict[str, Any]] = []
        token: str | None = None
        while True:
            params: dict[str, Any] = {"expression": table, "pageSize": self.config.page_rows}
            if token:
                params["pageToken"] = token
            page = self.call(what, lambda p=params: _whole(ee.data.computeFeatures, p))  # type: ignore[misc]
            new = [feature.get("properties") or {} for feature in page.get("features", [])]
            self.budget.count(self.budget.seconds(rows=len(new)))
            rows += new
            token = page.get("nextPageToken")
            if not token:
                return rows

    def pixels(
        self, what: str, image: ee.Image, grid: dict[str, Any], bands: list[str], dtypes: list[str]
    ) -> dict[str, NDArray[Any]]:
        """Pixels of a computed image.

        Parameters
        ----------
        grid : dict
            A PixelGrid of the REST interface.
        bands, dtypes : list of str
            Bands that the image must have, and their stored types.

        Returns
        -------
        dict of str to ndarray, shape (height, width)
        """
        shape = (grid["dimensions"]["height"], grid["dimensions"]["width"])

        def ask() -> dict[str, NDArray[Any]]:
            raw = ee.data.computePixels({"expression": image, "fileFormat": "NPY", "grid": grid})
            return _pixels(raw, bands, dtypes, shape)

        found = self.call(what, ask)
        self.budget.count(self.budget.seconds(pixels=shape[0] * shape[1] * len(bands)))
        return found


def _whole(function: Callable[[Any], Any], argument: Any) -> Any:
    """Answer of a function of the client; JSON that breaks off is a `BadAnswer`."""
    try:
        answer = function(argument)
    except ValueError as error:
        raise BadAnswer(f"the answer breaks off: {error}") from error
    if not isinstance(answer, dict):
        raise BadAnswer(f"the answer is a {type(answer).__name__}, not an object")
    return answer


def _pixels(
    raw: bytes, bands: list[str], dtypes: list[str], shape: tuple[int, int]
) -> dict[str, NDArray[Any]]:
    try:
        found = np.load(io.BytesIO(raw), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise BadAnswer(f"the pixels break off: {error}") from error
    if found.shape != shape:
        raise BadAnswer(f"pixels of {found.shape}, expected {shape}")
    missing = [name for name in bands if name not in (found.dtype.names or ())]
    if missing:
        raise WorkError(f"Earth Engine left out band {missing[0]}; it gave {found.dtype.names}")
    for name, dtype in zip(bands, dtypes, strict=True):
        if found.dtype[name] != np.dtype(dtype):
            raise WorkError(f"band {name} came as {found.dtype[name]}, expected {dtype}")
    return {name: np.ascontiguousarray(found[name]) for name in bands}
