"""Accepts messages of other systems: uploads, recipients, runs with pictures and files, and the text to send.

`accept_message` writes a message once, in the caller's transaction. The caller queues the runs after the commit; if it
dies before that, the sweep finds them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from django.db import transaction
from django.db.models import QuerySet, Sum
from django.db.models.functions import Length
from django.utils import timezone

from integrations.clients.wecom import builders
from integrations.models import Corp
from notifications.delivery.rows import RENDER_LEASE
from notifications.inbound import content
from notifications.inbound.content import CheckedFile, InboundError, format_text
from notifications.inbound.recipients import Address, ResolvedAddresses, resolve_addresses
from notifications.models import (
    ApiToken,
    InboundChannel,
    IncomingMessage,
    Medium,
    MessageForm,
    OutgoingMail,
    Receipt,
    Run,
)
from notifications.models.inbound import FIGURES_AT_MOST
from notifications.sources import Audience, Content, Figure, ReadyMedium, RunContents, RunSource, Terms
from notifications.subscriptions.recipients import (
    Recipient,
    find_reachable_people,
    match_chosen,
    resolve_audience,
)

# Rows per INSERT.
PEOPLE_AT_ONCE = 2000
CAPTION_CHARACTERS, FIGURE_CHARACTERS = 50, 100
# Columns of a medium that a checked file fills.
FILE_COLUMNS = ("kind", "name", "content_type", "width", "height", "digest", "content")
_FORMS_WITH_PICTURE = frozenset({MessageForm.NEWS, MessageForm.IMAGE, MessageForm.NEWS_NOTICE})


@dataclass(frozen=True)
class IncomingDraft:
    """A message that another system hands in, to be accepted or previewed once.

    `sender`: the token or channel whose rights apply. `message`: the unsaved row, with at least origin, key and title;
    `accept_message` completes it. Its `key` is unique among the messages of all senders, so a second one with this
    key is a repeat. Characters that cannot be shown are removed, long texts are cut, and a link other than http or
    https is left out; an empty form is chosen by the content. `already_sent_to`: people who have the message and do not
    get it again; a query is evaluated after the sender is locked. `audience`: people in addition to the addresses.
    `only_user_id`: for a trial, the only recipient. `among`: people outside this audience get nothing.
    """

    sender: ApiToken | InboundChannel
    message: IncomingMessage
    addresses: Sequence[Address] = ()
    files: Sequence[CheckedFile] = ()
    already_sent_to: Collection[int] | QuerySet[Any, int] = ()
    audience: Audience | None = None
    only_user_id: int | None = None
    among: Audience | None = None


@dataclass(frozen=True)
class AcceptedMessage:
    """Result of `accept_message`. `run_ids`: to be queued after the transaction; empty for a repeat."""

    message: IncomingMessage
    run_ids: list[int]


@dataclass(frozen=True)
class Preview:
    """Result of `preview_incoming`: the number of messages to each person, the people (with a reason if they get none),
    and the addresses that name nobody. `run`: unsaved, of the message itself; `source`: the source of that run."""

    source: MessageSource
    run: Run
    message_count: int
    recipients: list[Recipient]
    unknown: list[tuple[Address, Any]]


def accept_message(incoming: IncomingDraft, *, now: datetime) -> AcceptedMessage:
    """Write the message with its runs, inside the caller's transaction. If there is a message with this key, return
    that, and ignore the new one even if it is different. Raise InboundError if no address names anybody whom the sender
    may reach, or the message exceeds the sender's daily limit; then nothing is written."""
    # The lock makes a second message of the sender wait; then it finds the first by its key and in the day's count.
    rows = type(incoming.sender)._default_manager.select_for_update(of=("self",))
    sender = rows.get(pk=incoming.sender.pk)
    known = IncomingMessage.objects.filter(key=incoming.message.key).first()
    if known is not None:
        return AcceptedMessage(known, [])
    found, parts = _complete_message(incoming, now)
    if not found.user_ids:
        raise InboundError("nobody_found", unknown=found.unknown)
    message = incoming.message
    message.person_count = len(found.user_ids) * len(parts)
    check_limit(sender, message.person_count, now=now)
    message.save(force_insert=True)
    through = IncomingMessage.people.through
    people = (through(incomingmessage_id=message.pk, user_id=pk) for pk in sorted(found.user_ids))
    through.objects.bulk_create(people, batch_size=PEOPLE_AT_ONCE)
    # One run for the message itself, and one for each further file.
    runs = Run.objects.bulk_create(_draft_run(message, number, now) for number in range(len(parts)))
    Medium.objects.bulk_create(
        _draft_medium(file, now, run=run) for run, file in zip(runs, parts, strict=True) if file is not None
    )
    return AcceptedMessage(message, [run.pk for run in runs])


