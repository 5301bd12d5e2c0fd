"""Writing into WeCom: read, shown, confirmed, written, and what stops it. Answers come over the wire."""

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from django.db import connection, transaction

from accounts.models import User
from integrations.clients.errors import ConfigurationError
from integrations.companies import console, links
from integrations.companies.console import WriteKind
from integrations.companies.diagnosis import checks
from integrations.companies.diagnosis.console import note_domain_answer
from integrations.models import CheckRun, Corp, Job, SiteAddress
from tests.jobs import do_jobs
from tests.wecom import AGENTID, CALLER_IP, CORPID, SECRET, WeComAnswers, fixture, wecom_answers

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)
SETTINGS, MENU = WriteKind.SETTINGS, WriteKind.MENU
AGENT = {"agentid": str(AGENTID)}


@pytest.fixture
def corp(db: None) -> Corp:
    SiteAddress.objects.update_or_create(is_default=True, defaults={"url": "https://bi.example.com/"})
    return Corp.objects.create(name="北山制造", corpid=CORPID, agentid=AGENTID, secret=SECRET)


@pytest.fixture
def wecom() -> Iterator[WeComAnswers]:
    with wecom_answers() as answers:
        answers.gives("gettoken")
        yield answers


def in_wecom(wecom: WeComAnswers, **values: str) -> None:
    wecom.says("agent_get", {**fixture("agent_get"), **values}, params=AGENT)


def ask(corp: Corp, kind: WriteKind = SETTINGS) -> Job:
    return console.request_preview(corp=corp, kind=kind, by=User(username="root"), now=NOW)


def step(write: Job) -> Job:
    do_jobs(console.WRITE)
    write.refresh_from_db()
    return write


def confirm(preview: Job) -> Job:
    write = console.confirm_write(preview=preview, by=User(username="second"), now=NOW)
    assert write is not None
    return write


def changes(preview: Job) -> dict[str, tuple[Any, Any]]:
    return {change["name"]: (change["before"], change["after"]) for change in preview.result["changes"]}


def test_home_page_and_domain_are_read_shown_confirmed_and_written(corp: Corp, wecom: WeComAnswers) -> None:
    home_page = links.build_home_page_link(corp)
    in_wecom(wecom)

    preview = step(ask(corp))

    assert changes(preview) == {
        "home_url": ("https://portal.example.com/m", home_page),
        "redirect_domain": ("portal.example.com", "bi.example.com"),
    }

    in_wecom(wecom)
    wecom.gives("agent_set", body={"agentid": AGENTID, "redirect_domain": "bi.example.com", "home_url": home_page})
    write = step(confirm(preview))

    assert (write.status, write.problem, write.asked_by) == ("done", "", "second")
    assert write.payload["requested_by"] == "root"
    assert checks.find_latest_runs(corp)["ownership"].problem == "accepted"


def test_only_what_differs_is_sent_once(corp: Corp, wecom: WeComAnswers) -> None:
    in_wecom(wecom, redirect_domain="bi.example.com", home_url="https://portal.example.com/\x00m\u200b")
    write = step(ask(corp))
    assert changes(write) == {"home_url": ("https://portal.example.com/m", links.build_home_page_link(corp))}
    assert console.awaits_confirmation(step(write))  # an unexpected call would fail the test
    in_wecom(wecom, redirect_domain="bi.example.com")
    wecom.gives("agent_set", body={"agentid": AGENTID, "home_url": links.build_home_page_link(corp)})

    assert step(confirm(write)).status == "done"
    assert not console.confirm_write(preview=write, by=User(username="x"), now=NOW)
    # The affected checks run again.
    assert sorted(CheckRun.objects.values_list("check_name", flat=True)) == ["domain", "home_page"]


def test_one_that_went_through_before_its_worker_failed_is_done_when_it_is_tried_again(
    corp: Corp, wecom: WeComAnswers
) -> None:
    in_wecom(wecom)
    write = confirm(step(ask(corp)))
    in_wecom(wecom, redirect_domain="bi.example.com", home_url=links.build_home_page_link(corp))

    assert (step(write).status, write.problem) == ("done", "")


