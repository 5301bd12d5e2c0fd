"""E-mail channel, through Django's mail backends. An unclear outcome is not repeated."""

from __future__ import annotations

import json
import smtplib
from email.mime.image import MIMEImage
from email.utils import format_datetime
from typing import ClassVar

from django.conf import settings
from django.core.mail import EmailMessage, EmailMultiAlternatives, get_connection
from django.utils.html import escape, urlize

from integrations.models import Corp
from notifications.delivery.channels.base import Caller, Requester, Sendable
from notifications.delivery.channels.outcomes import CONFIGURATION_WAIT_SECONDS, Kind, Outcome
from notifications.delivery.limiter import Request, Scope
from notifications.models import Medium, Priority

# Answers of a mail server from here on are final (RFC 5321, 4.2.1); those below may be different later.
_FINAL = 500


class Mail:
    """Channel.EMAIL. A delivery is one mail to one person."""

    is_repeat_safe: ClassVar[bool] = False

    def requester(self, corp: Corp, *, daily_budget: int) -> Requester:
        return lambda delivery: Request(
            id=f"{delivery.pk}.{delivery.attempt_count + 1}",
            scopes=self.held_scopes(delivery),
            is_urgent=delivery.priority == Priority.URGENT,
        )

    def held_scopes(self, delivery: Sendable) -> tuple[Scope, ...]:
        return (Scope("mail", per_minute=settings.LIMIT_MAIL_PER_MINUTE),)

    def caller(self, delivery: Sendable) -> Caller:
        mail = json.loads(bytes(delivery.body))
        headers = {"Message-ID": mail["message_id"], "Date": format_datetime(delivery.created_at)}
        message = EmailMultiAlternatives(mail["subject"], mail["text"], mail["from"], [mail["to"]], headers=headers)
        if medium := mail.get("medium"):
            _carry(message, Medium.objects.only("kind", "content", "content_type").get(pk=medium["id"]), medium["name"])

        def call() -> Outcome:
            return sent(message)

        return call


def _carry(message: EmailMultiAlternatives, medium: Medium, name: str) -> None:
    """A picture stands in the mail below its words; a file hangs on it."""
    content = bytes(medium.content)
    if medium.kind != Medium.Kind.PICTURE:
        message.attach(name, content, medium.content_type or _TYPES[Medium.Kind(medium.kind)])
        return
    picture = MIMEImage(content, medium.content_type.partition("/")[2] or "png")
    picture.add_header("Content-ID", "<chart>")
    picture.add_header("Content-Disposition", "inline", filename=name)
    text = urlize(message.body, nofollow=True, autoescape=True).replace("\n", "<br>\n")
    message.attach_alternative(
        f'<p style="font-family:sans-serif">{text}</p><p><img src="cid:chart" width="390" alt="{escape(name)}"></p>',
        "text/html",
    )
    message.attach(picture)


_TYPES = {
    Medium.Kind.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    Medium.Kind.CSV: "text/csv",
}


def sent(message: EmailMessage) -> Outcome:
    connection = get_connection()
    try:
        connection.open()
    except smtplib.SMTPAuthenticationError as error:
        return Outcome(
            Kind.POSTPONED,
            message=f"the mail server refused our name: {error.smtp_code}",
            wait_seconds=CONFIGURATION_WAIT_SECONDS,
            is_configuration=True,
        )
    except (OSError, smtplib.SMTPException) as error:
        return Outcome(Kind.NOT_SENT, message=f"no mail server: {type(error).__name__}")
    try:
        connection.send_messages([message])
    except smtplib.SMTPRecipientsRefused as error:
        return _refused(max(code for code, _text in error.recipients.values()), Kind.RECIPIENTS)
    except smtplib.SMTPResponseException as error:
        return _refused(error.smtp_code, Kind.REFUSED)
    except (OSError, smtplib.SMTPException) as error:
        return Outcome(Kind.UNCLEAR, message=f"the mail server went away: {type(error).__name__}")
    finally:
        _closed(connection)
    return Outcome(Kind.ACCEPTED, errcode=0, msgid=str(message.extra_headers["Message-ID"]))


def _refused(code: int, kind: Kind) -> Outcome:
    message = f"the mail server answered {code}"
    return Outcome(kind if code >= _FINAL else Kind.NOT_SENT, message=message, errcode=code)


def _closed(connection: object) -> None:
    """What was said before counts, however the good-bye goes."""
    try:
        connection.close()  # type: ignore[attr-defined]  # every backend has it
    except (OSError, smtplib.SMTPException):
        return
