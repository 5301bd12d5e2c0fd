"""Hosts that are answered, requests that count as secure, and origins whose forms are accepted."""

import ipaddress
from http.cookies import Morsel
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from integrations.clients.transport import read_boot_clock
from integrations.core import http
from integrations.models import SiteAddress
from integrations.views import HSTS_SECONDS
from tests.integrations.conftest import client_of

pytestmark = pytest.mark.django_db
LOGIN = "/admin/login/"


@pytest.fixture(autouse=True)
def _no_extra_hosts(settings: Settings) -> None:
    settings.EXTRA_ALLOWED_HOSTS = []


def save(url: str) -> SiteAddress:
    address = SiteAddress.objects.default()
    address.url = url
    address.save()
    return address


def status(host: str, **headers: str) -> int:
    return Client().get(LOGIN, headers={"host": host, **headers}).status_code


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://bi.example.com/", "bi.example.com"),
        ("https://bi.example.com/", "BI.Example.com"),
        ("https://bi.example.com/", "bi.example.com:443"),
        ("http://bi.example.com/", "bi.example.com:80"),
        ("https://bi.example.com:8443/", "bi.example.com:8443"),
        ("http://localhost:3001/", "localhost:3001"),
    ],
)
def test_a_saved_address_is_answered(url: str, host: str) -> None:
    save(url)

    assert status(host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.com",
        "bi.example.com:8443",
        "bi.example.com:80",
        "xbi.example.com",
        "bi.example.com.evil.example",
        "bi.example.com.",
        "203.0.113.9",
        "localhost:3001",
        "bi.example.com/x",
        "a b",
        "[::1]",
        "[a:b]",
    ],
)
def test_another_host_gets_a_sentence_that_names_it_and_no_address_of_ours(host: str) -> None:
    save("https://bi.example.com/")

    response = Client().get(LOGIN, headers={"host": host, "accept-language": "en"})

    assert (response.status_code, response["Content-Type"]) == (400, "text/plain; charset=utf-8")
    said = response.content.decode()
    assert said.startswith("This site does not answer under the address “")
    assert "https://bi.example.com" not in said
    assert host != "evil.example.com" or "“evil.example.com”" in said


def test_a_new_address_is_answered_at_once_and_a_removed_one_refused_after_a_few_seconds(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    assert status("bi.example.com") == 400
    save("https://bi.example.com/")
    assert status("bi.example.com") == 200
    with django_assert_num_queries(0):
        assert http.find_saved_scheme("bi.example.com") == "https"

    save("https://new.example.com/")
    now = read_boot_clock()
    monkeypatch.setattr(http, "read_boot_clock", lambda: now + http.HOST_CACHE_SECONDS + 0.1)

    assert status("bi.example.com") == 400


@pytest.mark.parametrize(
    ("name", "host", "code"),
    [
        ("internal.example", "internal.example", 200),
        ("Internal.example", "internal.EXAMPLE:9000", 200),
        ("internal.example:9000", "internal.example:9000", 200),
        ("internal.example:9000", "internal.example", 400),
        ("internal.example", "sub.internal.example", 400),
        ("", "internal.example", 400),
    ],
)
def test_a_host_of_the_environment_is_answered(settings: Settings, name: str, host: str, code: int) -> None:
    settings.EXTRA_ALLOWED_HOSTS = [name] if name else []

    assert status(host) == code


def test_a_forwarded_host_changes_nothing(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("127.0.0.1")]
    save("https://bi.example.com/")

    assert status("evil.example.com", **{"x-forwarded-host": "bi.example.com"}) == 400
    assert status("bi.example.com", **{"x-forwarded-host": "evil.example.com"}) == 200


@pytest.mark.parametrize(
    ("path", "code"),
    [
        *((path, 200) for path in ("/healthz", "/healthz/live", "/healthz/ready")),
        *((path, 400) for path in ("/healthz/", "//healthz", "/healthzz", "/healthz/live/", "/healthz/other")),
    ],
)
def test_health_and_nothing_else_is_answered_under_every_host(path: str, code: int) -> None:
    assert Client().get(path, headers={"host": "203.0.113.9:8000"}).status_code == code


def cookies_of(host: str, **headers: str) -> list[Morsel[str]]:
    response = Client().get(LOGIN, headers={"host": host, **headers})
    assert response.cookies, "the login page sets the CSRF cookie"
    return list(response.cookies.values())


def test_an_https_address_has_secure_cookies_and_hsts_and_an_http_address_neither() -> None:
    save("https://bi.example.com/")
    secure = Client().get(LOGIN, headers={"host": "bi.example.com"})
    save("http://bi.example.com/")
    http.clear_caches()
    plain = Client().get(LOGIN, headers={"host": "bi.example.com"})

    assert secure["Strict-Transport-Security"] == f"max-age={HSTS_SECONDS}"
    assert all(morsel["secure"] is True for morsel in secure.cookies.values())
    assert secure.cookies["csrftoken"]["httponly"] is True
    # Under no-referrer a browser sends "Origin: null", which the CSRF check refuses.
    assert secure["Referrer-Policy"] == "same-origin"
    assert "Strict-Transport-Security" not in plain
    assert plain.cookies["csrftoken"]["secure"] == ""


@pytest.mark.parametrize("headers", [{}, {"x-forwarded-proto": "https"}, {"x-forwarded-proto": "http, https"}])
def test_the_saved_scheme_counts_where_no_proxy_speaks_of_plain_http(
    settings: Settings, headers: dict[str, str]
) -> None:
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("127.0.0.1")]
    save("https://bi.example.com/")

    assert all(morsel["secure"] is True for morsel in cookies_of("bi.example.com", **headers))


