"""Admin pages of alert rules."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.audit import signals
from integrations.admin.base import NamedDeletions
from integrations.admin.base import pill as tone_pill
from integrations.core.background import database_now
from integrations.core.generics import AnyStackedInline
from integrations.core.page_versions import VersionedFormSet
from notifications.admin.base import (
    PartPermissions,
    RowContextMixin,
    SuccessorPage,
    administrator,
    moment,
    severity_pill,
)
from notifications.admin.rule.form import SilenceWindowForm
from notifications.admin.rule.page import RulePage
from notifications.admin.schedule_forms import SCHEDULE_FIELDS
from notifications.alerts import condition_words, evaluation
from notifications.alerts.conditions import from_rows
from notifications.delivery.runs import ownership
from notifications.models import AlertReceiver, AlertRule, Incident, SilenceWindow
from notifications.subscriptions import addressees
from notifications.subscriptions.schedules import slots
from notifications.subscriptions.schedules.descriptions import crontab_words, described

CHECKS_SHOWN = 10


class SilenceWindowInline(PartPermissions, AnyStackedInline):
    whole = "alertrule"
    model = SilenceWindow
    form = SilenceWindowForm
    formset = VersionedFormSet
    extra = 0
    fields = ("name", "kind", "weekdays", ("from_time", "to_time"), ("starts_at", "ends_at"))


class RuleStateFilter(admin.SimpleListFilter):
    """The rules that somebody has to look at."""

    title = _("status")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("open", _("with open incidents")), ("broken", _("does not work")), ("no_data", _("no data"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "open":
                return queryset.filter(Exists(Incident.objects.open().filter(rule=OuterRef("pk"))))
            case "broken":
                return queryset.filter(is_broken=True)
            case "no_data":
                return queryset.exclude(problem="").exclude(is_broken=True)
        return queryset


_OPEN = Q(status=Incident.Status.OPEN)


class RuleList(ChangeList):
    """With the recipients of its rules in words, and their incidents, for all its rows at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rules = list(self.result_list)
        receivers = {rule.receiver_id: rule.receiver for rule in rules}
        words = addressees.in_words(list(receivers.values()), AlertReceiver, seen_by=administrator(request))
        incidents = Incident.objects.filter(rule__in=rules).order_by().values_list("rule")
        found = incidents.annotate(open=Count("pk", filter=_OPEN), last=Max("opened_at"))
        counted = {key: (open_total, last) for key, open_total, last in found}
        for rule in rules:
            rule.addressees_shown = words[rule.receiver_id]
            rule.open_total, rule.last_opened_at = counted.get(rule.pk, (0, None))
        self.result_list = rules


signals.describe(AlertRule, "conditions", lambda rows: "; ".join(map(condition_words.described, from_rows(rows))))
signals.describe(AlertRule, "crontab", crontab_words)


@admin.register(AlertRule)
class AlertRuleAdmin(SuccessorPage, RulePage, NamedDeletions, RowContextMixin):
    preview_title = _("On the data as it is now")
    empty_list = _(
        "A rule watches the data of a card and tells people as soon as its conditions hold. Add one as soon as there "
        "is a card."
    )
    inlines = (SilenceWindowInline,)
    list_display = (
        *("name", "is_enabled", "level", "open_count", "card", "addressees", "when"),
        *("last_incident", "last_check"),
    )
    list_filter = (RuleStateFilter, "is_enabled", "severity")
    list_select_related = ("card", "receiver")
    search_fields = ("name",)
    actions = None
    fieldsets = (
        (None, {"fields": ("name", "is_enabled", "severity")}),
        (_("What is watched"), {"fields": ("card", "conditions", "join", "hold_checks", "no_data_checks")}),
        (_("For each value by itself"), {"fields": ("split_column", "absent_checks", "split_attribute")}),
        (_("To whom"), {"fields": ("owner",)}),
        (_("Notification"), {"fields": ("gather_seconds", "repeat_minutes", "notifies_recovery")}),
        (_("Hours of notification"), {"fields": ("notify_from", "notify_until", "notifies_on_workdays_only")}),
        (
            _("When it is checked"),
            {
                "fields": (
                    *("repeat", "weekdays", "month_day", "crontab", "local_time"),
                    *("free_days", "time_zone", "jitter_seconds", "valid_from", "valid_to"),
                )
            },
        ),
    )

    class Media:
        js = (
            *("notifications/schedule.js", "notifications/rows.js", "notifications/condition_rows.js"),
            *("notifications/silence_windows.js", "integrations/live.js"),
            *(
                "notifications/one_page.js",
                "notifications/data_browser.js",
                "notifications/searching_select.js",
                "notifications/renaming.js",
                "notifications/rule.js",
            ),
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[AlertRule]:
        return AlertRule.objects.visible_to(request.user).order_by("-pk")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RuleList

    def save_model(self, request: HttpRequest, obj: AlertRule, form: Any, change: bool) -> None:
        """Of a known one only what was changed: checks write the rest meanwhile."""
        changed = set(form.changed_data)
        obj.receiver = form.people.save_for(obj)
        changed.add("receiver")
        if not change:
            obj.owner = obj.owner or administrator(request)
            obj.save()
        if not change or changed & SCHEDULE_FIELDS:
            slots.reschedule(obj, now=database_now())
            changed |= {"next_run_at", *SCHEDULE_FIELDS}
        obj.save(update_fields=changed)
        evaluation.renew(obj, now=database_now())
        self.forget_draft(request, is_new=not change, row=obj)

    @admin.display(description=_("severity"), ordering="severity")
    def level(self, rule: AlertRule) -> SafeString:
        return severity_pill(rule.severity, rule.get_severity_display())

    @admin.display(description=_("open"))
    def open_count(self, rule: AlertRule) -> int:
        return int(rule.open_total)  # type: ignore[attr-defined]  # set by RuleList

    @admin.display(description=_("recipients"))
    def addressees(self, rule: AlertRule) -> str:
        return str(rule.addressees_shown)  # type: ignore[attr-defined]  # set by RuleList

    @admin.display(description=_("schedule"), ordering="next_run_at")
    def when(self, rule: AlertRule) -> str:
        """With the next check."""
        if not rule.is_enabled or rule.next_run_at is None:
            return described(rule)
        after = gettext("next: %(time)s") % {"time": f"{timezone.localtime(rule.next_run_at):%m-%d %H:%M}"}
        return format_html('{}<div class="help">{}</div>', described(rule), after)

    @admin.display(description=_("last incident"))
    def last_incident(self, rule: AlertRule) -> str:
        return moment(rule.last_opened_at)  # type: ignore[attr-defined]  # set by RuleList

    @admin.display(description=_("last check"), ordering="checked_slot_at")
    def last_check(self, rule: AlertRule) -> str:
        if rule.is_broken:
            state = tone_pill("bad", gettext("does not work"))
            return format_html('{} {}<p class="help">{}</p>', state, moment(rule.checked_slot_at), rule.problem)
        if rule.problem:
            return format_html("{} {}", tone_pill("bad", gettext("no data")), moment(rule.checked_slot_at))
        return moment(rule.checked_slot_at)

    def row_context(self, request: HttpRequest, rule: AlertRule) -> dict[str, Any]:
        owner = ownership.owner_line(rule, administrator(request))
        return {"rule": rule, "owner": owner, "checks": rule.checks.order_by("-slot_at")[:CHECKS_SHOWN]}
