"""Whose address and scheme a request has, behind any number of proxies."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from pytest_django import Settings

from integrations.core import http


@pytest.fixture(autouse=True)
def _two_networks_trusted(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


def unwrapped(peer: str, forwarded_for: str | None = None, **headers: str) -> dict[str, Any]:
    meta: dict[str, Any] = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http", **headers}
    if forwarded_for is not None:
        meta["HTTP_X_FORWARDED_FOR"] = forwarded_for
    http.unwrap(meta)
    return meta


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("203.0.113.9", "192.0.2.1", "203.0.113.9"),  # an unknown peer is not believed
        ("10.1.1.1", "192.0.2.1", "192.0.2.1"),
        ("10.1.1.1", "6.6.6.6, 192.0.2.1", "192.0.2.1"),  # the left one was written by the client
        ("10.1.1.1", "192.0.2.1, 10.2.2.2", "192.0.2.1"),
        ("10.1.1.1", "10.3.3.3, 10.2.2.2", "10.3.3.3"),  # nobody but proxies: the farthest one
        ("10.1.1.1", "192.0.2.1, nonsense", "10.1.1.1"),  # nothing behind what cannot be read
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
    assert unwrapped(peer, forwarded_for)["REMOTE_ADDR"] == client


@pytest.mark.parametrize(
    ("peer", "proto", "scheme"),
    [
        ("10.1.1.1", "https", "https"),
        ("10.1.1.1", "http, https", "https"),
        ("10.1.1.1", "https,http", "https"),  # the inner one of two speaks http with the outer one
        ("10.1.1.1", "http, http", "http"),
        ("10.1.1.1", "HTTPS", "https"),
        ("10.1.1.1", "gopher", "http"),
        ("203.0.113.9", "https", "http"),
    ],
)
def test_the_scheme_is_believed_from_a_trusted_proxy_only(peer: str, proto: str, scheme: str) -> None:
    assert unwrapped(peer, HTTP_X_FORWARDED_PROTO=proto)["wsgi.url_scheme"] == scheme


@pytest.mark.parametrize("peer", ["10.1.1.1", "203.0.113.9"])
def test_no_forwarded_header_goes_further(peer: str) -> None:
    headers = dict.fromkeys(http.FORWARDED_HEADERS, "192.0.2.1")

    meta = unwrapped(peer, **headers)

    assert not [name for name in meta if "FORWARDED" in name or "REAL_IP" in name]
