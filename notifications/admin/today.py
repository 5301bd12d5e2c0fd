"""Today's timeline on the start page: what went out, what is under way, what is still to come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from integrations.admin.base import State, show_state
from notifications.admin import base
from notifications.models import Incident, Run, Subscription

LINES_AT_MOST = 20


@dataclass(frozen=True)
class TodayLine:
    """A push of today, or an open incident. `at`: when the push last went out, or will, or the incident was opened;
    `people`: number of recipients, None if not yet known; `is_to_come`: the push has not gone out today."""

    at: datetime
    name: str
    url: str
    state: SafeString
    people: int | None = None
    note: str = ""
    is_to_come: bool = False


def list_today(request: HttpRequest, now: datetime) -> list[TodayLine]:
    """List today's pushes and the open incidents that the person may see, in the order of their times. A push that goes
    out several times a day has one line, for its latest run. Makes three queries."""
    today = timezone.localtime(now).date()
    midnight = datetime.combine(today, time(), tzinfo=timezone.get_current_timezone())
    lines: list[TodayLine] = []
    if request.user.has_perm("notifications.view_run") and request.user.has_perm("notifications.view_subscription"):
        lines += _list_runs(request, midnight)
    if request.user.has_perm("notifications.view_subscription"):
        gone_out = {line.url for line in lines}
        enabled = Subscription.objects.visible_to(request.user).filter(is_enabled=True)
        due_today = enabled.filter(next_run_at__range=(now, midnight + timedelta(days=1)))
        for push in due_today.order_by("next_run_at")[:LINES_AT_MOST]:
            url = reverse("admin:notifications_subscription_change", args=[push.pk])
            if push.next_run_at is not None and url not in gone_out:
                lines.append(TodayLine(push.next_run_at, push.name, url, show_state(State.WAITING), is_to_come=True))
    if request.user.has_perm("notifications.view_incident"):
        incidents = Incident.objects.visible_to(request.user).open().select_related("acknowledged_by").order_by("-pk")
        for incident in incidents[:LINES_AT_MOST]:
            by = incident.acknowledged_by
            note = _("%(person)s has taken it.") % {"person": by} if by else _("Nobody has taken it.")
            url = reverse("admin:notifications_incident_change", args=[incident.pk])
            state = show_state(State.RUNNING, incident.get_status_display(), "bad")
            lines.append(TodayLine(incident.opened_at, incident.title, url, state, note=note))
    return sorted(lines, key=lambda line: line.at)[:LINES_AT_MOST]


def _list_runs(request: HttpRequest, midnight: datetime) -> Iterator[TodayLine]:
    """Yield the latest run of each push since `midnight`, without trials and resends."""
    whole = Run.objects.visible_to(request.user).filter(claimed_at__gte=midnight).exclude(trigger__in=Run.PARTIAL)
    pushes = Subscription.objects.visible_to(request.user)
    latest = whole.filter(subscription__in=pushes).order_by("subscription", "-pk").distinct("subscription")
    for run in latest.select_related("subscription")[:LINES_AT_MOST]:
        if run.subscription is None:
            continue
        next_at, note = run.subscription.next_run_at if run.subscription.is_enabled else None, run.error_text
        if not note and run.skipped_count:
            note = ngettext("%(count)s person skipped", "%(count)s people skipped", run.skipped_count)
            note %= {"count": f"{run.skipped_count:,}"}
        elif not note and next_at is not None:
            shown = f"{timezone.localtime(next_at):%m-%d %H:%M}".removeprefix(f"{midnight:%m-%d} ")
            note = _("Next: %(time)s") % {"time": shown}
        yield TodayLine(
            at=run.slot_at,
            name=run.subscription.name,
            url=reverse("admin:notifications_subscription_change", args=[run.subscription_id]),
            state=base.show_run_state(run),
            people=run.recipient_count if run.rendered_at else None,
            note=note,
        )
