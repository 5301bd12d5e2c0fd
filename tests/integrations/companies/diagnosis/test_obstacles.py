"""What stands in a check's way: it is looked at again where it seems in order, and no limit is made longer."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
import time

import pytest
from django.db import connection, transaction

from integrations.companies.diagnosis import results, runner
from integrations.models import CheckRun, Corp
from tests.databases import somebody_waits
from tests.integrations.companies.diagnosis.wire import CALLER_IP, HINT, Wire, refusal
from tests.integrations.diagnosing import NOW, check_run, run_one

pytestmark = pytest.mark.django_db
SECOND, MINUTE = dt.timedelta(seconds=1), dt.timedelta(minutes=1)
LATER = NOW + 60 * MINUTE


def ask(corp: Corp, name: str) -> CheckRun:
    return runner.request_checks(corp=corp, checks=[name], now=LATER)[0]


def carry_out(run: CheckRun) -> list[int]:
    freed = runner.carry_out(run_id=run.pk, clock=lambda: LATER + SECOND)
    run.refresh_from_db()
    return freed


# --- An obstacle that seems in order ----------------------------------------------------------------------------------


def test_an_address_that_was_trusted_an_hour_ago_is_looked_at_again(corp: Corp, wire: Wire) -> None:
    check_run(corp, "ip")
    wire.token()
    wire.agent(refusal(60020))
    run = ask(corp, "scope")

    (freed,) = carry_out(run)

    assert (run.status, run.problem) == ("skipped", "blocked")
    asked = CheckRun.objects.get(pk=freed)
    assert (asked.check_name, asked.status, asked.requested_at) == ("ip", "waiting", LATER + SECOND)


def test_what_is_in_order_and_in_the_way_at_once_is_looked_at_three_times_at_most(corp: Corp, wire: Wire) -> None:
    """The way to WeCom has several addresses, and one of them is not trusted."""
    check_run(corp, "ip")
    wire.token()
    wire.agent(refusal(60020))
    wire.callback_ip()
    run = ask(corp, "scope")
    moments = (LATER + number * SECOND for number in itertools.count())
    waiting, carried = [run.pk], []
    while waiting:
        carried.append(waiting.pop(0))
        waiting += runner.carry_out(run_id=carried[-1], clock=lambda: next(moments))

    run.refresh_from_db()
    assert (run.status, run.problem, run.errcode, run.try_count) == ("wrong", "refused", 60020, 3)
    assert len(carried) == 5


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_check_that_ends_while_the_obstacle_comes_out_of_its_way_is_tried_again(corp: Corp, wire: Wire) -> None:
    """The obstacle's check, found in order, is not committed yet when this one is about to be written as blocked."""
    obstacle = check_run(corp, "ip")
    wire.token()
    wire.agent(refusal(60020))
    run = ask(corp, "scope")
    is_held, is_over = threading.Event(), threading.Event()

    def settle_obstacle() -> None:
        with transaction.atomic():
            Corp.objects.select_for_update().get(pk=corp.pk)
            is_held.set()
            while not is_over.is_set() and not somebody_waits():
                time.sleep(0.02)
            CheckRun.objects.filter(pk=obstacle.pk).update(finished_at=LATER + MINUTE)
        connection.close()

    thread = threading.Thread(target=settle_obstacle)
    thread.start()
    assert is_held.wait(60)
    freed = carry_out(run)
    is_over.set()
    thread.join()

    assert freed == [run.pk]
    assert run.status == "waiting"


@pytest.mark.parametrize("columns", [{"status": "wrong"}, {"status": "waiting"}, {"connection_version": 0}])
def test_an_obstacle_whose_last_result_says_so_itself_is_left_alone(
    corp: Corp, wire: Wire, columns: dict[str, object]
) -> None:
    obstacle = check_run(corp, "ip")
    CheckRun.objects.filter(pk=obstacle.pk).update(**columns)
    wire.token()
    wire.agent(refusal(60020))

    assert carry_out(ask(corp, "scope")) == []

    assert CheckRun.objects.filter(check_name="ip").count() == 1


