"""Builds paths of the BI's pages for desktop and phone. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from integrations.clients.guandata.reserved import has_reserved, without_reserved

# Where a template has the id of the page.
ID = "{id}"
_ID = r"(?P<id>[^/?#]+)"
# Kept as they are in a path; everything else is encoded.
_PLAIN = "/:@!$&'()*+,;=~-._"


@dataclass(frozen=True, slots=True)
class PageForms:
    """How addresses of the BI look.

    `desktop`, `phone`: templates of a page, with {id}; an empty one for the phone means that it gets the desktop's.
    `desktop_home`, `phone_home`: the first page. `routed`: first words of paths that the BI serves behind its first
    page only, as `?path_url=…` (its forms: survey-engine).
    """

    desktop: str = "/page/{id}"
    phone: str = "/m/page/{id}?pageRenderType=phoneView"
    desktop_home: str = "/"
    phone_home: str = "/"
    routed: tuple[str, ...] = ("survey-engine",)


def page_for(requested: str, query: str, *, forms: PageForms, on_phone: bool) -> str:
    """The page that was asked for in the form for who asks, with the query that came along.

    `requested`: a path without its first slash, decoded; empty for the first page. `query`: as it stood in the address.
    What is reserved is left out of it and of the forms' own queries, however it is spelt.
    """
    further = without_reserved(query)
    home = forms.phone_home if on_phone else forms.desktop_home
    if not requested:
        return _joined(home, further)
    if requested.split("/", 1)[0] in forms.routed:
        inner = _joined(in_path(requested), further)
        return _joined(home, f"path_url={quote(inner, safe='')}")
    found = _id_in(requested, forms)
    if found is not None:
        template = forms.phone if on_phone and forms.phone else forms.desktop
        return _joined(template.replace(ID, quote(found, safe="")), further)
    return _joined("/" + in_path(requested), further)


def in_path(text: str) -> str:
    """Decoded text as part of a path."""
    return quote(text, safe=_PLAIN)


def is_template(text: str) -> bool:
    """Whether `text` names every page: a path with {id} as one whole part of it, and with a query if any."""
    path = text.partition("?")[0]
    is_path = text.startswith("/") and "//" not in path and "#" not in text
    return is_path and text.count("{") == 1 and ID in path.split("/") and not has_reserved(text)


def _id_in(requested: str, forms: PageForms) -> str | None:
    for template in filter(None, (forms.desktop, forms.phone)):
        pattern = re.escape(template.partition("?")[0].lstrip("/")).replace(re.escape(ID), _ID)
        found = re.fullmatch(f"{pattern}/?", requested)
        if found is not None:
            return found["id"]
    return None


def _joined(page: str, query: str) -> str:
    """`query` behind what the page has of its own; of two with one name, the one that was asked for counts."""
    path, _mark, own = page.partition("?")
    requested = {pair.partition("=")[0] for pair in query.split("&")}
    kept = [pair for pair in without_reserved(own).split("&") if pair and pair.partition("=")[0] not in requested]
    whole = "&".join([*kept, *([query] if query else [])])
    return f"{path}?{whole}" if whole else path
