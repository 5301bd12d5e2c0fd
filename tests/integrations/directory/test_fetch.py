"""Answers of WeCom in the middle of a run, at the wire: nobody is disabled, and the row says why."""

import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, connection

from integrations.clients.errors import RateLimitedError, TransientError, UnexpectedResponseError
from integrations.directory.fetch import CallPacer
from integrations.directory.sync import request_run
from integrations.models import Corp, Member, SyncRun
from tests.integrations.directory.place import START, Clock, carry_on
from tests.wecom import AGENTID, CORPID, SECRET, WeComAnswers, refusal, wecom_answers

pytestmark = pytest.mark.django_db
Status, Presence = SyncRun.Status, Member.Presence


@pytest.fixture
def corp(db: None) -> Corp:
    return Corp.objects.create(name="北山制造", corpid=CORPID, agentid=AGENTID, secret=SECRET)


@pytest.fixture
def wecom() -> Iterator[WeComAnswers]:
    """Answers of WeCom, with the tokens of both secrets. They are used in order; the last one stays."""
    with wecom_answers(all_must_come=False) as answers:
        answers.says_anyway("gettoken", {"errcode": 0, "errmsg": "ok", "access_token": "sim-T", "expires_in": 7200})
        yield answers


def user(userid: str, *departments: int, **more: object) -> dict[str, Any]:
    return {"userid": userid, "name": f"名{userid}", "department": list(departments), "status": 1, **more}


def department(number: int, parent: object = 1, **more: object) -> dict[str, Any]:
    return {"id": number, "parentid": parent, "name": f"部门{number}", "order": number, **more}


def gives_departments(wecom: WeComAnswers, *rows: dict[str, Any]) -> None:
    wecom.says_anyway("department_list", {"errcode": 0, "errmsg": "ok", "department": list(rows)})


def gives_users(wecom: WeComAnswers, *users: dict[str, Any]) -> None:
    wecom.says_anyway("user_list", {"errcode": 0, "errmsg": "ok", "userlist": list(users)})


def gives_scope(wecom: WeComAnswers) -> None:
    wecom.says_anyway("agent_get", {"errcode": 0, "errmsg": "ok", "agentid": AGENTID})


def whole(wecom: WeComAnswers, *users: dict[str, Any]) -> None:
    gives_departments(wecom, department(1, 0))
    gives_users(wecom, *users)
    gives_scope(wecom)


def sync(corp: Corp, *, clock: Clock | None = None, pauses: list[float] | None = None) -> SyncRun:
    clock = clock or Clock(START + timedelta(hours=SyncRun.objects.count()))
    run = request_run(corp=corp, trigger=SyncRun.Trigger.NIGHTLY, now=clock())
    return carry_on(run, clock=clock, pause=([] if pauses is None else pauses).append)


def with_members(corp: Corp, count: int = 30) -> None:
    """Do a first run with so many people of one department."""
    with wecom_answers(all_must_come=False) as wecom:
        wecom.says_anyway("gettoken", {"errcode": 0, "errmsg": "ok", "access_token": "sim-T", "expires_in": 7200})
        whole(wecom, *(user(f"u{number}", 1) for number in range(count)))
        assert sync(corp).status == Status.DONE


def here(corp: Corp) -> int:
    return Member.objects.filter(corp=corp).in_scope().count()


@pytest.mark.parametrize(
    ("code", "status", "problem"),
    [
        (60011, Status.WAITING, "changed_meanwhile"),
        (60003, Status.WAITING, "changed_meanwhile"),
        (40003, Status.WAITING, "changed_meanwhile"),
        (45009, Status.WAITING, "unreachable"),
        (45033, Status.WAITING, "unreachable"),
        (-1, Status.WAITING, "unreachable"),
        (48009, Status.FAILED, "wecom"),
        (48002, Status.FAILED, "wecom"),
        (60020, Status.FAILED, "wecom"),
        (45029, Status.FAILED, "wecom"),
        (123456, Status.FAILED, "wecom"),
    ],
)
def test_an_error_in_mid_run_disables_nobody(
    corp: Corp, wecom: WeComAnswers, code: int, status: SyncRun.Status, problem: str
) -> None:
    with_members(corp)
    gives_departments(wecom, department(1, 0), department(2))
    gives_users(wecom, user("u0", 1))
    wecom.says_anyway("user_list", refusal(code))

    run = sync(corp)

    assert (run.status, run.problem, run.errcode) == (status, problem, code)
    assert here(corp) == 30
    assert run.counts == {}
    assert SECRET not in run.detail
    assert "sim-T" not in run.detail