def preview_incoming(incoming: IncomingDraft) -> Preview:
    """Return who would and would not be reached if the message were accepted now. Write nothing."""
    now, message = timezone.now(), incoming.message
    found, parts = _complete_message(incoming, now)
    carried = None if parts[0] is None else ReadyMedium(0, parts[0].kind, parts[0].name)
    run = _draft_run(message, 0, now)
    recipients = list(resolve_audience(Audience(user_ids=found.user_ids, corp_id=message.corp_id)))
    return Preview(MessageSource(run, message, carried), run, len(parts), recipients, found.unknown)


def _find_people(incoming: IncomingDraft) -> ResolvedAddresses:
    """Find the people whom the message names and its sender may reach, without those who have it already."""
    if incoming.only_user_id is not None:
        return ResolvedAddresses(frozenset({incoming.only_user_id}))
    sender = incoming.sender
    people = find_reachable_people(sender, through=incoming.message.corp, among=incoming.among)
    # The companies whose userids and departments the sender may use: those its owner sees, within its own limit.
    corps = Corp.objects.visible_to(sender.owner)
    if isinstance(sender, InboundChannel):
        corps = corps if sender.corp_id is None else corps.filter(pk=sender.corp_id)
    elif sender.sends_to == ApiToken.SendReach.CORPS:
        corps = corps.filter(pk__in=sender.send_corps.values("pk"))
    found = resolve_addresses(incoming.addresses, among=people, corps=corps)
    user_ids = found.user_ids
    if incoming.audience is not None:
        user_ids |= set(people.filter(match_chosen(incoming.audience)).order_by().values_list("pk", flat=True))
    return ResolvedAddresses(user_ids.difference(incoming.already_sent_to), found.unknown)


def count_sent_today(sender: ApiToken | InboundChannel, *, now: datetime) -> int:
    """Count the person-messages (each message once for each of its people) and the forwarded mails since midnight in
    the site's time zone."""
    today = IncomingMessage.objects.filter(**_make_sender_column(sender), created_at__gte=_find_midnight(now))
    count: int = today.aggregate(total=Sum("person_count", default=0))["total"]
    if isinstance(sender, InboundChannel) and sender.kind == InboundChannel.Kind.MAIL:
        mails = OutgoingMail.objects.filter(channel=sender, created_at__gte=_find_midnight(now))
        count += mails.filter(kind=OutgoingMail.Kind.FORWARD).count()
    return count


def _make_sender_column(sender: ApiToken | InboundChannel) -> dict[str, Any]:
    """Return the column `token` or `channel` of a message with its value."""
    return {"token": sender} if isinstance(sender, ApiToken) else {"channel": sender}


def check_limit(sender: ApiToken | InboundChannel, person_count: int, *, now: datetime) -> None:
    """Raise InboundError if this many more person-messages exceed the limit, with the seconds until the next day."""
    if count_sent_today(sender, now=now) + person_count > sender.daily_limit:
        # 36 hours after midnight it is tomorrow, also on days of 23 or 25 hours.
        tomorrow = _find_midnight(_find_midnight(now) + timedelta(hours=36))
        seconds = math.ceil((tomorrow - now).total_seconds())
        raise InboundError("daily_limit_reached", retry_after_seconds=seconds)


def _find_midnight(moment: datetime) -> datetime:
    return timezone.localtime(moment).replace(hour=0, minute=0, second=0, microsecond=0)


