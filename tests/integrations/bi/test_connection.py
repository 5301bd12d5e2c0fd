"""The BI connection: saving it and its key pair, its test at the wire, and what is never said."""

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import responses
from cryptography.fernet import Fernet
from django.db import connection as database
from django.utils import timezone, translation
from pytest_django import Settings

from accounts.models import User
from integrations import bi
from integrations.clients import guandata_sso
from integrations.clients.guandata import make_token_key
from integrations.clients.wecom.tokens import FetchedToken
from integrations.core.client_factory import bi_token_store
from integrations.models import BiConnection
from tests.bi import BI, make_bi, read_claims
from tests.guandata import APP_TOKEN, PASSWORD, GuandataAnswers
from tests.jobs import do_jobs

pytestmark = pytest.mark.django_db


def hash_session_key() -> str:
    with database.cursor() as cursor:
        cursor.execute("SELECT private_key FROM integrations_biconnection")
        return str(cursor.fetchone()[0])


def test_a_generated_key_is_stored_encrypted_and_given_out_by_its_public_half() -> None:
    bi.generate_key(now=timezone.now())

    saved = BiConnection.objects.get()
    line, pem = bi.format_public_keys(saved) or ("", "")
    assert hash_session_key().startswith("gAAAAA")
    assert guandata_sso.load_private_key(saved.private_key).key_size == 1024
    assert pem == guandata_sso.format_public_key(guandata_sso.load_private_key(saved.private_key))
    assert line == "".join(pem.splitlines()[1:-1])
    assert saved.connection_version == 2


def test_without_a_key_or_without_what_decrypts_it_there_is_no_public_half(settings: Settings) -> None:
    assert bi.format_public_keys(BiConnection()) is None
    make_bi()
    assert bi.load_connection().get_deferred_fields() == {"private_key", "api_password", "app_token", "proxy_url"}
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    assert bi.format_public_keys(bi.load_connection()) is None


def test_another_login_drops_the_token_that_all_processes_share(django_capture_on_commit_callbacks: object) -> None:
    saved = make_bi(api_login="robot", api_password=PASSWORD)
    tokens = bi_token_store()
    account = make_token_key(saved.base_url, saved.api_domain, "robot")
    assert tokens.get(account, 0, lambda: FetchedToken("first", 600)) == "first"

    saved.api_password = "another"
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]  # a fixture that is a function
        bi.save_connection(connection=saved, changed_fields={"api_password"})

    assert tokens.get(account, 0, lambda: FetchedToken("second", 600)) == "second"


def test_a_login_that_no_key_decrypts_any_more_can_be_replaced(
    django_capture_on_commit_callbacks: object, settings: Settings
) -> None:
    make_bi(api_login="robot", api_password=PASSWORD, app_token=APP_TOKEN)
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    saved = bi.ensure_connection()
    saved.api_password = "another"

    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]  # a fixture that is a function
        bi.save_connection(connection=saved, changed_fields={"api_password"})

    assert BiConnection.objects.get().api_password == "another"


def test_what_does_not_concern_the_connection_keeps_its_version() -> None:
    saved = make_bi()
    saved.phone_home = "/m"

    bi.save_connection(connection=saved, changed_fields={"phone_home"})

    saved.refresh_from_db()
    assert (saved.phone_home, saved.connection_version) == ("/m", 1)
    saved.provider = "Other"
    bi.save_connection(connection=saved, changed_fields={"provider"})
    assert BiConnection.objects.get().connection_version == 2


@pytest.fixture
def wire() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        yield wire


