"""Mails that the door sends itself, by our mail server: whom its sender could not reach, and mails passed on.

Written with the message, sent by the tick. An attempt whose outcome nobody knows is not repeated.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import zlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from email.mime.image import MIMEImage
from email.utils import format_datetime

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.core.validators import validate_email
from django.db.models import F, QuerySet
from django.utils import translation
from django.utils.html import escape
from django.utils.translation import gettext as _

from accounts.models import User
from integrations.core.background import Clock, guarded
from integrations.models.jobs import Moment
from notifications.delivery import channels
from notifications.delivery.channels import Kind as OutcomeKind
from notifications.inbound.accept import check_limit
from notifications.inbound.mail import html
from notifications.inbound.mail.html import files_of, not_sent
from notifications.inbound.mail.parse import PASSED_ON, MailRules, UnreadableMailError, parse
from notifications.models import IncomingMessage, OutgoingMail, Receipt, Run
from notifications.models.inbound import TITLE_CHARACTERS

logger = logging.getLogger(__name__)

AT_ONCE = 50
# A worker that died with one under way is taken for gone after it.
LEASE = timedelta(minutes=10)
RETRY_AFTER = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 120, 480))
# Of mails that became no message.
KEPT = timedelta(days=7)
NAMED_AT_MOST = 200
# Of one channel: what a sender is told again and again nobody reads.
BOUNCES_PER_HOUR = 60
# An address that says nothing but an address: what stands in quotes may be any words.
_PLAIN_ADDRESS = re.compile(r"""[^\s"\\<>()\[\]:;,/]{1,64}@[\w.-]{1,255}""")
# As the page of a mail has it: notifications.inbound.mail.html.
_SHOWN_PICTURE = re.compile(r'src="data:image/\w+;base64,([A-Za-z0-9+/=]+)"')
_CANNOT_BE_REPEATED = {OutcomeKind.UNCLEAR, OutcomeKind.REFUSED, OutcomeKind.RECIPIENTS}


def write(draft: OutgoingMail, *, prefix: str, sender: str, forwarded: Sequence[str], now: datetime) -> None:
    """Write what is mailed because of one mail, in the transaction that accepts it: whom it did not reach, for
    `sender`, and the mail itself for the addresses `forwarded`. Nothing where no mail server is set. Raises
    DailyLimitError. `draft`: what all of them have, unsaved; `prefix`: the same for a mail that comes again.
    """
    if "dummy" in settings.EMAIL_BACKEND:
        return
    # By its message, or by the addresses: a sender may hand in one mail for each recipient.
    about = str(draft.message_id) if draft.message else " ".join(sorted(draft.unknown))
    wanted = [(OutgoingMail.Kind.BOUNCE, sender, about)]
    wanted += [(OutgoingMail.Kind.FORWARD, address, "") for address in forwarded]
    rows = (_row(draft, *one, prefix, now) for one in wanted if _is_address(one[1]))
    OutgoingMail.objects.bulk_create(rows, ignore_conflicts=True)
    if forwarded:
        check_limit(draft.channel, 0, now=now)


def _row(draft: OutgoingMail, kind: str, recipient: str, about: str, prefix: str, now: datetime) -> OutgoingMail:
    has_mail = kind == OutgoingMail.Kind.FORWARD and draft.message is None
    return OutgoingMail(
        key=hashlib.sha256("\n".join((prefix, kind, recipient, about)).encode()).hexdigest(),
        kind=kind,
        channel=draft.channel,
        message=draft.message,
        recipient=recipient,
        subject=draft.subject[:TITLE_CHARACTERS],
        unknown=draft.unknown if kind == OutgoingMail.Kind.BOUNCE else [],
        original=draft.original if has_mail else b"",
        page=draft.page if has_mail else b"",
        next_attempt_at=now,
        created_at=now,
    )


def _is_address(text: str) -> bool:
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True


# --- Sending ---


def hand_out(*, now: datetime) -> list[int]:
    """Those that are due, for a task: nobody else takes them while their lease lasts."""
    OutgoingMail.objects.left(now).update(status=OutgoingMail.Status.FAILED, error="it may have been sent, or not")
    due = OutgoingMail.objects.due(now).order_by("next_attempt_at", "pk").values_list("pk", flat=True)[:AT_ONCE]
    waiting = OutgoingMail.objects.filter(status=OutgoingMail.Status.WAITING, next_attempt_at__lte=now)
    lease = {"next_attempt_at": now + LEASE, "attempt_count": F("attempt_count") + 1}
    return [pk for pk in list(due) if waiting.filter(pk=pk).update(**lease)]


def send(pks: Sequence[int], *, clock: Clock, is_stopping: Callable[[], bool]) -> None:
    """Try these, which were handed out, one after the other."""
    for pk in pks:
        if is_stopping():
            return
        with guarded(logger, "outgoing mail=%d could not be sent", pk):
            _send(pk, clock)


