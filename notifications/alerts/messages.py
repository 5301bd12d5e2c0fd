"""Run source of alerts: content and recipients of a run about incidents."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from notifications.alerts import cards
from notifications.alerts.cards import AlertNotice
from notifications.alerts.recipients import audience_of
from notifications.delivery.rendering.message_builder import tidy_text, tidy_title
from notifications.models import (
    Incident,
    IncidentEvent,
    IncidentNotice,
    MessageForm,
    Priority,
    Run,
)
from notifications.sources import Audience, Content, OneContent, Terms

if TYPE_CHECKING:
    from integrations.models import Corp, SiteAddress


LIFETIME_HOURS = 24


def source_of_alert(run: Run) -> AlertSource | None:
    return AlertSource(run) if run.trigger == Run.Trigger.ALERT else None


class AlertSource:
    """The source of an alert's run. One whose incidents are forgotten is for nobody."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._notice = notice_of(run, now=run.slot_at, is_locked=False)
        self.terms = Terms(MessageForm.TEXTCARD, Priority.URGENT, LIFETIME_HOURS, run.corp_id)

    def audience(self) -> Audience:
        return Audience() if self._notice is None else audience_of(self._notice.lead)

    def contents(self, *, now: datetime) -> OneContent:
        notice = self._notice
        if notice is None:
            return OneContent(Content(_("Alerts"), ""))
        title, text = tidy_title(cards.title_of(notice)), tidy_text(cards.text_of(notice))
        return OneContent(Content(title, text, link=cards.page_path(notice.incidents, "").partition("?")[0]))

    def app_body(self, corp: Corp, userids: list[str], *, address: SiteAddress, mark: str, now: datetime) -> bytes:
        """The card with its buttons, of the incidents as they stand now."""
        notice = notice_of(self._run, now=now, is_locked=True)
        if notice is None:
            raise Incident.DoesNotExist
        return cards.body(
            notice,
            agentid=corp.agentid,
            userids=userids,
            url=address.absolute(cards.page_path(notice.incidents, mark)),
            mark=mark,
            has_buttons=has_callbacks(corp),
        )

    def note_unreached(self, reason: str) -> None:
        """Say in the timelines that this message reached nobody."""
        lines = {"incident__notices__run": self._run, "kind": IncidentEvent.Kind.NOTIFIED, "at": self._run.slot_at}
        IncidentEvent.objects.filter(**lines).update(note=reason)


def notice_of(run: Run, *, now: datetime, is_locked: bool) -> AlertNotice | None:
    """The incidents of a run as they stand. `is_locked`: inside a transaction, so that whoever changes one of them
    afterwards finds the messages that show it as it was."""
    notices = IncidentNotice.objects.filter(run=run)
    kind = notices.values_list("kind", flat=True).first()
    found = Incident.objects.filter(pk__in=notices.values("incident")).order_by("pk")
    if is_locked:
        list(found.select_for_update(of=("self",)).values_list("pk"))
    related = ("route__receiver", "rule__receiver", "rule__split_attribute", "acknowledged_by", "silenced_by")
    incidents = list(found.select_related(*related))
    return AlertNotice(incidents, kind, now) if incidents and kind else None


def has_callbacks(corp: Corp) -> bool:
    """Whether a click reaches us: WeCom has seen the app's callback address answer."""
    return corp.callback_verified_at is not None
