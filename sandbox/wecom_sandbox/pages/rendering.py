"""Pages from templates, in the reader's language, under a strict Content-Security-Policy."""

from __future__ import annotations

import gettext
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from itertools import islice
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from wecom_sandbox.state.directory import Member
from wecom_sandbox.state.world import Company, World

PHONE_COOKIE, LANGUAGE_COOKIE, LINK_TAPPED_COOKIE = "sandbox_phone", "sandbox_lang", "sandbox_tapped"
# Holder of a phone who is not a member of the company.
GUEST = "~guest"
_WECOM = re.compile(r"wxwork/[\d.]+", re.IGNORECASE)
_YEAR_SECONDS = 365 * 24 * 3600


class Holder:
    """Person who holds the phone that a browser shows. `member` None: a guest."""

    def __init__(self, company: Company, member: Member | None) -> None:
        self.company = company
        self.member = member

    @property
    def userid(self) -> str:
        return self.member.userid if self.member else ""

    @property
    def folded(self) -> str:
        return self.member.folded if self.member else ""


def find_holder(request: web.Request, world: World) -> Holder | None:
    """Return the holder; None if nobody was chosen in this browser, or the person has left."""
    corpid, _, name = unquote(request.cookies.get(PHONE_COOKIE, "")).partition("/")
    company = world.companies.get(corpid)
    if company is None:
        return None
    if name == GUEST:
        return Holder(company, None)
    member = company.directory.find(name)
    return Holder(company, member) if member else None


def remember_holder(response: web.StreamResponse, corpid: str, name: str) -> None:
    _set_cookie(response, PHONE_COOKIE, quote(f"{corpid}/{name}", safe=""))


def is_wecom_browser(request: web.Request) -> bool:
    """Return whether the browser is WeCom's, by the rule of WeCom's own JavaScript."""
    return _WECOM.search(request.headers.get("User-Agent", "")) is not None


def find_language(request: web.Request) -> str:
    """Return zh-hans unless ?lang=en or the cookie of an earlier choice says English."""
    chosen = request.query.get("lang") or request.cookies.get(LANGUAGE_COOKIE, "")
    return "en" if chosen.lower().startswith("en") else "zh-hans"


def remember_language(request: web.Request, response: web.StreamResponse) -> None:
    if "lang" in request.query:
        _set_cookie(response, LANGUAGE_COOKIE, find_language(request))


def _set_cookie(response: web.StreamResponse, name: str, value: str) -> None:
    response.set_cookie(name, value, max_age=_YEAR_SECONDS, path="/", httponly=True, samesite="Lax")


CATALOGUES, DOMAIN = Path(__file__).resolve().parent.parent / "locale", "messages"
Translate = Callable[[str], str]
# The catalogue of each language; English texts are in the code.
_CATALOGUE = {"zh-hans": "zh_Hans"}


@cache
def load_texts(language: str) -> gettext.NullTranslations:
    """Return the translations of a language: "zh-hans" or "en"."""
    wanted = _CATALOGUE.get(language)
    if wanted is None:
        return gettext.NullTranslations()
    return gettext.translation(DOMAIN, CATALOGUES, [wanted], fallback=True)


def gettext_noop(text: str) -> str:
    """Mark a text for the catalogue where its reader's language is not known yet."""
    return text


TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
# Pictures of messages may come from the site under development; nothing else is loaded from elsewhere.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "img-src 'self' data: http://localhost:* http://127.0.0.1:*; form-action 'self' http: https:; "
)


@cache
def make_environment(language: str) -> Environment:
    """Return the template environment of a language. Everything is escaped; a name without a value is an error."""
    jinja = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
    )
    jinja.install_gettext_translations(load_texts(language), newstyle=True)  # type: ignore[attr-defined]  # by i18n
    jinja.filters["quoted"] = partial(quote, safe="")
    jinja.filters["lines"] = _render_lines
    return jinja


def _render_lines(text: object) -> Markup:
    """Escape the text and replace its line ends by <br>."""
    return Markup("<br>").join(escape(line) for line in str(text).splitlines())


def render(
    request: web.Request,
    template: str,
    context: Mapping[str, object] | None = None,
    *,
    status: int = 200,
    embeddable: bool = False,
    frames: bool = False,
) -> web.Response:
    """Draw a page. `template`: below templates/. `embeddable`: other sites may show it in a frame (the QR page);
    `frames`: it shows pages of the sandbox in frames."""
    code = find_language(request)
    other = "en" if code != "en" else "zh-hans"
    query = {name: value for name, value in request.query.items() if name != "lang"}
    values = {"language": code, "other_language": str(request.rel_url.with_query({**query, "lang": other}))}
    text = make_environment(code).get_template(template).render(values, **(context or {}))
    response = web.Response(text=text, status=status, content_type="text/html")
    ancestors = "*" if embeddable else "'none'"
    frame_rule = "frame-src 'self'; " if frames else ""
    response.headers["Content-Security-Policy"] = f"{_POLICY}{frame_rule}frame-ancestors {ancestors}"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    remember_language(request, response)
    return response


_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")


class VisitRefused(Exception):
    """A refused visit of the authorise page or the QR page. `text`: the words of WeCom's page (in Chinese)."""

    def __init__(self, text: str, detail: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.detail = detail


def read_netloc(redirect_uri: str) -> str:
    """Return the host, with the port if given, in lower case; "" if it is not a clean http(s) address."""
    if _UNSAFE.search(redirect_uri):
        return ""
    try:
        parts = urlsplit(redirect_uri)
        parts.port  # noqa: B018  # reading it is what checks it
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or "@" in parts.netloc:
        return ""
    return parts.netloc.lower()


def add_code(redirect_uri: str, code: str, state: str) -> str:
    """Return the address with code and state in its query; without a code (the person refused), only the state."""
    base, hash_sign, fragment = redirect_uri.partition("#")
    added = f"code={quote(code, safe='')}&" if code else ""
    separator = "&" if "?" in base else "?"
    return f"{base}{separator}{added}state={quote(state, safe='')}{hash_sign}{fragment}"


MEMBERS_SHOWN = 30


def make_name_finder(company: Company) -> Callable[[str], str]:
    """Return a function that names a mention: a member's name; @all, mobile numbers and unknown userids unchanged."""

    def find_name(userid: str) -> str:
        member = company.directory.find(userid)
        return member.name if member else userid

    return find_name


def find_initials(member: Member) -> str:
    """Return the text for a missing portrait: the last two characters of a Chinese name, else the first letter."""
    return member.name[:1].upper() if member.name.isascii() else member.name[-2:]


def search_members(company: Company, text: str, *, most: int = MEMBERS_SHOWN, start: int = 0) -> list[Member]:
    """List up to `most` members whose userid or name contains the text (any if it is ""), after the first `start`."""
    wanted = text.strip().lower()
    found = (
        member
        for folded, member in company.directory.members.items()
        if not wanted or wanted in folded or wanted in member.name.lower()
    )
    return list(islice(found, start, start + most))
