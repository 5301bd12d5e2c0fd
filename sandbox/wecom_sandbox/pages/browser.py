"""What one browser carries: who holds its phone, in which language it reads, and whether it is WeCom's own."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from aiohttp import web

from wecom_sandbox.state.directory import Member
from wecom_sandbox.state.world import Company, World

PHONE_COOKIE, LANGUAGE_COOKIE, TAPPED_COOKIE = "sandbox_phone", "sandbox_lang", "sandbox_tapped"
# Somebody with a phone who is not a member of the company.
GUEST = "~guest"
_WECOM = re.compile(r"wxwork/[\d.]+", re.IGNORECASE)
_YEAR_SECONDS = 365 * 24 * 3600


class Holder:
    """Who holds the phone of a browser. `member` None: a guest."""

    def __init__(self, company: Company, member: Member | None) -> None:
        self.company = company
        self.member = member

    @property
    def userid(self) -> str:
        return self.member.userid if self.member else ""

    @property
    def folded(self) -> str:
        return self.member.folded if self.member else ""


def holder(request: web.Request, world: World) -> Holder | None:
    """None when nobody was chosen in this browser, or the person is gone."""
    corpid, _, name = unquote(request.cookies.get(PHONE_COOKIE, "")).partition("/")
    company = world.companies.get(corpid)
    if company is None:
        return None
    if name == GUEST:
        return Holder(company, None)
    member = company.directory.find(name)
    return Holder(company, member) if member else None


def hold_phone(response: web.StreamResponse, corpid: str, name: str) -> None:
    _set(response, PHONE_COOKIE, quote(f"{corpid}/{name}", safe=""))


def is_wecom(request: web.Request) -> bool:
    """The rule of WeCom's own JavaScript."""
    return _WECOM.search(request.headers.get("User-Agent", "")) is not None


def language(request: web.Request) -> str:
    """zh-hans unless English was chosen by ?lang=en or before."""
    chosen = request.query.get("lang") or request.cookies.get(LANGUAGE_COOKIE, "")
    return "en" if chosen.lower().startswith("en") else "zh-hans"


def remember_language(request: web.Request, response: web.StreamResponse) -> None:
    if "lang" in request.query:
        _set(response, LANGUAGE_COOKIE, language(request))


def _set(response: web.StreamResponse, name: str, value: str) -> None:
    response.set_cookie(name, value, max_age=_YEAR_SECONDS, path="/", httponly=True, samesite="Lax")
