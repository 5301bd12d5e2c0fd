"""Admin pages of subscriptions: the list with its actions, the page of the week, saving and running a push."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from accounts.admin.base import Column, OptionFilter, RowsAdmin, moment
from accounts.audit import signals
from integrations.admin.base import NamedDeletions, own_page
from integrations.companies.diagnosis import checks
from integrations.core.background import database_now
from integrations.core.sentences import translate_stored
from notifications.admin import subscription_forms
from notifications.admin.base import (
    LOST_SOME,
    RecipientsMixin,
    SuccessorPage,
    administrator,
    find_row,
    for_person,
    is_key,
    pill,
)
from notifications.admin.log import render_latest_runs
from notifications.admin.push.form import copy_push
from notifications.admin.push.one_page import read_form_key, show_outlook
from notifications.admin.push.page import PushPage, render_saved
from notifications.admin.reports import note_edit
from notifications.admin.subscription_forms import SCHEDULE_FIELDS
from notifications.delivery.rendering.report_contents import expect_recipients, expected_contents
from notifications.delivery.runs.owner_notices import explain_auto_pauses, restart_failure_count
from notifications.delivery.runs.ownership import describe_owner
from notifications.delivery.runs.triggers import TriggerRefusedError, explain_under_way, request_run
from notifications.models import Channel, Delivery, Receipt, Run, Subscription
from notifications.subscriptions.addressees import describe_addressees
from notifications.subscriptions.calendar import (
    DAYS,
    WEEKDAYS,
    Hour,
    Week,
    describe_crontab,
    describe_schedule,
    limit_per_hour,
    limit_per_minute,
    moment_line,
    plan_week,
    write_calendar_notes,
    zone_label,
)
from notifications.subscriptions.recipients import (
    count_reachability,
    find_recipients,
    named_audience,
    save_rules,
    trial_audience,
)
from notifications.subscriptions.schedules import ScheduleError, due_times, reschedule
from notifications.tasks import enqueue_runs

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    from accounts.models import User


signals.describe(Subscription, "crontab", describe_crontab)

# The number of recipients is computed for each push before it is enabled.
AT_MOST = 50


@dataclass(frozen=True)
class SwitchOutcome:
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
    change: Callable[[Subscription, User, datetime], SwitchOutcome]


def _make_action(name: str, description: StrOrPromise) -> Any:
    """Return the admin action that shows and applies the switch `name`."""

    @admin.action(description=description, permissions=["change"])
    def switch(self: SubscriptionAdmin, request: HttpRequest, queryset: QuerySet[Subscription]) -> HttpResponse | None:
        return self.switch_pushes(request, queryset, name)

    return switch


def _are_too_many(request: HttpRequest, queryset: QuerySet[Subscription]) -> bool:
    if queryset.count() <= AT_MOST:
        return False
    sentence = gettext("Nothing was changed: at most %(count)d pushes at once. Select fewer.")
    messages.error(request, sentence % {"count": AT_MOST})
    return True


def _list_outcomes(subscriptions: Iterable[Subscription], switch: Switch, seen_by: User) -> list[SwitchOutcome]:
    now = database_now()
    found = [switch.change(one, seen_by, now) for one in subscriptions]
    return sorted(found, key=lambda one: (one.subscription.name, one.subscription.pk))


# --- The changes ------------------------------------------------------------------------------------------------------


def _enable(subscription: Subscription, seen_by: User, now: datetime) -> SwitchOutcome:
    if subscription.is_enabled:
        return SwitchOutcome(subscription, gettext("is enabled already"))
    found = count_reachability(
        named_audience(subscription), seen_by=seen_by, named=1, expected=expected_contents(subscription, now)
    )
    if not found.concerns_somebody:
        return SwitchOutcome(subscription, subscription_forms.refusal(found)[0])
    subscription.is_enabled = True
    try:
        reschedule(subscription, now=now)
    except ScheduleError as error:
        return SwitchOutcome(subscription, str(error.sentence))
    columns = {"is_enabled", "next_run_at", *restart_failure_count(subscription, now=now)}
    people = ngettext("reaches %(count)d person", "reaches %(count)d people", found.reachable_count)
    line = gettext("%(people)s, next %(time)s") % {
        "people": people % {"count": found.reachable_count} if found.is_count_known else gettext("not known how many"),
        "time": _format_next_time(subscription),
    }
    return SwitchOutcome(subscription, line, frozenset(columns))


def _disable(subscription: Subscription, seen_by: User, now: datetime) -> SwitchOutcome:
    if not subscription.is_enabled:
        return SwitchOutcome(subscription, gettext("is disabled already"))
    line = gettext("would be sent next %(time)s") % {"time": _format_next_time(subscription)}
    subscription.is_enabled, subscription.next_run_at = False, None
    return SwitchOutcome(subscription, line, frozenset({"is_enabled", "next_run_at"}))


def _pause(subscription: Subscription, seen_by: User, now: datetime) -> SwitchOutcome:
    if subscription.is_paused:
        return SwitchOutcome(subscription, gettext("is paused already"))
    if not subscription.is_enabled:
        return SwitchOutcome(subscription, gettext("is disabled: nothing of it is sent"))
    subscription.is_paused = True
    return SwitchOutcome(subscription, _count_waiting(subscription), frozenset({"is_paused"}))


def _resume(subscription: Subscription, seen_by: User, now: datetime) -> SwitchOutcome:
    if not subscription.is_paused:
        return SwitchOutcome(subscription, gettext("is not paused"))
    subscription.is_paused = False
    return SwitchOutcome(subscription, _count_waiting(subscription), frozenset({"is_paused"}))


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


@admin.register(Subscription)
class SubscriptionAdmin(SuccessorPage, PushPage, RecipientsMixin, RowsAdmin, NamedDeletions):
    empty_list = _(
        "A push sends people a message made of your data, on a schedule. The first one begins with “New push”."
    )
    change_form_template = "admin/notifications/subscription/change_form.html"
    list_display = (
        *("name", "addressees", Column("when", _("schedule"), describe_schedule)),
        *("next_run", "state", "last_run"),
    )
    list_filter = (PushStateFilter, "channel", "message_form")
    list_select_related = ("report",)
    search_fields = ("name", "report__title")
    autocomplete_fields = ("users", "groups")

    class Media:
        js = (
            *("integrations/live.js", "notifications/schedule.js", "notifications/rows.js"),
            *(
                "notifications/preview.js",
                "notifications/one_page.js",
                "notifications/data_browser.js",
                "notifications/form_rows.js",
            ),
            *("notifications/person_chooser.js", "notifications/template_editor.js"),
            *("notifications/push_message.js", "notifications/searching_select.js", "notifications/own_rows.js"),
            *("notifications/renaming.js", "notifications/page_picture.js", "notifications/push.js"),
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Subscription]:
        newest = Run.objects.filter(subscription=OuterRef("pk")).order_by("-pk")
        # Ordered here, since the autocomplete select of the token page keeps this order.
        seen = Subscription.objects.visible_to(request.user).order_by("-pk")
        return seen.annotate(
            last_run_status=Subquery(newest.values("status")[:1]),
            last_run_error=Subquery(newest.values("error")[:1]),
            last_run_at=Subquery(newest.values("slot_at")[:1]),
        )

    def describe_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Add the recipients in words, and who would receive it now."""
        expected = expect_recipients(rows, timezone.now())
        words = describe_addressees(rows, seen_by=administrator(request))
        for push in rows:
            push.addressees_shown, push.expected = words[push.pk], expected[push.pk]

    # --- The list -----------------------------------------------------------------------------------------------------

    @admin.display(description=_("recipients"))
    def addressees(self, subscription: Subscription) -> str:
        """Describe the recipients, with how many people would receive it now, or why the number is not known."""
        expected, found = subscription.expected  # type: ignore[attr-defined]  # set by describe_rows
        count = sum(one.reason is None for one in found)
        people = ngettext("%(count)d person", "%(count)d people", count) % {"count": count}
        words = format_html("{}", subscription.addressees_shown)  # type: ignore[attr-defined]  # set by describe_rows
        if subscription.channel == Channel.ROBOT:
            return words
        return format_html("{} <small>({})</small>", words, people if expected.is_known else str(expected.note))

    @admin.display(description=_("next run"), ordering="next_run_at")
    def next_run(self, subscription: Subscription) -> str:
        if subscription.next_run_at is None or not subscription.is_enabled:
            return "—"
        return f"{moment_line(subscription.next_run_at, subscription.time_zone)} {zone_label(subscription.time_zone)}"

    @admin.display(description=_("status"), ordering="is_enabled")
    def state(self, subscription: Subscription) -> SafeString:
        if subscription.is_paused:
            return pill("paused", gettext("paused"))
        if subscription.failures_paused_at is not None and not subscription.is_enabled:
            return pill("failed", gettext("paused after failures"))
        if subscription.is_enabled and subscription.next_run_at is None:
            return pill("paused", gettext("no further time"))
        if subscription.is_enabled:
            return pill("accepted", gettext("enabled"))
        return pill("", gettext("disabled"))

    @admin.display(description=_("last run"))
    def last_run(self, subscription: Subscription) -> str:
        status: str | None = subscription.last_run_status  # type: ignore[attr-defined]  # annotated in get_queryset
        if status is None:
            return "—"
        at = moment(subscription.last_run_at)  # type: ignore[attr-defined]  # see above
        has_lost_some = status == Run.Status.FINISHED and subscription.last_run_error  # type: ignore[attr-defined]  # see above
        label = LOST_SOME if has_lost_some else Run.Status(status).label
        if status != Run.Status.FAILED or not subscription.last_run_error:  # type: ignore[attr-defined]  # see above
            return format_html("{} {}", at, label)
        return format_html("{} {} <small>{}</small>", at, label, translate_stored(subscription.last_run_error))  # type: ignore[attr-defined]  # see above

    # --- Actions of the list ------------------------------------------------------------------------------------------

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

    # --- The form -----------------------------------------------------------------------------------------------------

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        names = ["report", "robot", "users", "groups", "departments"]
        return for_person(super().get_form(request, obj, change=change, **kwargs), request, names)

    def save_model(self, request: HttpRequest, obj: Subscription, form: Any, change: bool) -> None:
        """Save only the changed columns, since the dispatcher updates `next_run_at` concurrently."""
        self.save_content(form)
        columns = {field.name for field in obj._meta.concrete_fields}
        changed = columns.intersection(form.changed_data)
        if form.content is not None:
            changed.add("report")
        if "channel" in changed:
            changed |= {"robot", "fallback_channel"}  # the form empties them for channels without
        if change and "is_enabled" in changed and obj.is_enabled:
            changed |= restart_failure_count(obj, now=database_now())
        if change and changed & SCHEDULE_FIELDS:
            reschedule(obj, now=database_now())
            # Include all, as the form empties the fields that the new kind of schedule does not use.
            changed |= {"next_run_at", *SCHEDULE_FIELDS}
        if change and obj.owner is not None and not obj.owner.is_active:
            obj.owner = administrator(request)  # a disabled owner gets no notices of failures
            changed.add("owner")
        if change:
            obj.save(update_fields=changed)
            return
        obj.owner = administrator(request)
        obj.save()
        reschedule(obj, now=database_now())  # its random delay is derived from the new key
        obj.save(update_fields=["next_run_at"])

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        edited = [form, form.content, *formsets] if change and form.copied is None else []
        enqueue_runs(note_edit(form.instance.report, edited, administrator(request)))
        super().save_related(request, form, formsets, change)
        save_rules(form.instance, form.cleaned_data["rules"])
        self.forget_draft(request, is_new=not change, row=form.instance)
        self._tell_of_schedule(request, form.instance)
        found = form.found
        if found is None or form.cleaned_data.get("robot") or "_try" in request.POST:
            return
        for sentence in subscription_forms.note_departments(found):
            messages.warning(request, sentence)
        count = found.reachable_count
        sentence = ngettext("It reaches %(count)d person.", "It reaches %(count)d people.", count) % {"count": count}
        if not found.is_count_known:
            sentence = found.note
        if not found.unreachable_count:
            (messages.info if count else messages.warning)(request, sentence)
            return
        lines = "; ".join(subscription_forms.list_unreachable(found))
        messages.warning(
            request, gettext("%(reached)s Cannot be reached: %(lines)s") % {"reached": sentence, "lines": lines}
        )

    def _tell_of_schedule(self, request: HttpRequest, subscription: Subscription) -> None:
        """Warn of a valid schedule with consequences worth knowing."""
        times = list(islice(due_times(subscription, timezone.now()), subscription_forms.TIMES_SHOWN))
        for sentence in write_calendar_notes(subscription, times):
            messages.warning(request, sentence)
        if not times:
            sentence = gettext("No time of the schedule lies within this validity: it is sent by hand only.")
            messages.warning(request, sentence)

    def row_context(self, request: HttpRequest, subscription: Subscription) -> dict[str, Any]:
        if request.method == "GET" and not subscription.is_enabled:
            for sentence in explain_auto_pauses([subscription]):
                messages.warning(request, sentence)
        person, now = administrator(request), timezone.now()
        expected = expected_contents(subscription, now)
        reach = count_reachability(named_audience(subscription), seen_by=person, expected=expected)
        times = subscription_forms.find_times(subscription, now)
        message: dict[str, Any] | None = render_saved(subscription, by=person, now=now)
        if message and "problem" in message and self.has_change_permission(request, subscription):
            message = None  # only for people who may not change it; others have the page's own preview
        runs_url = f"{reverse('admin:notifications_run_changelist')}?subscription__id__exact={subscription.pk}"
        return {
            "subscription": subscription,
            "owner": describe_owner(subscription, person),
            "can_act": self.has_change_permission(request, subscription),
            "state": render_latest_runs(request, subscription),
            "state_url": reverse("admin:notifications_subscription_runs", args=[subscription.pk]),
            "held_up": _explain_held_up(request, subscription),
            "runs_url": runs_url if request.user.has_perm("notifications.view_run") else "",
            "preview": show_outlook(request, reach, times, message=message),
        }

    # --- Running it ---------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        wrapped = self.admin_site.admin_view
        return [
            path("week/", wrapped(partial(week_page, self)), name="notifications_subscription_week"),
            path("<int:pk>/run/", wrapped(self.run_view), name="notifications_subscription_run"),
            path("<int:pk>/runs/", wrapped(require_GET(self.runs_view)), name="notifications_subscription_runs"),
            path("<int:pk>/try/", wrapped(require_POST(self.try_view)), name="notifications_subscription_try"),
            *super().get_urls(),
        ]

    def runs_view(self, request: HttpRequest, pk: int) -> JsonResponse:
        """Return the latest runs for an open page, which polls them."""
        subscription = find_row(request, self.get_queryset(request), pk, self.has_view_permission)
        return JsonResponse(render_latest_runs(request, subscription))

    def run_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for confirmation with the number of recipients, then run. A page submitted twice runs once."""
        subscription = self.find_changeable_row(request, pk)
        expected = expected_contents(subscription, timezone.now())
        found = count_reachability(named_audience(subscription), seen_by=administrator(request), expected=expected)
        # The run fetches newer data, which may have rows for somebody.
        is_possible = found.reachable_count or found.reasons & Receipt.OF_CONTENT
        refusal = [] if is_possible else subscription_forms.refusal(found)
        if request.method == "POST" and not refusal:
            try:
                return self._request(request, subscription, Run.Trigger.MANUAL)
            except TriggerRefusedError as error:
                refusal = [error.sentence]
        elif Run.objects.under_way().filter(subscription=subscription).exists():
            refusal.append(explain_under_way())
        context = {
            "title": gettext("Run now"),
            "subscription": subscription,
            "found": found,
            "refusal": refusal,
            "unreachable_lines": subscription_forms.list_unreachable(
                found, may_open=request.user.has_perm("accounts.view_user")
            ),
            "department_lines": subscription_forms.note_departments(found),
            "form_token": uuid.uuid4().hex,
            "held_up": _explain_held_up(request, subscription),
        }
        status = 409 if request.method == "POST" else 200
        return own_page(self, request, "admin/notifications/subscription/run.html", context, status=status)

    def try_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Send the push to the administrator only, or show why that is not possible."""
        return self._try(request, self.find_changeable_row(request, pk))

    def _try(self, request: HttpRequest, subscription: Subscription) -> HttpResponse:
        person = administrator(request)
        expected = expected_contents(subscription, timezone.now(), is_trial=True)
        [me] = find_recipients(trial_audience(subscription, person.pk), expected.contents)
        if me.reason is None or me.reason == Receipt.Reason.NO_ROWS:  # newer data may have some
            self._request(request, subscription, Run.Trigger.TRIAL)
        else:
            message = gettext("You cannot be reached yourself: %(reason)s. This is set on your own page under Users.")
            url = reverse("admin:accounts_user_change", args=[person.pk])
            line = format_html('<a href="{}">{}</a>', url, message % {"reason": me.reason_text})
            messages.error(request, line)
        return HttpResponseRedirect(reverse("admin:notifications_subscription_change", args=[subscription.pk]))

    def response_add(self, request: HttpRequest, obj: Subscription, post_url_continue: Any = None) -> HttpResponse:
        return self._try(request, obj) if "_try" in request.POST else super().response_add(request, obj)

    def response_change(self, request: HttpRequest, obj: Subscription) -> HttpResponse:
        return self._try(request, obj) if "_try" in request.POST else super().response_change(request, obj)

    def _request(self, request: HttpRequest, subscription: Subscription, trigger: Run.Trigger) -> HttpResponse:
        token = read_form_key(request)
        if not token:
            raise PermissionDenied
        run, is_new = request_run(
            subscription, trigger=trigger, token=token, person=administrator(request), now=database_now()
        )
        if is_new:
            enqueue_runs([run.pk])
            self.log_change(request, subscription, f"{run.get_trigger_display()} ({run.key})")
            messages.success(request, gettext("It is being sent. This page shows the outcome."))
        else:
            messages.info(request, gettext("This was asked for already; it is sent once."))
        return HttpResponseRedirect(reverse("admin:notifications_run_change", args=[run.pk]))


def _explain_held_up(request: HttpRequest, subscription: Subscription) -> list[str]:
    corp_id = subscription.report.corp_id
    return checks.find_held_up(None if corp_id is None else [corp_id], seen_by=request.user)
