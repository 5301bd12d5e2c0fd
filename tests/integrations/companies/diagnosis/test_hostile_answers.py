"""Whatever answers in WeCom's place, a run ends with something that a row, a page and an export can hold."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from integrations.companies.diagnosis import runner
from integrations.companies.diagnosis.results import export_text
from integrations.models import CheckRun, Corp
from tests.integrations.companies.diagnosis.wire import Wire
from tests.integrations.diagnosing import NOW, run_one

pytestmark = pytest.mark.django_db
NASTY = "a\x00b\ud800c\u202ed" + "x" * 5000
READ_THE_APP = ("agentid", "app", "scope", "domain", "home_page")


@pytest.mark.parametrize("name", READ_THE_APP)
def test_characters_that_no_table_takes_are_left_out(corp: Corp, wire: Wire, name: str) -> None:
    wire.token()
    users, parties = {"user": [{"userid": NASTY}]}, {"partyid": [10**30]}
    wire.agent(
        name=NASTY, redirect_domain=NASTY, home_url=f"https://{NASTY}", allow_userinfos=users, allow_partys=parties
    )

    run = run_one(corp, name)

    assert run.status in {"ok", "wrong"}
    assert run.problem != "crashed"
    assert "x\x00" not in export_text(corp, now=NOW)


@pytest.mark.parametrize("code", [2**31, -(2**31) - 1, 10**30])
def test_a_number_that_no_column_takes_is_told_in_the_detail(corp: Corp, wire: Wire, code: int) -> None:
    wire.token()
    wire.agent({"errcode": code, "errmsg": NASTY})

    run = run_one(corp, "app")

    assert (run.status, run.problem, run.errcode) == ("wrong", "not_wecom", None)
    assert str(code) in run.detail
    assert len(run.detail) <= 1000
    assert str(code) in export_text(corp, now=NOW)


@pytest.mark.parametrize(
    "answer",
    [
        {"errcode": 0, "errmsg": "ok", "msgid": NASTY},
        {"errcode": 0, "errmsg": "ok", "msgid": NASTY, "unlicenseduser": f"lilei|{NASTY}"},
        {"errcode": 0, "errmsg": f"Warning: {NASTY}", "msgid": NASTY},
        {"errcode": 10**20, "errmsg": NASTY},
    ],
)
def test_a_receipt_of_such_characters_is_kept_as_far_as_possible(corp: Corp, wire: Wire, answer: Any) -> None:
    wire.token()
    wire.post("message/send", answer)
    run = runner.request_test_message(corp=corp, userid="lilei", now=NOW)

    runner.carry_out(run_id=run.pk, clock=lambda: NOW + dt.timedelta(seconds=1))

    run.refresh_from_db()
    assert run.status in {"ok", "warning", "wrong"}
    assert run.problem != "crashed"
    assert len(wire.sent) == 1
    assert CheckRun.objects.unfinished().count() == 0
    assert len(str(run.facts)) < 1000
