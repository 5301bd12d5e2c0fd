"""The filters of the log: one form beside each list, by person, push, company, day and state.

Each is a field of the form (admin/notifications/log/_filter.html), whose `kind` says how it is drawn.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.users.scopes import people_visible_to
from notifications.admin import base
from notifications.admin.base import CorpFilter, DayFilter, administrator
from notifications.delivery.runs import names
from notifications.models import Delivery, Run, Subscription

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS_AT_MOST = 100
# Other years are slips of the keyboard, and some of them no database can compare.
FIRST_YEAR, LAST_YEAR = 1970, 9000


class FormFilter(admin.SimpleListFilter):
    """A field of the form: a select of `lookups`."""

    template = "admin/notifications/log/_filter.html"
    kind = "select"

    def has_output(self) -> bool:
        return True

    @property
    def text(self) -> str:
        """What was chosen or typed."""
        return (self.value() or "").replace("\x00", "").strip()[:WORDS_AT_MOST]

    def choices(self, changelist: Any) -> Iterator[Any]:
        for value, label in [("", _("All")), *self.lookup_choices]:
            yield {"value": str(value), "display": label, "selected": str(value) == self.text}


class FormCorpFilter(FormFilter, CorpFilter):
    """Of messages, which belong to one company."""


class FormDayFilter(FormFilter, DayFilter):
    title = _("day")


class WordsFilter(FormFilter):
    """A field into which one types."""

    kind = "text"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return []


class PersonFilter(WordsFilter):
    """Rows about people of that name, username or WeCom account. `path`: from a receipt to the row."""

    title = _("person")
    parameter_name = "person"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.text:
            return queryset
        return base.of_people(queryset, base.people_found(self.text, seen_by=administrator(request)))


class PushFilter(WordsFilter):
    """Rows of pushes and alerts of that name."""

    title = pgettext_lazy("filter", "push or alert")
    parameter_name = "push"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.text:
            return queryset
        runs = base.runs_named(self.text, seen_by=administrator(request))
        return queryset.filter(**{f"{'pk' if queryset.model is Run else 'run'}__in": runs})


class SpanFilter(FormFilter):
    """From one day to another, both included, in the time zone of the page. `column`: what is filtered, indexed."""

    title = _("days")
    parameter_name = "from"
    other_parameter = "to"
    kind = "span"
    column = "created_at"

    def __init__(self, request: HttpRequest, params: Any, model: type[Model], model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        value = params.pop(self.other_parameter, None)
        if value is not None:
            self.used_parameters[self.other_parameter] = value[-1]

    def expected_parameters(self) -> list[str | None]:
        return [self.parameter_name, self.other_parameter]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return []

    @property
    def first(self) -> str:
        return _day(self.used_parameters.get(self.parameter_name))

    @property
    def last(self) -> str:
        return _day(self.used_parameters.get(self.other_parameter))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.first:
            queryset = queryset.filter(**{f"{self.column}__gte": _midnight(self.first)})
        if self.last:
            queryset = queryset.filter(**{f"{self.column}__lt": _midnight(self.last, plus=1)})
        return queryset


class ExactFilter(FormFilter):
    """Rows of one other row, to which a page leads: shown as its name, with a way to drop it."""

    kind = "exact"
    column = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        key = self.value() or ""
        if not (key.isascii() and key.isdigit() and len(key) < 19):
            return []
        return [(key, self.label(request, int(key)))]

    def has_output(self) -> bool:
        return bool(self.text)

    def label(self, request: HttpRequest, key: int) -> str:
        """Its name for who asks; empty for what that person does not see."""
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.text:
            return queryset
        keys = [int(key) for key, _label in self.lookup_choices]
        return queryset.filter(**{f"{self.column}__in": keys})


class ExactRunFilter(ExactFilter):
    title = _("run")
    parameter_name = "run__id__exact"
    column = "run"

    def label(self, request: HttpRequest, key: int) -> str:
        run = names.nameable(Run.objects.visible_to(request.user)).filter(pk=key).first()
        return "" if run is None else f"{names.of_run(run)} {base.plain_moment(run.slot_at)}"


class ExactDeliveryFilter(ExactFilter):
    title = _("message")
    parameter_name = "delivery__id__exact"
    column = "delivery"

    def label(self, request: HttpRequest, key: int) -> str:
        titles = Delivery.objects.visible_to(request.user).filter(pk=key).values_list("title", flat=True)
        return titles.first() or ""


class ExactPushFilter(ExactFilter):
    title = _("push")
    parameter_name = "subscription__id__exact"
    column = "subscription"

    def label(self, request: HttpRequest, key: int) -> str:
        return str(Subscription.objects.visible_to(request.user).filter(pk=key).first() or "")


class ExactPersonFilter(ExactFilter):
    title = _("user")
    parameter_name = "user__id__exact"
    column = "user"

    def label(self, request: HttpRequest, key: int) -> str:
        return str(people_visible_to(administrator(request)).filter(pk=key).first() or "")


def _day(text: str | None) -> str:
    """A day as a date field writes it; empty for anything else."""
    try:
        day = date.fromisoformat(text or "")
    except ValueError:
        return ""
    return day.isoformat() if FIRST_YEAR <= day.year <= LAST_YEAR else ""


def _midnight(day: str, *, plus: int = 0) -> datetime:
    """The beginning of the day, or of one some days later."""
    return timezone.make_aware(datetime.combine(date.fromisoformat(day) + timedelta(days=plus), time()))
