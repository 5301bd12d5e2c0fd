"""Parts of the forms of pushes and alert rules: schedule, attribute rules, recipients and channel."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from functools import cache
from itertools import islice
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.directory.groups import DepartmentsField
from accounts.models import Attribute, User
from accounts.models.attributes import SEPARATORS, VALUE_CHARACTERS
from accounts.users.roles import find_visible_people
from integrations.core.admin_pages import AnyModelForm, VersionedForm
from integrations.models import Corp
from notifications.admin.base import is_key
from notifications.models import (
    AlertRule,
    Channel,
    FreeDays,
    MonthDay,
    Operator,
    Repeat,
    Robot,
    RulesMatch,
    Subscription,
)
from notifications.models.subscriptions import RULES_AT_MOST, VALUES_AT_MOST
from notifications.sources import Audience, Rule
from notifications.subscriptions import calendar
from notifications.subscriptions.recipients import INCOMPLETE, SET_ON_PERSON, Reachability, read_rules
from notifications.subscriptions.schedules import (
    TIME_FIELDS,
    ScheduleError,
    find_due_times,
    find_next_due,
    find_slots,
    read_zone,
)

# A change of one of these fields recomputes the next run.
SCHEDULE_FIELDS = frozenset({*TIME_FIELDS, "is_enabled"})
# Required fields of each kind of schedule, with the error if one is missing.
_NEEDED: dict[str, dict[str, Any]] = {
    Repeat.ONCE: {"on_date": _("Choose the day."), "local_time": _("Choose the time of day.")},
    Repeat.DAILY: {"local_time": _("Choose the time of day.")},
    Repeat.WEEKLY: {"weekdays": _("Choose at least one day of the week."), "local_time": _("Choose the time of day.")},
    Repeat.MONTHLY: {"month_day": _("Choose the day of the month."), "local_time": _("Choose the time of day.")},
    Repeat.CRONTAB: {"crontab": _("Write the five fields of the cron expression.")},
}
# The values of fields that the chosen kind of schedule does not use.
_UNUSED: dict[str, Any] = {"on_date": None, "local_time": None, "weekdays": "", "month_day": "", "crontab": ""}
USUAL_TIME = time(9)
WORKDAYS = "workdays"  # a daily schedule that leaves out days off
TIMES_SHOWN = 5


class LocalTimeField(forms.TimeField):
    """A time of day to the minute, such as 09:00. It is a text input, because the format of browsers' time inputs
    depends on their language."""

    widget = forms.TimeInput({"placeholder": "09:00", "size": 5, "maxlength": 8, "autocomplete": "off"}, format="%H:%M")
    default_error_messages = {"invalid": _("Write the time as 09:00 or 18:30.")}

    def to_python(self, value: Any) -> time | None:
        return super().to_python(value.replace("：", ":") if isinstance(value, str) else value)

    def clean(self, value: Any) -> time | None:
        cleaned: time | None = super().clean(value)
        return None if cleaned is None else cleaned.replace(second=0, microsecond=0)


class WeekdaysField(forms.MultipleChoiceField):
    """Weekdays as checkboxes. The value is a string of comma-separated numbers, 1 to 7."""

    widget = forms.CheckboxSelectMultiple

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=[(str(n), name) for n, name in enumerate(calendar.WEEKDAYS, start=1)], **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return value.split(",") if isinstance(value, str) else value

    def clean(self, value: Any) -> str:
        return ",".join(sorted(set(super().clean(value))))

    def has_changed(self, initial: Any, data: Any) -> bool:
        return set(self.prepare_value(initial or "")) - {""} != set(data or ())


def get_site_zone() -> str:
    """Return the time zone of the site, the default for new schedules."""
    return settings.TIME_ZONE


class ScheduleFormPart(AnyModelForm):
    """Fields of a schedule. Forms with it list TIME_FIELDS in Meta and call `offer_times` and `check_schedule`."""

    time_zone = forms.ChoiceField(label=capfirst(_("time zone")), initial=get_site_zone)
    on_date = forms.DateField(
        label=capfirst(_("on the day")),
        required=False,
        widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d"),
    )
    local_time = LocalTimeField(label=capfirst(_("at")), required=False)
    weekdays = WeekdaysField(label=capfirst(_("days of the week")), required=False)
    month_day = forms.ChoiceField(
        label=capfirst(_("day of the month")),
        required=False,
        help_text=_("In a month without this day, its last day counts."),
    )

    def offer_times(self) -> None:
        """Set the choices of time zones and days of the month, usual ones first."""
        fields: dict[str, Any] = self.fields
        first = dict.fromkeys((get_site_zone(), *calendar.ZONES))
        fields["time_zone"].choices = [
            (name, calendar.find_zone_name(name)) for name in (*first, *sorted(list_zones() - set(first)))
        ]
        fields["repeat"].choices = [*Repeat.choices[:2], (WORKDAYS, _("every working day")), *Repeat.choices[2:]]
        if (self.instance.repeat, self.instance.free_days) == (Repeat.DAILY, FreeDays.SKIP):
            self.initial["repeat"] = WORKDAYS
        # Named days come first, for people who know no crontab.
        numbers = [(str(number), calendar.describe_month_day(str(number))) for number in range(1, 32)]
        fields["month_day"].choices = [("", _("not chosen")), *MonthDay.choices, *numbers]
        for name in ("valid_from", "valid_to"):
            fields[name].help_text = _("In the site's time zone, %(zone)s.") % {
                "zone": calendar.find_zone_name(get_site_zone())
            }

    def clean_crontab(self) -> str:
        return " ".join(str(self.cleaned_data["crontab"]).split())

    def check_schedule(self, cleaned: dict[str, Any], *, now: datetime) -> None:
        """Add errors for a schedule that is impossible or has no future time. Clears fields in `cleaned` that the
        chosen kind of schedule does not use."""
        self._read_workdays(cleaned)
        needed = _NEEDED.get(cleaned.get("repeat", ""), {})
        cleaned.update({name: value for name, value in _UNUSED.items() if name in cleaned and name not in needed})
        for name, sentence in needed.items():
            if name in cleaned and not cleaned[name]:
                self.add_error(name, ValidationError(sentence, code="required"))
        if cleaned.get("repeat") == Repeat.CRONTAB and cleaned.get("free_days") == FreeDays.NEXT:
            self.add_error("free_days", _("A cron expression cannot be moved: choose “skip”, or another way."))
        start, end = cleaned.get("valid_from"), cleaned.get("valid_to")
        if start and end and end <= start:
            self.add_error("valid_to", _("The end must be later than the start."))
        if not SCHEDULE_FIELDS.isdisjoint(self.errors):
            return
        schedule = self._read_schedule(cleaned)
        # An enabled schedule must have a future time. One that has run out may still be renamed.
        is_rescheduled = self.instance._state.adding or not SCHEDULE_FIELDS.isdisjoint(self.changed_data)
        needs_time = is_rescheduled and self.cleaned_data.get("is_enabled")
        try:
            is_possible = next(find_slots(schedule, now), None) is not None
        except ScheduleError as error:
            self.add_error("crontab", str(error))
            return
        if not is_possible and schedule.repeat != Repeat.ONCE:
            self.add_error("free_days", _("None of its days is a working day: nothing would be sent."))
        elif not is_possible and needs_time:
            self.add_error("on_date", _("This time is over, or no working day: choose another day."))
        elif needs_time and find_next_due(schedule, now) is None:
            self.add_error("valid_to", _("No time of the schedule lies within this validity: nothing would be sent."))

    def _read_workdays(self, cleaned: dict[str, Any]) -> None:
        """Replace the choice "every working day" by its daily schedule. If it was replaced, send on days off, too,
        unless the person chose something else for them."""
        if cleaned.get("repeat") == WORKDAYS:
            cleaned |= {"repeat": Repeat.DAILY, "free_days": FreeDays.SKIP}
        elif self.initial.get("repeat") == WORKDAYS and "free_days" not in self.changed_data:
            cleaned["free_days"] = FreeDays.SEND

    def _read_schedule(self, cleaned: dict[str, Any]) -> Subscription:
        """Return an unsaved subscription with the schedule of the cleaned form."""
        known = {name: cleaned[name] for name in TIME_FIELDS if cleaned.get(name) is not None}
        return Subscription(pk=self.instance.pk, **known)

    def find_times(self, now: datetime, *, is_check: bool = False) -> dict[str, Any]:
        """Return the next times of the cleaned form, or the errors of its schedule. Empty required fields are no error
        yet."""
        errors = self.errors.as_data()
        wrong = [one for name in sorted(SCHEDULE_FIELDS) for one in errors.get(name, ()) if one.code != "required"]
        if wrong:
            return {"schedule_error": " ".join(text for error in wrong for text in error.messages)}
        if not SCHEDULE_FIELDS.isdisjoint(errors):
            return {}
        return find_times(self._read_schedule(self.cleaned_data), now, is_check=is_check)


# The time zones known to the system. Cached, because the lookup takes milliseconds.
list_zones = cache(available_timezones)


def find_times(row: Subscription | AlertRule, now: datetime, *, is_check: bool = False) -> dict[str, Any]:
    """Return the template context of the next times of a push or rule, or the error of its schedule. `is_check`: the
    times are checks of a rule, which need no note on crowded times."""
    try:
        zone = read_zone(row.time_zone)
        found = list(islice(find_due_times(row, now), TIMES_SHOWN))
    except ScheduleError as error:
        return {"schedule_error": str(error)}
    notes = calendar.write_calendar_notes(row, found)
    is_crowded = any(one.slot_at.minute in calendar.CROWDED_MINUTES and not one.spread_seconds for one in found)
    if is_crowded and not is_check:
        notes.append(
            gettext("WeCom asks not to send exactly on the hour or the half hour: a spread of 120 seconds avoids that.")
        )
    next_times, is_saved = [], row.pk is not None
    for one in found:
        due, start = one.due_at.astimezone(zone), one.slot_at.astimezone(zone)
        text = f"{due:%Y-%m-%d %H:%M}"
        if one.spread_seconds and is_saved:
            text = f"{due:%Y-%m-%d %H:%M:%S}"
        elif one.spread_seconds:  # the spread depends on the row's key, so an unsaved row shows the range
            due, end = start, (one.slot_at + timedelta(seconds=one.spread_seconds)).astimezone(zone)
            text = f"{start:%Y-%m-%d %H:%M:%S}–{end:%H:%M:%S}"
        next_times.append(f"{text} {calendar.WEEKDAYS[due.weekday()]}")
    return {
        "time_zone": calendar.find_zone_name(row.time_zone),
        "next_times": next_times,
        "schedule_notes": notes,
    }


class RowsWidget(forms.Widget):
    """A widget of numbered rows. `parts`: names of the inputs of a row. `rows_at_most`: further rows are ignored."""

    parts: tuple[str, ...]
    rows_at_most: int

    def read_row(self, values: list[str]) -> Any:
        """Return the row of these inputs; None if it is empty."""
        raise NotImplementedError

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[Any]:
        rows = (
            self.read_row([str(data.get(f"{name}-{number}-{part}", "")) for part in self.parts])
            for number in range(self.rows_at_most)
        )
        return [row for row in rows if row is not None]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return not any(f"{name}-{number}-{self.parts[0]}" in data for number in range(self.rows_at_most))

    def id_for_label(self, id_: str) -> str:
        return f"{id_}-0-{self.parts[0]}" if id_ else id_


# Empty rows after the filled ones. A button (rows.js) or saving adds more.
EMPTY_ROWS = 2
# A submitted row: the attribute's key, the comparison, the values in one text.
Row = tuple[str, str, str]


class RulesWidget(RowsWidget):
    template_name = "notifications/widgets/attribute_rules.html"
    parts = ("attribute", "operator", "values")
    rows_at_most = RULES_AT_MOST

    def read_row(self, values: list[str]) -> Row | None:
        attribute, operator, text = values
        return (attribute, operator, text) if attribute or text.strip() else None

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, attrs)
        rows: list[Row] = list(value or [])
        rows += [("", "", "")] * min(EMPTY_ROWS, RULES_AT_MOST - len(rows))
        attributes = [(str(one.pk), one.name) for one in Attribute.objects.by_name()]
        offered = {"attributes": attributes, "operators": Operator.choices, "rows_at_most": RULES_AT_MOST}
        context["widget"] |= {"rows": rows, **offered}
        return context


class RulesField(forms.Field):
    """Cleans to a list of Rule."""

    widget = RulesWidget

    @property
    def queryset(self) -> QuerySet[Attribute]:
        """The attributes to choose from."""
        return Attribute.objects.by_name()

    def prepare_value(self, value: Any) -> list[Row]:
        return [
            (str(one.attribute.pk), one.operator.value, "; ".join(one.values)) if isinstance(one, Rule) else one
            for one in value or []
        ]

    def clean(self, value: Any) -> list[Rule]:
        rows: list[Row] = list(value or [])
        attributes = Attribute.objects.in_bulk([int(row[0]) for row in rows if is_key(row[0])])
        rules, problems = [], []
        for number, row in enumerate(rows, start=1):
            try:
                rules.append(_clean_rule(row, attributes))
            except ValidationError as error:
                problems += [_("Rule %(number)d: %(problem)s") % {"number": number, "problem": it} for it in error]
        if problems:
            raise ValidationError(problems)
        return list(dict.fromkeys(rules))

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare the rows as written. The rules themselves are compared on saving."""
        return self.prepare_value(initial) != list(data or [])


