"""`/alert-rules`: checks an alert rule now, as after a data update."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest
from ninja import Router, Schema, Status

from integrations.core.background import database_now
from notifications.alerts import evaluation
from notifications.api.authentication import token_for
from notifications.api.problems import ProblemError, problems
from notifications.api.schemas import Id
from notifications.api.tokens import Action, rules_of

router = Router(tags=["alerts"])


class CheckState(Schema):
    """A check that has begun: what it finds stands in the incidents."""

    rule_id: int
    slot_at: datetime


@router.post(
    "/{int:rule_id}/check",
    response={202: CheckState, **problems(409)},
    summary="Check an alert rule now: after a data update",
)
def check_rule(request: HttpRequest, rule_id: Id) -> Status[CheckState]:
    """Answers as soon as the check is written down. 409 where the rule is disabled."""
    token = token_for(request, Action.ALERT)
    rule = rules_of(token).filter(pk=rule_id).first()
    if rule is None:
        raise ProblemError("not_found")
    if not rule.is_enabled:
        raise ProblemError("rule_disabled")
    check = evaluation.check_now(rule, now=database_now())
    return Status(202, CheckState(rule_id=rule.pk, slot_at=check.slot_at))
