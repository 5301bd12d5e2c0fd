"""What a subscription will do: its next times, the people it reaches, how the message looks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from integrations.visibility import Person
from notifications import schedule
from notifications.freezing import RenderingError
from notifications.models import MessageForm, Subscription
from notifications.previews import Preview, preview
from notifications.recipients import Reachability, audience_of_subscription, reachability, resolve, trial_audience
from notifications.schedule import ScheduleError

if TYPE_CHECKING:
    from accounts.models import User
    from notifications.forms import SubscriptionForm

TIMES_SHOWN = 5


@dataclass(frozen=True)
class Outlook:
    """What is not known yet, or cannot be, is empty; then an error says why, where there is one."""

    time_zone: str = ""
    next_times: list[str] = field(default_factory=list)
    schedule_error: str = ""
    found: Reachability | None = None
    preview: Preview | None = None
    preview_error: str = ""


def of_subscription(subscription: Subscription, *, seen_by: Person, now: datetime) -> Outlook:
    times, schedule_error = _times(subscription, now)
    look, preview_error = _look(subscription)
    found = reachability(audience_of_subscription(subscription), seen_by=seen_by)
    return Outlook(subscription.time_zone, times, schedule_error, found, look, preview_error)


def of_form(form: SubscriptionForm, *, now: datetime) -> Outlook:
    """The outlook of a form that was cleaned, with or without errors."""
    cleaned: dict[str, Any] = form.cleaned_data
    subscription = Subscription(
        **{name: cleaned.get(name) for name in ("valid_from", "valid_to")},
        crontab=cleaned.get("crontab", ""),
        time_zone=cleaned.get("time_zone", "UTC"),
        message_form=cleaned.get("message_form", MessageForm.TEXTCARD),
        report=cleaned.get("report"),
    )
    errors = " ".join(_complaints(form, "crontab", "time_zone", "valid_to"))
    times, schedule_error = ([], errors) if errors or not subscription.crontab else _times(subscription, now)
    look, preview_error = _look(subscription) if subscription.report_id else (None, "")
    return Outlook(subscription.time_zone, times, schedule_error, form.found, look, preview_error)


def _complaints(form: SubscriptionForm, *names: str) -> list[str]:
    """What is wrong with these fields; that one is still empty is not."""
    errors = form.errors.as_data()
    return [
        message
        for name in names
        for error in errors.get(name, [])
        if error.code != "required"
        for message in error.messages
    ]


def own_reason(person: User, subscription: Subscription) -> str:
    """Why `person` cannot be sent the subscription's message."""
    [recipient] = resolve(trial_audience(subscription, person.pk))
    return "" if recipient.reason is None else str(recipient.reason.label)


def _times(subscription: Subscription, now: datetime) -> tuple[list[str], str]:
    try:
        zone = schedule.zone(subscription.time_zone)
        found = list(islice(schedule.valid_slots(subscription, now), TIMES_SHOWN))
    except ScheduleError as error:
        return [], str(error)
    return [_with_weekday(moment.astimezone(zone)) for moment in found], ""


def _with_weekday(local: datetime) -> str:
    days = (_("Mon"), _("Tue"), _("Wed"), _("Thu"), _("Fri"), _("Sat"), _("Sun"))
    return f"{local:%Y-%m-%d %H:%M} {days[local.weekday()]}"


def _look(subscription: Subscription) -> tuple[Preview | None, str]:
    try:
        return preview(subscription.report, MessageForm(subscription.message_form)), ""
    except RenderingError as error:
        return None, str(error)