def _clean_rule(row: Row, attributes: dict[int, Attribute]) -> Rule:
    key, comparison, text = row
    attribute = attributes.get(int(key)) if is_key(key) else None
    if attribute is None:
        raise ValidationError(_("choose the attribute."))
    if comparison not in Operator:
        raise ValidationError(_("choose the comparison."))
    operator = Operator(comparison)
    parts = [part.strip() for part in SEPARATORS.split(text)] if operator == Operator.ONE_OF else [text.strip()]
    values = tuple(dict.fromkeys(_clean_value(attribute, operator, part) for part in parts if part))
    if not values:
        raise ValidationError(_("enter a value."))
    if len(values) > VALUES_AT_MOST:
        raise ValidationError(_("at most %(count)d values.") % {"count": VALUES_AT_MOST})
    return Rule(attribute, operator, values)


def _clean_value(attribute: Attribute, operator: Operator, value: str) -> str:
    """Clean a value as people's values are cleaned. A part of a text is only checked for length and characters."""
    if operator != Operator.CONTAINS or attribute.is_many_valued:
        return next(iter(attribute.clean_values([value])))
    if attribute.kind != Attribute.Kind.TEXT:
        raise ValidationError(_("“contains” is for texts and for attributes with several values."))
    if len(value) > VALUE_CHARACTERS or not value.isprintable():
        raise ValidationError(_("“%(value)s” cannot be part of a value.") % {"value": value[:64]})
    return value


