"""A tiny region of known arrays, and the stand-in server that holds it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import ee
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ee_region import make_network, make_world, sign_in_at
from ee_standin import StandIn
from ee_world import World

from mmnet_maps.sources.earth_engine.session import Session, open_session
from mmnet_maps.sources.earth_engine.settings import EarthEngineConfig


@pytest.fixture(autouse=True, scope="session")
def _loopback_only() -> Iterator[None]:
    # The client asks a web page for a list of deprecated assets.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ee.deprecation._FetchDataCatalogStac", dict)
        # The list of functions is the same at every sign-in: it is fetched and decoded for the first alone.
        patch.setattr("ee.data.getAlgorithms", cache(ee.data.getAlgorithms))
        yield


@pytest.fixture(autouse=True)
def _nobody_signed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "EARTHENGINE_PROJECT",
        "EE_PROJECT",
        "GOOGLE_CLOUD_PROJECT",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def key_pem() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    # Small: every sign-in checks it, and nobody's secret hangs on it.
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.fixture(scope="session")
def network() -> pd.DataFrame:
    return make_network()


@pytest.fixture(scope="session")
def world() -> World:
    return make_world()


@pytest.fixture
def standin(world: World) -> Iterator[StandIn]:
    with StandIn(world) as server:
        yield server


@pytest.fixture
def config_for(tmp_path: Path, key_pem: str) -> Callable[..., EarthEngineConfig]:
    """A configuration that signs in at a stand-in with a service account's key."""
    return partial(sign_in_at, tmp_path, key_pem)


@pytest.fixture
def signed_in(standin: StandIn, config_for: Callable[..., EarthEngineConfig]) -> Iterator[Session]:
    with open_session(config_for(standin)) as session:
        yield session
