"""An S3 server on loopback, and a client that does not wait long for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mmnet_maps.store import lease, remote
from tests.store.s3 import Server


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server whose bucket ``bucket`` is empty, and the environment of a user of it."""
    server = Server()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    remote.store_at.cache_clear()
    yield server
    server.stop()
    remote.store_at.cache_clear()


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds that leases last in a test."""
    monkeypatch.setattr(lease, "LEASE_S", 1.2)
    return 1.2
