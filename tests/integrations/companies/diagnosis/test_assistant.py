"""The check of the contacts assistant: its own Secret, its own address list, and what it may read."""

from __future__ import annotations

from typing import Any

import pytest

from integrations.clients.wecom.token_store import FetchedToken
from integrations.companies import services
from integrations.companies.diagnosis import results
from integrations.companies.diagnosis.results import export_text
from integrations.core.client_factory import token_store
from integrations.models import CheckRun, Corp
from tests.integrations.companies.diagnosis.wire import API, CALLER_IP, Wire, refusal
from tests.integrations.conftest import CORPID
from tests.integrations.diagnosing import NOW, check_run, run_one

pytestmark = pytest.mark.django_db
SECRET = "contacts-secret-0123456789"
ROW = {"userid": "lilei", "department": 2}
SIMPLE = {"errcode": 0, "errmsg": "ok", "department_id": [{"id": 1, "parentid": 0, "order": 1}]}
MEMBER = {"errcode": 0, "errmsg": "ok", "userid": "lilei", "name": "李雷", "department": [2]}


@pytest.fixture
def with_assistant(corp: Corp) -> Corp:
    corp.contacts_secret = SECRET
    corp.save()
    return corp


def reads(wire: Wire, *, rows: list[dict[str, Any]], member: object = None) -> None:
    wire.token(secret=SECRET)
    wire.post("user/list_id", {"errcode": 0, "errmsg": "ok", "next_cursor": "", "dept_user": rows})
    wire.get("department/simplelist", SIMPLE)
    if member is not None:
        wire.get("user/get", member, userid="lilei")


def found(run: CheckRun) -> tuple[str, str, int | None]:
    return run.status, run.problem, run.errcode


def test_without_a_secret_of_its_own_nobody_is_asked(corp: Corp, wire: Wire) -> None:
    assert found(run_one(corp, "assistant")) == ("skipped", "none", None)
    assert wire.paths() == []


@pytest.mark.parametrize(
    ("rows", "member", "problem"),
    [([ROW], MEMBER, "reads"), ([ROW], refusal(48009), "ids_only"), ([], None, "reads")],
)
def test_what_the_assistant_may_read(
    with_assistant: Corp, wire: Wire, rows: list[dict[str, Any]], member: object, problem: str
) -> None:
    reads(wire, rows=rows, member=member)

    run = run_one(with_assistant, "assistant")

    assert (found(run), run.facts) == (("ok", problem, None), {"departments": 1})
    assert wire.sent == [{"limit": 1}]
    assert "(departments: 1)" in results.explain_run(run).what


@pytest.mark.parametrize(
    ("code", "problem", "is_tried_again"),
    [
        (40001, "secret_refused", False),
        (40091, "secret_refused", False),
        (40013, "refused", False),
        (45009, "refused", False),
        (-1, "refused", True),
    ],
)
def test_its_secret_is_its_own_affair_and_not_the_token_s(
    with_assistant: Corp, wire: Wire, code: int, problem: str, is_tried_again: bool
) -> None:
    check_run(with_assistant, "token")
    wire.token(refusal(code), secret=SECRET)

    run = run_one(with_assistant, "assistant")

    assert found(run) == ("wrong", problem, code)
    assert (run.next_try_at is not None) == is_tried_again
    assert results.find_latest_runs(with_assistant)["token"].status == "ok"
    assert wire.paths() == ["gettoken"]


def test_the_secret_of_an_app_is_named(with_assistant: Corp, wire: Wire) -> None:
    wire.token(secret=SECRET)
    wire.post("user/list_id", refusal(48002))

    run = run_one(with_assistant, "assistant")

    assert (found(run), run.next_try_at) == (("wrong", "of_an_app", 48002), None)


def test_its_address_list_is_its_own(with_assistant: Corp, wire: Wire) -> None:
    wire.token(secret=SECRET)
    wire.post("user/list_id", refusal(60020))

    run = run_one(with_assistant, "assistant")

    assert (found(run), run.facts) == (("wrong", "refused_ip", 60020), {"address": CALLER_IP})
    assert results.explain_run(run).where.startswith("WeCom's console → Security and management")
    assert run.next_try_at is not None


@pytest.mark.parametrize(("code", "problem"), [(48009, "refused"), (60031, "refused")])
def test_any_other_refusal_has_the_sentences_of_its_number(
    with_assistant: Corp, wire: Wire, code: int, problem: str
) -> None:
    wire.token(secret=SECRET)
    wire.post("user/list_id", refusal(code))

    assert found(run_one(with_assistant, "assistant")) == ("wrong", problem, code)


def test_a_network_in_the_way_is_said_by_the_network(with_assistant: Corp, wire: Wire) -> None:
    wire.mock.get(f"{API}/gettoken", status=502)

    run = run_one(with_assistant, "assistant")

    assert (found(run), run.facts) == (("skipped", "blocked", None), {"by": "network"})


def test_its_secret_is_nowhere_to_be_read(with_assistant: Corp, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    wire.token(refusal(40001, f"invalid credential {SECRET} corpsecret={SECRET}"), secret=SECRET)

    with caplog.at_level("DEBUG"):
        run_one(with_assistant, "assistant")

    assert SECRET not in str(list(CheckRun.objects.values()))
    assert SECRET not in export_text(with_assistant, now=NOW)
    assert SECRET not in caplog.text


def test_another_secret_drops_the_assistant_s_token_and_has_everything_checked_again(
    with_assistant: Corp, django_capture_on_commit_callbacks: Any
) -> None:
    token_store().get(CORPID, None, lambda: FetchedToken("of the old Secret", 7200))
    run = check_run(with_assistant, "assistant")
    with_assistant.contacts_secret = "another-secret-0123456789"

    with django_capture_on_commit_callbacks(execute=True):
        assert services.save_corp(corp=with_assistant, changed_fields={"contacts_secret"})

    assert token_store().get(CORPID, None, lambda: FetchedToken("new", 7200)) == "new"
    assert not results.is_current(run, with_assistant)
