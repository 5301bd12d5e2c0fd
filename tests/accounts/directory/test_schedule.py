"""Background runs of both halves: by hand, at night, and after a crash between the two."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import timezone

from accounts.directory import sync
from accounts.models import DirectoryPolicy, User
from integrations.directory.sync import JOB
from integrations.models import Job, SyncRun
from tests.accounts.conftest import make_corp
from tests.accounts.directory.people_of import People, links
from tests.jobs import do_jobs

SHANGHAI = ZoneInfo("Asia/Shanghai")


def night(people: People, minutes: int = 0) -> datetime:
    """Return the moment so many minutes after the company's nightly run."""
    midnight = datetime(2026, 11, 25, tzinfo=SHANGHAI)
    return midnight + timedelta(hours=3, minutes=people.corp.pk * 7 % 60 + minutes)


def test_the_nightly_run_is_asked_for_once_a_night_from_its_minute_on(people: People) -> None:
    for minutes in (-1, 180):
        sync.request_nightly_runs(now=night(people, minutes))
        assert not SyncRun.objects.exists()
    for minutes in (0, 1, 179):
        sync.request_nightly_runs(now=night(people, minutes))
        SyncRun.objects.update(status="done", finished_at=night(people, minutes))
    assert list(SyncRun.objects.values_list("trigger", flat=True)) == ["nightly"]

    sync.request_nightly_runs(now=night(people, 179) + timedelta(days=1))
    assert SyncRun.objects.count() == 2


def test_no_night_without_a_policy_in_force(people: People) -> None:
    corps = type(people.corp).objects
    corps.update(is_enabled=False)
    sync.request_nightly_runs(now=night(people))
    corps.update(is_enabled=True)
    people.set_policy(mode="off")
    sync.request_nightly_runs(now=night(people))
    people.policy.delete()
    sync.request_nightly_runs(now=night(people))

    assert not SyncRun.objects.exists()


def test_companies_begin_at_minutes_of_their_own(people: People) -> None:
    other = make_corp("other", 9)
    DirectoryPolicy.objects.create(corp=other, mode="link")
    three = datetime(2026, 11, 25, 3, tzinfo=SHANGHAI)

    for minutes in range(60):
        sync.request_nightly_runs(now=three + timedelta(minutes=minutes))

    moments = dict(SyncRun.objects.values_list("corp", "requested_at"))
    assert moments == {corp.pk: three + timedelta(minutes=corp.pk * 7 % 60) for corp in (people.corp, other)}


def test_one_task_carries_out_both_halves(people: People) -> None:
    people.set_policy(mode="create")
    run = people.place.request()

    do_jobs(JOB)

    run.refresh_from_db()
    assert (run.status, run.applied_at is not None) == ("done", True)
    assert set(links(people.corp)) == {"LiLei", "hanmeimei", "jim"}
    people.place.calls()

    do_jobs(JOB)
    assert people.place.calls() == {}
    assert User.objects.count() == 3


def test_a_crash_between_the_two_halves_is_made_good(people: People) -> None:
    people.set_policy(mode="create")
    run = people.place.sync()  # and here the worker died
    assert run.applied_at is None

    Job.objects.update(status="running", due_at=timezone.now())
    do_jobs(JOB)

    applied = SyncRun.objects.get(pk=run.pk)
    assert applied.applied_at is not None
    assert applied.finished_at == run.finished_at  # WeCom is not read again
    assert len(links(people.corp)) == 3


def test_only_the_last_finished_run_is_applied(people: People) -> None:
    people.set_policy(mode="create")
    first = people.place.sync()
    second = people.place.request()

    do_jobs(JOB)

    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.applied_at, second.applied_at is not None) == (None, True)


def test_a_run_that_asks_touches_nobody_before_the_answer(people: People, settings: Any) -> None:
    settings.DIRECTORY_GUARD_PERCENT = 0
    people.set_policy(mode="create")
    people.sync()
    people.place.delete_member("LiLei")
    run = people.place.request()

    do_jobs(JOB)

    run.refresh_from_db()
    assert run.status == "asking"
    assert User.objects.get(username="LiLei").is_active
    assert len(links(people.corp)) == 3