RECIPIENT_FIELDS = (
    *("to_everyone", "users", "groups", "departments", "with_subdepartments", "rules_match"),
    *("channel", "robot", "fallback_channel"),
)
FIELD_CLASSES = {"departments": DepartmentsField}


class RecipientsFormPart(VersionedForm):
    """Fields of recipients and channel. `person`: the signed-in administrator, set by the admin. `found`: the
    reachability of the recipients, set by cleaning. Forms with it use RECIPIENT_FIELDS and FIELD_CLASSES in Meta."""

    person: User
    found: Reachability | None = None
    rules = RulesField(
        label=_("attribute rules"),
        required=False,
        help_text=_(
            "Everybody who matches when a run begins. “is one of” takes several values, separated by semicolons. "
            "“contains” looks for a part of a text, or for one of several values. Case does not matter."
        ),
    )

    def read_values(self, row: Any) -> dict[str, Any]:
        return {**super().read_values(row), "rules": RulesField().prepare_value(read_rules(row))}

    def offer_recipients(self) -> None:
        """Limit the choices to what the person sees. Saved choices stay even if the person does not see them."""
        fields: dict[str, Any] = self.fields
        fields["robot"].queryset = Robot.objects.visible_to(self.person)
        fields["rules_match"].required = False  # if it is not submitted, the stored value stays
        if self.instance.pk is not None:
            self.initial["rules"] = list(read_rules(self.instance))
        offer_people(fields, self.instance, self.person)

    def check_channel(self, cleaned: dict[str, Any]) -> None:
        """Require a robot for the channel "robot", and clear fields that do not apply to the channel."""
        if cleaned.get("channel") != Channel.ROBOT:
            cleaned["robot"] = None
        elif cleaned.get("robot") is None and "robot" not in self.errors:
            self.add_error("robot", _("Choose the robot of the group."))
        if cleaned.get("channel") != Channel.WECOM:
            cleaned["fallback_channel"] = ""


