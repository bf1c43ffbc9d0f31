"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the real upstream files; a test that needs it is skipped where it is absent."""
    place = Path(os.environ.get("MMNET_MAPS_SHARED", ROOT.parent / "shared"))
    if not (place / "data").is_dir():
        pytest.skip(f"the real files are not here: {place}/data")
    return place
