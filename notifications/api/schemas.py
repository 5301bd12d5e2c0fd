"""What goes in and comes out, as the OpenAPI document shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.db import models
from ninja import Schema
from pydantic import ConfigDict, Field

from notifications.delivery.runs import statistics
from notifications.models import Run, Subscription

# What a key of the database can be.
LARGEST_ID = 2**63 - 1
Id = Annotated[int, Field(ge=1, le=LARGEST_ID)]


class ProblemDetails(Schema):
    """Problem details (RFC 9457). Programs go by `code`."""

    type: str
    title: str
    status: int
    code: str
    detail: str


class RunRequest(Schema):
    """`trigger`: what caused it; it stands in the log, and is the same otherwise."""

    model_config = ConfigDict(extra="forbid")

    trigger: Literal["url", "data_update"] = "url"


class RunCounts(Schema):
    """People. `recipients` can be reached; of them WeCom or the mail server accepted, refused, or has not been asked
    yet (`waiting`); of `unknown` nobody knows. `skipped` could not be reached from the beginning."""

    recipients: int
    skipped: int
    accepted: int
    refused: int
    unknown: int
    waiting: int


class RunState(Schema):
    """One execution of a subscription. `state`: waiting, sending, finished, missed, failed, or skipped (its data
    was not worth sending)."""

    id: int
    subscription_id: int | None
    trigger: str
    state: str
    due_at: datetime
    claimed_at: datetime
    rendered_at: datetime | None
    finished_at: datetime | None
    error: str
    counts: RunCounts

    @classmethod
    def of(cls, run: Run) -> RunState:
        """One query, for the counts."""
        counts = statistics.of_run(run.pk)
        return cls(
            id=run.pk,
            subscription_id=run.subscription_id,
            trigger=_plain(run.trigger),
            state=_plain(run.status),
            due_at=run.slot_at,
            **{name: getattr(run, name) for name in ("claimed_at", "rendered_at", "finished_at")},
            error=run.error_text,
            counts=RunCounts(
                recipients=run.recipient_count,
                skipped=run.skipped_count,
                **{name: getattr(counts, name) for name in ("accepted", "refused", "unknown", "waiting")},
            ),
        )


class SubscriptionItem(Schema):
    """A standing order. `is_enabled`: a disabled one runs by hand only; of a paused one the messages wait."""

    id: int
    name: str
    report: str
    channel: str
    is_enabled: bool
    is_paused: bool
    time_zone: str
    next_run_at: datetime | None

    @classmethod
    def of(cls, subscription: Subscription) -> SubscriptionItem:
        names = ("name", "channel", "is_enabled", "is_paused", "time_zone", "next_run_at")
        columns: dict[str, Any] = {name: getattr(subscription, name) for name in names}
        return cls(id=subscription.pk, report=subscription.report.title, **columns)


class SubscriptionPage(Schema):
    """`next_after`: where the next page begins; null on the last one."""

    items: list[SubscriptionItem]
    next_after: int | None


def _plain(choice: str) -> str:
    return str(choice.value) if isinstance(choice, models.TextChoices) else choice
