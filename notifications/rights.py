"""What the roles hold of this app, and what of it the audit trail follows."""

from __future__ import annotations

from accounts import roles, tracking
from accounts.roles import Role
from notifications.models import (
    AlertReceiver,
    AlertRoute,
    AlertRule,
    ApiToken,
    AttributeRule,
    CorpQueue,
    OwnRowsRule,
    Report,
    ReportCard,
    Robot,
    SilenceWindow,
    Subscription,
)

# What editors write, then what they only read.
_WRITTEN = ("report", "subscription", "robot", "alertreceiver", "alertroute", "alertrule")
_READ = (*_WRITTEN, "run", "delivery", "receipt", "corpqueue", "incident")


def grant_to_roles() -> None:
    views = [f"notifications.view_{model}" for model in _READ]
    changes = [f"notifications.{verb}_{model}" for verb in ("add", "change", "delete") for model in _WRITTEN]
    changes.append("notifications.change_incident")
    tokens = [f"notifications.{verb}_apitoken" for verb in ("view", "add", "change")]
    roles.grant(Role.PUSH_EDITOR, *views, *changes, *tokens)
    roles.grant(Role.READ_ONLY, *views)
    robots = [f"notifications.{verb}_robot" for verb in ("view", "add", "change", "delete")]
    queues = ["notifications.view_corpqueue", "notifications.change_corpqueue"]
    roles.grant(Role.INTEGRATION_ADMINISTRATOR, *robots, *queues)


def track_orders() -> None:
    tracking.track(Report, corps=lambda report: [report.corp_id], left_out=("created_at",))
    tracking.track(ReportCard, corps=lambda card: [card.report.corp_id])
    tracking.track(OwnRowsRule, corps=lambda rule: [rule.report.corp_id])
    tracking.track(Robot, corps=lambda robot: [robot.corp_id], left_out=("created_at",))
    tracking.track(
        CorpQueue,
        corps=lambda queue: [queue.corp_id],
        left_out=("blocked_since", "blocked_errcode", "blocked_error", "probe_at", "told_at"),
    )
    tracking.track(
        Subscription,
        corps=lambda subscription: [subscription.report.corp_id],
        left_out=("next_run_at", "created_at"),
        m2m=("users", "groups", "departments"),
    )
    tracking.track(
        AlertReceiver,
        corps=lambda receiver: [receiver.corp_id],
        left_out=("created_at",),
        m2m=("users", "groups", "departments"),
    )
    tracking.track(
        AlertRoute,
        corps=lambda route: [route.receiver.corp_id],
        left_out=("gather_until", "is_limited_to_senders"),
        m2m=("senders",),
    )
    tracking.track(
        AlertRule,
        corps=lambda rule: [rule.receiver.corp_id],
        left_out=(
            *("gather_until", "next_run_at", "checked_slot_at", "holding", "memory"),
            *("failure_count", "problem", "created_at"),
        ),
    )
    tracking.track(SilenceWindow, corps=lambda window: [window.rule.receiver.corp_id])
    tracking.track(AttributeRule, corps=lambda rule: [rule.order.only_corp_id])
    tracking.track(
        ApiToken,
        corps=_of_token,
        left_out=("digest", "form_key", "created_at", "last_used_at", "last_used_from"),
        m2m=("corps", "subscriptions"),
    )


def _of_token(token: ApiToken) -> list[int | None]:
    """The companies that it was limited to, by themselves or by subscriptions; whoever reaches all is nobody's."""
    reports = token.subscriptions.values_list("report__corp", flat=True)
    return [*token.corps.values_list("pk", flat=True), *reports]
