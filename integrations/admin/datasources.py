"""Admin pages of data sources and cards, with a test that shows the first rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten_fieldsets
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from integrations.admin.base import View, find_row, fold_fields, hide_related_links, make_routes, show_page, show_status
from integrations.admin.datasource_forms import (
    COLUMN_FIELDS,
    DATABASE_FIELDS,
    JSON_FIELDS,
    QUERY_FIELDS,
    CardForm,
    DataSourceForm,
)
from integrations.core.admin_pages import VERSION, AnyModelAdmin, ConfirmedChanges, describe_empty_select
from integrations.data.figures import sort_newest_first
from integrations.data.table import list_cells
from integrations.datasources import catalogue, fetch, source_tests
from integrations.jobs.registry import describe_job
from integrations.jobs.requests import find_newest_job
from integrations.models import Card, CardData, DataSource, SourceKind, datasources
from integrations.models.datasources import SECRETS
from integrations.models.fields import corp_condition

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

FOLDER = "admin/integrations/card"
ROWS_SHOWN = 20  # of a card's data, on its page
SHOWN_AT_MOST = 200  # pages or cards of the BI in a list; people search for the others
SEARCHED_ABOVE = 15  # a list with more entries has a search field
# Types of BI cards without rows.
WITHOUT_ROWS = frozenset(
    {"TEXT", "IFRAME", "PICTURE", "PARAMETER", "SELECTOR", "TREE_SELECTOR", "MERGE_SELECTOR", "LAYOUT"}
)
ID_CHARACTERS = 100  # limit of ids in the BI, and of names of cards
FOR_CARD = "for_card"  # URL parameter: after saving the new source, add a card
UNSAVED_TEST_TEMPLATE = "admin/integrations/datasource/_unsaved.html"
FIELDS_NOT_TESTED = frozenset({"name", "corp"})  # their errors do not prevent a test
NETWORK_FIELDS = ("allows_private_addresses", "ca_bundle")


@dataclass(frozen=True, kw_only=True)
class SourceKindFields:
    """The fields of a kind of source and of its cards. `help`: shown where the kind is chosen. `connection`: the fields
    of its connection. `tried_with`, `card_tried_with`: once all these fields are filled in, the page runs a test."""

    help: StrOrPromise
    connection: tuple[str, ...] = ()
    tried_with: tuple[str, ...] = ()
    card_tried_with: tuple[str, ...] = ()


KINDS = {
    SourceKind.GUANDATA: SourceKindFields(
        help=_("Cards of the BI that is connected on the page Guandata BI."), card_tried_with=("bi_card_id",)
    ),
    SourceKind.SQL: SourceKindFields(
        help=_("PostgreSQL, MySQL, MariaDB, and others with a driver: one query that reads."),
        connection=(*DATABASE_FIELDS, "new_sql_url", *NETWORK_FIELDS),
        tried_with=("db_host", "db_name", "db_user", "db_password"),  # without a password only the button tests
        card_tried_with=("sql",),
    ),
    SourceKind.JSON: SourceKindFields(
        help=_("A web address that answers with JSON; JMESPath finds the rows in it."),
        connection=("http_url", "new_http_headers", "remove_http_headers", *NETWORK_FIELDS),
        tried_with=("http_url",),
    ),
}


class TestedRows(AnyModelAdmin):
    """Base of the admins of sources and of cards: a choice before the form of a new row, and tests of the saved row and
    of the form before saving. To test the form, the page submits it with the row's key as `_id`, empty for a new row;
    the answer has a URL to poll."""

    actions = None

    # Returns the kind of the row, or of a new one from the request.
    find_kind: Callable[[HttpRequest, Any], SourceKind | None]
    # Shows the page to choose the kind or the source of a new row.
    show_choice_page: Callable[[HttpRequest], HttpResponse]
    # Returns additional template context.
    describe_page: Callable[[HttpRequest, Any], dict[str, Any]]
    # Starts a background test of the saved row; describe_test returns its state for polling.
    request_test: Callable[[HttpRequest, Any], None]
    describe_test: Callable[[Any], dict[str, Any]]

    def get_urls(self) -> list[URLPattern]:
        views: dict[tuple[str, str], View] = {
            ("try/", "try"): require_POST(self.test_unsaved_view),
            ("try/<str:token>/", "tried"): require_GET(self.unsaved_state_view),
            ("<int:row_id>/test/", "test"): require_POST(self.test_view),
            ("<int:row_id>/test/state/", "state"): require_GET(self.state_view),
        }
        return [*make_routes(self, views), *super().get_urls()]

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id) if object_id else None
        kind = self.find_kind(request, row)
        if object_id is None and request.method == "GET" and kind is None:
            if not self.has_add_permission(request):
                raise PermissionDenied
            return self.show_choice_page(request)
        extra = {**(extra_context or {}), "unsaved_test": None}
        may = self.has_add_permission(request) if row is None else self.has_change_permission(request, row)
        is_card = self.model is Card
        # The connection of a BI source is tested on the page of the BI connection.
        if may and kind is not None and (is_card or kind != SourceKind.GUANDATA):
            needs = KINDS[kind].card_tried_with if is_card else KINDS[kind].tried_with
            url = reverse(f"admin:{self._build_view_name('try')}")
            extra["unsaved_test"] = {"url": url, "id": "" if row is None else row.pk, "needs": " ".join(needs)}
        if object_id is None or row is not None:
            extra |= self.describe_page(request, row)
        return super().changeform_view(request, object_id, form_url, extra)

    def test_view(self, request: HttpRequest, row_id: int) -> HttpResponse:
        """Test the saved row. The page that sent the request polls state_view."""
        row = self.find_row_to_change(request, row_id)
        self.request_test(request, row)
        self.log_change(request, row, gettext("Tested."))
        page, sent = reverse(f"admin:{self._build_view_name('change')}", args=[row.pk]), request.POST.get("next", "")
        is_ours = url_has_allowed_host_and_scheme(sent, {request.get_host()}, require_https=request.is_secure())
        return HttpResponseRedirect(f"{sent if is_ours else page}#test")

    def state_view(self, request: HttpRequest, row_id: int) -> JsonResponse:
        """Return the state of the test. Needs change permission, because a test shows rows or facts about the
        network."""
        return JsonResponse(self.describe_test(self.find_row_to_change(request, row_id)))

    def find_row_to_change(self, request: HttpRequest, pk: int | str) -> Any:
        """Return the row by find_row, but check the general change permission first, so that people without it do not
        learn which rows exist."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        return find_row(self, request, pk, to_change=True)

    def test_unsaved_view(self, request: HttpRequest) -> JsonResponse:
        """Test the submitted form without saving it. Errors of the form are returned at once."""
        key, row = request.POST.get("_id", ""), None
        if key:
            row = find_row(self, request, key, to_change=True)
        elif not self.has_add_permission(request):
            raise PermissionDenied
        form: Any = self.get_form(request, row, change=row is not None)(request.POST, request.FILES, instance=row)
        form.fields.pop(VERSION, None)  # concurrent changes are reported only on saving
        form.is_valid()
        problems: list[str] = []
        for name, texts in form.errors.items():
            if name not in FIELDS_NOT_TESTED:
                label = form.fields[name].label if name in form.fields else ""
                problems += [gettext("%(field)s: %(problem)s") % {"field": label, "problem": text} for text in texts]
        if problems:
            html = render_to_string(UNSAVED_TEST_TEMPLATE, {"problems": problems}, request)
            return JsonResponse({"html": html, "is_unfinished": False})
        tried: Any = form.instance
        source, card = (tried.source, tried) if isinstance(tried, Card) else (tried, None)
        token = source_tests.request_unsaved_test(source, card, by=request.user, now=timezone.now())
        return self._respond_with_state(request, token)

    def unsaved_state_view(self, request: HttpRequest, token: str) -> JsonResponse:
        """Return the progress of a test to the person who requested it."""
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied
        return self._respond_with_state(request, token)

    def _respond_with_state(self, request: HttpRequest, token: str) -> JsonResponse:
        job = find_newest_job(source_tests.UNSAVED_TEST, token)
        if job is None or job.asked_by_id != request.user.pk:
            raise Http404
        table = source_tests.find_first_rows(job)
        rows = list_cells(table, source_tests.ROWS_SHOWN) if table else []
        context = {**describe_job(job), "table": table, "rows": rows}
        return JsonResponse(
            {
                "html": render_to_string(UNSAVED_TEST_TEMPLATE, context, request),
                "is_unfinished": job.is_unfinished,
                "url": reverse(f"admin:{self._build_view_name('tried')}", args=[token]),
            }
        )

    def _build_view_name(self, view: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{view}"


@admin.register(DataSource)
class DataSourceAdmin(ConfirmedChanges, TestedRows):
    form = DataSourceForm
    unconfirmed_pages = frozenset({"integrations_datasource_test", "integrations_datasource_try"})
    change_form_template = "admin/integrations/datasource/change_form.html"
    list_display = ("name", "kind", "company", "is_enabled", "allows_private_addresses", "powers", "cards_count")
    list_filter = ("kind", "is_enabled", "allows_private_addresses")
    search_fields = ("name",)
    empty_list = _(
        "Where reports and alerts get their data: the BI, a database, or a web service. Begin with “Add data source”."
    )

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
        """Return the fields of the kind. Write-only fields are hidden from people with view permission only: they would
        be empty."""
        may = self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj)
        kind = self.find_kind(request, obj)
        fields = [name for name in KINDS[kind].connection if may or name in DataSourceForm.Meta.fields] if kind else []
        return [
            (None, {"fields": ("name", "kind", "is_enabled", "corp")}),
            *([(_("Connection"), {"fields": fields})] if fields else []),
            fold_fields(_("Limits"), "timeout_seconds", "row_limit", "parallel_limit"),
        ]

    def find_kind(self, request: HttpRequest, row: DataSource | None) -> SourceKind | None:
        sent = row.kind if row else (request.POST or request.GET).get("kind", "")
        return SourceKind(sent) if sent in SourceKind.values else None

    def show_choice_page(self, request: HttpRequest) -> HttpResponse:
        rows = [
            {"name": kind.label, "help": fields.help, "query": _extend_query(request, kind=kind.value)}
            for kind, fields in KINDS.items()
            if kind != SourceKind.GUANDATA or not corp_condition(request.user)
        ]
        return _show_choices(self, request, gettext("Which kind of data source?"), rows)

    def describe_page(self, request: HttpRequest, row: DataSource | None) -> dict[str, Any]:
        if row is None or request.method != "GET":
            return {}
        if row.account_powers:
            sentence = gettext(
                "The account of this database may do more than read tables (%(powers)s): whoever writes a query may "
                "read files of the database's server. Give the source an account that may only read the tables it "
                "needs."
            )
            messages.warning(request, sentence % {"powers": datasources.describe_privileges(row.account_powers)})
        return _describe_source_test(row) if self.has_change_permission(request, row) else {}

    def request_test(self, request: HttpRequest, row: DataSource) -> None:
        source_tests.request_source_test(row, by=request.user, now=timezone.now())

    def describe_test(self, row: DataSource) -> dict[str, Any]:
        return dict(_describe_source_test(row).get("source_test", {}))

    def save_model(self, request: HttpRequest, obj: DataSource, form: Any, change: bool) -> None:
        """Test the source after saving."""
        super().save_model(request, obj, form, change)
        if source_tests.can_be_tested(obj):
            self.request_test(request, obj)

    def response_post_save_add(self, request: HttpRequest, obj: DataSource) -> HttpResponseRedirect:
        return self.response_post_save_change(request, obj)

    def response_post_save_change(self, request: HttpRequest, obj: DataSource) -> HttpResponseRedirect:
        """Redirect to the page of the source if it shows a test."""
        if not source_tests.can_be_tested(obj):
            return super().response_post_save_change(request, obj)
        return HttpResponseRedirect(f"{reverse('admin:integrations_datasource_change', args=[obj.pk])}#test")

    def response_add(self, request: HttpRequest, obj: DataSource, post_url_continue: Any = None) -> HttpResponse:
        """Continue with the card for which the source was added."""
        if FOR_CARD not in request.GET:
            return super().response_add(request, obj, post_url_continue)
        query = request.GET.copy()
        query.pop(FOR_CARD)
        query.pop("kind", None)
        query["source"] = str(obj.pk)
        messages.success(request, gettext("The data source is saved. Now the query."))
        return HttpResponseRedirect(f"{reverse('admin:integrations_card_add')}?{query.urlencode()}")

    @admin.display(description=_("company"), ordering="corp__name")
    def company(self, source: DataSource) -> str:
        return source.corp.name if source.corp else gettext("all companies")

    @admin.display(description=_("account"))
    def powers(self, source: DataSource) -> str:
        """Show rights of the database account beyond reading tables."""
        if not source.account_powers:
            return "—"
        return show_status("warn", datasources.describe_privileges(source.account_powers))

    @admin.display(description=_("data"))
    def cards_count(self, source: DataSource) -> int:
        return int(getattr(source, "card_count", 0))


