"""The runner of all jobs: who gets one, what ends it, and what waits behind it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError
from django.db.models import TextField
from django.db.models.functions import Cast
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from accounts.models import User
from integrations import tasks
from integrations.core.background import database_now
from integrations.jobs import registry, requests, runner
from integrations.jobs.registry import JobFailedError, JobFunction, JobKind, RunAgain
from integrations.jobs.runner import JobRun
from integrations.models import Job
from tests.jobs import do_jobs
from tests.notifications.side_by_side import do_at_once

pytestmark = pytest.mark.django_db
NAME = "test.kind"
Install = Callable[..., JobKind]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """A function that registers another one as a kind of job."""

    def install(do: JobFunction, **options: Any) -> JobKind:
        kind = JobKind(NAME, "A kind", do, lambda job: f"It failed by {job.problem}.", **options)
        monkeypatch.setitem(registry.kinds, NAME, kind)
        return kind

    return install


def ask(key: object = None, **more: Any) -> Job:
    return requests.request_job(NAME, key=key, now=timezone.now(), **more)


def fail(_run: JobRun) -> dict[str, Any]:
    raise JobFailedError("reason", number=3)


def test_a_job_ends_with_its_result_and_is_forgotten_later(install: Install) -> None:
    def add(run: JobRun) -> dict[str, Any]:
        run.report_progress(2, 2)
        return {"sum": sum(run.job.payload["numbers"])}

    install(add, keep=timedelta(hours=1))
    job = ask(payload={"numbers": [1, 2]})
    tasks.run_job(job.pk)
    tasks.run_job(job.pk)

    job.refresh_from_db()
    assert (job.status, job.result, job.try_count) == ("done", {"sum": 3}, 1)
    assert (job.done_count, job.total_count, job.lease_token) == (2, 2, "")
    assert job.finished_at is not None
    requests.sweep_jobs(job.finished_at + timedelta(minutes=59))
    assert Job.objects.exists()
    requests.sweep_jobs(job.finished_at + timedelta(hours=1))
    assert not Job.objects.exists()


def test_a_failed_job_says_why_stays_longer_and_can_be_tried_again_by_somebody_else(install: Install) -> None:
    install(fail, keep=timedelta(hours=1), retry="accounts.change_user")
    job = ask(by=User.objects.create(username="first"))
    tasks.run_job(job.pk)

    job.refresh_from_db()
    assert (job.status, job.problem, job.facts) == ("failed", "reason", {"number": 3})
    assert registry.explain_failure(job) == "It failed by reason."
    assert job.finished_at is not None
    assert job.forget_at == job.finished_at + runner.FAILED_FOR

    install(lambda _run: {})
    second = User.objects.create(username="second")
    again = requests.retry_job(job, by=second, now=timezone.now())
    assert (again.pk, again.status, again.asked_by_id, again.problem) == (job.pk, "waiting", second.pk, "")
    do_jobs()
    job.refresh_from_db()
    assert (job.status, job.forget_at is not None) == ("done", True)
    assert requests.retry_job(job, by=second, now=timezone.now()).status == "done"


def test_a_secret_of_a_job_is_encrypted_not_listed_and_gone_once_it_has_ended_for_good(install: Install) -> None:
    def read(run: JobRun) -> dict[str, Any]:
        if not (succeeds or run.job.secret_payload == "s3cret"):
            raise AssertionError
        return {} if succeeds else fail(run)

    succeeds = False
    install(read, retry="accounts.change_user")
    kept, job = ask(secret_payload="s3cret"), ask(7, secret_payload="first")
    assert ask(7, secret_payload="s3cret").pk == job.pk
    stored = Job.objects.annotate(raw=Cast("secret_payload", TextField())).values_list("raw", flat=True)
    assert all(text.startswith("gAAAA") for text in stored)
    assert all(one.get_deferred_fields() == {"secret_payload", "file"} for one in Job.objects.all())

    do_jobs()
    assert {one.secret_payload for one in Job.objects.filter(status="failed", problem="reason")} == {"s3cret"}
    requests.retry_job(job, by=User.objects.create(username="again"), now=timezone.now())
    succeeds = True
    do_jobs()
    assert [one.secret_payload for one in Job.objects.order_by("pk")] == ["s3cret", ""]

    install(fail)
    requests.retry_job(kept, by=User.objects.get(), now=timezone.now())
    do_jobs()
    kept.refresh_from_db()
    assert (kept.status, kept.secret_payload) == ("failed", "")


def test_a_job_that_waits_for_something_begins_anew_at_its_time(install: Install) -> None:
    at = timezone.now() + timedelta(minutes=1)
    install(lambda _run: RunAgain(at))
    job = ask(7)
    tasks.run_job(job.pk)

    job.refresh_from_db()
    assert (job.status, job.due_at, job.try_count, job.queued_until) == ("waiting", at, 0, None)
    assert not Job.objects.due(timezone.now()).exists()


def test_a_job_that_waits_for_something_gives_way_to_the_same_one_asked_for_meanwhile(install: Install) -> None:
    asked: list[Job] = []

    def work(_run: JobRun) -> dict[str, Any] | RunAgain:
        if asked:
            return {}
        asked.append(ask(7))
        return RunAgain(timezone.now() + timedelta(minutes=1))

    install(work)
    ask(7)
    do_jobs()

    assert list(Job.objects.values_list("status", flat=True)) == ["done", "done"]


def test_an_error_of_our_own_ends_the_job_and_names_the_log(install: Install) -> None:
    install(lambda _run: {"sum": 1 // 0})
    job = ask()
    tasks.run_job(job.pk)

    job.refresh_from_db()
    assert (job.status, job.problem, job.facts) == ("failed", registry.BROKEN, {})


def test_an_error_that_its_kind_repeats_is_a_try_and_the_last_one_gives_the_job_up(install: Install) -> None:
    given_up: list[int] = []
    install(lambda _run: {"sum": 1 // 0}, repeats_errors=True, tries=2, give_up=lambda job: given_up.append(job.pk))
    job = ask()
    tasks.run_job(job.pk)
    job.refresh_from_db()
    assert (job.status, given_up) == ("running", [])

    Job.objects.update(due_at=database_now())
    tasks.run_job(job.pk)

    job.refresh_from_db()
    assert (job.status, job.problem, given_up) == ("failed", registry.BROKEN, [job.pk])


def test_a_database_that_is_away_ends_nothing(install: Install) -> None:
    def lose(_run: JobRun) -> dict[str, Any]:
        raise OperationalError

    install(lose)
    job = ask()
    tasks.run_job(job.pk)

    job.refresh_from_db()
    assert job.status == "running"
    assert not Job.objects.due(timezone.now()).exists()
    assert Job.objects.due(timezone.now() + timedelta(seconds=runner.LEASE_SECONDS + 1)).exists()


def test_a_host_whose_clock_is_ahead_holds_no_job_up(install: Install) -> None:
    install(lambda _run: {})
    job = requests.request_job(NAME, now=timezone.now() + timedelta(hours=1))
    do_jobs()

    job.refresh_from_db()
    assert job.status == "done"


def test_of_one_key_one_job_waits_and_takes_the_newest_payload(install: Install) -> None:
    install(lambda run: dict(run.job.payload))
    first, other = ask(7, payload={"n": 1}), ask(8, payload={"n": 1})
    assert ask(7, payload={"n": 2}).pk == first.pk
    do_jobs()

    first.refresh_from_db()
    other.refresh_from_db()
    assert (first.result, other.result) == ({"n": 2}, {"n": 1})
    assert ask(7).pk != first.pk
    assert ask().pk != ask().pk


def test_what_is_asked_for_while_its_key_runs_waits_behind_it(install: Install) -> None:
    asked: list[Job] = []

    def work(run: JobRun) -> dict[str, Any]:
        if not asked:
            asked.append(ask(7))
            tasks.run_job(asked[0].pk)  # another worker gets nothing
            asked[0].refresh_from_db()
            assert asked[0].status == "waiting"
        return {}

    install(work)
    job = ask(7)
    do_jobs()

    assert asked[0].pk != job.pk
    assert not Job.objects.unfinished().exists()


def test_what_a_worker_has_is_not_queued_again_by_who_asks_for_it(
    install: Install, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    install(fail)
    now = timezone.now()
    Job.objects.create(kind=NAME, key="7", status="running", requested_at=now, due_at=now + timedelta(seconds=30))
    with django_capture_on_commit_callbacks(execute=True):
        ask(7)

    # Otherwise a tick would skip it for a minute if its worker died.
    assert set(Job.objects.values_list("queued_until", flat=True)) == {None}


@pytest.mark.parametrize("reports", [True, False])
def test_a_worker_that_returns_too_late_writes_nothing(install: Install, reports: bool) -> None:
    def work(run: JobRun) -> dict[str, Any]:
        Job.objects.update(lease_token="another", due_at=timezone.now() + timedelta(seconds=30))
        run.renew_lease()
        if reports:
            run.report_progress(1, 2)
            raise AssertionError("not reached")
        return {"sum": 3}

    install(work)
    job = ask()
    tasks.run_job(job.pk)

    job.refresh_from_db()
    assert (job.status, job.lease_token, job.done_count, job.result) == ("running", "another", 0, {})


@pytest.mark.django_db(transaction=True)
def test_of_many_messages_for_one_job_one_does_it(install: Install) -> None:
    done: list[int] = []

    def work(run: JobRun) -> dict[str, Any]:
        done.append(run.job.pk)
        return {}

    install(work)
    job = ask()

    do_at_once(*[partial(tasks.run_job, job.pk)] * 8)

    assert done == [job.pk]


def test_a_job_that_takes_too_long_is_not_renewed(install: Install) -> None:
    def work(run: JobRun) -> dict[str, Any]:
        due_at = Job.objects.get().due_at
        run.renew_lease()
        assert Job.objects.get().due_at == due_at
        return {}

    install(work, seconds=0)
    ask()
    do_jobs()

    assert Job.objects.get().status == "done"


def test_a_job_that_its_workers_die_of_is_given_up(install: Install) -> None:
    given_up: list[int] = []
    install(fail, tries=2, give_up=lambda job: given_up.append(job.pk))
    job = ask(7)
    Job.objects.update(status="running", lease_token="dead", try_count=2, due_at=database_now())
    behind = Job.objects.create(kind=NAME, key="7", requested_at=timezone.now(), due_at=timezone.now())
    do_jobs()

    job.refresh_from_db()
    behind.refresh_from_db()
    assert (job.status, job.problem, behind.status, behind.problem) == ("failed", registry.LOST, "failed", "reason")
    assert given_up == [job.pk]


def test_a_kind_of_another_release_waits_for_it() -> None:
    job = Job.objects.create(kind="unknown", requested_at=timezone.now(), due_at=timezone.now())
    tasks.run_job(job.pk)

    job.refresh_from_db()
    assert job.status == "waiting"
    assert registry.label_job(job) == "unknown"


def test_a_tick_sends_what_is_due_and_on_no_messages_way(install: Install) -> None:
    now = timezone.now()
    kind = install(fail)
    registry.kinds[NAME] = replace(kind, queue="data")
    waiting, later, running, dead = (Job.objects.create(kind=NAME, requested_at=now, due_at=now) for _ in range(4))
    Job.objects.filter(pk=later.pk).update(due_at=now + timedelta(minutes=1))
    Job.objects.filter(pk=running.pk).update(status="running", due_at=now + timedelta(seconds=30))
    Job.objects.filter(pk=dead.pk).update(status="running")

    assert {job.pk for job in requests.find_unqueued_jobs(now)} == {waiting.pk, dead.pk}
    assert tasks.TICK.is_anything_due()
    requests.sweep_jobs(now)

    assert not requests.find_unqueued_jobs(now).exists()
    assert requests.find_unqueued_jobs(now + 2 * requests.QUEUED_FOR).count() == 4


def test_a_clock_that_was_set_back_leaves_no_job_behind(install: Install) -> None:
    now, ahead = timezone.now(), timezone.now() + timedelta(days=400)
    for status in ("waiting", "running"):
        Job.objects.create(kind=NAME, status=status, requested_at=ahead, due_at=ahead, queued_until=ahead)
    soon = Job.objects.create(kind=NAME, requested_at=now, due_at=now + timedelta(hours=2))
    requests.repair_times(now=now)

    assert Job.objects.due(now).exclude(queued_until__gt=now).count() == 2
    soon.refresh_from_db()
    assert soon.due_at == now + timedelta(hours=2)