def offer_people(fields: dict[str, Any], row: Any, person: User) -> None:
    """Offer the people and departments that `person` sees, and those already chosen in `row`."""
    is_known = row.pk is not None  # an unsaved row cannot be asked for its relations
    users = row.users.values_list("pk", flat=True) if is_known else []
    departments = list(row.departments.values_list("pk", flat=True)) if is_known else []
    fields["users"].queryset = find_visible_people(person) | User.objects.filter(pk__in=users)
    fields["departments"].offer_departments(seen_by=person, chosen=departments)


def build_audience(cleaned: dict[str, Any], *, corp: Corp | None) -> Audience:
    """Return the audience of a cleaned form. `corp`: limits it to one company."""
    return Audience(
        user_ids=[person.pk for person in cleaned.get("users", ())],
        group_ids=[group.pk for group in cleaned.get("groups", ())],
        to_everyone=bool(cleaned.get("to_everyone")),
        corp_id=None if corp is None else corp.pk,
        department_ids=[department.pk for department in cleaned.get("departments", ())],
        with_subdepartments=bool(cleaned.get("with_subdepartments")),
        rules=tuple(cleaned.get("rules", ())),
        rules_match=cleaned.get("rules_match") or RulesMatch.ALL,
        channel=cleaned.get("channel") or Channel.WECOM,
        fallback_channel=cleaned.get("fallback_channel", ""),
        robot_id=cleaned["robot"].pk if cleaned.get("robot") else None,
    )


