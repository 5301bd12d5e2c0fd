"""Columns, filters and CSV files that the lists of runs, messages and receipts share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Count, Exists, Model, OuterRef, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, reverse
from django.utils import timezone, translation
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext, pgettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from accounts.admin.base import Column, RowsAdmin, RowsList, format_duration, format_moment, format_moment_as_text
from accounts.importexport.sheets import format_csv_line
from accounts.models import User, WeComAccount, fold_userid
from accounts.users.roles import find_visible_people
from integrations.admin.base import ReadOnlyAdmin, State, make_routes, show_state, show_status
from integrations.companies.diagnosis import checks
from integrations.core.admin_pages import read_rows_newest_first
from integrations.models import Card, Corp
from integrations.models.fields import Person
from notifications.admin import base
from notifications.delivery import explanations
from notifications.delivery.explanations import name_run, prepare_names
from notifications.delivery.rendering import report_contents
from notifications.delivery.runs import statistics
from notifications.models import Delivery, Incident, IncidentEvent, IncomingMessage, Receipt, Run, Subscription

# Rows shown on a page; the lists show all.
PEOPLE_SHOWN, RUNS_SHOWN = 10, 10
WORDS_CHARACTERS = 100  # of a search
# Other years are typing errors, and some are out of the database's range.
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(9000, 12, 31)
# Rows of a CSV file. A run has fewer recipients, but an unfiltered list may cover years.
ROWS_AT_MOST = 200_000
BATCH = 1000
Status = Receipt.Status
LABELS = {**dict(Delivery.Status.choices), **dict(Status.choices)}
# The state of a skipped person, by the reason. A person with another reason is shown as failed.
_SKIPPED = {
    **dict.fromkeys(("paused", "declined"), State.PAUSED),
    **dict.fromkeys(("corp_disabled", "user_disabled", "barred"), State.DISABLED),
    **dict.fromkeys(("no_rows", "no_value"), State.DONE),  # nothing failed, and the run sends no more
}


def link_row(row: Model, label: str) -> SafeString:
    """Link to the page of a row of this app."""
    url = reverse(f"admin:notifications_{row._meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', url, label)


def link_to(request: HttpRequest, row: Model, label: str) -> SafeString | str:
    """Link to the page of a row of this app, or return an empty text if the person may not open it."""
    return link_row(row, label) if request.user.has_perm(f"notifications.view_{row._meta.model_name}") else ""


def drop_empty_facts(*facts: tuple[Any, Any]) -> list[tuple[Any, Any]]:
    """Drop empty facts and format times in the zone of the page."""
    return [(label, format_moment(value) if isinstance(value, datetime) else value) for label, value in facts if value]


def format_support_lines(*lines: tuple[Any, Any]) -> str:
    """Return the lines to copy for support."""
    return "\n".join(f"{name}: {value}" for name, value in lines if value not in {None, ""})


def explain_held_up(request: HttpRequest, deliveries: QuerySet[Delivery]) -> list[str]:
    """Explain which companies hold up any of these deliveries."""
    waiting = deliveries.filter(pk__in=Delivery.objects.unsettled()).order_by().values_list("corp", flat=True)
    return checks.list_refusal_sentences(set(waiting.distinct()), seen_by=request.user)


def render_latest_runs(request: HttpRequest, subscription: Subscription) -> dict[str, Any]:
    """Render the latest runs of a push, each with its state and why it waits or whom it did not reach. Return the
    context of _live.html."""
    runs = list(Run.objects.visible_to(request.user).filter(subscription=subscription)[:RUNS_SHOWN])
    reasons = {run.pk: run.error_text for run in runs}
    unfinished = [run for run in runs if run.status in {Run.Status.WAITING, Run.Status.SENDING}]
    for run in unfinished:
        problem = report_contents.find_problem_so_far(run) if run.status == Run.Status.WAITING else None
        reasons[run.pk] = str(problem or " ".join(explain_held_up(request, run.deliveries.all())))
    lines = [(run, base.show_run_state(run), *base.count_run_people(run), reasons[run.pk]) for run in runs]
    html = render_to_string("admin/notifications/subscription/_runs.html", {"runs": lines})
    return {"html": html, "is_unfinished": bool(unfinished)} if runs else {}


# --- The state of a run in one line, with a button for people who can fix it ------------------------------------------

UNDER_WAY = frozenset({Run.Status.WAITING, Run.Status.SENDING})


def describe_run(request: HttpRequest, run: Run) -> dict[str, Any]:
    """Return the context of _run_line.html: the state, a sentence, the progress of a run under way, and for a run that
    is stuck or failed who can fix it and on which page."""
    context: dict[str, Any] = {"state": base.show_run_state(run), "is_under_way": run.status in UNDER_WAY}
    problem = report_contents.find_problem_so_far(run) if run.status == Run.Status.WAITING else None
    if problem is not None:
        context["sentence"] = gettext("%(problem)s It is retried automatically.") % {"problem": problem}
    elif run.status == Run.Status.WAITING:
        context["sentence"] = gettext("It is being prepared: data and recipients are being fetched.")
    elif run.status == Run.Status.SENDING:
        settled = statistics.count_outcomes("run", run.pk).settled
        context |= {"settled": settled, "total": run.recipient_count}
    elif run.status == Run.Status.FINISHED and not run.recipient_count:
        context["sentence"] = run.error_text or gettext("Nobody got it.")
    elif run.status == Run.Status.FINISHED:
        count = statistics.count_outcomes("run", run.pk).accepted
        words = ngettext("%(count)s person got it", "%(count)s people got it", count) % {"count": f"{count:,}"}
        began = run.due_at or run.claimed_at
        if run.finished_at is not None and run.finished_at >= began:
            duration = format_duration(run.finished_at - began)
            words = gettext("%(people)s, in %(time)s") % {"people": words, "time": duration}
        context |= {"sentence": words, "note": run.error_text}
    else:
        context["sentence"] = run.error_text
    if run.status != Run.Status.FINISHED or run.error:
        context |= _find_remedy(request, run, is_data_missing=problem is not None)
    return context


def _find_remedy(request: HttpRequest, run: Run, *, is_data_missing: bool) -> dict[str, Any]:
    """Return who can fix the run, or a button if the viewer can. Looks for causes in this order: WeCom refuses the
    company's calls, data is missing, or the run failed otherwise and can be repeated."""
    waiting = run.deliveries.unsettled().order_by().values_list("corp", flat=True).distinct()
    corps = Corp.objects.visible_to(request.user).filter(pk__in=list(waiting))
    for pk, refusal in checks.find_refusals(corps).items():
        url = f"{reverse('admin:integrations_corp_change', args=[pk])}#{refusal.anchor}"
        if request.user.has_perm("integrations.change_corp"):
            return {"remedy_url": url, "remedy": refusal.remedy or gettext("Open the company's page")}
        return {"who": gettext("People who manage WeCom companies can fix it.")}
    # The data that could not be fetched.
    card_data = report_contents.find_card_data(run) if is_data_missing or run.status == Run.Status.FAILED else ()
    card_key = next((card.card_id for card, data in card_data if data.problem_code), None)
    if card_key is not None:
        if (
            request.user.has_perm("integrations.view_card")
            and Card.objects.visible_to(request.user).filter(pk=card_key).exists()
        ):
            return {
                "remedy_url": reverse("admin:integrations_card_change", args=[card_key]),
                "remedy": gettext("Open the data"),
            }
        return {"who": gettext("People who manage the data source can fix it.")}
    if run.status not in {Run.Status.FAILED, Run.Status.MISSED} or run.subscription is None:
        return {}
    if request.user.has_perm("notifications.change_subscription"):
        url = reverse("admin:notifications_subscription_run", args=[run.subscription.pk])
        return {"remedy_url": url, "remedy": gettext("Run it again…")}
    return {"who": gettext("People who edit the push can fix it.")}


