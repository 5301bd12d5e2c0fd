"""Verification files: which are accepted, how they are served, and what a check of the public address reports."""

import datetime as dt

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from integrations.companies import links
from integrations.companies.diagnosis.checks import explain_finding
from integrations.companies.links import PageOutcome
from integrations.models import Corp, SiteAddress
from tests.integrations.clients.wecom.server import answering, make_answer
from tests.integrations.diagnosing import run_one
from tools.services import free_port

pytestmark = pytest.mark.django_db
CODE = "0123456789abcDEF"
NAME = f"WW_verify_{CODE}.txt"
BODY = CODE.encode()
NOW = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)


def store(corp: Corp, code: str = CODE) -> str:
    return links.store_file(corp=corp, name=f"WW_verify_{code}.txt", content=code.encode(), now=timezone.now())


def refusal_of(name: str, content: bytes) -> ValidationError:
    with pytest.raises(ValidationError) as refusal:
        links.store_file(corp=Corp(), name=name, content=content, now=NOW)
    return refusal.value


@pytest.mark.parametrize(
    "name",
    [
        "",
        "WW_verify_.txt",
        f"WW_verify_{CODE[:-1]}.txt",
        f"WW_verify_{CODE}0.txt",
        f"ww_verify_{CODE}.txt",
        f"WW_verify_{CODE}.TXT",
        f"WW_verify_{CODE}.html",
        f"WW_verify_{CODE} (1).txt",
        f"WW_verify_{CODE}.txt\n",
        f"../WW_verify_{CODE}.txt",
        "WW_verify_0123456789abcDE_.txt",
        "WW_verify_０123456789abcDE.txt",
        "MP_verify_0123456789abcDEF.txt",
    ],
)
def test_another_name_is_refused(name: str) -> None:
    refusal = refusal_of(name, BODY)

    assert refusal.code == "name"
    assert refusal.messages[0].endswith(
        "is not the name of a verification file: WW_verify_, 16 letters or digits, .txt. Upload the file as WeCom's "
        "console gave it; if the browser added “(1)” to its name, remove that."
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        BODY[:-1],
        BODY.lower(),
        b" " + BODY,
        BODY + b" ",
        BODY + b"\n" + BODY,
        b"\n" + BODY,
        CODE.encode("utf-16"),
        b"<html>" + BODY + b"</html>",
        b"x" * links.FILE_BYTES_AT_MOST,
    ],
)
def test_another_content_is_refused(content: bytes) -> None:
    refusal = refusal_of(NAME, content)

    assert refusal.code == "content"
    large = refusal_of(NAME, BODY + b"\n" * links.FILE_BYTES_AT_MOST)
    assert large.messages == ["This file is too large: a verification file holds 16 characters and nothing else."]
    assert refusal.messages == [
        f"The content of “{NAME}” is not the code in its name. "
        "Download the file from WeCom's console again and upload it unchanged."
    ]


def test_the_file_is_served_byte_for_byte(corp: Corp, admin_client: Client) -> None:
    links.store_file(corp=corp, name=NAME, content=b"\xef\xbb\xbf" + BODY + b"\r\n", now=NOW)

    for content in (BODY, BODY + b"\n\n", b"\xef\xbb\xbf" + BODY):
        assert links.store_file(corp=corp, name=NAME, content=content, now=NOW + dt.timedelta(days=1)) == NAME
        corp.refresh_from_db()
        assert corp.verification_files == [{"code": CODE, "uploaded_at": NOW.isoformat()}]

    for client in (Client(), admin_client):
        response = client.get(f"/{NAME}")

        assert (response.status_code, response.content) == (200, BODY)
        assert response["Content-Type"] == "text/plain"
        assert response["Content-Length"] == "16"
        assert not response.cookies
        assert "Cookie" not in response.headers.get("Vary", "")


def test_several_files_stand_side_by_side_and_one_corp_s_removal_is_not_another_s(corp: Corp, other_corp: Corp) -> None:
    names = [store(corp), store(Corp.objects.get(pk=corp.pk), "F" * 16), store(other_corp)]

    assert links.remove_file(corp=corp, code=CODE)
    assert not links.remove_file(corp=corp, code=CODE)

    assert [Client().get(f"/{name}").status_code for name in names] == [200, 200, 200]
    assert links.remove_file(corp=other_corp, code=CODE)
    assert [Client().get(f"/{name}").status_code for name in names] == [404, 200, 404]


