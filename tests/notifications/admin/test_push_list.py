"""The lists of pushes and of rules: actions on several rows, filters by state, and the columns."""

import re
from datetime import UTC, datetime, time
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from accounts.models import AuditEntry
from integrations.models import Card, Corp, DataSource
from notifications.admin import subscriptions
from notifications.delivery.rendering.render import render_run
from notifications.models import AlertRule, Delivery, Incident, Run, Subscription
from tests.notifications.factories import NOW, make_person, make_run, make_subscription, make_superuser

pytestmark = pytest.mark.django_db
LIST = "/admin/notifications/subscription/"


@pytest.fixture
def root() -> Client:
    client = Client(headers={"accept-language": "en"})
    client.force_login(make_superuser())
    return client


def act(client: Client, name: str, *subscriptions: Subscription, **more: str) -> Any:
    sent = {"action": name, "_selected_action": [one.pk for one in subscriptions], **more}
    return client.post(LIST, sent, follow=True)


def said(answer: Any) -> list[str]:
    return [str(one) for one in answer.context["messages"]]


def names_in(answer: Any, part: str) -> list[tuple[str, str]]:
    return [(push.name, line) for push, line in answer.context[part]]


def test_enabling_asks_first_whom_it_reaches_and_leaves_out_what_reaches_nobody(root: Client, corp: Corp) -> None:
    person = make_person(corp, "lilei")
    ready = make_subscription(person, name="A", is_enabled=False, failures_paused_at=NOW)
    lonely = make_subscription(name="B", is_enabled=False)
    running = make_subscription(person, name="C")
    broken = make_subscription(person, name="D", is_enabled=False, crontab="0 9 30 2 *", next_run_at=None)
    chosen = (ready, lonely, running, broken)

    asked = act(root, "enable", *chosen)

    assert not Subscription.objects.get(pk=ready.pk).is_enabled
    [(name, line)] = names_in(asked, "changed")
    assert (name, line.startswith("reaches 1 person, next 20")) == ("A", True)
    assert [name for name, _line in names_in(asked, "left_out")] == ["B", "C", "D"]

    answer = act(root, "enable", *chosen, apply="1")

    ready.refresh_from_db()
    assert (ready.is_enabled, ready.failures_paused_at, ready.next_run_at is not None) == (True, None, True)
    assert ready.failures_counted_from is not None
    assert Subscription.objects.filter(is_enabled=False).count() == 2
    changed, left_out = said(answer)
    assert changed == "1 push was changed."
    assert left_out.startswith("Left out: B: Nobody would receive this.")
    assert "C: is enabled already" in left_out
    assert "D: This schedule never fires" in left_out
    assert LogEntry.objects.get().get_change_message() == "Enabled from the list."
    entry = AuditEntry.objects.get(model="notifications.subscription", action="changed", actor_name__startswith="root")
    assert ["is_enabled", False, True] in entry.changes


def test_disabling_says_when_it_would_have_been_sent(root: Client, corp: Corp) -> None:
    subscription = make_subscription(make_person(corp, "lilei"), next_run_at=NOW)

    asked = act(root, "disable", subscription)
    act(root, "disable", subscription, apply="1")

    assert names_in(asked, "changed") == [("每日九点", "would be sent next 2026-11-24 09:00")]
    subscription.refresh_from_db()
    assert (subscription.is_enabled, subscription.next_run_at) == (False, None)


def test_pausing_and_resuming_say_how_many_messages_wait(root: Client, corp: Corp) -> None:
    subscription = make_subscription(make_person(corp, "lilei"))
    for _number in range(3):
        render_run(run_id=make_run(subscription).pk, now=NOW)
    Delivery.objects.filter(pk=Delivery.objects.earliest("pk").pk).update(status="accepted")

    asked = act(root, "pause", subscription)
    act(root, "pause", subscription, apply="1")
    subscription.refresh_from_db()
    assert (names_in(asked, "changed"), subscription.is_paused) == ([("每日九点", "2 messages are waiting")], True)

    again = act(root, "pause", subscription)
    act(root, "resume", subscription, apply="1")
    subscription.refresh_from_db()
    assert (names_in(again, "left_out"), subscription.is_paused) == ([("每日九点", "is paused already")], False)
    assert names_in(act(root, "resume", subscription), "left_out") == [("每日九点", "is not paused")]
    Subscription.objects.update(is_enabled=False)
    assert names_in(act(root, "pause", subscription), "left_out") == [
        ("每日九点", "is disabled: nothing of it is sent")
    ]


