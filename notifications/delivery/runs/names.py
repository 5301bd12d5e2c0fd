"""Names runs as people know them: by their push, by their alert and what happened, by the message and where it came
from, or as a notice to the owner."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from django.db.models import Count, Min, Model, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from notifications.models import Incident, IncidentNotice, Run

Notice = Incident.Notice
R = TypeVar("R", bound=Model)
# What a message says is long, a whole mail longer, and secrets are opened when they are read.
_HEAVY = ("text", "original", "page", "callback_url", "token__signing_secret", "channel__secret", "channel__mapping")


def nameable(rows: QuerySet[R], *, path: str = "") -> QuerySet[R]:
    """The rows with what the names of their runs are made of. `path`: from a row to its run, as "run__"."""
    shown = ("subscription", "requested_by", "message__token", "message__channel")
    named = rows.select_related(*(f"{path}{name}" for name in shown))
    return named.defer(*(f"{path}message__{name}" for name in _HEAVY))


def of_runs(runs: Collection[Run]) -> dict[int, str]:
    """By run its name in the reader's language. Two queries where there are alerts among them, else none, for runs
    that are `nameable`."""
    alerts = _of_alerts([run.pk for run in runs if run.trigger == Run.Trigger.ALERT])
    return {run.pk: alerts.get(run.pk) or _without_alert(run) for run in runs}


def of_run(run: Run) -> str:
    """As `of_runs`, for one."""
    return of_runs([run])[run.pk]


def _without_alert(run: Run) -> str:
    if run.trigger == Run.Trigger.ALERT:
        return _("Alert that was deleted")
    if run.trigger == Run.Trigger.NOTICE:
        if run.requested_by is None:
            return _("Notice to the owner")
        return _("Notice to the owner: %(person)s") % {"person": run.requested_by}
    if run.message is not None:
        words = {"title": run.message.title, "origin": run.message.origin_name, "number": _file_number(run)}
        if words["number"]:
            return (
                pgettext("a file of a message, and where it came from", "%(title)s (file %(number)s) · %(origin)s")
                % words
            )
        return pgettext("a message and where it came from", "%(title)s · %(origin)s") % words
    return _("Push that was deleted") if run.subscription is None else run.subscription.name


def _file_number(run: Run) -> str:
    """Of a file that came with a message (notifications.inbound.accept); empty for the message itself."""
    kind, *numbers = run.key.split(":")
    return numbers[1] if kind == Run.Trigger.MESSAGE and len(numbers) > 1 else ""


def _of_alerts(run_ids: list[int]) -> dict[int, str]:
    """An alert by its title, a storm by its rule or channel with the number of alerts; what happened behind it."""
    if not run_ids:
        return {}
    rows = IncidentNotice.objects.filter(run__in=run_ids).order_by().values_list("run", "kind")
    told = list(rows.annotate(lead=Min("incident"), count=Count("pk")))
    incidents = Incident.objects.select_related("channel", "rule").in_bulk({lead for _run, _kind, lead, _count in told})
    return {
        run_id: pgettext("an alert and what happened", "%(title)s · %(what)s")
        % {"title": _title(incidents[lead], count), "what": _happened(kind)}
        for run_id, kind, lead, count in told
        if lead in incidents
    }


def _title(lead: Incident, count: int) -> str:
    if count == 1:
        return lead.title
    words = ngettext("%(name)s: %(count)d alert", "%(name)s: %(count)d alerts", count)
    return words % {"name": lead.source or lead.title, "count": count}


def _happened(kind: str) -> str:
    return {
        Notice.FIRE.value: pgettext("what an alert tells", "triggered"),
        Notice.REPEAT.value: pgettext("what an alert tells", "reminder"),
        Notice.RECOVER.value: pgettext("what an alert tells", "recovered"),
    }[kind]
