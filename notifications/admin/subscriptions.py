"""Admin pages of subscriptions: the list with its actions, the page of the week, saving and running a push."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.options import IS_POPUP_VAR
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from accounts.admin.base import Column, OptionFilter, RowsAdmin, format_moment
from accounts.audit import signals
from accounts.models import User
from integrations.admin.base import NamedDeletions, RowAction, State, find_row, make_routes, show_page, show_state
from integrations.companies.diagnosis import checks
from integrations.core.background import database_now
from integrations.core.sentences import translate_stored
from notifications.admin import base, subscription_forms
from notifications.admin.log import render_latest_runs
from notifications.admin.push import trial
from notifications.admin.push.form import copy_push
from notifications.admin.push.one_page import read_form_key, show_outlook
from notifications.admin.push.page import PushPage, render_saved
from notifications.admin.subscription_forms import SCHEDULE_FIELDS
from notifications.delivery.rendering.report_contents import expect_recipients, expect_saved_contents
from notifications.delivery.runs.owner_notices import explain_auto_pauses, restart_failure_count
from notifications.delivery.runs.ownership import describe_owner
from notifications.delivery.runs.triggers import TriggerRefusedError, explain_under_way, request_run
from notifications.models import Channel, Delivery, Receipt, Repeat, Run, Subscription
from notifications.subscriptions import calendar
from notifications.subscriptions.addressees import describe_addressees
from notifications.subscriptions.recipients import (
    count_reachability,
    find_recipients,
    make_trial_audience,
    read_audience,
    save_rules,
)
from notifications.subscriptions.schedules import ScheduleError, find_due_times, reschedule
from notifications.tasks import enqueue_runs

signals.describe_field(Subscription, "crontab", calendar.describe_crontab)

# Limit of one action: the number of recipients is computed for each push before it is enabled.
PUSHES_AT_MOST = 50


# A line that describes the change of one push, and the names of the changed, unsaved fields. Without fields, the line
# is the reason why the push is left out.
SwitchOutcome = tuple[str, Collection[str]]


@dataclass(frozen=True)
class Switch:
    """An action that changes pushes. `what`: explanation on the confirmation page; `done`: entry in the history of each
    changed push; `change`: changes a push without saving it, given the push, the administrator and the time."""

    label: Any
    title: Any
    what: Any
    done: Any
    change: Callable[[Subscription, User, datetime], SwitchOutcome]


def _refuse_too_many(request: HttpRequest, queryset: QuerySet[Subscription]) -> bool:
    """Return whether there are too many pushes for one action, and say so on the next page."""
    if queryset.count() <= PUSHES_AT_MOST:
        return False
    sentence = gettext("Nothing was changed: at most %(count)d pushes at once. Select fewer.")
    messages.error(request, sentence % {"count": PUSHES_AT_MOST})
    return True


# --- The changes ------------------------------------------------------------------------------------------------------


def _enable(subscription: Subscription, seen_by: User, now: datetime) -> SwitchOutcome:
    if subscription.is_enabled:
        return gettext("is enabled already"), ()
    found = count_reachability(
        read_audience(subscription), seen_by=seen_by, named=1, expected=expect_saved_contents(subscription, now)
    )
    if not found.concerns_somebody:
        return subscription_forms.explain_refusal(found)[0], ()
    subscription.is_enabled = True
    try:
        reschedule(subscription, now=now)
    except ScheduleError as error:
        return str(error.sentence), ()
    people = ngettext("reaches %(count)s person", "reaches %(count)s people", found.reachable_count)
    line = gettext("%(people)s, next %(time)s") % {
        "people": people % {"count": f"{found.reachable_count:,}"}
        if found.is_count_known
        else gettext("not known how many"),
        "time": _format_next_time(subscription),
    }
    return line, {"is_enabled", "next_run_at", *restart_failure_count(subscription, now=now)}


def _disable(subscription: Subscription, seen_by: User, now: datetime) -> SwitchOutcome:
    if not subscription.is_enabled:
        return gettext("is disabled already"), ()
    line = gettext("would be sent next %(time)s") % {"time": _format_next_time(subscription)}
    subscription.is_enabled, subscription.next_run_at = False, None
    return line, {"is_enabled", "next_run_at"}


def _pause(subscription: Subscription, seen_by: User, now: datetime, *, is_paused: bool = True) -> SwitchOutcome:
    """Pause the push, or resume it."""
    if subscription.is_paused == is_paused:
        return gettext("is paused already") if is_paused else gettext("is not paused"), ()
    if is_paused and not subscription.is_enabled:
        return gettext("is disabled: nothing of it is sent"), ()
    subscription.is_paused = is_paused
    count = Delivery.objects.filter(run__subscription=subscription).unsettled().count()
    sentence = ngettext("%(count)s message is waiting", "%(count)s messages are waiting", count)
    return sentence % {"count": f"{count:,}"}, {"is_paused"}


def _format_next_time(subscription: Subscription) -> str:
    if subscription.next_run_at is None:
        return gettext("no further time")
    return calendar.write_moment_in_zone(subscription.next_run_at.replace(second=0), subscription.time_zone)


SWITCHES = {
    "enable": Switch(
        _("Enable the selected pushes"),
        _("Enable pushes"),
        _("They are sent at their times from now on. Times that have passed are skipped."),
        _("Enabled from the list."),
        _enable,
    ),
    "disable": Switch(
        _("Disable the selected pushes"),
        _("Disable pushes"),
        _("They are not sent any more. Messages that are on their way arrive."),
        _("Disabled from the list."),
        _disable,
    ),
    "pause": Switch(
        _("Pause the selected pushes"),
        _("Pause pushes"),
        _("Their messages are prepared but wait. They are sent after resuming, unless they have expired by then."),
        _("Paused from the list."),
        _pause,
    ),
    "resume": Switch(
        _("Resume the selected pushes"),
        _("Resume pushes"),
        _("Messages that wait and have not expired are sent at once."),
        _("Resumed from the list."),
        partial(_pause, is_paused=False),
    ),
}
WEEKS_AHEAD = 52
# Recipients are computed for at most this number of pushes.
COUNTED_AT_MOST = 500


def show_week(model_admin: admin.ModelAdmin[Subscription], request: HttpRequest) -> HttpResponse:
    """Show how many messages are planned for each hour of a week. `?week=1` is the week that begins in seven days. The
    number of queries does not depend on the number of pushes, see `expect_recipients`."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    text = request.GET.get("week", "")
    number = min(int(text), WEEKS_AHEAD) if base.is_key(text) else 0
    start = timezone.localdate() + timedelta(days=calendar.DAYS * number)
    enabled = Subscription.objects.visible_to(request.user).filter(is_enabled=True)
    subscriptions = list(enabled.select_related("report").order_by("name", "pk"))
    people = {
        pk: frozenset(one.user_id for one in recipients if one.reason is None)
        for pk, (expected, recipients) in expect_recipients(subscriptions[:COUNTED_AT_MOST], timezone.now()).items()
        if expected.is_known
    }
    found = calendar.plan_week(
        subscriptions, people, start=start, now=timezone.now(), zone=timezone.get_current_timezone()
    )
    used = [hour for _day, hour in found.hours]
    hours = range(min(used), max(used) + 1) if used else range(0)
    days = [(calendar.WEEKDAYS[day.weekday()], day) for day in found.days]
    # A company's calls to WeCom per hour; 0 without a limit. Each personal message takes one call.
    limit = min(filter(None, (settings.LIMIT_COMPANY_PER_HOUR, settings.LIMIT_ADDRESS_PER_HOUR)), default=0)
    context: dict[str, Any] = {
        "title": gettext("What goes out when"),
        "week": found,
        "days": days,
        # Each hour with a cell for each day: weekday, day, and what is planned.
        "rows": [(f"{hour:02}:00", [(*day, found.hours.get((day[1], hour))) for day in days]) for hour in hours],
        "on_the_hour": found.on_the_hour,
        "notes": found.notes,
        "limit": limit,
        "limit_per_minute": calendar.find_limit_per_minute(),
        "meter_maximum": max(limit, found.peak, 1),
        "time_zone": calendar.find_zone_name(timezone.get_current_timezone_name()),
        "has_unknown": len(people) < len(subscriptions),
        "earlier": number - 1 if number else None,
        "later": number + 1 if number < WEEKS_AHEAD else None,
    }
    return show_page(model_admin, request, "admin/notifications/subscription/week.html", context)


