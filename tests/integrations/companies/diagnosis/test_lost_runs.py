"""Runs that no worker has ended: their place in the queue is lost, or their worker died. Nobody has to click again."""

from __future__ import annotations

import datetime as dt

import pytest
from django.conf import settings
from django.utils import timezone
from kombu.exceptions import OperationalError

from integrations.companies.diagnosis import results, runner
from integrations.models import CheckRun, Corp
from integrations.tasks import retry_checks, run_check
from tests.integrations.companies.diagnosis.wire import Wire
from tests.integrations.diagnosing import NOW, check_run, queued

pytestmark = pytest.mark.django_db
SECOND, MINUTE = dt.timedelta(seconds=1), dt.timedelta(minutes=1)


def ask(corp: Corp, name: str = "token", *, now: dt.datetime = NOW) -> CheckRun:
    return runner.request_checks(corp=corp, checks=[name], now=now)[0]


def carry_out(run: CheckRun, *, now: dt.datetime) -> list[int]:
    freed = runner.carry_out(run_id=run.pk, clock=lambda: now)
    run.refresh_from_db()
    return freed


def killed(run: CheckRun, *, at: dt.datetime) -> None:
    """A worker took the run at that time and was killed."""
    CheckRun.objects.filter(pk=run.pk).update(status="running", started_at=at, next_try_at=at + runner.LEASE)


# --- Queued again -----------------------------------------------------------------------------------------------------


def test_a_run_whose_place_in_the_queue_was_lost_is_queued_again_by_beat(corp: Corp, wire: Wire) -> None:
    run = ask(corp, now=timezone.now() - runner.UNCLAIMED)
    wire.token()

    retry_checks(timezone.now())

    assert queued() == [("integrations.run_check", [run.pk])]
    run_check(run.pk)
    run.refresh_from_db()
    assert (run.status, run.next_try_at, run.try_count) == ("ok", None, 1)


def test_a_waiting_run_is_queued_again_once_a_minute_by_one_of_all_who_look(corp: Corp) -> None:
    run = ask(corp)

    assert runner.claim_due_again(now=NOW + 59 * SECOND) == []
    assert runner.claim_due_again(now=NOW + 60 * SECOND) == [run.pk]
    assert runner.claim_due_again(now=NOW + 119 * SECOND) == []
    assert runner.claim_due_again(now=NOW + 120 * SECOND) == [run.pk]


def test_a_run_that_heals_and_loses_its_place_is_queued_again_as_well(corp: Corp) -> None:
    run = check_run(corp, "ip", "wrong", problem="refused_ip", next_try_at=NOW)

    assert runner.claim_due_again(now=NOW) == [run.pk]

    assert runner.claim_due_again(now=NOW + 60 * SECOND) == [run.pk]


def test_what_a_check_has_set_free_is_queued_later_where_the_broker_is_gone(
    corp: Corp, wire: Wire, no_broker: None
) -> None:
    blocked = check_run(corp, "app", "skipped", problem="blocked", facts={"by": "token"})
    run = ask(corp)
    wire.token()

    with pytest.raises(OperationalError):
        run_check(run.pk)

    assert runner.claim_due_again(now=timezone.now() + runner.UNCLAIMED) == [blocked.pk]


def test_a_run_that_was_given_up_at_the_click_is_not_queued_behind_its_back(corp: Corp) -> None:
    run = ask(corp)

    runner.give_up_unqueued(run_ids=[run.pk], clock=lambda: NOW)

    assert runner.claim_due_again(now=NOW + 60 * MINUTE) == []


# --- Dead workers -----------------------------------------------------------------------------------------------------


def test_a_run_whose_worker_was_killed_is_queued_again_and_taken_over(corp: Corp, wire: Wire) -> None:
    run = ask(corp)
    killed(run, at=NOW + SECOND)
    wire.token()
    later = NOW + SECOND + runner.LEASE

    assert runner.claim_due_again(now=later - SECOND) == []
    assert runner.claim_due_again(now=later) == [run.pk]
    run.refresh_from_db()
    assert run.status == "running"

    carry_out(run, now=later)
    assert (run.status, run.next_try_at) == ("ok", None)


def test_whoever_takes_a_run_has_until_the_lease_ends(corp: Corp, wire: Wire) -> None:
    run = ask(corp)
    seen: list[dt.datetime | None] = []

    def clock() -> dt.datetime:
        seen.append(CheckRun.objects.get().next_try_at)
        return NOW

    wire.token()
    runner.carry_out(run_id=run.pk, clock=clock)

    assert seen == [NOW + runner.UNCLAIMED, NOW + runner.LEASE]


def test_a_worker_that_hangs_is_ended_when_its_lease_ends_and_before_its_task_comes_back() -> None:
    assert run_check.time_limit == runner.LEASE.total_seconds()
    assert run_check.time_limit > runner.CHECK_SECONDS
    assert run_check.time_limit < settings.CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"]


def test_a_check_that_kills_its_workers_is_given_up(corp: Corp, wire: Wire) -> None:
    run = ask(corp)
    at_last = NOW + runner.GIVEN_UP_AFTER + SECOND
    killed(run, at=at_last - runner.LEASE)

    assert carry_out(run, now=at_last) == []

    assert (run.status, run.problem, run.finished_at, run.next_try_at) == ("wrong", "died", at_last, None)
    assert wire.paths() == []
    assert (
        results.explain_run(run).what == "Each worker that ran this check ended before it was done, so it was given up."
    )


def test_a_slow_retry_whose_worker_was_killed_goes_on(corp: Corp, wire: Wire) -> None:
    run = ask(corp, "ip")
    CheckRun.objects.update(finished_at=NOW + 60 * MINUTE)
    killed(run, at=NOW + 65 * MINUTE)
    wire.token()
    wire.callback_ip()

    carry_out(run, now=NOW + 65 * MINUTE + runner.LEASE)

    assert run.status == "ok"


# --- Test messages ----------------------------------------------------------------------------------------------------


def test_a_lost_test_message_is_still_sent_within_ten_minutes_of_the_click(corp: Corp, wire: Wire) -> None:
    run = runner.request_test_message(corp=corp, userid="lilei", now=NOW)
    assert runner.claim_due_again(now=NOW + 10 * MINUTE) == [run.pk]
    wire.token()
    wire.post("message/send", {"errcode": 0, "errmsg": "ok", "msgid": "m1"})

    carry_out(run, now=NOW + 10 * MINUTE)

    assert (run.status, len(wire.sent)) == ("ok", 1)


def test_a_test_message_is_not_sent_long_after_the_click(corp: Corp, wire: Wire) -> None:
    run = runner.request_test_message(corp=corp, userid="lilei", now=NOW)

    carry_out(run, now=NOW + 10 * MINUTE + SECOND)

    assert (run.status, run.problem, run.next_try_at) == ("skipped", "too_late", None)
    assert wire.paths() == []


def test_a_test_message_that_waited_for_the_address_is_not_sent_the_next_day(corp: Corp, wire: Wire) -> None:
    run = runner.request_test_message(corp=corp, userid="lilei", now=NOW)
    blocked = {"status": "skipped", "problem": "blocked", "facts": {"by": "ip"}, "started_at": NOW, "finished_at": NOW}
    CheckRun.objects.update(**blocked, next_try_at=None)
    wire.token()
    wire.callback_ip()
    next_day = NOW + 23 * 60 * MINUTE

    assert carry_out(ask(corp, "ip", now=next_day), now=next_day) == [run.pk]
    carry_out(run, now=next_day)

    assert (run.status, run.problem) == ("skipped", "too_late")
    assert wire.paths() == ["gettoken", "getcallbackip"]