def test_rows_that_somebody_else_wrote_meanwhile_make_the_run_wait(corp: Corp, wecom: WeComAnswers) -> None:
    whole(wecom, user("lilei", 1))

    def refused(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith('INSERT INTO "integrations_member"'):
            raise IntegrityError("one_member_per_userid")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refused):
        run = sync(corp)

    assert (run.status, run.problem, here(corp)) == (Status.WAITING, "changed_meanwhile", 0)


def test_a_blocked_run_rests_as_long_as_wecom_says_and_begins_anew(corp: Corp, wecom: WeComAnswers) -> None:
    wecom.says_anyway("department_list", refusal(45009))
    whole(wecom, user("lilei", 1))
    clock = Clock()

    run = sync(corp, clock=clock)

    assert run.next_try_at is not None
    assert 59 <= (run.next_try_at - clock.now).total_seconds() <= 60
    clock.now = run.next_try_at
    again = carry_on(run, clock=clock)
    assert (again.status, again.problem, here(corp)) == (Status.DONE, "", 1)


def test_a_run_that_never_gets_through_ends(corp: Corp, wecom: WeComAnswers) -> None:
    wecom.says_anyway("department_list", refusal(-1))
    clock = Clock()
    run = sync(corp, clock=clock)
    rests = 0

    while run.status == Status.WAITING:
        assert run.next_try_at is not None
        clock.now, rests = run.next_try_at, rests + 1
        run = carry_on(run, clock=clock)

    assert (run.status, run.problem, rests) == (Status.FAILED, "unreachable", 4)
    assert run.finished_at is not None


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "not_wecom"),
        (b"<html>please sign in</html>", "not_wecom"),
        (b"[]", "not_wecom"),
        (b'{"errcode":0}', "wecom"),
        (b'{"errcode":0,"userlist":{}}', "wecom"),
    ],
)
def test_garbage_disables_nobody(corp: Corp, wecom: WeComAnswers, body: bytes, problem: str) -> None:
    with_members(corp)
    gives_departments(wecom, department(1, 0))
    wecom.sends("user_list", body)

    run = sync(corp)

    assert (run.status, run.problem) == (Status.FAILED, problem)
    assert ("please sign in" in run.detail) == (b"sign in" in body)
    assert here(corp) == 30


def test_a_proxy_that_cannot_be_one_is_told_as_a_wrong_setting(corp: Corp) -> None:
    with_members(corp)
    corp.proxy_url = "ftp://proxy:21"
    corp.save()

    run = sync(corp)

    assert (run.status, run.problem) == (Status.FAILED, "wrong_setting")
    assert here(corp) == 30


def page(cursor: str, *rows: tuple[str, int]) -> dict[str, Any]:
    people = [{"userid": userid, "department": number} for userid, number in rows]
    return {"errcode": 0, "errmsg": "ok", "next_cursor": cursor, "dept_user": people}


THIRTY = [(f"u{number}", 1) for number in range(30)]


@pytest.mark.parametrize(
    ("pages", "status", "detail"),
    [
        ([page("again", ("u0", 1))], Status.FAILED, "did not end"),
        ([page("second", ("u0", 1)), refusal(48009)], Status.FAILED, "48009"),
        ([page("second", ("u0", 1)), refusal(45033)], Status.WAITING, "45033"),
    ],
)
def test_a_list_of_the_company_that_breaks_off_disables_nobody(
    corp: Corp, wecom: WeComAnswers, pages: list[Any], status: str, detail: str
) -> None:
    with_members(corp)
    Corp.objects.update(contacts_secret="sim-contacts-secret-0123456789")
    departments = [department(1, 0)]
    wecom.says_anyway("department_simplelist", {"errcode": 0, "errmsg": "ok", "department_id": departments})
    whole(wecom, *(user(userid, 1) for userid, _number in THIRTY))
    for answer in pages:
        wecom.says_anyway("user_list_id", answer)

    run = sync(corp)

    assert run.status == status
    assert detail in f"{run.errcode} {run.detail}"
    assert here(corp) == 30


