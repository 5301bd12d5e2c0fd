"""The page's statement whether changes in WeCom take effect at once or at night."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from accounts.models import AuditEntry, DirectoryPolicy, User
from integrations.directory.events import State, describe_reception
from integrations.models import Corp, EventLane, EventWork, SyncRun
from tests.integrations.conftest import client_of
from tests.integrations.directory.wecom_events import WeComEvents

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(db: None) -> Client:
    return client_of(User.objects.create_superuser("root"))


def verified(wecom_events: WeComEvents, minutes: int = 1) -> None:
    """Let WeCom have checked the address so many minutes ago."""
    wecom_events.place.corp.contacts_callback_verified_at = wecom_events.clock.now - timedelta(minutes=minutes)
    wecom_events.place.corp.save()


@pytest.mark.parametrize(
    ("minutes", "is_heard", "is_copied", "state"),
    [
        (None, False, True, State.NIGHTLY),
        (None, True, True, State.NIGHTLY),  # new keys begin anew
        (1, False, True, State.SILENT),
        (1, True, True, State.ARRIVING),
        (-1, True, True, State.SILENT),  # events before the address was verified do not count
        (1, False, False, State.NOT_COPIED),
    ],
)
def test_what_is_heard_of_changes(
    wecom_events: WeComEvents, minutes: int | None, is_heard: bool, is_copied: bool, state: State
) -> None:
    corp = wecom_events.place.corp
    if minutes is not None:
        verified(wecom_events, minutes)
    if is_heard:
        EventLane.objects.create(corp=corp, consumer="integrations.directory", worked_at=wecom_events.clock.now)
    if not is_copied:
        SyncRun.objects.all().delete()

    assert describe_reception(corp, now=wecom_events.clock.now).state == state


def test_events_that_wait_too_long_are_said(wecom_events: WeComEvents) -> None:
    verified(wecom_events, minutes=1)
    wecom_events.place.put_members({"userid": "jim", "department": [3]})
    wecom_events.send(*wecom_events.heard())
    assert EventWork.objects.waiting().exists()
    corp = wecom_events.place.corp

    assert describe_reception(corp, now=timezone.now()).late_count == 0
    late = describe_reception(corp, now=timezone.now() + timedelta(minutes=11))
    assert late.late_count == EventWork.objects.count()
    EventWork.objects.update(try_count=1)  # they are repeated after a run
    assert describe_reception(corp, now=timezone.now() + timedelta(minutes=11)).late_count == 0
    with translation.override("zh-hans"):
        assert "超过十分钟" in late.sentences[1]


def given_up(wecom_events: WeComEvents) -> Corp:
    """Give up somebody's events, and those of another company."""
    wecom_events.place.put_members({"userid": "jim", "department": [3]})
    wecom_events.send(*wecom_events.heard())
    EventWork.objects.update(status=EventWork.Status.FAILED, try_count=8, problem="KeyError")
    return wecom_events.place.corp


def test_events_that_were_given_up_are_said_until_a_run_has_made_them_good(wecom_events: WeComEvents) -> None:
    verified(wecom_events, minutes=1)
    corp = given_up(wecom_events)
    count = EventWork.objects.count()
    assert count > 0

    hearing = describe_reception(corp, now=timezone.now())
    assert (hearing.given_up_count, hearing.late_count, hearing.tone) == (count, 0, "bad")
    with translation.override("zh-hans"):
        assert "立即同步通讯录" in hearing.sentences[-1]
    wecom_events.place.clock.now = timezone.now()
    wecom_events.place.sync_saying_yes()

    hearing = describe_reception(corp, now=timezone.now())
    assert (hearing.given_up_count, hearing.tone) == (0, "warn")


def test_the_pages_say_what_was_given_up_and_offer_another_try(wecom_events: WeComEvents, admin: Client) -> None:
    corp = given_up(wecom_events)
    other = Corp.objects.create(name="南湖贸易", corpid="ww0000000000000001", agentid=1, secret="s", is_enabled=True)
    start = reverse("admin:integrations_syncrun_start", args=[corp.pk])
    again = reverse("admin:integrations_syncrun_again", args=[corp.pk])
    count = EventWork.objects.count()
    words = f"{count} events about people were given up"

    assert words in admin.get(reverse("admin:index")).content.decode()
    assert words in admin.get(reverse("admin:integrations_corp_change", args=[corp.pk])).content.decode()
    page = admin.get(start).content.decode()
    assert words in page
    assert again in page
    assert "given up" not in admin.get(reverse("admin:integrations_syncrun_start", args=[other.pk])).content.decode()

    answer = admin.post(reverse("admin:integrations_syncrun_again", args=[other.pk]), follow=True)
    assert "0 events are tried once more." in answer.content.decode()
    assert EventWork.objects.filter(status="failed").count() == count
    assert AuditEntry.objects.filter(note__contains="given up").count() == 0

    answer = admin.post(again, follow=True)
    assert f"{count} events are tried once more." in answer.content.decode()
    assert set(EventWork.objects.values_list("status", "try_count", "problem")) == {("waiting", 0, "")}
    assert AuditEntry.objects.get(note__contains="given up").corp == corp
    wecom_events.work_off()
    assert wecom_events.place.stored() == wecom_events.place.theirs()
    assert again not in admin.get(start).content.decode()


def test_the_pages_say_how_changes_arrive(wecom_events: WeComEvents, admin: Client) -> None:
    corp = wecom_events.place.corp
    start, company = (
        reverse(f"admin:integrations_{name}", args=[corp.pk]) for name in ("syncrun_start", "corp_change")
    )
    off = admin.get(start).content.decode()
    DirectoryPolicy.objects.create(corp=corp, mode="link")
    nightly = [admin.get(page).content.decode() for page in (start, company)]
    verified(wecom_events)
    for _ in range(2):
        assert Client().get("/wecom/987654321/events/").status_code == 403
    silent = [admin.get(page).content.decode() for page in (start, company)]
    policies = admin.get(reverse("admin:accounts_directorypolicy_changelist")).content.decode()

    assert "No callback address is verified." not in off
    assert 'class="sync-policy"' in off  # what happens to users is chosen here
    assert all("No callback address is verified." in page for page in nightly)
    assert all("no event about people has arrived" in page for page in silent)
    assert "with the nightly run only" in policies
    assert "2 calls were refused today at addresses of companies that do not exist here" in silent[1]
