"""The search box in the header of the admin: people, pushes, companies, data and messages by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from notifications.delivery.explanations import name_runs
from notifications.models import Run

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite, ModelAdmin
    from django.http import HttpRequest, HttpResponse

# In the order of display. Each uses the search of its own list page.
SEARCHED = (
    "accounts.User",
    "notifications.Subscription",
    "notifications.AlertRule",
    "notifications.Incident",
    "integrations.Corp",
    "integrations.Card",
    "integrations.Member",
    "notifications.Run",
    "notifications.Delivery",
)
SHOWN_AT_MOST = 5
CHARACTERS_AT_MOST = 100


@require_safe
def search_page(request: HttpRequest, *, site: AdminSite) -> HttpResponse:
    """Show the first results of each list that the person may see. The number of queries is fixed."""
    text = request.GET.get("q", "").replace("\x00", "").strip()[:CHARACTERS_AT_MOST]
    admins = [site.get_model_admin(apps.get_model(label)) for label in SEARCHED] if text else []
    seen = [one for one in admins if one.has_view_or_change_permission(request)]
    found = [one for one in (_search_list(model_admin, request, text) for model_admin in seen) if one["rows"]]
    context = {
        **site.each_context(request),
        "title": _("Search: %(text)s") % {"text": text} if text else _("Search"),
        "search_text": text,
        "found": found,
    }
    request.current_app = site.name  # as Django's own pages do
    return TemplateResponse(request, "admin/search.html", context)


def _search_list(model_admin: ModelAdmin[Any], request: HttpRequest, text: str) -> dict[str, Any]:
    """Return the label of a list, the names and addresses of its first results, and the address of all results, empty
    if all are shown."""
    options = model_admin.opts
    rows, _may_repeat = model_admin.get_search_results(request, model_admin.get_queryset(request), text)
    ordered = rows.order_by(*(model_admin.get_ordering(request) or ("-pk",)))
    # One more than shown tells that there are more. Rows may repeat if a relation was searched. Keys are selected
    # first, as in LogList, because the database would otherwise compute whole rows before dropping them.
    keys = dict.fromkeys(ordered.values_list("pk", flat=True)[: 2 * SHOWN_AT_MOST + 1])
    rows_by_key = model_admin.get_queryset(request).in_bulk(list(keys))
    first = [rows_by_key[key] for key in keys if key in rows_by_key]
    runs = name_runs(first) if options.model is Run else {}
    names = {pk: f"{name} {timezone.localtime(rows_by_key[pk].slot_at):%Y-%m-%d %H:%M}" for pk, name in runs.items()}
    url_names = f"admin:{options.app_label}_{options.model_name}"
    shown = [
        (names.get(row.pk) or str(row), reverse(f"{url_names}_change", args=[row.pk])) for row in first[:SHOWN_AT_MOST]
    ]
    list_url = f"{reverse(f'{url_names}_changelist')}?{urlencode({'q': text})}" if len(first) > SHOWN_AT_MOST else ""
    return {"label": capfirst(str(options.verbose_name_plural)), "rows": shown, "list_url": list_url}