def test_nothing_is_done_to_more_than_can_be_worked_out(root: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = make_subscription(name="A"), make_subscription(name="B")
    assert said(act(root, "duplicate", *chosen)) == ["2 pushes were duplicated. The copies are not enabled."]
    assert Subscription.objects.filter(is_enabled=False, name__in=["A (copy)", "B (copy)"]).count() == 2
    monkeypatch.setattr(subscriptions, "PUSHES_AT_MOST", 1)

    for name in ("pause", "duplicate"):
        answer = act(root, name, *chosen, apply="1")
        assert said(answer) == ["Nothing was changed: at most 1 pushes at once. Select fewer."]

    assert (Subscription.objects.count(), Subscription.objects.filter(is_paused=True).count()) == (4, 0)


@pytest.mark.usefixtures("undrawn")
def test_the_list_is_filtered_by_state(root: Client) -> None:
    make_run(make_subscription(name="runs"), status="finished")
    failing = make_subscription(name="fails")
    make_run(failing, status="failed")
    make_run(failing, status="finished", trigger="trial")
    make_run(make_subscription(name="was lost"), status="finished", error="some")
    recovered = make_subscription(name="recovered")
    make_run(recovered, status="failed")
    make_run(recovered, status="finished")
    make_run(make_subscription(name="trial"), status="failed", trigger="trial")
    make_subscription(name="paused", is_paused=True)
    make_subscription(name="off", is_enabled=False)
    make_subscription(name="gave up", is_enabled=False, failures_paused_at=NOW)
    # Without a day it never runs, but the page still works.
    make_subscription(name="dayless", repeat="monthly", month_day="x", local_time=time(9), crontab="", next_run_at=None)
    enabled = {"runs", "fails", "paused", "was lost", "recovered", "trial", "dayless"}

    for state, names in (
        ("enabled", enabled),
        ("disabled", {"off", "gave up"}),
        ("paused", {"paused", "gave up"}),
        ("failing", {"fails", "was lost"}),
        ("nonsense", enabled | {"off", "gave up"}),
    ):
        assert {one.name for one in root.get(f"{LIST}?state={state}").context["cl"].result_list} == names
    assert root.get(f"{LIST}week/").status_code == 200


def cells(client: Client, model: str) -> dict[str, str]:
    path = reverse(f"admin:notifications_{model}_changelist")
    page = client.get(path, headers={"accept-language": "zh-hans"}).content.decode()
    found = re.findall(r'<td class="field-(\w+)[^"]*">(.*?)</td>', page)
    return {name: strip_tags(html) for name, html in found}


def test_a_push_says_for_whom_when_and_how_it_went(root: Client, corp: Corp) -> None:
    people = [make_person(corp, "lilei", name="李雷"), make_person(name="韩梅梅")]
    push = make_subscription(*people, crontab="30 8 * * 1-2")
    make_run(push, status=Run.Status.FINISHED, recipient_count=2)
    make_run(push, status=Run.Status.MISSED)
    make_run(push, trigger=Run.Trigger.TRIAL, status=Run.Status.FAILED, recipient_count=1)

    found = cells(root, "subscription")

    assert (found["addressees"], found["when"]) == ("李雷、韩梅梅 (1 人)", "每周一、周二 08:30")
    assert found["last_run"].startswith("失败 2026-11-24")


def test_a_rule_says_for_whom_when_and_when_it_fired_last(root: Client) -> None:
    card = Card.objects.create(name="销售", source=DataSource.objects.create(name="库", kind="sql"), sql="SELECT 1")
    rule = AlertRule.objects.create(name="过低", card=card, crontab="*/10 * * * *")
    rule.users.add(make_person(name="李雷"))
    assert cells(root, "alertrule")["last_incident"] == "—"
    times = dict.fromkeys(("starts_at", "stretch_at", "seen_at"), timezone.now())
    opened_at = datetime(2026, 11, 3, 1, 5, tzinfo=UTC)
    Incident.objects.create(key="k", title="过低", rule=rule, opened_at=opened_at, **times)

    found = cells(root, "alertrule")

    assert (found["addressees"], found["when"]) == ("李雷", "每 10 分钟")
    assert found["last_incident"] == "2026-11-03 09:05"
