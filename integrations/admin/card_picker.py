"""Pages to choose a card of the BI, in a tab beside the form of the card: first its page, then the card. The chosen
values are put into that form by corp.js; without it the IDs can be typed."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext

from integrations.admin.base import own_page
from integrations.datasources import catalogue
from integrations.jobs.registry import describe_job
from integrations.models import DataSource, SourceKind
from integrations.models.fields import corp_condition

FOLDER = "admin/integrations/card"
SHOWN_AT_MOST = 200
# A search field appears above so many entries.
SEARCHED_FROM = 15
# Types of BI cards without rows.
WITHOUT_ROWS = frozenset(
    {"TEXT", "IFRAME", "PICTURE", "PARAMETER", "SELECTOR", "TREE_SELECTOR", "MERGE_SELECTOR", "LAYOUT"}
)
ID_CHARACTERS = 100


def choose_address(source_id: object, view: str = "choose", **further: str) -> str:
    """Return the URL of the list for a source. `further`: parameters; empty ones are left out."""
    query = urlencode({name: value for name, value in {"source": str(source_id), **further}.items() if value})
    return f"{reverse(f'admin:integrations_card_{view}')}?{query}"


def choose_view(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Show what the BI listed. A POST requests a listing."""
    source, page_id = _read_choice(model_admin, request)
    if request.method == "POST":
        catalogue.request_listing(page_id=page_id, by=request.user, now=timezone.now(), anew="again" in request.POST)
        return HttpResponseRedirect(choose_address(source.pk, page=page_id))
    context = {
        "title": gettext("Choose a card of the BI"),
        "is_popup": True,
        "state": _state(request, source, page_id),
        "state_address": choose_address(source.pk, "choose_state", page=page_id, q=request.GET.get("q", "")),
    }
    return own_page(model_admin, request, f"{FOLDER}/choose.html", context)


def state_view(model_admin: Any, request: HttpRequest) -> JsonResponse:
    return JsonResponse(_state(request, *_read_choice(model_admin, request)))


def _read_choice(model_admin: Any, request: HttpRequest) -> tuple[DataSource, str]:
    """Return the source, and the id of the chosen page, empty until one is chosen. Raises PermissionDenied, and Http404
    if the person may not see the source."""
    if not (model_admin.has_add_permission(request) or model_admin.has_change_permission(request)):
        raise PermissionDenied
    sources = DataSource.objects.visible_to(request.user).filter(kind=SourceKind.GUANDATA).only("name", "kind")
    sent = {**request.GET.dict(), **request.POST.dict()}
    source_id, page_id = sent.get("source", ""), sent.get("page", "")
    if not source_id.isdecimal() or len(source_id) > 9 or len(page_id) > ID_CHARACTERS:
        raise Http404
    return get_object_or_404(sources, pk=int(source_id)), page_id


def _state(request: HttpRequest, source: DataSource, page_id: str) -> dict[str, Any]:
    listing = catalogue.find_listing(page_id)
    wanted = request.GET.get("q", "").strip()
    entries = catalogue.read_entries(listing)
    may_mend = request.user.has_perm("integrations.change_biconnection") and not corp_condition(request.user)
    pages = catalogue.read_entries(catalogue.find_listing()) if page_id else []
    names = {one[0]: one[1] for one in pages}
    fitting = [one for one in entries if wanted.casefold() in f"{one[1]}\n{one[0]}".casefold()]
    context = {
        "source": source,
        "page_id": page_id,
        **describe_job(listing),
        # Link to fix the connection.
        "bi_address": reverse("admin:integrations_biconnection_changelist") if may_mend else "",
        "again_address": choose_address(source.pk, page=page_id),
        "pages_address": choose_address(source.pk),
        "page_name": names.get(page_id) or page_id,
        "is_searched": bool(wanted) or len(entries) > SEARCHED_FROM,
        "wanted": wanted,
        "rows": [_row(page_id, one) for one in fitting[:SHOWN_AT_MOST]],
        "unshown_count": max(0, len(fitting) - SHOWN_AT_MOST),
    }
    return {
        "is_unfinished": context["is_unfinished"],
        "html": render_to_string(f"{FOLDER}/_choose.html", context, request=request),
    }


def _row(page_id: str, entry: list[str]) -> dict[str, Any]:
    """Describe a page or card of the BI. `chosen`: the values of the form, as JSON; empty for a card without rows."""
    its_id, name, kind = entry
    values = {"bi_page_id": page_id, "bi_card_id": its_id, "name": (name or its_id)[:ID_CHARACTERS]}
    return {
        "id": its_id,
        "name": name or its_id,
        "kind": kind,
        "chosen": kind not in WITHOUT_ROWS and json.dumps(values),
    }
