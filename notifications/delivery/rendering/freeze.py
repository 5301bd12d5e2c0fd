"""Freezes messages: writes the exact bytes of a delivery, its pictures and files, and a receipt for each recipient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import translation
from django.utils.crypto import salted_hmac

from integrations.clients.wecom.builders import MessageError
from integrations.core.sentences import Sentence
from integrations.models import Corp
from notifications.delivery.attachments import PATIENCE, WORDS_BEFORE, picture_path, recipe_digest
from notifications.delivery.rendering.attachments import (
    MEDIA_FORMS,
    NOTHING,
    PICTURE_FORMS,
    Plan,
    Wanted,
    medium_fields,
)
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
from notifications.models import (
    Attachment,
    Channel,
    Delivery,
    FrozenContent,
    MakerQueue,
    Medium,
    MessageForm,
    Receipt,
    Robot,
    Run,
)
from notifications.reports.contents import frozen
from notifications.sources import Content, RenderingError
from notifications.subscriptions.recipients import Recipient

if TYPE_CHECKING:
    from integrations.models import SiteAddress
    from notifications.sources import RunSource


# Of texts and bodies that one statement writes: a mail may have 50,000 characters.
ROWS_AT_ONCE = 200


@dataclass(frozen=True)
class Batch:
    """Those who get one call. `wait_seconds`: the app wrote to them so often that it must pause. `corp`: of their app,
    of the robot, and of a mail the company whose administrators see it. `content_id`: of what was frozen of the content
    already. `media`: its pictures and files."""

    corp: Corp
    people: list[Recipient]
    content: Content
    content_id: int | None = None
    media: Plan = NOTHING
    wait_seconds: float = 0
    channel: str = Channel.WECOM
    robot: Robot | None = None


def message_path(mark: str) -> str:
    """The path of the page that shows a message whole."""
    return f"/m/{mark}/"


def words_of(content: Content, address: SiteAddress, mark: str) -> Words:
    """Return the words of a message of this content, with its page at `address`. A long title is cut visibly."""
    url = address.absolute(message_path(mark))
    title = clip_text(content.title, TITLE_CHARACTERS)
    return Words(title=title, text=content.text, url=url, figures=content.figures)


def mail_batches(
    people: list[Recipient], corp_id: int | None, content_of: Callable[[Recipient], tuple[Content, int | None]]
) -> Iterator[Batch]:
    """A mail each: nobody reads who else gets it. It stands with the person's company where that is connected, else
    with that of `corp_id`.

    `content_of`: what the person gets, and what is frozen of it already.
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


def freeze_contents(run: Run, contents: Iterable[Content]) -> dict[int, int]:
    """Keep what the pages of deliveries show. The ids of what is kept, by id() of the content; what is no more than its
    text is not kept."""
    rows = {id(one): FrozenContent(run=run, document=frozen(one)) for one in contents if one.cards or one.figures}
    FrozenContent.objects.bulk_create(rows.values(), batch_size=ROWS_AT_ONCE)
    return {key: row.pk for key, row in rows.items()}


def write_deliveries(run: Run, source: RunSource, batches: Sequence[Batch], now: datetime) -> list[int]:
    """The calls with their receipts, pictures and files, written in the caller's transaction, so many at a time as one
    statement takes. Returns their ids. Raises RenderingError for what cannot be a message, as an empty title."""
    corps = {batch.corp.pk: batch.corp for batch in batches}
    addresses = {pk: corp.find_site_address() for pk, corp in corps.items()}
    drafts: dict[tuple[int, str, int | None], Delivery] = {}
    deliveries, attachments, receipts = list[Delivery](), list[Attachment](), list[Receipt]()
    for batch in batches:
        way = batch.corp.pk, batch.channel, None if batch.robot is None else batch.robot.pk
        draft = drafts[way] if way in drafts else drafts.setdefault(way, draft_delivery(run, source, batch, now))
        delivery, shown = freeze(draft, source, batch, addresses[batch.corp.pk], now=now)
        deliveries.append(delivery)
        attachments += shown
        whose = {"run": run, "delivery": delivery, "channel": batch.channel}
        if batch.robot is not None:
            receipts.append(Receipt(**whose, address=f"robot:{batch.robot.pk}"))
        receipts += [
            Receipt(**whose, user_id=one.user_id, address=one.address, reason=one.detour or "") for one in batch.people
        ]
    Delivery.objects.bulk_create(deliveries, batch_size=ROWS_AT_ONCE)
    Attachment.objects.bulk_create(attachments)
    Receipt.objects.bulk_create(receipts)
    return [delivery.pk for delivery in deliveries]


def draft_delivery(run: Run, source: RunSource, batch: Batch, now: datetime) -> Delivery:
    """Make what all deliveries of the run have in common that go the way of this one. Django takes 0.1 ms to make one,
    and a fifth of that to copy it."""
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


