"""Base classes of the admin pages of pushes: filters, status pills, indexed search by person, mark or name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.directory.groups import DepartmentsSelect
from accounts.models import User, WeComAccount, fold_userid
from accounts.users.roles import people_visible_to, role_groups
from integrations.admin.base import ReadRows, hide_related_links, own_page
from integrations.admin.base import pill as tone_pill
from integrations.core.admin_pages import AnyModelAdmin
from integrations.models import Corp, Department
from integrations.models.fields import Person
from notifications.delivery.runs.ownership import ACTING, choose_successor, find_changeable, find_offered_successors
from notifications.models import Delivery, Incident, IncidentNotice, IncomingMessage, Receipt, Run, Subscription
from notifications.subscriptions.recipients import list_rules, read_rules

# A search for people stops after so many.
PEOPLE_AT_MOST = 100
NAMED_AT_MOST = 200
# Up to so many keys are read first and passed to the next query.
KEYS_AT_MOST = 1_000
_MARK = re.compile(r"\b[0-9a-f]{32}\b")


def mark_in(words: str) -> str | None:
    """Return the mark of a message in `words`, which may be the mark itself or the message's URL; None if there is
    none."""
    found = _MARK.search(words.lower())
    return found[0] if found else None


def people_found(words: str, *, seen_by: Person) -> list[int]:
    """Return ids of visible people whose username or WeCom account begins with `words` or whose name contains them."""
    folded = fold_userid(words)
    accounts = WeComAccount.objects.visible_to(seen_by)
    account = accounts.filter(user=OuterRef("pk"), userid_folded__startswith=folded)
    wanted = Q(username__istartswith=words) | Q(name__contains=words) | Q(Exists(account))
    return list(people_visible_to(seen_by).filter(wanted).values_list("pk", flat=True)[:PEOPLE_AT_MOST])


def deliveries_found(deliveries: QuerySet[Delivery], words: str, *, seen_by: Person) -> QuerySet[Delivery]:
    """Keep deliveries with the mark in `words`; without a mark, those to matching people or with a matching title."""
    mark = mark_in(words)
    if mark is not None:
        return deliveries.filter(mark=mark)
    theirs = Receipt.objects.filter(user_id__in=people_found(words, seen_by=seen_by), delivery__isnull=False)
    of_people = Q(pk__in=_keys(theirs.values_list("delivery", flat=True)))
    # Select only the key, so that the index on titles suffices, a small part of the table.
    titled = Q(pk__in=_keys(Delivery.objects.filter(title__contains=words).values_list("pk", flat=True)))
    return deliveries.filter(titled | of_people)


def _keys(found: QuerySet[Any, Any]) -> list[Any] | QuerySet[Any, Any]:
    """Return the keys themselves if they are few, because with a subquery the database would scan all rows."""
    found = found.order_by()
    keys = list(found[: KEYS_AT_MOST + 1])
    return keys if len(keys) <= KEYS_AT_MOST else found


def receipts_found(receipts: QuerySet[Receipt], words: str, *, seen_by: Person) -> QuerySet[Receipt]:
    """Keep receipts with the mark in `words`; without a mark, those of matching people."""
    mark = mark_in(words)
    if mark is not None:
        return receipts.filter(delivery__mark=mark)
    return receipts.filter(user_id__in=people_found(words, seen_by=seen_by))


def messages_found(messages: QuerySet[IncomingMessage], words: str, *, seen_by: Person) -> QuerySet[IncomingMessage]:
    """Keep incoming messages whose title contains `words`."""
    return messages.filter(pk__in=IncomingMessage.objects.filter(title__contains=words).order_by().values("pk"))


def runs_found(runs: QuerySet[Run], words: str, *, seen_by: Person) -> QuerySet[Run]:
    """Keep runs of visible pushes, alerts and incoming messages whose name contains `words`."""
    return runs.filter(pk__in=runs_named(words, seen_by=seen_by))


def runs_named(words: str, *, seen_by: Person) -> QuerySet[Any, Any]:
    """Return keys of the runs of matching pushes (by name), incidents (by title, rule or channel) and incoming messages
    (by title). Uses the newest NAMED_AT_MOST visible ones of each."""
    pushes = Subscription.objects.visible_to(seen_by).filter(name__icontains=words).order_by("-pk")
    named = Q(title__icontains=words) | Q(rule__name__icontains=words) | Q(channel__name__icontains=words)
    incidents = Incident.objects.visible_to(seen_by).filter(named).order_by("-pk")
    of_pushes = Run.objects.filter(subscription__in=list(pushes.values_list("pk", flat=True)[:NAMED_AT_MOST]))
    of_alerts = IncidentNotice.objects.filter(incident__in=list(incidents.values_list("pk", flat=True)[:NAMED_AT_MOST]))
    messages = messages_found(IncomingMessage.objects.visible_to(seen_by), words, seen_by=seen_by).order_by("-pk")
    of_messages = Run.objects.filter(message__in=list(messages.values_list("pk", flat=True)[:NAMED_AT_MOST]))
    found = [of_alerts.order_by().values("run"), of_messages.order_by().values("pk")]
    return of_pushes.order_by().values("pk").union(*found, all=True)


def of_people(rows: QuerySet[Any], user_ids: list[int]) -> QuerySet[Any]:
    """Keep the runs, deliveries or receipts that concern these people."""
    if rows.model is Receipt:
        return rows.filter(user_id__in=user_ids)
    theirs = Receipt.objects.filter(user_id__in=user_ids).order_by()
    if rows.model is Run:
        return rows.filter(pk__in=theirs.values("run"))
    return rows.filter(pk__in=theirs.filter(delivery__isnull=False).values("delivery"))


# --- Lists ---


TONES = {
    **dict.fromkeys(["accepted", "finished"], "good"),
    **dict.fromkeys(["failed", "unknown", "missed", "invalid", "unlicensed", "refused"], "bad"),
    "paused": "warn",
}
# The label of a finished run with an error.
LOST_SOME = _("finished, not everybody reached")


class RowContextMixin(AnyModelAdmin):
    """Adds `row_context` to the page of a row if the person may see the row."""

    def row_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return additional template context for the row's page."""
        raise NotImplementedError

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Load the row once per GET request, although several methods ask for it."""
        known: Any = request
        if request.method == "GET" and getattr(known, "row_opened", (None,))[0] == (self, object_id):
            return known.row_opened[1]
        row = super().get_object(request, object_id, from_field)
        known.row_opened = (self, object_id), row
        return row

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        extra: dict[str, Any] = {**(extra_context or {})}
        row = self.get_object(request, unquote(object_id)) if object_id else None
        if row is not None and self.has_view_permission(request, row):
            extra |= self.row_context(request, row)
        return super().changeform_view(request, object_id, form_url, extra)


class RecipientsMixin(AnyModelAdmin):
    """Adds a tree of departments and attribute rules to the admin of a model with recipients."""

    @admin.display(description=_("attribute rules"))
    def rules(self, addressed: Any) -> SafeString:
        """Show the rules to people with view permission only."""
        return list_rules(read_rules(addressed))

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.related_model is Department:
            kwargs["widget"] = DepartmentsSelect(db_field, self.admin_site, using=kwargs.get("using"))
        if db_field.related_model is Group:
            # Same groups as in the search of the select: groups that stand for roles are no recipients.
            kwargs["queryset"] = Group.objects.exclude(pk__in=role_groups())
        return super().formfield_for_manytomany(db_field, request, **kwargs)


class SuccessorForm(forms.Form):
    successor = forms.ModelChoiceField(
        queryset=User.objects.none(), required=False, label=_("Successor"), empty_label=_("nobody")
    )


class SuccessorPage(AnyModelAdmin):
    """Adds a page that chooses who takes over when the owner is disabled."""

    def get_urls(self) -> list[URLPattern]:
        name = f"notifications_{self.opts.model_name}_successor"
        view = self.admin_site.admin_view(self.successor_view)
        return [path("<int:pk>/successor/", view, name=name), *super().get_urls()]

    def successor_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Choose among people whom the administrator sees and who may own the row."""
        editor = administrator(request)
        if not editor.has_perm(f"notifications.change_{self.opts.model_name}"):
            raise PermissionDenied
        row = find_changeable(self.model, pk, editor)
        if row is None:
            raise Http404
        form = SuccessorForm(
            request.POST if request.method == "POST" else None, initial={"successor": row.successor_id}
        )
        field: Any = form.fields["successor"]
        field.queryset = find_offered_successors(row, editor)
        if not field.queryset.exists():  # adding a person here would not help: a new one may not own it either
            field.disabled, field.help_text = True, gettext("Nobody whom you see may take it over.")
        if form.is_valid():
            if not (sentence := choose_successor(row, form.cleaned_data["successor"])):
                messages.success(request, gettext("The successor was saved."))
                return HttpResponseRedirect(reverse(f"admin:notifications_{self.opts.model_name}_change", args=[pk]))
            form.add_error("successor", sentence)
        context = {"title": gettext("Successor"), "row": row, "form": form, "acts": isinstance(row, ACTING)}
        return own_page(self, request, "admin/notifications/successor.html", context)