# --- People -----------------------------------------------------------------------------------------------------------


def describe_people(request: HttpRequest, **lookups: int) -> dict[str, Any]:
    """Return the template context of the people of a run or a message: their numbers by status, and the first
    people; of a run, only those who may not have been reached. `lookups`: `run` or `delivery` with its key. Empty
    without permission to see receipts. Makes four queries."""
    if not request.user.has_perm("notifications.view_receipt"):
        return {}
    receipts = Receipt.objects.visible_to(request.user).filter(**lookups)
    deliveries = Delivery.objects.visible_to(request.user)
    deliveries = (
        deliveries.filter(run=lookups["run"]) if "run" in lookups else deliveries.filter(pk__in=lookups.values())
    )
    query = {f"{name}__id__exact": value for name, value in lookups.items()}
    listed = receipts.perhaps_unreached() if "run" in lookups else receipts
    listed = listed.select_related("user", "delivery__corp").defer("delivery__body", "delivery__text")
    # The numbers of people by their messages' status, corrected by the few receipts that have a status of their own.
    counted: Counter[str] = Counter()
    for status, count in deliveries.order_by().values_list("status").annotate(Sum("recipient_count")):
        counted[status] += count
    own_states = receipts.exclude(status="").order_by()
    for own, inherited, count in own_states.values_list("status", "delivery__status").annotate(Count("pk")):
        counted[own] += count
        if own != Status.SKIPPED:  # skipped people are not counted among a message's recipients
            counted[inherited] -= count
    words = {**LABELS, Delivery.Status.ACCEPTED.value: pgettext("people of a run", "delivered")}
    skipped = receipts.filter(status=Status.SKIPPED).order_by().values_list("reason")
    return {
        "receipts_url": build_receipts_url(**query),
        "people_states": [
            *(
                (words[status], counted[status], build_receipts_url(**query, status=status))
                for status in LABELS
                if counted[status] > 0 and status != Status.SKIPPED
            ),
            *(
                (
                    Receipt.Reason(reason).label if reason else Status.SKIPPED.label,
                    count,
                    build_receipts_url(**query, status=Status.SKIPPED, reason=reason),
                )
                for reason, count in skipped.annotate(count=Count("pk")).order_by("-count")
            ),
        ],
        "people": [
            (one.pk, name_person(one), name_account(one), show_receipt_status(one), find_reason(one))
            for one in listed.order_by("-status", "pk")[:PEOPLE_SHOWN]
        ],
    }


