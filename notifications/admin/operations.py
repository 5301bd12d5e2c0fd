"""Pages for operators: send queues, group robots, operator contacts, periodic tasks, workdays."""

from __future__ import annotations

import re
from typing import Any, cast

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Case, Count, OuterRef, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce
from django.forms import modelform_factory
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django_celery_beat import admin as _their_pages  # noqa: F401  # registers pages that are removed below
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule

from accounts.admin.base import Column, RowsAdmin, format_moment
from accounts.models import User
from integrations.admin import base
from integrations.admin.base import CompactField, FixedRowsAdmin, OneRowAdmin, State, WriteOnlyInput, show_state
from integrations.core.admin_pages import AnyModelAdmin, ConfirmedChanges, VersionedForm
from integrations.core.background import database_now
from integrations.models import Corp
from integrations.models.fields import UNREADABLE_NOTE, Unreadable
from notifications.admin.base import get_administrator, set_form_person
from notifications.delivery.maintenance import TASK_NAMES
from notifications.delivery.runs import statistics
from notifications.delivery.runs.ownership import end_page_rights_of_robot
from notifications.delivery.sending.queue import CORP_SECRETS, explain_block, find_held_until
from notifications.models import AlertRule, CorpQueue, Delivery, OperatorContacts, Robot, Subscription, WorkdayCalendar
from notifications.subscriptions.schedules import reschedule_rows
from notifications.tasks import enqueue_runs


@admin.register(CorpQueue)
class CorpQueueAdmin(RowsAdmin, FixedRowsAdmin):
    change_form_template = "admin/notifications/queue.html"
    list_display = (Column("name", _("company"), str, ordering="corp__name"), "state", "waiting", "time_left", "today")
    list_select_related = ("corp",)
    actions = None
    fields = ("is_paused", "daily_budget")

    def get_queryset(self, request: HttpRequest) -> QuerySet[CorpQueue]:
        unsettled = Delivery.objects.unsettled().order_by()
        own = unsettled.filter(corp=OuterRef("corp")).values("corp")
        of_all = unsettled.values(every=Value(1))  # grouped by a constant, so that one sum is over all companies
        sums = {"people": Sum("recipient_count"), "calls": Count("pk")}
        totals = {
            name: Case(
                When(corp__isnull=True, then=Coalesce(Subquery(of_all.annotate(total=total).values("total")), 0)),
                default=Coalesce(Subquery(own.annotate(total=total).values("total")), 0),
            )
            for name, total in sums.items()
        }
        return CorpQueue.objects.visible_to(request.user).defer(*CORP_SECRETS).annotate(**totals)

    def describe_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Add figures from Valkey and from attempts."""
        statistics.annotate_queues(rows, now=timezone.now())

    def get_fields(self, request: HttpRequest, obj: CorpQueue | None = None) -> tuple[str, ...]:
        return ("is_paused",) if obj is not None and obj.corp_id is None else ("is_paused", "daily_budget")

    def describe_row(self, request: HttpRequest, queue: CorpQueue) -> dict[str, Any]:
        statistics.annotate_queues([queue], now=timezone.now())
        columns: list[Any] = [self.state, self.waiting, self.time_left]
        columns += [] if queue.corp_id is None else [self.today]
        facts = [(column.short_description, column(queue)) for column in columns]
        if queue.blocked_since is None:
            return {"facts": facts}
        facts.append((_("blocked since"), format_moment(queue.blocked_since)))
        return {"facts": facts, "blocked_lines": explain_block(queue).splitlines()}

    @admin.display(description=_("status"))
    def state(self, queue: CorpQueue) -> SafeString:
        if queue.is_paused:
            return show_state(State.PAUSED)
        if queue.is_all_paused:  # type: ignore[attr-defined]  # statistics.annotate_queues
            return show_state(State.PAUSED, gettext("all companies are paused"))
        if queue.corp is not None and not queue.corp.is_enabled:
            return show_state(State.DISABLED, gettext("the company is disabled"))
        if queue.blocked_since is None:
            return show_state(State.FINE)
        until = find_held_until(queue, now=timezone.now())
        if until is None:
            return show_state(State.FAILED, gettext("held up"))
        time = f"{timezone.localtime(until):%Y-%m-%d %H:%M}"
        return show_state(State.WAITING, gettext("held until %(time)s") % {"time": time})

    @admin.display(description=_("waiting"))
    def waiting(self, queue: Any) -> SafeString | str:
        if not queue.people:  # annotated in get_queryset
            return "—"
        text = ngettext("%(count)s recipient", "%(count)s recipients", queue.people) % {"count": f"{queue.people:,}"}
        corp_filter = [] if queue.corp_id is None else [("corp", str(queue.corp_id))]
        query = urlencode([*corp_filter, ("status__exact", "pending")])
        return format_html('<a href="{}?{}">{}</a>', reverse("admin:notifications_delivery_changelist"), query, text)

    @admin.display(description=_("done in about"))
    def time_left(self, queue: Any) -> str:
        if queue.time_left is None:  # statistics.annotate_queues
            return "—"
        minutes = max(1, round(queue.time_left.total_seconds() / 60))
        return ngettext("%(count)d minute", "%(count)d minutes", minutes) % {"count": minutes}

    @admin.display(description=_("sent today / daily budget"))
    def today(self, queue: Any) -> SafeString | str:
        """Show the counts, in a warning colour if the start page warns of the used percentage."""
        used = queue.used_today  # statistics.annotate_queues
        if queue.corp_id is None or used is None:
            return "—"
        if not queue.daily_budget:
            return f"{used:,}"
        percent = statistics.compute_used_percent(used, queue.daily_budget)
        counts = f"{used:,} / {queue.daily_budget:,} ({percent} %)"
        if percent < statistics.WARNED_PERCENT:
            return counts
        return base.show_toned_text("bad" if percent >= 100 else "warn", counts)


class SuperuserPages(AnyModelAdmin):
    """Pages that concern the whole site and are for superusers only."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_view_permission(request)


