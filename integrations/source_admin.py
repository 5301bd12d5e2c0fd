"""Data sources and cards in the admin, with a test of each card that shows its first rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from integrations import card_data
from integrations.models import Card, CardData, DataSource
from integrations.models.sources import SECRETS
from integrations.source_forms import CardForm, DataSourceForm

if TYPE_CHECKING:
    SourceModelAdmin = admin.ModelAdmin[DataSource]
    CardModelAdmin = admin.ModelAdmin[Card]
else:
    SourceModelAdmin = CardModelAdmin = admin.ModelAdmin

FOLDER = "admin/integrations/card"
PREVIEW_ROWS = 20


@admin.register(DataSource)
class DataSourceAdmin(SourceModelAdmin):
    form = DataSourceForm
    list_display = ("name", "kind", "company", "is_enabled", "cards_count")
    list_filter = ("kind", "is_enabled")
    search_fields = ("name",)
    actions = None
    empty_list = _(
        "Where reports and alerts get their data: the BI, a database, or a web service. Begin with “Add data source”."
    )
    _common = ("name", "kind", "is_enabled", "corp", "timeout_seconds", "row_limit", "parallel_limit")
    _web = ("http_url", "allows_private_addresses", "ca_bundle")

    def get_queryset(self, request: HttpRequest) -> QuerySet[DataSource]:
        rows = DataSource.objects.visible_to(request.user).defer(*SECRETS)
        return rows.select_related("corp").annotate(card_count=Count("cards"))

    def get_form(self, request: HttpRequest, obj: DataSource | None = None, change: bool = False, **kwargs: Any) -> Any:
        return _with_person(super().get_form(request, obj, change=change, **kwargs), request, "corp")

    def get_fieldsets(self, request: HttpRequest, obj: DataSource | None = None) -> Any:
        """Who may only look sees no write-only field: it would be empty."""
        may = self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj)
        web = (*self._web[:1], "new_http_headers", "remove_http_headers", *self._web[1:]) if may else self._web
        database = [(_("Database (SQL)"), {"fields": ("new_sql_url",)})] if may else []
        return [(None, {"fields": self._common}), *database, (_("Web service (JSON over HTTP)"), {"fields": web})]

    @admin.display(description=_("company"), ordering="corp__name")
    def company(self, source: DataSource) -> str:
        return source.corp.name if source.corp else gettext("all companies")

    @admin.display(description=_("cards"))
    def cards_count(self, source: DataSource) -> int:
        return int(getattr(source, "card_count", 0))


@admin.register(Card)
class CardAdmin(CardModelAdmin):
    form = CardForm
    change_form_template = f"{FOLDER}/change_form.html"
    list_display = ("name", "source_name", "changed_at")
    list_filter = (("source", admin.RelatedOnlyFieldListFilter),)
    search_fields = ("name", "source__name")
    actions = None
    empty_list = _("Each card asks one question to one data source. Add a data source first, then a card.")
    fieldsets = (
        (None, {"fields": ("name", "source")}),
        (
            _("Cards of the BI (Guandata)"),
            {"fields": ("bi_card_id", "bi_page_id", "bi_view", "bi_filters", "bi_parameters")},
        ),
        (_("Database (SQL)"), {"fields": ("sql", "sql_parameters")}),
        (_("Web service (JSON over HTTP)"), {"fields": ("http_method", "http_path", "http_body", "expression")}),
        (_("Columns"), {"fields": ("kinds", "units")}),
    )

    class Media:
        css = {"all": ["integrations/corp.css"]}
        js = ["integrations/corp.js", "integrations/live.js"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Card]:
        return Card.objects.visible_to(request.user).select_related("source").defer(
            *(f"source__{column}" for column in SECRETS)
        )  # fmt: skip

    def get_form(self, request: HttpRequest, obj: Card | None = None, change: bool = False, **kwargs: Any) -> Any:
        return _with_person(super().get_form(request, obj, change=change, **kwargs), request, "source")

    def get_urls(self) -> list[URLPattern]:
        wrapped = self.admin_site.admin_view
        own = [
            path("<int:card_id>/test/", wrapped(require_POST(self.test_view)), name="integrations_card_test"),
            path("<int:card_id>/test/state/", wrapped(require_GET(self.state_view)), name="integrations_card_state"),
        ]
        return [*own, *super().get_urls()]

    @admin.display(description=_("data source"), ordering="source__name")
    def source_name(self, card: Card) -> str:
        return card.source.name

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        card = self.get_object(request, object_id) if object_id else None
        extra = dict(extra_context or {})
        if card is not None and self.has_change_permission(request, card):
            extra |= {"card": card, "test": _test_of(card)}
        return super().changeform_view(request, object_id, form_url, extra)

    def test_view(self, request: HttpRequest, card_id: int) -> HttpResponse:
        """Have the card's question asked in the background, as for a report; the page polls state_view."""
        card = self._card(request, card_id)
        now = timezone.now()
        card_data.request([card.pk], slot_at=now, now=now)
        self.log_change(request, card, gettext("Tested."))
        return HttpResponseRedirect(f"{reverse('admin:integrations_card_change', args=[card.pk])}#test")

    def state_view(self, request: HttpRequest, card_id: int) -> JsonResponse:
        return JsonResponse(_test_of(self._card(request, card_id)))

    def _card(self, request: HttpRequest, card_id: int) -> Card:
        """One that `request`'s person may change, because a test shows rows; else 403 or 404."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        return get_object_or_404(self.get_queryset(request), pk=card_id)


def _with_person(form: Any, request: HttpRequest, related: str) -> Any:
    form.person = request.user
    if related in form.base_fields:
        widget: Any = form.base_fields[related].widget
        widget.can_add_related = widget.can_change_related = False
        widget.can_view_related = widget.can_delete_related = False
    return form


def _test_of(card: Card) -> dict[str, Any]:
    """The last time that the card was fetched, for whatever reason: its state, and its first rows."""
    latest = CardData.objects.filter(card=card).order_by("-requested_at", "-pk").first()
    is_running = latest is not None and latest.status == CardData.Status.WAITING
    table = latest.table if latest is not None and latest.status == CardData.Status.READY else None
    context = {
        "latest": latest,
        "is_running": is_running,
        "is_outdated": latest is not None and latest.requested_at < card.changed_at,
        "table": table,
        "rows": table.rows[:PREVIEW_ROWS] if table else (),
    }
    return {"is_unfinished": is_running, "html": render_to_string(f"{FOLDER}/_test.html", context)}
