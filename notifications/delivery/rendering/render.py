"""Rendering: turns a run into frozen deliveries and a receipt per person, in one transaction.

First the contents and recipients are planned, outside the transaction; then the exact bytes are written.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TypeVar

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.utils import translation
from django.utils.crypto import salted_hmac
from structlog.contextvars import bound_contextvars

from accounts.models import fold_userid
from integrations.clients.transport import read_boot_clock
from integrations.clients.wecom.builders import USERS_AT_MOST, MessageError
from integrations.core.background import Clock, keep_lease, log_errors
from integrations.core.sentences import Sentence
from integrations.models import Corp, SiteAddress
from notifications import models, sources
from notifications.delivery import attachments, limiter
from notifications.delivery.attachments import MEDIA_FORMS, NOTHING, Plan, Wanted
from notifications.delivery.channels import app_limits
from notifications.delivery.explanations import explain_no_messages
from notifications.delivery.rendering.message_builder import (
    PLAIN_FORMS,
    TITLE_CHARACTERS,
    Words,
    build_body,
    build_mail_body,
    build_robot_body,
    clip_text,
    drop_picture,
)
from notifications.delivery.rendering.report_contents import RECHECK_AFTER, DataPending
from notifications.delivery.rows import RENDER_LEASE, lock_freezing_shared, update_unlocked
from notifications.models import Channel, Delivery, Medium, MessageForm, Receipt, Run
from notifications.reports.contents import dump_content
from notifications.sources import Content, RenderingError, RunSource
from notifications.subscriptions.recipients import Recipient, find_recipients, recheck_people

T = TypeVar("T")

logger = logging.getLogger(__name__)

# A run whose rendering failed this often (crash, database gone) is given up.
RENDERINGS_AT_MOST = 5
# Longer than planning the largest run takes. Another worker takes over a run whose planning hangs longer.
KEPT_AT_MOST = timedelta(minutes=10)
RECEIPT_BATCH = 2000
# People whose messages are written at once.
PORTION = 1000


def render_run(*, run_id: int, now: datetime) -> list[int]:
    """Write the run's deliveries and receipts, once. Return the ids of the deliveries to send.

    It is safe to repeat and to run in parallel: the second call returns an empty list. Our own words are in the
    deployment's language. A run that cannot be rendered becomes failed, with the reason; a run not worth sending is
    skipped; a run whose data is still being fetched keeps waiting.
    """
    started = Run.objects.filter(pk=run_id, status=Run.Status.WAITING)
    if not started.update(render_count=F("render_count") + 1, render_after=now + RENDER_LEASE):
        return []
    try:
        with translation.override(settings.LANGUAGE_CODE):
            with keep_lease(make_lease_renewal(run_id, now)):
                plan = _plan_messages(run_id, now)
            with transaction.atomic():
                run = started.select_for_update(of=("self",)).first()
                return [] if run is None else _write_run(run, _update_plan(plan), now)
    except RenderingError as error:
        started.update(status=Run.Status.FAILED, error=error.sentence.stored(), finished_at=now)
    except sources.NotWorthSending as skipped:
        started.update(status=Run.Status.SKIPPED, error=skipped.sentence.stored(), finished_at=now)
    except DataPending:
        # Nothing failed, so this rendering does not count.
        started.update(render_count=F("render_count") - 1, render_after=now + RECHECK_AFTER)
    return []


def make_lease_renewal(run_id: int, now: datetime) -> Callable[[], None]:
    """Return a function that renews the lease of a run whose planning began at `now`."""
    began = read_boot_clock()

    def renew() -> None:
        passed = timedelta(seconds=read_boot_clock() - began)
        if passed < KEPT_AT_MOST:
            until = now + passed + RENDER_LEASE
            held = Run.objects.filter(pk=run_id, status=Run.Status.WAITING, render_after__lt=until)
            update_unlocked(held, render_after=until)

    return renew


def render_runs(run_ids: Iterable[int], *, clock: Clock, is_stopping: Callable[[], bool]) -> list[int]:
    """Render each run. Return the ids of all deliveries to send.

    A run that crashes is left for a later attempt and does not stop the others. A stopping worker gives the rest back.
    """
    remaining, delivery_ids = deque(run_ids), []
    while remaining and not is_stopping():
        run_id = remaining.popleft()
        with bound_contextvars(run_id=run_id), log_errors(logger, "run=%d could not be rendered", run_id):
            delivery_ids += render_run(run_id=run_id, now=clock())
    if remaining:
        now = clock()
        held = Run.objects.filter(pk__in=remaining, status=Run.Status.WAITING, render_after__gt=now)
        update_unlocked(held, render_after=now)
    return delivery_ids


@dataclass(frozen=True)
class MessagePlan:
    source: RunSource
    audience: sources.Audience
    batches: list[Batch]
    skipped: list[Recipient]
    fingerprint: str = ""


def _plan_messages(run_id: int, now: datetime) -> MessagePlan:
    """Decide who gets what, in which calls. Write nothing. Raises RenderingError, NotWorthSending and DataPending."""
    # Most reports have no cards; this saves the query for them.
    has_cards = Exists(models.ReportCard.objects.filter(report=OuterRef("subscription__report")))
    runs = Run.objects.select_related("subscription__report", "message").annotate(has_cards=has_cards)
    run = runs.defer("message__original", "message__page").get(pk=run_id)
    if run.render_count > RENDERINGS_AT_MOST:
        raise RenderingError(Sentence("Making the messages failed %(count)d times.") % {"count": RENDERINGS_AT_MOST})
    source = sources.source_of(run)
    audience = source.audience()
    contents = source.contents(now=now)
    form = source.terms.form
    if audience.robot_id is not None:
        robot = models.Robot.objects.select_related("corp__site_address").get(pk=audience.robot_id)
        batch = Batch(robot.corp, [], contents.of(None), channel=Channel.ROBOT, robot=robot)
        return MessagePlan(source, audience, plan_media(form, contents, [batch]), [], contents.fingerprint)
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
        # People who just had too many messages of the app are split off before freezing.
        people, app = by_corp[corp.pk], app_limits(corp.corpid, corp.agentid)
        waits = limiter.member_waits(app, [fold_userid(person.userid) for person in people])
        for call, wait_seconds in split_into_calls(people, waits, lambda person: contents.key_of(person.user_id)):
            calls.append(Batch(corp, call, contents.of(call[0].user_id), wait_seconds=wait_seconds))
    mails = make_mail_batches(mailed, source.terms.corp_id, lambda person: (contents.of(person.user_id), None))
    return MessagePlan(source, audience, plan_media(form, contents, [*calls, *mails]), skipped, contents.fingerprint)


def plan_media(form: MessageForm, contents: sources.RunContents, batches: Iterable[Batch]) -> list[Batch]:
    """Return the batches with their pictures and files, planned once per content and channel."""
    language = translation.get_language() or settings.LANGUAGE_CODE
    known: dict[tuple[int, str], Plan] = {}
    found = []
    for batch in batches:
        content, channel = batch.content, batch.channel
        key = id(content), channel
        if key not in known:
            zone = content.time_zone
            has_media = content.media or content.cards or content.page
            known[key] = (
                attachments.plan_attachments(form, channel, content, contents.charts, language=language, time_zone=zone)
                if has_media
                else NOTHING
            )
        found.append(replace(batch, media=known[key]))
    return found


def _with_messages(people: Iterable[Recipient], contents: sources.RunContents) -> Iterable[Recipient]:
    """Return the people. Those whose own content cannot be written are left out, with the reason.

    Raises RenderingError if no content can be written.
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
            found.append(person.skip(sources.SkipReason(Receipt.Reason.NO_MESSAGE, detail)))
        else:
            found.append(person)
    if errors and not is_written:
        raise next(iter(errors.values()))
    return found


