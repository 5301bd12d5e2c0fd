"""What docs/en/asvs.md says of the whole site, where no other test shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from celery import current_app
from django.conf import global_settings, settings
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.test import Client

from accounts.models import User

# More than a person would type, of two scripts, with spaces at the ends and a mark that is two code points.
LONG = f" {'长口令 and ü '.join('0123456789')} "
SCRIPTS = re.compile(r"\b(?:localStorage|sessionStorage|indexedDB|caches|onmessage|eval|Function)\b|[\"']message[\"']")


def test_tasks_travel_as_json_and_nothing_else_is_opened() -> None:
    assert set(current_app.conf.accept_content) == {"json"}
    assert (current_app.conf.task_serializer, current_app.conf.result_serializer) == ("json", "json")


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
        ("/healthz/live", "text/plain"),  # of ASCII alone
        ("/api/v1/not-there", "application/problem+json"),  # JSON is always UTF-8
        ("/static/notifications/rows.js", 'text/javascript; charset="utf-8"'),
    ],
)
def test_an_answer_names_its_type_and_charset(client: Client, db: None, path: str, kind: str) -> None:
    answer = client.get(path)

    answer.close()
    assert answer.headers["Content-Type"] == kind


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


def test_a_new_database_has_no_account(db: None) -> None:
    assert not User.objects.exists()


@pytest.mark.parametrize("password", ["a7-k2m9", "password123", "zhang-wei-zhang"])
def test_a_short_a_common_and_ones_own_name_are_no_passwords(password: str) -> None:
    with pytest.raises(ValidationError):
        validate_password(password, User(username="zhang-wei-zhang"))


def test_a_password_may_be_long_and_of_any_characters_and_counts_to_its_last(client: Client, db: None) -> None:
    person = User.objects.create_superuser("root")
    form = SetPasswordForm(person, {"new_password1": LONG, "new_password2": LONG})
    assert form.is_valid()
    form.save()

    page = client.get("/login/").content.decode()
    cut = client.post("/login/", {"username": "root", "password": LONG[:-1]})
    whole = client.post("/login/", {"username": "root", "password": LONG})

    assert re.search(r'<input type="password" name="password"[^>]+autocomplete="current-password"', page)
    assert (cut.status_code, whole.status_code) == (200, 302)


def test_passwords_are_hashed_by_what_django_recommends() -> None:
    assert settings.PASSWORD_HASHERS == global_settings.PASSWORD_HASHERS
    assert settings.PASSWORD_HASHERS[0].endswith(".PBKDF2PasswordHasher")


def test_what_an_address_says_fills_no_form(client: Client, db: None) -> None:
    User.objects.create_superuser("root", password="invented password")

    answer = client.post("/login/?username=root&password=invented+password", {"username": "root"})

    assert answer.status_code == 200
    assert "_auth_user_id" not in client.session
