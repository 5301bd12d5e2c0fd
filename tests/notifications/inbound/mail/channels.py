"""A mail channel and its mails, for tests."""

from __future__ import annotations

from typing import Any

from accounts.models import User
from notifications.inbound import channels
from notifications.inbound.mail.intake import Intake
from notifications.inbound.mail.parse import MailRules
from notifications.inbound.mail.server import Mail, SignIn
from notifications.models import InboundChannel


def make_mail_channel(owner: User, *, rules: MailRules | None = None, **fields: Any) -> tuple[InboundChannel, str]:
    """Create a channel for mails and return it with its password."""
    defaults = {"name": "BI", "kind": "mail", "scheme": "password", "is_enabled": True, "owner": owner}
    channel = InboundChannel(mapping=rules.document() if rules else {}, **{**defaults, **fields})
    password = channels.renew_secret(channel)
    channel.save()
    return channel, password


def take(
    channel: InboundChannel, content: bytes, *recipients: str, sender: str = "bi@example.com"
) -> tuple[str, list[int]]:
    """Hand in a mail. Return the answer to the sender and the runs that were handed out."""
    run_ids: list[int] = []
    signed_in = SignIn(channel.pk, channel.digest, "127.0.0.1")
    answer = Intake(run_ids.extend).take(signed_in, Mail(sender, recipients, content))
    return answer, run_ids


def mail(text: str = "hello", *, message_id: str = "<1@bi>", lines: tuple[str, ...] = ()) -> bytes:
    head = (f"Message-ID: {message_id}", "From: bi@example.com", "Subject: 日报", *lines)
    return "".join(f"{line}\r\n" for line in head).encode() + f"\r\n{text}\r\n".encode()
