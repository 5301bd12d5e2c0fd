"""Runs have plain names in the log: of their push, of their alert and what happened, or of whom a notice goes to."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from notifications.alerts import notify
from notifications.delivery.explanations import name_run, name_runs
from notifications.models import Incident, IncidentNotice, Run
from tests.notifications.alerts.conftest import make_alert_channel
from tests.notifications.factories import make_person, make_run, make_subscription, make_superuser

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def make_incident(**fields: Any) -> Incident:
    times = dict.fromkeys(("starts_at", "stretch_at", "opened_at", "seen_at"), NOW)
    return Incident.objects.create(**({"key": "k", "title": "销售额过低"} | times | fields))


def make_alert(kind: str, *incidents: Incident) -> Run:
    times = dict.fromkeys(("slot_at", "claimed_at", "render_after"), NOW)
    run = Run.objects.create(key=notify.run_key(incidents[0], kind), trigger=Run.Trigger.ALERT, **times)
    for incident in incidents:
        IncidentNotice.objects.create(incident=incident, run=run, kind=kind)
    return run


@pytest.mark.parametrize(
    ("kind", "chinese", "english"),
    [
        ("fire", "销售额过低 · 触发", "销售额过低 · triggered"),
        ("repeat", "销售额过低 · 重复提醒", "销售额过低 · reminder"),
        ("recover", "销售额过低 · 恢复", "销售额过低 · recovered"),
    ],
)
def test_an_alert_is_named_by_its_title_and_what_happened(kind: str, chinese: str, english: str) -> None:
    run = make_alert(kind, make_incident())

    found = {}
    for language in ("zh-hans", "en"):
        with translation.override(language):
            found[language] = name_run(run)

    assert found == {"zh-hans": chinese, "en": english}


def test_a_storm_is_named_by_its_channel_with_the_number_of_its_alerts() -> None:
    channel = make_alert_channel(name="机房")

    run = make_alert("fire", make_incident(key="a", channel=channel), make_incident(key="b", channel=channel))

    assert name_run(run) == "机房：2 条预警 · 触发"


def test_what_is_gone_is_named_without_a_key() -> None:
    times = dict.fromkeys(("slot_at", "claimed_at", "render_after"), NOW)
    alert, notice, push = (
        Run.objects.create(key=f"{trigger}:1", trigger=trigger, **times) for trigger in ("alert", "notice", "schedule")
    )

    assert [name_run(run) for run in (alert, notice, push)] == ["已删除的预警", "通知负责人", "已删除的推送"]


def test_a_notice_names_whom_it_goes_to() -> None:
    times = dict.fromkeys(("slot_at", "claimed_at", "render_after"), NOW)
    owner = make_person(name="李雷", username="lilei")

    run = Run.objects.create(key="notice:1", trigger="notice", requested_by=owner, **times)

    assert name_run(run) == "通知负责人：李雷 (lilei)"


def test_names_of_many_take_two_queries(django_assert_num_queries: Any) -> None:
    runs = [make_alert("fire", make_incident(key=f"k{number}")) for number in range(5)]
    runs.append(make_run(make_subscription(name="日报")))

    with django_assert_num_queries(2):
        found = name_runs(runs)

    assert list(found.values()) == ["销售额过低 · 触发"] * 5 + ["日报"]


def test_lists_and_pages_show_names_and_no_key(client: Client) -> None:
    client.force_login(make_superuser(), backend="django.contrib.auth.backends.ModelBackend")
    run = make_alert("fire", make_incident())
    page_url = reverse("admin:notifications_run_change", args=[run.pk])

    listed = client.get(reverse("admin:notifications_run_changelist"), headers={"host": "localhost:3001"})
    page = client.get(page_url, headers={"host": "localhost:3001"}).content.decode()
    found = client.get(reverse("admin:search"), {"q": "销售额"}, headers={"host": "localhost:3001"})

    assert f'<a href="{page_url}">销售额过低 · 触发 ' in found.content.decode()
    assert "销售额过低 · 触发" in listed.content.decode()
    assert run.key not in listed.content.decode() + found.content.decode()
    # Folded, for supporters.
    before, _summary, behind = page.partition('<details class="module log-technical">')
    assert (before.count(run.key), behind.count(run.key)) == (0, 1)
