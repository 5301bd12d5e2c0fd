"""Recognises paths of this site. Pure: the same rules for links made and links followed."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote, unquote, unquote_plus, urlsplit

from django.core.exceptions import ValidationError
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _

from integrations.core.validators import without_invisible

HOME = "/"
LONGEST = 2048
# An inner page stands encoded in the query of an encoded address: with more characters there the whole link could have
# more than the 1024 bytes that a menu takes.
LONGEST_IN_LINK = 640
# The specification writes an inner page as the query of the site's root; sign-in takes what follows as its parameters.
_AS_SPECIFIED = re.compile(r"(?:/?\?)?path_url=(?P<page>[^&]*)(?:&(?P<further>.*))?", re.DOTALL)
# Pages of signing in and out: to land there would begin again.
_NOT_LANDINGS = ("/login/", "/logout/", "/wecom/")
# Percent-encoding around percent-encoding: deeper than this nobody means well.
_LAYERS = 5


def is_own_page(candidate: str) -> bool:
    """Whether `candidate` (a path, with query and fragment if any) is a page of this site on which one may land."""
    if not candidate.startswith("/") or len(candidate) > LONGEST or not is_plain(candidate):
        return False
    try:
        path = urlsplit(candidate).path
    except ValueError:
        return False
    if not url_has_allowed_host_and_scheme(candidate, allowed_hosts=None):
        return False
    return all(_is_harmless(layer) for layer in _layers(path))


def safe_path(candidate: str) -> str:
    """`candidate` where it is a page of this site (a path, with query and fragment if any), else the home page."""
    return candidate if is_own_page(candidate) else HOME


def rooted(page: str) -> str:
    """`survey-engine` as `/survey-engine`; empty for what begins like a scheme."""
    if not page or ":" in page.split("/", 1)[0].split("?", 1)[0]:
        return ""
    return page if page.startswith("/") else f"/{page}"


def length_in_link(text: str) -> int:
    """How many characters `text` takes as a parameter of the home page link, where it is encoded twice."""
    return len(quote(quote(text, safe="/"), safe=""))


def inner_page_from(typed: str, *, site_url: str) -> str:
    """What an administrator typed as the page of a deep link, as the link takes it. Empty: the usual page.

    A path (`survey-engine`, `/reports/1?tab=2`), a whole address of this site (`site_url`), of which the path is
    kept, or the specification's `path_url=survey-engine`, alone or in either. Raises ValidationError, with a sentence.
    """
    page = _unwrapped(_without_origin(without_invisible(typed), site_url))
    if not page:
        return ""
    if (length := length_in_link(page)) > LONGEST_IN_LINK:
        raise ValidationError(
            _("The path is too long: it takes %(count)s characters in the link, at most %(limit)s."),
            code="long",
            params={"count": length, "limit": LONGEST_IN_LINK},
        )
    if not is_own_page(rooted(page)):
        raise ValidationError(
            _(
                "This is not a path of a page here. Write what follows the host in the browser's address, "
                "such as survey-engine or /m/1?from=menu; pages of signing in and out are no targets."
            ),
            code="path",
        )
    return page


def _without_origin(page: str, site_url: str) -> str:
    if not page.lower().startswith(("http://", "https://")):
        return page
    origin = site_url.rstrip("/")
    rest = page[len(origin) :]
    if not page.lower().startswith(origin.lower()) or rest[:1] not in ("", "/", "?", "#"):
        raise ValidationError(
            _("This address belongs to another site. A link can only lead to a page of %(site)s."),
            code="elsewhere",
            params={"site": site_url},
        )
    return rest if rest.startswith("/") else f"/{rest}"


def _unwrapped(page: str) -> str:
    found = _AS_SPECIFIED.fullmatch(page)
    if found is None:
        return page
    inner, further = unquote_plus(found["page"]), found["further"]
    return f"{inner}{'&' if '?' in inner else '?'}{further}" if further else inner


def _layers(path: str) -> list[str]:
    """The path as it stands and after each further decoding; one that never ends counts as harmful."""
    layers = [path]
    while (inner := unquote(layers[-1])) != layers[-1]:
        layers.append(inner)
        if len(layers) > _LAYERS:
            return ["//"]
    return layers


def _is_harmless(path: str) -> bool:
    """No dots: browsers resolve `/m/../login/` before they request it, and then it is another page."""
    if "//" in path or not is_plain(path) or not {".", ".."}.isdisjoint(path.split("/")):
        return False
    return not f"{path}/".startswith(_NOT_LANDINGS)


def is_plain(text: str) -> bool:
    """Without what browsers and servers read in different ways: backslashes, control and invisible characters."""
    return "\\" not in text and not any(unicodedata.category(char).startswith("C") for char in text)
