"""Mails that the mail door sends through our mail server: bounces, which report unreached people, and forwarded mails.

They are written with the message and sent by the tick. An attempt with an unknown outcome is not repeated.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import zlib
from collections.abc import Callable, Sequence
from copy import copy
from datetime import datetime, timedelta
from email.mime.image import MIMEImage
from email.utils import format_datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.core.validators import validate_email
from django.db.models import F
from django.utils import translation
from django.utils.html import escape
from django.utils.translation import gettext as _

from accounts.models import User
from integrations.clients.late import LazyModule
from integrations.core.background import Clock, log_errors
from notifications.delivery import channels
from notifications.delivery.channels import OutcomeKind
from notifications.inbound.accept import check_limit
from notifications.inbound.mail.parse import PASSED_ON, MailRules, UnreadableMailError, parse_mail
from notifications.models import OutgoingMail, Receipt, Run

if TYPE_CHECKING:
    from notifications.inbound.mail import html
else:
    html = LazyModule("notifications.inbound.mail.html")

logger = logging.getLogger(__name__)

AT_ONCE = 50
# A worker that holds a mail for longer counts as dead.
LEASE = timedelta(minutes=10)
RETRY_AFTER = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 120, 480))
# Time for which mails that became no message are kept.
MAILS_KEPT = timedelta(days=7)
NAMED_AT_MOST = 200
# Limit of one channel, so that nobody gets the same report again and again.
BOUNCES_PER_HOUR = 60
# An address without quotes. A report names no others: a quoted part could hold any words.
_PLAIN_ADDRESS = re.compile(r"""[^\s"\\<>()\[\]:;,/]{1,64}@[\w.-]{1,255}""")
# Inline pictures as notifications.inbound.mail.html writes them on the page.
_SHOWN_PICTURE = re.compile(r'src="data:image/\w+;base64,([A-Za-z0-9+/=]+)"')
_CANNOT_BE_REPEATED = {OutcomeKind.UNCLEAR, OutcomeKind.REFUSED, OutcomeKind.RECIPIENTS}


def write_mails(draft: OutgoingMail, *, prefix: str, sender: str, forwarded: Sequence[str], now: datetime) -> None:
    """Write the mails that follow from one mail, in the transaction that accepts it. Do nothing without a mail server.
    `sender` gets a report of unreached recipients; the addresses `forwarded` get the mail itself. `draft`: unsaved row
    with the common fields; `prefix`: equal for a repeated mail. Raise InboundError above the day's limit."""
    if "dummy" in settings.EMAIL_BACKEND:
        return
    # One report for a message, or for a set of addresses: a sender may hand in one mail for each recipient.
    reported = str(draft.message_id) if draft.message else " ".join(sorted(draft.unknown))
    wanted = [(OutgoingMail.Kind.BOUNCE, sender, reported)]
    wanted += [(OutgoingMail.Kind.FORWARD, address, "") for address in forwarded]
    rows = []
    for kind, recipient, about in wanted:
        if _is_address(recipient):
            row = copy(draft)
            row.kind, row.recipient, row.next_attempt_at, row.created_at = kind, recipient, now, now
            row.key = hashlib.sha256("\n".join((prefix, kind, recipient, about)).encode()).hexdigest()
            if kind == OutgoingMail.Kind.FORWARD:
                row.unknown = []
            if kind == OutgoingMail.Kind.BOUNCE or draft.message is not None:
                row.original = row.page = b""
            rows.append(row)
    OutgoingMail.objects.bulk_create(rows, ignore_conflicts=True)
    if forwarded:
        check_limit(draft.channel, 0, now=now)


def _is_address(text: str) -> bool:
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True


def hand_out_mails(*, now: datetime) -> list[int]:
    """Claim the due mails for a task and return their ids. Nobody else takes them during their lease."""
    # Mails whose worker died during the attempt.
    abandoned = OutgoingMail.objects.filter(status=OutgoingMail.Status.STARTED, next_attempt_at__lte=now)
    abandoned.update(status=OutgoingMail.Status.FAILED, error="it may have been sent, or not")
    due = OutgoingMail.objects.due(now).order_by("next_attempt_at", "pk").values_list("pk", flat=True)[:AT_ONCE]
    waiting = OutgoingMail.objects.filter(status=OutgoingMail.Status.WAITING, next_attempt_at__lte=now)
    lease = {"next_attempt_at": now + LEASE, "attempt_count": F("attempt_count") + 1}
    return [pk for pk in list(due) if waiting.filter(pk=pk).update(**lease)]