def split_into_calls(
    people: Sequence[T], waits: Sequence[float], key_of: Callable[[T], Hashable]
) -> Iterator[tuple[list[T], float]]:
    """Yield the people of each call (1 to USERS_AT_MOST), with the seconds that it must wait. Pure.

    People with equal content share a call. `waits`: for each person the seconds until the app may write to them again,
    0 for now; people who need not wait are never delayed by others. `key_of`: equal for people with equal content.

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


def _update_plan(plan: MessagePlan) -> MessagePlan:
    """Drop people who cannot be reached any more, and update userids. One query if nobody has changed.

    Somebody who left or was renamed during planning is caught here. From now on such changes wait until the deliveries
    are written, and then change those.
    """
    planned = {person.user_id: person for batch in plan.batches for person in batch.people}
    if not planned:
        return plan
    lock_freezing_shared({batch.corp.pk for batch in plan.batches})
    found = recheck_people(plan.audience, planned)
    changed = {}
    for pk, now_found in found.items():
        before = planned[pk]
        if now_found == before:
            continue
        reason = now_found.reason or (now_found.fallback_reason if before.channel == Channel.WECOM else None)
        if reason is not None:  # such as a person who is no longer linked to the app
            changed[pk] = before.skip(sources.SkipReason(reason))
        else:  # as planned, if they would now be reached by another channel or company
            is_same_way = (now_found.channel, now_found.corp_id) == (before.channel, before.corp_id)
            changed[pk] = now_found if is_same_way else before
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


def _write_run(run: Run, plan: MessagePlan, now: datetime) -> list[int]:
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


def _write_batches(run: Run, plan: MessagePlan, now: datetime) -> list[int]:
    """Write contents, once per content, and deliveries, for PORTION people at a time: this saves statements and bounds
    memory. Return the ids of the deliveries."""
    delivery_ids, kept = list[int](), dict[int, int]()
    portion, count = list[Batch](), 0
    for number, batch in enumerate(plan.batches, start=1):
        portion.append(batch)
        count += len(batch.people) or 1
        if count < PORTION and number < len(plan.batches):
            continue
        # For the pages of messages, which show more than text.
        whole = {id(one.content): one.content for one in portion if one.content.cards or one.content.figures}
        new = {
            key: models.FrozenContent(run=run, document=dump_content(whole[key])) for key in whole if key not in kept
        }
        models.FrozenContent.objects.bulk_create(new.values(), batch_size=ROWS_AT_ONCE)
        kept |= {key: row.pk for key, row in new.items()}
        rows = [replace(one, content_id=kept.get(id(one.content))) for one in portion]
        delivery_ids += write_deliveries(run, plan.source, rows, now)
        portion, count = [], 0
    return delivery_ids


# --- Freezing: the exact bytes of a delivery, its pictures and files, and a receipt for each recipient ---

# Rows with texts or bodies per statement: a mail may have 50,000 characters.
ROWS_AT_ONCE = 200


@dataclass(frozen=True)
class Batch:
    """The recipients of one call. `wait_seconds`: until the app may write to them again. `corp`: the app's or robot's
    company; for a mail the company whose administrators see it. `content_id`: of the frozen content, if any. `media`:
    its pictures and files."""

    corp: Corp
    people: list[Recipient]
    content: Content
    content_id: int | None = None
    media: Plan = NOTHING
    wait_seconds: float = 0
    channel: str = Channel.WECOM
    robot: models.Robot | None = None


def message_path(mark: str) -> str:
    """Return the path of the page that shows a message whole."""
    return f"/m/{mark}/"


def make_mail_batches(
    people: list[Recipient], corp_id: int | None, content_of: Callable[[Recipient], tuple[Content, int | None]]
) -> Iterator[Batch]:
    """Yield a batch for each mail, so that nobody sees other recipients. It belongs to the person's company if that is
    enabled, else to that of `corp_id`.

    `content_of`: returns the person's content, and the id of its frozen copy if there is one. Raises RenderingError if
    no company is enabled.
    """
    if not people:
        return
    enabled = {corp.pk: corp for corp in Corp.objects.enabled().select_related("site_address").order_by("pk")}
    if not enabled:
        raise RenderingError(Sentence("No company is enabled."))
    usual = enabled.get(corp_id or 0) or next(iter(enabled.values()))
    for person in people:
        content, content_id = content_of(person)
        yield Batch(enabled.get(person.corp_id or 0, usual), [person], content, content_id, channel=Channel.EMAIL)


def write_deliveries(run: Run, source: RunSource, batches: Sequence[Batch], now: datetime) -> list[int]:
    """Write the calls with receipts, pictures and files in the caller's transaction. Return their ids. Raises
    RenderingError for content that cannot be a message, such as an empty title."""
    corps = {batch.corp.pk: batch.corp for batch in batches}
    addresses = {pk: corp.find_site_address() for pk, corp in corps.items()}
    drafts: dict[tuple[int, str, int | None], Delivery] = {}
    deliveries, receipts = list[Delivery](), list[Receipt]()
    for batch in batches:
        way = batch.corp.pk, batch.channel, None if batch.robot is None else batch.robot.pk
        draft = drafts[way] if way in drafts else drafts.setdefault(way, draft_delivery(run, source, batch, now))
        delivery = build_delivery(draft, source, batch, addresses[batch.corp.pk], now=now)
        deliveries.append(delivery)
        whose = {"run": run, "delivery": delivery, "channel": batch.channel}
        if batch.robot is not None:
            receipts.append(Receipt(**whose, address=f"robot:{batch.robot.pk}"))
        receipts += [
            Receipt(**whose, user_id=one.user_id, address=one.address, reason=one.fallback_reason or "")
            for one in batch.people
        ]
    Delivery.objects.bulk_create(deliveries, batch_size=ROWS_AT_ONCE)
    Receipt.objects.bulk_create(receipts)
    return [delivery.pk for delivery in deliveries]


def draft_delivery(run: Run, source: RunSource, batch: Batch, now: datetime) -> Delivery:
    """Make a draft of deliveries that go the same way: making one takes Django 0.1 ms, copying a fifth of that."""
    terms = source.terms
    return Delivery(
        run=run,
        corp=batch.corp,
        channel=batch.channel,
        robot=batch.robot,
        created_at=now,
        message_form=terms.form,
        priority=terms.priority,
        corpid=batch.corp.corpid,
        agentid=batch.corp.agentid,
        language=translation.get_language() or settings.LANGUAGE_CODE,
        expires_at=run.slot_at + timedelta(hours=terms.lifetime_hours),
    )


def build_delivery(
    draft: Delivery, source: RunSource, batch: Batch, address: SiteAddress, *, now: datetime
) -> Delivery:
    """Write the media of a message. Return its unsaved delivery. Raises RenderingError."""
    run, media = draft.run, dict[Wanted, Medium]()
    for wanted in [*batch.media.shown, *([batch.media.carried] if batch.media.carried else [])]:
        if wanted.medium_id is not None:
            media[wanted] = Medium.objects.only("pk").get(pk=wanted.medium_id, run=run.first_sent)
            continue
        columns = wanted.columns(now)
        if wanted.queue == models.MakerQueue.SNAPSHOTS:
            columns["give_up_at"] = max(now + attachments.PATIENCE, draft.expires_at - attachments.WORDS_BEFORE)
        # Media that the run has already are not made a second time.
        media[wanted], _is_new = Medium.objects.get_or_create(run=run, digest=columns["digest"], defaults=columns)
    carried = media[batch.media.carried] if batch.media.carried else None
    picture_url = "" if carried is None else address.absolute(attachments.picture_path(carried.pk, now=now))
    delivery = compose(draft, source, batch, address, picture_url, now=now)
    delivery.medium = carried
    delivery.shown_media = [[media[one].pk, one.title[:200]] for one in batch.media.shown]
    return delivery


def compose(
    draft: Delivery, source: RunSource, batch: Batch, address: SiteAddress, picture_url: str, *, now: datetime
) -> Delivery:
    """Make a delivery with its exact bytes from a draft. Use no table. Raises RenderingError.

    A delivery with a picture or a file is being prepared, and has a plain body in case that it cannot be made. A
    delivery whose form wants a picture or file that does not exist goes out in the plain form.
    """
    corp, people = batch.corp, batch.people
    delivery = copy(draft)
    # The mark is a digest of run, people and content, and part of the body: a restored database that makes the message
    # again makes the same bytes, which WeCom drops as a duplicate. A picture or a file is uploaded anew and differs.
    run, content, robot = draft.run, batch.content, batch.robot
    way = (draft.channel, draft.corpid, draft.agentid, robot and robot.pk, draft.message_form, draft.language)
    whom = [(person.address, person.userid) for person in people]
    what = (content.title, content.text, content.figures, now if batch.media.carried else None)
    parts = repr((run.key, run.slot_at.astimezone(UTC), way, whom, what))
    mark = delivery.mark = salted_hmac("notifications.mark", parts, algorithm="sha256").hexdigest()[:32]
    url = address.absolute(message_path(mark))
    title = clip_text(content.title, TITLE_CHARACTERS)  # a long title is cut visibly
    words = Words(title=title, text=content.text, url=url, figures=content.figures, task_id=mark)
    link = content.link or source.terms.link
    delivery.title, delivery.text, delivery.link = words.title, words.text, link
    delivery.content_id = batch.content_id
    delivery.recipient_count = len(people) or 1
    delivery.next_attempt_at = now + timedelta(seconds=batch.wait_seconds)
    form = MessageForm(delivery.message_form)

    def body(form: MessageForm, words: Words) -> bytes:
        own = None
        if batch.channel == Channel.WECOM:
            userids = [person.userid for person in people]
            own = source.app_body(corp, userids, address=address, mark=mark, now=now)
        return _build_body(batch, form, words, link, address) if own is None else own

    try:
        if batch.media.carried is not None:
            delivery.status = Delivery.Status.PREPARING
            if form in attachments.PICTURE_FORMS:
                words = replace(words, picture_url=picture_url)
            delivery.plain_body = body(*drop_picture(form, words))
        elif form in MEDIA_FORMS:
            form = PLAIN_FORMS[form]
        delivery.body = body(form, words)
    except MessageError as error:
        raise RenderingError.of(error) from error
    return delivery


def _build_body(batch: Batch, form: MessageForm, words: Words, link: str, address: SiteAddress) -> bytes:
    """Return the exact bytes of the batch's call. Raises MessageError."""
    match batch.channel:
        case Channel.ROBOT:
            # A group gets the report's own link, empty if there is none: its members have no page of the message.
            url = address.absolute(link) if link.startswith("/") else link
            return build_robot_body(form, replace(words, url=url))
        case Channel.EMAIL:
            message_id = f"<{words.url.rstrip('/').rpartition('/')[2]}@{address.domain.partition(':')[0]}>"
            sender, to = settings.DEFAULT_FROM_EMAIL, batch.people[0].email
            return build_mail_body(words, sender=sender, to=to, message_id=message_id)
        case _:
            userids = [person.userid for person in batch.people]
            return build_body(form, words, agentid=batch.corp.agentid, userids=userids)
