"""The diagnosis against a real sandbox, in each broken state in turn: its cause is named, and gone once put right."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from integrations.clients.wecom import tokens
from integrations.companies import links, services
from integrations.companies.diagnosis import results, runner
from integrations.models import CheckRun, Corp, SiteAddress
from tests.integrations.diagnosing import run_one
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company

pytestmark = pytest.mark.django_db


@pytest.fixture
def connected(running_sandbox: SandboxHandle) -> Corp:
    """A corp whose console in the sandbox is as it should be."""
    corp = Corp.objects.create(
        name="北山制造", corpid=CORPID, agentid=AGENTID, secret=SECRET, api_base_url=running_sandbox.base_url
    )
    SiteAddress.objects.filter(is_default=True).update(url="https://bi.example.com/")
    values = company()
    right = {"home_url": links.home_page_link(corp), "trusted_domain": "bi.example.com"}
    values["apps"] = [{**values["apps"][0], **right}]
    running_sandbox.load({"companies": [values]})
    return corp


def whole(corp: Corp) -> dict[str, CheckRun]:
    """Every check, with all that its result sets free."""
    waiting = [run.pk for run in runner.request_checks(corp=corp, checks=None, now=timezone.now())]
    while waiting:
        waiting += runner.carry_out(run_id=waiting.pop(0), clock=timezone.now)
    return results.find_latest_runs(corp)


def change_app(sandbox: SandboxHandle, **values: object) -> None:
    sandbox.control("PATCH", f"companies/{CORPID}/apps/{AGENTID}", values)


def test_a_company_in_order_is_in_order_and_can_be_enabled(connected: Corp) -> None:
    runs = whole(connected)

    assert {name: (run.status, run.problem) for name, run in runs.items()} == {
        "network": ("ok", "reached"),
        "proxy": ("skipped", "none"),
        "certificate": ("skipped", "not_encrypted"),
        "clock": ("ok", "right"),
        "token": ("ok", "given"),
        "ip": ("ok", "accepted"),
        "agentid": ("ok", "named"),
        "app": ("ok", "enabled"),
        "scope": ("ok", "seen"),
        "domain": ("ok", "equal"),
        "home_page": ("ok", "equal"),
        "verification_file": ("skipped", "no_file"),
        "ownership": ("skipped", "unknown"),
        "callback": ("skipped", "no_keys"),
        "contacts": ("ok", "partly"),
        "assistant": ("skipped", "none"),
        "departments": ("ok", "all"),
    }
    assert results.health_by_corp([connected])[connected.pk].tone == "good"
    assert services.reasons_against_enabling(connected, now=timezone.now()) == []


# What no other test shows on the company's page (test_broken_states.py).
BROKEN: list[tuple[str, dict[str, Any], str, tuple[str, str, int | None]]] = [
    ("trusted_ips", {"trusted_ips": []}, "app", ("skipped", "blocked", 60020)),
    ("disabled", {"disabled": True}, "app", ("wrong", "disabled", 50003)),
    ("trusted_domain", {"trusted_domain": ""}, "domain", ("wrong", "missing", None)),
]


@pytest.mark.parametrize(("field", "broken", "name", "outcome"), BROKEN)
def test_a_broken_console_is_named_and_putting_it_right_turns_the_check_green(
    connected: Corp,
    running_sandbox: SandboxHandle,
    field: str,
    broken: dict[str, Any],
    name: str,
    outcome: tuple[str, str, int | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "SHARED_SECONDS", 0)  # somebody needs a while to put it right
    before = running_sandbox.control("GET", f"companies/{CORPID}")["apps"][0][field]
    change_app(running_sandbox, **broken)

    run = run_one(connected, name)

    assert (run.status, run.problem, run.errcode) == outcome
    change_app(running_sandbox, **{field: before})
    assert whole(connected)[name].status == "ok"


def test_the_test_message_is_on_the_phone_once(connected: Corp, running_sandbox: SandboxHandle) -> None:
    run = runner.request_test_message(corp=connected, userid="lilei", now=timezone.now())
    runner.carry_out(run_id=run.pk, clock=timezone.now)
    runner.carry_out(run_id=run.pk, clock=timezone.now)

    (message,) = running_sandbox.messages(CORPID, "LiLei")
    assert str(run.pk) in message["text"]["content"]
    run.refresh_from_db()
    assert (run.status, run.facts["msgid"]) == ("ok", message["msgid"])


def test_the_command_tells_all_of_it_and_where_asked_ends_badly(
    connected: Corp, running_sandbox: SandboxHandle, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("diagnose", strict=True)
    assert "[in order] Trusted IP (ip)" in capsys.readouterr().out

    change_app(running_sandbox, scope={})

    with pytest.raises(CommandError, match="北山制造"):
        call_command("diagnose", corp=connected.pk, strict=True)
    assert "[wrong] Visible scope (scope)" in capsys.readouterr().out
    call_command("diagnose", verbosity=0)
    assert capsys.readouterr().out == ""
    with pytest.raises(CommandError, match="no such company"):
        call_command("diagnose", corp=connected.pk + 1)
