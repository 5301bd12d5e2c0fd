"""Whether directory changes take effect at once or only at night, for administrators."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from integrations.directory.event_consumer import NAME
from integrations.directory.incremental import has_copy
from integrations.models import Corp, EventLane, EventWork

# So long events may wait before somebody is told: a run, or a hiccup of WeCom, takes less.
PATIENCE = timedelta(minutes=10)
COUNTED = 1000


class State(StrEnum):
    """`ARRIVING`: events come and are acted on. `SILENT`: an address is verified, but none has come since."""

    ARRIVING = "arriving"
    SILENT = "silent"
    NOT_COPIED = "not-copied"
    NIGHTLY = "nightly"


_TONES = {State.ARRIVING: "good", State.SILENT: "warn", State.NOT_COPIED: "warn", State.NIGHTLY: "quiet"}


@dataclass(frozen=True, slots=True)
class Hearing:
    """What is in force for a company. `late_count`: events that wait for longer than they should; `given_up_count`:
    those that are not tried any more, and that no run has made good; both capped.
    """

    state: State
    heard_at: datetime | None
    late_count: int = 0
    given_up_count: int = 0

    @property
    def tone(self) -> str:
        return "bad" if self.given_up_count else _TONES[self.state]

    @property
    def words(self) -> str:
        if self.state == State.ARRIVING:
            return _("at once")
        return _("with the nightly run only")

    @property
    def sentences(self) -> list[str]:
        """What is in force, and what to do where it is not the better of the two."""
        found = [self._sentence()]
        if self.late_count:
            sentence = ngettext(
                "%(count)d event waits for more than ten minutes: WeCom cannot be asked, or no worker runs. "
                "The diagnosis says which.",
                "%(count)d events wait for more than ten minutes: WeCom cannot be asked, or no worker runs. "
                "The diagnosis says which.",
                self.late_count,
            )
            found.append(sentence % {"count": self.late_count})
        if self.given_up_count:
            found.append(self.given_up)
        return found

    @property
    def given_up(self) -> str:
        """What happened to events that were given up, and what to do about it."""
        sentence = ngettext(
            "%(count)d event about people was given up after many tries, and what it tells is missing here. "
            "Synchronise the directory now: that makes it good. Or have it tried once more on the page that begins a "
            "run.",
            "%(count)d events about people were given up after many tries, and what they tell is missing here. "
            "Synchronise the directory now: that makes it good. Or have them tried once more on the page that begins a "
            "run.",
            self.given_up_count,
        )
        return sentence % {"count": self.given_up_count}

    def _sentence(self) -> str:
        if self.state == State.ARRIVING and self.heard_at is not None:
            when = f"{timezone.localtime(self.heard_at):%Y-%m-%d %H:%M}"
            return _(
                "Changes of people in WeCom arrive here within seconds, the last one at %(when)s; what they mean for "
                "people here, the directory policy says. The nightly run makes good what was lost."
            ) % {"when": when}
        if self.state == State.SILENT:
            return _(
                "A callback address is verified, but no event about people has arrived since. Until one does, count on "
                "the nightly run only. To try it, change something small in WeCom's contacts, such as a position."
            )
        if self.state == State.NOT_COPIED:
            return _(
                "A callback address is verified, but the directory was never copied. Synchronise it once: events are "
                "acted on from then on."
            )
        return _(
            "No callback address is verified. Changes of people in WeCom, leavers among them, take effect with the "
            "nightly run only. Set up receiving messages on the company's page, and they take effect within seconds."
        )


def hearing_of(corp: Corp, *, now: datetime) -> Hearing:
    """Four queries at most; one where no address is verified."""
    given_up_count = EventWork.objects.given_up().filter(corp=corp)[:COUNTED].count()
    verified = [one for one in (corp.callback_verified_at, corp.contacts_callback_verified_at) if one is not None]
    if not verified:
        return Hearing(State.NIGHTLY, None, given_up_count=given_up_count)
    if not has_copy(corp):
        return Hearing(State.NOT_COPIED, None, given_up_count=given_up_count)
    lane = EventLane.objects.filter(corp=corp, consumer=NAME)
    heard_at = lane.values_list("worked_at", flat=True).first()
    # Without those that were worked off and are only to be repeated after a run, which may take long.
    waiting = EventWork.objects.waiting().exclude(problem="", try_count__gt=0)
    waiting = waiting.filter(corp=corp, event__received_at__lt=now - PATIENCE)
    late_count = waiting[:COUNTED].count()
    is_arriving = heard_at is not None and heard_at >= min(verified)
    state = State.ARRIVING if is_arriving else State.SILENT
    return Hearing(state, heard_at, late_count, given_up_count)
