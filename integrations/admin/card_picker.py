"""Pages to choose a card of the BI: first its page, then the card. The unsaved form is kept in the session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.forms.fields import InvalidJSONInput
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import get_random_string
from django.utils.translation import gettext

from integrations.admin.base import own_page
from integrations.admin.datasource_forms import CardForm
from integrations.datasources import catalogue
from integrations.jobs.registry import describe_job
from integrations.models import Card, DataSource, SourceKind
from integrations.models.fields import corp_condition

# The URL parameter with the draft's key. The typed values may be too long for a URL.
KEY = "draft"
# Enough for some open and some abandoned tabs.
KEPT_AT_MOST = 4
CHARACTERS_AT_MOST = 100_000
_STORED = "card_drafts"


def keep_draft(request: HttpRequest) -> str:
    """Keep the submitted form in the session. Return its key, or an empty text if the form is too long. The form has no
    secrets: the source holds them."""
    typed = {name: request.POST[name] for name in CardForm.Meta.fields if name in request.POST}
    if sum(map(len, typed.values())) > CHARACTERS_AT_MOST:
        return ""
    key = get_random_string(12)
    kept = {**request.session.get(_STORED, {}), key: typed}
    request.session[_STORED] = dict(list(kept.items())[-KEPT_AT_MOST:])
    return key


def read_draft(request: HttpRequest) -> dict[str, str]:
    """Return the kept values of the draft named in the URL. Leaves out an empty name, so that the chosen card's name is
    used."""
    found: dict[str, str] = request.session.get(_STORED, {}).get(request.GET.get(KEY, ""), {})
    return {name: InvalidJSONInput(text) for name, text in found.items() if text or name != "name"}


FOLDER = "admin/integrations/card"
SHOWN_AT_MOST = 200
# A search field appears above so many entries.
SEARCHED_FROM = 15
# Types of BI cards without rows.
WITHOUT_ROWS = frozenset(
    {"TEXT", "IFRAME", "PICTURE", "PARAMETER", "SELECTOR", "TREE_SELECTOR", "MERGE_SELECTOR", "LAYOUT"}
)
ID_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class CardChoice:
    """The state of a choice for a new card of `source`, or for `card`. `page_id`: empty until a page is chosen.
    `draft`: the key of the kept form."""

    source: DataSource
    card: Card | None
    page_id: str
    draft: str

    def query(self, **further: str) -> str:
        known = {"source": str(self.source.pk), "card": str(self.card.pk) if self.card else "", KEY: self.draft}
        return urlencode({name: value for name, value in (known | further).items() if value})

    def address(self, view: str = "choose", **further: str) -> str:
        return f"{reverse(f'admin:integrations_card_{view}')}?{self.query(**further)}"

    def form_address(self, **chosen: str) -> str:
        """Return the URL of the card form with the kept and chosen values."""
        values = ({KEY: self.draft} if self.draft else {}) | chosen
        if self.card is not None:
            return f"{reverse('admin:integrations_card_change', args=[self.card.pk])}?{urlencode(values)}"
        return f"{reverse('admin:integrations_card_add')}?{urlencode({'source': str(self.source.pk), **values})}"


def choose_view(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Show what the BI listed. A POST requests a listing."""
    choosing = _read_choice(model_admin, request)
    if request.method == "POST":
        page_id, is_again = choosing.page_id, "again" in request.POST
        catalogue.request_listing(page_id=page_id, by=request.user, now=timezone.now(), anew=is_again)
        return HttpResponseRedirect(choosing.address(page=page_id))
    context = {
        "title": gettext("Choose a card of the BI"),
        "choosing": choosing,
        "form_address": choosing.form_address(),
        "state": _state(request, choosing),
        "state_address": choosing.address("choose_state", page=choosing.page_id, q=request.GET.get("q", "")),
    }
    return own_page(model_admin, request, f"{FOLDER}/choose.html", context)


def state_view(model_admin: Any, request: HttpRequest) -> JsonResponse:
    return JsonResponse(_state(request, _read_choice(model_admin, request)))


def _read_choice(model_admin: Any, request: HttpRequest) -> CardChoice:
    """Read the choice from the request. Raises PermissionDenied or Http404 if the person may not edit the card or see
    the source."""
    sent = {**request.GET.dict(), **request.POST.dict()}
    card = None
    if sent.get("card"):
        card = model_admin.find_row_to_change(request, sent["card"])
    elif not model_admin.has_add_permission(request):
        raise PermissionDenied
    sources = DataSource.objects.visible_to(request.user).filter(kind=SourceKind.GUANDATA).only("name", "kind")
    source_id, page_id = sent.get("source", ""), sent.get("page", "")
    if not source_id.isdecimal() or len(source_id) > 9 or len(page_id) > ID_CHARACTERS:
        raise Http404
    source = get_object_or_404(sources, pk=int(source_id))
    # The card form itself was submitted, or a page of the list.
    draft = keep_draft(request) if "bi_card_id" in request.POST else sent.get(KEY, "")[:ID_CHARACTERS]
    return CardChoice(source, card, page_id, draft)


def _state(request: HttpRequest, choosing: CardChoice) -> dict[str, Any]:
    listing = catalogue.find_listing(choosing.page_id)
    wanted = request.GET.get("q", "").strip()
    entries = catalogue.read_entries(listing)
    may_mend = request.user.has_perm("integrations.change_biconnection") and not corp_condition(request.user)
    pages = catalogue.read_entries(catalogue.find_listing()) if choosing.page_id else []
    names = {one[0]: one[1] for one in pages}
    fitting = [one for one in entries if wanted.casefold() in f"{one[1]}\n{one[0]}".casefold()]
    context = {
        "choosing": choosing,
        **describe_job(listing),
        # Link to fix the connection.
        "bi_address": reverse("admin:integrations_biconnection_changelist") if may_mend else "",
        "again_address": choosing.address(page=choosing.page_id),
        "pages_address": choosing.address(),
        "page_name": names.get(choosing.page_id) or choosing.page_id,
        "is_searched": bool(wanted) or len(entries) > SEARCHED_FROM,
        "wanted": wanted,
        "rows": [_row(choosing, one) for one in fitting[:SHOWN_AT_MOST]],
        "unshown_count": max(0, len(fitting) - SHOWN_AT_MOST),
    }
    return {
        "is_unfinished": context["is_unfinished"],
        "html": render_to_string(f"{FOLDER}/_choose.html", context, request=request),
    }


def _row(choosing: CardChoice, entry: list[str]) -> dict[str, Any]:
    """Describe a page or card of the BI. `address`: the form with this card; empty for pages and for cards without
    rows."""
    its_id, name, kind = entry
    is_card = bool(choosing.page_id)
    has_rows = is_card and kind not in WITHOUT_ROWS
    chosen = {"bi_page_id": choosing.page_id, "bi_card_id": its_id, "name": (name or its_id)[:ID_CHARACTERS]}
    address = choosing.form_address(**chosen) if has_rows else ""
    return {"id": its_id, "name": name or its_id, "kind": kind, "is_card": is_card, "address": address}