# Pushes whose newest run was missed, failed, or did not reach everybody. Trials and resends do not count.
_WHOLE = Run.objects.exclude(trigger__in=Run.PARTIAL)
_LATER = _WHOLE.filter(subscription=OuterRef("subscription"), pk__gt=OuterRef("pk"))
_FAILING = Q(pk__in=_WHOLE.went_wrong().filter(~Exists(_LATER)).order_by().values("subscription"))
_PAUSED = Q(is_paused=True) | Q(failures_paused_at__isnull=False, is_enabled=False)


class PushStateFilter(OptionFilter):
    options = {
        "enabled": (_("enabled"), lambda pushes: pushes.filter(is_enabled=True)),
        "paused": (_("paused"), lambda pushes: pushes.filter(_PAUSED)),
        "failing": (_("failing"), lambda pushes: pushes.filter(_FAILING)),
        "disabled": (_("disabled"), lambda pushes: pushes.filter(is_enabled=False)),
    }


@admin.register(Subscription)
class SubscriptionAdmin(base.SuccessorPage, PushPage, base.RecipientsMixin, RowsAdmin, NamedDeletions):
    empty_list = _(
        "A push sends people a message made of your data, on a schedule. The first one begins with “New push”."
    )
    change_form_template = "admin/notifications/subscription/change_form.html"
    list_display = (
        *("name", "addressees", Column("when", _("schedule"), calendar.describe_schedule)),
        *("next_run", "state", "last_run"),
    )
    list_filter = (PushStateFilter, "channel", "message_form")
    list_select_related = ("report",)
    search_fields = ("name", "report__title")
    autocomplete_fields = ("users", "groups")

    class Media:
        js = (
            *("integrations/live.js", "notifications/schedule.js", "notifications/rows.js", "notifications/preview.js"),
            *("notifications/one_page.js", "notifications/data_browser.js", "notifications/form_rows.js"),
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
        """Add the recipients in words, and the people who would receive the push now."""
        expected = expect_recipients(rows, timezone.now())
        words = describe_addressees(rows, seen_by=base.get_administrator(request))
        for push in rows:
            push.addressees_shown, push.expected = words[push.pk], expected[push.pk]

    @admin.display(description=_("recipients"))
    def addressees(self, subscription: Any) -> str:
        """Describe the recipients, with how many people would receive it now, or why the number is not known."""
        words, (expected, found) = subscription.addressees_shown, subscription.expected  # set by describe_rows
        if subscription.channel == Channel.ROBOT:
            return str(words)
        count = sum(one.reason is None for one in found)
        people = ngettext("%(count)s person", "%(count)s people", count) % {"count": f"{count:,}"}
        return format_html("{} <small>({})</small>", words, people if expected.is_known else str(expected.note))

    @admin.display(description=_("next run"), ordering="next_run_at")
    def next_run(self, subscription: Subscription) -> str:
        if subscription.next_run_at is None or not subscription.is_enabled:
            return "—"
        return f"{_format_next_time(subscription)} {calendar.find_zone_name(subscription.time_zone)}"

    @admin.display(description=_("status"), ordering="is_enabled")
    def state(self, subscription: Subscription) -> SafeString:
        if subscription.is_paused:
            return show_state(State.PAUSED)
        if subscription.failures_paused_at is not None and not subscription.is_enabled:
            return show_state(State.PAUSED, gettext("after failures"))
        if subscription.is_enabled and subscription.next_run_at is None and subscription.repeat == Repeat.ONCE:
            return show_state(State.DONE)
        if subscription.is_enabled and subscription.next_run_at is None:
            return show_state(State.DONE, gettext("no further time"))
        return show_state(State.FINE if subscription.is_enabled else State.DISABLED)

    @admin.display(description=_("last run"))
    def last_run(self, subscription: Any) -> str:
        status, error = subscription.last_run_status, subscription.last_run_error  # annotated in get_queryset
        if status is None:
            return "—"
        began = format_moment(subscription.last_run_at, in_list=True)
        words = format_html("{} {}", show_state(*base.find_run_state(status, error)), began)
        if status != Run.Status.FAILED or not error:
            return words
        return format_html("{} <small>{}</small>", words, translate_stored(error))

    def list_row_actions(self, request: HttpRequest, subscription: Subscription) -> list[RowAction]:
        if not self.has_change_permission(request, subscription):
            return []
        switch = "resume" if subscription.is_paused else "pause"
        words = {"pause": _("Pause"), "resume": _("Resume")}
        page = partial(self._find_page, subscription)
        found = [RowAction("send", _("Run now"), page("run"))]
        if subscription.is_enabled or subscription.is_paused:
            found.append(RowAction(switch, words[switch], page("switch", switch)))
        if self.has_duplicate_permission(request):
            found.append(RowAction("copy", _("Duplicate"), page("copy"), posts=True))
        return found

    @staticmethod
    def _find_page(subscription: Subscription, name: str, *more: str) -> str:
        return reverse(f"admin:notifications_subscription_{name}", args=[subscription.pk, *more])

    actions = ("duplicate",)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Add the switches. Remove "delete selected": a push is deleted on its own page, which lists what is deleted
        with it."""
        found = super().get_actions(request)
        found.pop("delete_selected", None)
        is_offered = self.has_change_permission(request) and IS_POPUP_VAR not in request.GET
        switches = SWITCHES if is_offered else {}
        switch = type(self).switch_pushes
        return {name: (partial(switch, name=name), name, one.label) for name, one in switches.items()} | found

    @admin.action(description=_("Duplicate the selected pushes"), permissions=["duplicate"])
    def duplicate(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        """Copy the selected pushes. Copies are disabled, so no confirmation is needed."""
        if _refuse_too_many(request, queryset):
            return
        with transaction.atomic():
            for subscription in queryset.order_by("pk"):
                copied = copy_push(subscription, owner=base.get_administrator(request))
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

    @transaction.atomic
    def switch_pushes(self, request: HttpRequest, queryset: QuerySet[Subscription], name: str) -> HttpResponse | None:
        """Show a confirmation page with the outcome for each push; apply the change once confirmed."""
        if _refuse_too_many(request, queryset):
            return None
        switch, person, now = SWITCHES[name], base.get_administrator(request), database_now()
        keys = list(queryset.order_by().values_list("pk", flat=True))
        pushes = Subscription.objects.filter(pk__in=keys).select_related("report__corp").order_by("name", "pk")
        is_confirmed = "apply" in request.POST
        found = pushes.select_for_update(of=("self",)) if is_confirmed else pushes
        outcomes = [(push, *switch.change(push, person, now)) for push in found]
        changed = [(push, line) for push, line, columns in outcomes if columns]
        left_out = [(push, line) for push, line, columns in outcomes if not columns]
        if not is_confirmed:
            context = {
                "title": switch.title,
                "what": switch.what,
                "action": name,
                "changed": changed,
                "left_out": left_out,
                "selected": request.POST.getlist("_selected_action"),
                "select_across": request.POST.get("select_across", "0"),
            }
            return show_page(self, request, "admin/notifications/subscription/switch.html", context)
        for push, _line, columns in outcomes:
            if columns:
                push.save(update_fields=columns)
                self.log_change(request, push, str(switch.done))
        sentence = ngettext("%(count)d push was changed.", "%(count)d pushes were changed.", len(changed))
        messages.success(request, sentence % {"count": len(changed)})
        if left_out:
            lines = [gettext("%(name)s: %(reason)s") % {"name": push.name, "reason": line} for push, line in left_out]
            messages.warning(request, gettext("Left out: %(lines)s") % {"lines": "; ".join(lines)})
        return None

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        names = ["report", "robot", "users", "groups", "departments"]
        return base.set_form_person(super().get_form(request, obj, change=change, **kwargs), request, names)

    def save_model(self, request: HttpRequest, obj: Subscription, form: Any, change: bool) -> None:
        """Save only the changed columns, since the tick updates `next_run_at` concurrently."""
        self.save_content(request, form, change=change)
        columns = {field.name for field in obj._meta.concrete_fields}
        changed = columns.intersection(form.changed_data)
        if form.content is not None:
            changed.add("report")
        if "channel" in changed:
            changed |= {"robot", "fallback_channel"}  # the form empties them for channels that need none
        if change and "is_enabled" in changed and obj.is_enabled:
            changed |= restart_failure_count(obj, now=database_now())
        if change and changed & SCHEDULE_FIELDS:
            reschedule(obj, now=database_now())
            # Include all, as the form empties the fields that the new kind of schedule does not use.
            changed |= {"next_run_at", *SCHEDULE_FIELDS}
        if change and obj.owner is not None and not obj.owner.is_active:
            obj.owner = base.get_administrator(request)  # a disabled owner gets no notices of failures
            changed.add("owner")
        if change:
            obj.save(update_fields=changed)
            return
        obj.owner = base.get_administrator(request)
        obj.save()
        reschedule(obj, now=database_now())  # its random delay is derived from the new key
        obj.save(update_fields=["next_run_at"])

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        if form.content is not None:
            form.content.save_rights()
        save_rules(form.instance, form.cleaned_data["rules"])
        self.forget_draft(request, is_new=not change, row=form.instance)
        times = list(islice(find_due_times(form.instance, timezone.now()), subscription_forms.TIMES_SHOWN))
        for sentence in calendar.write_calendar_notes(form.instance, times):
            messages.warning(request, sentence)
        if not times and form.instance.repeat != Repeat.ONCE:
            sentence = gettext("No time of the schedule lies within this validity: it is sent by hand only.")
            messages.warning(request, sentence)
        found = form.found
        if found is None or form.cleaned_data.get("robot") or "_try" in request.POST:
            return
        for sentence in subscription_forms.note_departments(found):
            messages.warning(request, sentence)
        count = found.reachable_count
        sentence = ngettext("It reaches %(count)s person.", "It reaches %(count)s people.", count)
        sentence = sentence % {"count": f"{count:,}"} if found.is_count_known else found.note
        if not found.unreachable_count:
            (messages.info if count else messages.warning)(request, sentence)
            return
        lines = "; ".join(subscription_forms.list_unreachable(found))
        messages.warning(
            request, gettext("%(reached)s Cannot be reached: %(lines)s") % {"reached": sentence, "lines": lines}
        )

    def describe_row(self, request: HttpRequest, subscription: Subscription) -> dict[str, Any]:
        if request.method == "GET" and not subscription.is_enabled:
            for sentence in explain_auto_pauses([subscription]):
                messages.warning(request, sentence)
        person, now = base.get_administrator(request), timezone.now()
        expected = expect_saved_contents(subscription, now)
        reach = count_reachability(read_audience(subscription), seen_by=person, expected=expected)
        times = subscription_forms.find_times(subscription, now)
        message: dict[str, Any] | None = render_saved(subscription, by=person, now=now)
        if message and "problem" in message and self.has_change_permission(request, subscription):
            message = None  # people who may change the push see the problem in the page's own preview
        runs_url = f"{reverse('admin:notifications_run_changelist')}?subscription__id__exact={subscription.pk}"
        key, tried = request.GET.get(trial.TRIED, ""), {}
        run = trial.find_trials(request, subscription).filter(pk=int(key)).first() if base.is_key(key) else None
        if run is not None:  # the trial that the page's address names
            url = reverse("admin:notifications_subscription_trial", args=[subscription.pk, run.pk])
            tried = {"state": trial.render_trial(request, run), "state_url": url}
        return {
            "subscription": subscription,
            "owner": describe_owner(subscription, person),
            "can_act": self.has_change_permission(request, subscription),
            "state": render_latest_runs(request, subscription),
            "state_url": reverse("admin:notifications_subscription_runs", args=[subscription.pk]),
            "held_up": _explain_held_up(request, subscription),
            "tried": tried,
            "runs_url": runs_url if request.user.has_perm("notifications.view_run") else "",
            "preview": show_outlook(request, reach, times, message=message),
            "saved_message": message,
            "who_shown": show_outlook(request, reach, times, part="_who"),
            "times_shown": show_outlook(request, reach, times, part="_times"),
        }

    def get_urls(self) -> list[URLPattern]:
        views: dict[tuple[str, str], Any] = {
            ("week/", "week"): partial(show_week, self),
            ("<int:pk>/run/", "run"): self.run_view,
            # Polled by an open page.
            ("<int:pk>/runs/", "runs"): require_GET(
                lambda request, pk: JsonResponse(
                    render_latest_runs(request, find_row(self, request, pk, to_change=False))
                )
            ),
            ("<int:pk>/try/", "try"): require_POST(
                lambda request, pk: self._send_trial(request, find_row(self, request, pk, to_change=True))
            ),
            ("<int:pk>/try/<int:run_pk>/", "trial"): require_GET(self.trial_view),
            ("<int:pk>/copy/", "copy"): require_POST(partial(self.copy_view, is_shared=False)),
            ("<int:pk>/again/", "again"): require_POST(partial(self.copy_view, is_shared=True)),
            ("<int:pk>/switch/<slug:name>/", "switch"): self.switch_view,
        }
        return [*make_routes(self, views), *super().get_urls()]

    def switch_view(self, request: HttpRequest, pk: int, name: str) -> HttpResponse:
        """Pause, resume, enable or disable one push, after the confirmation page of the list's action."""
        subscription = find_row(self, request, pk, to_change=True)
        if name not in SWITCHES:
            raise Http404
        page = self.switch_pushes(request, Subscription.objects.filter(pk=subscription.pk), name)
        return page or HttpResponseRedirect(reverse("admin:notifications_subscription_changelist"))

    def run_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for confirmation with the number of recipients, then run. A page submitted twice runs once."""
        subscription = find_row(self, request, pk, to_change=True)
        expected = expect_saved_contents(subscription, timezone.now())
        found = count_reachability(
            read_audience(subscription), seen_by=base.get_administrator(request), expected=expected
        )
        # The run fetches newer data, which may have rows for somebody.
        is_possible = found.reachable_count or found.reasons & Receipt.OF_CONTENT
        refusal = [] if is_possible else subscription_forms.explain_refusal(found)
        if request.method == "POST" and not refusal:
            try:
                run = self._request_run(request, subscription, Run.Trigger.MANUAL)
                return HttpResponseRedirect(reverse("admin:notifications_run_change", args=[run.pk]))
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
        return show_page(self, request, "admin/notifications/subscription/run.html", context, status=status)

    def _send_trial(self, request: HttpRequest, subscription: Subscription) -> HttpResponse:
        """Send the push to one person only, by default to the administrator, or show why that is not possible."""
        page, key = self.find_page_url(subscription), request.POST.get(trial.TRY_ON, "")
        viewable = trial.find_viewable_people(base.get_administrator(request))
        person: User | None = base.get_administrator(request)
        if key:
            person = viewable.filter(pk=int(key)).first() if base.is_key(key) else None
        if person is None:
            messages.error(request, gettext("You may not see this person. Choose somebody else."))
            return HttpResponseRedirect(page)
        expected = expect_saved_contents(subscription, timezone.now(), is_trial=True)
        [found] = find_recipients(make_trial_audience(subscription, person.pk), expected.contents)
        if found.reason is not None and found.reason != Receipt.Reason.NO_ROWS:  # newer data may have some
            text = gettext("%(person)s cannot be reached: %(reason)s.")
            if person == request.user:
                text = gettext("You cannot be reached yourself: %(reason)s. This is set on your own page under People.")
            text %= {"person": person, "reason": found.reason_text}
            if person == request.user or request.user.has_perm("accounts.view_user"):
                person_page = reverse("admin:accounts_user_change", args=[person.pk])
                text = format_html('<a href="{}">{}</a>', person_page, text)
            messages.error(request, text)
            return HttpResponseRedirect(page)
        run = self._request_run(request, subscription, Run.Trigger.TRIAL, tried_on=person)
        return HttpResponseRedirect(f"{page}?{trial.TRIED}={run.pk}")

    def trial_view(self, request: HttpRequest, pk: int, run_pk: int) -> JsonResponse:
        """Return the outcome of a trial for an open page, which polls it."""
        push = find_row(self, request, pk, to_change=True)
        return JsonResponse(trial.render_trial(request, get_object_or_404(trial.find_trials(request, push), pk=run_pk)))

    def response_add(self, request: HttpRequest, obj: Subscription, post_url_continue: Any = None) -> HttpResponse:
        return self._send_trial(request, obj) if "_try" in request.POST else super().response_add(request, obj)

    def response_change(self, request: HttpRequest, obj: Subscription) -> HttpResponse:
        return self._send_trial(request, obj) if "_try" in request.POST else super().response_change(request, obj)

    def _request_run(
        self, request: HttpRequest, subscription: Subscription, trigger: Run.Trigger, *, tried_on: User | None = None
    ) -> Run:
        token = read_form_key(request)
        if not token:
            raise PermissionDenied
        person = base.get_administrator(request)
        run, is_new = request_run(
            subscription, trigger=trigger, form_key=token, person=person, now=database_now(), tried_on=tried_on
        )
        if is_new:
            enqueue_runs([run.pk])
            self.log_change(request, subscription, f"{run.get_trigger_display()} ({run.key})")
            messages.success(request, gettext("It is being sent. This page shows the outcome."))
        else:
            messages.info(request, gettext("This was asked for already; it is sent once."))
        return run


def _explain_held_up(request: HttpRequest, subscription: Subscription) -> list[str]:
    corp_id = subscription.report.corp_id
    return checks.list_refusal_sentences(None if corp_id is None else [corp_id], seen_by=request.user)
