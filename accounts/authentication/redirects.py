"""Sanitises the page to open after sign-in: always a path of this site. Pure."""

from __future__ import annotations

from urllib.parse import unquote_plus

from django.http import HttpRequest

from integrations.core.safe_urls import is_own_page, rooted

HOME = "/"
# What WeCom and the home page link put into the callback's query for themselves.
_RESERVED = frozenset({"code", "state", "domain", "path_url"})


def safe_path(candidate: str) -> str:
    """`candidate` where it is a page of this site (a path, with query and fragment if any), else the home page."""
    return candidate if is_own_page(candidate) else HOME


def inner_page(raw_query: str) -> str:
    """The page that a callback's own query asks for: `path_url` with all further parameters, else the home page.

    `survey-engine` means `/survey-engine`. The page's query arrives inside `path_url` where it was encoded, and as it
    is where it was not: both give the same page. `raw_query`: as it stands in the address, not decoded; what belongs
    to the page is passed on as it came.
    """
    asked, further = "", []
    for pair in raw_query.split("&"):
        name, _equals, value = pair.partition("=")
        if unquote_plus(name) == "path_url":
            asked = value
        elif pair and unquote_plus(name) not in _RESERVED:
            further.append(pair)
    page = rooted(_decoded_page(asked))
    return safe_path(_with_parameters(page, further)) if page else HOME


def raw_query_of(request: HttpRequest) -> str:
    """The query as the browser sent it; WSGI hands its bytes over as Latin-1."""
    raw: str = request.META.get("QUERY_STRING", "")
    return raw.encode("latin-1", "replace").decode("utf-8", "replace")


def _decoded_page(value: str) -> str:
    """Where the page's own query stands bare behind `?`, it is no further encoded than any query, and stays so."""
    path, question_mark, query = value.partition("?")
    return f"{unquote_plus(path).strip()}{question_mark}{query}"


def _with_parameters(page: str, pairs: list[str]) -> str:
    if not pairs:
        return page
    page, hash_sign, fragment = page.partition("#")
    return f"{page}{'&' if '?' in page else '?'}{'&'.join(pairs)}{hash_sign}{fragment}"
