"""Rendering: turns a run into frozen deliveries and a receipt per person, in one transaction.

First the contents and recipients are planned, outside the transaction; then the deliveries are frozen: written with the
exact bytes that every attempt sends.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, groupby
from typing import TypeVar

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.utils import translation
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _
from structlog.contextvars import bound_contextvars

from accounts.models import User, fold_userid
from integrations.clients.transport import read_boot_clock
from integrations.clients.wecom.builders import USERS_AT_MOST, MessageError, drop_direction_marks
from integrations.core.background import Clock, keep_lease, log_errors
from integrations.core.sentences import Sentence
from integrations.models import Corp, SiteAddress
from notifications import models, sources
from notifications.delivery import attachments, limiter
from notifications.delivery.attachments import MEDIA_FORMS, NO_MEDIA, MediaPlan, WantedMedium
from notifications.delivery.channels import make_app_limits
from notifications.delivery.explanations import explain_no_messages
from notifications.delivery.rendering.message_builder import (
    PLAIN_FORMS,
    TITLE_CHARACTERS,
    Words,
    build_body,
    build_robot_body,
    clip_text,
)
from notifications.delivery.rows import RENDER_LEASE, lock_freezing_shared, update_unlocked
from notifications.models import Channel, Delivery, Medium, MessageForm, Receipt, Run
from notifications.reports.contents import dump_content
from notifications.sources import Content, RenderingError, RunSource
from notifications.subscriptions.recipients import PEOPLE_AT_ONCE, Recipient, find_recipients, read_recipients

T = TypeVar("T")

logger = logging.getLogger(__name__)

# A run whose rendering failed this often (by a crash, or a lost database connection) is given up.
RENDERINGS_AT_MOST = 5
# The lease is renewed for this long, which is longer than planning the largest run takes. If planning takes even more
# time, another worker takes the run.
RENEWED_AT_MOST = timedelta(minutes=10)
RECEIPT_BATCH = 2000
# If no fetch queues the rendering again, the sweep does after this time.
RECHECK_AFTER = timedelta(seconds=20)
# People whose messages are written at once.
PORTION = 1000


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


def render_run(*, run_id: int, now: datetime) -> list[int]:
    """Write the run's deliveries and receipts, once. Return the ids of the deliveries to send.

    It is safe to repeat and to run in parallel: several calls may plan the run, and the first to lock it writes; the
    others return an empty list. Our own words are in the deployment's language. A run that cannot be rendered becomes
    failed, with the reason; a run not worth sending is skipped; a run whose data is still being fetched keeps waiting.
    """
    waiting = Run.objects.filter(pk=run_id, status=Run.Status.WAITING)
    if not waiting.update(render_count=F("render_count") + 1, render_after=now + RENDER_LEASE):
        return []
    began = read_boot_clock()

    def renew() -> None:
        passed = timedelta(seconds=read_boot_clock() - began)
        if passed < RENEWED_AT_MOST:
            until = now + passed + RENDER_LEASE
            update_unlocked(waiting.filter(render_after__lt=until), render_after=until)

    try:
        with translation.override(settings.LANGUAGE_CODE):
            with keep_lease(renew):
                plan = _plan_messages(run_id, now)
            with transaction.atomic():
                run = waiting.select_for_update(of=("self",)).first()
                return [] if run is None else _write_run(run, _update_plan(plan), now)
    except RenderingError as error:
        waiting.update(status=Run.Status.FAILED, error=error.sentence.serialize(), finished_at=now)
    except sources.NotWorthSending as skipped:
        waiting.update(status=Run.Status.SKIPPED, error=skipped.sentence.serialize(), finished_at=now)
    except sources.DataPending:
        # Nothing failed, so this rendering does not count.
        waiting.update(render_count=F("render_count") - 1, render_after=now + RECHECK_AFTER)
    return []


@dataclass(frozen=True)
class MessagePlan:
    """The deliveries of a run that are to be written, and the people who get none (`skipped`)."""

    source: RunSource
    audience: sources.Audience
    deliveries: list[PlannedDelivery]
    skipped: list[Recipient]
    fingerprint: str = ""


def _plan_messages(run_id: int, now: datetime) -> MessagePlan:
    """Decide who gets which content, by which deliveries. Write nothing. Raises RenderingError, NotWorthSending and
    DataPending."""
    # Most reports have no cards; this saves the query for them.
    has_cards = Exists(models.ReportCard.objects.filter(report=OuterRef("subscription__report")))
    runs = Run.objects.select_related("subscription__report", "message").annotate(has_cards=has_cards)
    run = runs.defer("message__original", "message__page").get(pk=run_id)
    if run.render_count > RENDERINGS_AT_MOST:
        raise RenderingError(Sentence("Making the messages failed %(count)d times.") % {"count": RENDERINGS_AT_MOST})
    source = sources.run_sources.first(run)
    if source is None:  # a trigger without a registered source
        raise LookupError(run.trigger)
    audience = source.find_audience()
    contents = source.build_contents(now=now)
    form = source.terms.form
    if audience.robot_id is not None:
        robot = models.Robot.objects.select_related("corp__site_address").get(pk=audience.robot_id)
        planned = PlannedDelivery(robot.corp, [], contents.find_content(None), channel=Channel.ROBOT, robot=robot)
        return MessagePlan(source, audience, plan_media(form, contents, [planned]), [], contents.fingerprint)
    by_corp: dict[int, list[Recipient]] = defaultdict(list)
    mailed, skipped = list[Recipient](), list[Recipient]()
    for person in _mark_people_without_content(find_recipients(audience, contents), contents):
        if person.reason is None and person.channel == Channel.EMAIL:
            mailed.append(person)
        elif person.reason is None and person.corp_id is not None:
            by_corp[person.corp_id].append(person)
        else:
            skipped.append(person)
    corps = Corp.objects.select_related("site_address").filter(pk__in=by_corp).order_by("pk")
    calls = []
    for corp in corps:
        # People to whom the app may not write at present get a delivery of their own, which waits.
        people, app = by_corp[corp.pk], make_app_limits(corp.corpid, corp.agentid)
        waits = limiter.find_member_waits(app, [fold_userid(person.userid) for person in people])
        planned_calls = split_into_calls(people, waits, lambda person: contents.make_content_key(person.user_id))
        for call, wait_seconds in planned_calls:
            calls.append(PlannedDelivery(corp, call, contents.find_content(call[0].user_id), wait_seconds=wait_seconds))
    mails = plan_mails(mailed, source.terms.corp_id, lambda person: (contents.find_content(person.user_id), None))
    return MessagePlan(source, audience, plan_media(form, contents, [*calls, *mails]), skipped, contents.fingerprint)


def plan_media(
    form: MessageForm, contents: sources.RunContents, planned_deliveries: Iterable[PlannedDelivery]
) -> list[PlannedDelivery]:
    """Return the deliveries with their pictures and files, planned once per content and channel."""
    language = translation.get_language() or settings.LANGUAGE_CODE
    known: dict[tuple[int, str], MediaPlan] = {}
    found = []
    for planned in planned_deliveries:
        content, channel = planned.content, planned.channel
        key = id(content), channel
        if key not in known:
            zone = content.time_zone
            has_media = content.media or content.cards or content.page
            known[key] = (
                attachments.plan_attachments(form, channel, content, contents.charts, language=language, time_zone=zone)
                if has_media
                else NO_MEDIA
            )
        found.append(replace(planned, media=known[key]))
    return found


def _mark_people_without_content(people: Iterable[Recipient], contents: sources.RunContents) -> Iterable[Recipient]:
    """Return all people. Those whose own content cannot be written are skipped, with the reason.

    Raises RenderingError if no content can be written.
    """
    if not contents.depends_on_person:
        return people
    errors: dict[Hashable, RenderingError] = {}
    found, is_written = [], False
    for person in people:
        key = contents.make_content_key(person.user_id)
        if person.reason is None and key not in errors:
            try:
                contents.find_content(person.user_id)
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
    by_wait = sorted(zip(waits, people, strict=True), key=lambda each: each[0])
    for _must_wait, group in groupby(by_wait, key=lambda each: each[0] > 0):
        alike: dict[Hashable, list[tuple[float, T]]] = defaultdict(list)
        for wait_seconds, person in group:
            alike[key_of(person)].append((wait_seconds, person))
        for same in alike.values():
            for start in range(0, len(same), USERS_AT_MOST):
                call = same[start : start + USERS_AT_MOST]
                yield [person for _wait, person in call], call[-1][0]


def _update_plan(plan: MessagePlan) -> MessagePlan:
    """Drop people who cannot be reached any more, and update userids, because people may leave or be renamed during
    planning. Makes one query if nobody has changed.

    From the lock taken here on, such changes wait until the deliveries are written, and then change the deliveries.
    """
    people_before = {person.user_id: person for planned in plan.deliveries for person in planned.people}
    if not people_before:
        return plan
    lock_freezing_shared({planned.corp.pk for planned in plan.deliveries})
    changed, ids = {}, list(people_before)
    parts = (ids[start : start + PEOPLE_AT_ONCE] for start in range(0, len(ids), PEOPLE_AT_ONCE))
    people_now = (read_recipients(plan.audience, User.objects.filter(pk__in=part)) for part in parts)
    # Asks only how the audience's channels reach these people now, not whether the audience still contains them.
    for after in chain.from_iterable(people_now):
        pk, before = after.user_id, people_before[after.user_id]
        if after == before:
            continue
        # A person planned for the app who could now be reached by mail alone is skipped, too.
        reason = after.reason or (after.fallback_reason if before.channel == Channel.WECOM else None)
        if reason is not None:
            changed[pk] = before.skip(sources.SkipReason(reason))
        else:  # people who would now be reached by another channel or company stay as planned
            is_same_route = (after.channel, after.corp_id) == (before.channel, before.corp_id)
            changed[pk] = after if is_same_route else before
    if not changed:
        return plan
    kept = []
    for planned in plan.deliveries:
        people = [changed.get(person.user_id, person) for person in planned.people]
        reached = [person for person in people if person.reason is None]
        if reached or planned.robot is not None:
            kept.append(replace(planned, people=reached))
    lost = [person for person in changed.values() if person.reason is not None]
    return replace(plan, deliveries=kept, skipped=[*plan.skipped, *lost])


def _write_run(run: Run, plan: MessagePlan, now: datetime) -> list[int]:
    """Write the deliveries and receipts of the plan and the outcome of the run. Return the ids of the deliveries."""
    # Contents (each once) and deliveries are written for PORTION people at a time, to save statements and bound memory.
    delivery_ids, content_ids = list[int](), dict[int, int]()
    portion, people_count = list[PlannedDelivery](), 0
    for number, planned in enumerate(plan.deliveries, start=1):
        portion.append(planned)
        people_count += len(planned.people) or 1
        if people_count < PORTION and number < len(plan.deliveries):
            continue
        # Contents that the pages of messages show with more than the delivery's text.
        full = {id(one.content): one.content for one in portion if one.content.cards or one.content.figures}
        unwritten = [key for key in full if key not in content_ids]
        new = {key: models.FrozenContent(run=run, document=dump_content(full[key])) for key in unwritten}
        models.FrozenContent.objects.bulk_create(new.values(), batch_size=ROWS_AT_ONCE)
        content_ids |= {key: row.pk for key, row in new.items()}
        rows = [replace(one, content_id=content_ids.get(id(one.content))) for one in portion]
        delivery_ids += write_deliveries(run, plan.source, rows, now)
        portion, people_count = [], 0
    skipped = (
        Receipt(
            run=run,
            user_id=person.user_id,
            channel=person.channel,
            address=person.address,
            status=Receipt.Status.SKIPPED,
            reason=person.reason or "",
            detail="" if person.detail is None else person.detail.serialize(),
        )
        for person in plan.skipped
    )
    Receipt.objects.bulk_create(skipped, batch_size=RECEIPT_BATCH)
    run.recipient_count = sum(len(planned.people) or 1 for planned in plan.deliveries)
    run.skipped_count = len(plan.skipped)
    run.rendered_at = now
    run.status = Run.Status.SENDING if delivery_ids else Run.Status.FINISHED
    run.finished_at = None if delivery_ids else now
    loss = None if delivery_ids else explain_no_messages({person.reason for person in plan.skipped})
    run.error = "" if loss is None else loss.serialize()
    run.fingerprint = plan.fingerprint
    counts = ("recipient_count", "skipped_count")
    run.save(update_fields=[*counts, "rendered_at", "status", "finished_at", "error", "fingerprint"])
    if run.error:
        plan.source.note_unreached(run.error)
    return delivery_ids


# --- Freezing: the exact bytes of a delivery, its pictures and files, and a receipt for each recipient ---

# Rows with texts or bodies per statement: a mail may have 50,000 characters.
ROWS_AT_ONCE = 200


@dataclass(frozen=True)
class PlannedDelivery:
    """A delivery to be written. `people`: its recipients, none for a robot; `wait_seconds`: until the app may write to
    them again. `corp`: the app's or robot's company; for a mail the company whose administrators see it. `content_id`:
    of the frozen content, if any. `media`: its pictures and files."""

    corp: Corp
    people: list[Recipient]
    content: Content
    content_id: int | None = None
    media: MediaPlan = NO_MEDIA
    wait_seconds: float = 0
    channel: str = Channel.WECOM
    robot: models.Robot | None = None


def make_message_path(mark: str) -> str:
    """Return the path of the page that shows the whole message."""
    return f"/m/{mark}/"


def plan_mails(
    people: list[Recipient], corp_id: int | None, content_of: Callable[[Recipient], tuple[Content, int | None]]
) -> Iterator[PlannedDelivery]:
    """Yield a delivery for each mail, so that nobody sees other recipients. It belongs to the person's company if that
    is enabled, else to `corp_id` if that is, else to the first enabled one.

    `content_of`: returns the person's content, and the id of its frozen copy if there is one. Raises RenderingError if
    no company is enabled.
    """
    if not people:
        return
    enabled = {corp.pk: corp for corp in Corp.objects.enabled().select_related("site_address").order_by("pk")}
    if not enabled:
        raise RenderingError(Sentence("No company is enabled."))
    default_corp = enabled.get(corp_id or 0) or next(iter(enabled.values()))
    for person in people:
        content, content_id = content_of(person)
        corp = enabled.get(person.corp_id or 0, default_corp)
        yield PlannedDelivery(corp, [person], content, content_id, channel=Channel.EMAIL)


def write_deliveries(
    run: Run, source: RunSource, planned_deliveries: Sequence[PlannedDelivery], now: datetime
) -> list[int]:
    """Write the deliveries with receipts, pictures and files in the caller's transaction. Return their ids. Raises
    RenderingError for content that cannot be a message, such as an empty title."""
    corps = {planned.corp.pk: planned.corp for planned in planned_deliveries}
    addresses = {pk: corp.find_site_address() for pk, corp in corps.items()}
    drafts: dict[tuple[int, str, int | None], Delivery] = {}
    deliveries, receipts = list[Delivery](), list[Receipt]()
    for planned in planned_deliveries:
        route = planned.corp.pk, planned.channel, None if planned.robot is None else planned.robot.pk
        if route not in drafts:
            drafts[route] = draft_delivery(run, source, planned, now)
        delivery = build_delivery(drafts[route], source, planned, addresses[planned.corp.pk], now=now)
        deliveries.append(delivery)
        shared = {"run": run, "delivery": delivery, "channel": planned.channel}
        if planned.robot is not None:
            receipts.append(Receipt(**shared, address=f"robot:{planned.robot.pk}"))
        receipts += [
            Receipt(**shared, user_id=person.user_id, address=person.address, reason=person.fallback_reason or "")
            for person in planned.people
        ]
    Delivery.objects.bulk_create(deliveries, batch_size=ROWS_AT_ONCE)
    Receipt.objects.bulk_create(receipts)
    return [delivery.pk for delivery in deliveries]


def draft_delivery(run: Run, source: RunSource, planned: PlannedDelivery, now: datetime) -> Delivery:
    """Make a draft for all deliveries of the same route (company, channel, robot): making one takes Django 0.1 ms,
    copying it a fifth of that."""
    terms = source.terms
    return Delivery(
        run=run,
        corp=planned.corp,
        channel=planned.channel,
        robot=planned.robot,
        created_at=now,
        message_form=terms.form,
        priority=terms.priority,
        corpid=planned.corp.corpid,
        agentid=planned.corp.agentid,
        language=translation.get_language() or settings.LANGUAGE_CODE,
        expires_at=run.slot_at + timedelta(hours=terms.lifetime_hours),
    )


def build_delivery(
    draft: Delivery, source: RunSource, planned: PlannedDelivery, address: SiteAddress, *, now: datetime
) -> Delivery:
    """Write the rows of a message's media. Return the unsaved delivery. Raises RenderingError."""
    run, media = draft.run, dict[WantedMedium, Medium]()
    for wanted in [*planned.media.shown, *([planned.media.carried] if planned.media.carried else [])]:
        if wanted.medium_id is not None:
            media[wanted] = Medium.objects.only("pk").get(pk=wanted.medium_id, run=run.original_run)
            continue
        columns = wanted.make_columns(now)
        if wanted.queue == models.MakerQueue.SNAPSHOTS:
            before_expiry = draft.expires_at - attachments.GIVEN_UP_BEFORE_EXPIRY
            columns["give_up_at"] = max(now + attachments.PATIENCE, before_expiry)
        # A medium that the run has already is not made a second time.
        media[wanted], _is_new = Medium.objects.get_or_create(run=run, digest=columns["digest"], defaults=columns)
    carried = media[planned.media.carried] if planned.media.carried else None
    picture_url = "" if carried is None else address.absolute(attachments.sign_picture_path(carried.pk, now=now))
    delivery = compose(draft, source, planned, address, picture_url, now=now)
    delivery.medium = carried
    delivery.shown_media = [[media[one].pk, one.title[:200]] for one in planned.media.shown]
    return delivery


