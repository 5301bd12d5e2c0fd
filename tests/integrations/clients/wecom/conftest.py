"""Fixtures of the WeCom client's tests."""

from collections.abc import Iterator

import pytest
import redis
from cryptography.fernet import Fernet

from integrations.clients.wecom.tokens import TokenStore
from tests.integrations.clients.wecom.misbehaviour import StandingClock, let_drops_pass_time
from tests.integrations.clients.wecom.server import WireServer, wire_server


@pytest.fixture
def wire() -> Iterator[WireServer]:
    """A WeCom at the other end of a real socket."""
    with wire_server() as server:
        yield server


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StandingClock:
    """The deadlines' clock, which only the test and dripping answers advance."""
    return let_drops_pass_time(monkeypatch)


@pytest.fixture
def store(valkey_client: redis.Redis) -> TokenStore:
    """The token store that all processes share."""
    cipher = Fernet(Fernet.generate_key())
    return TokenStore(valkey_client, encrypt=cipher.encrypt, decrypt=cipher.decrypt)
