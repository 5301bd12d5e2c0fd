"""Targets of sign-in: always a page of this site, and the requested page.

These tests cover single paths and queries; test_landings_property.py checks every view.
"""

from urllib.parse import parse_qsl, quote, unquote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.authentication.flow import find_requested_page
from integrations.core.http import HOME, LONGEST, choose_safe_path
from tests.accounts.conftest import SITE

# Beginnings that some browser reads as another site, combined with the ways to write a host.
_HOSTS = ("evil.example", "evil.example:443", "user@evil.example", "bi.example.com@evil.example", "[::1]", "2130706433")
_PREFIXES = (
    "//", "///", "////", "/\\", "\\/", "\\\\", "/\\/", "/\t/", "/\n/", "/\r/", "\t//", "\x00//", "/.//", "/..//",
    "/;//",
    "/%2f", "/%2F%2f", "/%252f", "/%5c", "/%5C/", "/%255c", "/%09/", "/%0a/", "/%0d%0a/", "/%2e%2e//",
    " //", "/\u200b/", "/\ufeff/",
    "http:", "https:", "http:/", "https:/", "http://", "https://", "HTTPS://", "https:\\\\", "ftp://", "ws://",
)  # fmt: skip
CORPUS = [f"{prefix}{host}" for prefix in _PREFIXES for host in _HOSTS]
TRICKS = [
    *CORPUS[:: len(_HOSTS)],
    "evil.example",
    "http:///evil.example",
    "//\\evil.example",
    "/\\/evil",
    "/\r\nLocation: https://evil.example",
    "\u200b//evil.example",
    "/\u202egpj.exe",
    "/%2Fevil.example",
    "/%2f%2fevil.example",
    "/%25252fevil.example",
    "/%0d%0aLocation:%20https://evil.example",
    "/a/..//evil.example",
    "/a//evil.example",
    "/https://evil.example",
    "https:///evil.example",
    "https:\\evil.example",
    "https://bi.example.com@evil.example/",
    "https://bi.example.com.evil.example/",
    "https://evil.example/?bi.example.com",
    "https://evil.example#bi.example.com",
    "//bi.example.com@evil.example",
    "//evil.example\\@bi.example.com",
    "//evil%00.example",
    "//[::1]/",
    "//2130706433/",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "javascript://bi.example.com/%0aalert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "file:///etc/passwd",
    "blob:https://evil.example/1",
    "about:blank",
    "mailto:a@evil.example",
    "wxwork://message",
    "http://[evil.example/",
    "",
    " ",
    "?next=//evil.example",
    "#//evil.example",
    ".",
    "..",
    "/login/",
    "/login/?next=/",
    "/logout/",
    "/wecom/1/start/",
    "/wecom/1/callback/?code=x",
    "/%6cogin/",
    "/" + "a" * 3000,
    "/%" + "25" * 20 + "2fevil.example",
    "/%" + "25" * 20 + "20deeper-than-anybody-means",
]


@pytest.mark.parametrize("trick", CORPUS)
def test_another_site_in_disguise_leads_home(trick: str) -> None:
    assert choose_safe_path(trick) == HOME
    assert choose_safe_path(f"{trick}/?next=/m/") == HOME
    assert choose_safe_path(f"{trick}#/m/") == HOME


@pytest.mark.parametrize("candidate", TRICKS)
def test_a_trick_leads_home(candidate: str) -> None:
    assert choose_safe_path(candidate) == HOME


@pytest.mark.parametrize("candidate", TRICKS)
def test_a_trick_as_inner_page_stays_on_this_site(candidate: str) -> None:
    assert_own_page(find_requested_page(f"path_url={quote(candidate, safe='')}"))
    assert_own_page(find_requested_page(f"path_url={candidate}"))


