"""Rendering: a run becomes frozen deliveries and one receipt per person, all in one transaction."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.utils import translation
from structlog.contextvars import bound_contextvars

from accounts.models import fold_userid
from integrations.clients.transport import read_boot_clock
from integrations.clients.wecom.builders import USERS_AT_MOST
from integrations.core.background import guarded, lease_kept
from integrations.core.sentences import Sentence
from integrations.models import Corp
from notifications.delivery import limiter
from notifications.delivery.channels import app_name, member_limits
from notifications.delivery.explanations import explain_no_messages
from notifications.delivery.rendering import report_data
from notifications.delivery.rendering.attachments import Plan, plan_attachments
from notifications.delivery.rendering.freeze import Batch, freeze_contents, mail_batches, write_deliveries
from notifications.delivery.rendering.report_data import DataPending
from notifications.delivery.rows import RENDER_LEASE, share_freezing, update_unlocked
from notifications.models import Channel, MessageForm, Receipt, ReportCard, Robot, Run
from notifications.sources import (
    Audience,
    LeftOut,
    NotWorthSending,
    RenderingError,
    RunContents,
    RunSource,
    source_of,
)
from notifications.subscriptions.recipients import Recipient, find_recipients, recheck_people

if TYPE_CHECKING:
    from integrations.core.background import Clock

T = TypeVar("T")

logger = logging.getLogger(__name__)

# A rendering that failed this often (crash, database gone) is given up.
RENDERINGS_AT_MOST = 5
# Longer than planning the largest run takes: what hangs any longer, as over a connection to a server that is gone, is
# another worker's.
KEPT_AT_MOST = timedelta(minutes=10)
RECEIPT_BATCH = 2000
# People whose messages are written at once.
PORTION = 1000


def render_run(*, run_id: int, now: datetime, language: str | None = None) -> list[int]:
    """Write the run's deliveries and receipts, once. Returns the ids of the deliveries to send.

    Safe to run twice and side by side: the second gets an empty list. `language`: of the words that we add, the
    deployment's where it is not given. A run that cannot be rendered becomes failed, with the reason; one that is not
    worth sending is skipped; one whose data is still being fetched waits on.
    """
    started = Run.objects.filter(pk=run_id, status=Run.Status.WAITING)
    if not started.update(render_count=F("render_count") + 1, render_after=now + RENDER_LEASE):
        return []
    try:
        with translation.override(language or settings.LANGUAGE_CODE):
            with lease_kept(_renewal(run_id, now)):
                plan = _plan_messages(run_id, now)
            with transaction.atomic():
                run = started.select_for_update(of=("self",)).first()
                return [] if run is None else _render(run, _update_plan(plan), now)
    except RenderingError as error:
        started.update(status=Run.Status.FAILED, error=error.sentence.stored(), finished_at=now)
    except NotWorthSending as skipped:
        started.update(status=Run.Status.SKIPPED, error=skipped.sentence.stored(), finished_at=now)
    except DataPending:
        # Nothing failed, so this rendering does not count as one that did.
        started.update(render_count=F("render_count") - 1, render_after=now + report_data.RECHECK_AFTER)
    return []


def _renewal(run_id: int, now: datetime) -> Callable[[], None]:
    began = read_boot_clock()

    def renew() -> None:
        passed = timedelta(seconds=read_boot_clock() - began)
        if passed < KEPT_AT_MOST:
            until = now + passed + RENDER_LEASE
            held = Run.objects.filter(pk=run_id, status=Run.Status.WAITING, render_after__lt=until)
            update_unlocked(held, render_after=until)

    return renew


def render_runs(run_ids: Iterable[int], *, clock: Clock, is_stopping: Callable[[], bool]) -> list[int]:
    """Render each run. Returns the ids of all deliveries to send.

    A run that crashes is left for a later attempt and keeps no other from being rendered. A worker that ends gives
    the rest back.
    """
    remaining, delivery_ids = deque(run_ids), []
    while remaining and not is_stopping():
        run_id = remaining.popleft()
        with bound_contextvars(run_id=run_id), guarded(logger, "run=%d could not be rendered", run_id):
            delivery_ids += render_run(run_id=run_id, now=clock())
    if remaining:
        now = clock()
        held = Run.objects.filter(pk__in=remaining, status=Run.Status.WAITING, render_after__gt=now)
        update_unlocked(held, render_after=now)
    return delivery_ids


@dataclass(frozen=True)
class _Plan:
    source: RunSource
    audience: Audience
    batches: list[Batch]
    skipped: list[Recipient]
    fingerprint: str = ""


def _plan_messages(run_id: int, now: datetime) -> _Plan:
    """Decide who gets what, in which calls. Writes nothing. Raises RenderingError, NotWorthSending and DataPending."""
    # Most reports have no cards, and need not be asked for them.
    has_cards = Exists(ReportCard.objects.filter(report=OuterRef("subscription__report")))
    runs = Run.objects.select_related("subscription__report__page_picture", "message").annotate(has_cards=has_cards)
    run = runs.defer("message__original", "message__page").get(pk=run_id)
    if run.render_count > RENDERINGS_AT_MOST:
        raise RenderingError(Sentence("Making the messages failed %(count)d times.") % {"count": RENDERINGS_AT_MOST})
    source = source_of(run)
    audience = source.audience()
    contents = source.contents(now=now)
    form = source.terms.form
    if audience.robot_id is not None:
        robot = Robot.objects.select_related("corp__site_address").get(pk=audience.robot_id)
        batch = Batch(robot.corp, [], contents.of(None), channel=Channel.ROBOT, robot=robot)
        return _Plan(source, audience, plan_media(form, contents, [batch]), [], contents.fingerprint)
    by_corp: dict[int, list[Recipient]] = defaultdict(list)
    mailed, skipped = list[Recipient](), list[Recipient]()
    for person in _with_messages(find_recipients(audience, contents), contents):
        if person.reason is None and person.channel == Channel.EMAIL:
            mailed.append(person)
        elif person.reason is None and person.corp_id is not None:
            by_corp[person.corp_id].append(person)
        else:
            skipped.append(person)
    corps = Corp.objects.select_related("site_address").filter(pk__in=by_corp).order_by("pk")
    calls = []
    for corp in corps:
        # Who had too many messages of the app just now is split off before anything is frozen.
        people, member = by_corp[corp.pk], member_limits(app_name(corp.corpid, corp.agentid))
        waits = limiter.member_waits(member, [fold_userid(person.userid) for person in people])
        for call, wait_seconds in split_into_calls(people, waits, lambda person: contents.key_of(person.user_id)):
            calls.append(Batch(corp, call, contents.of(call[0].user_id), wait_seconds=wait_seconds))
    mails = mail_batches(mailed, source.terms.corp_id, lambda person: (contents.of(person.user_id), None))
    return _Plan(source, audience, plan_media(form, contents, [*calls, *mails]), skipped, contents.fingerprint)


def plan_media(form: MessageForm, contents: RunContents, batches: Iterable[Batch]) -> list[Batch]:
    """Return the batches with their pictures and files, planned once for all who get a content on one channel."""
    language = translation.get_language() or settings.LANGUAGE_CODE
    known: dict[tuple[int, str], Plan] = {}
    found = []
    for batch in batches:
        content, channel = batch.content, batch.channel
        key = id(content), channel
        if key not in known:
            zone = content.time_zone
            known[key] = plan_attachments(form, channel, content, contents.charts, language=language, time_zone=zone)
        found.append(replace(batch, media=known[key]))
    return found


def _with_messages(people: Iterable[Recipient], contents: RunContents) -> Iterable[Recipient]:
    """Return the people; leave out whose own content cannot be written, with that as the reason.

    Raises RenderingError where nobody's can be written.
    """
    if not contents.is_split:
        return people
    errors: dict[Hashable, RenderingError] = {}
    found, is_written = [], False
    for person in people:
        key = contents.key_of(person.user_id)
        if person.reason is None and key not in errors:
            try:
                contents.of(person.user_id)
                is_written = True
            except RenderingError as error:
                errors[key] = error
        if person.reason is None and key in errors:
            detail = Sentence("their message could not be made: %(reason)s") % {"reason": errors[key].sentence}
            found.append(person.left_out(LeftOut(Receipt.Reason.NO_MESSAGE, detail)))
        else:
            found.append(person)
    if errors and not is_written:
        raise next(iter(errors.values()))
    return found


def split_into_calls(
    people: Sequence[T], waits: Sequence[float], key_of: Callable[[T], Hashable]
) -> Iterator[tuple[list[T], float]]:
    """Yield the people of each call (1 to USERS_AT_MOST), with the seconds that it must wait. Pure.

    Who gets the same shares a call. `waits`: for each person the seconds until the app may write to them again, 0 for
    now; nobody is kept waiting by others, unless they wait too. `key_of`: equal for people who get the same.

    Source: developer.work.weixin.qq.com/document/path/90236, touser.
    """
    in_time = sorted(zip(waits, people, strict=True), key=lambda each: each[0])
    for _is_held, group in groupby(in_time, key=lambda each: each[0] > 0):
        alike: dict[Hashable, list[tuple[float, T]]] = defaultdict(list)
        for wait_seconds, person in group:
            alike[key_of(person)].append((wait_seconds, person))
        for same in alike.values():
            for start in range(0, len(same), USERS_AT_MOST):
                call = same[start : start + USERS_AT_MOST]
                yield [person for _wait, person in call], call[-1][0]


def _update_plan(plan: _Plan) -> _Plan:
    """Keep those who can still be reached, at their userids of now. One query where nobody has changed.

    Planning takes a while: whoever withdraws or renames somebody meanwhile finds nothing frozen yet. From here on they
    wait, and find it.
    """
    planned = {person.user_id: person for batch in plan.batches for person in batch.people}
    if not planned:
        return plan
    share_freezing({batch.corp.pk for batch in plan.batches})
    found = recheck_people(plan.audience, planned)
    changed = {pk: _update_recipient(planned[pk], person) for pk, person in found.items() if person != planned[pk]}
    if not changed:
        return plan
    kept = []
    for batch in plan.batches:
        people = [changed.get(person.user_id, person) for person in batch.people]
        reached = [person for person in people if person.reason is None]
        if reached or batch.robot is not None:
            kept.append(replace(batch, people=reached))
    lost = [person for person in changed.values() if person.reason is not None]
    return replace(plan, batches=kept, skipped=[*plan.skipped, *lost])


def _update_recipient(planned: Recipient, found: Recipient) -> Recipient:
    """Return a planned person as found now; as planned, if they would now be reached by another way.

    Who is no longer linked to the app is left out.
    """
    reason = found.reason or (found.detour if planned.channel == Channel.WECOM else None)
    if reason is not None:
        return planned.left_out(LeftOut(reason))
    is_same_way = (found.channel, found.corp_id) == (planned.channel, planned.corp_id)
    return found if is_same_way else planned


def _render(run: Run, plan: _Plan, now: datetime) -> list[int]:
    delivery_ids = _write_batches(run, plan, now)
    skipped = (
        Receipt(
            run=run,
            user_id=person.user_id,
            channel=person.channel,
            address=person.address,
            status=Receipt.Status.SKIPPED,
            reason=person.reason or "",
            detail="" if person.detail is None else person.detail.stored(),
        )
        for person in plan.skipped
    )
    Receipt.objects.bulk_create(skipped, batch_size=RECEIPT_BATCH)
    run.recipient_count = sum(len(batch.people) or 1 for batch in plan.batches)
    run.skipped_count = len(plan.skipped)
    run.rendered_at = now
    run.status = Run.Status.SENDING if delivery_ids else Run.Status.FINISHED
    run.finished_at = None if delivery_ids else now
    loss = None if delivery_ids else explain_no_messages({person.reason for person in plan.skipped})
    run.error = "" if loss is None else loss.stored()
    run.fingerprint = plan.fingerprint
    counts = ("recipient_count", "skipped_count")
    run.save(update_fields=[*counts, "rendered_at", "status", "finished_at", "error", "fingerprint"])
    if run.error:
        plan.source.note_unreached(run.error)
    return delivery_ids


def _write_batches(run: Run, plan: _Plan, now: datetime) -> list[int]:
    """Write what is kept of the contents, once for all who share one, and the deliveries, for PORTION people at once:
    enough to save statements, and no more than there is memory for. Returns their ids."""
    delivery_ids, kept, seen = list[int](), dict[int, int](), set[int]()
    portion, count = list[Batch](), 0
    for number, batch in enumerate(plan.batches, start=1):
        portion.append(batch)
        count += len(batch.people) or 1
        if count < PORTION and number < len(plan.batches):
            continue
        contents = {id(one.content): one.content for one in portion}
        kept |= freeze_contents(run, [content for key, content in contents.items() if key not in seen])
        seen |= contents.keys()
        rows = [replace(one, content_id=kept.get(id(one.content))) for one in portion]
        delivery_ids += write_deliveries(run, plan.source, rows, now)
        portion, count = [], 0
    return delivery_ids
