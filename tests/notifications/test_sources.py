"""Each kind of run has a source, and rendering asks that one."""

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


def a_message() -> IncomingMessage:
    return IncomingMessage.objects.create(title="磁盘快满了", form="text", original=b"", created_at=NOW)


@pytest.mark.parametrize("trigger", Run.Trigger)
def test_each_trigger_has_its_source(trigger: Run.Trigger) -> None:
    run = make_run(
        make_subscription(), trigger=trigger, message=a_message() if trigger == Run.Trigger.MESSAGE else None
    )

    assert type(source_of(run)) is OF_NO_SUBSCRIPTION.get(trigger, SubscriptionSource)


def test_a_message_that_is_sent_again_has_the_message_s_source() -> None:
    run = make_run(make_subscription(), trigger=Run.Trigger.RESEND, message=a_message())

    assert type(source_of(run)) is MessageSource