@admin.register(Card)
class CardAdmin(TestedRows):
    form = CardForm
    change_form_template = f"{FOLDER}/change_form.html"
    list_display = ("name", "source", "changed_at")
    list_filter = (("source", admin.RelatedOnlyFieldListFilter),)
    search_fields = ("name", "source__name")
    empty_list = _("Data is the answer to one query of a data source. Add a data source first, then data.")

    class Media:
        css = {"all": ["integrations/corp.css"]}
        js = ["integrations/corp.js", "integrations/live.js"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Card]:
        return (
            Card.objects.visible_to(request.user).select_related("source").defer(*(f"source__{one}" for one in SECRETS))
        )

    def get_form(self, request: HttpRequest, obj: Card | None = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        hide_related_links(form, "source")
        form.person = request.user
        form.kind = self.find_kind(request, obj) or ""
        form.choices_url = build_choices_url(obj.source_id if obj else _read_source(request))
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Card | None = None) -> Any:
        """Return the fields for the kind of the card's source."""
        kind = self.find_kind(request, obj)
        common: tuple[Any, dict[str, Any]] = (None, {"fields": ("name", "source")})
        if kind is None:
            return [common]
        query = (kind.label, {"fields": [name for name in QUERY_FIELDS[kind] if name not in JSON_FIELDS]})
        advanced = fold_fields(_("Advanced"), *(name for name in QUERY_FIELDS[kind] if name in JSON_FIELDS))
        return [common, query, advanced, fold_fields(_("Columns"), *COLUMN_FIELDS)]

    def find_kind(self, request: HttpRequest, row: Card | None) -> SourceKind | None:
        if row is not None:
            return SourceKind(row.source.kind)
        sent = _read_source(request)
        if not sent.isdecimal() or len(sent) > 9:
            return None
        found = DataSource.objects.visible_to(request.user).filter(pk=int(sent)).values_list("kind", flat=True).first()
        return SourceKind(found) if found else None

    def get_urls(self) -> list[URLPattern]:
        views: dict[tuple[str, str], View] = {
            ("choose/", "choose"): partial(choose_view, self),
            ("choose/state/", "choose_state"): require_GET(partial(choose_state_view, self)),
        }
        return [*make_routes(self, views), *super().get_urls()]

    def describe_page(self, request: HttpRequest, row: Card | None) -> dict[str, Any]:
        if row is not None and self.has_change_permission(request, row):
            return {"card": row, "test": self.describe_test(row)}
        if row is None and request.method == "GET" and request.user.has_perm("integrations.change_datasource"):
            # A new card: show the last test of its source.
            return _describe_source_test(DataSource.objects.defer(*SECRETS).get(pk=request.GET["source"]))
        return {}

    def show_choice_page(self, request: HttpRequest) -> HttpResponse:
        sources = DataSource.objects.visible_to(request.user).defer(*SECRETS)
        rows = [
            {"name": each.name, "help": each.get_kind_display(), "query": _extend_query(request, source=str(each.pk))}
            for each in sources
        ]
        may_add = request.user.has_perm("integrations.add_datasource")
        address = f"{reverse('admin:integrations_datasource_add')}?{_extend_query(request, **{FOR_CARD: '1'})}"
        help = {} if rows else describe_empty_select(DataSource, request, is_empty=True)
        further = {"add_address": address if may_add else "", "help": help}
        return _show_choices(self, request, gettext("From which data source does the data come?"), rows, **further)

    def request_test(self, request: HttpRequest, row: Card) -> None:
        """Request the card's data, as for a report."""
        now = timezone.now()
        fetch.request_data([row.pk], slot_at=now, now=now)

    def describe_test(self, row: Card) -> dict[str, Any]:
        """Return the state of the last fetch for a report, alert or test, with its first rows."""
        now, requested = timezone.now(), CardData.objects.filter(card=row, slot_at__isnull=False)
        latest = requested.order_by("-requested_at", "-pk").first()
        if latest is None:
            return {"is_unfinished": False, "html": render_to_string(f"{FOLDER}/_test.html")}
        latest.card = row
        is_running, zone = latest.status == CardData.Status.WAITING, timezone.get_current_timezone()
        table = latest.table if latest.status == CardData.Status.READY else None
        context = {
            "latest": latest,
            "is_running": is_running,
            "seconds": int((now - latest.requested_at).total_seconds()),
            "delay_reason": fetch.find_delay_reason(latest, now=now) if is_running else "",
            "is_outdated": latest.requested_at < row.changed_at,
            "table": table,
            "rows": table and list_cells(sort_newest_first(table, today=timezone.localdate(), zone=zone), ROWS_SHOWN),
        }
        return {"is_unfinished": is_running, "html": render_to_string(f"{FOLDER}/_test.html", context)}


