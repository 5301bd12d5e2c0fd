"""The confirmation page of disabling a company says what happens to its messages."""

from __future__ import annotations

import pytest

from integrations.panels import disable_effects
from notifications.models import Delivery
from notifications.rendering import render_run
from tests.notifications.factories import NOW, make_corp, make_person, make_report, make_run, make_subscription

pytestmark = pytest.mark.django_db


def test_waiting_messages_and_subscriptions_are_counted() -> None:
    corp = make_corp()
    person = make_person(corp, "lilei")
    for report in (make_report(corp=corp), make_report()):
        render_run(run_id=make_run(make_subscription(person, report=report)).pk, now=NOW)
    make_subscription(person, report=make_report(corp=corp), is_enabled=False)

    text = " ".join(disable_effects(corp))

    assert "2 个发送批次" in text
    assert "1 个启用中的订阅" in text


def test_nothing_waiting_is_nothing_said() -> None:
    corp = make_corp()
    render_run(run_id=make_run(make_subscription(make_person(corp, "lilei"))).pk, now=NOW)
    Delivery.objects.update(status="accepted")

    assert "发送批次" not in " ".join(disable_effects(corp))
    assert "订阅" not in " ".join(disable_effects(make_corp()))
