"""Shared by the admin of pushes: filters, status pills, and indexed search by person, mark or subscription."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from accounts.models import User, WeComAccount, fold_userid
from accounts.users.scopes import people_visible_to
from integrations.models import Corp
from integrations.models.scoping import Person
from notifications.models import Delivery, Receipt, Run, Subscription

# A search that means more people than this is refused an answer by person: it names nobody in particular.
PEOPLE_AT_MOST = 200
SUBSCRIPTIONS_AT_MOST = 200
_MARK = re.compile(r"\b[0-9a-f]{32}\b")


def mark_in(words: str) -> str | None:
    """The mark in what was typed or pasted: a mark alone, or the address of a message's page."""
    found = _MARK.search(words.lower())
    return found[0] if found else None


def people_found(words: str, *, seen_by: Person) -> list[int]:
    """Ids of the visible people whose username, name or WeCom account begins with `words`, or whose name holds them."""
    folded = fold_userid(words)
    accounts = WeComAccount.objects.visible_to(seen_by)
    account = accounts.filter(user=OuterRef("pk"), userid_folded__startswith=folded)
    wanted = Q(username__istartswith=words) | Q(name__contains=words) | Q(Exists(account))
    return list(people_visible_to(seen_by).filter(wanted).values_list("pk", flat=True)[:PEOPLE_AT_MOST])


def deliveries_found(deliveries: QuerySet[Delivery], words: str, *, seen_by: Person) -> QuerySet[Delivery]:
    mark = mark_in(words)
    if mark is not None:
        return deliveries.filter(mark=mark)
    theirs = Receipt.objects.filter(user_id__in=people_found(words, seen_by=seen_by), delivery__isnull=False)
    # A subquery reads the titles from their index, a small part of the table.
    titled = Delivery.objects.filter(title__contains=words).order_by()
    return deliveries.filter(Q(pk__in=theirs.values("delivery_id")) | Q(pk__in=titled.values("pk")))


def receipts_found(receipts: QuerySet[Receipt], words: str, *, seen_by: Person) -> QuerySet[Receipt]:
    mark = mark_in(words)
    if mark is not None:
        return receipts.filter(delivery__mark=mark)
    return receipts.filter(user_id__in=people_found(words, seen_by=seen_by))


def runs_found(runs: QuerySet[Run], words: str, *, seen_by: Person) -> QuerySet[Run]:
    """Those of visible subscriptions, the newest SUBSCRIPTIONS_AT_MOST, whose name holds `words`."""
    named = Subscription.objects.visible_to(seen_by).filter(name__icontains=words).order_by("-pk")
    return runs.filter(subscription__in=list(named.values_list("pk", flat=True)[:SUBSCRIPTIONS_AT_MOST]))


# --- What the lists share: days as a filter, states as words with a colour ---

if TYPE_CHECKING:
    ReadOnlyBase = admin.ModelAdmin[Any]
else:
    ReadOnlyBase = admin.ModelAdmin

TONES = {
    **dict.fromkeys(["accepted", "finished"], "good"),
    **dict.fromkeys(["failed", "unknown", "missed", "invalid", "unlicensed", "refused"], "bad"),
    "paused": "warn",
}
# Of a run that ended (notifications.delivery.rendering.run_errors).
LOST_SOME = _("finished, not everybody reached")


class ReadOnlyAdmin(ReadOnlyBase):
    """A log: rows that one sees, and that nobody adds, changes or deletes."""

    list_per_page = 50
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class CorpFilter(admin.SimpleListFilter):
    title = _("company")
    parameter_name = "corp"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(str(corp_id), name) for corp_id, name in self._visible(request)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None or value not in {str(corp_id) for corp_id, _name in self._visible(request)}:
            return queryset
        return queryset.filter(corp_id=value)

    def _visible(self, request: HttpRequest) -> list[tuple[int, str]]:
        return list(Corp.objects.visible_to(request.user).order_by("name").values_list("pk", "name"))


class DayFilter(admin.SimpleListFilter):
    """Days in the time zone of the page. `column`: what is filtered, indexed."""

    title = _("day")
    parameter_name = "day"
    column = "created_at"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("today", _("Today")), ("yesterday", _("Yesterday")), ("week", _("Last 7 days"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        today = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
        tomorrow = today + timedelta(days=1)
        spans: dict[str | None, tuple[datetime, datetime]] = {
            "today": (today, tomorrow),
            "yesterday": (today - timedelta(days=1), today),
            "week": (today - timedelta(days=6), tomorrow),
        }
        if self.value() not in spans:
            return queryset
        start, end = spans[self.value()]
        return queryset.filter(**{f"{self.column}__gte": start, f"{self.column}__lt": end})


def pill(value: str, text: object) -> SafeString:
    """A state: a word with a colour."""
    return format_html('<span class="pill pill-{}">{}</span>', TONES.get(value, "quiet"), text)


def severity_pill(severity: str, words: str) -> SafeString:
    tone = {"critical": "bad", "warning": "warn"}.get(severity, "quiet")
    return format_html('<span class="pill pill-{}">{}</span>', tone, words)


def run_pill(run: Run) -> SafeString:
    """A run's state; one that ended without reaching anybody, or everybody, is no success."""
    if run.status == Run.Status.FINISHED and not run.recipient_count:
        return format_html('<span class="pill pill-warn">{}</span>', _("finished, reached nobody"))
    if run.status == Run.Status.FINISHED and run.error:
        return format_html('<span class="pill pill-bad">{}</span>', LOST_SOME)
    return pill(run.status, run.get_status_display())


def moment(value: datetime | None) -> str:
    """A time in the zone of the page."""
    return "—" if value is None else format_html("<time>{}</time>", f"{timezone.localtime(value):%Y-%m-%d %H:%M:%S}")


def administrator(request: HttpRequest) -> User:
    """Who is at work; the admin's own check has let nobody else in."""
    if not isinstance(request.user, User):
        raise TypeError("nobody is signed in")
    return request.user


def for_person(form_class: Any, request: HttpRequest, names: list[str]) -> Any:
    """The form of this administrator, without the pencils and crosses that lead away from it."""
    form_class.person = administrator(request)
    for name in names:
        if name in form_class.base_fields:
            widget: Any = form_class.base_fields[name].widget
            widget.can_add_related = widget.can_change_related = False
            widget.can_view_related = widget.can_delete_related = False
    return form_class
