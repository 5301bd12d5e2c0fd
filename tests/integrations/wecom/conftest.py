"""Fixtures of the WeCom client's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integrations.wecom.server import WireServer, wire_server


@pytest.fixture
def wire() -> Iterator[WireServer]:
    """A WeCom at the other end of a real socket."""
    with wire_server() as server:
        yield server