def _read_source(request: HttpRequest) -> str:
    return (request.POST or request.GET).get("source", "")


def _extend_query(request: HttpRequest, **values: str) -> str:
    """Return the query string of the request with these values."""
    query = request.GET.copy()
    query.update(values)
    return query.urlencode()


def _show_choices(model_admin: Any, request: HttpRequest, title: str, rows: list[Any], **further: Any) -> HttpResponse:
    """Show a page of links to the form. `rows`: name, help and query of each."""
    context = {"title": title, "rows": rows, "is_popup": "_popup" in request.GET, **further}
    return show_page(model_admin, request, "admin/integrations/choices.html", context)


def _describe_source_test(source: DataSource) -> dict[str, Any]:
    """Return the context of the test section; empty for a source without a test."""
    if not source_tests.can_be_tested(source):
        return {}
    job = find_newest_job(source_tests.SOURCE_TEST, source.pk)
    is_recent = job is not None and job.requested_at > timezone.now() - source_tests.SHOWN_FOR
    context = describe_job(job if is_recent else None)
    html = render_to_string("admin/integrations/datasource/_test.html", context)
    return {"source": source, "source_test": {"is_unfinished": context["is_unfinished"], "html": html}}


# --- The choice of a card of the BI, in a tab of its own: first one of the BI's pages, then a card on it --------------
#
# corp.js puts the chosen IDs into the form of the card; without JavaScript they can be typed there.


