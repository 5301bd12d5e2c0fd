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
from integrations.companies import links
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
from notifications.delivery.rows import insert_contents, insert_deliveries, write_receipts
from notifications.models import (
    Attachment,
    Channel,
    Delivery,
    MakerQueue,
    Medium,
    MessageForm,
    Robot,
    Run,
)
from notifications.reports.contents import frozen
from notifications.sources import Content, RenderingError
from notifications.subscriptions.recipients import Recipient

if TYPE_CHECKING:
    from integrations.models import SiteAddress
    from notifications.sources import RunSource


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
    shown = [content for content in contents if content.cards or content.figures]
    kept = insert_contents(run.pk, [frozen(content) for content in shown])
    return {id(content): pk for content, pk in zip(shown, kept, strict=True)}


def write_deliveries(run: Run, source: RunSource, batches: Sequence[Batch], now: datetime) -> list[int]:
    """The calls with their receipts, pictures and files, written in the caller's transaction, so many at a time as one
    statement takes. Returns their ids. Raises RenderingError for what cannot be a message, as an empty title."""
    corps = {batch.corp.pk: batch.corp for batch in batches}
    addresses = {pk: links.site_address_for(corp) for pk, corp in corps.items()}
    of_each_way = {_way(batch): batch for batch in batches}
    drafts = {way: draft_delivery(run, source, batch, now) for way, batch in of_each_way.items()}
    rows = [freeze(drafts[_way(batch)], source, batch, addresses[batch.corp.pk], now=now) for batch in batches]
    insert_deliveries([row.delivery for row in rows])
    Attachment.objects.bulk_create(shown for row in rows for shown in row.attachments())
    receipts = [one for row, batch in zip(rows, batches, strict=True) for one in _receipts(row.delivery, batch)]
    write_receipts(run.pk, receipts)
    return [row.delivery.pk for row in rows]


def _way(batch: Batch) -> tuple[int, str, int | None]:
    """Of the app, the robot or the mail."""
    return batch.corp.pk, batch.channel, None if batch.robot is None else batch.robot.pk


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


@dataclass(frozen=True, slots=True)
class Frozen:
    """A delivery that is still to be written, and what its page shows, in its order."""

    delivery: Delivery
    shown: list[tuple[Wanted, Medium]]

    def attachments(self) -> Iterator[Attachment]:
        """Once the delivery is written."""
        for position, (each, medium) in enumerate(self.shown):
            title, alias = each.title[:200], each.alias[:64]
            yield Attachment(delivery=self.delivery, medium=medium, position=position, title=title, alias=alias)


def freeze(draft: Delivery, source: RunSource, batch: Batch, address: SiteAddress, *, now: datetime) -> Frozen:
    """Write the pictures and files of a message, and compose it. Raises RenderingError."""
    media = _media_of(draft, batch.media, now=now)
    carried = media[batch.media.carried] if batch.media.carried else None
    picture_url = "" if carried is None else address.absolute(picture_path(carried.pk, now=now))
    delivery = compose(draft, source, batch, address, picture_url, now=now)
    delivery.medium = carried
    return Frozen(delivery, [(each, media[each]) for each in batch.media.shown])


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
    wanted = [*planned.shown, *([planned.carried] if planned.carried else [])]
    give_up_at = max(now + PATIENCE, delivery.expires_at - WORDS_BEFORE)
    return {each: _medium(delivery.run, each, now, give_up_at) for each in wanted}


def _medium(run: Run, wanted: Wanted, now: datetime, give_up_at: datetime) -> Medium:
    if wanted.medium_id is not None:
        return Medium.objects.only("pk").get(pk=wanted.medium_id, run=run and run.first_sent)
    digest = recipe_digest(wanted.kind, wanted.recipe)
    fields = {"created_at": now, "make_after": now, **medium_fields(wanted)}
    if wanted.queue == MakerQueue.SNAPSHOTS:
        fields["give_up_at"] = give_up_at
    found, _is_new = Medium.objects.get_or_create(run=run, digest=digest, defaults=fields)
    return found


def _body(batch: Batch, form: MessageForm, words: Words, link: str, address: SiteAddress) -> bytes:
    """The exact bytes of the batch's call. Raises messages.MessageError."""
    match batch.channel:
        case Channel.ROBOT:
            return build_robot_body(form, replace(words, url=_report_link(link, address)))
        case Channel.EMAIL:
            message_id = f"<{words.url.rstrip('/').rpartition('/')[2]}@{address.domain.partition(':')[0]}>"
            sender, to = settings.DEFAULT_FROM_EMAIL, batch.people[0].email
            return build_mail_body(words, sender=sender, to=to, message_id=message_id)
        case _:
            userids = [person.userid for person in batch.people]
            return build_body(form, words, agentid=batch.corp.agentid, userids=userids)


def _report_link(link: str, address: SiteAddress) -> str:
    """The report's own link for a group, whose members have no page of the message; empty where there is none."""
    return address.absolute(link) if link.startswith("/") else link


def _receipts(delivery: Delivery, batch: Batch) -> list[tuple[int, str, int | None, str, str]]:
    channel = str(delivery.channel)
    if batch.robot is not None:
        return [(delivery.pk, channel, None, f"robot:{batch.robot.pk}", "")]
    return [(delivery.pk, channel, one.user_id, one.address, one.detour or "") for one in batch.people]
