"""Data sources and cards in the admin, with a test of each card that shows its first rows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import MappingProxyType
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten_fieldsets
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from integrations.admin import card_picker
from integrations.admin.base import View, find_row, hide_related_links, own_page, own_routes
from integrations.admin.datasource_forms import NAMES, CardForm, DataSourceForm
from integrations.core.admin_pages import VERSION, WAYS, AnyModelAdmin, ConfirmedChanges, describe_way
from integrations.data.table import Kind
from integrations.datasources import fetch, source_tests
from integrations.jobs.registry import describe_job
from integrations.models import Card, CardData, DataSource, SourceKind, datasources
from integrations.models.datasources import SECRETS
from integrations.models.fields import corp_condition

FOLDER = "admin/integrations/card"
PREVIEW_ROWS = 20
# In the address of a new source: a card is made of it next.
FOR_CARD = "for_card"
_KINDS = {
    SourceKind.GUANDATA: _("Cards of the BI that is connected on the page Guandata BI."),
    SourceKind.SQL: _("PostgreSQL, MySQL, MariaDB, and others with a driver: one query that reads."),
    SourceKind.JSON: _("A web address that answers with JSON; JMESPath finds the rows in it."),
}


TEMPLATE = "admin/integrations/datasource/_unsaved.html"
# What may still be missing while the rest is tried.
UNTRIED = frozenset({"name", "corp"})
# The fields which the page tries by itself, once all of them are filled in. A database may be one without a password.
NEEDED_OF_SOURCE = {
    SourceKind.SQL: ("db_host", "db_name", "db_user", "db_password"),
    SourceKind.JSON: ("http_url",),
}
NEEDED_OF_CARD = {SourceKind.SQL: ("sql",), SourceKind.GUANDATA: ("bi_card_id",)}


class UnsavedTests(AnyModelAdmin):
    """For the admin of data sources, and of cards. The page sends its form, with the key of the row that it changes as
    `_id`; the answer has an address at which one learns how far it is."""

    def get_urls(self) -> list[URLPattern]:
        views: dict[tuple[str, str], View] = {
            ("try/", "try"): require_POST(self.try_view),
            ("try/<str:token>/", "tried"): require_GET(self.tried_view),
        }
        return [*own_routes(self, views), *super().get_urls()]

    def try_view(self, request: HttpRequest) -> JsonResponse:
        """The form as it stands. Nothing is saved, and what is wrong without asking anybody is said at once."""
        row = self._at_work(request)
        form: Any = self.get_form(request, row, change=row is not None)(request.POST, request.FILES, instance=row)
        form.fields.pop(VERSION, None)  # what others saved meanwhile is said when it is saved
        form.is_valid()
        problems = list(_problems(form))
        if problems:
            html = render_to_string(TEMPLATE, {"problems": problems}, request)
            return JsonResponse({"html": html, "is_unfinished": False})
        tried: Any = form.instance
        source, card = (tried.source, tried) if isinstance(tried, Card) else (tried, None)
        token = source_tests.request_unsaved_test(source, card, by=request.user, now=timezone.now())
        return self._state(request, token)

    def tried_view(self, request: HttpRequest, token: str) -> JsonResponse:
        """How far it is, for whoever asked."""
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied
        return self._state(request, token)

    def _state(self, request: HttpRequest, token: str) -> JsonResponse:
        job = source_tests.latest_unsaved_test(token, by=request.user)
        if job is None:
            raise Http404
        context = {
            **describe_job(job),
            "table": source_tests.find_first_rows(job),
        }
        return JsonResponse(
            {
                "html": render_to_string(TEMPLATE, context, request),
                "is_unfinished": job.is_unfinished,
                "url": reverse(f"admin:{self._view_name('tried')}", args=[token]),
            }
        )

    def _at_work(self, request: HttpRequest) -> Any:
        """The row that the page is about, which the person may change; None for a new one, which they may add."""
        key = request.POST.get("_id", "")
        if not key:
            if not self.has_add_permission(request):
                raise PermissionDenied
            return None
        row = self.get_queryset(request).filter(pk=int(key)).first() if key.isdecimal() and len(key) < 19 else None
        if row is None:
            raise Http404
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        return row

    def unsaved_test(self, request: HttpRequest, row: DataSource | Card | None, kind: SourceKind | None) -> Any:
        """For the page's template; nothing for whoever may not fill in the form, and for the BI's own connection."""
        may = self.has_add_permission(request) if row is None else self.has_change_permission(request, row)
        is_bi = kind == SourceKind.GUANDATA and self.model is DataSource
        if not may or kind is None or is_bi:
            return None
        needs = NEEDED_OF_CARD if self.model is Card else NEEDED_OF_SOURCE
        url = reverse(f"admin:{self._view_name('try')}")
        return {"url": url, "id": "" if row is None else row.pk, "needs": " ".join(needs.get(kind, ()))}

    def _view_name(self, view: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{view}"


@admin.register(DataSource)
class DataSourceAdmin(ConfirmedChanges, UnsavedTests):
    form = DataSourceForm
    unconfirmed_pages = frozenset({"integrations_datasource_test", "integrations_datasource_try"})
    change_form_template = "admin/integrations/datasource/change_form.html"
    list_display = ("name", "kind", "company", "is_enabled", "allows_private_addresses", "powers", "cards_count")
    list_filter = ("kind", "is_enabled", "allows_private_addresses")
    search_fields = ("name",)
    actions = None
    empty_list = _(
        "Where reports and alerts get their data: the BI, a database, or a web service. Begin with “Add data source”."
    )
    _common = ("name", "kind", "is_enabled", "corp")
    _limits = ("timeout_seconds", "row_limit", "parallel_limit")
    _web = ("http_url", "allows_private_addresses", "ca_bundle")

    class Media:
        css = {"all": ["integrations/corp.css"]}
        js = ["integrations/live.js"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[DataSource]:
        rows = DataSource.objects.visible_to(request.user).defer(*SECRETS)
        return rows.select_related("corp").annotate(card_count=Count("cards"))

    def get_form(self, request: HttpRequest, obj: DataSource | None = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        hide_related_links(form, "corp")
        form.person = request.user
        form.shown = flatten_fieldsets(self.get_fieldsets(request, obj))
        return form

    def get_fieldsets(self, request: HttpRequest, obj: DataSource | None = None) -> Any:
        """Those of its kind. Who may only look sees no write-only field: it would be empty."""
        may = self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj)
        web = (*self._web[:1], "new_http_headers", "remove_http_headers", *self._web[1:]) if may else self._web
        database = ((*NAMES, "new_sql_url") if may else ()) + self._web[1:]
        further = {SourceKind.SQL: database, SourceKind.JSON: web}
        kind = self._kind(request, obj)
        fields = further.get(kind, ()) if kind else ()
        limits = (_("Limits"), {"classes": ["collapse"], "fields": self._limits})
        connection = [(_("Connection"), {"fields": fields})] if fields else []
        return [(None, {"fields": self._common}), *connection, limits]

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """A new one begins with its kind."""
        if object_id is None and request.method == "GET" and not self._kind(request, None):
            if not self.has_add_permission(request):
                raise PermissionDenied
            return _choices(self, request, gettext("Which kind of data source?"), [
                {"name": kind.label, "help": _KINDS[kind], "query": _with(request, kind=kind.value)}
                for kind in SourceKind
                if kind != SourceKind.GUANDATA or not corp_condition(request.user)
            ])  # fmt: skip
        if object_id is not None and request.method == "GET":
            source = self.get_object(request, object_id)
            if source is not None and source.account_powers:
                messages.warning(request, datasources.too_much_power(source.account_powers))
            if source is not None and self.has_change_permission(request, source):
                extra_context = {**(extra_context or {}), **_source_test(source)}
        row = self.get_object(request, object_id) if object_id else None
        extra = {**(extra_context or {}), "unsaved_test": self.unsaved_test(request, row, self._kind(request, row))}
        return super().changeform_view(request, object_id, form_url, extra)

    def get_urls(self) -> list[URLPattern]:
        views: dict[tuple[str, str], View] = {
            ("<int:source_id>/test/", "test"): require_POST(self.test_view),
            ("<int:source_id>/test/state/", "state"): require_GET(self.state_view),
        }
        return [*own_routes(self, views), *super().get_urls()]

    def test_view(self, request: HttpRequest, source_id: int) -> HttpResponse:
        """Try the source in the background; the page from which one came polls state_view."""
        source: DataSource = find_row(self, request, source_id, to_change=True)
        source_tests.request_source_test(source, by=request.user, now=timezone.now())
        self.log_change(request, source, gettext("Tested."))
        page = reverse("admin:integrations_datasource_change", args=[source.pk])
        sent = request.POST.get("next", "")
        is_ours = url_has_allowed_host_and_scheme(sent, {request.get_host()}, require_https=request.is_secure())
        return HttpResponseRedirect(f"{sent if is_ours else page}#test")

    def state_view(self, request: HttpRequest, source_id: int) -> JsonResponse:
        """For whoever may change the source, because a test tells of the network."""
        source = find_row(self, request, source_id, to_change=True)
        return JsonResponse(_source_test(source).get("source_test", {}))

    def save_model(self, request: HttpRequest, obj: DataSource, form: Any, change: bool) -> None:
        """Saved, it is tried at once."""
        super().save_model(request, obj, form, change)
        if source_tests.can_be_tested(obj):
            source_tests.request_source_test(obj, by=request.user, now=timezone.now())

    def response_post_save_add(self, request: HttpRequest, obj: DataSource) -> HttpResponseRedirect:
        return self.response_post_save_change(request, obj)

    def response_post_save_change(self, request: HttpRequest, obj: DataSource) -> HttpResponseRedirect:
        """Where a test says what came of it, it stands on the page of the source."""
        if not source_tests.can_be_tested(obj):
            return super().response_post_save_change(request, obj)
        return HttpResponseRedirect(f"{reverse('admin:integrations_datasource_change', args=[obj.pk])}#test")

    def response_add(self, request: HttpRequest, obj: DataSource, post_url_continue: Any = None) -> HttpResponse:
        """On to the card for which it was added, in the same window."""
        if FOR_CARD not in request.GET:
            return super().response_add(request, obj, post_url_continue)
        query = request.GET.copy()
        query.pop(FOR_CARD)
        query.pop("kind", None)
        query["source"] = str(obj.pk)
        messages.success(request, gettext("The data source is saved. Now the query."))
        return HttpResponseRedirect(f"{reverse('admin:integrations_card_add')}?{query.urlencode()}")

    def _kind(self, request: HttpRequest, source: DataSource | None) -> SourceKind | None:
        sent = source.kind if source else (request.POST or request.GET).get("kind", "")
        return SourceKind(sent) if sent in SourceKind.values else None

    @admin.display(description=_("company"), ordering="corp__name")
    def company(self, source: DataSource) -> str:
        return source.corp.name if source.corp else gettext("all companies")

    @admin.display(description=_("account"))
    def powers(self, source: DataSource) -> str:
        """What it may do beyond reading tables."""
        if not source.account_powers:
            return "—"
        return format_html('<span class="pill pill-warn">{}</span>', datasources.word_powers(source.account_powers))

    @admin.display(description=_("cards"))
    def cards_count(self, source: DataSource) -> int:
        return int(getattr(source, "card_count", 0))


@admin.register(Card)
class CardAdmin(UnsavedTests):
    form = CardForm
    change_form_template = f"{FOLDER}/change_form.html"
    list_display = ("name", "source_name", "changed_at")
    list_filter = (("source", admin.RelatedOnlyFieldListFilter),)
    search_fields = ("name", "source__name")
    actions = None
    empty_list = _("Each card is one query of a data source. Add a data source first, then a card.")
    _of_kind = MappingProxyType(
        {
            SourceKind.GUANDATA: ("bi_card_id", "bi_page_id", "bi_view", "bi_filters", "bi_parameters"),
            SourceKind.SQL: ("sql", "sql_parameters"),
            SourceKind.JSON: ("http_method", "http_path", "http_body", "expression"),
        }
    )

    class Media:
        css = {"all": ["integrations/corp.css"]}
        js = ["integrations/corp.js", "integrations/live.js"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Card]:
        return Card.objects.visible_to(request.user).select_related("source").defer(
            *(f"source__{column}" for column in SECRETS)
        )  # fmt: skip

    def get_form(self, request: HttpRequest, obj: Card | None = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        hide_related_links(form, "source")
        form.person = request.user
        form.kind = self._kind(request, obj) or ""
        # With what the form begins instead of what is saved; what comes back of it is compared with what is saved.
        form.filled_in = {**card_picker.typed(request), **self._chosen(request)} if request.method == "GET" else {}
        further = f"?card={obj.pk}" if obj else ""
        form.choosing_address = reverse("admin:integrations_card_choose") + further
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Card | None = None) -> Any:
        """Those of the kind of its source."""
        kind = self._kind(request, obj)
        common: tuple[Any, dict[str, Any]] = (None, {"fields": ("name", "source")})
        if kind is None:
            return [common]
        columns = (_("Columns"), {"classes": ["collapse"], "fields": ("kinds", "units", "as_of_column")})
        return [common, (kind.label, {"fields": self._of_kind[kind]}), columns]

    def _kind(self, request: HttpRequest, card: Card | None) -> SourceKind | None:
        if card is not None:
            return SourceKind(card.source.kind)
        sent = (request.POST or request.GET).get("source", "")
        if not sent.isdecimal() or len(sent) > 9:
            return None
        found = DataSource.objects.visible_to(request.user).filter(pk=int(sent)).values_list("kind", flat=True).first()
        return SourceKind(found) if found else None

    def _chosen(self, request: HttpRequest) -> dict[str, str]:
        """What a link of the list of the BI names."""
        names = ("bi_page_id", "bi_card_id")
        return {name: request.GET[name] for name in names if name in request.GET}

    def get_urls(self) -> list[URLPattern]:
        views: dict[tuple[str, str], View] = {
            ("choose/", "choose"): partial(card_picker.choose_view, self),
            ("choose/state/", "choose_state"): require_GET(partial(card_picker.state_view, self)),
            ("<int:card_id>/test/", "test"): require_POST(self.test_view),
            ("<int:card_id>/test/state/", "state"): require_GET(self.state_view),
        }
        return [*own_routes(self, views), *super().get_urls()]

    @admin.display(description=_("data source"), ordering="source__name")
    def source_name(self, card: Card) -> str:
        return card.source.name

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """A new one begins with its source."""
        if object_id is None and request.method == "GET" and self._kind(request, None) is None:
            if not self.has_add_permission(request):
                raise PermissionDenied
            return self._choose_source(request)
        card = self.get_object(request, object_id) if object_id else None
        extra = {**(extra_context or {}), "is_chosen": request.method == "GET" and bool(self._chosen(request))}
        if card is not None and self.has_change_permission(request, card):
            extra |= {"card": card, "test": _test_of(card)}
        elif object_id is None and request.method == "GET" and request.user.has_perm("integrations.change_datasource"):
            extra |= _source_test(DataSource.objects.defer(*SECRETS).get(pk=request.GET["source"]))
        extra["unsaved_test"] = self.unsaved_test(request, card, self._kind(request, card))
        return super().changeform_view(request, object_id, form_url, extra)

    def _choose_source(self, request: HttpRequest) -> HttpResponse:
        sources = DataSource.objects.visible_to(request.user).defer(*SECRETS)
        rows = [
            {"name": one.name, "help": one.get_kind_display(), "query": _with(request, source=str(one.pk))}
            for one in sources
        ]
        may_add = request.user.has_perm("integrations.add_datasource")
        address = f"{reverse('admin:integrations_datasource_add')}?{_with(request, **{FOR_CARD: '1'})}"
        way = {} if rows else describe_way(WAYS[DataSource._meta.label], DataSource, request, is_empty=True)
        further = {"add_address": address if may_add else "", "way": way}
        return _choices(self, request, gettext("From which data source does the card take its data?"), rows, **further)

    def test_view(self, request: HttpRequest, card_id: int) -> HttpResponse:
        """Have the card's question asked in the background, as for a report; the page polls state_view."""
        card: Card = find_row(self, request, card_id, to_change=True)
        now = timezone.now()
        fetch.request([card.pk], slot_at=now, now=now)
        self.log_change(request, card, gettext("Tested."))
        return HttpResponseRedirect(f"{reverse('admin:integrations_card_change', args=[card.pk])}#test")

    def state_view(self, request: HttpRequest, card_id: int) -> JsonResponse:
        """For whoever may change the card, because a test shows rows."""
        return JsonResponse(_test_of(find_row(self, request, card_id, to_change=True)))


