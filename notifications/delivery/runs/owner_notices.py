"""Notifies owners of subscriptions and alert rules of runs that were missed, failed or did not reach everybody.

Once for each run; several runs in one message. Of alerts and messages from outside, the owner of the token or of the
channel is notified. A notice is a run like any other, with the same guarantees.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from integrations.core.sentences import Sentence
from integrations.hooks import Hook
from notifications.delivery.failures import explain_runs
from notifications.delivery.locking import BATCH, unlocked
from notifications.delivery.rendering.message_builder import tidy_text, tidy_title
from notifications.delivery.runs import auto_pause, names
from notifications.delivery.runs.notices import new_notice
from notifications.models import (
    Channel,
    IncidentNotice,
    MessageForm,
    Priority,
    Run,
)
from notifications.sources import Audience, Content, NotWorthSending, OneContent, Terms
from notifications.subscriptions.schedules.descriptions import moment_line

if TYPE_CHECKING:
    from integrations.models import Corp, SiteAddress

# An owner gets one notice in this time at most, of all that went wrong since the last.
EVERY = timedelta(minutes=10)
NAMED_AT_MOST = 10
# Asked what a notice says that tells of something else than runs: None for a notice of another kind.
notice_contents: Hook[[Run], Content | None] = Hook()
LIFETIME_HOURS = 24


def request_notices(*, now: datetime) -> list[int]:
    """Make the notices of runs whose owners are not told yet. Returns the ids of their runs, to be rendered.

    Nobody is told of a subscription without an owner, of what a paused one missed or let become worthless, nor of what
    was taken back.
    """
    with transaction.atomic():
        unnotified = _notifiable(now).select_related("subscription__report").order_by("pk")
        by_owner: dict[int | None, list[Run]] = defaultdict(list)
        for run in unlocked(unnotified)[:BATCH]:
            by_owner[_owner_id(run)].append(run)
        _mark_notified(by_owner.pop(None, []), None, now)
        notices = []
        for owner_id, runs in by_owner.items():
            corp_ids = {run.corp_id for run in runs}
            # Who may see what it tells of, may see the notice.
            corp_id = corp_ids.pop() if len(corp_ids) == 1 else None
            notice = new_notice(key=f"notice:{runs[0].pk}", person_id=owner_id, corp_id=corp_id, now=now)
            notice.save()
            _mark_notified(runs, notice, now)
            notices.append(notice.pk)
    return notices


def source_of_notice(run: Run) -> NoticeSource | None:
    """None for a run that is no notice (notifications.sources.source_of)."""
    return NoticeSource(run) if run.trigger == Run.Trigger.NOTICE else None


class NoticeSource:
    """What a notice says, and to whom: by WeCom, else by mail."""

    terms = Terms(MessageForm.TEXTCARD, Priority.URGENT, LIFETIME_HOURS)

    def __init__(self, notice: Run) -> None:
        self._notice = notice

    def audience(self) -> Audience:
        """The owner alone; nobody where the account is gone."""
        owner_id = self._notice.requested_by_id
        return Audience(user_ids=[] if owner_id is None else [owner_id], fallback_channel=Channel.EMAIL)

    def contents(self, *, now: datetime) -> OneContent:
        """The runs that it reports, at most NAMED_AT_MOST of them by name; or what else it tells of. Raises
        NotWorthSending where nothing of that is left."""
        if content := notice_contents.first(self._notice):
            return OneContent(content)
        notified = _once_per_message(names.nameable(self._notice.notified_runs.order_by("pk")))
        runs, count = list(notified[:NAMED_AT_MOST]), notified.count()
        if not runs:
            raise NotWorthSending(Sentence("What it was to tell of is settled."))
        title = _title(count, notified.exclude(status=Run.Status.FINISHED).count())
        text = _text(runs, count - len(runs))
        return OneContent(Content(tidy_title(title), tidy_text(text), link=_link(self._notice, runs)))

    def app_body(self, corp: Corp, userids: list[str], *, address: SiteAddress, mark: str, now: datetime) -> None:
        """As its message form says."""

    def note_unreached(self, reason: str) -> None:
        """Its run says it."""


def _once_per_message(runs: QuerySet[Run]) -> QuerySet[Run]:
    """Without the further files of an incoming message that is among them."""
    earlier = Run.objects.filter(
        owner_notice=OuterRef("owner_notice"), message=OuterRef("message"), pk__lt=OuterRef("pk")
    )
    return runs.filter(~Exists(earlier))


def _notifiable(now: datetime) -> QuerySet[Run]:
    notices = IncidentNotice.objects.filter(run=OuterRef("pk")).order_by("pk")
    owner_of_alert = notices.values(found=Coalesce("incident__rule__owner", "incident__channel__owner"))[:1]
    runs = Run.objects.unnotified().annotate(
        owner=Coalesce("subscription__owner", "message__requested_by", Subquery(owner_of_alert))
    )
    recent = Run.objects.filter(trigger=Run.Trigger.NOTICE, requested_by=OuterRef("owner"), claimed_at__gt=now - EVERY)
    return runs.filter(~Exists(recent))


def _owner_id(run: Run) -> int | None:
    """None where there is none, or where somebody has decided that it is not sent."""
    subscription = run.subscription
    if run.recall_requested_at is not None:
        return None
    if subscription is not None and subscription.is_paused and run.status != Run.Status.FAILED:
        return None
    owner_id: int | None = run.owner  # type: ignore[attr-defined]  # annotated in _notifiable
    return owner_id


def _mark_notified(runs: Sequence[Run], notice: Run | None, now: datetime) -> None:
    notified = Run.objects.filter(pk__in=[run.pk for run in runs])
    notified.update(owner_notified_at=now, owner_notice=notice)


def _title(count: int, unsent_count: int) -> str:
    """`unsent_count`: how many of them were not sent at all."""
    if unsent_count == count:
        title = ngettext("A push was not sent", "%(count)d pushes were not sent", count)
    else:
        title = ngettext("A push did not reach everybody", "%(count)d pushes did not reach everybody", count)
    return title % {"count": count}


def _text(runs: Sequence[Run], further_count: int) -> str:
    reasons, named = explain_runs(runs), names.of_runs(runs)
    lines = [
        _("“%(name)s”, due %(time)s: %(reason)s")
        % {"name": named[run.pk], "time": moment_line(run.slot_at, _time_zone(run)), "reason": reasons[run.pk]}
        for run in runs
    ]
    if further_count:
        more = ngettext("and %(count)d more push", "and %(count)d more pushes", further_count)
        lines.append(more % {"count": further_count})
    lines += auto_pause.sentences(run.subscription for run in runs if run.subscription is not None)
    return "\n".join(lines)


def _time_zone(run: Run) -> str:
    return settings.TIME_ZONE if run.subscription is None else run.subscription.time_zone


def _link(notice: Run, runs: Sequence[Run]) -> str:
    run = runs[0] if len(runs) == 1 else notice
    return reverse("admin:notifications_run_change", args=[run.pk])
