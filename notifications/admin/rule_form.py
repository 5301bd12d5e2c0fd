"""The form of an alert rule: conditions in rows, schedule, and the rule's own recipients."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import User
from accounts.users.roles import people_visible_to, sees_all_corps
from integrations.core.admin_pages import VERSION, AnyModelForm, VersionedForm
from integrations.models import Card, CardData, Corp
from notifications.admin import subscription_forms
from notifications.admin.push.one_page import DraftedForm
from notifications.admin.subscription_forms import (
    FIELD_CLASSES,
    RECIPIENT_FIELDS,
    RecipientsFormPart,
    ScheduleFormPart,
    audience_from,
    refusal,
)
from notifications.alerts import conditions
from notifications.alerts.conditions import (
    BY_CHANGE,
    CONDITIONS_AT_MOST,
    Against,
    Aggregate,
    Comparison,
    Condition,
    ConditionError,
    Unit,
)
from notifications.delivery.rendering.report_contents import latest_tables
from notifications.models import AlertReceiver, AlertRule, Repeat, SilenceWindow
from notifications.subscriptions.recipients import Reachability, count_reachability, save_rules
from notifications.subscriptions.schedules import TIME_FIELDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import Model


# Empty rows after the filled ones. A button (rows.js) or saving adds more.
EMPTY_ROWS = 1
ENTRY_CHARACTERS = 4000


@dataclass(frozen=True, slots=True)
class Row:
    """A condition as submitted by the browser."""

    aggregate: str = ""
    column: str = ""
    comparison: str = ""
    value: str = ""
    second: str = ""
    filters: str = ""
    against: str = ""
    unit: str = ""

    @property
    def is_filled(self) -> bool:
        """Return whether the row holds anything. A row without an aggregate may be half written."""
        return any((self.aggregate, self.column, self.value, self.second, self.filters))


class ConditionsWidget(forms.Widget):
    """The widget of conditions. `problems`: error by row number. `names`: columns to choose from, if known."""

    template_name = "notifications/widgets/conditions.html"

    def __init__(self, attrs: Any = None) -> None:
        super().__init__(attrs)
        self.problems: dict[int, str] = {}
        self.names: list[str] = []

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[Row]:
        rows = [_row(data, name, number) for number in range(CONDITIONS_AT_MOST)]
        return [row for row in rows if row.is_filled]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return not any(f"{name}-{number}-aggregate" in data for number in range(CONDITIONS_AT_MOST))

    def id_for_label(self, id_: str) -> str:
        return f"{id_}-0-aggregate" if id_ else id_

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, attrs)
        rows: list[Row] = list(value or [])
        rows += [Row()] * EMPTY_ROWS
        context["widget"] |= {
            "rows": [(row, self.problems.get(number, "")) for number, row in enumerate(rows[:CONDITIONS_AT_MOST])],
            "aggregates": Aggregate.choices,
            "comparisons": Comparison.choices,
            "againsts": Against.choices,
            "units": Unit.choices,
            "rows_at_most": CONDITIONS_AT_MOST,
            "names": self.names,
        }
        return context


class ConditionsField(forms.Field):
    """Cleans to the JSON of AlertRule.conditions."""

    widget = ConditionsWidget

    def prepare_value(self, value: Any) -> list[Row]:
        rows: list[Any] = list(value or [])
        if all(isinstance(row, Row) for row in rows):
            return rows
        return [as_row(one) for one in conditions.from_rows(rows)]

    def clean(self, value: Any) -> list[dict[str, Any]]:
        rows: list[Row] = list(value or [])
        if not rows:
            raise ValidationError(conditions.explain_error(ConditionError("no_condition")))
        found, problems = [], {}
        for number, row in enumerate(rows):
            try:
                found.append(condition_of(row))
            except ConditionError as error:
                problems[number] = conditions.explain_error(error)
        if problems:
            self.widget.problems = problems
            sentence = _("Condition %(number)d: %(problem)s")
            raise ValidationError(
                [sentence % {"number": number + 1, "problem": problem} for number, problem in problems.items()]
            )
        return conditions.to_rows(found)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return list(map(astuple, self.prepare_value(initial))) != list(map(astuple, data or []))


def condition_of(row: Row) -> Condition:
    """Convert a submitted row. Raises ConditionError."""
    if row.aggregate not in set(Aggregate):
        raise ConditionError("no_aggregate")
    if row.comparison not in set(Comparison):
        raise ConditionError("no_comparison")
    comparison = Comparison(row.comparison)
    entered = [row.value.strip(), row.second.strip()] if comparison in conditions.WITH_TWO else [row.value.strip()]
    against, unit = None, Unit.PERCENT
    if comparison in BY_CHANGE:
        if row.against not in set(Against) or row.unit not in set(Unit):
            raise ConditionError("no_against", row.column)
        against, unit = Against(row.against), Unit(row.unit)
    if against is not None and unit != Unit.AMOUNT:
        entered = [row.value.strip().rstrip("%％").rstrip()]
    condition = Condition(
        Aggregate(row.aggregate),
        row.column.strip(),
        comparison,
        () if comparison in conditions.WITHOUT_VALUE else tuple(value for value in entered if value),
        conditions.parse_filters(row.filters),
        against,
        unit,
    )
    conditions.check(condition)
    return condition


def as_row(condition: Condition) -> Row:
    first, second = (*condition.values, "", "")[:2]
    filters = conditions.filters_line(condition.filters)
    change = () if condition.against is None else (condition.against.value, condition.unit.value)
    return Row(condition.aggregate.value, condition.column, condition.comparison.value, first, second, filters, *change)


def _row(data: Any, name: str, number: int) -> Row:
    """Read a row. Drops the choices for falls and rises, which are submitted with every row, if they do not apply."""
    parts = (part.name for part in fields(Row))
    row = Row(*(str(data.get(f"{name}-{number}-{part}", ""))[:ENTRY_CHARACTERS] for part in parts))
    return row if row.comparison in BY_CHANGE else replace(row, against="", unit="")


# Named intervals and the crontab that is stored for each.
EVERY = MappingProxyType(
    {
        "every_10": ("*/10 * * * *", _("every 10 minutes")),
        "every_30": ("*/30 * * * *", _("every 30 minutes")),
        "every_60": ("0 * * * *", _("every hour")),
    }
)


class RulePeopleForm(RecipientsFormPart):
    """The recipients of one rule. `needs_people`: require at least one recipient."""

    needs_people = True

    class Meta:
        model = AlertReceiver
        fields = ("corp", *RECIPIENT_FIELDS)
        field_classes = FIELD_CLASSES
        help_texts = {
            "robot": _(
                "Only for the channel “group robot”: everybody in its group reads it, and nobody there can act."
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        self.offer_recipients()
        fields["corp"].queryset = Corp.objects.visible_to(self.person)
        fields["corp"].required = not sees_all_corps(self.person)
        fields["departments"].help_text = _(
            "Whoever is there when an alert is sent, as the last synchronisation of the directory showed it."
        )
        if fields["corp"].required and self.instance._state.adding:
            self.initial["corp"] = fields["corp"].queryset.order_by("pk").values_list("pk", flat=True).first()

    def add_prefix(self, field_name: str) -> str:
        """Rename the version field of the recipients, as the rule has one, too."""
        return "people_version" if field_name == VERSION else super().add_prefix(field_name)

    def saved_rows(self) -> Sequence[Model]:
        return [self.instance, *AlertRule.objects.filter(receiver=self.instance.pk)]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        self.check_channel(cleaned)
        robot, corp = cleaned.get("robot"), cleaned.get("corp")
        if robot is not None and corp is not None and robot.corp_id != corp.pk:
            self.add_error("robot", _("This robot's group is of another company."))
        if not self.errors:
            self.found = count_reachability(audience_from(cleaned, corp=corp), seen_by=self.person)
            # People who cannot be reached now may be later: a warning follows after saving.
            if self.needs_people and not self.found.concerns_somebody and not self.found.unreachable_count:
                raise ValidationError(refusal(self.found))
        return cleaned

    def save_for(self, rule: AlertRule) -> AlertReceiver:
        receiver: AlertReceiver = self.save(commit=False)
        receiver.name = rule.name
        receiver.save()
        self.save_m2m()
        save_rules(receiver, self.cleaned_data["rules"])
        return receiver


class AlertRuleForm(DraftedForm, ScheduleFormPart, VersionedForm):
    """The form of a rule. `person`: the signed-in administrator, set by the admin. `people`: the form of the recipients
    on the same page; None with view permission only. Field names of the two do not collide."""

    person: User
    edits_rows = True
    people_class: type[RulePeopleForm]
    people: RulePeopleForm | None = None
    conditions = ConditionsField(
        label=_("conditions"),
        help_text=_(
            "Each row one condition. “change” is in percent, of the sum against the check before. Between and outside "
            "take two values. Falls and rises compare with an earlier day: the latest day of the data, or the day that "
            "“only rows with” names, against the day, week or year before it. “only rows with” narrows the data "
            "before: column=value, | between several values of a column, ; between columns."
        ),
    )
    notify_from = subscription_forms.LocalTimeField(label=capfirst(_("tell from")), required=False)
    notify_until = subscription_forms.LocalTimeField(label=capfirst(_("tell until")), required=False)

    class Meta:
        model = AlertRule
        fields = (
            *("name", "is_enabled", "card", "conditions", "join", "severity", "hold_checks", "no_data_checks"),
            *("split_column", "absent_checks", "split_attribute", "owner"),
            *("gather_seconds", "repeat_minutes", "notifies_recovery"),
            *("notify_from", "notify_until", "notifies_on_workdays_only", *TIME_FIELDS),
        )

        help_texts = {"owner": _("Is told when an alert of this rule reaches nobody. Empty: whoever adds the rule.")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        if "card" not in fields:
            return
        self._offer_when()
        own = AlertReceiver() if self.instance._state.adding else self.instance.receiver
        self.people = self.people_class(self.data if self.is_bound else None, instance=own)
        self.forgive(self.people)
        fields["card"].queryset = Card.objects.visible_to(self.person).select_related("source")
        fields["owner"].queryset = people_visible_to(self.person).filter(is_staff=True) | User.objects.filter(
            pk=self.instance.owner_id
        )
        fields["conditions"].widget.names = self._column_names()

    def values_of(self, row: Any) -> dict[str, Any]:
        windows = row.silence_windows.order_by("pk").values_list(*SilenceWindowForm.Meta.fields)
        return {**super().values_of(row), "silence_windows": list(windows)}

    @property
    def found(self) -> Reachability | None:
        """The reachability of the recipients; only after cleaning."""
        return None if self.people is None else self.people.found

    @property
    def part(self) -> RulePeopleForm | None:
        return self.people

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        every = EVERY.get(cleaned.get("repeat", ""))
        if every is not None:
            cleaned.update(repeat=Repeat.CRONTAB, crontab=every[0])
        subscription_forms.check(self, cleaned, now=timezone.now())
        if cleaned.get("split_attribute") and not cleaned.get("split_column"):
            self.add_error(
                "split_column", _("Say which column has the values that people's attribute is compared with.")
            )
        self._check_dates(cleaned)
        if self.people is not None:
            # A disabled rule may be saved without recipients.
            self.people.needs_people = bool(cleaned.get("is_enabled"))
        return cleaned

    def _check_dates(self, cleaned: dict[str, Any]) -> None:
        """Refuse a value that is no date for a date column, judged by the last fetched data."""
        card, rows = cleaned.get("card"), cleaned.get("conditions")
        newest = CardData.objects.filter(card=card, status=CardData.Status.READY).order_by("-pk").first()
        if newest is None or not rows:
            return
        problems = {}
        for number, condition in enumerate(conditions.from_rows(rows)):
            try:
                conditions.check(condition, newest.table)
            except ConditionError as error:
                if error.reason in {"no_date", "no_times"}:
                    problems[number] = conditions.explain_error(error)
        if problems:
            self.add_error("conditions", list(problems.values()))
            field: Any = self.fields["conditions"]
            field.widget.problems = problems

    def _offer_when(self) -> None:
        self.offer_times()
        fields: dict[str, Any] = self.fields
        names = {crontab: name for name, (crontab, _words) in EVERY.items()}
        fields["repeat"].choices = [*((name, words) for name, (_crontab, words) in EVERY.items()), *Repeat.choices]
        if self.instance._state.adding:
            self.initial.update(repeat="every_10", crontab="", is_enabled=False)
        elif self.instance.repeat == Repeat.CRONTAB:
            self.initial["repeat"] = names.get(self.instance.crontab, Repeat.CRONTAB)

    def _column_names(self) -> list[str]:
        """Return the columns of the last fetched data; empty if nothing was fetched."""
        tables = latest_tables({"": self.instance.card_id}) if self.instance.card_id else {}
        return list(tables[""].names) if tables else []


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