def build_receipts_url(**lookups: Any) -> str:
    """Return the URL of the list of receipts with these filters."""
    return f"{reverse('admin:notifications_receipt_changelist')}?{urlencode(lookups)}"


def name_person(receipt: Receipt) -> str:
    return str(receipt.user or receipt.address)


def name_account(receipt: Receipt) -> str:
    if receipt.delivery is None:
        return "—"
    return f"{receipt.delivery.corp.name} / {receipt.address.partition(':')[2]}"


def find_receipt_status(receipt: Receipt) -> str:
    """Return the status of the receipt, which falls back to that of its message."""
    return receipt.status or ("" if receipt.delivery is None else receipt.delivery.status)


def show_receipt_status(receipt: Receipt) -> SafeString:
    if receipt.reason:  # the column beside it says why
        state = _SKIPPED.get(receipt.reason, State.FAILED)
        return show_state(state, Status.SKIPPED.label if state == State.DONE else "")
    status = find_receipt_status(receipt)
    return show_status(status, LABELS.get(status, ""))


def find_reason(receipt: Receipt) -> str:
    """Explain why the person did not get the message; empty if nothing went wrong."""
    if receipt.reason:
        return receipt.reason_text
    explanation = explanations.explain_receipt(receipt)
    return "" if explanation is None else explanation.what


# --- Search ---------------------------------------------------------------------------------------------------------

# Limits of a search: people found, and pushes, incidents and messages found.
PEOPLE_AT_MOST = 100
NAMED_AT_MOST = 200
# If a query finds at most this number of keys, they are read and passed to the next query.
KEYS_AT_MOST = 1_000
_MARK = re.compile(r"\b[0-9a-f]{32}\b")


def find_mark(words: str) -> str | None:
    """Return the mark of a message, the 32 hexadecimal digits in its URL, if `words` has one."""
    found = _MARK.search(words.lower())
    return found[0] if found else None