@admin.register(OperatorContacts)
class OperatorContactsAdmin(SuperuserPages, ConfirmedChanges, OneRowAdmin):
    description = _(
        "They are notified once when pushes stop or the database does not answer, and once when everything works "
        "again. Addresses in .env (OPERATOR_EMAILS, OPERATOR_ROBOT_URL) are notified, too."
    )
    fieldsets = ((None, {"fields": ("emails", "robot"), "description": description}),)


# settings.CELERY_BEAT_SCHEDULE defines the rows of beat. Editing them by hand could only stop the pushes.
for model in (PeriodicTask, IntervalSchedule, CrontabSchedule, SolarSchedule, ClockedSchedule):
    admin.site.unregister(model)


_LAST_RUN = Column("last_run", _("last run"), lambda task: task.last_run_at)


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(SuperuserPages, FixedRowsAdmin):
    list_display = (
        Column("task_name", _("periodic task"), lambda task: TASK_NAMES.get(task.name, task.name)),
        Column("state", _("status"), lambda task: show_state(State.FINE if task.enabled else State.DISABLED)),
        _LAST_RUN,
    )
    fields = cast("Any", ("enabled", _LAST_RUN))
    # The help texts of the package name Python's False and None.
    form = modelform_factory(PeriodicTask, VersionedForm, fields=("enabled",), help_texts={"enabled": ""})
    readonly_fields = cast("Any", (_LAST_RUN,))
    actions = None
    ordering = ("name",)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        name = context["original"].name
        return super().render_change_form(request, {**context, "heading": TASK_NAMES.get(name, name)}, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: PeriodicTask, form: Any, change: bool) -> None:
        """Save `enabled` only, since beat updates `last_run_at` concurrently."""
        obj.save(update_fields=["enabled", "date_changed"])