@pytest.mark.parametrize(
    "page",
    [
        "/",
        "/messages/7/",
        "/messages/?q=%E6%8A%A5%E8%A1%A8&page=2#row-3",
        "/messages/?q=报表",
        "/survey-engine?back=https%3A%2F%2Fbi.example.com%2Fx%3Fy%3D1%26z%3D%252F",
        "/survey-engine?back=https://elsewhere.example//x",
        "/a:b/@c;d=1,2/~e/(f)'*!$",
        "/page%20with%20spaces",
        "/%E6%8A%A5%E8%A1%A8/",
        "/loginless/",
        pytest.param(f"/{'x' * (LONGEST - 1)}", id="longest"),
    ],
)
def test_a_page_of_ours_is_kept_to_the_letter(page: str) -> None:
    assert choose_safe_path(page) == page


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("", "/"),
        ("code=C&state=S", "/"),
        ("path_url=survey-engine", "/survey-engine"),
        ("path_url=survey-engine&code=C&state=", "/survey-engine"),
        ("path_url=%2Fsurvey-engine", "/survey-engine"),
        ("domain=D1&path_url=survey-engine&formId=7&code=C&state=S", "/survey-engine?formId=7"),
        ("path_url=survey-engine%3FformId%3D7%26x%3D1&code=C", "/survey-engine?formId=7&x=1"),
        ("path_url=survey-engine?formId=7&x=1&code=C", "/survey-engine?formId=7&x=1"),
        ("path_url=a%3Fx%3D1&y=2&y=3", "/a?x=1&y=2&y=3"),
        ("path_url=a%23tab&y=2", "/a?y=2#tab"),
        ("path_url=a%3Fq%3D%25E6%258A%25A5", "/a?q=%E6%8A%A5"),
        ("path_url=a&q=%E6%8A%A5", "/a?q=%E6%8A%A5"),
        ("path_url=a%3Fback%3Dhttps%253A%252F%252Fx.example%252F", "/a?back=https%3A%2F%2Fx.example%2F"),
        ("path_url=%E6%8A%A5%E8%A1%A8", "/报表"),
        ("path_url=javascript%3Aalert(1)", "/"),
        ("path_url=https%3A%2F%2Fevil.example", "/"),
        ("path_url=%2F%2Fevil.example", "/"),
        ("path_url=wecom%2F1%2Fstart%2F", "/"),
        ("other=1", "/"),
    ],
)
def test_the_inner_page_of_the_home_page_link(query: str, page: str) -> None:
    assert find_requested_page(query) == page


def assert_own_page(page: str) -> None:
    """Assert that every reading of the address by browsers stays on the same host."""
    assert page.startswith("/")
    for seen in (page, page.replace("\\", "/"), unquote(page).replace("\\", "/")):
        arrived = urlsplit(urljoin(SITE, seen.split("?")[0].split("#")[0]))
        assert (arrived.scheme, arrived.netloc) == ("https", "bi.example.com")


@given(st.text(max_size=60) | st.text(alphabet="/\\%25cfh:.@?#t\t\n ", max_size=30))
def test_no_text_leads_elsewhere(candidate: str) -> None:
    assert_own_page(choose_safe_path(candidate))
    assert_own_page(find_requested_page(f"path_url={quote(candidate, safe='')}"))
    assert_own_page(find_requested_page(candidate))


words = st.text(alphabet="abcXYZ019-_.~报表 &=+%?#", min_size=1, max_size=12)


@given(path=st.lists(st.text(alphabet="abcXYZ019-_~", min_size=1, max_size=8), min_size=1, max_size=4),
       parameters=st.lists(st.tuples(words, words), max_size=4))  # fmt: skip
def test_path_and_parameters_survive_encoded_or_not(path: list[str], parameters: list[tuple[str, str]]) -> None:
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters)
    page = "/".join(path) + (f"?{query}" if query else "")

    encoded = find_requested_page(f"domain=D&path_url={quote(page, safe='')}&code=C&state=S")
    bare = find_requested_page(f"domain=D&path_url={page}&code=C&state=S")

    for landing in (encoded, bare):
        assert urlsplit(landing).path == "/" + "/".join(path)
        assert parse_qsl(urlsplit(landing).query, keep_blank_values=True) == parameters
