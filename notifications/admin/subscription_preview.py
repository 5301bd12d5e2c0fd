"""Previews a subscription: next times, recipients, message."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, TypedDict

from integrations.core.sentences import Sentence
from integrations.models.fields import Person
from notifications.admin import subscription_forms
from notifications.admin.subscription_forms import SCHEDULE_FIELDS
from notifications.delivery.rendering.previews import Preview, preview_of
from notifications.delivery.rendering.report_contents import Contents, expected_contents, order_of, read_saved_parts
from notifications.models import MessageForm, Subscription
from notifications.sources import Content, RenderingError
from notifications.subscriptions.recipients import Reachability, named_audience, reachability
from notifications.subscriptions.schedules import descriptions, slots
from notifications.subscriptions.schedules.slots import ScheduleError

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    from notifications.admin.subscription_forms import SubscriptionForm

TIMES_SHOWN = 5


class _Times(TypedDict):
    next_times: list[str]
    schedule_error: str
    schedule_notes: list[str]


@dataclass(frozen=True)
class SubscriptionPreview:
    """What is not known yet, or cannot be, is empty; then an error says why, where there is one."""

    time_zone: StrOrPromise = ""  # as people call it
    next_times: list[str] = field(default_factory=list)
    schedule_error: str = ""
    schedule_notes: list[str] = field(default_factory=list)
    found: Reachability | None = None
    preview: Preview | None = None
    preview_error: str = ""


def of_subscription(subscription: Subscription, *, seen_by: Person, now: datetime) -> SubscriptionPreview:
    message, preview_error = _message_preview(subscription, now)
    return SubscriptionPreview(
        time_zone=descriptions.zone_label(subscription.time_zone),
        **_times(subscription, now),
        found=reachability(
            named_audience(subscription), seen_by=seen_by, expected=expected_contents(subscription, now)
        ),
        preview=message,
        preview_error=preview_error,
    )


def of_form(
    form: SubscriptionForm, *, now: datetime, with_message: bool = True, is_check: bool = False
) -> SubscriptionPreview:
    """The preview of a form that was cleaned, with or without errors. `is_check`: of a rule, which only looks at these
    times: crowded ones are no matter."""
    cleaned: dict[str, Any] = form.cleaned_data
    subscription = subscription_forms.candidate(cleaned, form.instance.pk)
    subscription.message_form = cleaned.get("message_form", MessageForm.TEXTCARD)
    message, preview_error = None, ""
    if with_message and (report := cleaned.get("report")):
        subscription.report = report
        message, preview_error = _message_preview(subscription, now)
    return SubscriptionPreview(
        time_zone=descriptions.zone_label(subscription.time_zone),
        **_times_of_form(form, subscription, now, is_check=is_check),
        found=form.found,
        preview=message,
        preview_error=preview_error,
    )


def _times_of_form(form: SubscriptionForm, subscription: Subscription, now: datetime, *, is_check: bool) -> _Times:
    complaints = _complaints(form, *sorted(SCHEDULE_FIELDS))
    if complaints:
        return {"next_times": [], "schedule_error": " ".join(complaints), "schedule_notes": []}
    if not SCHEDULE_FIELDS.isdisjoint(form.errors):  # something is still empty
        return {"next_times": [], "schedule_error": "", "schedule_notes": []}
    return _times(subscription, now, is_check=is_check)


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


def _times(subscription: Subscription, now: datetime, *, is_check: bool = False) -> _Times:
    try:
        zone = slots.zone(subscription.time_zone)
        found = list(islice(slots.due_times(subscription, now), TIMES_SHOWN))
    except ScheduleError as error:
        return {"next_times": [], "schedule_error": str(error), "schedule_notes": []}
    is_saved = subscription.pk is not None
    return {
        "next_times": [descriptions.time_line(each, zone, is_saved=is_saved) for each in found],
        "schedule_error": "",
        "schedule_notes": (descriptions.calendar_notes if is_check else descriptions.notes)(subscription, found),
    }


def _message_preview(subscription: Subscription, now: datetime) -> tuple[Preview | None, str]:
    form = MessageForm(subscription.message_form)
    try:
        return preview_of(_content(subscription, now), form, subscription.report.corp), ""
    except (RenderingError, ScheduleError) as error:
        return None, str(error)


def _content(subscription: Subscription, now: datetime) -> Content:
    """Over the data that was fetched last: nothing is fetched for this page. Raises RenderingError.

    Own rows are not shown: whoever may see a subscription need not see everybody's.
    """
    parts = read_saved_parts(subscription.report)
    if parts.own_rows:
        raise RenderingError(Sentence("Each person gets rows of their own. The report's page shows it as any person."))
    tables = parts.find_latest_tables()
    if len(tables) < len(parts.cards):
        raise RenderingError(Sentence("No data was fetched yet. The report's page shows it over real data."))
    slots.zone(subscription.time_zone)
    return Contents(parts, tables, order_of(subscription, now)).of(None)
