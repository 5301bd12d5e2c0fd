"""The form and the admin page of alert rules: conditions in rows, schedule, recipients, and a trial on real data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import get_language, gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from accounts.admin.base import Column, OptionFilter, RowsAdmin, format_moment
from accounts.audit import signals
from accounts.models import User
from accounts.users.roles import find_visible_people, sees_rows_without_corp
from integrations.admin.base import NamedDeletions, RowAction, State, find_row, make_routes, show_state
from integrations.core.admin_pages import NATIVE_DATES, AnyModelForm, AnyStackedInline, VersionedFormSet
from integrations.core.background import database_now
from integrations.data.figures import LAST_WORKDAY, RELATIVE_DATES
from integrations.data.table import Table
from integrations.datasources.fetch import DataPreview
from integrations.models import Card, CardData, Corp
from notifications.admin import base, subscription_forms
from notifications.admin.push.one_page import ColumnField, DraftedForm, FormPart, OnePage, read_column_lines
from notifications.alerts import conditions, evaluation, trial
from notifications.alerts.conditions import CONDITIONS_AT_MOST, FALL_OR_RISE, Condition, ConditionError
from notifications.delivery.rendering.report_contents import read_latest_tables
from notifications.delivery.runs.ownership import describe_owner
from notifications.models import AlertRule, Incident, Repeat, SilenceWindow
from notifications.reports.row_filters import write_comparable_text
from notifications.sources import RenderingError
from notifications.subscriptions.addressees import describe_addressees
from notifications.subscriptions.calendar import describe_crontab, describe_schedule
from notifications.subscriptions.recipients import count_reachability, save_rules
from notifications.subscriptions.schedules import TIME_FIELDS, reschedule

# Empty rows after the filled ones. A button (rows.js) or saving adds more.
EMPTY_ROWS = 1
ENTRY_CHARACTERS = 4000
# The alias of the rule's only data.
CARD = ""


class ConditionRow(NamedTuple):
    """A condition as submitted by the browser."""

    aggregate: str = ""
    column: str = ""
    comparison: str = ""
    value: str = ""
    second: str = ""
    filters: str = ""
    against: str = ""
    unit: str = ""


class ConditionsWidget(subscription_forms.RowsWidget):
    """The widget of conditions. `problems`: error by row number. `names`: columns to choose from, if known."""

    template_name = "notifications/widgets/conditions.html"
    parts = ConditionRow._fields
    rows_at_most = CONDITIONS_AT_MOST
    problems: Mapping[int, str] = MappingProxyType({})
    names: Sequence[str] = ()

    def read_row(self, values: list[str]) -> ConditionRow | None:
        """Return the row, which may be incomplete, if anything is entered. Drops `against` and `unit`, which every row
        submits, unless the comparison is a fall or a rise."""
        row = ConditionRow(*(value[:ENTRY_CHARACTERS] for value in values))
        if not any((row.aggregate, row.column, row.value, row.second, row.filters)):
            return None
        return row if row.comparison in FALL_OR_RISE else row._replace(against="", unit="")

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, attrs)
        filled: list[ConditionRow] = list(value or [])
        rows = [*filled, *[ConditionRow()] * EMPTY_ROWS][:CONDITIONS_AT_MOST]
        context["widget"] |= {
            # Each row, its problem, and whether it is an empty one.
            "rows": [(row, self.problems.get(at, ""), at >= len(filled)) for at, row in enumerate(rows)],
            "aggregates": conditions.Aggregate.choices,
            "comparisons": conditions.Comparison.choices,
            "againsts": conditions.Against.choices,
            "units": conditions.Unit.choices,
            "rows_at_most": CONDITIONS_AT_MOST,
            "names": self.names,
        }
        return context


class ConditionsField(forms.Field):
    """Cleans to the JSON of AlertRule.conditions."""

    widget = ConditionsWidget

    def prepare_value(self, value: Any) -> list[ConditionRow]:
        rows: list[Any] = list(value or [])
        if all(isinstance(row, ConditionRow) for row in rows):
            return rows
        written = []
        for one in conditions.read_conditions(rows):
            value, second = (*one.values, "", "")[:2]
            filters = conditions.write_filters(one.filters)
            row = ConditionRow(one.aggregate.value, one.column, one.comparison.value, value, second, filters)
            if one.against is not None:
                row = row._replace(against=one.against.value, unit=one.unit.value)
            written.append(row)
        return written

    def clean(self, value: Any) -> list[dict[str, Any]]:
        rows: list[ConditionRow] = list(value or [])
        if not rows:
            raise ValidationError(conditions.explain_error(ConditionError("no_condition")))
        found, problems = [], {}
        for number, row in enumerate(rows):
            try:
                found.append(read_condition(row))
            except ConditionError as error:
                problems[number] = conditions.explain_error(error)
        if problems:
            self.widget.problems = problems
            sentence = _("Condition %(number)d: %(problem)s")
            raise ValidationError(
                [sentence % {"number": number + 1, "problem": problem} for number, problem in problems.items()]
            )
        return conditions.write_conditions(found)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return self.prepare_value(initial) != list(data or [])


def read_condition(row: ConditionRow) -> Condition:
    """Convert a submitted row. Raises ConditionError."""
    if row.aggregate not in conditions.Aggregate:
        raise ConditionError("no_aggregate")
    if row.comparison not in conditions.Comparison:
        raise ConditionError("no_comparison")
    comparison = conditions.Comparison(row.comparison)
    entered = [row.value.strip(), row.second.strip()] if comparison in conditions.WITH_TWO else [row.value.strip()]
    against, unit = None, conditions.Unit.PERCENT
    if comparison in FALL_OR_RISE:
        if row.against not in conditions.Against or row.unit not in conditions.Unit:
            raise ConditionError("no_against", row.column)
        against, unit = conditions.Against(row.against), conditions.Unit(row.unit)
        if unit != conditions.Unit.AMOUNT:
            entered = [row.value.strip().rstrip("%％").rstrip()]
    condition = Condition(
        conditions.Aggregate(row.aggregate),
        row.column.strip(),
        comparison,
        () if comparison in conditions.WITHOUT_VALUE else tuple(value for value in entered if value),
        conditions.parse_filters(row.filters),
        against,
        unit,
    )
    conditions.check_condition(condition)
    return condition


# Named intervals and the crontab that is stored for each.
EVERY = {
    "every_10": ("*/10 * * * *", _("every 10 minutes")),
    "every_30": ("*/30 * * * *", _("every 30 minutes")),
    "every_60": ("0 * * * *", _("every hour")),
}

# Fields that decide who is notified.
_PEOPLE = ("corp", *subscription_forms.RECIPIENT_FIELDS)


class AlertRuleForm(DraftedForm, subscription_forms.RecipientsFormPart, subscription_forms.ScheduleFormPart):
    """The form of a rule."""

    edits_rows = True  # silence windows
    conditions = ConditionsField(
        label=capfirst(_("conditions")),
        help_text=_(
            "One condition per row. “change” is in percent: the sum compared with the previous check. Between and "
            "outside take two values. Falls and rises compare the latest day of the data, or the day that “only some "
            "rows” names, with the day, week or year before it."
        ),
    )
    notify_from = subscription_forms.LocalTimeField(label=capfirst(_("notify from")), required=False)
    notify_until = subscription_forms.LocalTimeField(label=capfirst(_("notify until")), required=False)

    class Meta:
        model = AlertRule
        fields = (
            *("name", "is_enabled", "card", "conditions", "join", "severity", "hold_checks", "no_data_checks"),
            *("split_column", "absent_checks", "split_attribute", *_PEOPLE, "owner"),
            *("gather_seconds", "repeat_minutes", "notifies_recovery"),
            *("notify_from", "notify_until", "notifies_on_workdays_only"),
            *(name for name in TIME_FIELDS if name != "on_date"),
        )
        field_classes = subscription_forms.FIELD_CLASSES
        help_texts = {
            "owner": _("Is notified when an alert of this rule reaches nobody. Empty: the person who adds the rule."),
            "robot": _(
                "Only for the channel “group robot”: everybody in its group reads it, and nobody there can act."
            ),
            "departments": _(
                "Everybody in the department when an alert is sent, according to the last synchronisation of the "
                "directory."
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "card" not in fields:  # the form has no fields for people who may only view
            return
        self.offer_times()
        self.offer_recipients()
        fields["corp"].queryset = Corp.objects.visible_to(self.person)
        fields["corp"].required = not sees_rows_without_corp(self.person)
        names = {crontab: name for name, (crontab, _words) in EVERY.items()}
        del fields["on_date"]  # a rule is checked again and again
        repeated = [choice for choice in fields["repeat"].choices if choice[0] != Repeat.ONCE]
        fields["repeat"].choices = [*((name, words) for name, (_crontab, words) in EVERY.items()), *repeated]
        if self.instance._state.adding:
            self.initial.update(repeat="every_10", crontab="", is_enabled=False)
            if fields["corp"].required:
                self.initial["corp"] = fields["corp"].queryset.order_by("pk").values_list("pk", flat=True).first()
        elif self.instance.repeat == Repeat.CRONTAB:
            self.initial["repeat"] = names.get(self.instance.crontab, Repeat.CRONTAB)
        fields["card"].queryset = Card.objects.visible_to(self.person).select_related("source")
        fields["owner"].queryset = find_visible_people(self.person).filter(is_staff=True) | User.objects.filter(
            pk=self.instance.owner_id
        )
        if self.instance.card_id:  # the columns of the last fetched data
            table = read_latest_tables({self.instance.card_id: self.instance.card_id}).get(self.instance.card_id)
            fields["conditions"].widget.names = [] if table is None else list(table.names)

    def read_values(self, row: Any) -> dict[str, Any]:
        windows = row.silence_windows.order_by("pk").values_list(*SilenceWindowForm.Meta.fields)
        return {**super().read_values(row), "silence_windows": list(windows)}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        every = EVERY.get(cleaned.get("repeat", ""))
        if every is not None:
            cleaned.update(repeat=Repeat.CRONTAB, crontab=every[0])
        self.check_schedule(cleaned, now=timezone.now())
        if cleaned.get("split_attribute") and not cleaned.get("split_column"):
            self.add_error(
                "split_column", _("Say which column has the values that people's attribute is compared with.")
            )
        # Refuse a value that is no date, or has a time where the column has days only, judged by the last fetched data.
        rows, fetched = cleaned.get("conditions") or [], CardData.objects.filter(card=cleaned.get("card"))
        newest = fetched.filter(status=CardData.Status.READY).order_by("-pk").first() if rows else None
        table = None if newest is None else newest.table
        problems = {}
        for number, condition in enumerate(conditions.read_conditions(rows)):
            try:
                if table is not None:
                    conditions.check_columns(condition, table)
            except ConditionError as error:
                if error.reason in {"no_date", "no_times"}:
                    problems[number] = conditions.explain_error(error)
        if problems:
            self.add_error("conditions", list(problems.values()))
            field: Any = self.fields["conditions"]
            field.widget.problems = problems
        self.check_channel(cleaned)
        self._check_recipients(cleaned)
        return cleaned

    def _check_recipients(self, cleaned: dict[str, Any]) -> None:
        robot, corp = cleaned.get("robot"), cleaned.get("corp")
        if robot is not None and corp is not None and robot.corp_id != corp.pk:
            self.add_error("robot", _("This robot's group is of another company."))
        if not self.errors.keys().isdisjoint({"rules", *_PEOPLE}):
            return
        self.found = count_reachability(subscription_forms.build_audience(cleaned, corp=corp), seen_by=self.person)
        # A disabled rule needs no recipients. People who cannot be reached now may be later.
        reaches_nobody = not self.found.concerns_somebody and not self.found.unreachable_count
        if reaches_nobody and cleaned.get("is_enabled"):
            raise ValidationError(subscription_forms.explain_refusal(self.found))


class SilenceWindowForm(AnyModelForm):
    weekdays = subscription_forms.WeekdaysField(label=capfirst(_("days of the week")), required=False)
    from_time = subscription_forms.LocalTimeField(label=capfirst(_("from (time of day)")), required=False)
    to_time = subscription_forms.LocalTimeField(label=capfirst(_("until (time of day)")), required=False)

    class Meta:
        model = SilenceWindow
        fields = ("name", "kind", "weekdays", "from_time", "to_time", "starts_at", "ends_at")
        labels = {
            "starts_at": pgettext_lazy("silence window", "From"),
            "ends_at": pgettext_lazy("silence window", "Until"),
        }


# --- The page ---------------------------------------------------------------------------------------------------------

CHECKS_SHOWN = 10
# At most this number of a column's values is offered as choices, for at most this number of columns.
CHOICES_AT_MOST, CHOSEN_FROM_AT_MOST = 100, 40


class SilenceWindowInline(base.PartPermissions, AnyStackedInline):
    whole = "alertrule"
    formfield_overrides = NATIVE_DATES
    model = SilenceWindow
    form = SilenceWindowForm
    formset = VersionedFormSet
    extra = 0
    fields = ("name", "kind", "weekdays", ("from_time", "to_time"), ("starts_at", "ends_at"))


_HAS_OPEN = Exists(Incident.objects.open().filter(rule=OuterRef("pk")))


class RuleStateFilter(OptionFilter):
    selects = ("is_enabled",)  # for saved addresses with ?is_enabled__exact=
    options = {
        "enabled": (_("enabled"), lambda rules: rules.filter(is_enabled=True)),
        "open": (_("with open incidents"), lambda rules: rules.filter(_HAS_OPEN)),
        "broken": (_("does not work"), lambda rules: rules.filter(is_broken=True)),
        "no_data": (_("no data"), lambda rules: rules.exclude(problem="").exclude(is_broken=True)),
        "disabled": (_("disabled"), lambda rules: rules.filter(is_enabled=False)),
    }


_OPEN = Q(status=Incident.Status.OPEN)

signals.describe_field(
    AlertRule,
    "conditions",
    lambda rows: "; ".join(map(conditions.describe_condition, conditions.read_conditions(rows))),
)
signals.describe_field(AlertRule, "crontab", describe_crontab)

# Fields that must be valid for a trial.
_TRIAL_FIELDS = ("card", "conditions", "split_column")


@admin.register(AlertRule)
class AlertRuleAdmin(base.SuccessorPage, OnePage, base.RecipientsMixin, RowsAdmin, NamedDeletions):
    draft_name, new_title = "rule", _("New alert")
    unlisted = ("notifications.AlertCheck",)  # left out of the page before a deletion (NamedDeletions)
    parts = (
        FormPart(
            "conditions",
            _("More about the conditions: severity, several checks, parts"),
            ("join", "severity", "hold_checks", "no_data_checks", "split_column", "absent_checks", "split_attribute"),
        ),
        FormPart(
            "people",
            _("More recipients, delivery and repetition"),
            (
                *("groups", "with_subdepartments", "rules", "rules_match", "corp", "channel", "robot"),
                *("fallback_channel", "owner", "gather_seconds", "repeat_minutes", "notifies_recovery"),
            ),
        ),
        FormPart(
            "exceptions",
            _("Time zone, holidays, and when nobody is notified"),
            (
                *("notify_from", "notify_until", "notifies_on_workdays_only"),
                *("free_days", "time_zone", "jitter_seconds", "valid_from", "valid_to"),
            ),
            (("silence_windows", 0),),  # a formset, and how many of its rows the summary ignores
        ),
    )
    form = AlertRuleForm
    shown_fields = tuple(name for name in AlertRuleForm.Meta.fields if name not in _PEOPLE)
    is_rule = True
    preview_path, preview_template = "try/", "admin/notifications/alertrule/_preview.html"
    change_form_template = "admin/notifications/alertrule/change_form.html"
    empty_list = _(
        "A rule watches data and tells people as soon as its conditions hold. Add one as soon as there is data."
    )
    inlines = (SilenceWindowInline,)
    list_display = (
        *(
            "name",
            "state",
            Column("level", _("severity"), lambda rule: rule.get_severity_display(), ordering="severity"),
        ),
        *(Column("open_count", _("open"), lambda rule: rule.open_total), "card"),
        *(Column("addressees", _("recipients"), lambda rule: rule.addressees_shown), "when"),
        *(Column("last_incident", _("last incident"), lambda rule: rule.last_opened_at), "last_check"),
    )
    list_filter = (RuleStateFilter, "severity")
    list_select_related = ("card",)
    autocomplete_fields = ("users", "groups")
    search_fields = ("name",)
    actions = None

    class Media:
        js = (
            *("notifications/schedule.js", "notifications/rows.js", "notifications/condition_rows.js"),
            *("notifications/silence_windows.js", "integrations/live.js"),
            *("notifications/preview.js", "notifications/one_page.js", "notifications/data_browser.js"),
            *("notifications/searching_select.js", "notifications/renaming.js"),
            *("notifications/row_choices.js", "notifications/threshold.js", "notifications/rule.js"),
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[AlertRule]:
        return AlertRule.objects.visible_to(request.user).order_by("-pk")

    def describe_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Add the recipients in words and the incidents."""
        words = describe_addressees(rows, seen_by=base.get_administrator(request))
        incidents = Incident.objects.filter(rule__in=rows).order_by().values_list("rule")
        found = incidents.annotate(open=Count("pk", filter=_OPEN), last=Max("opened_at"))
        counted = {key: (open_total, last) for key, open_total, last in found}
        for rule in rows:
            rule.addressees_shown = words[rule.pk]
            rule.open_total, rule.last_opened_at = counted.get(rule.pk, (0, None))

    def save_model(self, request: HttpRequest, obj: AlertRule, form: Any, change: bool) -> None:
        """Save only the changed columns, since checks update others concurrently."""
        changed = {field.name for field in obj._meta.concrete_fields}.intersection(form.changed_data)
        if "channel" in changed:
            changed |= {"robot", "fallback_channel"}  # the form empties them for channels that need none
        if not change:
            obj.owner = obj.owner or base.get_administrator(request)
            obj.save()
        if not change or changed & subscription_forms.SCHEDULE_FIELDS:
            reschedule(obj, now=database_now())
            changed |= {"next_run_at", *subscription_forms.SCHEDULE_FIELDS}
        obj.save(update_fields=changed)
        evaluation.reset_changed_rule(obj, now=database_now())

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        save_rules(form.instance, form.cleaned_data["rules"])
        self.forget_draft(request, is_new=not change, row=form.instance)

    @admin.display(description=_("schedule"), ordering="next_run_at")
    def when(self, rule: AlertRule) -> str:
        """Describe the schedule and the next check."""
        if not rule.is_enabled or rule.next_run_at is None:
            return describe_schedule(rule)
        after = gettext("next: %(time)s") % {"time": f"{timezone.localtime(rule.next_run_at):%m-%d %H:%M}"}
        return format_html('{}<div class="help">{}</div>', describe_schedule(rule), after)

    @admin.display(description=_("status"), ordering="is_enabled")
    def state(self, rule: AlertRule) -> str:
        if rule.is_broken:
            return show_state(State.FAILED, gettext("does not work"))
        if not rule.is_enabled:
            return show_state(State.DISABLED)
        if rule.open_total:  # type: ignore[attr-defined]  # set by describe_rows
            return show_state(State.RUNNING, Incident.Status.OPEN.label, "bad")
        return show_state(State.WAITING, gettext("no data")) if rule.problem else show_state(State.FINE)

    @admin.display(description=_("last check"), ordering="checked_slot_at")
    def last_check(self, rule: AlertRule) -> str:
        checked = format_moment(rule.checked_slot_at, in_list=True)
        return format_html('{}<p class="help">{}</p>', checked, rule.problem) if rule.is_broken else checked

    def list_row_actions(self, request: HttpRequest, rule: AlertRule) -> list[RowAction]:
        found = []
        if request.user.has_perm("notifications.view_incident"):
            url = f"{reverse('admin:notifications_incident_changelist')}?rule__id__exact={rule.pk}"
            found.append(RowAction("bell", pgettext_lazy("menu", "Incidents"), url))
        # A rule that was never checked may be unfinished, so only its page can enable it.
        if self.has_change_permission(request, rule) and (rule.is_enabled or rule.checked_slot_at is not None):
            icon, label = ("pause", _("Disable")) if rule.is_enabled else ("resume", _("Enable"))
            found.append(RowAction(icon, label, reverse("admin:notifications_alertrule_switch", args=[rule.pk]), True))
        return found

    def get_urls(self) -> list[URLPattern]:
        ours = make_routes(self, {("<int:pk>/switch/", "switch"): require_POST(self.switch_view)})
        return [*ours, *super().get_urls()]

    def switch_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Disable or enable a rule."""
        rule = find_row(self, request, pk, to_change=True)
        rule.is_enabled = not rule.is_enabled
        reschedule(rule, now=database_now())
        rule.save(update_fields=["is_enabled", "next_run_at"])
        self.log_change(request, rule, [{"changed": {"fields": ["enabled"]}}])
        words = gettext("“%(rule)s” is enabled.") if rule.is_enabled else gettext("“%(rule)s” is disabled.")
        messages.success(request, words % {"rule": rule})
        return HttpResponseRedirect(reverse("admin:notifications_alertrule_changelist"))

    def describe_row(self, request: HttpRequest, rule: AlertRule) -> dict[str, Any]:
        owner = describe_owner(rule, base.get_administrator(request))
        return {"rule": rule, "owner": owner, "checks": rule.checks.order_by("-slot_at")[:CHECKS_SHOWN]}

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        names = ["card", "owner", "split_attribute", "corp", "robot", "users", "groups", "departments"]
        # Set all fields, since `shown_fields` lacks the recipients: people who may only view the rule do not see them.
        kwargs["fields"] = AlertRuleForm.Meta.fields
        form: Any = base.set_form_person(super().get_form(request, obj, change=change, **kwargs), request, names)
        form.draft = self.read_chosen_draft(request, obj)
        return form

    def preview_view(self, request: HttpRequest, row: Any) -> HttpResponse:
        """Preview the submitted form: rows of the data, results of the conditions, recipients and times. The page asks
        again until workers have fetched the data. Saves nothing and notifies nobody."""
        form = self.read_form(request, row)
        context, data, table = self._try_form(request, form)
        card = form.cleaned_data.get("card")
        cards = {} if card is None else {CARD: (card.pk, str(card))}
        tables: dict[str, Table] = {}
        columns: list[list[str]] = []
        values: dict[str, list[str]] = {}
        if table is not None:
            tables[CARD] = table
            columns = [[one.name, one.kind.value] for one in table.columns]
            # Values to filter rows by, of columns without dates. Of many values, all different, none are offered.
            for column in [one for one in table.columns if not one.is_temporal][:CHOSEN_FROM_AT_MOST]:
                texts = [write_comparable_text(value).strip() for value in table.list_values(column.name)]
                distinct = list(dict.fromkeys(filter(None, texts)))
                if len(distinct) < len(table.rows) or len(distinct) <= CHOICES_AT_MOST:
                    values[column.name] = distinct[:CHOICES_AT_MOST]
        # The picture of the last days, which the page's script draws, with readable days.
        chart = (context.get("trial", {}).get("past") or {}).get("chart") or None
        if chart is not None:
            days = [(date_format(day, "MONTH_DAY_FORMAT"), value) for day, value in chart["days"]]
            chart = {**chart, "days": days}
        # The names of relative dates to choose from, in the current language.
        names = [(one.name, one.chinese) for one in RELATIVE_DATES if not one.name.endswith("to_date")]
        is_chinese = (get_language() or "").startswith("zh")
        dates = [chinese if is_chinese else name.replace("_", " ") for name, chinese in [*names, LAST_WORKDAY]]
        extra = {"columns": columns, "dates": dates, "values": values, "past": chart}
        return self.answer_preview(request, form, data, context, cards, tables, **extra)

    def _try_form(
        self, request: HttpRequest, form: AlertRuleForm
    ) -> tuple[dict[str, Any], DataPreview | None, Table | None]:
        """Return the template context of the trial, the progress of the data, and the data if it is loaded."""
        card = form.cleaned_data.get("card")
        wrong = [name for name in _TRIAL_FIELDS if name in form.errors]
        is_begun = card is not None and bool(form["conditions"].value())
        shown = [name for name in wrong if is_begun or name != "conditions"]
        context: dict[str, Any] = {"errors": {name: form.errors[name] for name in shown}}
        if not request.POST.get("card"):
            hint = gettext("Choose data: its rows and the results of the conditions are shown here.")
            return {"hint": hint}, None, None
        if card is None:
            return context, None, None
        data = self.read_data(request, [card])
        table = data.tables[card.pk] if data is not None and data.is_ready else None
        if table is None or wrong:
            if table is not None and not shown:
                context["hint"] = gettext("Write a condition: it is tried on these rows.")
            return context, data, table
        try:
            tried = trial.try_rule(form.instance, table, language=get_language() or settings.LANGUAGE_CODE)
        except ConditionError as error:
            return context | {"problem": conditions.explain_error(error)}, data, table
        context |= {"trial": tried, **self.begin_media(request, tried["pictures"])}
        if tried["notices"]:
            try:
                context["message"] = trial.preview_notice(
                    form.instance, tried["notices"][0], base.get_administrator(request)
                )
            except RenderingError as error:
                context["message_problem"] = str(error)
        return context, data, table

    def list_column_fields(self, values: QueryDict) -> Iterator[ColumnField]:
        """Yield the submitted fields that name columns, each with the function that replaces renamed columns in it."""
        for name in (*(f"conditions-{number}-column" for number in range(CONDITIONS_AT_MOST)), "split_column"):
            yield read_column_lines(name, CARD, values.get(name, ""))
        for name in (f"conditions-{number}-filters" for number in range(CONDITIONS_AT_MOST)):
            with suppress(ConditionError):
                filters = conditions.parse_filters(values.get(name, ""))
                rename = partial(
                    lambda given, names: conditions.write_filters(
                        tuple((names.get((CARD, column), column), chosen) for column, chosen in given)
                    ),
                    filters,
                )
                yield ColumnField(name, [(CARD, column) for column, _values in filters], rename)

    def list_card_fields(self, values: QueryDict) -> dict[str, str]:
        """Return the name of the field that chooses the rule's data, by the data's alias."""
        return {CARD: "card"}
