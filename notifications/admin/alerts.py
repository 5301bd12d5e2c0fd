"""Admin pages of alert receivers, routes and rules, with a try-out of each."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.audit import signals
from integrations.admin.base import NamedDeletions, own_page
from integrations.admin.base import pill as tone_pill
from integrations.core.background import database_now
from integrations.core.generics import AnyStackedInline
from integrations.core.page_versions import VersionedFormSet
from notifications.admin.alert_forms import (
    AlertReceiverForm,
    AlertRouteForm,
    LabelsForm,
)
from notifications.admin.base import (
    PartPermissions,
    RecipientsMixin,
    RowContextMixin,
    SuccessorPage,
    administrator,
    for_person,
    moment,
    severity_pill,
)
from notifications.admin.rule.form import SilenceWindowForm
from notifications.admin.rule.page import RulePage
from notifications.admin.schedule_forms import SCHEDULE_FIELDS
from notifications.admin.subscription_forms import CHANNEL_FIELDS, WHO_FIELDS, unreachable_lines
from notifications.alerts import condition_words, evaluation, routing
from notifications.alerts.conditions import from_rows
from notifications.delivery.runs import ownership
from notifications.models import AlertReceiver, AlertRoute, AlertRule, Incident, SilenceWindow
from notifications.subscriptions import addressees
from notifications.subscriptions.attribute_rules import save_rules
from notifications.subscriptions.schedules import slots
from notifications.subscriptions.schedules.descriptions import crontab_words, described

CHECKS_SHOWN = 10


@admin.register(AlertReceiver)
class AlertReceiverAdmin(RecipientsMixin, NamedDeletions):
    empty_list = _("A receiver names the people who are told of alerts. Add one, then a route that leads to it.")
    form = AlertReceiverForm
    list_display = ("name", "corp", "channel", "created_at")
    list_select_related = ("corp",)
    search_fields = ("name",)
    autocomplete_fields = ("users", "groups")
    actions = None
    fieldsets = (
        (None, {"fields": ("name", "corp")}),
        (_("Who"), {"fields": WHO_FIELDS}),
        (_("By which channel"), {"fields": CHANNEL_FIELDS}),
    )

    class Media:
        css = {"all": ["notifications/admin.css"]}
        js = ("notifications/rows.js",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AlertReceiver]:
        """Without the people of one rule, whom its own page shows."""
        return AlertReceiver.objects.visible_to(request.user).shared().order_by("name", "pk")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        names = ["corp", "robot", "users", "groups", "departments"]
        return for_person(super().get_form(request, obj, change=change, **kwargs), request, names)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        save_rules(form.instance, form.cleaned_data["rules"])
        found = form.found
        if found is not None and not form.cleaned_data.get("robot"):
            count = found.reachable_count
            sentence = ngettext("It reaches %(count)d person.", "It reaches %(count)d people.", count)
            (messages.info if count else messages.warning)(request, sentence % {"count": count})
            if found.unreachable_count:
                lines = "; ".join(unreachable_lines(found))
                messages.warning(request, gettext("Cannot be reached: %(lines)s") % {"lines": lines})


@admin.register(AlertRoute)
class AlertRouteAdmin(NamedDeletions):
    empty_list = _(
        "A route sends alerts of other systems to a receiver, by their labels. Add one; then make an API token that "
        "may hand in alerts, and give both to Alertmanager or Grafana."
    )
    form = AlertRouteForm
    change_list_template = "admin/notifications/alertroute/change_list.html"
    list_display = ("position", "name", "takes", "receiver", "on_duty", "goes_on", "is_enabled")
    list_display_links = ("name",)
    list_select_related = ("receiver",)
    search_fields = ("name",)
    actions = None
    ordering = ("position", "pk")
    fieldsets = (
        (None, {"fields": ("name", "is_enabled", "position")}),
        (_("Matching alerts"), {"fields": ("matchers", "goes_on", "senders")}),
        (_("To whom"), {"fields": ("receiver",)}),
        (
            _("Severity"),
            {"fields": ("severity_label", "critical_values", "warning_values", "default_severity")},
        ),
        (_("Notification"), {"fields": ("gather_seconds", "repeat_minutes", "notifies_recovery")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[AlertRoute]:
        incidents = Incident.objects.open().filter(route=OuterRef("pk")).order_by().values("route")
        open_total = Coalesce(Subquery(incidents.annotate(total=Count("pk")).values("total")), 0)
        return AlertRoute.objects.visible_to(request.user).annotate(open_total=open_total)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return for_person(super().get_form(request, obj, change=change, **kwargs), request, ["receiver", "senders"])

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.try_view)
        return [path("try/", view, name="notifications_alertroute_try"), *super().get_urls()]

    @admin.display(description=_("takes"))
    def takes(self, route: AlertRoute) -> SafeString:
        lines = [(str(one),) for one in routing.from_rows(route.matchers)]
        return format_html_join("", "<div><code>{}</code></div>", lines) or format_html("{}", gettext("every alert"))

    @admin.display(description=_("open"))
    def on_duty(self, route: AlertRoute) -> int:
        return int(route.open_total)  # type: ignore[attr-defined]  # annotated in get_queryset

    def try_view(self, request: HttpRequest) -> HttpResponse:
        """Which route takes these labels? Nothing is written."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = LabelsForm(request.GET if "labels" in request.GET else None)
        routes = AlertRoute.objects.visible_to(request.user).filter(is_enabled=True).select_related("receiver")
        context = {
            "title": gettext("Which route takes these labels?"),
            "form": form,
            "is_tried": form.is_bound and form.is_valid(),
            "found": routing.taking(routes.in_order(), form.cleaned_data["labels"]) if form.is_valid() else [],
        }
        return own_page(self, request, "admin/notifications/alertroute/try.html", context)


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
        "A rule watches the data of a card and tells a receiver as soon as its conditions hold. Add one as soon as "
        "there are a card and a receiver."
    )
    inlines = (SilenceWindowInline,)
    list_display = (
        *("name", "is_enabled", "level", "open_count", "card", "addressees", "when"),
        *("last_incident", "last_check"),
    )
    list_filter = (RuleStateFilter, "is_enabled", "severity", ("receiver", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("card", "receiver")
    search_fields = ("name",)
    actions = None
    fieldsets = (
        (None, {"fields": ("name", "is_enabled", "severity")}),
        (_("What is watched"), {"fields": ("card", "conditions", "join", "hold_checks", "no_data_checks")}),
        (_("For each value by itself"), {"fields": ("split_column", "absent_checks", "split_attribute")}),
        (_("To whom"), {"fields": ("receiver", "owner")}),
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
        self.save_people(form)
        if form.has_own_people():
            changed.add("receiver")
        if not change:
            obj.owner = obj.owner or administrator(request)
            obj.save()
        if not change or changed & SCHEDULE_FIELDS:
            slots.reschedule(obj, now=database_now())
            changed |= {"next_run_at", *SCHEDULE_FIELDS}
        obj.save(update_fields=changed)
        evaluation.renew(obj, now=database_now())
        self.drop_people(form)
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
