"""Admin pages of alert rules, with a trial on real data beside the form, and of incidents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext, pgettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from accounts.audit import signals
from integrations.admin.base import NamedDeletions
from integrations.admin.base import pill as tone_pill
from integrations.core.admin_pages import AnyStackedInline, VersionedFormSet
from integrations.core.background import database_now
from integrations.data.table import Table
from integrations.datasources.fetch import DataPreview
from notifications.admin.base import (
    CorpFilter,
    DayFilter,
    DescribedRows,
    OptionFilter,
    PartPermissions,
    ReadOnlyAdmin,
    RecipientsMixin,
    RowContextMixin,
    SuccessorPage,
    administrator,
    find_row,
    for_person,
    moment,
    run_pill,
    severity_pill,
)
from notifications.admin.previews import PreviewMixin, show_missing, show_outlook, show_sample
from notifications.admin.push.form import Missing, Renaming, missing_card, missing_columns, renaming_in
from notifications.admin.push.one_page import OnePage, Part, summaries
from notifications.admin.rule_form import AlertRuleForm, RulePeopleForm, SilenceWindowForm
from notifications.admin.subscription_forms import SCHEDULE_FIELDS, find_times_of_form
from notifications.alerts import actions, charts, conditions, evaluation, trial
from notifications.alerts.actions import Action
from notifications.alerts.conditions import CONDITIONS_AT_MOST, ConditionError, Filters, from_rows
from notifications.delivery.runs.ownership import describe_owner
from notifications.models import AlertReceiver, AlertRule, Incident, SilenceWindow
from notifications.reports.templates.column_names import ColumnName
from notifications.sources import RenderingError
from notifications.subscriptions.addressees import describe_addressees
from notifications.subscriptions.calendar import describe_crontab, describe_schedule
from notifications.subscriptions.schedules import reschedule
from notifications.views.media import answer_medium

if TYPE_CHECKING:
    from django.http import QueryDict


CHECKS_SHOWN = 10


class SilenceWindowInline(PartPermissions, AnyStackedInline):
    whole = "alertrule"
    model = SilenceWindow
    form = SilenceWindowForm
    formset = VersionedFormSet
    extra = 0
    fields = ("name", "kind", "weekdays", ("from_time", "to_time"), ("starts_at", "ends_at"))


class RuleStateFilter(OptionFilter):
    """Filters rules that need attention."""

    options = {
        "open": (
            _("with open incidents"),
            lambda rules: rules.filter(Exists(Incident.objects.open().filter(rule=OuterRef("pk")))),
        ),
        "broken": (_("does not work"), lambda rules: rules.filter(is_broken=True)),
        "no_data": (_("no data"), lambda rules: rules.exclude(problem="").exclude(is_broken=True)),
    }


_OPEN = Q(status=Incident.Status.OPEN)


signals.describe(AlertRule, "conditions", lambda rows: "; ".join(map(conditions.describe_condition, from_rows(rows))))
signals.describe(AlertRule, "crontab", describe_crontab)


PARTS = (
    Part(
        "conditions",
        _("More about the conditions: severity, several checks, parts"),
        (
            *("join", "severity", "hold_checks", "no_data_checks"),
            *("split_column", "absent_checks", "split_attribute"),
        ),
    ),
    Part(
        "people",
        _("More recipients, delivery and repetition"),
        (
            *("groups", "with_subdepartments", "rules", "rules_match", "corp", "channel", "robot"),
            *("fallback_channel", "owner", "gather_seconds", "repeat_minutes", "notifies_recovery"),
        ),
    ),
    Part(
        "exceptions",
        _("Time zone, holidays, and when nobody is notified"),
        (
            *("notify_from", "notify_until", "notifies_on_workdays_only"),
            *("free_days", "time_zone", "jitter_seconds", "valid_from", "valid_to"),
        ),
        (("silence_windows", 0),),
    ),
)
# Fields that must be valid for a trial.
_TRIED = ("card", "conditions", "split_column")


@admin.register(AlertRule)
class AlertRuleAdmin(SuccessorPage, OnePage, PreviewMixin, DescribedRows, NamedDeletions, RowContextMixin):
    draft_name, new_title = "rule", _("New alert")
    parts = PARTS
    form = AlertRuleForm
    shown_fields = AlertRuleForm.Meta.fields
    preview_path, preview_name = "try/", "notifications_alertrule_preview"
    preview_template = "admin/notifications/alertrule/_preview.html"
    change_form_template = "admin/notifications/alertrule/change_form.html"
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

    class Media:
        js = (
            *("notifications/schedule.js", "notifications/rows.js", "notifications/condition_rows.js"),
            *("notifications/silence_windows.js", "integrations/live.js"),
            *("notifications/preview.js", "notifications/one_page.js", "notifications/data_browser.js"),
            *("notifications/searching_select.js", "notifications/renaming.js", "notifications/rule.js"),
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[AlertRule]:
        return AlertRule.objects.visible_to(request.user).order_by("-pk")

    def describe_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Add the recipients in words and the incidents."""
        receivers = {rule.receiver_id: rule.receiver for rule in rows}
        words = describe_addressees(list(receivers.values()), AlertReceiver, seen_by=administrator(request))
        incidents = Incident.objects.filter(rule__in=rows).order_by().values_list("rule")
        found = incidents.annotate(open=Count("pk", filter=_OPEN), last=Max("opened_at"))
        counted = {key: (open_total, last) for key, open_total, last in found}
        for rule in rows:
            rule.addressees_shown = words[rule.receiver_id]
            rule.open_total, rule.last_opened_at = counted.get(rule.pk, (0, None))

    def save_model(self, request: HttpRequest, obj: AlertRule, form: Any, change: bool) -> None:
        """Save only the changed columns, since checks update others concurrently."""
        changed = set(form.changed_data)
        obj.receiver = form.people.save_for(obj)
        changed.add("receiver")
        if not change:
            obj.owner = obj.owner or administrator(request)
            obj.save()
        if not change or changed & SCHEDULE_FIELDS:
            reschedule(obj, now=database_now())
            changed |= {"next_run_at", *SCHEDULE_FIELDS}
        obj.save(update_fields=changed)
        evaluation.reset_if_changed(obj, now=database_now())
        self.forget_draft(request, is_new=not change, row=obj)

    @admin.display(description=_("severity"), ordering="severity")
    def level(self, rule: AlertRule) -> SafeString:
        return severity_pill(rule.severity, rule.get_severity_display())

    @admin.display(description=_("open"))
    def open_count(self, rule: AlertRule) -> int:
        return int(rule.open_total)  # type: ignore[attr-defined]  # set by describe_rows

    @admin.display(description=_("recipients"))
    def addressees(self, rule: AlertRule) -> str:
        return str(rule.addressees_shown)  # type: ignore[attr-defined]  # set by describe_rows

    @admin.display(description=_("schedule"), ordering="next_run_at")
    def when(self, rule: AlertRule) -> str:
        """Describe the schedule and the next check."""
        if not rule.is_enabled or rule.next_run_at is None:
            return describe_schedule(rule)
        after = gettext("next: %(time)s") % {"time": f"{timezone.localtime(rule.next_run_at):%m-%d %H:%M}"}
        return format_html('{}<div class="help">{}</div>', describe_schedule(rule), after)

    @admin.display(description=_("last incident"))
    def last_incident(self, rule: AlertRule) -> str:
        return moment(rule.last_opened_at)  # type: ignore[attr-defined]  # set by describe_rows

    @admin.display(description=_("last check"), ordering="checked_slot_at")
    def last_check(self, rule: AlertRule) -> str:
        if rule.is_broken:
            state = tone_pill("bad", gettext("does not work"))
            return format_html('{} {}<p class="help">{}</p>', state, moment(rule.checked_slot_at), rule.problem)
        if rule.problem:
            return format_html("{} {}", tone_pill("bad", gettext("no data")), moment(rule.checked_slot_at))
        return moment(rule.checked_slot_at)

    def row_context(self, request: HttpRequest, rule: AlertRule) -> dict[str, Any]:
        owner = describe_owner(rule, administrator(request))
        return {"rule": rule, "owner": owner, "checks": rule.checks.order_by("-slot_at")[:CHECKS_SHOWN]}

    def get_urls(self) -> Any:
        return [*self.page_urls(self.admin_site.admin_view), *super().get_urls()]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        names = ["card", "owner", "split_attribute"]
        form: Any = for_person(super().get_form(request, obj, change=change, **kwargs), request, names)
        form.draft = self.draft_chosen(request, obj)
        form.people_class = self._people_class(request)
        return form

    # --- Preview ------------------------------------------------------------------------------------------------------

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """Preview the submitted form: the card's rows, results of the conditions, recipients and times. The page asks
        again until workers have fetched the data. Saves nothing and notifies nobody."""
        rule = self.at_work(request)
        form = self.form_at_work(request, rule)
        context, data, table = self._tried(request, form)
        missing = self._missing(request, form, data, table)
        if missing.strip() and table is not None:
            context = {}  # nothing can be tried without the missing column, which is reported separately
        times = find_times_of_form(form, timezone.now(), is_check=True)
        formsets = self._create_formsets(request, form.instance, change=rule is not None)[0]
        tables = {} if table is None else {str(form.cleaned_data["card"]): table}
        return self.answer_preview(
            request,
            data,
            context,
            rows=show_sample(request, tables, data),
            missing=missing,
            columns=[] if table is None else [[one.name, one.kind.value] for one in table.columns],
            dates=conditions.relative_names(),
            outlook=show_outlook(request, form.found, times, is_rule=True),
            folded=summaries(PARTS, (form, form.people), formsets),
        )

    def _tried(
        self, request: HttpRequest, form: AlertRuleForm
    ) -> tuple[dict[str, Any], DataPreview | None, Table | None]:
        """Return the template context of the trial, the progress of the data, and the data if it is loaded."""
        card, now = form.cleaned_data.get("card"), timezone.now()
        wrong = [name for name in _TRIED if name in form.errors]
        is_begun = card is not None and bool(form["conditions"].value())
        shown = [name for name in wrong if is_begun or name != "conditions"]
        context: dict[str, Any] = {"errors": {name: form.errors[name] for name in shown}}
        if not request.POST.get("card"):
            return (
                {"hint": gettext("Choose data: its rows stand here, and what the conditions say of them.")},
                None,
                None,
            )
        if card is None:
            return context, None, None
        data = self.read_data(request, [card], now=now)
        table = data.tables[card.pk] if data is not None and data.is_there else None
        if table is None or wrong:
            if table is not None and not shown:
                context["hint"] = gettext("Write a condition: it is tried on these rows.")
            return context, data, table
        if form.people is not None:
            form.instance.receiver = form.people.instance
        try:
            tried = trial.try_rule(form.instance, table, language=get_language() or settings.LANGUAGE_CODE)
        except ConditionError as error:
            return context | {"problem": conditions.explain_error(error)}, data, table
        context |= {"trial": tried, **self.begin_media(request, tried["pictures"], now=now)}
        if tried["notices"]:
            try:
                context["message"] = trial.preview_notice(form.instance, tried["notices"][0], administrator(request))
            except RenderingError as error:
                context["message_problem"] = str(error)
        return context, data, table

    def renamed_fields(self, request: HttpRequest) -> dict[str, str]:
        return changes(request.POST, renaming_in(request.POST))

    def _missing(self, request: HttpRequest, form: AlertRuleForm, data: DataPreview | None, table: Table | None) -> str:
        """Render the columns and the card that the rule names but the data lacks, with replacements to choose."""
        card, person = form.cleaned_data.get("card"), administrator(request)
        found: list[Missing] = []
        if card is not None and data is not None and card.pk in data.lost:
            found = [missing_card(CARD, str(card), person)]
        elif table is not None:
            found = missing_columns(columns_named(request.POST), {CARD: table}, {CARD: str(card)})
        return show_missing(request, found, is_rule=True)

    def _people_class(self, request: HttpRequest) -> type[RulePeopleForm]:
        people = RulePeople(AlertReceiver, self.admin_site)
        form: Any = people.get_form(request, None, form=RulePeopleForm, fields=RulePeopleForm.Meta.fields)
        return for_person(form, request, ["corp", "robot", "users", "groups", "departments"])  # type: ignore[no-any-return]  # the stubs know the class of the model alone


