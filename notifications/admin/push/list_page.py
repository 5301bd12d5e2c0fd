"""Actions on the selected pushes of the list, and the page of the week."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from integrations.admin.base import own_page
from integrations.core.admin_pages import AnyModelAdmin
from integrations.core.background import database_now
from notifications.admin import subscription_forms
from notifications.admin.base import OptionFilter, administrator, is_key
from notifications.admin.push.form import copy_push
from notifications.delivery.rendering.report_contents import expect_recipients, expected_contents
from notifications.delivery.runs.owner_notices import restart_failure_count
from notifications.models import Delivery, Run, Subscription
from notifications.subscriptions.calendar import (
    DAYS,
    WEEKDAYS,
    Hour,
    Week,
    limit_per_hour,
    limit_per_minute,
    moment_line,
    plan_week,
    zone_label,
)
from notifications.subscriptions.recipients import count_reachability, named_audience
from notifications.subscriptions.schedules import ScheduleError, reschedule

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    from accounts.models import User


# The number of recipients is computed for each push before it is enabled.
AT_MOST = 50


@dataclass(frozen=True)
class Outcome:
    """The effect of an action on one push. `columns`: the changed, unsaved fields; empty if the push is left out, for
    the reason in `line`."""

    subscription: Subscription
    line: str
    columns: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Switch:
    """An action that changes pushes. `what`: explanation on the confirmation page; `done`: entry in the history of each
    changed push; `change`: changes a push without saving it. The user is the one who looks at the page."""

    title: StrOrPromise
    what: StrOrPromise
    done: StrOrPromise
    change: Callable[[Subscription, User, datetime], Outcome]


def _make_action(name: str, description: StrOrPromise) -> Any:
    """Return the admin action that shows and applies the switch `name`."""

    @admin.action(description=description, permissions=["change"])
    def switch(self: PushActions, request: HttpRequest, queryset: QuerySet[Subscription]) -> HttpResponse | None:
        return self.switch_pushes(request, queryset, name)

    return switch


class PushActions(AnyModelAdmin):
    """Actions of the subscription admin."""

    actions = ("enable", "disable", "pause", "resume", "duplicate")

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Remove "delete selected": a push is deleted on its own page, which lists what is deleted with it."""
        return {name: one for name, one in super().get_actions(request).items() if name != "delete_selected"}

    enable = _make_action("enable", _("Enable the selected pushes"))
    disable = _make_action("disable", _("Disable the selected pushes"))
    pause = _make_action("pause", _("Pause the selected pushes"))
    resume = _make_action("resume", _("Resume the selected pushes"))

    @admin.action(description=_("Duplicate the selected pushes"), permissions=["duplicate"])
    def duplicate(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        """Copy the selected pushes. Copies are disabled, so no confirmation is needed."""
        if _are_too_many(request, queryset):
            return
        with transaction.atomic():
            for subscription in queryset.order_by("pk"):
                copied = copy_push(subscription, owner=administrator(request))
                self.log_addition(request, copied, gettext("Copied from “%(name)s”.") % {"name": subscription.name})
        sentence = ngettext(
            "%(count)d push was duplicated. The copy is not enabled.",
            "%(count)d pushes were duplicated. The copies are not enabled.",
            queryset.count(),
        )
        messages.success(request, sentence % {"count": queryset.count()})

    def has_duplicate_permission(self, request: HttpRequest) -> bool:
        """Require the permissions to write a push and a report, since a copy gets a report of its own."""
        may_write = self.has_add_permission(request) and self.has_change_permission(request)
        return may_write and request.user.has_perm("notifications.add_report")

    def switch_pushes(self, request: HttpRequest, queryset: QuerySet[Subscription], name: str) -> HttpResponse | None:
        """Show a confirmation page with the outcome for each push; apply the change once confirmed."""
        if _are_too_many(request, queryset):
            return None
        switch = SWITCHES[name]
        if "apply" in request.POST:
            self._apply(request, queryset, switch)
            return None
        outcomes = _list_outcomes(queryset.select_related("report__corp"), switch, administrator(request))
        context = {
            "title": switch.title,
            "what": switch.what,
            "action": name,
            "changed": [one for one in outcomes if one.columns],
            "left_out": [one for one in outcomes if not one.columns],
            "selected": request.POST.getlist("_selected_action"),
            "select_across": request.POST.get("select_across", "0"),
        }
        return own_page(self, request, "admin/notifications/subscription/switch.html", context)

    @transaction.atomic
    def _apply(self, request: HttpRequest, queryset: QuerySet[Subscription], switch: Switch) -> None:
        keys = list(queryset.order_by().values_list("pk", flat=True))
        locked = Subscription.objects.select_for_update(of=("self",)).select_related("report__corp")
        outcomes = _list_outcomes(locked.filter(pk__in=keys), switch, administrator(request))
        changed = [one for one in outcomes if one.columns]
        for one in changed:
            one.subscription.save(update_fields=one.columns)
            self.log_change(request, one.subscription, str(switch.done))
        sentence = ngettext("%(count)d push was changed.", "%(count)d pushes were changed.", len(changed))
        messages.success(request, sentence % {"count": len(changed)})
        words = gettext("%(name)s: %(reason)s")
        left_out = [words % {"name": one.subscription.name, "reason": one.line} for one in outcomes if not one.columns]
        if left_out:
            messages.warning(request, gettext("Left out: %(lines)s") % {"lines": "; ".join(left_out)})


def _are_too_many(request: HttpRequest, queryset: QuerySet[Subscription]) -> bool:
    if queryset.count() <= AT_MOST:
        return False
    sentence = gettext("Nothing was changed: at most %(count)d pushes at once. Select fewer.")
    messages.error(request, sentence % {"count": AT_MOST})
    return True


def _list_outcomes(subscriptions: Iterable[Subscription], switch: Switch, seen_by: User) -> list[Outcome]:
    now = database_now()
    found = [switch.change(one, seen_by, now) for one in subscriptions]
    return sorted(found, key=lambda one: (one.subscription.name, one.subscription.pk))


# --- The changes ------------------------------------------------------------------------------------------------------


def _enable(subscription: Subscription, seen_by: User, now: datetime) -> Outcome:
    if subscription.is_enabled:
        return Outcome(subscription, gettext("is enabled already"))
    found = count_reachability(
        named_audience(subscription), seen_by=seen_by, named=1, expected=expected_contents(subscription, now)
    )
    if not found.concerns_somebody:
        return Outcome(subscription, subscription_forms.refusal(found)[0])
    subscription.is_enabled = True
    try:
        reschedule(subscription, now=now)
    except ScheduleError as error:
        return Outcome(subscription, str(error.sentence))
    columns = {"is_enabled", "next_run_at", *restart_failure_count(subscription, now=now)}
    people = ngettext("reaches %(count)d person", "reaches %(count)d people", found.reachable_count)
    line = gettext("%(people)s, next %(time)s") % {
        "people": people % {"count": found.reachable_count} if found.is_count_known else gettext("not known how many"),
        "time": _format_next_time(subscription),
    }
    return Outcome(subscription, line, frozenset(columns))


def _disable(subscription: Subscription, seen_by: User, now: datetime) -> Outcome:
    if not subscription.is_enabled:
        return Outcome(subscription, gettext("is disabled already"))
    line = gettext("would be sent next %(time)s") % {"time": _format_next_time(subscription)}
    subscription.is_enabled, subscription.next_run_at = False, None
    return Outcome(subscription, line, frozenset({"is_enabled", "next_run_at"}))


def _pause(subscription: Subscription, seen_by: User, now: datetime) -> Outcome:
    if subscription.is_paused:
        return Outcome(subscription, gettext("is paused already"))
    if not subscription.is_enabled:
        return Outcome(subscription, gettext("is disabled: nothing of it is sent"))
    subscription.is_paused = True
    return Outcome(subscription, _count_waiting(subscription), frozenset({"is_paused"}))


def _resume(subscription: Subscription, seen_by: User, now: datetime) -> Outcome:
    if not subscription.is_paused:
        return Outcome(subscription, gettext("is not paused"))
    subscription.is_paused = False
    return Outcome(subscription, _count_waiting(subscription), frozenset({"is_paused"}))


def _format_next_time(subscription: Subscription) -> str:
    if subscription.next_run_at is None:
        return gettext("no further time")
    return moment_line(subscription.next_run_at, subscription.time_zone)


def _count_waiting(subscription: Subscription) -> str:
    waiting = Delivery.objects.filter(run__subscription=subscription).unsettled().aggregate(count=Count("pk"))
    sentence = ngettext("%(count)d message is waiting", "%(count)d messages are waiting", waiting["count"])
    return sentence % waiting


SWITCHES = {
    "enable": Switch(
        title=_("Enable pushes"),
        what=_("They are sent at their times from now on. Times that have passed are not made up for."),
        done=_("Enabled from the list."),
        change=_enable,
    ),
    "disable": Switch(
        title=_("Disable pushes"),
        what=_("They are not sent any more. Messages that are on their way arrive."),
        done=_("Disabled from the list."),
        change=_disable,
    ),
    "pause": Switch(
        title=_("Pause pushes"),
        what=_("Their messages are made, but wait, and are sent after resuming unless they have expired by then."),
        done=_("Paused from the list."),
        change=_pause,
    ),
    "resume": Switch(
        title=_("Resume pushes"),
        what=_("Messages that wait and have not expired are sent at once."),
        done=_("Resumed from the list."),
        change=_resume,
    ),
}
WEEKS_AHEAD = 52
# Recipients are computed for at most so many pushes.
COUNTED_AT_MOST = 500
TEMPLATE = "admin/notifications/subscription/week.html"


@dataclass(frozen=True)
class Cell:
    day: date
    weekday: StrOrPromise
    hour: Hour | None


def week_page(model_admin: admin.ModelAdmin[Subscription], request: HttpRequest) -> HttpResponse:
    """Show how many messages are planned for each hour of a week. `?week=1` is the week that begins in seven days. The
    number of queries does not depend on the number of pushes, see `expect_recipients`."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    text = request.GET.get("week", "")
    number = min(int(text), WEEKS_AHEAD) if is_key(text) else 0
    start = timezone.localdate() + timedelta(days=DAYS * number)
    enabled = Subscription.objects.visible_to(request.user).filter(is_enabled=True)
    subscriptions = list(enabled.select_related("report").order_by("name", "pk"))
    people = {
        pk: frozenset(one.user_id for one in recipients if one.reason is None)
        for pk, (expected, recipients) in expect_recipients(subscriptions[:COUNTED_AT_MOST], timezone.now()).items()
        if expected.is_known
    }
    found = plan_week(subscriptions, people, start=start, now=timezone.now(), zone=timezone.get_current_timezone())
    used = [hour for _day, hour in found.hours]
    hours = range(min(used), max(used) + 1) if used else range(0)
    limit = limit_per_hour()
    context: dict[str, Any] = {
        "title": gettext("What goes out when"),
        "week": found,
        "heads": [_cell(found, day, -1) for day in found.days],
        "rows": [(f"{hour:02}:00", [_cell(found, day, hour) for day in found.days]) for hour in hours],
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


def _cell(found: Week, day: date, hour: int) -> Cell:
    return Cell(day, WEEKDAYS[day.weekday()], found.hours.get((day, hour)))


def _filter_failing(pushes: QuerySet[Subscription]) -> QuerySet[Subscription]:
    """Keep the pushes whose newest complete run was missed, failed, or did not reach everybody."""
    whole = Run.objects.filter(subscription=OuterRef(OuterRef("pk"))).exclude(trigger__in=Run.PARTIAL)
    newest = Subquery(whole.order_by("-pk").values("pk")[:1])
    return pushes.filter(Exists(Run.objects.went_wrong().filter(pk=newest)))


_PAUSED = Q(is_paused=True) | Q(failures_paused_at__isnull=False, is_enabled=False)


class PushStateFilter(OptionFilter):
    options = {
        "enabled": (_("enabled"), lambda pushes: pushes.filter(is_enabled=True)),
        "paused": (_("paused"), lambda pushes: pushes.filter(_PAUSED)),
        "failing": (_("failing"), _filter_failing),
        "disabled": (_("disabled"), lambda pushes: pushes.filter(is_enabled=False)),
    }