def compose(
    draft: Delivery,
    source: RunSource,
    planned: PlannedDelivery,
    address: SiteAddress,
    picture_url: str,
    *,
    now: datetime,
) -> Delivery:
    """Make a delivery with its exact bytes from a draft. Reads and writes no table. Raises RenderingError.

    A delivery with a picture or a file is to be prepared, and has a plain body in case the medium cannot be made. A
    delivery whose form wants a picture or file that does not exist goes out in the plain form.
    """
    people, delivery = planned.people, copy(draft)
    # The mark is a digest of run, people and content, and part of the body: a restored database that makes the message
    # again makes the same bytes, which WeCom drops as a duplicate. A picture or a file is uploaded anew and differs.
    run, content, robot = draft.run, planned.content, planned.robot
    route = (draft.channel, draft.corpid, draft.agentid, robot and robot.pk, draft.message_form, draft.language)
    recipients = [(person.address, person.userid) for person in people]
    message = (content.title, content.text, content.figures, now if planned.media.carried else None)
    parts = repr((run.key, run.slot_at.astimezone(UTC), route, recipients, message))
    mark = delivery.mark = salted_hmac("notifications.mark", parts, algorithm="sha256").hexdigest()[:32]
    url = address.absolute(make_message_path(mark))
    title = clip_text(content.title, TITLE_CHARACTERS)  # a long title is cut visibly
    words = Words(title=title, text=content.text, url=url, figures=content.figures, task_id=mark)
    delivery.title, delivery.text, delivery.link = title, content.text, content.link or source.terms.link
    delivery.content_id = planned.content_id
    delivery.recipient_count = len(people) or 1
    delivery.next_attempt_at = now + timedelta(seconds=planned.wait_seconds)
    form = MessageForm(delivery.message_form)

    try:
        if planned.media.carried is not None:
            delivery.status = Delivery.Status.PREPARING
            missing = _("(The file could not be made.)")
            if form in attachments.PICTURE_FORMS:
                words = replace(words, picture_url=picture_url)
                missing = _("(The picture could not be made.)")
            # The closest form without picture or file, whose text begins with what is missing.
            plain = replace(words, text=f"{missing}\n{words.text}".strip(), picture_url="")
            delivery.plain_body = _build_body(source, planned, PLAIN_FORMS[form], plain, address, now)
        elif form in MEDIA_FORMS:
            form = PLAIN_FORMS[form]
        delivery.body = _build_body(source, planned, form, words, address, now)
    except MessageError as error:
        raise RenderingError.of(error) from error
    return delivery