def _complete_message(incoming: IncomingDraft, now: datetime) -> tuple[ResolvedAddresses, list[CheckedFile | None]]:
    """Complete the unsaved row. Return its people, and the files: first the one that the message itself carries, or
    None, then those that follow as messages of their own."""
    message, sender, found = incoming.message, incoming.sender, _find_people(incoming)
    for name, value in _make_sender_column(sender).items():
        setattr(message, name, value)
    message.title = content.clean_title(message.title) or str(sender.name)
    message.text, message.link = content.clean_text(message.text), content.clean_link(message.link)
    message.figures = [
        [content.clean_title(caption)[:CAPTION_CHARACTERS], content.clean_title(value)[:FIGURE_CHARACTERS]]
        for caption, value in message.figures[:FIGURES_AT_MOST]
    ]
    # Unless the sender names a form, choose one that shows all parts.
    has_picture = any(file.kind == Medium.Kind.PICTURE for file in incoming.files)
    has_words = bool(message.text or message.figures or message.link)
    form = MessageForm.TEXTCARD if len(message.text.encode()) <= builders.DESCRIPTION_BYTES else MessageForm.TEXT
    if message.form:
        form = MessageForm(message.form)
    elif message.figures:
        form = MessageForm.NEWS_NOTICE if has_picture else MessageForm.TEXT_NOTICE
    elif has_picture:
        form = MessageForm.NEWS if has_words else MessageForm.IMAGE
    elif incoming.files and not has_words:
        form = MessageForm.FILE
    elif message.markup == IncomingMessage.Markup.MARKDOWN:
        form = MessageForm.MARKDOWN
    message.form = form
    message.unknown = [{**address.to_document(), "reason": problem.value} for address, problem in found.unknown]
    message.requested_by, message.created_at = sender.owner, now
    if message.callback_url:
        message.callback_state, message.callback_after = IncomingMessage.Callback.WAITING, now
    # The kind of the file that a message of this form carries itself.
    wanted = (
        Medium.Kind.PICTURE if form in _FORMS_WITH_PICTURE else Medium.Kind.FILE if form == MessageForm.FILE else None
    )
    rest = list(incoming.files)
    carried = next((file for file in rest if file.kind == wanted), None)
    if carried is not None:
        rest.remove(carried)
    return found, [carried, *rest]


def _draft_run(message: IncomingMessage, number: int, now: datetime) -> Run:
    return Run(
        key=f"message:{message.pk}:{number}" if number else f"message:{message.pk}",
        message=message,
        trigger=Run.Trigger.MESSAGE,
        corp=message.corp,
        slot_at=now,
        claimed_at=now,
        render_after=now + RENDER_LEASE,
        requested_by=message.requested_by,
        api_token=message.token,
    )


def _draft_medium(file: CheckedFile, now: datetime, **owner: Run | ApiToken) -> Medium:
    """Draft the row of a checked file. `owner`: the column `run` or `token` with its row."""
    columns: dict[str, Any] = {name: getattr(file, name) for name in FILE_COLUMNS}
    moments = {"created_at": now, "make_after": now, "made_at": now}
    return Medium(status=Medium.Status.READY, **owner, **moments, **columns)


# A text card must have a text. The other forms become text cards if their picture or file cannot be uploaded.
_FORMS_NEEDING_TEXT = frozenset({MessageForm.TEXTCARD, MessageForm.NEWS, MessageForm.IMAGE, MessageForm.FILE})
_FORMS_WITH_FIGURES = frozenset({MessageForm.TEXT_NOTICE, MessageForm.NEWS_NOTICE})


def is_main_run(message: IncomingMessage, run: Run) -> bool:
    """Return whether the run sends the message itself, not one of its further files."""
    return run.original_run.key == f"message:{message.pk}"