def send_mails(pks: Sequence[int], *, clock: Clock, is_stopping: Callable[[], bool]) -> None:
    """Write the claimed mails and send them. A report is not sent if by now everybody was reached. A row is marked as
    started before the attempt."""
    for pk in pks:
        if is_stopping():
            return
        with log_errors(logger, "outgoing mail=%d could not be sent", pk):
            now = clock()
            waiting = OutgoingMail.objects.filter(pk=pk, status=OutgoingMail.Status.WAITING)
            rows = waiting.select_related("message", "channel")
            row = rows.defer("message__original", "message__page", "channel__last_payload").first()
            if row is None:
                continue
            if row.attempt_count > len(RETRY_AFTER) + 1:  # the worker died each time before the mail was sent
                _settle_mail(row, OutgoingMail.Status.FAILED, "it could not be made")
                continue
            with translation.override(settings.LANGUAGE_CODE):
                mail = _write_report(row) if row.kind == OutgoingMail.Kind.BOUNCE else _write_forward(row)
            if mail is None:
                _settle_mail(row, OutgoingMail.Status.NEEDLESS)
                continue
            bounces = OutgoingMail.objects.filter(channel=row.channel_id, kind=OutgoingMail.Kind.BOUNCE)
            last_hour = bounces.filter(started_at__gt=now - timedelta(hours=1))
            if row.kind == OutgoingMail.Kind.BOUNCE and last_hour.count() >= BOUNCES_PER_HOUR:
                _settle_mail(row, OutgoingMail.Status.FAILED, f"more than {BOUNCES_PER_HOUR} in an hour")
                continue
            # If the worker dies from here on, the row stays started and nobody sends it again.
            if not waiting.update(status=OutgoingMail.Status.STARTED, started_at=now, next_attempt_at=now + LEASE):
                continue
            mail.extra_headers |= {"Date": format_datetime(row.created_at), "Message-ID": f"<{row.key}@guanwecom>"}
            outcome = channels.send_mail(mail)
            if outcome.kind == OutcomeKind.ACCEPTED:
                _settle_mail(row, OutgoingMail.Status.SENT)
            elif outcome.kind in _CANNOT_BE_REPEATED or row.attempt_count > len(RETRY_AFTER):
                _settle_mail(row, OutgoingMail.Status.FAILED, outcome.message)
            else:
                row.status, row.error = OutgoingMail.Status.WAITING, outcome.message[:200]
                row.next_attempt_at = clock() + RETRY_AFTER[row.attempt_count - 1]
                row.save(update_fields=["status", "error", "next_attempt_at"])


def _settle_mail(row: OutgoingMail, status: OutgoingMail.Status, error: str = "") -> None:
    row.status, row.error = status, error[:200]
    row.save(update_fields=["status", "error"])
    logger.info("outgoing mail=%d %s: %s", row.pk, row.kind, status.value)


def _write_report(row: OutgoingMail) -> EmailMultiAlternatives | None:
    """Write whom the mail did not reach, without reasons: the channel's owner finds them in the delivery log. Return
    None if everybody was reached."""
    people: set[int] = set()
    for run in Run.objects.filter(message=row.message) if row.message else ():
        receipts = Receipt.objects.unreached(run).exclude(user=None)
        people.update(receipts.order_by().values_list("user_id", flat=True)[: 2 * NAMED_AT_MOST])
    unreached = [person.get_full_name() for person in User.objects.filter(pk__in=people).order_by("username")]
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


def _write_forward(row: OutgoingMail) -> EmailMultiAlternatives | None:
    """Write the mail anew from our own address, so that other servers trust it. Its HTML is that of its page, which was
    cleaned on arrival. Return None if the mail cannot be read."""
    stored = row.message or row  # the mail is stored with its message if there is one
    try:
        parsed, page = parse_mail(zlib.decompress(stored.original)), zlib.decompress(stored.page).decode()
    except (UnreadableMailError, zlib.error):
        return None
    headers = {"Auto-Submitted": "auto-generated", PASSED_ON: row.channel.public_id}
    files, left_out = html.choose_files(parsed, MailRules.from_document(row.channel.mapping))
    line = html.describe_unsent_files(left_out)
    text = f"{parsed.text or html.strip_tags(page)}\n\n{line}".strip()
    mail = EmailMultiAlternatives(parsed.subject, text, settings.DEFAULT_FROM_EMAIL, [row.recipient], headers=headers)
    mail.reply_to = [parsed.sender] if _is_address(parsed.sender) else []
    if parsed.html:
        cids = {base64.b64encode(part.content).decode(): part.cid for part in parsed.pictures}
        shown = _SHOWN_PICTURE.sub(lambda match: f'src="cid:{escape(cids.get(match[1], ""))}"', page)
        mail.attach_alternative(f"{shown}<p>{escape(line)}</p>" if line else shown, "text/html")
    for part in parsed.pictures:
        if kind := html.detect_picture_type(part.content):
            picture = MIMEImage(part.content, kind.rpartition("/")[2])
            picture.add_header("Content-ID", f"<{part.cid}>")
            mail.attach(picture)
    for file in files:
        mail.attach(file.name, file.content, "application/octet-stream")
    return mail