def _build_body(
    source: RunSource, planned: PlannedDelivery, form: MessageForm, words: Words, address: SiteAddress, now: datetime
) -> bytes:
    """Return the exact bytes of the delivery. Raises MessageError."""
    match planned.channel:
        case Channel.ROBOT:
            # A group gets the report's own link, or none: only recipients can open the page of the message.
            link = planned.content.link or source.terms.link
            url = address.absolute(link) if link.startswith("/") else link
            return build_robot_body(form, replace(words, url=url))
        case Channel.EMAIL:
            message_id = f"<{words.url.rstrip('/').rpartition('/')[2]}@{address.domain.partition(':')[0]}>"
            figures = "".join(f"{figure.caption}: {figure.words}\n" for figure in words.figures)
            # The delivery's picture or file is added when the mail is sent (notifications.delivery.channels).
            mail = {
                "from": settings.DEFAULT_FROM_EMAIL,
                "to": planned.people[0].email,
                "subject": words.title,
                "text": f"{figures}{words.text}\n\n{_('View all')}: {words.url}\n",
                "message_id": message_id,
            }
            return drop_direction_marks(json.dumps(mail, ensure_ascii=False)).encode()
        case _:
            userids = [person.userid for person in planned.people]
            own = source.build_app_body(planned.corp, userids, address=address, mark=words.task_id, now=now)
            return build_body(form, words, agentid=planned.corp.agentid, userids=userids) if own is None else own
