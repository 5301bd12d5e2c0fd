"""What an administrator reads of whether changes in WeCom take effect at once or at night."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from accounts.models import AuditEntry, DirectoryPolicy, User
from integrations.directory.event_health import State, hearing_of
from integrations.models import Corp, EventLane, EventWork, SyncRun
from tests.integrations.conftest import client_of
from tests.integrations.directory.telling import Telling

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(db: None) -> Client:
    return client_of(User.objects.create_superuser("root"))


def state(telling: Telling) -> State:
    telling.place.corp.refresh_from_db()
    return hearing_of(telling.place.corp, now=telling.clock.now).state


def verified(telling: Telling, **ago: float) -> None:
    telling.place.corp.contacts_callback_verified_at = telling.clock.now - timedelta(**ago)
    telling.place.corp.save()


def test_without_a_verified_address_the_night_counts(telling: Telling) -> None:
    assert state(telling) == State.NIGHTLY


def test_a_verified_address_that_nothing_comes_to_is_silent(telling: Telling) -> None:
    verified(telling, minutes=1)

    assert state(telling) == State.SILENT


def test_events_that_arrive_count_from_the_first_one_on(telling: Telling) -> None:
    verified(telling, minutes=1)
    telling.place.put_members({"userid": "jim", "department": [3]})
    telling.hear()

    assert state(telling) == State.ARRIVING


def test_events_of_before_the_address_was_verified_do_not_count(telling: Telling) -> None:
    telling.place.put_members({"userid": "jim", "department": [3]})
    telling.hear()
    verified(telling, minutes=-1)

    assert state(telling) == State.SILENT


def test_new_keys_begin_anew(telling: Telling) -> None:
    verified(telling, minutes=1)
    EventLane.objects.create(corp=telling.place.corp, consumer="integrations.directory", worked_at=timezone.now())
    telling.place.corp.contacts_callback_verified_at = None
    telling.place.corp.save()

    assert state(telling) == State.NIGHTLY


def test_before_the_first_copy_events_are_not_acted_on(telling: Telling) -> None:
    verified(telling, minutes=1)
    SyncRun.objects.all().delete()

    assert state(telling) == State.NOT_COPIED


def test_events_that_wait_too_long_are_said(telling: Telling) -> None:
    verified(telling, minutes=1)
    telling.place.put_members({"userid": "jim", "department": [3]})
    telling.tell(*telling.heard())
    assert EventWork.objects.waiting().exists()
    corp = telling.place.corp

    assert hearing_of(corp, now=timezone.now()).late_count == 0
    late = hearing_of(corp, now=timezone.now() + timedelta(minutes=11))
    assert late.late_count == EventWork.objects.count()
    EventWork.objects.update(try_count=1)  # to be repeated after a run
    assert hearing_of(corp, now=timezone.now() + timedelta(minutes=11)).late_count == 0
    with translation.override("zh-hans"):
        assert "超过十分钟" in late.sentences[1]


def given_up(telling: Telling) -> Corp:
    """Somebody's events, and those of another company, were given up."""
    telling.place.put_members({"userid": "jim", "department": [3]})
    telling.tell(*telling.heard())
    EventWork.objects.update(status=EventWork.Status.FAILED, try_count=8, problem="KeyError")
    return telling.place.corp


def test_events_that_were_given_up_are_said_until_a_run_has_made_them_good(telling: Telling) -> None:
    verified(telling, minutes=1)
    corp = given_up(telling)
    count = EventWork.objects.count()
    assert count > 0

    hearing = hearing_of(corp, now=timezone.now())
    assert (hearing.given_up_count, hearing.late_count, hearing.tone) == (count, 0, "bad")
    with translation.override("zh-hans"):
        assert "立即同步通讯录" in hearing.sentences[-1]
    telling.place.clock.now = timezone.now()
    telling.place.sync_saying_yes()

    hearing = hearing_of(corp, now=timezone.now())
    assert (hearing.given_up_count, hearing.tone) == (0, "warn")


def test_the_pages_say_what_was_given_up_and_offer_another_try(telling: Telling, admin: Client) -> None:
    corp = given_up(telling)
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
    telling.work_off()
    assert telling.place.stored() == telling.place.theirs()
    assert again not in admin.get(start).content.decode()


@pytest.mark.parametrize(
    ("is_verified", "words"), [(False, "No callback address is verified."), (True, "no event about people has arrived")]
)
def test_the_pages_say_it(telling: Telling, admin: Client, is_verified: bool, words: str) -> None:
    corp = telling.place.corp
    if is_verified:
        verified(telling, minutes=1)
    DirectoryPolicy.objects.create(corp=corp, mode="link")

    company = admin.get(reverse("admin:integrations_corp_change", args=[corp.pk])).content.decode()
    start = admin.get(reverse("admin:integrations_syncrun_start", args=[corp.pk])).content.decode()
    policies = admin.get(reverse("admin:accounts_directorypolicy_changelist")).content.decode()

    assert words in company
    assert words in start
    assert "with the nightly run only" in policies


def test_where_the_policy_is_off_neither_is_promised(telling: Telling, admin: Client) -> None:
    corp = telling.place.corp
    start = admin.get(reverse("admin:integrations_syncrun_start", args=[corp.pk])).content.decode()

    assert "No callback address is verified." not in start
    assert "is off" in start


def test_calls_for_companies_that_do_not_exist_are_shown(telling: Telling, admin: Client) -> None:
    for _ in range(2):
        assert Client().get("/wecom/987654321/events/").status_code == 403
    page = admin.get(reverse("admin:integrations_corp_change", args=[telling.place.corp.pk])).content.decode()

    assert "2 calls were refused today at addresses of companies that do not exist here" in page