KINDS_OF_COLUMNS = {
    Kind.TEXT: pgettext_lazy("kind of a column", "text"),
    Kind.NUMBER: pgettext_lazy("kind of a column", "number"),
    Kind.PERCENT: pgettext_lazy("kind of a column", "percent"),
    Kind.BOOLEAN: pgettext_lazy("kind of a column", "yes or no"),
    Kind.DATE: pgettext_lazy("kind of a column", "date"),
    Kind.DATETIME: pgettext_lazy("kind of a column", "date and time"),
}


def _with(request: HttpRequest, **values: str) -> str:
    """The query of the page's address with these values."""
    query = request.GET.copy()
    query.update(values)
    return query.urlencode()


def _choices(model_admin: Any, request: HttpRequest, title: str, rows: list[Any], **further: Any) -> HttpResponse:
    """A page of links, each to the form for what is chosen. `rows`: name, help and query of each."""
    context = {
        "title": title,
        "rows": rows,
        "is_popup": "_popup" in request.GET,
        **further,
    }
    return own_page(model_admin, request, "admin/integrations/choices.html", context)


def _source_test(source: DataSource) -> dict[str, Any]:
    """What the section of the test needs; nothing for a source that has none."""
    if not source_tests.can_be_tested(source):
        return {}
    context = describe_job(source_tests.latest_source_test(source, now=timezone.now()))
    html = render_to_string("admin/integrations/datasource/_test.html", context)
    return {"source": source, "source_test": {"is_unfinished": context["is_unfinished"], "html": html}}