@pytest.mark.django_db(transaction=True)
def test_a_preview_asked_for_at_once_does_not_replace_the_confirmed_change(corp: Corp, wecom: WeComAnswers) -> None:
    in_wecom(wecom)
    preview, found = step(ask(corp)), []

    def ask_again() -> None:
        found.append(ask(corp))
        connection.close()

    other = threading.Thread(target=ask_again)
    with transaction.atomic():
        write = confirm(preview)
        other.start()
        other.join(0.3)
        assert other.is_alive()
    other.join()

    assert found == [write]
    assert "changes" in Job.objects.get(pk=write.pk).payload


def test_where_nobody_signs_in_the_domain_is_left_alone_and_the_menu_has_plain_addresses(
    corp: Corp, wecom: WeComAnswers
) -> None:
    corp.sign_in_enabled = False
    corp.save()
    in_wecom(wecom)
    wecom.refuses("menu_get", 46003)

    assert changes(step(ask(corp))) == {"home_url": ("https://portal.example.com/m", "https://bi.example.com/login/")}
    before, after = changes(step(ask(corp, MENU)))["menu"]  # the app has no menu
    assert (before, [entry["url"] for entry in after]) == ([], ["https://bi.example.com/login/"])


def test_a_refused_domain_is_written_again_although_wecom_has_it_by_now(corp: Corp, wecom: WeComAnswers) -> None:
    """Write what somebody typed there, because only WeCom's answer to a write tells whether the owner is verified."""
    refusal = ConfigurationError("not verified", system="wecom", operation="agent_set", code=85005)
    note_domain_answer(corp=corp, error=refusal, now=NOW)
    right = {"redirect_domain": "bi.example.com", "home_url": links.build_home_page_link(corp)}
    in_wecom(wecom, **right)

    write = step(ask(corp))

    assert changes(write) == {"redirect_domain": ("bi.example.com", "bi.example.com")}
    in_wecom(wecom, **right)
    wecom.gives("agent_set", body={"agentid": AGENTID, "redirect_domain": "bi.example.com"})
    assert step(confirm(write)).status == "done"
    assert checks.find_latest_runs(corp)["ownership"].problem == "accepted"
    in_wecom(wecom, **right)
    assert step(ask(corp)).result == {"changes": []}


def test_what_is_right_already_needs_nobody_s_confirmation(corp: Corp, wecom: WeComAnswers) -> None:
    in_wecom(wecom, redirect_domain="bi.example.com", home_url=links.build_home_page_link(corp))

    write = step(ask(corp))

    assert (write.status, write.result) == ("done", {"changes": []})
    assert not console.confirm_write(preview=write, by=User(username="x"), now=NOW)


def test_the_menu_is_replaced_by_links_that_sign_in(corp: Corp, wecom: WeComAnswers) -> None:
    wecom.gives("menu_get", params=AGENT)
    expected = [{"type": "view", "name": "首页", "url": links.build_home_page_link(corp)}]

    write = step(ask(corp, MENU))

    assert changes(write) == {
        "menu": ([{"type": "view", "name": "首页", "url": "https://portal.example.com/m"}], expected)
    }
    wecom.gives("menu_get", params=AGENT)
    wecom.gives("menu_create", params=AGENT, body={"button": expected})
    assert step(confirm(write)).status == "done"
    theirs = [{**entry, "key": "", "sub_button": []} for entry in expected]  # empty fields are no difference
    wecom.says("menu_get", {"errcode": 0, "errmsg": "ok", "button": theirs}, params=AGENT)
    assert step(ask(corp, MENU)).status == "done"


@pytest.mark.parametrize(
    ("theirs", "ours", "address", "problem", "what"),
    [
        (
            {"home_url": "https://somebody.example.com/"},
            {},
            "",
            "changed",
            "Somebody changed the settings in WeCom after",
        ),
        (None, {}, "https://new.example.com/", "outdated", "The values of this site changed after the preview"),
        (None, {"sign_in_enabled": False}, "", "outdated", "The values of this site changed after the preview"),
    ],
)
def test_what_changed_after_the_preview_stops_it(
    corp: Corp,
    wecom: WeComAnswers,
    theirs: dict[str, str] | None,
    ours: dict[str, bool],
    address: str,
    problem: str,
    what: str,
) -> None:
    in_wecom(wecom)
    write = step(ask(corp))
    Corp.objects.filter(pk=corp.pk).update(**ours) if ours else None
    SiteAddress.objects.update(url=address) if address else None
    if theirs is not None:
        in_wecom(wecom, **theirs)

    write = step(confirm(write))

    assert (write.status, write.problem) == ("failed", problem)
    assert console.explain_write(write).what.startswith(what)


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (85005, "The ownership of the trusted domain is not verified."),
        (85008, "The trusted domain has no ICP filing."),
        (45009, "Too many calls"),  # nothing is looked up: an unexpected call would fail the test
    ],
)
def test_what_wecom_refuses_to_write_is_explained(corp: Corp, wecom: WeComAnswers, code: int, what: str) -> None:
    in_wecom(wecom)
    write = step(ask(corp))
    in_wecom(wecom)
    wecom.refuses("agent_set", code)

    write = step(confirm(write))

    assert (write.status, write.problem, write.facts["errcode"]) == ("failed", "refused", code)
    assert console.explain_write(write).what.startswith(what)
    judged = checks.find_latest_runs(corp).get("ownership")
    assert (judged.problem if judged else "") == {85005: "unverified", 85008: "no_filing"}.get(code, "")


