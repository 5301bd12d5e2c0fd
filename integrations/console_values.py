"""What an administrator copies into WeCom's console, and where it goes. All of it derives from the site address."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from integrations import links
from integrations.models import Corp


@dataclass(frozen=True, slots=True)
class ConsoleValue:
    """One value to copy. `id`: of its field in the page. `where`: the way to its place in WeCom's console."""

    id: str
    label: str
    value: str
    where: str
    note: str = ""


def domains(corp: Corp) -> list[ConsoleValue]:
    """The two domains, which must be equal and carry no scheme."""
    domain = links.trusted_domain(corp)
    plain = _("Without http:// or https://, which WeCom's console refuses here.")
    unread = _("WeCom lets no program read it: look there whether it is set.")
    return [
        ConsoleValue(
            "value-domain",
            _("Trusted domain"),
            domain,
            _in_app(_("Web authorisation and JS-SDK → Set the trusted domain")),
            plain,
        ),
        ConsoleValue(
            "value-callback",
            _("Callback domain"),
            domain,
            _in_app(_("WeCom authorised sign-in → Web page → Set the callback domain")),
            " ".join([plain, unread]),
        ),
    ]


def home_page(corp: Corp) -> ConsoleValue:
    """The app's home page, as the corp's setting for sign-in has it."""
    return ConsoleValue(
        "value-home-page",
        _("App home page"),
        links.home_page_link(corp),
        _in_app(_("App home page → Web page")),
        _("Copy it whole: its parameters sign people in.") if corp.sign_in_enabled else "",
    )


def plain_login(corp: Corp) -> ConsoleValue:
    """The other choice for the home page: the login page, where people type their password."""
    return ConsoleValue(
        "value-login", _("Plain login address"), links.plain_login_url(corp), _in_app(_("App home page → Web page"))
    )


def _in_app(place: str) -> str:
    return " → ".join([_("App management → the app"), place])