def build_choices_url(source_id: object, view: str = "choose", **further: str) -> str:
    """Return the URL of the list for a source. `further`: parameters; empty ones are left out."""
    query = urlencode({name: value for name, value in {"source": str(source_id), **further}.items() if value})
    return f"{reverse(f'admin:integrations_card_{view}')}?{query}"


def choose_view(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Show the pages of the BI, or the cards of one page, as the BI last listed them. A POST requests a new list."""
    source, page_id = _read_choice(model_admin, request)
    if request.method == "POST":
        catalogue.request_listing(page_id=page_id, by=request.user, now=timezone.now(), refresh="again" in request.POST)
        return HttpResponseRedirect(build_choices_url(source.pk, page=page_id))
    context = {
        "title": gettext("Choose a card of the BI"),
        "is_popup": True,
        "state": _describe_choices(request, source, page_id),
        "state_address": build_choices_url(source.pk, "choose_state", page=page_id, q=request.GET.get("q", "")),
    }
    return show_page(model_admin, request, f"{FOLDER}/choose.html", context)


def choose_state_view(model_admin: Any, request: HttpRequest) -> JsonResponse:
    return JsonResponse(_describe_choices(request, *_read_choice(model_admin, request)))


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


def _describe_choices(request: HttpRequest, source: DataSource, page_id: str) -> dict[str, Any]:
    listing = catalogue.find_listing(page_id)
    wanted = request.GET.get("q", "").strip()
    entries = catalogue.read_entries(listing)
    may_fix = request.user.has_perm("integrations.change_biconnection") and not corp_condition(request.user)
    pages = catalogue.read_entries(catalogue.find_listing()) if page_id else []
    names = {page.entry_id: page.name for page in pages}
    fitting = [entry for entry in entries if wanted.casefold() in f"{entry.name}\n{entry.entry_id}".casefold()]
    rows = []
    for entry_id, name, kind in fitting[:SHOWN_AT_MOST]:
        values = {"bi_page_id": page_id, "bi_card_id": entry_id, "name": (name or entry_id)[:ID_CHARACTERS]}
        # The values for the form of the card; False if the card has no rows and cannot be chosen.
        chosen = kind not in WITHOUT_ROWS and json.dumps(values)
        rows.append({"id": entry_id, "name": name or entry_id, "kind": kind, "chosen": chosen})
    context = {
        "source": source,
        "page_id": page_id,
        **describe_job(listing),
        # Link to fix the connection.
        "bi_address": reverse("admin:integrations_biconnection_changelist") if may_fix else "",
        "again_address": build_choices_url(source.pk, page=page_id),
        "pages_address": build_choices_url(source.pk),
        "page_name": names.get(page_id) or page_id,
        "is_searched": bool(wanted) or len(entries) > SEARCHED_ABOVE,
        "wanted": wanted,
        "rows": rows,
        "unshown_count": max(0, len(fitting) - SHOWN_AT_MOST),
    }
    return {
        "is_unfinished": context["is_unfinished"],
        "html": render_to_string(f"{FOLDER}/_choose.html", context, request=request),
    }