def test_rows_of_one_person_on_two_pages_are_one_person(corp: Corp, wecom: WeComAnswers) -> None:
    corp.contacts_secret = "sim-contacts-secret-0123456789"
    corp.save()
    departments = [department(1, 0), department(2)]
    wecom.says_anyway("department_simplelist", {"errcode": 0, "errmsg": "ok", "department_id": departments})
    whole(wecom, user("new", 1))
    wecom.says_anyway("user_list_id", page("second", ("New", 1)))
    wecom.says_anyway("user_list_id", page("", ("new", 2)))

    run = sync(corp)

    assert "spelling" in {one["code"] for one in run.warnings}
    new = Member.objects.get()
    assert sorted(new.departments.values_list("wecom_department_id", flat=True)) == [1, 2]


@pytest.mark.parametrize("departments", [[department(1, 0)], []])
def test_an_empty_answer_that_says_ok_is_not_believed(
    corp: Corp, wecom: WeComAnswers, departments: list[dict[str, Any]]
) -> None:
    with_members(corp)
    gives_departments(wecom, *departments)
    gives_users(wecom)
    gives_scope(wecom)
    wecom.says_anyway("user_get", refusal(60111))

    run = sync(corp)

    assert run.status == Status.ASKING
    assert run.question == {"reason": "share", "leaving": 30, "of": 30, "percent": 5, "roots": ["1"]}
    assert {"code": "nobody", "count": 1, "examples": []} in run.warnings
    assert (here(corp), corp.departments.present().count()) == (30, 1)


def test_whom_a_list_forgot_but_wecom_knows_stays(corp: Corp, wecom: WeComAnswers) -> None:
    """Keep somebody who moved from a department not read yet to one already read."""
    with_members(corp)
    whole(wecom, *(user(f"u{number}", 1) for number in range(29)))
    wecom.says_anyway("user_get", {"errcode": 0, "errmsg": "ok", **user("u29", 1)})

    run = sync(corp)

    assert (run.status, here(corp)) == (Status.DONE, 30)
    assert run.warnings == [{"code": "moved_meanwhile", "count": 1, "examples": ["u29"]}]


