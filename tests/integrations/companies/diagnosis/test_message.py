"""The test message: sent once to one person, with its receipt."""

from __future__ import annotations

from typing import Any

import pytest

from integrations.clients.wecom.builders import MessageError
from integrations.companies.diagnosis import runner
from integrations.models import CheckRun, Corp
from tests.integrations.companies.diagnosis.wire import Wire, refusal
from tests.integrations.diagnosing import NOW, outcome_of

pytestmark = pytest.mark.django_db
OK = {"errcode": 0, "errmsg": "ok"}


def send(corp: Corp, userid: str = "LiLei") -> CheckRun:
    run = runner.request_test_message(corp=corp, userid=userid, now=NOW, requested_by="root")
    runner.carry_out(run_id=run.pk, clock=lambda: NOW)
    run.refresh_from_db()
    return run


def test_a_message_to_the_chosen_person_with_its_receipt(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.post("message/send", {**OK, "msgid": "m1"})

    run = send(corp)

    assert outcome_of(run) == ("ok", "accepted", None)
    assert run.facts == {"to": "LiLei", "msgid": "m1"}
    (sent,) = wire.sent
    assert (sent["touser"], sent["agentid"], sent["msgtype"]) == ("LiLei", 1000002, "text")
    assert f"{run.pk}" in sent["text"]["content"]
    assert "toparty" not in sent


def test_two_messages_are_never_the_same_which_wecom_would_drop(corp: Corp, wire: Wire) -> None:
    wire.token()
    wire.post("message/send", {**OK, "msgid": "m1"})

    send(corp)
    send(corp)

    first, second = wire.sent
    assert first["text"]["content"] != second["text"]["content"]


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
        (refusal(60020), ("skipped", "blocked", 60020)),
    ],
)
def test_what_becomes_of_a_message(corp: Corp, wire: Wire, answer: dict[str, Any], outcome: tuple[Any, ...]) -> None:
    wire.token()
    wire.post("message/send", answer)

    run = send(corp)

    assert outcome_of(run) == outcome
    assert run.next_try_at is None
    assert len(wire.sent) == 1


@pytest.mark.parametrize("userid", ["@all", "", " ", "a|b", " a", "x" * 65, "长" * 22])
def test_a_message_goes_to_one_person_only(corp: Corp, userid: str) -> None:
    with pytest.raises(MessageError):
        runner.request_test_message(corp=corp, userid=userid, now=NOW)

    assert not CheckRun.objects.exists()