class MessageSource(RunSource):
    """Source of a message's run, or of the run of a further file. The audience is the people whom the addresses named
    when the message was accepted; in a resend, only those whom the resent run did not reach."""

    def __init__(self, run: Run, message: IncomingMessage, medium: ReadyMedium | None) -> None:
        self._run, self._message, self._medium = run, message, medium
        self._is_file = not is_main_run(message, run)

    @classmethod
    def for_run(cls, run: Run) -> Self | None:
        """Return the source of a message's run; None for a run of another kind (notifications.sources.run_sources)."""
        if run.message is None:
            return None
        row = Medium.objects.filter(run=run.original_run).only("kind", "name").order_by("pk").first()
        medium = None if row is None else ReadyMedium(row.pk, Medium.Kind(row.kind), row.name)
        return cls(run, run.message, medium)

    @property
    def terms(self) -> Terms:
        message, form = self._message, MessageForm(self._message.form)
        if self._is_file and self._medium is not None:
            form = MessageForm.IMAGE if self._medium.kind == Medium.Kind.PICTURE else MessageForm.FILE
        return Terms(form, message.priority, message.lifetime_hours, message.corp_id)

    def find_audience(self) -> Audience:
        run, people = self._run, self._message.people.order_by().values("pk")
        if run.resends is not None:
            unreached = Receipt.objects.unreached(run.resends, mark=run.resends_mark, with_unknown=run.resends_unknown)
            people = people.filter(pk__in=unreached.values("user_id"))
        return Audience(user_ids=people, corp_id=self._message.corp_id)

    def build_contents(self, *, now: datetime) -> RunContents:
        message, form, medium = self._message, self.terms.form, self._medium
        title = format_text(form, message.title, IncomingMessage.Markup.PLAIN)
        if self._is_file and medium is not None:
            return RunContents(Content(medium.name, title, media=(medium,), link=message.link))
        words, figures = format_text(form, message.text, message.markup), message.figures
        if form not in _FORMS_WITH_FIGURES:
            # These forms show the figures in their text.
            pairs = [f"{caption}: {value}" for caption, value in figures]
            lines = [format_text(form, pair, IncomingMessage.Markup.PLAIN) for pair in pairs]
            words, figures = "\n".join([*lines, words]).strip(), []
        content = Content(
            title=message.title,
            text=words or (title if form in _FORMS_NEEDING_TEXT else ""),
            figures=tuple(Figure(caption, value) for caption, value in figures),
            link=message.link,
            media=() if medium is None else (medium,),
        )
        return RunContents(content)


# Uploads are pictures and files that wait a day for the messages that will carry them.
UPLOADS_KEPT = timedelta(days=1)
# Limits of the waiting uploads of one token.
UPLOADS_AT_MOST = 200
BYTES_AT_MOST = 1024 * 1024 * 1024
# Limit of the uploads of one message, and of its fetched files: they are in memory while it is accepted.
MESSAGE_BYTES = 60 * 1024 * 1024


def keep_upload(token: ApiToken, file: CheckedFile, *, now: datetime) -> Medium:
    """Store the upload. Raise InboundError while the token has too many, or too large, waiting uploads."""
    with transaction.atomic():
        ApiToken.objects.select_for_update(of=("self",)).get(pk=token.pk)
        waiting = Medium.objects.filter(token=token, created_at__gt=now - UPLOADS_KEPT)
        size = waiting.aggregate(total=Sum(Length("content"), default=0))["total"]
        if waiting.count() >= UPLOADS_AT_MOST or size + len(file.content) > BYTES_AT_MOST:
            oldest = waiting.order_by("created_at").values_list("created_at", flat=True)[0]
            seconds = max(1, int((oldest + UPLOADS_KEPT - now).total_seconds()))
            raise InboundError("too_many_uploads", retry_after_seconds=seconds)
        upload = _draft_medium(file, now, token=token)
        upload.save()
        return upload


def find_uploads(token: ApiToken, ids: Collection[int], *, now: datetime) -> dict[int, CheckedFile]:
    """Return the token's usable uploads among these ids, by id. Raise InboundError if they are larger than
    MESSAGE_BYTES together."""
    rows = Medium.objects.filter(pk__in=ids, token=token, created_at__gt=now - UPLOADS_KEPT)
    if rows.aggregate(total=Sum(Length("content"), default=0))["total"] > MESSAGE_BYTES:
        raise InboundError("too_many_files")
    return {
        row.pk: CheckedFile(
            row.name, Medium.Kind(row.kind), row.content_type, bytes(row.content), row.width, row.height
        )
        for row in rows
    }
