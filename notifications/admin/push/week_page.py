"""What goes out when: a week of enabled pushes by day and hour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext

from integrations.admin.base import own_page
from notifications.delivery.rendering.report_contents import expect_recipients
from notifications.models import Subscription
from notifications.subscriptions.schedules.descriptions import WEEKDAYS, zone_label
from notifications.subscriptions.schedules.week import DAYS, Hour, Week, limit_per_hour, limit_per_minute, week

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

WEEKS_AHEAD = 52
# Of how many pushes it is worked out who would get them.
COUNTED_AT_MOST = 500
TEMPLATE = "admin/notifications/subscription/week.html"


@dataclass(frozen=True)
class Cell:
    day: date
    weekday: StrOrPromise
    hour: Hour | None


def week_page(model_admin: admin.ModelAdmin[Subscription], request: HttpRequest) -> HttpResponse:
    """`?week=1` is the seven days after the next seven. The number of queries is that of `expect_recipients`."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    number = _number(request)
    start = timezone.localdate() + timedelta(days=DAYS * number)
    enabled = Subscription.objects.visible_to(request.user).filter(is_enabled=True)
    subscriptions = list(enabled.select_related("report").order_by("name", "pk"))
    people = {
        pk: frozenset(one.user_id for one in recipients if one.reason is None)
        for pk, (expected, recipients) in expect_recipients(subscriptions[:COUNTED_AT_MOST], timezone.now()).items()
        if expected.is_known
    }
    found = week(subscriptions, people, start=start, now=timezone.now(), zone=timezone.get_current_timezone())
    limit = limit_per_hour()
    context: dict[str, Any] = {
        "title": gettext("What goes out when"),
        "week": found,
        "heads": [_cell(found, day, -1) for day in found.days],
        "rows": [(f"{hour:02}:00", [_cell(found, day, hour) for day in found.days]) for hour in _hours(found)],
        "on_the_hour": found.on_the_hour,
        "notes": found.notes,
        "limit": limit,
        "limit_per_minute": limit_per_minute(),
        "full": max(limit, found.peak, 1),
        "time_zone": zone_label(timezone.get_current_timezone_name()),
        "has_unknown": len(people) < len(subscriptions),
        "earlier": number - 1 if number else None,
        "later": number + 1 if number < WEEKS_AHEAD else None,
    }
    return own_page(model_admin, request, TEMPLATE, context)


def _number(request: HttpRequest) -> int:
    text = request.GET.get("week", "")
    return min(int(text), WEEKS_AHEAD) if text.isascii() and text.isdigit() and len(text) < 4 else 0


def _hours(found: Week) -> range:
    """From the first hour in which something begins on some day to the last."""
    used = [hour for _day, hour in found.hours]
    return range(min(used), max(used) + 1) if used else range(0)


def _cell(found: Week, day: date, hour: int) -> Cell:
    return Cell(day, WEEKDAYS[day.weekday()], found.hours.get((day, hour)))