def test_a_secret_that_is_refused_now_is_noted_against_the_token_without_another_try(corp: Corp, wire: Wire) -> None:
    check_run(corp, "token")
    wire.token(refusal(40001, "invalid credential"))

    assert carry_out(ask(corp, "scope")) == []

    token = results.find_latest_runs(corp)["token"]
    assert (token.status, token.problem, token.errcode, token.hint) == ("wrong", "refused", 40001, HINT)
    assert (token.detail, token.caller_ip, token.finished_at) == ("invalid credential", CALLER_IP, LATER + SECOND)
    assert token.next_try_at is None
    assert results.is_current(token, corp)
    assert wire.paths() == ["gettoken"]


def test_a_token_that_is_being_fetched_is_not_judged_by_another_check(corp: Corp, wire: Wire) -> None:
    check_run(corp, "token")
    run = ask(corp, "scope")
    wire.token(refusal(40001))

    def clock() -> dt.datetime:
        if CheckRun.objects.get(pk=run.pk).status == "running":  # somebody clicks while this one asks WeCom
            runner.request_checks(corp=corp, checks=["token"], now=LATER)
        return LATER + SECOND

    runner.carry_out(run_id=run.pk, clock=clock)

    assert results.find_latest_runs(corp)["token"].status == "waiting"


def test_a_busy_wecom_that_gives_no_token_is_asked_again(corp: Corp, wire: Wire) -> None:
    check_run(corp, "token")
    wire.token(refusal(-1))

    (freed,) = carry_out(ask(corp, "scope"))

    assert CheckRun.objects.get(pk=freed).check_name == "token"


def test_a_company_with_a_check_that_could_not_be_tried_is_not_in_order(corp: Corp) -> None:
    check_run(corp, "token")
    check_run(corp, "scope", "skipped", problem="blocked", facts={"by": "token"})
    check_run(corp, "proxy", "skipped", problem="none")

    health = results.health_by_corp([corp])[corp.pk]

    assert (health.tone, health.words) == ("warn", "1 check to be looked at")


# --- What is not asked again ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [40001, 40013, 45009])
def test_a_secret_that_one_check_passes_and_another_does_not_is_not_tried_for_ever(
    corp: Corp, wire: Wire, code: int
) -> None:
    wire.token(refusal(code))
    run = ask(corp, "scope")
    CheckRun.objects.filter(pk=run.pk).update(try_count=runner.TRIES_BEHIND_OBSTACLE - 1)
    check_run(corp, "token", finished_at=LATER + MINUTE)

    assert carry_out(run) == []

    assert (run.status, run.problem, run.errcode, run.next_try_at) == ("wrong", "refused", code, None)


@pytest.mark.parametrize("name", ["ip", "app", "scope", "contacts"])
@pytest.mark.parametrize("code", [45009, 999999, 40058])
def test_a_limit_an_unknown_number_and_a_mistake_of_ours_are_not_asked_for_again(
    corp: Corp, wire: Wire, name: str, code: int
) -> None:
    call = {"ip": "getcallbackip", "contacts": "department/simplelist"}.get(name, "agent/get")
    wire.token()
    wire.get(call, refusal(code), **({"agentid": 1000002} if call == "agent/get" else {}))

    run = run_one(corp, name)

    assert (run.status, run.problem, run.errcode, run.next_try_at) == ("wrong", "refused", code, None)


def test_a_limit_of_a_few_seconds_is_waited_for(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.agent(refusal(45033))

    assert run_one(corp, "app").next_try_at == NOW + 21 * SECOND


def test_a_token_that_is_refused_although_it_is_new_is_not_fetched_for_ever(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.agent(refusal(40014))

    run = run_one(corp, "app")

    assert (run.errcode, run.next_try_at) == (40014, None)
    assert wire.paths() == ["gettoken", "agent/get", "gettoken", "agent/get"]
