"""Leases that a test can wait for."""

from __future__ import annotations

import pytest

from mmnet_maps.store import lease


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds that leases last in a test."""
    monkeypatch.setattr(lease, "LEASE_S", 1.2)
    return 1.2
