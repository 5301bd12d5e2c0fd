"""The content policy of our answers, and requests behind trusted proxies."""

import ipaddress
import runpy
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.http import HttpResponse
from django.test import Client, RequestFactory
from pytest_django import Settings

from integrations.core import http
from integrations.models import Corp, SiteAddress

pytestmark = pytest.mark.django_db

BASE = {
    "default-src": ["'self'"],
    "base-uri": ["'none'"],
    "frame-ancestors": ["'none'"],
    "object-src": ["'none'"],
}


@pytest.fixture(autouse=True)
def _address() -> None:
    SiteAddress.objects.filter(is_default=True).update(url="http://testserver/")


def make_corp(number: int, **fields: Any) -> Corp:
    values = {
        "name": f"公司{number}",
        "corpid": f"ww{number:016d}",
        "agentid": number,
        "secret": "s",
        "is_enabled": True,
    }
    return Corp.objects.create(**{**values, **fields})


def policy(path: str, client: Client | None = None) -> dict[str, list[str]]:
    """Return the policy of the answer, each directive with its sources."""
    return read_policy((client or Client()).get(path))


def read_policy(response: Any) -> dict[str, list[str]]:
    parts = [part.split() for part in response.headers["Content-Security-Policy"].split(";")]
    assert len({part[0] for part in parts}) == len(parts)
    return {part[0]: part[1:] for part in parts}


@pytest.mark.parametrize("path", ["/login/?stay=1", "/admin/login/", "/no-such-page/", "/login/trouble/", "/healthz"])
def test_every_answer_takes_from_this_site_alone_and_cannot_be_framed(path: str) -> None:
    found = policy(path)

    assert {name: found[name] for name in BASE} == BASE
    assert found["form-action"] == ["'self'"]
    assert set(found) - set(BASE) - {"form-action"} <= {"frame-src"}
    assert "frame-src" not in found or found["frame-src"] == []
    refused = Client().get(path, headers={"host": "elsewhere.example.test"})
    assert "default-src 'self'" in refused.headers["Content-Security-Policy"]


def test_refusals_are_reported_to_the_collector_that_a_setting_names(
    settings: Any, monkeypatch: pytest.MonkeyPatch, project_root: Path
) -> None:
    monkeypatch.setenv("CSP_REPORT_URI", "https://csp.example.com/report?site=1")
    read = runpy.run_path(str(project_root / "guanwecom" / "settings.py"))
    settings.CONTENT_SECURITY_POLICY = read["CONTENT_SECURITY_POLICY"]
    http.clear_caches()
    try:
        assert policy("/login/?stay=1")["report-uri"] == ["https://csp.example.com/report?site=1"]
    finally:
        http.clear_caches()


def test_forms_may_end_where_a_sign_in_of_a_company_begins() -> None:
    own = SiteAddress.objects.create(url="https://sub.example.test/")
    make_corp(1)
    make_corp(2, site_address=own, authorize_base_url="http://127.0.0.1:9000", qr_base_url="http://127.0.0.1:9000/qr")
    make_corp(3, is_enabled=False, authorize_base_url="https://disabled.example.test")
    make_corp(4, sign_in_enabled=False, authorize_base_url="https://pushes-only.example.test")

    found = policy("/admin/login/")

    assert found["form-action"] == [
        "'self'",
        "http://127.0.0.1:9000",
        "http://testserver",
        "https://login.work.weixin.qq.com",
        "https://open.weixin.qq.com",
        "https://sub.example.test",
    ]
    assert "frame-src" not in found


def test_the_login_page_alone_may_frame_the_qr_panel() -> None:
    make_corp(1)
    other = make_corp(2, qr_base_url="http://127.0.0.1:9000")

    assert "frame-src" not in policy("/login/?stay=1")
    assert policy(f"/login/?stay=1&corp={other.pk}")["frame-src"] == ["http://127.0.0.1:9000"]
    assert "frame-src" not in policy("/login/company/")
    assert "frame-src" not in policy("/admin/login/")


