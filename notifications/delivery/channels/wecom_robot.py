"""Group robot channel (消息推送): 20 a minute, no duplicate check, so unclear outcomes are not repeated."""

from __future__ import annotations

import logging
from typing import ClassVar

from integrations.clients.errors import IntegrationError, UnreadableSecretError
from integrations.core import client_factory
from integrations.models import Corp
from notifications.delivery.channels.base import Caller, Requester, Sendable
from notifications.delivery.channels.outcomes import ROBOT_GONE, Outcome, outcome_of_error, outcome_of_result
from notifications.delivery.limiter import Request, Scope
from notifications.models import Priority, Robot

logger = logging.getLogger(__name__)


# Of one robot. Source: developer.work.weixin.qq.com/document/path/91770.
MESSAGES_PER_MINUTE = 20


class WeComRobot:
    """Channel.ROBOT."""

    is_repeat_safe: ClassVar[bool] = False

    def requester(self, corp: Corp, *, daily_budget: int) -> Requester:
        return lambda delivery: Request(
            id=f"{delivery.pk}.{delivery.attempt_count + 1}",
            scopes=self.held_scopes(delivery),
            is_urgent=delivery.priority == Priority.URGENT,
        )

    def held_scopes(self, delivery: Sendable) -> tuple[Scope, ...]:
        return (Scope(f"robot:{delivery.robot_id}", per_minute=MESSAGES_PER_MINUTE),)

    def caller(self, delivery: Sendable) -> Caller:
        robot, body = Robot.objects.filter(pk=delivery.robot_id or 0).first(), bytes(delivery.body)
        if robot is None:
            return lambda: ROBOT_GONE
        try:
            client = client_factory.robot_client(delivery.corp, robot.key)
        except UnreadableSecretError as error:
            unread = outcome_of_error(error)
            return lambda: unread

        def call() -> Outcome:
            try:
                return outcome_of_result(client.webhook_send(body))
            except IntegrationError as error:
                return outcome_of_error(error)

        return call
