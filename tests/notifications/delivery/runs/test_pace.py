"""How long what waits will take: at the present speed, and at that of the hourly limit where it binds."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pytest_django import Settings

from notifications.delivery.runs import statistics
from notifications.models import CorpQueue
from tests.notifications.factories import NOW, make_corp

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("calls", "per_hour", "expected"),
    [
        (1000, 0, timedelta(minutes=1)),
        (1000, 1000, timedelta(minutes=1)),
        (1001, 1000, timedelta(hours=1)),
        (2500, 1000, timedelta(hours=2)),
        (600_000, 600_000, timedelta(minutes=600)),
        (0, 1000, None),
    ],
)
def test_the_estimate_knows_both_limits(
    calls: int, per_hour: int, expected: timedelta | None, settings: Settings
) -> None:
    settings.LIMIT_COMPANY_PER_MINUTE, settings.LIMIT_COMPANY_PER_HOUR = 1000, per_hour
    queue = CorpQueue.objects.create(corp=make_corp())
    queue.calls = calls  # type: ignore[attr-defined]  # annotated by whoever asks

    statistics.describe([queue], now=NOW)

    assert queue.time_left == expected  # type: ignore[attr-defined]  # set by describe


@pytest.mark.parametrize("state", [{"is_paused": True}, {"blocked_since": NOW}])
def test_what_is_held_has_no_end(state: dict[str, object]) -> None:
    queue = CorpQueue.objects.create(corp=make_corp(), **state)
    queue.calls = 5  # type: ignore[attr-defined]  # annotated by whoever asks

    statistics.describe([queue], now=NOW)

    assert queue.time_left is None  # type: ignore[attr-defined]  # set by describe
