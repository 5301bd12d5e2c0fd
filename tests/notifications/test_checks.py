"""Settings with which the push engine cannot work."""

from __future__ import annotations

import pytest
from django.core import checks
from pytest_django import Settings

from notifications.timing import QUEUE_LEASE, TASK_SECONDS


@pytest.mark.parametrize(("seconds", "found"), [(20.0, set()), (29.9, set()), (30.0, {"notifications.E001"})])
def test_a_call_that_outlasts_the_lease_of_a_tasks_deliveries_is_found(
    settings: Settings, seconds: float, found: set[str]
) -> None:
    settings.WECOM_TOTAL_TIMEOUT_SECONDS = seconds

    assert {message.id for message in checks.run_checks() if str(message.id).startswith("notifications.")} == found


def test_a_task_gives_its_deliveries_back_before_others_get_them() -> None:
    assert QUEUE_LEASE.total_seconds() > TASK_SECONDS