@pytest.mark.parametrize(
    "url", ["https://a.example.test;script-src *", "https://a,b", "javascript:alert(1)", "https://"]
)
def test_a_saved_address_cannot_write_into_the_policy(url: str) -> None:
    make_corp(1, authorize_base_url=url, qr_base_url=url)

    assert policy("/login/?stay=1")["form-action"] == ["'self'", "http://testserver"]
    assert http.read_origin(url) is None


def test_the_origins_are_read_once_in_a_few_seconds_and_none_without_a_database(django_assert_num_queries: Any) -> None:
    def fail(*_call: Any) -> None:
        raise DatabaseError

    answer = http.ContentPolicyMiddleware(lambda _request: HttpResponse("", content_type="text/html"))
    request = RequestFactory().get("/")
    with connection.execute_wrapper(fail):
        assert read_policy(answer(request))["form-action"] == ["'self'"]
    make_corp(1)
    policy("/login/trouble/")
    with django_assert_num_queries(0):
        assert "https://login.work.weixin.qq.com" in read_policy(answer(request))["form-action"]


@pytest.fixture(autouse=True)
def _two_networks_trusted(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


def unwrap_meta(peer: str, forwarded_for: str | None = None, **headers: str) -> dict[str, Any]:
    meta: dict[str, Any] = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http", **headers}
    if forwarded_for is not None:
        meta["HTTP_X_FORWARDED_FOR"] = forwarded_for
    http.apply_forwarded_headers(meta)
    return meta


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("203.0.113.9", "192.0.2.1", "203.0.113.9"),  # an unknown peer is not trusted
        ("10.1.1.1", "192.0.2.1", "192.0.2.1"),
        ("10.1.1.1", "6.6.6.6, 192.0.2.1", "192.0.2.1"),  # the client wrote the left one
        ("10.1.1.1", "192.0.2.1, 10.2.2.2", "192.0.2.1"),
        ("10.1.1.1", "10.3.3.3, 10.2.2.2", "10.3.3.3"),  # only proxies: the farthest one counts
        ("10.1.1.1", "192.0.2.1, nonsense", "10.1.1.1"),  # nothing counts behind an unreadable entry
        ("10.1.1.1", "192.0.2.1:4711", "192.0.2.1"),
        ("10.1.1.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.1.1.1", "2001:db8::1", "2001:db8::1"),
        ("::ffff:10.1.1.1", "192.0.2.1", "192.0.2.1"),
        ("fd00::1", "::ffff:192.0.2.1", "192.0.2.1"),
        ("10.1.1.1", "", "10.1.1.1"),
        ("", "192.0.2.1", ""),  # a unix socket has no address to trust
    ],
)
def test_the_client_is_the_rightmost_untrusted_address(peer: str, forwarded_for: str | None, client: str) -> None:
    assert unwrap_meta(peer, forwarded_for)["REMOTE_ADDR"] == client


@pytest.mark.parametrize(
    ("peer", "proto", "scheme"),
    [
        ("10.1.1.1", "https", "https"),
        ("10.1.1.1", "http, https", "https"),
        ("10.1.1.1", "https,http", "https"),  # the inner of two proxies speaks http with the outer one
        ("10.1.1.1", "http, http", "http"),
        ("10.1.1.1", "HTTPS", "https"),
        ("10.1.1.1", "gopher", "http"),
        ("203.0.113.9", "https", "http"),
    ],
)
def test_the_scheme_is_believed_from_a_trusted_proxy_only_and_no_forwarded_header_goes_further(
    peer: str, proto: str, scheme: str
) -> None:
    headers = dict.fromkeys(http.FORWARDED_HEADERS, "192.0.2.1")

    meta = unwrap_meta(peer, **{**headers, "HTTP_X_FORWARDED_PROTO": proto})

    assert meta["wsgi.url_scheme"] == scheme
    assert not [name for name in meta if "FORWARDED" in name or "REAL_IP" in name]
