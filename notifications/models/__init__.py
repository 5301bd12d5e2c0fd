"""What is sent, when, to whom (orders), and what became of it (outbox)."""

from notifications.models.api import AcceptedRequest, ApiToken
from notifications.models.choices import SubscriptionChoice
from notifications.models.orders import (
    Channel,
    FreeDays,
    MessageForm,
    MonthDay,
    Priority,
    Repeat,
    Report,
    RulesMatch,
    Subscription,
)
from notifications.models.outbox import REPEAT_SECONDS, Attempt, Delivery, Receipt, Run, TickClaim, new_mark
from notifications.models.queues import CorpQueue
from notifications.models.robots import Robot
from notifications.models.rules import AttributeRule, Operator

__all__ = [
    "REPEAT_SECONDS",
    "AcceptedRequest",
    "ApiToken",
    "Attempt",
    "AttributeRule",
    "Channel",
    "CorpQueue",
    "Delivery",
    "FreeDays",
    "MessageForm",
    "MonthDay",
    "Operator",
    "Priority",
    "Receipt",
    "Repeat",
    "Report",
    "Robot",
    "RulesMatch",
    "Run",
    "Subscription",
    "SubscriptionChoice",
    "TickClaim",
    "new_mark",
]
