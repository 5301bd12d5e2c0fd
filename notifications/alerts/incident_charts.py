"""Charts of the data that opened an incident: requested by the check, drawn by the chart workers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from notifications.alerts import charts, condition_parsing, recipients
from notifications.charts import theme
from notifications.delivery.attachments import jobs, recipes
from notifications.models import Medium

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.db.models import QuerySet

    from accounts.models import User
    from integrations.clients.sources.table import Table
    from notifications.alerts.conditions import Verdict
    from notifications.models import AlertRule, Incident

# A check of a rule that is split may open a thousand incidents at once.
REQUESTED_AT_MOST = 20


@dataclass(frozen=True)
class Fired:
    """An incident that a check opened: what the conditions say of its part of the data, and that part."""

    incident: Incident
    verdict: Verdict
    table: Table


@dataclass(frozen=True)
class Shown:
    """A picture as a page shows it. `words`: what stands in its place while there is none."""

    medium: Medium
    words: str = ""


def request_charts(rule: AlertRule, fired: Sequence[Fired], *, now: datetime) -> int:
    """Have the first REQUESTED_AT_MOST drawn, a first of each incident before a second of any. Returns how many.

    Costs time for large tables: outside a transaction.
    """
    requested = [
        Medium(
            incident=incident,
            kind=Medium.Kind.PICTURE,
            recipe=recipe,
            digest=recipes.digest(Medium.Kind.PICTURE, recipe),
            created_at=now,
            make_after=now,
        )
        for incident, recipe in islice(_recipes(rule, fired), REQUESTED_AT_MOST)
    ]
    # Conflicts: a condition that stands in the rule twice.
    return len(Medium.objects.bulk_create(requested, ignore_conflicts=True))


def shown(incident: Incident, *, person: User, now: datetime) -> list[Shown]:
    """Nothing where there is none, or the person may not see the data. The permission to see the incident itself is
    the caller's to ask."""
    media = list(_media(incident).defer("recipe", "content", "svg"))
    if not media or not recipients.may_see_data(incident, person):
        return []
    return [Shown(medium, _words(medium, now)) for medium in media]


def picture_of(incident: Incident, medium_id: int, *, person: User) -> Medium | None:
    """The picture behind an address that a page got by `shown`, also while it is not ready; None where it is another
    incident's, or the person may not see the data."""
    medium = _media(incident).filter(pk=medium_id).defer("recipe").first()
    return medium if medium is not None and recipients.may_see_data(incident, person) else None


def _media(incident: Incident) -> QuerySet[Medium]:
    return Medium.objects.filter(incident=incident).order_by("pk")


def _recipes(rule: AlertRule, fired: Sequence[Fired]) -> Iterator[tuple[Incident, bytes]]:
    """Of the conditions that hold, one after another, since it is they that opened the incident."""
    language = get_language() or settings.LANGUAGE_CODE
    for index, condition in enumerate(condition_parsing.from_rows(rule.conditions)):
        for one in fired:
            if not one.verdict.found[index].holds:
                continue
            drawn = charts.picture_of(condition, one.table, split_column=rule.split_column)
            if drawn is not None:
                chart, rows = drawn
                shape = theme.Shape.FREE
                recipe = recipes.picture(chart, rows, shape=shape, language=language, time_zone=rule.time_zone)
                yield one.incident, recipe


def _words(medium: Medium, now: datetime) -> str:
    if medium.status == Medium.Status.READY:
        return ""
    if medium.status == Medium.Status.FAILED:
        return _("Could not be made: %(reason)s") % {"reason": medium.error_text}
    if not medium.make_count and now - medium.created_at >= jobs.OVERDUE and jobs.overdue_count(now=now, at_most=1):
        return _("It is not drawn: no worker takes from the queue “charts”. Your administrator can start one.")
    return _("It is still being drawn: open this page again in a moment.")
