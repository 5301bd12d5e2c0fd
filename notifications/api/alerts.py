"""`/alerts`: receives Alertmanager's webhook payload. `/alert-rules`: checks one now, as after a data update."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from django.http import HttpRequest
from ninja import Router, Schema, Status

from integrations.core.background import database_now
from notifications.alerts import evaluation, ingest, notify, routing
from notifications.alerts.ingest import Alert, moment, safe_link
from notifications.api.alertmanager import AlertIn, AlertsAnswer, AlertsIn
from notifications.api.authentication import token_for
from notifications.api.problems import ProblemError, problems
from notifications.api.schemas import Id
from notifications.api.tokens import Action
from notifications.tasks import enqueue_runs

router, rules_router = Router(tags=["alerts"]), Router(tags=["alerts"])
# What one request brings up to date; of more, people are told how many there are.
ALERTS_AT_MOST = 1000


@router.post(
    "", response={202: AlertsAnswer, **problems(400, 415)}, summary="Hand in alerts, as Alertmanager posts them"
)
def receive_alerts(request: HttpRequest, payload: AlertsIn) -> Status[AlertsAnswer]:
    """Alertmanager's webhook payload (version 4) as it is. Each alert goes to the routes that take its labels;
    repeated, late and out of order it comes to the same. Of more than 1000 the first are taken, the others told as left
    out; what is too long is cut. Answers as soon as the incidents are written down."""
    token, now = token_for(request, Action.ALERT), database_now()
    alerts = [_alert(one, now) for one in payload.alerts[:ALERTS_AT_MOST]]
    left_out = payload.truncatedAlerts + len(payload.alerts) - len(alerts)
    found = ingest.receive(alerts, truncated_count=left_out, token=token, now=now)
    if found.opened or found.reopened or found.resolved:
        enqueue_runs(notify.request_notices(now=now))
    return Status(202, AlertsAnswer(**asdict(found)))


def _alert(one: AlertIn, now: datetime) -> Alert:
    starts_at = moment(one.startsAt) or now
    return Alert(
        labels=one.labels,
        annotations=one.annotations,
        starts_at=starts_at,
        ends_at=(moment(one.endsAt) or now) if one.status == "resolved" else None,
        link=safe_link(one.generatorURL),
    )


class CheckState(Schema):
    """A check that has begun: what it finds stands in the incidents."""

    rule_id: int
    slot_at: datetime


@rules_router.post(
    "/{int:rule_id}/check",
    response={202: CheckState, **problems(409)},
    summary="Check an alert rule now: after a data update",
)
def check_rule(request: HttpRequest, rule_id: Id) -> Status[CheckState]:
    """Answers as soon as the check is written down. 409 where the rule is disabled."""
    token = token_for(request, Action.ALERT)
    rule = routing.rules_of(token).filter(pk=rule_id).first()
    if rule is None:
        raise ProblemError("not_found")
    if not rule.is_enabled:
        raise ProblemError("rule_disabled")
    check = evaluation.check_now(rule, now=database_now())
    return Status(202, CheckState(rule_id=rule.pk, slot_at=check.slot_at))
