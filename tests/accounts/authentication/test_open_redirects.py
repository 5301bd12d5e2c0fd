"""A corpus of tricks that lead browsers to another site: the rule that every view asks refuses each one.

That every view asks it is held by test_every_door_refuses_it for a part of the corpus, since each costs a sign-in,
and by test_landings_property.py for tricks that nobody has thought of.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import pytest

from accounts.authentication.errors import Cause, ErrorDetails, seal, unseal
from accounts.models import User
from integrations.core.safe_urls import HOME, safe_path
from integrations.models import Corp
from tests.accounts.conftest import DESKTOP, HOST, SITE, state_in, visitor
from tests.accounts.wecom import WeCom

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


@pytest.mark.parametrize("trick", CORPUS[::6])
def test_every_door_refuses_it(corp: Corp, person: User, wecom: WeCom, trick: str) -> None:
    """Start, panel, home page link, the site's root, password and language: each leads to the home page, or stays."""
    person.set_password("right-password-1")
    person.save()
    browser = visitor(DESKTOP)
    panel: Any = browser.client.post(f"/wecom/{corp.pk}/panel/", {"next": trick})
    states = [
        browser.begin(corp, trick),
        panel.json()["params"]["state"],
        state_in(browser.arrive(corp, path_url=trick, code="STRAY")),
        state_in(browser.get("/", path_url=trick, code="STRAY", state="")),
    ]

    landings = []
    for number, state in enumerate(states):
        wecom.gives(f"CODE{number}", userid="lilei")
        landings.append(browser.arrive(corp, code=f"CODE{number}", state=state).headers["Location"])
        browser.client.cookies.pop("sessionid")
    form = {"username": person.username, "password": "right-password-1", "next": trick}
    landings.append(browser.client.post("/login/?stay=1", form).headers["Location"])
    landings.append(browser.client.post("/i18n/setlang/", {"language": "en", "next": trick}).headers["Location"])

    assert [urlsplit(urljoin(SITE, landing)).netloc for landing in landings] == [HOST] * 6
    assert landings[0] == landings[1] == landings[4] == HOME


@pytest.mark.parametrize("trick", CORPUS[::12])
def test_sealed_into_an_error_page_it_is_still_no_way_out(trick: str) -> None:
    found = unseal(seal(ErrorDetails(Cause.CODE_EXPIRED, target=trick)))

    assert found is not None
    assert safe_path(found.target) == HOME
    assert safe_path(quote(found.target)) == HOME
