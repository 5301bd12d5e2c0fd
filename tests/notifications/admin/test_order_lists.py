"""The lists of pushes and of rules say for whom, when in words, and how it went last."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from integrations.models import Card, DataSource
from notifications.models import AlertReceiver, AlertRule, Incident, Run
from tests.notifications.factories import make_corp, make_person, make_run, make_subscription

pytestmark = pytest.mark.django_db


def cells(client: Client, model: str) -> dict[str, str]:
    """The words of the only row of a list, by column."""
    page = client.get(reverse(f"admin:notifications_{model}_changelist")).content.decode()
    found = re.findall(r'<td class="field-(\w+)[^"]*">(.*?)</td>', page)
    return {name: strip_tags(html) for name, html in found}


def test_a_push_says_for_whom_when_and_how_it_went(root: Client) -> None:
    people = [make_person(make_corp(), "lilei", name="李雷"), make_person(name="韩梅梅")]
    push = make_subscription(*people, crontab="30 8 * * 1-2")
    make_run(push, status=Run.Status.FINISHED, recipient_count=2)
    make_run(push, status=Run.Status.MISSED)
    make_run(push, trigger=Run.Trigger.TRIAL, status=Run.Status.FAILED, recipient_count=1)

    found = cells(root, "subscription")

    assert (found["addressees"], found["when"]) == ("李雷、韩梅梅 (1 人)", "每周一、周二 08:30")
    assert found["last_run"].endswith("失败")


@pytest.mark.parametrize("month_day", ["", "x"])
def test_a_push_of_every_month_without_a_day_never_fires_and_breaks_no_page(root: Client, month_day: str) -> None:
    push = make_subscription(repeat="monthly", month_day=month_day, local_time=time(9), crontab="", next_run_at=None)

    for name, args in (("changelist", []), ("change", [push.pk]), ("week", [])):
        page = root.get(reverse(f"admin:notifications_subscription_{name}", args=args))
        assert page.status_code == 200
    assert page.context["rows"] == []


def test_a_rule_says_for_whom_when_and_when_it_fired_last(root: Client) -> None:
    receiver = AlertReceiver.objects.create(name="值班")
    receiver.users.add(make_person(name="李雷"))
    card = Card.objects.create(name="销售", source=DataSource.objects.create(name="库", kind="sql"), sql="SELECT 1")
    rule = AlertRule.objects.create(name="过低", receiver=receiver, card=card, crontab="*/10 * * * *")
    assert cells(root, "alertrule")["last_incident"] == "—"
    times = dict.fromkeys(("starts_at", "stretch_at", "seen_at"), timezone.now())
    opened_at = datetime(2026, 11, 3, 1, 5, tzinfo=UTC)
    Incident.objects.create(key="k", title="过低", rule=rule, opened_at=opened_at, **times)

    found = cells(root, "alertrule")

    assert (found["addressees"], found["when"]) == ("李雷", "每 10 分钟")
    assert found["last_incident"] == "2026-11-03 09:05:00"
