"""Schedule fields of a form: presets, or a crontab."""

from __future__ import annotations

from datetime import datetime, time
from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from integrations.core.generics import AnyModelForm
from notifications.models import FreeDays, MonthDay, Repeat, Subscription
from notifications.subscriptions.schedules import slots
from notifications.subscriptions.schedules.descriptions import WEEKDAYS, ZONES, month_day_label, zone_label
from notifications.subscriptions.schedules.slots import ScheduleError

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

# A change of one of these sets the next run anew.
SCHEDULE_FIELDS = frozenset({*slots.TIME_FIELDS, "is_enabled"})
# What each way of writing a schedule needs, with what is said where it is missing.
_NEEDED: dict[str, dict[str, StrOrPromise]] = {
    Repeat.DAILY: {"local_time": _("Choose the time of day.")},
    Repeat.WEEKLY: {
        "weekdays": _("Choose at least one day of the week."),
        "local_time": _("Choose the time of day."),
    },
    Repeat.MONTHLY: {
        "month_day": _("Choose the day of the month."),
        "local_time": _("Choose the time of day."),
    },
    Repeat.CRONTAB: {"crontab": _("Write the five fields of the crontab.")},
}
_EMPTY: dict[str, Any] = {"local_time": None, "weekdays": "", "month_day": "", "crontab": ""}
USUAL_TIME = time(9)


class LocalTimeField(forms.TimeField):
    """A time of day, to the minute, such as 09:00. A browser's own input writes it as the browser's language does."""

    widget = forms.TimeInput({"placeholder": "09:00", "size": 5, "maxlength": 8, "autocomplete": "off"}, format="%H:%M")
    default_error_messages = {"invalid": _("Write the time as 09:00 or 18:30.")}

    def to_python(self, value: Any) -> time | None:
        return super().to_python(value.replace("：", ":") if isinstance(value, str) else value)

    def clean(self, value: Any) -> time | None:
        cleaned: time | None = super().clean(value)
        return None if cleaned is None else cleaned.replace(second=0, microsecond=0)


class WeekdaysField(forms.MultipleChoiceField):
    """Days of the week as boxes; in the row their numbers with commas."""

    widget = forms.CheckboxSelectMultiple

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=[(str(n), name) for n, name in enumerate(WEEKDAYS, start=1)], **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return value.split(",") if isinstance(value, str) else value

    def clean(self, value: Any) -> str:
        return ",".join(sorted(set(super().clean(value))))

    def has_changed(self, initial: Any, data: Any) -> bool:
        return set(self.prepare_value(initial or "")) - {""} != set(data or ())


def site_zone() -> str:
    """Where those who write schedules are: a new one begins with it."""
    return settings.TIME_ZONE


class ScheduleFormPart(AnyModelForm):
    """A form that has this part names TIME_FIELDS in its Meta, and calls `offer_times` and `check`."""

    time_zone = forms.ChoiceField(label=capfirst(_("time zone")), initial=site_zone)
    local_time = LocalTimeField(label=capfirst(_("at")), required=False)
    weekdays = WeekdaysField(label=capfirst(_("days of the week")), required=False)
    month_day = forms.ChoiceField(
        label=capfirst(_("day of the month")),
        required=False,
        help_text=_("A month that has no such day has its last day instead."),
    )

    def offer_times(self) -> None:
        fields: dict[str, Any] = self.fields
        fields["time_zone"].choices = time_zone_choices()
        fields["month_day"].choices = month_day_choices()
        for name in ("valid_from", "valid_to"):
            fields[name].help_text = _("In the site's time zone, %(zone)s.") % {"zone": zone_label(site_zone())}

    def clean_crontab(self) -> str:
        return " ".join(str(self.cleaned_data["crontab"]).split())


def time_zone_choices() -> list[tuple[str, StrOrPromise]]:
    """The site's first, then usual ones, then all others by name."""
    first = dict.fromkeys((site_zone(), *ZONES))
    others = sorted(all_zones() - set(first))
    return [(name, zone_label(name)) for name in (*first, *others)]


@cache
def all_zones() -> frozenset[str]:
    """Those that this system knows; to look takes milliseconds, so a process looks once."""
    return frozenset(available_timezones())


def month_day_choices() -> list[tuple[str, Any]]:
    """The named days first: they are what people look for who know no crontab."""
    numbers = [(str(number), month_day_label(str(number))) for number in range(1, 32)]
    return [("", "---------"), *MonthDay.choices, *numbers]


def tidy(cleaned: dict[str, Any]) -> None:
    """What another way of writing the schedule needed is emptied."""
    needed = _NEEDED.get(cleaned.get("repeat", ""), {})
    cleaned.update({name: value for name, value in _EMPTY.items() if name in cleaned and name not in needed})


def candidate(cleaned: dict[str, Any], pk: int | None) -> Subscription:
    """A subscription, not saved, with the schedule of a form's values."""
    known = {name: cleaned[name] for name in slots.TIME_FIELDS if cleaned.get(name) is not None}
    return Subscription(pk=pk, **known)


def check(form: forms.ModelForm[Any], cleaned: dict[str, Any], *, now: datetime) -> None:
    """Write errors to the form for a schedule that cannot be, or that has no time to come. `cleaned` is tidied."""
    tidy(cleaned)
    for name, sentence in _NEEDED.get(cleaned.get("repeat", ""), {}).items():
        if name in cleaned and not cleaned[name]:
            form.add_error(name, ValidationError(sentence, code="required"))
    if cleaned.get("repeat") == Repeat.CRONTAB and cleaned.get("free_days") == FreeDays.NEXT:
        form.add_error("free_days", _("Times of a crontab cannot be moved: leave them out, or choose another way."))
    start, end = cleaned.get("valid_from"), cleaned.get("valid_to")
    if start and end and end <= start:
        form.add_error("valid_to", _("The end must be later than the start."))
    if SCHEDULE_FIELDS.isdisjoint(form.errors):
        _check_times(form, candidate(cleaned, form.instance.pk), now)


def _check_times(form: forms.ModelForm[Any], found: Subscription, now: datetime) -> None:
    try:
        first = next(slots.slots(found, now), None)
    except ScheduleError as error:
        form.add_error("crontab", str(error))
        return
    if first is None:
        form.add_error("free_days", _("None of its days is a working day: nothing would be sent."))
        return
    # An enabled one has a time to come; one that has run out may still be given another name.
    is_scheduled_anew = form.instance._state.adding or not SCHEDULE_FIELDS.isdisjoint(form.changed_data)
    if is_scheduled_anew and form.cleaned_data.get("is_enabled") and slots.next_due(found, now) is None:
        form.add_error("valid_to", _("No time of the schedule lies within this validity: nothing would be sent."))
