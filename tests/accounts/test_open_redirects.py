"""A corpus of tricks that lead browsers to another site: each one, by every way into the site, leads home."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from accounts.targets import HOME, safe_path
from accounts.trouble import Cause, Trouble, seal, unseal

_HOSTS = ("evil.example", "evil.example:443", "user@evil.example", "bi.example.com@evil.example", "[::1]", "2130706433")
_PREFIXES = (
    "//", "///", "////", "/\\", "\\/", "\\\\", "/\\/", "/\t/", "/\n/", "/\r/", "\t//", "\x00//", "/.//", "/..//",
    "/;//",
    "/%2f", "/%2F%2f", "/%252f", "/%5c", "/%5C/", "/%255c", "/%09/", "/%0a/", "/%0d%0a/", "/%2e%2e//",
    " //", "/\u200b/", "/\ufeff/",
    "http:", "https:", "http:/", "https:/", "http://", "https://", "HTTPS://", "https:\\\\", "ftp://", "ws://",
)  # fmt: skip
CORPUS = [f"{prefix}{host}" for prefix in _PREFIXES for host in _HOSTS]


def test_is_large_enough() -> None:
    assert len(set(CORPUS)) >= 200


@pytest.mark.parametrize("trick", CORPUS)
def test_leads_home(trick: str) -> None:
    assert safe_path(trick) == HOME
    assert safe_path(f"{trick}/?next=/m/") == HOME
    assert safe_path(f"{trick}#/m/") == HOME


@pytest.mark.parametrize("trick", CORPUS[::12])
def test_sealed_into_a_page_of_trouble_it_is_still_no_way_out(trick: str) -> None:
    found = unseal(seal(Trouble(Cause.CODE_EXPIRED, target=trick)))

    assert found is not None
    assert safe_path(found.target) == HOME
    assert safe_path(quote(found.target)) == HOME
