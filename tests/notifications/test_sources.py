"""Sources of runs: rendering uses the one for the run's trigger."""

from __future__ import annotations

import pytest

from notifications.alerts.evaluation import AnyNoticeSource
from notifications.alerts.notices import AlertRunSource
from notifications.delivery.rendering.report_contents import SubscriptionSource
from notifications.inbound.accept import MessageSource
from notifications.models import IncomingMessage, Run
from notifications.sources import source_of
from tests.notifications.factories import NOW, make_run, make_subscription

pytestmark = pytest.mark.django_db

OF_NO_SUBSCRIPTION = {
    Run.Trigger.ALERT: AlertRunSource,
    Run.Trigger.NOTICE: AnyNoticeSource,
    Run.Trigger.MESSAGE: MessageSource,
}


@pytest.mark.parametrize("trigger", Run.Trigger)
def test_each_trigger_has_its_source(trigger: Run.Trigger) -> None:
    message = IncomingMessage.objects.create(title="磁盘快满了", form="text", original=b"", created_at=NOW)
    run = make_run(make_subscription(), trigger=trigger, message=message if trigger == Run.Trigger.MESSAGE else None)

    assert type(source_of(run)) is OF_NO_SUBSCRIPTION.get(trigger, SubscriptionSource)
    # A resent run has the message's source.
    again = make_run(make_subscription(), trigger=Run.Trigger.RESEND, message=message)
    assert type(source_of(again)) is MessageSource
