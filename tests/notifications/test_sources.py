"""Each kind of run has a source, and rendering asks that one."""

from __future__ import annotations

import pytest

from notifications.alerts.messages import AlertRunSource
from notifications.delivery.rendering.report_contents import SubscriptionSource
from notifications.delivery.runs.owner_notices import NoticeSource
from notifications.models import Run
from notifications.sources import source_of
from tests.notifications.factories import make_run, make_subscription

pytestmark = pytest.mark.django_db

OF_NO_SUBSCRIPTION = {Run.Trigger.ALERT: AlertRunSource, Run.Trigger.NOTICE: NoticeSource}


@pytest.mark.parametrize("trigger", Run.Trigger)
def test_each_trigger_has_its_source(trigger: Run.Trigger) -> None:
    run = make_run(make_subscription(), trigger=trigger)

    assert type(source_of(run)) is OF_NO_SUBSCRIPTION.get(trigger, SubscriptionSource)