def search_people(words: str, *, seen_by: Person) -> list[int]:
    """Return ids of visible people whose username or WeCom account begins with `words` or whose name contains them."""
    folded = fold_userid(words)
    accounts = WeComAccount.objects.visible_to(seen_by)
    account = accounts.filter(user=OuterRef("pk"), userid_folded__startswith=folded)
    wanted = Q(username__istartswith=words) | Q(name__contains=words) | Q(Exists(account))
    return list(find_visible_people(seen_by).filter(wanted).values_list("pk", flat=True)[:PEOPLE_AT_MOST])


def read_few_keys(found: QuerySet[Any, Any]) -> list[Any] | QuerySet[Any, Any]:
    """Return the keys as a list if there are at most KEYS_AT_MOST, because with a subquery the database would scan all
    rows. Else return the query. Its order should follow an index, or be empty."""
    keys = list(found[: KEYS_AT_MOST + 1])
    return keys if len(keys) <= KEYS_AT_MOST else found


def search_messages(messages: QuerySet[IncomingMessage], words: str) -> QuerySet[IncomingMessage]:
    """Keep incoming messages whose title contains `words`."""
    return messages.filter(pk__in=IncomingMessage.objects.filter(title__contains=words).order_by().values("pk"))


def search_run_keys(words: str, *, seen_by: Person) -> QuerySet[Any, Any]:
    """Return keys of the runs of matching pushes (by name), incidents (by title, rule or channel) and incoming messages
    (by title). Uses the newest NAMED_AT_MOST visible ones of each."""
    pushes = Subscription.objects.visible_to(seen_by).filter(name__icontains=words).order_by("-pk")
    named = Q(title__icontains=words) | Q(rule__name__icontains=words) | Q(channel__name__icontains=words)
    incidents = Incident.objects.visible_to(seen_by).filter(named).order_by("-pk")
    of_pushes = Run.objects.filter(subscription__in=list(pushes.values_list("pk", flat=True)[:NAMED_AT_MOST]))
    of_alerts = IncidentEvent.objects.filter(
        run__isnull=False, incident__in=list(incidents.values_list("pk", flat=True)[:NAMED_AT_MOST])
    )
    messages = search_messages(IncomingMessage.objects.visible_to(seen_by), words).order_by("-pk")
    of_messages = Run.objects.filter(message__in=list(messages.values_list("pk", flat=True)[:NAMED_AT_MOST]))
    found = [of_alerts.order_by().values("run"), of_messages.order_by().values("pk")]
    return of_pushes.order_by().values("pk").union(*found, all=True)


# --- The list ---------------------------------------------------------------------------------------------------------

# Named periods: label, first and last day counted from today.
PERIODS = {"today": (_("Today"), 0, 0), "yesterday": (_("Yesterday"), -1, -1), "week": (_("Last 7 days"), -6, 0)}


