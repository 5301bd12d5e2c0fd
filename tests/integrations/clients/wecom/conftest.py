"""Fixtures of the WeCom client's tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.integrations.clients.wecom.misbehaviour import StandingClock, let_drops_pass_time
from tests.integrations.clients.wecom.server import WireServer, wire_server

# HYPOTHESIS_PROFILE=nightly looks further than a change can wait for.
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True, database=None)
settings.register_profile("nightly", max_examples=10_000, deadline=None, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture
def wire() -> Iterator[WireServer]:
    """A WeCom at the other end of a real socket."""
    with wire_server() as server:
        yield server


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StandingClock:
    """The deadlines' clock, which only the test and what drips set forward."""
    return let_drops_pass_time(monkeypatch)