def freeze(
    draft: Delivery, source: RunSource, batch: Batch, address: SiteAddress, *, now: datetime
) -> tuple[Delivery, list[Attachment]]:
    """Write the pictures and files of a message. Returns the message, and what its page shows, which are to be written.
    Raises RenderingError."""
    media = _media_of(draft, batch.media, now=now)
    carried = media[batch.media.carried] if batch.media.carried else None
    picture_url = "" if carried is None else address.absolute(picture_path(carried.pk, now=now))
    delivery = compose(draft, source, batch, address, picture_url, now=now)
    delivery.medium = carried
    return delivery, [
        Attachment(delivery=delivery, medium=media[one], position=n, title=one.title[:200], alias=one.alias[:64])
        for n, one in enumerate(batch.media.shown)
    ]


def compose(
    draft: Delivery, source: RunSource, batch: Batch, address: SiteAddress, picture_url: str, *, now: datetime
) -> Delivery:
    """Make a delivery with its exact bytes, of a draft of its way. Touches no table. Raises RenderingError.

    One that carries a picture or a file is being prepared, with what goes out instead if that cannot be made; one that
    should carry one, and has none, goes out without.
    """
    corp, people = batch.corp, batch.people
    delivery = copy(draft)
    mark = delivery.mark = _mark(draft, batch, now)
    words = words_of(batch.content, address, mark)
    link = batch.content.link or source.terms.link
    delivery.title, delivery.text, delivery.link = words.title, words.text, link
    delivery.content_id = batch.content_id
    delivery.recipient_count = len(people) or 1
    delivery.next_attempt_at = now + timedelta(seconds=batch.wait_seconds)
    form, words = MessageForm(delivery.message_form), replace(words, task_id=mark)

    def body(form: MessageForm, words: Words) -> bytes:
        own = None
        if batch.channel == Channel.WECOM:
            userids = [person.userid for person in people]
            own = source.app_body(corp, userids, address=address, mark=mark, now=now)
        return _body(batch, form, words, link, address) if own is None else own

    try:
        if batch.media.carried is not None:
            delivery.status = Delivery.Status.PREPARING
            if form in PICTURE_FORMS:
                words = replace(words, picture_url=picture_url)
            delivery.plain_body = body(*drop_picture(form, words))
        elif form in MEDIA_FORMS:
            form = PLAIN_FORMS[form]
        delivery.body = body(form, words)
    except MessageError as error:
        raise RenderingError.of(error) from error
    return delivery


def _mark(draft: Delivery, batch: Batch, now: datetime) -> str:
    """Return the mark of a message. A database that lost its last seconds makes the message of a slot again: with the
    same mark WeCom drops it as a duplicate. One with a picture or a file differs anyway: these are uploaded anew."""
    run, content, robot = draft.run, batch.content, batch.robot
    way = (draft.channel, draft.corpid, draft.agentid, robot and robot.pk, draft.message_form, draft.language)
    people = [(person.address, person.userid) for person in batch.people]
    what = (content.title, content.text, content.figures, now if batch.media.carried else None)
    parts = repr((run.key, run.slot_at.astimezone(UTC), way, people, what))
    return salted_hmac("notifications.mark", parts, algorithm="sha256").hexdigest()[:32]


def _media_of(delivery: Delivery, planned: Plan, *, now: datetime) -> dict[Wanted, Medium]:
    """The row of each medium of the plan: what the run has already is not made a second time."""
    run, found = delivery.run, dict[Wanted, Medium]()
    for wanted in [*planned.shown, *([planned.carried] if planned.carried else [])]:
        if wanted.medium_id is not None:
            found[wanted] = Medium.objects.only("pk").get(pk=wanted.medium_id, run=run.first_sent)
            continue
        fields = {"created_at": now, "make_after": now, **medium_fields(wanted)}
        if wanted.queue == MakerQueue.SNAPSHOTS:
            fields["give_up_at"] = max(now + PATIENCE, delivery.expires_at - WORDS_BEFORE)
        digest = recipe_digest(wanted.kind, wanted.recipe)
        found[wanted], _is_new = Medium.objects.get_or_create(run=run, digest=digest, defaults=fields)
    return found


def _body(batch: Batch, form: MessageForm, words: Words, link: str, address: SiteAddress) -> bytes:
    """The exact bytes of the batch's call. Raises messages.MessageError."""
    match batch.channel:
        case Channel.ROBOT:
            # For a group the report's own link: its members have no page of the message. Empty where there is none.
            url = address.absolute(link) if link.startswith("/") else link
            return build_robot_body(form, replace(words, url=url))
        case Channel.EMAIL:
            message_id = f"<{words.url.rstrip('/').rpartition('/')[2]}@{address.domain.partition(':')[0]}>"
            sender, to = settings.DEFAULT_FROM_EMAIL, batch.people[0].email
            return build_mail_body(words, sender=sender, to=to, message_id=message_id)
        case _:
            userids = [person.userid for person in batch.people]
            return build_body(form, words, agentid=batch.corp.agentid, userids=userids)