class DescribedList(ChangeList):
    """Loads for all rows of a page at once what their columns show additionally."""

    model_admin: DescribedRows

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = self.read_rows()
        self.model_admin.describe_rows(request, rows)
        self.result_list = rows

    def read_rows(self) -> list[Any]:
        return list(self.result_list)


class LogList(DescribedList):
    """Selects the keys of a page's rows first, then loads these rows. In one query the database would sort whole rows,
    and plan badly: it orders at most eight tables freely (join_collapse_limit), and a log row joins more."""

    def get_ordering_field(self, field_name: Any) -> Any:
        """Ignore columns that are not sortable. Django only hides their links, but accepts them in the URL."""
        return super().get_ordering_field(field_name) if field_name in (self.sortable_by or ()) else None

    def read_rows(self) -> list[Any]:
        keys = list(self.result_list.values_list("pk", flat=True))
        found = self.root_queryset.in_bulk(keys)
        return [found[key] for key in keys if key in found]


class DescribedRows(AnyModelAdmin):
    """Base of admins that load for all rows of a list page at once what columns show additionally."""

    list_class: type[DescribedList] = DescribedList

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return self.list_class

    def describe_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Set additional values on the rows for their columns."""


class ReadOnlyAdmin(ReadRows, RowContextMixin):
    """A log: rows that people may view, but not add, change or delete."""

    list_per_page = 50
    actions: Sequence[str] | None = None
    ordering = ("-pk",)
    # Indexed columns only: sorting by others takes longer with each year of the log.
    sortable_by: ClassVar[tuple[str, ...]] = ()


class IndexedLogAdmin(DescribedRows, ReadOnlyAdmin):
    """A log whose search uses indexes. `found`: returns the rows that match `words` and that `seen_by` may see."""

    list_class = LogList
    change_form_template = "admin/notifications/log_page.html"
    found: Callable[..., QuerySet[Any]]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        words = search_term.strip()
        if not words:
            return queryset, False
        return self.found(queryset, words, seen_by=administrator(request)), False


def list_corps(person: User) -> list[tuple[str, Any]]:
    """Return the companies that the person sees as choices of a select."""
    corps = Corp.objects.visible_to(person).order_by("name").values_list("pk", "name")
    return [(str(corp_id), name) for corp_id, name in corps]


class CorpFilter(admin.SimpleListFilter):
    title = _("company")
    parameter_name = "corp"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list_corps(administrator(request))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset.filter(corp_id=value) if value in dict(self.lookup_choices) else queryset


class OptionFilter(admin.SimpleListFilter):
    """A filter by named conditions. `options`: value → label and a function that narrows the rows."""

    title = _("status")
    parameter_name = "state"
    options: ClassVar[Mapping[str, tuple[Any, Callable[[Any], QuerySet[Any]]]]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(value, label) for value, (label, _narrow) in self.options.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        option = self.options.get(self.value() or "")
        return queryset if option is None else option[1](queryset)


# Columns for filters by day, if not `created_at`. Each has an index.
_DAY_COLUMNS: dict[type[Any], str] = {Run: "claimed_at", Receipt: "run__claimed_at", Incident: "opened_at"}


def day_column(rows: QuerySet[Any]) -> str:
    return _DAY_COLUMNS.get(rows.model, "created_at")


def of_day(rows: QuerySet[Any], name: str) -> QuerySet[Any]:
    """Keep the rows of the named period, in the time zone of the page. `name`: one of DAYS."""
    today = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    first, last = {"today": (0, 0), "yesterday": (-1, -1), "week": (-6, 0)}[name]
    column, start, end = day_column(rows), today + timedelta(days=first), today + timedelta(days=last + 1)
    return rows.filter(**{f"{column}__gte": start, f"{column}__lt": end})


DAYS = (("today", _("Today")), ("yesterday", _("Yesterday")), ("week", _("Last 7 days")))


class DayFilter(admin.SimpleListFilter):
    title = _("day")
    parameter_name = "day"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(DAYS)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return of_day(queryset, value) if value in dict(DAYS) else queryset


def pill(value: str, text: object) -> SafeString:
    return tone_pill(TONES.get(value, "quiet"), text)


def severity_pill(severity: str, words: str) -> SafeString:
    return tone_pill({"critical": "bad", "warning": "warn"}.get(severity, "quiet"), words)


def run_pill(run: Run) -> SafeString:
    """Show the run's state. A finished run that missed somebody or had no recipients is not shown as a success."""
    if run.status == Run.Status.FINISHED and not run.recipient_count:
        return tone_pill("warn", run_state(run))
    if run.status == Run.Status.FINISHED and run.error:
        return tone_pill("bad", run_state(run))
    return pill(run.status, run_state(run))


