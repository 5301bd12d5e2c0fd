"""Checks of credentials, and of what WeCom lets them read: every outcome of each, at the wire."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from integrations.clients.errors import ConfigurationError
from integrations.clients.wecom import tokens
from integrations.clients.wecom.tokens import FetchedToken
from integrations.companies import services
from integrations.companies.diagnosis import checks
from integrations.companies.diagnosis.checks import export_text
from integrations.core.client_factory import _token_store, token_store
from integrations.models import CheckRun, Corp
from tests.integrations.companies.diagnosis.wire import AGENT, API, CALLER_IP, Wire, refusal
from tests.integrations.conftest import CORPID
from tests.integrations.diagnosing import NOW, carry_out, check_run, outcome_of, run_one

pytestmark = pytest.mark.django_db
OK = {"errcode": 0, "errmsg": "ok"}


MEMBER = {**OK, "userid": "lilei", "name": "李雷", "department": [2]}
RESTRICTED = ("mobile", "email", "biz_mail", "gender", "avatar", "qr_code", "address")
NO_DEPARTMENTS = {**OK, "department_id": []}
DEPARTMENTS = {**OK, "department_id": [{"id": 2, "parentid": 1, "order": 1}, {"id": 5, "parentid": 2, "order": 1}]}


@dataclass(frozen=True)
class Outcome:
    """The expected result of a check for an answer: status, problem and number, then facts and sentence for some.

    `is_tried_again`: by itself. `asked`: the calls that were made.
    """

    check: str
    answers: Callable[[Wire], object]
    found: tuple[str, str, int | None]
    facts: dict[str, Any] | None = None
    says: str = ""
    where: str = ""
    is_tried_again: bool = False
    asked: tuple[str, ...] = ("gettoken",)


def no_token(code: int) -> Callable[[Wire], object]:
    return lambda wire: wire.token(refusal(code))


def the_app(answer: object = None, **fields: object) -> Callable[[Wire], object]:
    def answers(wire: Wire) -> None:
        wire.token()
        wire.agent(answer, **fields)

    return answers


def no_app(listed: object) -> Callable[[Wire], object]:
    """Answer for a Secret that belongs to no app. `listed` answers user/list_id."""

    def answers(wire: Wire) -> None:
        wire.token()
        wire.agent(refusal(48002, "api forbidden"))
        wire.post("user/list_id", listed)

    return answers


def scope(members: int, departments: int, tags: int) -> Callable[[Wire], object]:
    return the_app(
        allow_userinfos={"user": [{"userid": f"u{number}"} for number in range(members)]},
        allow_partys={"partyid": list(range(1, departments + 1))},
        allow_tags={"tagid": list(range(1, tags + 1))},
    )


def people_of_departments(wire: Wire) -> None:
    wire.token()
    wire.get("department/simplelist", DEPARTMENTS)
    wire.get("user/simplelist", {**OK, "userlist": []}, department_id=2)
    members = [{"userid": "lilei", "name": "", "department": [5]}]
    wire.get("user/simplelist", {**OK, "userlist": members}, department_id=5)
    wire.get("user/get", {**MEMBER, "email": "", "gender": "1"}, userid="lilei")


def single_people(wire: Wire) -> None:
    """Answer for an app from before June 2022 that sees single people."""
    the_app(allow_userinfos={"user": [{"userid": "lilei"}]})(wire)
    wire.get("department/simplelist", NO_DEPARTMENTS)
    wire.get("user/get", {**MEMBER, **dict.fromkeys(RESTRICTED, "")}, userid="lilei")


def nobody(wire: Wire) -> None:
    the_app()(wire)
    wire.get("department/simplelist", NO_DEPARTMENTS)


ASSISTANT_SECRET = "contacts-secret-0123456789"
ROW = {"userid": "lilei", "department": 2}


def assistant_token(code: int) -> Callable[[Wire], object]:
    return lambda wire: wire.token(refusal(code), secret=ASSISTANT_SECRET)


def the_assistant(listed: object, member: object = None) -> Callable[[Wire], object]:
    """Answer for the contacts assistant. `listed` answers user/list_id: an error, or rows.

    After rows, departments and a member are answered too.
    """

    def answers(wire: Wire) -> None:
        wire.token(secret=ASSISTANT_SECRET)
        if not isinstance(listed, list):
            wire.post("user/list_id", listed)
            return
        wire.post("user/list_id", {**OK, "next_cursor": "", "dept_user": listed})
        wire.get("department/simplelist", {**OK, "department_id": [{"id": 1, "parentid": 0, "order": 1}]})
        if member is not None:
            wire.get("user/get", member, userid="lilei")

    return answers


WRONG_SECRET = "WeCom refuses the Secret: it is wrong, was reset, belongs to another company, or the app is disabled."
OF_ANOTHER = "The Secret belongs to another app than the AgentId."
APP = ("gettoken", "agent/get")
LISTED = (*APP, "user/list_id")
ASSISTED = ("gettoken", "user/list_id")
READ = (*ASSISTED, "department/simplelist")
ONE = {"departments": 1}
UNTIL = timezone.localtime(NOW + dt.timedelta(seconds=3601))
OUTCOMES = [
    Outcome("token", lambda wire: wire.token(), ("ok", "given", None)),
    Outcome("token", no_token(40001), ("wrong", "refused", 40001), says=WRONG_SECRET),
    Outcome("token", no_token(40013), ("wrong", "refused", 40013), says="The CorpId does not exist."),
    Outcome("token", no_token(40091), ("wrong", "refused", 40091), says="The Secret is not valid; it may belong to"),
    Outcome("token", no_token(-1), ("wrong", "refused", -1), says="WeCom is busy.", is_tried_again=True),
    Outcome("token", no_token(50003), ("wrong", "refused", 50003), says="The app is disabled.", is_tried_again=True),
    Outcome(
        *("token", no_token(45009), ("wrong", "held", 45009)),
        says=f"WeCom gives this server no token until about {UNTIL:%Y-%m-%d %H:%M}: ",
        where="Correct the Secret on the company's page",
    ),
    Outcome("agentid", the_app(), ("ok", "named", None), says="WeCom knows the app as “观远BI”.", asked=APP),
    Outcome("agentid", the_app(refusal(301002)), ("wrong", "other_app", 301002), says=OF_ANOTHER, asked=APP),
    Outcome("agentid", the_app(refusal(40056)), ("wrong", "other_app", 40056), says=OF_ANOTHER, asked=APP),
    Outcome("agentid", the_app({**AGENT, "agentid": 1000009}), ("wrong", "other_app", None), asked=APP),
    Outcome(
        *("agentid", no_app({**OK, "next_cursor": "", "dept_user": []}), ("wrong", "contacts_secret", 48002)),
        asked=LISTED,
    ),
    Outcome("agentid", no_app(refusal(48002)), ("wrong", "no_app", 48002), asked=LISTED),
    Outcome("app", the_app(close=0), ("ok", "enabled", None), asked=APP),
    Outcome("app", the_app(close=1), ("wrong", "disabled", None), is_tried_again=True, asked=APP),
    Outcome("app", no_token(50003), ("wrong", "disabled", 50003), is_tried_again=True),
    *(
        Outcome(
            *("scope", scope(*counts), (status, problem, None)),
            facts=dict(zip(("members", "departments", "tags"), counts, strict=True)),
            is_tried_again=status != "ok",
            asked=APP,
        )
        for counts, status, problem in (
            ((0, 2, 0), "ok", "seen"),
            ((1, 2, 0), "ok", "seen"),
            ((0, 0, 1), "ok", "seen"),
            ((3, 0, 0), "warning", "members_only"),
            ((0, 0, 0), "wrong", "empty"),
        )
    ),
    Outcome(
        *("contacts", people_of_departments, ("ok", "partly", None)),
        facts={"departments": 2, "withheld": "mobile, biz_mail, avatar, qr_code, address"},
        asked=("gettoken", "department/simplelist", "user/simplelist", "user/simplelist", "user/get"),
    ),
    Outcome(
        *("contacts", single_people, ("ok", "whole", None)),
        facts={"departments": 0, "withheld": ""},
        asked=("gettoken", "department/simplelist", "agent/get", "user/get"),
    ),
    Outcome("contacts", nobody, ("skipped", "nobody", None), asked=("gettoken", "department/simplelist", "agent/get")),
    # Contacts sync has its own Secret and list of addresses.
    Outcome("assistant", the_assistant([], None), ("ok", "reads", None), facts=ONE, asked=READ),
    Outcome("assistant", the_assistant([ROW], MEMBER), ("ok", "reads", None), facts=ONE, asked=(*READ, "user/get")),
    Outcome(
        *("assistant", the_assistant([ROW], refusal(48009)), ("ok", "ids_only", None)),
        facts=ONE,
        asked=(*READ, "user/get"),
    ),
    Outcome("assistant", assistant_token(40001), ("wrong", "secret_refused", 40001)),
    Outcome("assistant", assistant_token(40091), ("wrong", "secret_refused", 40091)),
    Outcome("assistant", assistant_token(40013), ("wrong", "refused", 40013)),
    Outcome("assistant", assistant_token(45009), ("wrong", "refused", 45009)),
    Outcome("assistant", assistant_token(-1), ("wrong", "refused", -1), is_tried_again=True),
    Outcome("assistant", the_assistant(refusal(48002)), ("wrong", "of_an_app", 48002), asked=ASSISTED),
    Outcome(
        "assistant", the_assistant(refusal(48009)), ("wrong", "refused", 48009), is_tried_again=True, asked=ASSISTED
    ),
    Outcome(
        "assistant", the_assistant(refusal(60031)), ("wrong", "refused", 60031), is_tried_again=True, asked=ASSISTED
    ),
    Outcome(
        *("assistant", the_assistant(refusal(60020)), ("wrong", "refused_ip", 60020)),
        facts={"address": CALLER_IP},
        is_tried_again=True,
        asked=ASSISTED,
        where="WeCom's console → Security and management",
    ),
    Outcome(
        *("assistant", lambda wire: wire.mock.get(f"{API}/gettoken", status=502), ("wrong", "unreachable", None)),
        is_tried_again=True,
    ),
]


@pytest.mark.parametrize("state", OUTCOMES, ids=lambda state: f"{state.check}-{state.found[1]}-{state.found[2]}")
def test_what_a_check_finds(corp: Corp, wire: Wire, state: Outcome) -> None:
    if state.check == "assistant":
        assert outcome_of(run_one(corp, "assistant")) == ("skipped", "none", None)
        corp.contacts_secret = ASSISTANT_SECRET
        corp.save()
    state.answers(wire)

    run = run_one(corp, state.check)

    assert outcome_of(run) == state.found
    assert state.facts is None or run.facts == state.facts
    said = checks.explain_run(run)
    assert said.what.startswith(state.says)
    assert said.where.startswith(state.where)
    assert (run.next_try_at is not None) == state.is_tried_again
    assert tuple(wire.paths()) == state.asked
    assert [body["limit"] for body in wire.sent] == [1] * state.asked.count("user/list_id")


def refused_token() -> FetchedToken:
    raise ConfigurationError("wrong", system="wecom", operation="gettoken", code=40001)


def test_the_secret_itself_is_tried_although_a_token_is_shared(corp: Corp, wire: Wire) -> None:
    token_store().get(CORPID, 1000002, lambda: FetchedToken("still good", 7200))
    wire.token(refusal(40001))

    assert run_one(corp, "token").status == "wrong"
    assert token_store().get(CORPID, 1000002, refused_token) == "still good"


def test_a_check_goes_by_no_token_that_another_process_has_forgotten(corp: Corp, wire: Wire) -> None:
    """Ignore a stale copy: the Secret was saved in a web process, and a worker caches tokens for a second."""
    token_store().get(CORPID, 1000002, lambda: FetchedToken("of the old Secret", 7200))
    of_another_process = _token_store.__wrapped__(settings.VALKEY_URL, "wecom")
    of_another_process.forget(CORPID, 1000002)
    wire.token()
    wire.agent()

    run_one(corp, "agentid")

    assert wire.paths() == ["gettoken", "agent/get"]


def test_a_given_token_ends_the_pause_after_a_wrong_secret(
    corp: Corp, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "SHARED_SECONDS", 0)  # it was refused some time ago
    with pytest.raises(ConfigurationError):
        token_store().get(CORPID, 1000002, refused_token)
    assert token_store().find_pause(CORPID, 1000002) is not None
    wire.token()

    run_one(corp, "token")

    assert token_store().find_pause(CORPID, 1000002) is None


@pytest.mark.parametrize(
    ("roots", "codes", "problem", "unknown", "outside"),
    [
        ([], {}, "all", None, None),
        ([2, 5], {}, "seen", "", ""),
        ([2, 9], {9: 60003}, "unknown", "9", ""),
        ([9], {9: 60123}, "unknown", "9", ""),
        ([7, 8], {7: 60011, 8: 60011}, "outside", "", "7, 8"),
        ([7, 9], {7: 60011, 9: 60003}, "both", "9", "7"),
    ],
)
def test_department_roots(
    corp: Corp, wire: Wire, roots: list[int], codes: dict[int, int], problem: str, unknown: str, outside: str
) -> None:
    Corp.objects.update(department_root_ids=roots)
    wire.token()
    wire.get("department/simplelist", DEPARTMENTS)
    for department, code in codes.items():
        wire.get("department/get", refusal(code), id=department)

    run = run_one(corp, "departments")

    assert (run.status, run.problem) == ("wrong" if codes else "ok", problem)
    assert (run.facts.get("unknown"), run.facts.get("outside")) == (unknown, outside)


@pytest.fixture
def with_assistant(corp: Corp) -> Corp:
    corp.contacts_secret = ASSISTANT_SECRET
    corp.save()
    return corp


def test_its_secret_is_nowhere_to_be_read(with_assistant: Corp, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    wire.token(
        refusal(40001, f"invalid credential {ASSISTANT_SECRET} corpsecret={ASSISTANT_SECRET}"), secret=ASSISTANT_SECRET
    )

    with caplog.at_level("DEBUG"):
        run_one(with_assistant, "assistant")

    assert ASSISTANT_SECRET not in str(list(CheckRun.objects.values()))
    assert ASSISTANT_SECRET not in export_text(with_assistant, now=NOW)
    assert ASSISTANT_SECRET not in caplog.text


def test_another_secret_drops_the_assistant_s_token_and_has_everything_checked_again(
    with_assistant: Corp, django_capture_on_commit_callbacks: Any
) -> None:
    token_store().get(CORPID, None, lambda: FetchedToken("of the old Secret", 7200))
    run = check_run(with_assistant, "assistant")
    with_assistant.contacts_secret = "another-secret-0123456789"

    with django_capture_on_commit_callbacks(execute=True):
        assert services.save_corp(corp=with_assistant, changed_fields={"contacts_secret"})

    assert token_store().get(CORPID, None, lambda: FetchedToken("new", 7200)) == "new"
    assert not checks.is_current(run, with_assistant)


def send(corp: Corp, userid: str = "LiLei") -> CheckRun:
    checks.request_test_message(corp=corp, userid=userid, now=NOW)
    run = CheckRun.objects.get(check_name="message")
    carry_out(run, clock=lambda: NOW)
    run.refresh_from_db()
    return run


def test_a_message_to_the_chosen_person_with_its_receipt(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.post("message/send", {**OK, "msgid": "m1"})

    run = send(corp)
    again = send(corp)

    assert outcome_of(run) == outcome_of(again) == ("ok", "accepted", None)
    assert run.facts == {"to": "LiLei", "msgid": "m1"}
    sent, second = wire.sent
    assert sent["text"]["content"] != second["text"]["content"]  # WeCom drops identical messages
    assert (sent["touser"], sent["agentid"], sent["msgtype"]) == ("LiLei", 1000002, "text")
    assert "toparty" not in sent


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({**OK, "msgid": "m1", "invaliduser": "lilei"}, ("wrong", "nobody", None)),
        (refusal(81013, "user & party & tag all invalid"), ("wrong", "nobody", 81013)),
        ({**OK, "msgid": "m1", "unlicenseduser": "lilei"}, ("wrong", "unlicensed", None)),
        ({**refusal(81013), "unlicenseduser": "lilei"}, ("wrong", "unlicensed", 81013)),
        (refusal(40201, "content blocked"), ("wrong", "refused", 40201)),
        ({**OK, "errmsg": "ok. Warning: wrong json format. ", "msgid": "m1"}, ("warning", "with_warning", None)),
        (refusal(-1, "system busy"), ("warning", "unclear", -1)),
        (refusal(48002, "api forbidden"), ("wrong", "refused", 48002)),
        (refusal(60020), ("wrong", "refused", 60020)),
    ],
)
def test_what_becomes_of_a_message(corp: Corp, wire: Wire, answer: dict[str, Any], outcome: tuple[Any, ...]) -> None:
    wire.token()
    wire.post("message/send", answer)

    run = send(corp)

    assert outcome_of(run) == outcome
    assert run.next_try_at is None
    assert len(wire.sent) == 1