def _test_of(card: Card) -> dict[str, Any]:
    """The last time that the card was fetched for a report, an alert or a test: its state, and its first rows."""
    now, of_slots = timezone.now(), CardData.objects.filter(card=card, slot_at__isnull=False)
    latest = of_slots.order_by("-requested_at", "-pk").first()
    is_running = latest is not None and latest.status == CardData.Status.WAITING
    if latest is not None:
        latest.card = card
    table = latest.table if latest is not None and latest.status == CardData.Status.READY else None
    context = {
        "latest": latest,
        "problem": latest.problem if latest is not None else "",
        "is_running": is_running,
        "seconds": int((now - latest.requested_at).total_seconds()) if latest is not None else 0,
        "hindrance": fetch.find_hindrance(latest, now=now) if latest is not None and is_running else "",
        "is_outdated": latest is not None and latest.requested_at < card.changed_at,
        "table": table,
        "heads": [(column, KINDS_OF_COLUMNS[column.kind]) for column in table.columns] if table else (),
        "rows": table.rows[:PREVIEW_ROWS] if table else (),
    }
    return {"is_unfinished": is_running, "html": render_to_string(f"{FOLDER}/_test.html", context)}


def _problems(form: Any) -> Iterator[str]:
    for name, texts in form.errors.items():
        if name not in UNTRIED:
            label = form.fields[name].label if name in form.fields else ""
            yield from (gettext("%(field)s: %(problem)s") % {"field": label, "problem": text} for text in texts)