class RulePeople(RecipientsMixin):
    """Builds the form of a rule's recipients with the admin's widgets. It is not registered and has no pages."""

    autocomplete_fields = ("users", "groups")


# A rule has one card, which has no alias.
CARD = ""


def columns_named(values: QueryDict) -> Iterator[ColumnName]:
    """Yield every column that the submitted form names."""
    for name in _column_fields():
        if column := values.get(name, "").strip():
            yield CARD, column
    for _field, filters in _filters(values):
        yield from ((CARD, column) for column, _values in filters)


def changes(values: QueryDict, renaming: Renaming) -> dict[str, str]:
    """Return the new values of the form fields in which `renaming` changes something, by field name."""
    changed = {}
    for name in _column_fields():
        column = renaming.columns.get((CARD, values.get(name, "").strip()))
        if column is not None:
            changed[name] = column
    for name, filters in _filters(values):
        renamed = tuple((renaming.columns.get((CARD, column), column), its) for column, its in filters)
        if renamed != filters:
            changed[name] = conditions.filters_line(renamed)
    if CARD in renaming.cards:
        changed["card"] = renaming.cards[CARD]
    return changed


def _column_fields() -> list[str]:
    return [*(f"conditions-{number}-column" for number in range(CONDITIONS_AT_MOST)), "split_column"]