def explain_refusal(found: Reachability) -> list[str]:
    """Explain why nobody would receive anything: a first sentence, and one for each person named."""
    if not found.unreachable_count:
        sentence = _(
            "Nobody would receive this. Choose people, groups, departments or attribute rules, or everyone linked to "
            "WeCom."
        )
        return [str(sentence), *note_departments(found)]
    count = found.unreachable_count
    first = ngettext(
        "Nobody would receive this: the %(count)d chosen person cannot be reached.",
        "Nobody would receive this: none of the %(count)d chosen people can be reached.",
        count,
    )
    return [first % {"count": count}, *list_unreachable(found), *note_departments(found)]


def list_unreachable(found: Reachability, *, may_open: bool = False) -> list[str]:
    """Return a line with the reason for each person named in `found`, the number of others, and where to fix it.
    `may_open`: link the names to the pages of the people."""
    lines = []
    for name, recipient in found.unreachable:
        line = str(_("%(name)s: %(reason)s")) % {"name": name, "reason": recipient.reason_text}
        url = reverse("admin:accounts_user_change", args=[recipient.user_id])
        is_link = may_open and recipient.reason in SET_ON_PERSON
        link = '<a href="{}" target="_blank" rel="opener">{}</a>'
        lines.append(format_html(link, url, line) if is_link else line)
    more = found.unreachable_count - len(found.unreachable)
    if more:
        lines.append(ngettext("and %(count)d more", "and %(count)d more", more) % {"count": more})
    if not INCOMPLETE.isdisjoint(found.reasons):
        lines.append(str(_("WeCom company name and WeCom account are set on the person's page, under People.")))
    return lines


def note_departments(found: Reachability) -> list[str]:
    """Return notes on the chosen departments: members without a user here, and removed departments."""
    sentences = []
    if found.unlinked_count:
        sentence = ngettext(
            "%(count)d member of the chosen departments is not linked with anybody here and receives nothing.",
            "%(count)d members of the chosen departments are not linked with anybody here and receive nothing.",
            found.unlinked_count,
        )
        sentences.append(sentence % {"count": found.unlinked_count})
    if found.removed:
        sentence = str(_("Not there any more in WeCom, and reaching nobody: %(departments)s."))
        sentences.append(sentence % {"departments": str(_(", ")).join(found.removed)})
    return sentences
