"""Statements of docs/en/asvs.md about the whole site that no other test proves."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from celery import current_app
from django.conf import global_settings, settings
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from pytest_django import Settings

from accounts.models import User
from integrations.clients.errors import IntegrationError
from integrations.clients.guandata import GuandataClient
from integrations.clients.network import fetch_page
from integrations.clients.sources import http_json
from integrations.clients.sources.addresses import AllowedNetwork
from integrations.clients.transport import open_session
from integrations.clients.wecom.calls import Wire
from integrations.clients.wecom.client import RobotClient
from integrations.clients.wecom.tokens import TrialTokens
from integrations.data import SourceError
from tests.admin_world import build, read_state
from tests.integrations.clients.sources.web import says, web_service

# Longer than a person would type, in two scripts, with outer spaces and a mark of two code points.
LONG = f" {'长口令 and ü '.join('0123456789')} "
SCRIPTS = re.compile(
    r"\b(?:RTCPeerConnection|getUserMedia|localStorage|sessionStorage|indexedDB|caches|onmessage|eval|Function)\b|[\"']message[\"']"
)


def plain_patterns(patterns: list[Any]) -> Iterator[URLPattern]:
    """Yield addresses without a parameter, those of the administration left out."""
    for pattern in patterns:
        if isinstance(pattern, URLPattern) and not pattern.pattern.converters:
            yield pattern
        elif isinstance(pattern, URLResolver) and not str(pattern.pattern):
            yield from plain_patterns(pattern.url_patterns)


def every_view(patterns: list[Any]) -> Iterator[Any]:
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            yield pattern.callback
        else:
            yield from every_view(pattern.url_patterns)


def test_every_form_brings_its_token() -> None:
    """Exempt only what other programs send: WeCom's callbacks, messages of other systems, and calls of the API."""
    views = every_view(get_resolver().url_patterns)
    exempt = {view.__module__ for view in views if getattr(view, "csrf_exempt", False)}

    assert exempt == {"integrations.views", "notifications.api.incoming", "ninja.operation"}
    assert "django.middleware.csrf.CsrfViewMiddleware" in settings.MIDDLEWARE


def test_tasks_travel_as_json_and_nothing_else_is_opened() -> None:
    conf = current_app.conf
    assert (*conf.accept_content, conf.task_serializer, conf.result_serializer) == ("json",) * 3


@pytest.mark.parametrize("method", ["get", "options"])
@pytest.mark.parametrize("path", ["/login/", "/api/v1/openapi.json", "/healthz", "/static/accounts/employee.css"])
def test_no_other_site_may_read_an_answer(client: Client, db: None, path: str, method: str) -> None:
    answer = getattr(client, method)(path, headers={"origin": "https://elsewhere.example.com"})

    answer.close()
    assert [name for name in answer.headers if name.startswith("Access-Control-")] == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/login/", "text/html; charset=utf-8"),
        ("/not/there/", "text/html; charset=utf-8"),
        ("/healthz/live", "text/plain"),  # ASCII only
        ("/api/v1/not-there", "application/problem+json"),  # JSON is always UTF-8
        ("/static/notifications/rows.js", 'text/javascript; charset="utf-8"'),
    ],
)
def test_an_answer_names_its_type_and_charset(client: Client, db: None, path: str, kind: str) -> None:
    answer = client.get(path)

    answer.close()
    assert answer.headers["Content-Type"] == kind


def test_what_an_address_says_is_decoded_once(admin_client: Client) -> None:
    page = admin_client.get("/admin/accounts/user/?q=%2541%2526lt%253B").content.decode()

    assert 'value="%41%26lt%3B"' in page


def test_no_client_follows_a_redirection() -> None:
    """Leave out data sources over HTTP, which may: test_follows_within_the_same_origin_only."""
    with web_service(says(b"{}")) as elsewhere:
        leads_away = says(b"", status="307 Temporary Redirect", headers=f"Location: {elsewhere.url}/")
        with web_service(leads_away) as service, open_session() as session:
            robot = RobotClient(key="invented", wire=Wire(base_url=service.url, session=session))
            bi = GuandataClient(base_url=service.url, session=session, token_store=TrialTokens(), app_token="t")
            known = {"headers": {}, "allowed_network": AllowedNetwork.THIS_MACHINE, "seconds": 30.0}
            for call in (
                lambda: robot.webhook_send(b"{}"),
                bi.page_list,
                lambda: http_json.post_json(f"{service.url}/hook", b"{}", **known),  # type: ignore[arg-type]  # one of each
            ):
                with pytest.raises((IntegrationError, SourceError)):
                    call()
            assert fetch_page(f"{service.url}/").status == 307

    assert (len(service.requests), elsewhere.requests) == (4, [])


@pytest.mark.django_db
def test_get_changes_nothing_outside_the_administration(settings: Settings) -> None:
    """Open all pages without a number in their address as a superuser; see also test_admin_matrix.py."""
    settings.EXTRA_ALLOWED_HOSTS = ["testserver"]
    client = build().client("U")
    before = read_state()
    paths = [f"/{pattern.pattern}" for pattern in plain_patterns(get_resolver().url_patterns)]

    found = {path: client.get(path).status_code for path in paths}

    assert read_state() == before
    assert {path for path, status in found.items() if status == 405} >= {"/logout/", "/account/sessions/end/"}
    assert len(found) > 15


@pytest.mark.parametrize("path", ["/login/", "/admin/", "/api/v1/messages"])
def test_trace_echoes_nothing(client: Client, db: None, path: str) -> None:
    answer = client.trace(path, headers={"x-mine": "invented-value"})

    assert answer.status_code in {302, 401, 404, 405}
    assert b"invented-value" not in answer.content


@pytest.mark.parametrize("path", ["/static/", "/static/accounts/", "/docs/zh-cn/screenshots/"])
def test_no_folder_is_listed(admin_client: Client, path: str) -> None:
    assert admin_client.get(path).status_code == 404


def test_our_scripts_keep_nothing_in_the_browser_run_no_text_and_take_no_messages(project_root: Path) -> None:
    scripts = [path for path in project_root.glob("*/static/**/*.js") if "wecom-jssdk" not in str(path)]

    assert len(scripts) > 15
    assert {path.name: found for path in scripts if (found := SCRIPTS.findall(path.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize("password", ["a7-k2m9", "password123", "zhang-wei-zhang"])
def test_a_short_a_common_and_ones_own_name_are_no_passwords(password: str) -> None:
    with pytest.raises(ValidationError):
        validate_password(password, User(username="zhang-wei-zhang"))


def test_a_password_may_be_long_and_of_any_characters_and_counts_to_its_last(client: Client, db: None) -> None:
    assert not User.objects.exists()  # a new database has no account
    assert settings.PASSWORD_HASHERS == global_settings.PASSWORD_HASHERS
    assert settings.PASSWORD_HASHERS[0].endswith(".PBKDF2PasswordHasher")
    person = User.objects.create_superuser("root")
    form = SetPasswordForm(person, {"new_password1": LONG, "new_password2": LONG})
    assert form.is_valid()
    form.save()

    page = client.get("/login/").content.decode()
    by_address = client.post(f"/login/?username=root&password={quote(LONG)}", {"username": "root"})
    cut = client.post("/login/", {"username": "root", "password": LONG[:-1]})
    whole = client.post("/login/", {"username": "root", "password": LONG})

    assert re.search(r'<input type="password" name="password"[^>]+autocomplete="current-password"', page)
    assert (by_address.status_code, cut.status_code, whole.status_code) == (200, 200, 302)
