"""Maps our addresses to pages of the BI, and builds the address to redirect to.

A page of the BI has an address here, /bi/<page>. It alone stands in links, sign-ins and messages; the BI's own address
with its token is made at the click (docs/decisions/0016).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ValidationError
from django.urls import Resolver404, resolve
from django.utils.translation import gettext_lazy as _

from integrations.clients.errors import UnreadableSecretError
from integrations.clients.guandata import keys, sso
from integrations.clients.guandata.reserved import has_reserved
from integrations.clients.guandata.urls import PageForms, in_path, page_for
from integrations.core import hooks
from integrations.core.safe_urls import is_own_page, is_plain
from integrations.core.validators import without_invisible
from integrations.models import BiConnection, Corp
from integrations.models.bi import THE_ONE
from integrations.models.companies import HomePage
from integrations.models.fields import opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from integrations.models.scoping import Person

ROOT = "/bi/"
# Read where they are used, and nowhere else.
SECRETS = ("private_key", "api_password", "app_token", "proxy_url")


class Obstacle(StrEnum):
    """Why somebody cannot be passed on."""

    OFF = "off"
    NO_ADDRESS = "no-address"
    NO_KEY = "no-key"
    KEY_UNREADABLE = "key-unreadable"
    NO_SOURCE = "no-source"
    NO_EXTERNAL_ID = "no-external-id"
    NO_PAGE = "no-page"


class CannotEnter(Exception):
    """`source`: which value of the person is missing, where that is the reason."""

    def __init__(self, obstacle: Obstacle, source: hooks.ExternalId | None = None) -> None:
        super().__init__(obstacle.value)
        self.obstacle = obstacle
        self.source = source


def connection() -> BiConnection:
    """The saved connection, or an empty one. Its secrets are not read with it."""
    return BiConnection.objects.defer(*SECRETS).filter(pk=THE_ONE).first() or BiConnection()


def open_connection() -> BiConnection:
    """The saved connection. Raises CannotEnter where people do not enter the BI from here."""
    saved = connection()
    if not saved.is_enabled:
        raise CannotEnter(Obstacle.OFF)
    return saved


def is_open() -> bool:
    """Whether people enter the BI from here."""
    return BiConnection.objects.filter(pk=THE_ONE, is_enabled=True).exists()


def own_address(page: str) -> str:
    """Our address of the BI's `page`, a path with its query; empty for the first page."""
    return ROOT + page.lstrip("/")


def landing_of(page: str) -> str:
    """Where a link leads that names `page` (a path from the root): to the BI what is no page here, while it is open.

    Our own pages come first: their links stand in WeCom's menus already when a BI is connected.
    """
    if page == "/" or is_here(page) or not is_open():
        return page
    address = own_address(page)
    return address if is_own_page(address) else "/"


def is_here(page: str) -> bool:
    """Whether this site has a page of this path, with or without the slash at its end."""
    path = urlsplit(page).path
    return any(_resolves(one) for one in (path, f"{path}/"))


def home_of(corp: Corp) -> str:
    """Where a sign-in through `corp` leads that names no page."""
    if corp.home_page != HomePage.BI or not is_open():
        return "/"
    return own_address(corp.home_bi_page)


def entrance_for(saved: BiConnection, person: Person, *, page: str, query: str, on_phone: bool, now: datetime) -> str:
    """The address in the BI at which `person` is signed in and sees `page`, with a token of a few seconds.

    For the Location of a redirect and nothing else: never stored, shown or logged. `page`: decoded, without its first
    slash; `query`: as it stood in the address. Raises CannotEnter.
    """
    return entrance_as(saved, lambda: external_id(saved, person), page=page, query=query, on_phone=on_phone, now=now)


def entrance_as(
    saved: BiConnection, identity: Callable[[], str], *, page: str, query: str, on_phone: bool, now: datetime
) -> str:
    """The same for whoever is `identity` in the BI, asked for once all else is in order: for a browser of ours, too."""
    if not saved.base_url:
        raise CannotEnter(Obstacle.NO_ADDRESS)
    if not is_page(page, query):
        raise CannotEnter(Obstacle.NO_PAGE)
    address = page_for(page, query, forms=forms_of(saved), on_phone=on_phone)
    if has_reserved(address):  # in the path, from which nothing is left out
        raise CannotEnter(Obstacle.NO_PAGE)
    claims = sso.Claims(identity(), int(now.timestamp()), saved.token_seconds, saved.domain_id)
    token = sso.sealed(claims, private_key(saved))
    return sso.entrance(base_url=saved.base_url, page=address, provider=saved.provider, token=token)


def is_page(page: str, query: str) -> bool:
    """Whether the BI may be asked for it: nothing that browsers and servers read in different ways."""
    try:
        query.encode("ascii")
    except UnicodeEncodeError:
        return False
    return is_plain(query) and " " not in query and is_own_page(ROOT + in_path(page))


def external_id(saved: BiConnection, person: Person) -> str:
    """Raises CannotEnter, with what is missing."""
    source = hooks.external_id_of(saved.external_id_source)
    if source is None:
        raise CannotEnter(Obstacle.NO_SOURCE)
    found = source.of(person)
    if not found:
        raise CannotEnter(Obstacle.NO_EXTERNAL_ID, source)
    return found


def private_key(saved: BiConnection) -> RSAPrivateKey:
    """Raises CannotEnter."""
    if not saved.has_key:
        raise CannotEnter(Obstacle.NO_KEY)
    try:
        return keys.load(opened(saved.private_key))
    except (UnreadableSecretError, keys.KeyRefused) as error:
        raise CannotEnter(Obstacle.KEY_UNREADABLE) from error


def forms_of(saved: BiConnection) -> PageForms:
    """How addresses of the BI look, as an administrator set it."""
    routed = tuple(word.strip().strip("/") for word in saved.routed_paths.split(",") if word.strip(" /"))
    return PageForms(saved.desktop_page, saved.phone_page, saved.desktop_home, saved.phone_home, routed)


def page_from(typed: str, saved: BiConnection) -> str:
    """What an administrator typed or copied as a page of the BI, as it is kept: a path without its first slash.

    Empty for the first page. Raises ValidationError, with a sentence.
    """
    text = without_invisible(typed)
    path = without_base(text, saved)
    if path is None and "://" in text:
        raise ValidationError(_("This address is not the BI's. Copy it from the BI, or write a path as page/abc."))
    page = (text if path is None else path).lstrip("/")
    inner, _mark, query = page.partition("?")
    if "#" in page or not is_page(unquote(inner), query):
        raise ValidationError(_("This is no path of a page in the BI. Write it as page/abc."))
    return page


def link_page_from(typed: str, saved: BiConnection) -> str | None:
    """The page for a link, of an address that was copied from the BI; None for anything else.

    One that this site has, too, is written with the BI's prefix, so that it leads there all the same.
    """
    if without_base(typed, saved) is None:
        return None
    page = page_from(typed, saved)
    return page if page and not is_here(f"/{page}") else own_address(page).lstrip("/")


def without_base(typed: str, saved: BiConnection) -> str | None:
    """What follows the BI's address in `typed`; None where it is none of the BI's."""
    base = saved.base_url
    if not base or not typed.lower().startswith(base.lower()):
        return None
    rest = typed[len(base) :]
    return rest if rest[:1] in ("", "/", "?") else None


def _resolves(path: str) -> bool:
    try:
        resolve(path)
    except Resolver404:
        return False
    return True