def _filters(values: QueryDict) -> Iterator[tuple[str, Filters]]:
    """Yield the field name and the parsed filters of each condition; skip filters that cannot be parsed."""
    for number in range(CONDITIONS_AT_MOST):
        name = f"conditions-{number}-filters"
        try:
            yield name, conditions.parse_filters(values.get(name, ""))
        except ConditionError:
            continue


class SourceFilter(admin.RelatedOnlyFieldListFilter):
    """Filters by rule or channel among visible incidents. Shown even with one choice, as other incidents have none."""

    include_empty_choice = False

    def has_output(self) -> bool:
        return bool(self.lookup_choices)


class StateFilter(OptionFilter):
    """Filters by the state that the list shows. A silenced incident may be acknowledged or not."""

    options = {
        "open": (Incident.Status.OPEN.label, lambda incidents: incidents.open()),
        "untaken": (_("nobody has taken it"), lambda incidents: incidents.open().unacknowledged()),
        "taken": (
            pgettext_lazy("state of an incident", "taken"),
            lambda incidents: incidents.open().filter(acknowledged_at__isnull=False),
        ),
        "silent": (_("silent"), lambda incidents: incidents.open().silent(timezone.now())),
        "over": (
            Incident.Status.RESOLVED.label,
            lambda incidents: incidents.filter(status=Incident.Status.RESOLVED),
        ),
    }


