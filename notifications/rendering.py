"""Turns a run into frozen deliveries and one receipt per person, all in one transaction."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import translation
from django.utils.translation import gettext as _

from accounts.models import fold_userid
from integrations.models import Corp
from integrations.wecom.messages import USERS_AT_MOST
from notifications import admission, owner_notices
from notifications.freezing import Batch, RenderingError, mail_batches, write_delivery
from notifications.models import Channel, Receipt, Robot, Run
from notifications.recipients import Audience, Recipient, audience_of, resolve
from notifications.timing import RENDER_LEASE

if TYPE_CHECKING:
    from notifications.clock import Clock
    from notifications.models import Subscription

T = TypeVar("T")
logger = logging.getLogger(__name__)

# A rendering that failed this often (crash, database gone) is given up.
RENDERINGS_AT_MOST = 5
RECEIPT_BATCH = 2000


def render_run(*, run_id: int, now: datetime, language: str | None = None) -> list[int]:
    """Write the run's deliveries and receipts, once. Returns the ids of the deliveries to send.

    Safe to run twice and side by side: the second gets an empty list. `language`: of the words that we add, the
    deployment's where it is not given. A run that cannot be rendered becomes failed, with the reason.
    """
    started = Run.objects.filter(pk=run_id, status=Run.Status.WAITING)
    if not started.update(render_count=F("render_count") + 1, render_after=now + RENDER_LEASE):
        return []
    try:
        with translation.override(language or settings.LANGUAGE_CODE):
            plan = _planned(Run.objects.select_related("subscription__report").get(pk=run_id))
            with transaction.atomic():
                run = _locked(run_id)
                return [] if run is None else _render(run, plan, now)
    except RenderingError as error:
        started.update(status=Run.Status.FAILED, error=str(error), finished_at=now)
        return []


def render_runs(run_ids: Iterable[int], *, clock: Clock, is_stopping: Callable[[], bool]) -> list[int]:
    """Render each run. Returns the ids of all deliveries to send.

    A run that crashes is left for a later attempt and keeps no other from being rendered. A worker that ends gives
    the rest back.
    """
    remaining, delivery_ids = deque(run_ids), []
    while remaining and not is_stopping():
        run_id = remaining.popleft()
        try:
            delivery_ids += render_run(run_id=run_id, now=clock())
        except Exception:  # the edge of the loop
            logger.exception("run=%d could not be rendered", run_id)
    if remaining:
        Run.objects.filter(pk__in=remaining, status=Run.Status.WAITING).update(render_after=clock())
    return delivery_ids


def _locked(run_id: int) -> Run | None:
    return Run.objects.select_for_update(of=("self",)).filter(pk=run_id, status=Run.Status.WAITING).first()


@dataclass(frozen=True)
class _Plan:
    subscription: Subscription
    batches: list[Batch]
    skipped: list[Recipient]


def _planned(run: Run) -> _Plan:
    """Who gets it, in which calls. Writes nothing. Raises RenderingError."""
    if run.render_count > RENDERINGS_AT_MOST:
        raise RenderingError(_("Making the messages failed %(count)d times.") % {"count": RENDERINGS_AT_MOST})
    subscription, audience = _order(run)
    if audience.robot_id is not None:
        return _Plan(subscription, [_robot_batch(audience.robot_id)], [])
    by_corp, mailed, skipped = _sorted(resolve(audience))
    corps = Corp.objects.select_related("site_address").filter(pk__in=by_corp).order_by("pk")
    batches = [batch for corp in corps for batch in _batches_of(corp, by_corp[corp.pk])]
    return _Plan(subscription, [*batches, *mail_batches(mailed, subscription)], skipped)


def _order(run: Run) -> tuple[Subscription, Audience]:
    if run.trigger == Run.Trigger.NOTICE:
        return owner_notices.order_of(run)
    if run.subscription is None:
        raise RenderingError(_("The subscription was deleted before its messages were made."))
    return run.subscription, audience_of(run, run.subscription)


def _robot_batch(robot_id: int) -> Batch:
    robot = Robot.objects.select_related("corp__site_address").get(pk=robot_id)
    return Batch(robot.corp, [], channel=Channel.ROBOT, robot=robot)


def _batches_of(corp: Corp, people: list[Recipient]) -> Iterator[Batch]:
    """Those who had too many messages of the app just now are split off before anything is frozen, and wait."""
    waits = admission.member_waits(corp, [fold_userid(person.userid) for person in people])
    free = [person for person, wait in zip(people, waits, strict=True) if not wait]
    held = sorted(
        ((wait, person) for person, wait in zip(people, waits, strict=True) if wait), key=lambda each: each[0]
    )
    for batch in _batches(free, USERS_AT_MOST):
        yield Batch(corp, batch)
    for waiting in _batches(held, USERS_AT_MOST):
        yield Batch(corp, [person for _wait, person in waiting], max(wait for wait, _person in waiting))


def _render(run: Run, plan: _Plan, now: datetime) -> list[int]:
    delivery_ids = [write_delivery(run, plan.subscription, batch, now).pk for batch in plan.batches]
    _write_skipped(run, plan.skipped)
    run.recipient_count = sum(len(batch.people) or 1 for batch in plan.batches)
    run.skipped_count = len(plan.skipped)
    run.rendered_at = now
    run.status = Run.Status.SENDING if delivery_ids else Run.Status.FINISHED
    run.finished_at = None if delivery_ids else now
    run.save(update_fields=["rendered_at", "status", "finished_at", "recipient_count", "skipped_count"])
    return delivery_ids


def _sorted(
    recipients: Iterable[Recipient],
) -> tuple[dict[int, list[Recipient]], list[Recipient], list[Recipient]]:
    """Those who can be reached by an app, by company and in their order; by mail; and those who cannot."""
    by_corp: dict[int, list[Recipient]] = defaultdict(list)
    mailed: list[Recipient] = []
    skipped: list[Recipient] = []
    for recipient in recipients:
        if recipient.reason is None and recipient.channel == Channel.EMAIL:
            mailed.append(recipient)
        elif recipient.reason is None and recipient.corp_id is not None:
            by_corp[recipient.corp_id].append(recipient)
        else:
            skipped.append(recipient)
    return by_corp, mailed, skipped


def _write_skipped(run: Run, people: list[Recipient]) -> None:
    Receipt.objects.bulk_create(
        (
            Receipt(
                run=run,
                user_id=person.user_id,
                channel=person.channel,
                address=person.address,
                status=Receipt.Status.SKIPPED,
                reason=person.reason or "",
            )
            for person in people
        ),
        batch_size=RECEIPT_BATCH,
    )


def _batches(people: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(people), size):
        yield people[start : start + size]