class LogFilter(admin.ListFilter):
    """The filter form beside a log's list (admin/notifications/log/_filter.html). Empty or invalid values filter
    nothing; the form shows the error. `exact`: labels of the foreign keys by which links to the list filter; each is
    shown only while in use. `selects`: label and choices of each lookup; the choices may be a function of the person.
    `has_words`: whether the rows can be searched by person and by push."""

    title = _("Filter")
    template = "admin/notifications/log/_filter.html"
    exact: ClassVar[Mapping[str, Any]] = {}
    selects: ClassVar[Mapping[str, tuple[Any, Any]]]
    corp_column = "corp"
    day_column = "created_at"  # has an index
    has_words = True

    def __init__(self, request: HttpRequest, params: Any, model: type[Model], model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self.person = base.get_administrator(request)
        corps = Corp.objects.visible_to(self.person).order_by("name").values_list("pk", "name")
        words = {"person": _("person"), "push": pgettext_lazy("filter", "push or alert")} if self.has_words else {}
        widget = forms.TextInput({"maxlength": WORDS_CHARACTERS})
        fields: dict[str, forms.Field] = {
            **{name: forms.CharField(label=label, required=False, widget=widget) for name, label in words.items()},
            "corp": _make_choice_field(_("company"), corps),
            "day": _make_choice_field(_("day"), [(name, label) for name, (label, _first, _last) in PERIODS.items()]),
            "from": _make_day_field(pgettext_lazy("a day", "from")),
            "to": _make_day_field(pgettext_lazy("a day", "to")),
        }
        for name, (label, choices) in self.selects.items():
            fields[name] = _make_choice_field(label, choices(self.person) if callable(choices) else choices)
        names = [*fields, *(f"{column}__id__exact" for column in self.exact)]
        self.asked: dict[str, str] = {name: params.pop(name)[-1] for name in names if name in params}
        self.form = forms.Form(self.asked, auto_id="filter-%s")
        self.form.fields = fields
        self.form.full_clean()

    def has_output(self) -> bool:
        return True

    def choices(self, changelist: Any) -> Iterator[Any]:
        return iter(())

    def list_exact_filters(self) -> Iterator[tuple[str, str, Any, str]]:
        """Yield name, key, label and row name of each exact filter in use; no row name if the person may not see it."""
        for column, label in self.exact.items():
            if key := self.asked.get(name := f"{column}__id__exact"):
                related = _RELATED[column]
                seen = find_visible_people(self.person) if related is User else related.objects.visible_to(self.person)
                rows = prepare_names(seen) if related is Run else seen
                row = rows.filter(pk=key).first() if base.is_key(key) else None
                words = str(row or "")
                if isinstance(row, Run):
                    words = f"{name_run(row)} {format_moment_as_text(row.slot_at)}"
                yield name, key, label, words

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        for name in (f"{column}__id__exact" for column in self.exact):
            if key := self.asked.get(name):
                queryset = queryset.filter(**{name: key}) if base.is_key(key) else queryset.none()
        for name, value in self.form.cleaned_data.items():
            if value:
                queryset = self.narrow_rows(queryset, name, value)
        return queryset

    def narrow_rows(self, rows: QuerySet[Any], name: str, value: Any) -> QuerySet[Any]:
        """Apply one filter. Days are in the time zone of the page and inclusive."""
        match name:
            case "person":  # name, username or WeCom account
                people = search_people(value, seen_by=self.person)
                if rows.model is Receipt:
                    return rows.filter(user_id__in=people)
                theirs = Receipt.objects.filter(user_id__in=people).order_by("user", "-pk")
                if rows.model is Run:
                    return rows.filter(pk__in=read_few_keys(theirs.values_list("run", flat=True)))
                sent = theirs.filter(delivery__isnull=False).values_list("delivery", flat=True)
                return rows.filter(pk__in=read_few_keys(sent))
            case "push":
                runs = search_run_keys(value, seen_by=self.person)
                return rows.filter(**{f"{'pk' if rows.model is Run else 'run'}__in": runs})
            case "corp":
                return rows.filter(**{self.corp_column: value})
            case "day":
                _label, first, last = PERIODS[value]
                today = timezone.localdate()
                return self._filter_by_days(rows, today + timedelta(days=first), today + timedelta(days=last))
            case "from":
                return self._filter_by_days(rows, value, None)
            case "to":
                return self._filter_by_days(rows, None, value)
        return rows.filter(**{name: value})

    def _filter_by_days(self, rows: QuerySet[Any], first: date | None, last: date | None) -> QuerySet[Any]:
        """Keep the rows of these days, both included, in the time zone of the page."""
        if first is not None:
            begin = timezone.make_aware(datetime.combine(first, time()))
            rows = rows.filter(**{f"{self.day_column}__gte": begin})
        if last is not None:
            end = timezone.make_aware(datetime.combine(last + timedelta(days=1), time()))
            rows = rows.filter(**{f"{self.day_column}__lt": end})
        return rows


_RELATED: dict[str, Any] = {"run": Run, "delivery": Delivery, "subscription": Subscription, "user": User}


def _make_choice_field(label: Any, choices: Iterable[tuple[Any, Any]]) -> forms.ChoiceField:
    return forms.ChoiceField(label=label, choices=[("", _("All")), *choices], required=False)


def _make_day_field(label: Any) -> forms.DateField:
    shown = {"placeholder": "2026-11-28", "pattern": r"\d{4}-\d{2}-\d{2}", "title": "2026-11-28"}
    return forms.DateField(
        label=label,
        required=False,
        input_formats=["%Y-%m-%d"],
        widget=forms.TextInput({**shown, "maxlength": 10, "autocomplete": "off"}),
        validators=[MinValueValidator(FIRST_DAY), MaxValueValidator(LAST_DAY)],
    )


class LogList(RowsList):
    """Selects the keys of a page's rows first, then loads these rows. One query would sort whole rows and get a bad
    plan: PostgreSQL reorders joins of at most eight tables (join_collapse_limit), and a log row joins more."""

    def get_ordering_field(self, field_name: Any) -> Any:
        """Ignore columns that are not sortable. Django only hides their links, but accepts them in the URL."""
        return super().get_ordering_field(field_name) if field_name in (self.sortable_by or ()) else None

    def read_rows(self) -> list[Any]:
        keys = list(self.result_list.values_list("pk", flat=True))
        found = self.root_queryset.in_bulk(keys)
        return [found[key] for key in keys if key in found]


class LogAdmin(RowsAdmin, ReadOnlyAdmin):
    """A log: rows that people may view, but not add, change or delete. Its search uses indexes. It offers a CSV file of
    the filtered list, at most ROWS_AT_MOST rows. `list_columns`, `csv_columns`: names of the columns in the list and in
    the file; empty: all."""

    list_class = LogList
    list_per_page = 50
    actions: Sequence[str] | None = None
    ordering = ("-pk",)
    change_form_template = "admin/notifications/log_page.html"
    change_list_template = "admin/notifications/log/change_list.html"
    columns: ClassVar[tuple[Column, ...]]
    list_columns: ClassVar[tuple[str, ...]] = ()
    csv_columns: ClassVar[tuple[str, ...]] = ()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        words = search_term.strip()
        return self.search_rows(queryset, words, base.get_administrator(request)) if words else queryset, False

    def search_rows(self, rows: QuerySet[Any], words: str, seen_by: User) -> QuerySet[Any]:
        """Keep the rows that match `words`."""
        return rows.filter(title__icontains=words)

    def get_list_display(self, request: HttpRequest) -> Any:
        return self.pick_columns(self.list_columns)

    def get_sortable_by(self, request: HttpRequest) -> Any:
        """Allow indexed columns only, because sorting by others takes longer as the log grows."""
        return [column for column in self.columns if column.admin_order_field]

    def pick_columns(self, names: Collection[str]) -> list[Column]:
        by_name = {column.__name__: column for column in self.columns}
        return [by_name[name] for name in names or by_name]

    def list_facts(self, row: Any, *names: str) -> list[tuple[Any, Any]]:
        """Return label and value of these columns, for the row's page."""
        return [(column.short_description, column(row, in_list=False)) for column in self.pick_columns(names)]

    def get_urls(self) -> list[URLPattern]:
        return [*make_routes(self, {("csv/", "csv"): self.csv_view}), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        url = reverse(f"admin:notifications_{self.opts.model_name}_csv")
        context = {"csv_url": url, "csv_rows": f"{ROWS_AT_MOST:,}"}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def csv_view(self, request: HttpRequest) -> HttpResponseBase:
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            found = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(reverse(f"admin:notifications_{self.opts.model_name}_changelist"))
        lines = self._write_csv(request, found, translation.get_language() or "")
        response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        name = f"{self.opts.model_name}-{timezone.localtime():%Y%m%d-%H%M%S}.csv"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    def _write_csv(self, request: HttpRequest, found: QuerySet[Any], language: str) -> Iterator[str]:
        """Yield the lines of the file, in `language`: they are made after the view, when no language is active."""
        columns = self.pick_columns(self.csv_columns)
        with translation.override(language):
            head = "\ufeff" + format_csv_line([str(column.short_description) for column in columns])
        yield head
        rows = islice(read_rows_newest_first(found, at_once=BATCH), ROWS_AT_MOST)
        while batch := list(islice(rows, BATCH)):
            with translation.override(language):
                self.describe_rows(request, batch)
                text = "".join(format_csv_line([column.as_text(row) for column in columns]) for row in batch)
            yield text
