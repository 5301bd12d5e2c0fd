"""Fixtures of the push engine's tests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tests.notifications.factories import NOW
from tests.notifications.wire import Wire, running_wire


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A WeCom at the other end of a real socket."""
    with running_wire() as running:
        yield running


class FakeClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **units: float) -> datetime:
        self.now += timedelta(**units)
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
