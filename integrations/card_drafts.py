"""What was typed into a card's form and is not saved, kept in the session while its card is chosen in the BI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.forms.fields import InvalidJSONInput
from django.utils.crypto import get_random_string

from integrations.source_forms import CardForm

if TYPE_CHECKING:
    from django.http import HttpRequest

# The name of a draft in addresses: what was typed may be too long for one.
KEY = "draft"
# A tab or two, and some that were left behind.
KEPT_AT_MOST = 4
CHARACTERS_AT_MOST = 100_000
_STORED = "card_drafts"


def is_sent(request: HttpRequest) -> bool:
    """Whether the form itself came, not a page of the list."""
    return "bi_card_id" in request.POST


def keep(request: HttpRequest) -> str:
    """Keep what the form sent; returns the draft's key, or nothing where it is too much. No field of the form holds a
    secret: those are the source's."""
    typed = {name: request.POST[name] for name in CardForm.Meta.fields if name in request.POST}
    if sum(map(len, typed.values())) > CHARACTERS_AT_MOST:
        return ""
    key = get_random_string(12)
    kept = {**request.session.get(_STORED, {}), key: typed}
    request.session[_STORED] = dict(list(kept.items())[-KEPT_AT_MOST:])
    return key


def typed(request: HttpRequest) -> dict[str, str]:
    """What this session keeps by the key in the address, to fill in a form. A name that was left empty is left out: the
    card that is chosen has one."""
    found: dict[str, str] = request.session.get(_STORED, {}).get(request.GET.get(KEY, ""), {})
    return {name: InvalidJSONInput(text) for name, text in found.items() if text or name != "name"}