def _send(pk: int, clock: Clock) -> None:
    now = clock()
    waiting = OutgoingMail.objects.filter(pk=pk, status=OutgoingMail.Status.WAITING)
    row = waiting.select_related("message", "channel").defer("message__original", "message__page").first()
    if row is None:
        return
    if row.attempt_count > len(RETRY_AFTER) + 1:  # only where each attempt ended before its beginning
        _settle(row, OutgoingMail.Status.FAILED, "it could not be made")
        return
    with translation.override(settings.LANGUAGE_CODE):
        mail = _bounce(row) if row.kind == OutgoingMail.Kind.BOUNCE else _forward(row)
    if mail is None:
        _settle(row, OutgoingMail.Status.NEEDLESS)
        return
    bounces = OutgoingMail.objects.filter(channel=row.channel_id, kind=OutgoingMail.Kind.BOUNCE)
    last_hour = bounces.filter(started_at__gt=now - timedelta(hours=1))
    if row.kind == OutgoingMail.Kind.BOUNCE and last_hour.count() >= BOUNCES_PER_HOUR:
        _settle(row, OutgoingMail.Status.FAILED, f"more than {BOUNCES_PER_HOUR} in an hour")
        return
    # A worker that dies from here on leaves it as started: nobody sends it again.
    started = {"status": OutgoingMail.Status.STARTED, "started_at": now, "next_attempt_at": now + LEASE}
    if waiting.update(**started):
        _attempt(row, mail, clock)


def _attempt(row: OutgoingMail, mail: EmailMultiAlternatives, clock: Clock) -> None:
    message_id = f"<{row.key}@guanwecom>"
    mail.extra_headers |= {"Date": format_datetime(row.created_at), "Message-ID": message_id}
    outcome = channels.send_mail(mail)
    if outcome.kind == OutcomeKind.ACCEPTED:
        _settle(row, OutgoingMail.Status.SENT)
    elif outcome.kind in _CANNOT_BE_REPEATED or row.attempt_count > len(RETRY_AFTER):
        _settle(row, OutgoingMail.Status.FAILED, outcome.message)
    else:
        row.status, row.error = OutgoingMail.Status.WAITING, outcome.message[:200]
        row.next_attempt_at = clock() + RETRY_AFTER[row.attempt_count - 1]
        row.save(update_fields=["status", "error", "next_attempt_at"])


def _settle(row: OutgoingMail, status: OutgoingMail.Status, error: str = "") -> None:
    row.status, row.error = status, error[:200]
    row.save(update_fields=["status", "error"])
    logger.info("outgoing mail=%d %s: %s", row.pk, row.kind, status.value)


def old(now: Moment) -> QuerySet[OutgoingMail]:
    """What is to be forgotten: of mails that became no message."""
    return OutgoingMail.objects.filter(message__isnull=True, created_at__lte=now - KEPT)


# --- What they say ---


def _bounce(row: OutgoingMail) -> EmailMultiAlternatives | None:
    """Whom the mail did not reach, without reasons: the channel's owner reads them in the delivery log."""
    unreached = _unreached(row.message) if row.message else []
    if not row.unknown and not unreached:
        return None
    names = [*filter(_PLAIN_ADDRESS.fullmatch, row.unknown), *unreached][:NAMED_AT_MOST]
    lines = [f"- {name}" for name in names]
    if more := len(row.unknown) + len(unreached) - len(names):
        lines.append(_("… and %(count)d more") % {"count": more})
    intro = _("Your mail “%(subject)s” did not reach these recipients in WeCom:") % {"subject": row.subject}
    outro = _("The delivery log of the channel “%(channel)s” says more.") % {"channel": row.channel.name}
    subject = _("Not delivered: %(subject)s") % {"subject": row.subject}
    body = "\n".join([intro, "", *lines, "", outro, ""])
    headers = {"Auto-Submitted": "auto-replied"}
    return EmailMultiAlternatives(subject, body, settings.DEFAULT_FROM_EMAIL, [row.recipient], headers=headers)


def _unreached(message: IncomingMessage) -> Sequence[str]:
    """People whom no run of the message reached in full."""
    people: set[int] = set()
    for run in Run.objects.filter(message=message):
        unreached = Receipt.objects.unreached(run).exclude(user=None)
        people.update(unreached.order_by().values_list("user_id", flat=True)[: 2 * NAMED_AT_MOST])
    found = User.objects.filter(pk__in=people).order_by("username")
    return [person.get_full_name() for person in found]


def _forward(row: OutgoingMail) -> EmailMultiAlternatives | None:
    """The mail made anew from our own address, with what the channel sends of it: other servers believe it. Its HTML is
    that of its page, which was cleaned as the mail came."""
    kept = row.message or row
    try:
        parsed, page = parse(zlib.decompress(kept.original)), zlib.decompress(kept.page).decode()
    except (UnreadableMailError, zlib.error):
        return None
    headers = {"Auto-Submitted": "auto-generated", PASSED_ON: row.channel.public_id}
    reply_to = [parsed.sender] if _is_address(parsed.sender) else []
    files, left_out = files_of(parsed, MailRules.of(row.channel.mapping))
    line = not_sent(left_out)
    text = f"{parsed.text or html.without_tags(page)}\n\n{line}".strip()
    mail = EmailMultiAlternatives(
        *(parsed.subject, text, settings.DEFAULT_FROM_EMAIL, [row.recipient]), headers=headers, reply_to=reply_to
    )
    if parsed.html:
        cids = {base64.b64encode(part.content).decode(): part.cid for part in parsed.pictures}
        shown = _SHOWN_PICTURE.sub(lambda match: f'src="cid:{escape(cids.get(match[1], ""))}"', page)
        mail.attach_alternative(f"{shown}<p>{escape(line)}</p>" if line else shown, "text/html")
    for part in parsed.pictures:
        if kind := html.picture_type(part.content):
            picture = MIMEImage(part.content, kind.rpartition("/")[2])
            picture.add_header("Content-ID", f"<{part.cid}>")
            mail.attach(picture)
    for file in files:
        mail.attach(file.name, file.content, "application/octet-stream")
    return mail
