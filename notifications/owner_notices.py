"""Tells the owners of subscriptions of runs that were missed, failed or did not reach everybody: of each run once, of
several in one message.

A notice is a run like any other, so that what is guaranteed of messages holds for it, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from notifications.locking import BATCH, unlocked
from notifications.models import Channel, MessageForm, Priority, Report, Run, Subscription
from notifications.recipients import Audience
from notifications.schedule_words import moment_line
from notifications.timing import RENDER_LEASE

if TYPE_CHECKING:
    from accounts.models import User

# An owner gets one notice in this time at most, of all that went wrong since the last.
EVERY = timedelta(minutes=10)
NAMED_AT_MOST = 10
LIFETIME_HOURS = 24


def request_notices(*, now: datetime) -> list[int]:
    """Make the notices of runs whose owners are not told yet. Returns the ids of their runs, to be rendered.

    Nobody is told of a subscription without an owner, of what a paused one missed or let become worthless, nor of what
    was taken back.
    """
    with transaction.atomic():
        untold = _tellable(now).select_related("subscription__owner", "subscription__report").order_by("pk")
        by_owner: dict[User | None, list[Run]] = defaultdict(list)
        for run in unlocked(untold)[:BATCH]:
            by_owner[_owner(run)].append(run)
        _mark_told(by_owner.pop(None, []), None, now)
        notices = []
        for owner, runs in by_owner.items():
            notice = Run.objects.create(**_fields(owner, runs, now))
            _mark_told(runs, notice, now)
            notices.append(notice.pk)
    return notices


def order_of(notice: Run) -> tuple[Subscription, Audience]:
    """What a notice says, as a standing order that is not saved, and to whom: by WeCom, else by mail."""
    told = notice.told_runs.select_related("subscription").order_by("pk")
    runs = list(told[:NAMED_AT_MOST])
    unsent_count = told.exclude(status=Run.Status.FINISHED).count()
    report = Report(
        title=_title(told.count(), unsent_count), body=_text(runs, told.count() - len(runs)), link=_link(notice, runs)
    )
    order = Subscription(
        report=report,
        message_form=MessageForm.TEXTCARD,
        priority=Priority.URGENT,
        lifetime_hours=LIFETIME_HOURS,
        fallback_channel=Channel.EMAIL,
    )
    owner_ids = [] if notice.requested_by_id is None else [notice.requested_by_id]
    return order, Audience(user_ids=owner_ids, fallback_channel=Channel.EMAIL)


def _tellable(now: datetime) -> QuerySet[Run]:
    recent = Run.objects.filter(
        trigger=Run.Trigger.NOTICE, requested_by=OuterRef("subscription__owner"), claimed_at__gt=now - EVERY
    )
    return Run.objects.untold().filter(~Exists(recent))


def _owner(run: Run) -> User | None:
    """None where there is none, or where somebody has decided that it is not sent."""
    subscription = run.subscription
    if subscription is None or run.recall_asked_at is not None:
        return None
    return None if subscription.is_paused and run.status != Run.Status.FAILED else subscription.owner


def _fields(owner: User | None, runs: Sequence[Run], now: datetime) -> dict[str, object]:
    corp_ids = {run.corp_id for run in runs}
    return {
        "key": f"notice:{runs[0].pk}",
        # Who may see what it tells of, may see the notice.
        "corp_id": corp_ids.pop() if len(corp_ids) == 1 else None,
        "trigger": Run.Trigger.NOTICE,
        "requested_by": owner,
        "slot_at": now,
        "claimed_at": now,
        "render_after": now + RENDER_LEASE,
    }


def _mark_told(runs: Sequence[Run], notice: Run | None, now: datetime) -> None:
    told = Run.objects.filter(pk__in=[run.pk for run in runs])
    told.update(owner_told_at=now, owner_notice=notice)


def _title(count: int, unsent_count: int) -> str:
    """`unsent_count`: how many of them were not sent at all."""
    if unsent_count == count:
        title = ngettext("A push was not sent", "%(count)d pushes were not sent", count)
    else:
        title = ngettext("A push did not reach everybody", "%(count)d pushes did not reach everybody", count)
    return title % {"count": count}


def _text(runs: Sequence[Run], further_count: int) -> str:
    lines = [
        _("“%(name)s”, due %(time)s: %(reason)s")
        % {"name": run.subscription, "time": moment_line(run.slot_at, run.subscription.time_zone), "reason": run.error}
        for run in runs
        if run.subscription is not None
    ]
    if further_count:
        more = ngettext("and %(count)d more push", "and %(count)d more pushes", further_count)
        lines.append(more % {"count": further_count})
    return "\n".join(lines)


def _link(notice: Run, runs: Sequence[Run]) -> str:
    run = runs[0] if len(runs) == 1 else notice
    return reverse("admin:notifications_run_change", args=[run.pk])
