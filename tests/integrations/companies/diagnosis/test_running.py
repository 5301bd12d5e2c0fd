"""Requesting and running checks: once for any number of workers, and again once something may have been repaired."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from integrations.companies import links
from integrations.companies.diagnosis import checks
from integrations.datasources import fetch
from integrations.models import CheckRun, Corp, Job, SiteAddress
from integrations.models.jobs import LeaseLostError
from integrations.tasks import tick
from tests.integrations import diagnosing
from tests.integrations.companies.diagnosis.wire import Wire, refusal
from tests.integrations.conftest import client_of
from tests.integrations.diagnosing import NOW, check_run, checks_waiting, run_one
from tests.jobs import do_jobs
from tests.notifications.side_by_side import do_at_once

pytestmark = pytest.mark.django_db
SECOND, MINUTE = dt.timedelta(seconds=1), dt.timedelta(minutes=1)


def ask(corp: Corp, name: str = "token", *, now: dt.datetime = NOW) -> CheckRun:
    checks.request_checks(corp=corp, checks=[name], now=now)
    return CheckRun.objects.get(corp=corp, check_name=name)


def ask_for_message(corp: Corp, userid: str = "lilei") -> CheckRun:
    checks.request_test_message(corp=corp, userid=userid, now=NOW)
    return CheckRun.objects.get(check_name="message")


def carry_out(run: CheckRun, clock: Callable[[], dt.datetime] = lambda: NOW) -> list[int]:
    return diagnosing.carry_out(run, clock)


def test_a_second_click_shows_the_run_under_way_while_it_is_about_the_same(corp: Corp, wire: Wire) -> None:
    later = NOW + 59 * MINUTE
    first = ask(corp)
    ask(corp, "domain")
    ask_for_message(corp)

    assert ask(corp, now=later).requested_at == NOW
    assert ask_for_message(corp).subject == "lilei"
    assert ask_for_message(corp, "b").subject == "b"
    CheckRun.objects.filter(check_name="domain").update(subject="another.example.com")
    assert ask(corp, "domain", now=later).requested_at == later
    Corp.objects.update(connection_version=2)
    assert ask(corp, now=later).requested_at == later
    wire.token()
    carry_out(first)
    assert first.connection_version == 2  # the run records what was tried, not what was requested
    Job.objects.update(status="failed")
    assert ask(corp).pk in checks_waiting()


def test_a_run_that_was_requested_anew_while_it_ran_is_tried_again(corp: Corp, wire: Wire) -> None:
    run = ask(corp)

    def answer(_request: Any) -> tuple[int, dict[str, str], str]:
        CheckRun.objects.update(status="waiting", requested_at=NOW + MINUTE)
        return 200, {}, '{"errcode": 40013, "errmsg": "x"}'

    wire.mock.add_callback("GET", "https://qyapi.weixin.qq.com/cgi-bin/gettoken", callback=answer)
    carry_out(run)

    assert (run.status, run.requested_at, run.errcode) == ("waiting", NOW + MINUTE, None)


def test_a_job_does_each_check_once_in_the_order_of_the_diagnosis(corp: Corp, wire: Wire) -> None:
    check_run(corp, "network")
    wire.token()
    wire.agent()
    wire.callback_ip()
    for name in ("scope", "ip"):
        ask(corp, name, now=timezone.now())

    for _check in ("ip", "scope"):
        do_jobs()

    assert wire.paths() == ["gettoken", "getcallbackip", "agent/get"]
    assert set(CheckRun.objects.values_list("check_name", "status")) == {
        (name, "ok") for name in ("network", "ip", "scope")
    }
    assert Job.objects.get().status == "done"


def test_what_is_behind_a_wrong_check_is_not_tried_and_told_which(corp: Corp) -> None:
    Corp.objects.update(api_base_url="http://127.0.0.1:1")
    checks.request_checks(corp=corp, checks=["network", "proxy", "token", "scope"], now=timezone.now())

    carry_out(CheckRun.objects.get(check_name="network"))

    runs = CheckRun.objects.order_by("pk").values_list("status", "facts__by")
    assert list(runs)[1:] == [("waiting", None), ("skipped", "network"), ("skipped", "network")]
    blocked = CheckRun.objects.get(check_name="scope")
    assert checks.explain_run(blocked).what == "Not tried: “Network and DNS” has to be in order first."


@pytest.mark.parametrize(
    ("name", "answers", "left"),
    [
        ("token", {"token": refusal(40001)}, ["callback", "token"]),
        ("ip", {"token": None, "callback_ip": refusal(60020)}, ["callback", "ip", "token"]),
        ("agentid", {"token": None, "agent": refusal(301002)}, ["agentid", "callback", "contacts", "ip", "token"]),
    ],
)
def test_one_cause_is_said_once_by_its_own_check(
    corp: Corp, wire: Wire, name: str, answers: dict[str, Any], left: list[str]
) -> None:
    for call, answer in answers.items():
        getattr(wire, call)(answer)
    others = ["callback", "token", "ip", "agentid", "app", "contacts"]
    checks.request_checks(corp=corp, checks=others, now=NOW)

    carry_out(CheckRun.objects.get(check_name=name))

    blocked = CheckRun.objects.filter(status="skipped", problem="blocked", facts__by=name)
    assert set(others) - set(blocked.values_list("check_name", flat=True)) == set(left)


def test_a_worker_that_lost_its_run_changes_nothing(corp: Corp, wire: Wire) -> None:
    """Let another worker take the run over while this one asks WeCom."""
    run = ask(corp)

    def clock() -> dt.datetime:
        if CheckRun.objects.get().status == "running":
            Job.objects.update(lease_token="another")
        return NOW

    wire.token()
    with pytest.raises(LeaseLostError):
        carry_out(run, clock)

    run.refresh_from_db()
    assert (run.status, run.finished_at) == ("running", None)


def test_a_worker_that_slept_before_the_message_does_not_send_it(corp: Corp, wire: Wire) -> None:
    """Let another worker take the job over and send it."""
    run = ask_for_message(corp)

    def clock() -> dt.datetime:
        Job.objects.update(lease_token="another")
        return NOW

    with pytest.raises(LeaseLostError):
        carry_out(run, clock)

    run.refresh_from_db()
    assert (run.status, wire.paths()) == ("waiting", [])


def test_a_message_whose_worker_died_is_not_sent_again(corp: Corp, wire: Wire) -> None:
    run = ask_for_message(corp)
    CheckRun.objects.update(status="running")

    carry_out(run, lambda: NOW + MINUTE)

    assert (run.status, run.problem, wire.paths()) == ("warning", "lost", [])


def test_a_mistake_of_ours_ends_the_run_without_a_word_of_it(
    corp: Corp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_corp: Corp) -> Any:
        raise RuntimeError("https://x/?corpsecret=the-secret")

    monkeypatch.setattr("integrations.companies.diagnosis.network.wecom_client", broken)

    run = run_one(corp, "ip")

    assert (run.status, run.problem, run.detail) == ("wrong", "crashed", "RuntimeError")
    assert "the-secret" not in caplog.text


def test_no_call_goes_out_inside_a_transaction(corp: Corp, transactional_db: None, wire: Wire) -> None:
    seen: list[bool] = []

    def answer(request: Any) -> tuple[int, dict[str, str], str]:
        seen.append(connection.in_atomic_block)
        return 200, {}, '{"errcode": 40013, "errmsg": "x"}'

    wire.mock.add_callback("GET", "https://qyapi.weixin.qq.com/cgi-bin/gettoken", callback=answer)
    carry_out(ask(corp))

    assert seen == [False]
    assert not transaction.get_connection().in_atomic_block


def test_checks_that_waited_for_another_are_tried_when_that_is_in_order(corp: Corp, wire: Wire) -> None:
    blocked = [check_run(corp, name, "skipped", problem="blocked", facts={"by": "ip"}) for name in ("app", "scope")]
    check_run(corp, "domain", "skipped", problem="blocked", facts={"by": "token"})
    check_run(corp, "home_page", "wrong", problem="missing")
    wire.token()
    wire.callback_ip()

    assert sorted(carry_out(ask(corp, "ip"))) == [run.pk for run in blocked]

    assert set(CheckRun.objects.filter(status="waiting").values_list("check_name", flat=True)) == {"app", "scope"}


@pytest.mark.parametrize(
    ("name", "age", "wait"),
    [
        ("ip", 0 * MINUTE, 20 * SECOND),
        ("ip", 9 * MINUTE, 20 * SECOND),
        ("ip", 10 * MINUTE, 5 * MINUTE),
        ("ip", 23 * 60 * MINUTE, 5 * MINUTE),
        ("ip", 24 * 60 * MINUTE, None),
        ("app", 9 * MINUTE, 20 * SECOND),
        ("app", 10 * MINUTE, None),
    ],
)
def test_a_check_is_tried_again_for_ten_minutes_and_a_refused_address_for_a_day(
    corp: Corp, wire: Wire, name: str, age: dt.timedelta, wait: dt.timedelta | None
) -> None:
    wire.token()
    if name == "ip":
        wire.callback_ip(refusal(60020))
        check_run(corp, "app", "skipped", problem="blocked", facts={"by": "ip"})
    else:
        wire.agent(close=1)
    run = ask(corp, name)

    assert carry_out(run, lambda: NOW + age) == []  # runs that waited for it are not released

    assert run.next_try_at == (None if wait is None else NOW + age + wait)


def test_a_run_whose_time_has_come_is_tried_as_the_same_request(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.callback_ip(refusal(60020))
    run = ask(corp, "ip")
    carry_out(run)
    assert checks_waiting() == [run.pk]
    carry_out(ask(corp, "ip", now=NOW + SECOND), lambda: NOW + SECOND)
    run.refresh_from_db()
    assert checks_waiting() == [run.pk]

    wire.callback_ip()
    carry_out(run, lambda: NOW + 22 * SECOND)
    assert (run.status, run.next_try_at, run.try_count, run.requested_at) == ("ok", None, 2, NOW + SECOND)


def test_what_wecom_refused_is_tried_again_once_an_obstacle_is_out_of_the_way(corp: Corp, wire: Wire) -> None:
    """Try a disabled app again as soon as it gets a token, but never a message, which may have been sent."""
    disabled = check_run(corp, "app", "wrong", problem="disabled", errcode=50003, next_try_at=NOW + MINUTE)
    check_run(corp, "message", "wrong", problem="nobody", errcode=81013, subject="lilei")
    check_run(corp, "domain", "wrong", problem="other", next_try_at=NOW + MINUTE)
    wire.token()

    assert carry_out(ask(corp)) == [disabled.pk]


def test_a_sweep_that_fails_does_not_keep_the_others_from_theirs(
    corp: Corp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    SiteAddress.objects.create(url="https://push.example.com/")

    def fail(**_now: object) -> None:
        raise OSError

    monkeypatch.setattr(fetch, "requeue_lost_rows", fail)

    tick()

    assert Job.objects.filter(kind=links.CERTIFICATE).exists()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "tick: sweep_card_data failed",
    ]


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_the_same_moment_make_one_run(corp: Corp) -> None:
    do_at_once(*[lambda: checks.request_checks(corp=corp, checks=["token"], now=timezone.now())] * 2)

    assert CheckRun.objects.count() == 1


def test_nobody_is_asked_while_a_page_is_shown_or_a_button_pressed(superuser: object, corp: Corp, wire: Wire) -> None:
    client = client_of(superuser)  # type: ignore[arg-type]  # the fixture's person

    for path in ("diagnosis/", "diagnosis/export/", "change/"):
        assert client.get(f"/admin/integrations/corp/{corp.pk}/{path}").status_code == 200
    assert client.post(f"/admin/integrations/corp/{corp.pk}/diagnosis/run/").status_code == 302

    assert wire.paths() == []


def test_a_check_that_kills_its_workers_is_given_up(corp: Corp, wire: Wire) -> None:
    run = ask(corp)
    Job.objects.update(try_count=checks.TRIES)

    assert carry_out(run, lambda: NOW) == []

    assert (run.status, run.problem, run.finished_at, run.next_try_at) == ("wrong", "died", NOW, None)
    assert wire.paths() == []
    assert (
        checks.explain_run(run).what == "Each worker that ran this check ended before it was done, so it was given up."
    )


def test_a_test_message_that_waited_for_the_address_is_not_sent_the_next_day(corp: Corp, wire: Wire) -> None:
    run = ask_for_message(corp)
    blocked = {"status": "skipped", "problem": "blocked", "facts": {"by": "ip"}, "finished_at": NOW}
    CheckRun.objects.update(**blocked, next_try_at=None)
    Job.objects.update(status="done")
    wire.token()
    wire.callback_ip()
    next_day = NOW + 23 * 60 * MINUTE

    assert carry_out(ask(corp, "ip", now=next_day), lambda: next_day) == [run.pk]
    carry_out(run, lambda: next_day)

    assert (run.status, run.problem) == ("skipped", "too_late")
    assert wire.paths() == ["gettoken", "getcallbackip"]