def answers(wire: responses.RequestsMock, *, status: int = 200, location: str = "", seconds_apart: int = 0) -> None:
    """Answer for the BI's first page: 200 without a token, as given with one."""

    def answer(request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        date = {"Date": format_datetime(timezone.now() + timedelta(seconds=seconds_apart), usegmt=True)}
        if "ssoToken" not in str(request.url):
            return 200, date, "<html>"
        return status, {**date, **({"Location": location} if location else {})}, "<html>"

    wire.add_callback(responses.GET, f"{BI}/", callback=answer)


def found(superuser: User) -> dict[str, tuple[str, str]]:
    bi.request_test(by=superuser, now=timezone.now())
    do_jobs()
    saved = BiConnection.objects.get()
    assert saved.checked_at is not None
    assert saved.checked_version == saved.connection_version
    with translation.override("en"):
        assert len(bi.explain_findings(saved.check_results)) == len(saved.check_results)
    return {one["step"]: (one["status"], one["outcome"]) for one in saved.check_results}


REACHED = ("ok", "reached")


@pytest.mark.parametrize(
    ("answer", "token"),
    [
        ({}, ("unclear", "not-refused")),
        ({"status": 302, "location": "/home"}, ("unclear", "not-refused")),
        ({"status": 302, "location": "https://guandata.example.com/auth/login?next=/"}, ("wrong", "refused")),
        ({"status": 302, "location": "/SignIn"}, ("wrong", "refused")),
        ({"status": 401}, ("wrong", "refused")),
        ({"status": 403}, ("wrong", "refused")),
        ({"status": 404}, ("wrong", "not-taken")),
        ({"status": 500}, ("wrong", "not-taken")),
    ],
)
def test_what_the_bi_says_to_a_token(
    wire: responses.RequestsMock, superuser: User, answer: dict[str, Any], token: tuple[str, str]
) -> None:
    make_bi()
    answers(wire, **answer)

    assert found(superuser) == {"address": REACHED, "token": token}
    asked = [str(call.request.url) for call in wire.calls if "ssoToken" in str(call.request.url)]
    assert [read_claims(url)["externalUserId"] for url in asked] == ["root"]


@pytest.mark.parametrize(
    ("broken", "outcome"),
    [
        ({"is_enabled": False, "private_key": "", "key_saved_at": None}, ""),  # single sign-on was never set up
        ({"key_saved_at": None}, "no-key"),
        ({"private_key": "nothing"}, "key-unreadable"),
        ({"external_id_source": "email"}, "no-external-id"),
        ({"external_id_source": "gone"}, "no-external-id"),
    ],
)
def test_what_is_missing_here_is_said_without_asking(
    wire: responses.RequestsMock, superuser: User, broken: dict[str, Any], outcome: str
) -> None:
    make_bi(**broken)
    answers(wire)

    assert found(superuser) == {"address": REACHED, **({"token": ("wrong", outcome)} if outcome else {})}
    assert len(wire.calls) == 1


@pytest.mark.parametrize("failure", [requests.ConnectionError("x"), requests.ReadTimeout("x"), OSError("x"), None])
def test_a_bi_that_is_not_reached_is_asked_nothing_else(
    wire: responses.RequestsMock, superuser: User, failure: Exception | None
) -> None:
    make_bi(api_login="robot", api_password=PASSWORD, **({} if failure else {"base_url": ""}))
    wire.add(responses.GET, f"{BI}/", body=failure or b"")

    assert found(superuser) == {"address": ("wrong", "unreachable" if failure else "missing")}
    assert len(wire.calls) == (1 if failure else 0)


# A Date header has whole seconds, so one that is 61 ahead is more than 60 ahead.
@pytest.mark.parametrize(("apart", "is_wrong"), [(0, False), (59, False), (61, True), (-60, True), (3600, True)])
def test_clocks_apart_by_a_token_s_life_are_wrong(
    wire: responses.RequestsMock, superuser: User, apart: int, is_wrong: bool
) -> None:
    make_bi(token_seconds=60)
    answers(wire, seconds_apart=apart)

    assert found(superuser)["address"] == (("wrong", "clocks") if is_wrong else REACHED)


def test_an_error_of_the_bi_s_own_is_a_warning(wire: responses.RequestsMock, superuser: User) -> None:
    make_bi()
    wire.add(responses.GET, f"{BI}/", status=503)

    assert found(superuser) == {"address": ("warning", "server-error"), "token": ("wrong", "not-taken")}


@pytest.mark.parametrize("is_refused", [False, True])
def test_the_credentials_of_the_api_are_tried_where_they_are_set(
    wire: responses.RequestsMock, superuser: User, is_refused: bool
) -> None:
    make_bi(api_login="robot", api_password=PASSWORD, app_token=APP_TOKEN)
    answers(wire)
    api = GuandataAnswers(wire, BI)
    api.gives("sign_in", "sign_in.5001" if is_refused else "")
    api.gives("page_list", "sign_in.5001" if is_refused else "")

    result = ("wrong", "refused") if is_refused else ("ok", "accepted")
    assert {step: one for step, one in found(superuser).items() if step in {"api", "pages"}} == {
        "api": result,
        "pages": result,
    }
    with translation.override("en"):
        sentences = [line["sentence"] for line in bi.explain_findings(BiConnection.objects.get().check_results)]
    assert ("The app token lists 1 pages." in sentences) is not is_refused
    assert ("The BI refuses the API user: 用户名或密码错误" in sentences) is is_refused


def test_nothing_that_is_kept_or_logged_holds_a_token_or_a_secret(
    wire: responses.RequestsMock, superuser: User, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    make_bi(api_login="robot", api_password=PASSWORD, app_token=APP_TOKEN)
    answers(wire)
    api = GuandataAnswers(wire, BI)
    refusal = {"result": "fail", "error": {"status": 5001, "message": f"{PASSWORD} {APP_TOKEN}"}}
    api.gives("sign_in", refusal)
    api.gives("page_list", refusal)

    found(superuser)

    token = next(
        str(call.request.url).rpartition("ssoToken=")[2] for call in wire.calls if "sso" in str(call.request.url)
    )
    kept = json.dumps(BiConnection.objects.get().check_results) + caplog.text
    for secret in (token, PASSWORD, APP_TOKEN):
        assert secret not in kept


@pytest.mark.parametrize("language", ["zh-hans", "en"])
def test_each_sentence_can_be_said(language: str) -> None:
    facts = {"status": 200, "reason": "r", "seconds": 90, "life": 60, "as": "lilei", "message": "m", "count": 2}

    with translation.override(language):
        sentences = [words % facts for words in bi.explain_outcomes().values()]

    assert all(sentences)
    assert not any("%(" in sentence for sentence in sentences)
    of_another_version = {"step": "address", "status": "ok", "outcome": "no-such", "facts": {}}
    assert bi.explain_findings([of_another_version, {}]) == []


def test_the_entrance_asked_for_is_the_bi_s_first_page(wire: responses.RequestsMock, superuser: User) -> None:
    make_bi(desktop_home="/home?x=1")
    answers(wire)
    wire.add(responses.GET, f"{BI}/home", status=200)

    assert found(superuser)["token"] == ("unclear", "not-refused")
    parts = urlsplit(str(wire.calls[-1].request.url))
    assert parts.path == "/home"
    assert parts.query.startswith("x=1&provider=guanbi&ssoToken=")
