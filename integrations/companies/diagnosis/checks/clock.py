"""How far the clock of this server is from WeCom's: signatures, codes and tokens live by it."""

from __future__ import annotations

from datetime import UTC, datetime

from integrations.clients.explanations import Explanation
from integrations.clients.wecom.errcodes.entry import SITE_ADMIN
from integrations.clients.wecom.errcodes.entry import gettext_noop as _
from integrations.companies.diagnosis.findings import Check, Finding, Question, ok, skip, warning, wrong
from integrations.core.client_factory import network_client

WARN_SECONDS = 60
# A sign-in code lives so long; events with a stamp further away look like replays.
WRONG_SECONDS = 300


def run(question: Question) -> Finding:
    journey = network_client(question.corp).travel()
    if journey.failed_at:
        return skip("blocked", {"by": "network"})
    if journey.server_date is None:
        return skip("no_date")
    # Not `question.now`: the answer took time, and the header has whole seconds.
    seconds = round((datetime.now(UTC) - journey.server_date).total_seconds())
    return judged(seconds)


def judged(seconds: int) -> Finding:
    """`seconds`: how far this server is ahead; below 0 it is behind."""
    facts = {"seconds": abs(seconds)}
    if abs(seconds) <= WARN_SECONDS:
        return ok("right", facts)
    problem = "ahead" if seconds > 0 else "behind"
    return wrong(problem, facts) if abs(seconds) > WRONG_SECONDS else warning(problem, facts, heals=True)


_SET_CLOCK = _("Switch on time synchronisation (NTP, chrony or systemd-timesyncd) on this server.")
CHECK = Check(
    name="clock",
    label=_("Clock"),
    purpose=_("Compares the clock of this server with the Date header of the API's answer."),
    run=run,
    explanations={
        "right": Explanation(_("The clocks differ by %(seconds)s s.")),
        "no_date": Explanation(_("The answer has no Date header, so the clocks cannot be compared.")),
        "ahead": Explanation(_("The clock of this server is ahead by %(seconds)s s."), SITE_ADMIN, _SET_CLOCK),
        "behind": Explanation(_("The clock of this server is behind by %(seconds)s s."), SITE_ADMIN, _SET_CLOCK),
    },
)