@admin.register(Incident)
class IncidentAdmin(ReadOnlyAdmin):
    empty_list = _("What alerts tell of stands here: since when, who has taken it, and when it was over.")
    change_form_template = "admin/notifications/incident.html"
    list_display = ("title", "level", "state", "source_name", "starts", "ends", "acknowledger")
    list_filter = (
        *(StateFilter, "severity", "kind", DayFilter, CorpFilter),
        *(("rule", SourceFilter), ("channel", SourceFilter)),
    )
    list_select_related = ("channel", "rule", "acknowledged_by", "silenced_by")
    search_fields = ("title",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Incident]:
        return Incident.objects.visible_to(request.user)

    def get_urls(self) -> list[URLPattern]:
        act = self.admin_site.admin_view(require_POST(self.act_view))
        picture = self.admin_site.admin_view(require_safe(self.picture_view))
        ours = [
            path("<int:pk>/act/", act, name="notifications_incident_act"),
            path("<int:pk>/<int:picture>.<str:extension>", picture, name="notifications_incident_picture"),
        ]
        return [*ours, *super().get_urls()]

    @admin.display(description=_("severity"), ordering="severity")
    def level(self, incident: Incident) -> SafeString:
        return severity_pill(incident.severity, incident.get_severity_display())

    @admin.display(description=_("status"), ordering="status")
    def state(self, incident: Incident) -> SafeString:
        now = timezone.now()
        tone = actions.choose_tone(incident, now) or "quiet"
        words = incident.get_status_display()
        if incident.is_open and incident.is_silenced(now):
            words = gettext("silent")
        elif incident.is_open and incident.acknowledged_at is not None:
            words = pgettext("state of an incident", "taken")
        return tone_pill(tone, words)

    @admin.display(description=_("from"))
    def source_name(self, incident: Incident) -> str:
        return str(incident.source or "—")

    @admin.display(description=_("began"), ordering="starts_at")
    def starts(self, incident: Incident) -> str:
        return moment(incident.starts_at)

    @admin.display(description=_("ended"), ordering="ends_at")
    def ends(self, incident: Incident) -> str:
        return moment(incident.ends_at)

    @admin.display(description=_("taken by"))
    def acknowledger(self, incident: Incident) -> str:
        return str(incident.acknowledged_by or "—")

    def row_context(self, request: HttpRequest, incident: Incident) -> dict[str, Any]:
        person, now = administrator(request), database_now()
        return {
            "title": incident.title,
            "incident": incident,
            "shown": actions.view_incident(incident, person=person, now=now),
            "pictures": charts.list_charts(incident, person=person, now=now),
            "labels": list(incident.labels.items()),
            "timeline": incident.events.select_related("user"),
            "severity": self.level(incident),
            "notices": [
                {"notice": one, "state": run_pill(one.run)}
                for one in incident.notices.select_related("run").order_by("pk")
            ],
            "can_act": incident.is_open and request.user.has_perm("notifications.change_incident"),
        }

    def picture_view(self, request: HttpRequest, pk: int, picture: int, extension: str) -> HttpResponse:
        """Return a picture of the incident's data. `extension`: svg or png."""
        incident = find_row(request, self.get_queryset(request), pk, self.has_view_permission)
        medium = charts.find_chart(incident, picture, person=administrator(request))
        return answer_medium(medium, extension)

    def act_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Acknowledge, take over, silence, end the silence of, or close the incident."""
        find_row(
            request,
            self.get_queryset(request),
            pk,
            lambda request, _row: request.user.has_perm("notifications.change_incident"),
        )
        if request.POST.get("action") not in set(Action):
            return HttpResponseBadRequest()
        done = actions.act(Action(request.POST["action"]), [pk], person=administrator(request), now=database_now())
        if done.changed:
            messages.success(request, gettext("Done. The cards on people's phones are changed, too."))
        else:
            messages.info(request, gettext("Nothing to do: somebody was faster, or it is over."))
        return HttpResponseRedirect(reverse("admin:notifications_incident_change", args=[pk]))
