"""Notifies owners of subscriptions and alert rules about runs that were missed, failed or did not reach everybody.

Each run is reported once; several runs share a message. For alerts and incoming messages the owner of the channel or
token is notified. A notice is a run like any other, with the same guarantees.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Self

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from notifications import models
from notifications.delivery.explanations import name_runs, prepare_names
from notifications.delivery.rendering.message_builder import tidy_text, tidy_title
from notifications.delivery.rows import BATCH, RENDER_LEASE, lock_skipping
from notifications.models import Channel, Delivery, Run, Subscription
from notifications.reports.contents import dump_content, load_content
from notifications.sources import Audience, Content, RunContents, RunSource, Terms
from notifications.subscriptions.calendar import write_moment_in_zone

logger = logging.getLogger(__name__)

# An owner gets at most one notice in this time, about everything since the last.
NOTICE_PERIOD = timedelta(minutes=10)
NAMED_AT_MOST = 10
LIFETIME_HOURS = 24


def request_owner_notices(*, now: datetime) -> list[int]:
    """Pause subscriptions whose latest runs failed as often in a row as they allow, and make the notices of runs whose
    owners are not notified yet. Return the ids of the notices' runs, to be rendered.

    No notice is sent about runs of a subscription without an owner, about runs of a paused one unless they failed, and
    about recalled runs.
    """
    # Subscriptions are paused first, so that the notices mention it.
    pausing = Subscription.objects.filter(is_enabled=True, pauses_after_failures__gt=0)
    failing = pausing.filter(pk__in=Run.objects.unnotified().values("subscription")).values_list("pk", flat=True)
    paused_ids = [pk for pk in failing.order_by("pk") if _pause_if_failing(pk, now)]
    if paused_ids:
        logger.warning("paused after failures: subscriptions=%s", paused_ids)
    events = models.IncidentEvent.objects.filter(run=OuterRef("pk")).order_by("pk")
    owner_of_alert = events.values(found=Coalesce("incident__rule__owner", "incident__channel__owner"))[:1]
    owner = Coalesce("subscription__owner", "message__requested_by", Subquery(owner_of_alert))
    recent = Run.objects.filter(
        trigger=Run.Trigger.NOTICE, requested_by=OuterRef("owner"), claimed_at__gt=now - NOTICE_PERIOD
    )
    with transaction.atomic():
        due = Run.objects.unnotified().annotate(owner=owner).filter(~Exists(recent))
        unnotified = prepare_names(due).order_by("pk")
        by_owner: dict[int | None, list[Run]] = defaultdict(list)
        for run in lock_skipping(unnotified)[:BATCH]:
            push = run.subscription
            is_paused = push is not None and push.is_paused and run.status != Run.Status.FAILED
            # Nobody is notified about messages that a person decided not to send.
            is_intended = is_paused or run.recall_requested_at is not None
            by_owner[None if is_intended else run.owner].append(run)  # type: ignore[attr-defined]  # annotated above
        _mark_notified(by_owner.pop(None, []), None, now)
        notices = []
        for owner_id, runs in by_owner.items():
            corp_ids = {run.corp_id for run in runs}
            # The notice is visible to those who may see its runs.
            corp_id = corp_ids.pop() if len(corp_ids) == 1 else None
            key = f"notice:{runs[0].pk}"
            notice = save_notice(*_write_notice(runs), key=key, person_id=owner_id, corp_id=corp_id, now=now)
            _mark_notified(runs, notice, now)
            notices.append(notice.pk)
    return notices


@transaction.atomic
def save_notice(
    title: str, text: str, link: str, *, key: str, person_id: int | None, corp_id: int | None = None, now: datetime
) -> Run:
    """Save the run of a notice to one person, and its content. `link`: if empty, the notice's own page."""
    notice = Run.objects.create(
        key=key,
        corp_id=corp_id,
        trigger=Run.Trigger.NOTICE,
        requested_by_id=person_id,
        slot_at=now,
        claimed_at=now,
        render_after=now + RENDER_LEASE,
    )
    link = link or reverse("admin:notifications_run_change", args=[notice.pk])
    content = Content(tidy_title(title), tidy_text(text), link=link)
    models.FrozenContent.objects.create(run=notice, document=dump_content(content))
    return notice


class NoticeSource(RunSource):
    """The source of a notice's run, sent to the owner by WeCom, else by mail."""

    terms = Terms(models.MessageForm.TEXTCARD, models.Priority.URGENT, LIFETIME_HOURS)

    def __init__(self, notice: Run) -> None:
        self.notice = notice

    @classmethod
    def for_run(cls, run: Run) -> Self | None:
        """Return the source of a notice's run; None for a run of another kind (notifications.sources.run_sources)."""
        return cls(run) if run.trigger == Run.Trigger.NOTICE else None

    def find_audience(self) -> Audience:
        """Return the owner alone; nobody if the account was deleted."""
        owner_id = self.notice.requested_by_id
        return Audience(user_ids=[] if owner_id is None else [owner_id], fallback_channel=Channel.EMAIL)

    def build_contents(self, *, now: datetime) -> RunContents:
        """Return the content that was saved with the notice."""
        return RunContents(load_content(bytes(self.notice.contents.get().document)))


