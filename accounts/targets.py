"""Where a person goes after sign-in: always a page of this site. Pure: text in, a path out."""

from __future__ import annotations

import unicodedata
from urllib.parse import unquote, unquote_plus, urlsplit

from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme

HOME = "/"
LONGEST = 2048
# Pages of signing in and out: to land there would begin again.
_NOT_LANDINGS = ("/login/", "/logout/", "/wecom/")
# What WeCom and the home page link put into the callback's query for themselves.
_RESERVED = frozenset({"code", "state", "domain", "path_url"})
# Percent-encoding around percent-encoding: deeper than this nobody means well.
_LAYERS = 5


def safe_path(candidate: str) -> str:
    """`candidate` where it is a page of this site (a path, with query and fragment if any), else the home page."""
    return candidate if _is_own_page(candidate) else HOME


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
    page = _decoded_page(asked)
    if not page or ":" in page.split("/", 1)[0].split("?", 1)[0]:
        return HOME
    return safe_path(_with_parameters(page if page.startswith("/") else f"/{page}", further))


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


def _is_own_page(candidate: str) -> bool:
    if not candidate.startswith("/") or len(candidate) > LONGEST or not _is_plain(candidate):
        return False
    try:
        path = urlsplit(candidate).path
    except ValueError:
        return False
    if not url_has_allowed_host_and_scheme(candidate, allowed_hosts=None):
        return False
    return all(_is_harmless(layer) for layer in _layers(path))


def _layers(path: str) -> list[str]:
    """The path as it stands and after each further decoding; one that never ends counts as harmful."""
    layers = [path]
    while (inner := unquote(layers[-1])) != layers[-1]:
        layers.append(inner)
        if len(layers) > _LAYERS:
            return ["//"]
    return layers


def _is_harmless(path: str) -> bool:
    return "//" not in path and _is_plain(path) and not path.startswith(_NOT_LANDINGS)


def _is_plain(text: str) -> bool:
    """Without what browsers and servers read in different ways: backslashes, control and invisible characters."""
    return "\\" not in text and not any(unicodedata.category(char).startswith("C") for char in text)