@pytest.mark.parametrize("is_enabled", [True, False])
def test_every_admitted_host_serves_it_whether_or_not_the_corp_is_enabled(
    corp: Corp, settings: Settings, is_enabled: bool
) -> None:
    settings.EXTRA_ALLOWED_HOSTS = ["extra.example.com"]
    SiteAddress.objects.create(url="https://bi.example.com/")
    Corp.objects.update(is_enabled=is_enabled)
    store(corp)

    hosts = ["localhost:3001", "bi.example.com", "extra.example.com", "evil.example.com"]
    statuses = [Client().get(f"/{NAME}", headers={"host": host}).status_code for host in hosts]

    assert statuses == [200, 200, 200, 400]


def test_other_paths_are_not_found_and_it_can_only_be_read(corp: Corp) -> None:
    store(corp)

    for path in (
        f"/WW_verify_{CODE.lower()}.txt",
        f"/WW_verify_{CODE}.txt/",
        f"/WW_verify_{CODE}.txt%0A",
        f"/WW_verify_{CODE}.TXT",
        f"/static/WW_verify_{CODE}.txt",
        f"/x/WW_verify_{CODE}.txt",
        "/WW_verify_%.txt",
        "/WW_verify_.txt",
    ):
        assert Client().get(path).status_code == 404, path
    assert Client().head(f"/{NAME}").status_code == 200
    assert [getattr(Client(), method)(f"/{NAME}").status_code for method in ("post", "put", "delete")] == [405] * 3


def plain(body: bytes, content_type: str = "text/plain") -> bytes:
    return make_answer("200 OK", body, f"Content-Type: {content_type}")


@pytest.mark.django_db(transaction=True)
def test_the_check_finds_our_own_file_at_the_corp_s_own_address(corp: Corp, live_server: LiveServer) -> None:
    corp.site_address = SiteAddress.objects.create(url=f"{live_server.url}/")
    corp.save()
    store(corp)

    assert run_one(corp, "verification_file").problem == "found"


REDIRECTION = make_answer("301 Moved", b"", "Location: https://bi.example.com/x")
LOGIN_PAGE = plain(b"<html>Please sign in</html>", "text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("answer", "outcome", "detail"),
    [
        (plain(BODY, "text/plain; charset=utf-8"), PageOutcome.FOUND, ""),
        (plain(BODY + b"\n"), PageOutcome.WRONG_CONTENT, "HTTP 200 text/plain"),
        (plain(BODY, "text/html"), PageOutcome.WRONG_CONTENT, "HTTP 200 text/html"),
        (LOGIN_PAGE, PageOutcome.WRONG_CONTENT, "HTTP 200 text/html; charset=utf-8"),
        (plain(b"x" * 100_000), PageOutcome.WRONG_CONTENT, "HTTP 200 text/plain"),
        (make_answer("404 Not Found"), PageOutcome.WRONG_STATUS, "HTTP 404"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", PageOutcome.WRONG_STATUS, "HTTP 204"),
        (REDIRECTION, PageOutcome.REDIRECTED, "HTTP 301 https://bi.example.com/x"),
        (
            REDIRECTION.replace(b"/x", b"/" + b"x" * 5000),
            PageOutcome.REDIRECTED,
            "HTTP 301 https://bi.example.com/xxxx",
        ),
        (b"", PageOutcome.UNREACHABLE, "the connection failed before the answer was complete (RemoteDisconnected)"),
        (None, PageOutcome.UNREACHABLE, "no connection (ConnectionRefusedError)"),
    ],
)
def test_what_the_check_finds(answer: bytes | None, outcome: PageOutcome, detail: str) -> None:
    """Use None for an address at which nothing listens."""
    with answering(answer or b"") as (url, _requests):
        found = links.judge_public_page(f"http://127.0.0.1:{free_port()}" if answer is None else url, BODY)

    assert (found[0], found[1][: len(detail)]) == (outcome, detail)
    said = explain_finding("verification_file", outcome, None, {"url": "http://x/", "files": NAME})
    assert bool(said.who) == bool(said.where) == (outcome != PageOutcome.FOUND)
