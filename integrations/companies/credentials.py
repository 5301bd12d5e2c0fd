"""A new Secret or AgentId of a company that has been enabled: the old ones serve until WeCom confirms the new ones.

So a mistyped Secret locks nobody out, and the Secret of another app never signs anybody in: `agent/get` over the new
Secret must know the new AgentId.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import transaction

from integrations.clients.errors import IntegrationError, UnreadableSecretError
from integrations.companies import services
from integrations.companies.diagnosis import results
from integrations.companies.diagnosis.checks.credentials import judge_agent, judge_agent_refusal
from integrations.companies.diagnosis.findings import (
    BlockingCheck,
    Finding,
    Status,
    find_blocking_check,
    judge_error,
    wrong,
)
from integrations.core.client_factory import trial_client
from integrations.models import Corp, StagedCredentials

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from django.db.models import QuerySet

    from integrations.clients.errors import Explanation

logger = logging.getLogger(__name__)
State = StagedCredentials.State
# What may pass by itself, as a network that is down or a trusted IP that is being entered, is tried again so often …
TRY_AGAIN = timedelta(minutes=1)
# … and for so long.
TRIED_FOR = timedelta(hours=24)


def stage(*, corp: Corp, agentid: int, secret: str, by: str, now: datetime) -> StagedCredentials:
    """Keep new credentials of `corp` in place of others that wait. The caller queues their check."""
    values = {
        **{"agentid": agentid, "secret": secret, "state": State.WAITING, "staged_by": by[:255], "staged_at": now},
        **{"next_try_at": now + TRY_AGAIN, "settled_at": None},
        **{"problem": "", "facts": {}, "errcode": None, "caller_ip": None},
    }
    return StagedCredentials.objects.update_or_create(corp=corp, defaults=values)[0]


def discard(*, corp: Corp) -> bool:
    """Forget credentials that are not in force. False where there are none (any more)."""
    with transaction.atomic():
        # Django deletes by key what it found, also what has come into force since.
        _hold(corp)
        return bool(StagedCredentials.objects.filter(corp=corp).exclude(state=State.IN_FORCE).delete()[0])


def check_again(*, corp: Corp, now: datetime) -> StagedCredentials | None:
    """Have them checked once more, for a day again; None where there are none (any more). The caller queues it."""
    staged = StagedCredentials.objects.filter(corp=corp).exclude(state=State.IN_FORCE)
    if not staged.update(state=State.WAITING, staged_at=now, next_try_at=now + TRY_AGAIN, problem="", errcode=None):
        return None
    return staged.first()


def claim_due(*, now: datetime) -> list[int]:
    """Those whose time has come, for the caller to queue."""
    due = StagedCredentials.objects.due(now)
    return [
        staged.pk
        for staged in due.only("pk", "next_try_at")
        if due.filter(pk=staged.pk, next_try_at=staged.next_try_at).update(next_try_at=now + TRY_AGAIN)
    ]


def carry_out(*, staged_id: int, clock: Callable[[], datetime]) -> Corp | None:
    """Ask WeCom, and keep what it says. Returns the corp whose credentials came into force."""
    staged = StagedCredentials.objects.filter(pk=staged_id, state=State.WAITING).first()
    if staged is None:
        return None
    # Without its own Secret: one that no key opens any more is replaced in this very way.
    corp = Corp.objects.defer("secret").get(pk=staged.corp_id)
    finding = _found(corp, staged)
    if finding.status == Status.OK:
        return _put_in_force(corp, staged, now=clock())
    now = clock()
    goes_on = finding.heals and now < staged.staged_at + TRIED_FOR
    _as_read(staged).update(
        state=State.WAITING if goes_on else State.REFUSED,
        next_try_at=now + TRY_AGAIN if goes_on else None,
        problem=finding.problem,
        facts=dict(finding.facts),
        errcode=finding.errcode,
        caller_ip=finding.caller_ip,
    )
    logger.info("new credentials corp=%s problem=%s code=%s", corp.pk, finding.problem, finding.errcode)
    return None


def explanation(staged: StagedCredentials) -> Explanation | None:
    """Why they are not in force, in the active language; None where nothing is known yet."""
    if not staged.problem or staged.state == State.IN_FORCE:
        return None
    return results.explain_finding(BlockingCheck.AGENTID, staged.problem, staged.errcode, staged.facts)


def _found(corp: Corp, staged: StagedCredentials) -> Finding:
    twins = Corp.objects.filter(corpid=corp.corpid, agentid=staged.agentid).exclude(pk=corp.pk)
    if twins.exists():
        return wrong("connected", heals=False)
    try:
        client = trial_client(corp, agentid=staged.agentid, secret=staged.secret)
    except UnreadableSecretError as error:
        return judge_error(error, check_name=BlockingCheck.TOKEN)
    try:
        agent = client.agent_get()
    except IntegrationError as error:
        return judge_agent_refusal(client, error, check_name=find_blocking_check(error) or BlockingCheck.AGENTID)
    return judge_agent(agent, agentid=staged.agentid)


@transaction.atomic
def _put_in_force(corp: Corp, staged: StagedCredentials, *, now: datetime) -> Corp | None:
    """None where others were staged, or these discarded, while WeCom was asked."""
    _hold(corp)
    settled = {"state": State.IN_FORCE, "secret": "", "next_try_at": None, "settled_at": now, "problem": ""}
    if not _as_read(staged).update(**settled):
        return None
    corp.agentid, corp.secret = staged.agentid, staged.secret
    services.save_corp(corp=corp, changed_fields={"agentid", "secret"})
    logger.info("new credentials corp=%s in force", corp.pk)
    return corp


def _hold(corp: Corp) -> None:
    """Lock the company before what is staged for it, as its page does: in another order the two could deadlock."""
    list(Corp.objects.select_for_update(no_key=True).filter(pk=corp.pk).values_list("pk"))


def _as_read(staged: StagedCredentials) -> QuerySet[StagedCredentials]:
    return StagedCredentials.objects.filter(pk=staged.pk, state=State.WAITING, staged_at=staged.staged_at)
