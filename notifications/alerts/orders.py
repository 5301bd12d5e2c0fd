"""What the run of an alert is: a standing order that is not saved, for those whom its incidents concern."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from notifications.alerts import cards
from notifications.alerts.audiences import audience_of
from notifications.alerts.cards import Telling
from notifications.models import (
    Incident,
    IncidentEvent,
    IncidentNotice,
    MessageForm,
    Priority,
    Report,
    Run,
    Subscription,
)
from notifications.recipients import Audience

if TYPE_CHECKING:
    from integrations.models import Corp, SiteAddress


LIFETIME_HOURS = 24


def order_of(run: Run) -> tuple[Subscription, Audience]:
    """What is said, and to whom. A run whose incidents are forgotten is for nobody."""
    telling = telling_of(run, now=run.slot_at, is_locked=False)
    if telling is None:
        return _order(Report(title=_("Alerts"), body=""), ""), Audience()
    audience = audience_of(telling.lead)
    report = Report(
        title=cards.title_of(telling),
        body=cards.text_of(telling),
        link=cards.page_path(telling.incidents, "").partition("?")[0],
        corp_id=run.corp_id,
    )
    return _order(report, audience.fallback_channel), audience


def telling_of(run: Run, *, now: datetime, is_locked: bool) -> Telling | None:
    """The incidents of a run as they stand. `is_locked`: inside a transaction, so that whoever changes one of them
    afterwards finds the messages that show it as it was."""
    notices = IncidentNotice.objects.filter(run=run)
    kind = notices.values_list("kind", flat=True).first()
    found = Incident.objects.filter(pk__in=notices.values("incident")).order_by("pk")
    if is_locked:
        list(found.select_for_update(of=("self",)).values_list("pk"))
    related = ("route__receiver", "rule__receiver", "rule__split_attribute", "taken_by", "silenced_by")
    incidents = list(found.select_related(*related))
    return Telling(incidents, kind, now) if incidents and kind else None


def card_body(run: Run, corp: Corp, userids: list[str], *, address: SiteAddress, mark: str, now: datetime) -> bytes:
    """The bytes of the card for people of one company; inside the transaction that freezes them."""
    telling = telling_of(run, now=now, is_locked=True)
    if telling is None:
        raise Incident.DoesNotExist
    return cards.body(
        telling,
        agentid=corp.agentid,
        userids=userids,
        url=address.absolute(cards.page_path(telling.incidents, mark)),
        mark=mark,
        has_buttons=has_callbacks(corp),
    )


def note_unreached(run: Run) -> None:
    """Say in the timelines that this message told nobody. In the transaction that finds it out."""
    lines = IncidentEvent.objects.filter(incident__notices__run=run, kind=IncidentEvent.Kind.NOTIFIED, at=run.slot_at)
    lines.update(note=run.error)


def has_callbacks(corp: Corp) -> bool:
    """Whether a click reaches us: WeCom has seen the app's callback address answer."""
    return corp.callback_verified_at is not None


def _order(report: Report, fallback_channel: str) -> Subscription:
    return Subscription(
        report=report,
        message_form=MessageForm.TEXTCARD,
        priority=Priority.URGENT,
        lifetime_hours=LIFETIME_HOURS,
        fallback_channel=fallback_channel,
    )
