"""Adds the origins of sign-in to the pages' Content-Security-Policy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from csp.constants import HEADER
from csp.middleware import CSPMiddleware, PolicyParts
from csp.utils import build_policy
from django.conf import settings
from django.db import DatabaseError

from integrations.clients.clock import read_boot_clock
from integrations.models import BiConnection, Corp, SiteAddress

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponseBase


# How long a process goes on with what it read: pages are shown far more often than a corp changes its doors.
READ_SECONDS = 3.0
# Which DEBUG shows with what is wrong, in scripts and styles of their own.
_DJANGOS_PAGES = (HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR)
# What may stand in a policy: a semicolon or a comma in it would begin a directive or a policy of its own.
_ORIGIN = re.compile(r"https?://[0-9A-Za-z.\-\[\]:]+")


@dataclass(frozen=True, slots=True)
class Origins:
    """`leaving`: where a browser is sent on the way to a sign-in. `panels`: who shows the QR code in a frame."""

    leaving: tuple[str, ...] = ()
    panels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Read:
    origins: Origins
    until: float


_last: list[_Read] = []


def of_sign_in() -> Origins:
    """The origins of all corps that sign people in; none where the database does not answer.

    Pages are answered when it does not, too: they say that something is wrong here.
    """
    now = read_boot_clock()
    for known in _last:
        if now < known.until:
            return known.origins
    try:
        found = _from_database()
    except DatabaseError:
        return Origins()
    _last[:] = [_Read(found, now + READ_SECONDS)]
    return found


def origin_of(url: str) -> str | None:
    """Scheme, host and port of `url`; None for what no policy can name."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    return origin if _ORIGIN.fullmatch(origin) else None


def forget() -> None:
    """Forget what this process read and wrote."""
    _last.clear()
    _written.cache_clear()


def _from_database() -> Origins:
    """Each corp has its two doors of WeCom, and the address under which its sign-in begins. It may end in the BI."""
    doors = Corp.objects.signing_in().order_by()
    rows = list(doors.values_list("authorize_base_url", "qr_base_url", "site_address__url").distinct())
    bi = BiConnection.objects.filter(is_enabled=True).values_list("base_url", flat=True).first()
    if not rows:
        return Origins(tuple(filter(None, [origin_of(bi or "")])))
    default = SiteAddress.objects.filter(is_default=True).values_list("url", flat=True).first()
    leaving = {origin_of(url) for row in rows for url in (*row, default, bi) if url}
    panels = {origin_of(row[1]) for row in rows}
    return Origins(*(tuple(sorted(origin for origin in found if origin)) for found in (leaving, panels)))


# --- The Content-Security-Policy of every answer: settings.CONTENT_SECURITY_POLICY, and what sign-in needs beside it


class ContentPolicyMiddleware(CSPMiddleware):
    """Lets the forms of a page end where sign-in begins.

    Why? Chromium holds each redirect after a form's POST against `form-action`, not the first address only. Inside
    WeCom a session that has ended turns any saved form, and the language switch, into a silent sign-in: login page,
    our start, open.weixin.qq.com. Without this the browser would stay where it is and say nothing.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """As django-csp, which writes the same few policies anew for each answer.

        Read are `_csp_update` and `_csp_replace` alone: nothing of ours has a nonce, an exemption or a policy that is
        only reported.
        """
        is_of_django = settings.DEBUG and response.status_code in _DJANGOS_PAGES
        if HEADER not in response and not is_of_django:
            parts = self.get_policy_parts(request, response)
            response.headers[HEADER] = _written(_items(parts.update), _items(parts.replace))
        return response

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if "sandbox" in (parts.replace or {}):  # others wrote what stands there: its refusals are no news
            parts.replace = {**(parts.replace or {}), "report-uri": None}
            return parts
        if not report_only and response.headers.get("Content-Type", "").startswith("text/html"):
            allowed = dict(parts.update or {})
            allowed["form-action"] = [*allowed.get("form-action", ()), *of_sign_in().leaving]
            parts.update = allowed
        return parts


_Items = tuple[tuple[str, tuple[str, ...] | None], ...]


def _items(directives: Mapping[str, Any] | None) -> _Items:
    """As build_policy takes them, None for a directive that is left out. Each has a list of sources, or one."""
    return tuple(
        (name, None if sources is None else tuple(sources if isinstance(sources, list | tuple) else [sources]))
        for name, sources in (directives or {}).items()
    )


@lru_cache(maxsize=128)
def _written(update: _Items, replace: _Items) -> str:
    return build_policy(update=dict(update), replace=dict(replace))


def allow(response: HttpResponseBase, directive: str, sources: Iterable[str]) -> None:
    """Let this one answer take `sources` in `directive`, beside what all answers may."""
    update: dict[str, list[str]] = getattr(response, "_csp_update", {})
    added = {**update, directive: [*update.get(directive, ()), *sources]}
    response._csp_update = added  # type: ignore[attr-defined]  # the place where django-csp looks