def test_more_missing_people_than_are_looked_up_are_of_unknown_fate(
    corp: Corp, wecom: WeComAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.directory.diff.LOOK_UPS_AT_MOST", 1)
    with_members(corp, 100)
    whole(wecom, *(user(f"u{number}", 1) for number in range(97)))
    wecom.says_anyway("user_get", refusal(60111))

    run = sync(corp)

    assert run.counts == {"deleted": 1, "missing": 2}
    assert Member.objects.filter(presence=Presence.MISSING).count() == 2


def test_whom_one_list_shows_and_another_has_left_is_gone(corp: Corp, wecom: WeComAnswers) -> None:
    with_members(corp)
    gives_departments(wecom, department(1, 0), department(2))
    lists = {1: [user(f"u{number}", 1) for number in range(30)], 2: [user("u7", 2, status=5)]}
    for number, users in lists.items():
        answer = {"errcode": 0, "errmsg": "ok", "userlist": users}
        wecom.says("user_list", answer, params={"department_id": number}, token="sim-T")
    gives_scope(wecom)

    run = sync(corp)

    assert run.counts == {"departments": 1, "deleted": 1}
    assert Member.objects.get(userid="u7").presence == Presence.DELETED


def test_cycles_and_missing_parents_are_copied_and_told(corp: Corp, wecom: WeComAnswers) -> None:
    rows = [department(1, 0), department(5, 6), department(6, 5), department(7, 7), department(8, 99)]
    gives_departments(wecom, *rows, department(9, None), department(10, 10**30), department(11, "2"))
    gives_users(wecom, user("lilei", 5, 6, 7, 8))
    gives_scope(wecom)

    run = sync(corp)

    assert run.status == Status.DONE
    assert run.warnings == [{"code": "cycle", "count": 3, "examples": ["5", "6", "7"]}]
    assert corp.departments.present().count() == 8
    lilei = Member.objects.get()
    assert sorted(lilei.departments.values_list("wecom_department_id", flat=True)) == [1, 5, 6, 7, 8, 9, 10, 11]


@pytest.mark.parametrize("number", [0, -1, 2**32, 10**40])
def test_a_department_that_cannot_be_stops_the_run(corp: Corp, wecom: WeComAnswers, number: int) -> None:
    gives_departments(wecom, department(1, 0), department(number))

    run = sync(corp)

    assert (run.status, run.problem) == (Status.FAILED, "wecom")


def test_names_are_stored_without_what_hides_in_them(corp: Corp, wecom: WeComAnswers) -> None:
    odd = " a\x00b\u202ec\u200bd\ud83d\x1b[0m" + "长" * 200
    gives_departments(wecom, department(1, 0, name="销\x00售\n部"))
    gives_users(wecom, user("odd", 1, name=odd, position=odd, alias="\x00", mobile="1" * 99))
    gives_scope(wecom)

    run = sync(corp)

    assert run.status == Status.DONE, run.detail
    member = Member.objects.get()
    assert member.name == member.position == "abcd[0m" + "长" * 121
    assert (member.alias, member.mobile) == ("", "1" * 32)
    assert corp.departments.get().name == "销售部"


def test_what_is_no_userid_is_left_out_and_told(corp: Corp, wecom: WeComAnswers) -> None:
    whole(wecom, user("lilei", 1), user("x" * 65, 1), user("a\x00b", 1), user("<script>", 1), user("İ", 1))

    run = sync(corp)

    assert list(Member.objects.values_list("userid", flat=True)) == ["lilei"]
    assert run.warnings == [{"code": "userid", "count": 4, "examples": ["x" * 64, "ab", "<script>", "İ"]}]


def test_two_spellings_of_a_userid_are_one_person(corp: Corp, wecom: WeComAnswers) -> None:
    gives_departments(wecom, department(1, 0), department(2))
    gives_users(wecom, user("LiLei", 1), user("lilei", 2), user("LILEI", 2))
    gives_users(wecom)
    gives_scope(wecom)

    run = sync(corp)

    assert run.status == Status.DONE
    member = Member.objects.get()
    assert sorted(member.departments.values_list("wecom_department_id", flat=True)) == [1, 2]
    assert [one["code"] for one in run.warnings] == ["spelling"]


def make_failing_call(times: int, error: Exception) -> Callable[[], str]:
    """Make a call that fails so often, then answers."""
    left = [error] * times

    def call() -> str:
        if left:
            raise left.pop()
        return "answer"

    return call


BUSY = TransientError("busy", system="wecom", operation="user_list", code=-1)
UNEXPECTED = UnexpectedResponseError("what", system="wecom", operation="user_list")


def make_rate_limit_error(seconds: int) -> RateLimitedError:
    return RateLimitedError("slower", system="wecom", operation="user_list", retry_after_seconds=seconds)


@pytest.mark.parametrize(
    ("call", "error", "pauses"),
    [
        (make_failing_call(2, BUSY), None, [0.5, 2.0]),
        (make_failing_call(3, BUSY), TransientError, [0.5, 2.0]),
        (make_failing_call(1, make_rate_limit_error(60)), RateLimitedError, []),
        (make_failing_call(1, make_rate_limit_error(5)), None, [0.5]),
        (make_failing_call(1, UNEXPECTED), UnexpectedResponseError, []),
    ],
)
def test_a_hiccup_is_repeated_twice_at_most_and_a_minutes_block_never(
    call: Callable[[], str], error: type[Exception] | None, pauses: list[float]
) -> None:
    slept: list[float] = []
    pacer = CallPacer(pause=slept.append)

    with pytest.raises(error) if error is not None else nullcontext():
        assert pacer.call(call) == "answer"

    assert slept == pauses
    assert pacer.count == len(pauses) + 1


def test_results_come_in_the_order_of_the_calls() -> None:
    gates = [threading.Event() for _ in range(5)]

    def call(number: int) -> int:
        # Each waits for the next one, so they end in reverse.
        assert number == 4 or gates[number + 1].wait(60)
        gates[number].set()
        return number

    assert list(CallPacer(parallel=5).call_all(partial(call, number) for number in range(5))) == [0, 1, 2, 3, 4]


def test_calls_are_not_made_ahead_and_an_error_ends_them() -> None:
    made, called = 0, []

    def call(number: int) -> int:
        called.append(number)
        if number == 100:
            raise UNEXPECTED
        return number

    def calls() -> Iterator[Callable[[], int]]:
        nonlocal made
        for number in range(1000):
            made += 1
            yield partial(call, number)

    found = CallPacer(parallel=3).call_all(calls())
    next(found)
    assert made <= 7
    with pytest.raises(UnexpectedResponseError):
        list(found)
    assert len(called) <= 107


def test_after_a_burst_calls_are_spread() -> None:
    pauses: list[float] = []
    pacer = CallPacer(pause=pauses.append, at_once=3, per_second=0.01)

    for _ in range(5):
        pacer.call(lambda: None)

    assert [round(seconds) for seconds in pauses] == [100, 200]