def _mark_notified(runs: Sequence[Run], notice: Run | None, now: datetime) -> None:
    notified = Run.objects.filter(pk__in=[run.pk for run in runs])
    notified.update(owner_notified_at=now, owner_notice=notice)


def _write_notice(runs: Sequence[Run]) -> tuple[str, str, str]:
    """Return title, text and link (empty: the notice's own page) of a notice about the runs, at most NAMED_AT_MOST of
    them by name. An incoming message is named once, by its first run."""
    first_runs = {run.message_id or f"run {run.pk}": run for run in reversed(runs)}
    reported = list(reversed(first_runs.values()))
    shown, count = reported[:NAMED_AT_MOST], len(reported)
    if any(run.status == Run.Status.FINISHED for run in reported):
        title = ngettext("A push did not reach everybody", "%(count)d pushes did not reach everybody", count)
    else:
        title = ngettext("A push was not sent", "%(count)d pushes were not sent", count)
    named, lines = name_runs(shown), list[str]()
    for run in shown:
        zone = settings.TIME_ZONE if run.subscription is None else run.subscription.time_zone
        words = {"name": named[run.pk], "time": write_moment_in_zone(run.slot_at, zone), "reason": run.error_text}
        lines.append(_("“%(name)s”, due %(time)s: %(reason)s") % words)
    if count > len(shown):
        more = ngettext("and %(count)d more push", "and %(count)d more pushes", count - len(shown))
        lines.append(more % {"count": count - len(shown)})
    lines += explain_auto_pauses(run.subscription for run in shown if run.subscription is not None)
    link = reverse("admin:notifications_run_change", args=[shown[0].pk]) if count == 1 else ""
    return title % {"count": count}, "\n".join(lines), link


# --- Subscriptions are paused after several failed runs in a row ---

# To find a number of failures, this many times as many runs are read, because some runs in between do not count.
_RUNS_PER_FAILURE = 4


@transaction.atomic
def _pause_if_failing(pk: int, now: datetime) -> bool:
    """Lock the subscription, and pause it if as many runs in a row have failed as it allows. Return whether it was
    paused. Runs that were recalled, or held up by a disabled, blocked or paused company, do not count."""
    rows = Subscription.objects.select_for_update(of=("self",)).filter(is_enabled=True, pauses_after_failures__gt=0)
    subscription = rows.filter(pk=pk).first()
    if subscription is None:
        return False
    # Its whole runs that ended since it was last enabled, newest first.
    ended = Run.objects.filter(
        subscription=subscription, status__in=[Run.Status.FAILED, Run.Status.FINISHED, Run.Status.SKIPPED]
    ).exclude(trigger__in=Run.PARTIAL)
    if subscription.failures_counted_from is not None:
        ended = ended.filter(claimed_at__gte=subscription.failures_counted_from)
    deliveries = Delivery.objects.filter(run=OuterRef("pk"))
    reached = deliveries.filter(
        status__in=[Delivery.Status.ACCEPTED, Delivery.Status.UNKNOWN],
        recipient_count__gt=F("invalid_count") + F("unlicensed_count"),
    )
    held_up = models.Receipt.objects.filter(run=OuterRef("pk"), reason=models.Receipt.Reason.CORP_DISABLED)
    runs: QuerySet[Any] = ended.order_by("-pk").annotate(
        is_reaching=Exists(reached),
        is_held_up=Exists(deliveries.filter(status=Delivery.Status.CANCELED)) | Exists(held_up),
    )
    at_most, count = subscription.pauses_after_failures, 0
    for run in runs[: at_most * _RUNS_PER_FAILURE]:
        if run.recall_requested_at is not None:
            continue
        if run.status != Run.Status.FAILED:
            if run.status == Run.Status.SKIPPED or run.is_reaching or not run.error:
                return False
            if run.is_held_up:
                continue
        count += 1
        if count == at_most:
            subscription.is_enabled, subscription.failures_paused_at = False, now
            subscription.save(update_fields=["is_enabled", "failures_paused_at"])
            return True
    return False


def restart_failure_count(subscription: Subscription, *, now: datetime) -> set[str]:
    """Let failures be counted from now on, because the subscription is enabled again. Return the columns to save."""
    subscription.failures_paused_at, subscription.failures_counted_from = None, now
    return {"failures_paused_at", "failures_counted_from"}


def explain_auto_pauses(subscriptions: Iterable[Subscription]) -> list[str]:
    """Explain, for each automatically paused subscription, what happened and what to do."""
    sentence = _(
        "“%(name)s” was paused automatically after %(count)d failed runs in a row. Solve the problems that the runs "
        "name, then tick “enabled” on its page."
    )
    found = {one.pk: one for one in subscriptions if one.failures_paused_at is not None}
    return [sentence % {"name": one, "count": one.pauses_after_failures} for one in found.values()]
