"""Reports of what the Content-Security-Policy refused: one line in the log, whatever is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from accounts.views import csp_reports
from integrations.core.csp import REPORTS_PATH

pytestmark = pytest.mark.django_db
PAGE = "http://testserver/admin/integrations/corp/7/change/?token=not-for-a-log"


def old_report(**values: str) -> dict[str, Any]:
    """As Chromium and Firefox send it to a report-uri."""
    report = {"effective-directive": "script-src-elem", "blocked-uri": "https://evil.example.test/x.js?s=secret"}
    return {"csp-report": {**report, "document-uri": PAGE, **values}}


def new_report() -> dict[str, Any]:
    """As Chromium sends it to a report-to, several at once."""
    body = {"effectiveDirective": "style-src-attr", "blockedURL": "inline", "documentURL": PAGE}
    return {"type": "csp-violation", "age": 5, "url": PAGE, "body": body}


def send(document: Any, **extra: Any) -> int:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Client().post(REPORTS_PATH, body, content_type="application/csp-report", **extra).status_code


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == csp_reports.__name__]


def test_a_report_is_a_line_without_paths_and_queries(caplog: pytest.LogCaptureFixture) -> None:
    assert send(old_report()) == 204
    assert send([new_report()]) == 204

    page = "/admin/integrations/corp/<path:object_id>/change/"
    assert lines(caplog) == [
        f"content policy: script-src-elem refused https://evil.example.test on {page}",
        f"content policy: style-src-attr refused inline on {page}",
    ]


def test_the_same_again_is_no_second_line(caplog: pytest.LogCaptureFixture) -> None:
    assert [send(old_report()) for _ in range(5)] == [204] * 5

    assert len(lines(caplog)) == 1


def test_many_kinds_are_so_many_lines_at_most(caplog: pytest.LogCaptureFixture) -> None:
    for number in range(csp_reports.LINES_AT_MOST + 5):
        assert send(old_report(**{"blocked-uri": f"https://host{number}.example.test/"})) == 204

    assert len(lines(caplog)) == csp_reports.LINES_AT_MOST


def test_one_address_is_held_back(caplog: pytest.LogCaptureFixture) -> None:
    statuses = [send(old_report()) for _ in range(csp_reports.REPORTS_PER_ADDRESS + 1)]

    assert statuses == [204] * csp_reports.REPORTS_PER_ADDRESS + [429]
    assert send(old_report(), REMOTE_ADDR="198.51.100.7") == 204


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"blocked-uri": f"https://{'a' * 9000}.test"}, "script-src-elem refused other"),
        ({"effective-directive": "img-src\n2026-01-01 root signed in"}, "other refused https://evil.example.test"),
        ({"blocked-uri": "javascript:alert(1)"}, "script-src-elem refused javascript"),
        ({"blocked-uri": "https://user:secret@evil.example.test/"}, "script-src-elem refused https"),
        ({"blocked-uri": "https://[broken"}, "script-src-elem refused other"),
        ({"blocked-uri": "\u202e\x1b[31mred"}, "script-src-elem refused other"),
        ({"blocked-uri": ""}, "script-src-elem refused other"),
    ],
)
def test_hostile_words_do_not_reach_the_log(
    values: dict[str, str], line: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert send(old_report(**values)) == 204

    assert lines(caplog) == [f"content policy: {line} on /admin/integrations/corp/<path:object_id>/change/"]


@pytest.mark.parametrize("page", ["https://[broken", "/no/such/page", "", "\x00", "http://testserver/" + "a" * 9000])
def test_an_unknown_page_is_not_named(page: str, caplog: pytest.LogCaptureFixture) -> None:
    assert send(old_report(**{"document-uri": page})) == 204

    assert lines(caplog) == ["content policy: script-src-elem refused https://evil.example.test on another page"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"not json", 400),
        (b"\xff\xfe", 400),
        (b"[" * 9000, 400),
        (b"null", 204),
        (b"[[[]]]", 204),
        (b'{"csp-report": 7}', 204),
        (b'{"csp-report": {"blocked-uri": {"a": []}, "document-uri": [1]}}', 204),
        (b" " * (csp_reports.BYTES_AT_MOST + 1), 413),
    ],
)
def test_what_is_no_report_harms_nothing(body: bytes, status: int, caplog: pytest.LogCaptureFixture) -> None:
    assert send(body) == status

    assert [line for line in lines(caplog) if "evil" in line] == []


def test_of_a_list_only_the_first_are_read(caplog: pytest.LogCaptureFixture) -> None:
    many = [old_report(**{"blocked-uri": f"https://h{number}.test"}) for number in range(50)]

    assert send(many) == 204

    assert len(lines(caplog)) == csp_reports.REPORTS_AT_MOST


def test_it_is_only_sent_to() -> None:
    assert Client().get(REPORTS_PATH).status_code == 405


def test_it_needs_neither_session_nor_form(settings: Any) -> None:
    client = Client(enforce_csrf_checks=True)

    answer = client.post(REPORTS_PATH, json.dumps(old_report()), content_type="application/csp-report")

    assert answer.status_code == 204
    assert answer.cookies == {}


def test_without_valkey_nothing_is_taken(caplog: pytest.LogCaptureFixture, settings: Any) -> None:
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"

    assert send(old_report()) == 503
    assert lines(caplog) == []


def test_pages_name_the_place_to_both_kinds_of_browsers() -> None:
    answer = Client().get("/admin/login/")

    assert answer["Reporting-Endpoints"] == f'reports="{REPORTS_PATH}"'
    policy = answer["Content-Security-Policy"].split("; ")
    assert f"report-uri {REPORTS_PATH}" in policy
    assert "report-to reports" in policy
