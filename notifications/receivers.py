"""Effects of disabling a company on pushes, and this app's permissions and audit trail."""

from __future__ import annotations

from django.utils.translation import ngettext

from accounts.audit import signals
from accounts.users import roles
from accounts.users.roles import Role
from integrations.models import Corp
from notifications.models import (
    AlertRule,
    ApiToken,
    AttributeRule,
    CorpQueue,
    Delivery,
    InboundChannel,
    OwnRowsRule,
    Report,
    ReportCard,
    Robot,
    SilenceWindow,
    Subscription,
    WorkdayCalendar,
)

# Counting stops here, because a person waits for the page.
COUNTED_AT_MOST = 10_000


def describe_effects_of_disabling(corp: Corp) -> list[str]:
    """Return sentences about messages that will wait and subscriptions that will reach nobody."""
    sentences = []
    waiting = Delivery.objects.unsettled().filter(corp=corp)[:COUNTED_AT_MOST].count()
    if waiting:
        sentence = ngettext(
            "%(count)d delivery waits until the company is enabled again, or is canceled when it has expired.",
            "%(count)d deliveries wait until the company is enabled again, or are canceled when they have expired.",
            waiting,
        )
        sentences.append(sentence % {"count": waiting})
    only_here = Subscription.objects.filter(report__corp=corp, is_enabled=True).count()
    if only_here:
        sentence = ngettext(
            "%(count)d enabled push is only for this company and reaches nobody meanwhile.",
            "%(count)d enabled pushes are only for this company and reach nobody meanwhile.",
            only_here,
        )
        sentences.append(sentence % {"count": only_here})
    return sentences


# Models that editors write, and models that they only read.
_WRITTEN = ("report", "subscription", "robot", "alertrule")
_READ = (*_WRITTEN, "run", "delivery", "receipt", "corpqueue", "incident", "incomingmessage")


def grant_to_roles() -> None:
    """Give the roles their permissions on the models of this app."""
    views = [f"notifications.view_{model}" for model in _READ]
    changes = [f"notifications.{verb}_{model}" for verb in ("add", "change", "delete") for model in _WRITTEN]
    # People who may add a message may send one with their own API token.
    changes += ["notifications.change_incident", "notifications.add_incomingmessage"]
    tokens = [f"notifications.{verb}_apitoken" for verb in ("view", "add", "change")]
    channels = [f"notifications.{verb}_inboundchannel" for verb in ("view", "add", "change", "delete")]
    calendar = ["notifications.view_workdaycalendar", "notifications.change_workdaycalendar"]
    roles.grant_permissions(Role.PUSH_EDITOR, *views, *changes, *tokens, *channels, *calendar)
    roles.grant_permissions(Role.READ_ONLY, *views)
    robots = [f"notifications.{verb}_robot" for verb in ("view", "add", "change", "delete")]
    queues = ["notifications.view_corpqueue", "notifications.change_corpqueue"]
    roles.grant_permissions(Role.INTEGRATION_ADMINISTRATOR, *robots, *queues)


# Fields of an alert rule that no person edits; the audit trail leaves them out.
_UNEDITED_FIELDS = (
    *("gather_until", "next_run_at", "checked_slot_at", "watched", "holding", "memory", "absent", "is_broken"),
    *("owner_notified_at", "failure_count", "problem", "form_key", "created_at"),
)


def track_changes() -> None:
    """Make the audit trail follow the models of this app."""
    signals.track_model(Report, corps=lambda report: [report.corp_id], left_out=("created_at",))
    for part in (ReportCard, OwnRowsRule):
        signals.track_model(part, corps=lambda row: [row.report.corp_id])
    signals.track_model(WorkdayCalendar, corps=lambda _calendar: [])
    signals.track_model(Robot, corps=lambda robot: [robot.corp_id], left_out=("created_at",))
    signals.track_model(
        CorpQueue,
        corps=lambda queue: [queue.corp_id],
        left_out=("blocked_since", "blocked_errcode", "blocked_error", "probe_at", "notified_at"),
    )
    signals.track_model(
        Subscription,
        corps=lambda subscription: [subscription.report.corp_id],
        left_out=("next_run_at", "form_key", "created_at"),
        m2m=("users", "groups", "departments"),
    )
    signals.track_model(
        AlertRule,
        corps=lambda rule: [rule.corp_id],
        left_out=_UNEDITED_FIELDS,
        m2m=("users", "groups", "departments"),
    )
    signals.track_model(SilenceWindow, corps=lambda window: [window.rule.corp_id])
    signals.track_model(AttributeRule, corps=lambda rule: [rule.order.only_corp_id])
    signals.track_model(
        ApiToken,
        # The companies that the token is limited to, directly or by pushes; none for a token without such a limit.
        corps=lambda token: [
            *token.corps.values_list("pk", flat=True),
            *token.send_corps.values_list("pk", flat=True),
            *token.subscriptions.values_list("report__corp", flat=True),
        ],
        new_corps=lambda token: [],
        left_out=("digest", "form_key", "created_at", "last_used_at", "last_used_from", "signing_secret"),
        m2m=("corps", "subscriptions", "send_corps", "send_users", "send_groups", "send_departments"),
    )
    signals.track_model(
        InboundChannel,
        corps=lambda channel: [channel.corp_id],
        left_out=(
            *("public_id", "digest", "secret", "gather_until", "created_at"),
            *("last_payload", "last_payload_at"),
        ),
        m2m=("users", "groups", "departments"),
    )