class TestPlainHttp:
    """Requests that a trusted proxy reports as unencrypted."""

    @pytest.fixture(autouse=True)
    def _proxy(self, settings: Settings) -> None:
        settings.TRUSTED_PROXIES = [ipaddress.ip_network("127.0.0.1")]

    @staticmethod
    def ask(method: str, host: str = "bi.example.com", proto: str = "http", path: str = f"{LOGIN}?next=/m/1/") -> Any:
        headers = {"host": host, "x-forwarded-proto": proto, "accept-language": "en"}
        return Client().generic(method, path, headers=headers)

    @pytest.mark.parametrize(
        ("method", "url", "host", "target"),
        [
            ("GET", "https://bi.example.com/", "bi.example.com", "https://bi.example.com"),
            ("HEAD", "https://bi.example.com/", "BI.example.com:443", "https://bi.example.com"),
            ("GET", "https://bi.example.com:8443/", "bi.example.com:8443", "https://bi.example.com:8443"),
        ],
    )
    def test_is_led_to_the_saved_address(self, method: str, url: str, host: str, target: str) -> None:
        save(url)

        response = self.ask(method, host)

        assert (response.status_code, response["Location"]) == (302, f"{target}{LOGIN}?next=/m/1/")
        assert not response.cookies

    @pytest.mark.parametrize("method", ["POST", "OPTIONS"])
    def test_is_refused_whatever_it_sends(self, method: str) -> None:
        save("https://bi.example.com/")

        response = self.ask(method)

        assert (response.status_code, response["Content-Type"]) == (403, "text/plain; charset=utf-8")
        assert response.content.decode().startswith("This was sent without encryption and is not accepted.")
        assert not response.cookies

    def test_leads_nowhere_else_by_a_path_that_looks_like_a_host(self) -> None:
        save("https://bi.example.com/")

        assert self.ask("GET", path="/%2Fevil.example/x")["Location"] == "https://bi.example.com//evil.example/x"

    @pytest.mark.parametrize(
        ("url", "known"),
        [
            ("http://bi.example.com/", {}),
            ("https://other.example.com/", {"host": "internal.example"}),
            ("https://bi.example.com/", {"path": "/healthz"}),
            *(("https://bi.example.com/", {"proto": proto}) for proto in ("https, http", "http, https", "gopher", "")),
        ],
    )
    def test_is_answered_where_it_may_be_or_is_not_said(
        self, settings: Settings, url: str, known: dict[str, str]
    ) -> None:
        settings.EXTRA_ALLOWED_HOSTS = ["internal.example"]
        save(url)

        assert self.ask("GET", **known).status_code == 200

    def test_is_not_believed_of_somebody_unknown(self, settings: Settings) -> None:
        settings.TRUSTED_PROXIES = []
        save("https://bi.example.com/")

        assert self.ask("GET").status_code == 200


@pytest.mark.parametrize(("trusted", "secure"), [(["127.0.0.1"], True), ([], "")])
def test_a_host_of_the_environment_takes_the_scheme_of_a_trusted_proxy(
    settings: Settings, trusted: list[str], secure: object
) -> None:
    settings.EXTRA_ALLOWED_HOSTS = ["internal.example"]
    settings.TRUSTED_PROXIES = [ipaddress.ip_network(network) for network in trusted]

    (morsel,) = cookies_of("internal.example", **{"x-forwarded-proto": "https"})

    assert morsel["secure"] == secure


def post(host: str, origin: str) -> int:
    """Post a wrong sign-in. Return the status: 200 is the form with an error, 403 the CSRF refusal."""
    client = Client(enforce_csrf_checks=True)
    page = client.get(LOGIN, headers={"host": host})
    fields = {"csrfmiddlewaretoken": page.context["csrf_token"], "username": "nobody", "password": "wrong"}
    # The test client sends Secure cookies over plain http too, as a proxy that ends TLS does to us.
    return client.post(LOGIN, fields, headers={"host": host, "origin": origin}).status_code


@pytest.mark.parametrize(
    ("url", "origin", "code"),
    [
        ("https://bi.example.com/", "https://bi.example.com", 200),
        ("http://bi.example.com/", "http://bi.example.com", 200),
        ("https://bi.example.com/", "http://bi.example.com", 403),
        ("https://bi.example.com/", "https://evil.example.com", 403),
        ("https://bi.example.com/", "null", 403),
        ("https://bi.example.com:8443/", "https://bi.example.com:8443", 200),
        ("https://bi.example.com:8443/", "https://bi.example.com", 403),
    ],
)
def test_forms_are_accepted_from_the_saved_address_only(url: str, origin: str, code: int) -> None:
    save(url)

    assert post(url.removesuffix("/").rpartition("/")[2], origin) == code


def test_the_language_switch_turns_pages_to_the_other_language_and_back(superuser: object) -> None:
    client = client_of(superuser)  # type: ignore[arg-type]  # the fixture's user
    index = reverse("admin:index")
    assert 'value="zh-hans"' in client.get(index, headers={"host": "localhost:3001"}).content.decode()

    client.post(reverse("set_language"), {"language": "zh-hans", "next": index}, headers={"host": "localhost:3001"})

    assert client.cookies[django_settings.LANGUAGE_COOKIE_NAME].value == "zh-hans"
    assert 'value="en"' in client.get(index, headers={"host": "localhost:3001"}).content.decode()