@admin.register(WorkdayCalendar)
class WorkdayCalendarAdmin(OneRowAdmin):
    form = modelform_factory(WorkdayCalendar, VersionedForm, fields=("days",))

    def save_model(self, request: HttpRequest, obj: WorkdayCalendar, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        # Rows that are due already keep their time.
        now = database_now()
        for rows in (Subscription.objects.depending_on_workdays(), AlertRule.objects.depending_on_workdays()):
            reschedule_rows(rows.filter(is_enabled=True).exclude(next_run_at__lte=now), now=now)


# --- Group robots -----------------------------------------------------------------------------------------------------

# The key of a robot, or its webhook address with the key.
_KEY = re.compile(
    r"(?:(?i:https?)://[^\s#]*?[?&]key=(?=[\w-]+(?:[&#]|\Z))|(?=[\w-]+\Z))([0-9A-Za-z_-]{8,128})(?:[&#]\S*)?"
)


class RobotForm(VersionedForm):
    """The form of a group robot. `person`: the signed-in administrator, set by the admin."""

    version_columns = ("key",)
    person: User
    webhook = CompactField(
        label=capfirst(_("webhook address")),
        required=False,
        widget=WriteOnlyInput,
        help_text=_(
            "In WeCom: the group → message push (group robots) → the robot's page. Stored encrypted, never shown. "
            "Empty: the stored one stays."
        ),
    )

    class Meta:
        model = Robot
        fields = ("name", "corp")
        # The help text of the model has a Chinese example.
        help_texts = {"name": _("As people know the group, for example “Daily sales”.")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "corp" in self.fields:
            corp: Any = self.fields["corp"]
            corp.queryset = Corp.objects.visible_to(self.person)
        if "webhook" in self.fields:
            self.fields["webhook"].required = self.instance._state.adding
            if isinstance(self.instance.key, Unreadable):
                self.fields["webhook"].help_text = UNREADABLE_NOTE

    def clean_webhook(self) -> str:
        pasted: str = self.cleaned_data["webhook"]
        found = _KEY.fullmatch(pasted)
        if pasted and found is None:
            # The error must not repeat the key, which allows anybody to write into the group.
            raise ValidationError(_("This is no webhook address: it ends in ?key= and the robot's key."))
        return "" if found is None else found[1]

    def save(self, commit: bool = True) -> Robot:
        key = self.cleaned_data.get("webhook")
        if key:
            self.instance.key = key
        robot: Robot = super().save(commit=commit)
        return robot


@admin.register(Robot)
class RobotAdmin(ConfirmedChanges, AnyModelAdmin):
    form = RobotForm
    empty_list = _("A robot writes into a group of WeCom. Add it with the webhook address that WeCom shows for it.")
    list_display = (
        "name",
        Column("corp_name", _("company"), lambda robot: robot.corp.name, ordering="corp__name"),
        "created_at",
    )
    search_fields = ("name",)
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Robot]:
        return Robot.objects.visible_to(request.user).select_related("corp").only("name", "created_at", "corp__name")

    def get_form(self, request: HttpRequest, obj: Robot | None = None, change: bool = False, **kwargs: Any) -> Any:
        return set_form_person(super().get_form(request, obj, change=change, **kwargs), request, ["corp"])

    def get_fields(self, request: HttpRequest, obj: Robot | None = None) -> tuple[str, ...]:
        """Hide the write-only field from people with view permission only: it would be empty."""
        may_change = self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj)
        return ("name", "corp", "webhook") if may_change else ("name", "corp")

    def save_model(self, request: HttpRequest, obj: Robot, form: Any, change: bool) -> None:
        if change and form.cleaned_data.get("webhook"):
            enqueue_runs(end_page_rights_of_robot(obj, by=get_administrator(request), now=timezone.now()))
        super().save_model(request, obj, form, change)
