"""The diagnosis on the corp's page: started, followed, copied and exported, by those who may."""

import datetime as dt
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from integrations.companies.diagnosis import checks
from integrations.companies.diagnosis.checks import ALL_BUT_MESSAGE, CHECKS
from integrations.jobs.registry import LONG_WAIT
from integrations.models import CheckRun, Corp, Job
from tests.integrations.diagnosing import carry_out, check_run, checks_waiting, pass_checks, queued

pytestmark = pytest.mark.django_db
JSON = {"accept": "application/json"}


def url(corp: Corp, end: str = "") -> str:
    return f"/admin/integrations/corp/{corp.pk}/diagnosis/{end}"


def answer(client: Client, corp: Corp) -> dict[str, Any]:
    response = client.get(url(corp))
    assert response.status_code == 200
    return dict(response.json())


def row(client: Client, corp: Corp, name: str) -> str:
    return next(str(one["html"]) for one in answer(client, corp)["rows"] if one["name"] == name)


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def test_all_checks_are_started_by_one_job(
    admin_client: Client, corp: Corp, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    assert admin_client.get(url(corp, "run/")).status_code == admin_client.get(url(corp, "message/")).status_code == 405
    with django_capture_on_commit_callbacks(execute=True):
        response = admin_client.post(url(corp, "run/"), headers=JSON)
        without_script = admin_client.post(url(corp, "run/"))  # a second click adds nothing

    assert without_script["Location"] == f"/admin/integrations/corp/{corp.pk}/change/#diagnosis"
    assert {arguments[0] for _name, arguments in queued()} == {Job.objects.get().pk}
    runs = list(CheckRun.objects.order_by("pk"))
    assert [run.check_name for run in runs] == list(ALL_BUT_MESSAGE)
    assert checks_waiting() == [run.pk for run in runs]
    told = response.json()
    assert (told["next_ms"], told["notes"]) == (1000, [])
    assert [one["name"] for one in told["rows"]] == list(CHECKS)


def test_the_connection_s_result_stands_beside_its_button_with_reason_and_remedy(
    admin_client: Client, corp: Corp
) -> None:
    """Show that the way to WeCom needs a proxy, which is not set: nothing answers at the address."""
    assert answer(admin_client, corp)["parts"]["token-result"] == ""
    check_run(corp, "network", status="wrong", problem="tcp", facts={})
    check_run(corp, "token", problem="given")
    given = text(answer(admin_client, corp)["parts"]["token-result"])
    assert given.endswith("WeCom gives a token for this CorpId and Secret.")
    for name in CHECKS:
        check_run(corp, name)
    Corp.objects.update(is_enabled=True, api_base_url="http://127.0.0.1:1")
    page = admin_client.get(f"/admin/integrations/corp/{corp.pk}/change/").content.decode()
    form = page.partition('class="step-test"')[2].partition("</form>")[0]
    asked = re.findall(r'name="check" value="(\w+)"', form)

    admin_client.post(url(corp, "run/"), {"check": asked}, headers=JSON)
    running = text(answer(admin_client, corp)["parts"]["token-result"])
    for run in CheckRun.objects.filter(status="waiting"):
        carry_out(run)

    said = text(answer(admin_client, corp)["parts"]["token-result"])
    assert (asked, running) == (["network", "token"], "waiting")
    assert 'id="token-result"' in page
    assert "127.0.0.1 (127.0.0.1) does not take a connection at port 1: " in said
    assert said.startswith("failed 20")
    assert said.endswith("More in the guides") or "in the firewall, or set a proxy." in said


@pytest.mark.parametrize("name", ["message", "nothing", "token'"])
def test_what_is_no_check_is_refused(admin_client: Client, corp: Corp, name: str) -> None:
    assert admin_client.post(url(corp, "run/"), {"check": name}).status_code == 400
    assert not CheckRun.objects.exists()


def test_the_answer_follows_what_is_found(
    admin_client: Client, corp: Corp, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    never = answer(admin_client, corp)
    assert (never["next_ms"], text(never["summary"])) == (0, f"waiting not tried {len(CHECKS)}")
    assert "waiting not tried Token Fetches a token with the saved CorpId and Secret. Check" in text(
        never["rows"][4]["html"]
    )
    assert "Not checked, or not since the last change" in never["reasons"]
    assert "not enabled yet" in never["state"]

    states = {
        "token": ("ok", "good", "in order"),
        "ip": ("warning", "warn", "waiting"),
        "agentid": ("skipped", "next", "waiting"),
        "app": ("running", "busy", "in progress"),
        "scope": ("waiting", "next", "waiting"),
    }
    for _number in range(10):
        for name, (status, _tone, _word) in states.items():
            check_run(corp, name, status)
    Corp.objects.update(connection_version=2, is_enabled=True)
    with django_assert_max_num_queries(40):  # for any number of runs
        told = answer(admin_client, corp)
    rows = {row["name"]: row["html"] for row in told["rows"]}

    assert (told["next_ms"], text(told["reasons"])) == (1000, "")
    for name, (_status, tone, word) in states.items():
        assert f'class="pill pill-{tone}">{word}<' in rows[name]
    assert "Something was changed after this: check again." in rows["token"]


def test_a_run_that_no_worker_takes_is_said(admin_client: Client, corp: Corp) -> None:
    check_run(corp, "token", "waiting", requested_at=timezone.now(), finished_at=None)
    Job.objects.create(kind=checks.DIAGNOSIS, key=str(corp.pk), requested_at=timezone.now(), due_at=timezone.now())
    assert "worker" not in row(admin_client, corp, "token").lower()

    Job.objects.update(due_at=timezone.now() - LONG_WAIT)

    assert "No worker has answered" in row(admin_client, corp, "token")
    assert answer(admin_client, corp)["next_ms"] == 1000


def test_a_refused_address_has_all_that_is_needed(admin_client: Client, corp: Corp) -> None:
    facts = {"addresses": ["203.0.113.9", "203.0.113.10"], "copied": "203.0.113.9;203.0.113.10"}
    columns = {"errcode": 60020, "hint": "123", "caller_ip": "203.0.113.9", "detail": "no", "try_count": 3}
    soon, bad = timezone.now() + dt.timedelta(seconds=20), '"><script>alert(1)</script>'
    check_run(corp, "ip", "wrong", problem="refused_ip", facts=facts, next_try_at=soon, **columns)
    check_run(corp, "home_page", "wrong", problem="other", facts={"theirs": bad, "ours": bad}, detail=bad, hint=bad)
    check_run(corp, "ownership", "wrong", problem="unverified", facts={})

    told = answer(admin_client, corp)

    rows = {row["name"]: row["html"] for row in told["rows"]}
    html, broken = rows["ip"], rows["home_page"]
    for link in ("help2/pc/15023?person_id=1", "wwopen/common/readDocument/40754"):  # pages of WeCom that explain it
        assert f'{link}" target="_blank"' in rows["ownership"]
    assert "<script" not in broken
    assert "&lt;script&gt;" in broken
    assert told["next_ms"] == 3000  # the page polls on while another try is planned
    assert f"Tried 3 times; again by itself at {timezone.localtime(soon):%H:%M:%S}." in text(html)
    assert "beat" not in html

    assert 'class="pill pill-bad">failed<' in html
    assert re.search(r'id="check-ip-copied"[^>]*value="203.0.113.9;203.0.113.10"', html)
    assert 'data-copy="check-ip-copied"' in html
    assert 'value="check ip; problem refused_ip; errcode 60020; no; hint 123; ip 203.0.113.9"' in html
    for heading in ("Who can fix it", "Where", "Technical detail"):
        assert heading in html
    assert '<time datetime="2026-03-02' in html
    CheckRun.objects.update(next_try_at=timezone.now() - dt.timedelta(seconds=91))
    assert "Check that the beat process runs." in row(admin_client, corp, "ip")


def test_a_message_goes_to_the_person_who_was_typed_and_into_the_history(
    admin_client: Client, corp: Corp, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(url(corp, "message/"), {"userid": " LiLei\u200b"}, headers=JSON)

    run = CheckRun.objects.get()
    assert (run.check_name, run.subject, run.status) == ("message", "LiLei", "waiting")
    assert checks_waiting() == [run.pk]
    assert LogEntry.objects.get().get_change_message() == "Test message to LiLei."


@pytest.mark.parametrize("userid", ["", "@all", "a|b", "x" * 65, "长" * 22])
def test_a_message_to_nobody_or_many_is_refused_with_a_sentence(admin_client: Client, corp: Corp, userid: str) -> None:
    response = admin_client.post(url(corp, "message/"), {"userid": userid}, headers=JSON)

    assert response.json()["notes"] == ["Type the WeCom account of one person."]
    assert not CheckRun.objects.exists()
    assert not LogEntry.objects.exists()


def test_the_diagnosis_is_downloaded_as_text(admin_client: Client, corp: Corp) -> None:
    pass_checks(corp)

    response = admin_client.get(url(corp, "export/"))

    assert response["Content-Type"] == "text/plain; charset=utf-8"
    pattern = rf'attachment; filename="guanwecom-diagnosis-{corp.pk}-\d{{8}}-\d{{6}}\.txt"'
    assert re.fullmatch(pattern, response["Content-Disposition"])
    assert "[in order] Token (token)" in response.content.decode()
    assert "the-secret" not in response.content.decode()
