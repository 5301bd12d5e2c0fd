"""Fixtures of the WeCom client's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integrations.clients.wecom.misbehaviour import StandingClock, let_drops_pass_time
from tests.integrations.clients.wecom.server import WireServer, wire_server


@pytest.fixture
def wire() -> Iterator[WireServer]:
    """A WeCom at the other end of a real socket."""
    with wire_server() as server:
        yield server


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StandingClock:
    """The deadlines' clock, which only the test and what drips set forward."""
    return let_drops_pass_time(monkeypatch)