def test_nothing_is_planned_where_wecom_is_not_reached(corp: Corp) -> None:
    with wecom_answers() as wecom:
        wecom.sends("gettoken", requests.ConnectionError())
        write = step(ask(corp))

    assert (write.status, write.problem) == ("failed", "unreachable")


def test_what_cannot_be_read_plans_nothing(corp: Corp, wecom: WeComAnswers) -> None:
    wecom.refuses("agent_get", 60020)
    refused = step(ask(corp))
    wecom.says("agent_get", {"errcode": 2**70, "errmsg": "?"}, params=AGENT)
    strange = step(ask(corp))

    assert (refused.status, refused.problem) == ("failed", "refused")
    assert (refused.facts["errcode"], refused.facts["caller_ip"]) == (60020, CALLER_IP)
    assert (strange.problem, strange.facts["errcode"]) == ("not_wecom", None)
    assert str(2**70) in strange.facts["message"]


def test_a_lost_answer_is_looked_up_and_nothing_is_written_again(corp: Corp, wecom: WeComAnswers) -> None:
    ours = {"home_url": links.build_home_page_link(corp), "redirect_domain": "bi.example.com"}
    found: tuple[tuple[Callable[[], None], tuple[str, str]], ...] = (
        (lambda: in_wecom(wecom, **ours), ("done", "")),
        (lambda: in_wecom(wecom), ("failed", "unclear")),
        (lambda: wecom.refuses("agent_get", 60020), ("failed", "unclear")),
    )
    for look_up, outcome in found:
        in_wecom(wecom)
        write = step(ask(corp))
        in_wecom(wecom)
        wecom.sends("agent_set", requests.ReadTimeout())
        look_up()

        write = step(confirm(write))

        assert (write.status, write.problem) == outcome
    assert write.facts["errcode"] == 60020
    assert console.explain_write(write).what == ("WeCom did not confirm the change: it may have been written, or not.")


def test_a_value_that_wecom_would_not_take_ends_it_and_is_named(corp: Corp, wecom: WeComAnswers) -> None:
    Corp.objects.update(domain_id="域" * 128)
    wecom.refuses("menu_get", 46003)
    write = step(ask(corp, MENU))
    wecom.refuses("menu_get", 46003)

    write = step(confirm(write))

    assert (write.status, write.problem) == ("failed", "wrong_setting")
    assert write.facts["message"].startswith("button[0].url: ")
    assert write.facts["message"].endswith(" bytes of UTF-8, at most 1024")


def test_a_second_click_shows_the_preview_under_way_unless_its_job_failed(corp: Corp) -> None:
    first = ask(corp)

    assert ask(corp) == first
    assert ask(corp, MENU) != first
    Job.objects.update(status="failed")
    assert ask(corp) != first


def test_a_write_whose_worker_died_is_read_back_first(corp: Corp, wecom: WeComAnswers) -> None:
    """Find the old values and write again, then find the new ones, then others."""
    in_wecom(wecom)
    ours = {name: after for name, (_before, after) in changes(step(ask(corp))).items()}
    found = []
    wecom.gives("agent_set")
    for theirs in ({}, ours, {"home_url": "https://elsewhere.example.com/"}):
        in_wecom(wecom)
        write = confirm(step(ask(corp)))
        Job.objects.filter(pk=write.pk).update(try_count=1)
        in_wecom(wecom, **theirs)
        found.append((step(write).status, write.problem))

    assert found == [("done", ""), ("done", ""), ("failed", "unclear")]
    assert sum("/agent/set" in str(call.url) for call in wecom.calls) == 1
