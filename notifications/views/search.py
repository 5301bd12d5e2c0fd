"""The search box in the head of the administration: people, pushes, companies, data and messages by name."""

from __future__ import annotations

from dataclasses import dataclass
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

# In the order in which they are shown. Each is searched as its own list is.
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


@dataclass(frozen=True)
class Found:
    """What one list has. `list_url`: the list with all that was found, where more than `rows` was."""

    label: str
    rows: list[tuple[str, str]]
    list_url: str


@require_safe
def search_page(request: HttpRequest, *, site: AdminSite) -> HttpResponse:
    """What the person who asks may see, of each list the first few, in a fixed number of queries."""
    text = request.GET.get("q", "").replace("\x00", "").strip()[:CHARACTERS_AT_MOST]
    found = [each for each in _found(site, request, text) if each.rows] if text else []
    context = {
        **site.each_context(request),
        "title": _("Search: %(text)s") % {"text": text} if text else _("Search"),
        "search_text": text,
        "found": found,
    }
    request.current_app = site.name  # as Django's own pages do
    return TemplateResponse(request, "admin/search.html", context)


def _found(site: AdminSite, request: HttpRequest, text: str) -> list[Found]:
    admins = [site.get_model_admin(apps.get_model(label)) for label in SEARCHED]
    return [_of_list(one, request, text) for one in admins if one.has_view_or_change_permission(request)]


def _of_list(model_admin: ModelAdmin[Any], request: HttpRequest, text: str) -> Found:
    options = model_admin.opts
    rows, _may_repeat = model_admin.get_search_results(request, model_admin.get_queryset(request), text)
    ordered = rows.order_by(*(model_admin.get_ordering(request) or ("-pk",)))
    # One more than is shown says that there is more; a row may come twice where a relation was searched. By their keys
    # first, as LogList does: the database would work out the rest of each row before it leaves most of them out.
    keys = dict.fromkeys(ordered.values_list("pk", flat=True)[: 2 * SHOWN_AT_MOST + 1])
    rows_by_key = model_admin.get_queryset(request).in_bulk(list(keys))
    first = [rows_by_key[key] for key in keys if key in rows_by_key]
    url_names = f"admin:{options.app_label}_{options.model_name}"
    named = _run_names([row for row in first if isinstance(row, Run)])
    shown = [
        (named.get(row.pk) or str(row), reverse(f"{url_names}_change", args=[row.pk])) for row in first[:SHOWN_AT_MOST]
    ]
    list_url = f"{reverse(f'{url_names}_changelist')}?{urlencode({'q': text})}" if len(first) > SHOWN_AT_MOST else ""
    return Found(capfirst(str(options.verbose_name_plural)), shown, list_url)


def _run_names(runs: list[Run]) -> dict[int, str]:
    """With the time for which each was due."""
    found = name_runs(runs)
    return {run.pk: f"{found[run.pk]} {timezone.localtime(run.slot_at):%Y-%m-%d %H:%M}" for run in runs}