def run_state(run: Run) -> str:
    if run.status == Run.Status.FINISHED and not run.recipient_count:
        return gettext("finished, reached nobody")
    if run.status == Run.Status.FINISHED and run.error:
        return str(LOST_SOME)
    return str(run.get_status_display())


def run_people(run: Run) -> tuple[int | str, int | str]:
    """Return the numbers of recipients and of skipped people; dashes until the run is rendered."""
    return ("—", "—") if run.rendered_at is None else (run.recipient_count, run.skipped_count)


def moment(value: datetime | None) -> str:
    """Format a time in the zone of the page, as HTML."""
    return "—" if value is None else format_html("<time>{}</time>", plain_moment(value))


def plain_moment(value: datetime | None) -> str:
    """Format a time in the zone of the page, as text; empty for None."""
    return "" if value is None else f"{timezone.localtime(value):%Y-%m-%d %H:%M:%S}"


class PartPermissions:
    """Permissions of an inline: people who may change `whole`, a model of this app, may change its parts."""

    whole: str

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(f"notifications.view_{self.whole}") or self.has_change_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(f"notifications.change_{self.whole}")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)


def find_row(request: HttpRequest, rows: QuerySet[Any], pk: int, may: Callable[[HttpRequest, Any], bool]) -> Any:
    """Return the row if the person may see it. Raises Http404 if not, PermissionDenied if `may` returns False."""
    row = rows.filter(pk=pk).first()
    if row is None:
        raise Http404
    if not may(request, row):
        raise PermissionDenied
    return row


def is_key(text: str) -> bool:
    """Return whether `text` can be a primary key."""
    return text.isascii() and text.isdigit() and len(text) < 19


def administrator(request: HttpRequest) -> User:
    """Return the signed-in person. The admin site has already refused anonymous users."""
    if not isinstance(request.user, User):
        raise TypeError("nobody is signed in")
    return request.user


def for_person(form_class: Any, request: HttpRequest, names: list[str]) -> Any:
    """Set the person of the form class, and hide the links to related pages of the selects in `names`."""
    form_class.person = administrator(request)
    for name in names:
        hide_related_links(form_class, name)
    return form_class
