"""Inbound channels for webhooks and mails, and calls and mails to them as senders make them."""

import json
from pathlib import Path
from typing import Any

from django.test import Client

from accounts.models import User
from notifications.inbound.channels import SCHEMES, make_digest, renew_secret
from notifications.inbound.mail.intake import Intake
from notifications.inbound.mail.parse import MailRules
from notifications.inbound.mail.server import ReceivedMail, SignIn
from notifications.inbound.mapping import PRESETS, ChannelMapping
from notifications.models import InboundChannel
from tests.rows import join, put

SECRET = "gwi_secret"
EXAMPLES = Path(__file__).parents[2] / "fixtures" / "inbound"
JSON, MULTIPART = "application/json", "multipart/form-data; boundary=boundary"


def english_client(person: User) -> Client:
    client = Client(headers={"accept-language": "en"})
    client.force_login(person)
    return client


def make_channel(owner: User, *people: User, **fields: Any) -> InboundChannel:
    """Create an enabled channel with SECRET for these people."""
    mapping: ChannelMapping = fields.pop(
        "mapping", ChannelMapping(title="{{ payload.title }}", text="{{ payload.text }}")
    )
    defaults = {
        "name": "数据平台",
        "owner": owner,
        "is_enabled": True,
        "scheme": "bearer",
        "mapping": mapping.to_document(),
    }
    channel = InboundChannel(**{**defaults, **fields})
    if SCHEMES[channel.scheme].needs_secret:
        channel.secret = SECRET
    else:
        channel.digest = make_digest(SECRET)
    put(channel)
    join(channel, "users", people)
    return channel


def read_example(sender: str) -> tuple[bytes, str]:
    """Return the body that a sender posts, and its content type."""
    [path] = EXAMPLES.glob(f"{sender}.*")
    return path.read_bytes(), MULTIPART if path.suffix == ".multipart" else JSON


def make_preset_channel(sender: str, owner: User, *people: User) -> InboundChannel:
    preset = PRESETS[sender]
    return make_channel(owner, *people, preset=sender, scheme=preset.scheme, mapping=preset.mapping)


def call(channel: InboundChannel, body: Any, content_type: str = JSON, *, secret: str = SECRET, **headers: str) -> Any:
    """Call the channel with the secret where its scheme expects it. A `body` that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    address, extra = f"/in/{channel.public_id}", dict(headers)
    match channel.scheme:
        case "query":
            address += f"?token={secret}"
        case "bearer":
            extra["Authorization"] = f"Bearer {secret}"
        case "gitlab":
            extra["X-Gitlab-Token"] = secret
        case "header":
            extra["X-Channel-Token"] = secret
    return Client().generic("POST", address, content, content_type=content_type, headers=extra)


def make_mail_channel(owner: User, *, rules: MailRules | None = None, **fields: Any) -> tuple[InboundChannel, str]:
    """Create a channel for mails and return it with its password."""
    defaults = {"name": "BI", "kind": "mail", "scheme": "password", "is_enabled": True, "owner": owner}
    channel = InboundChannel(mapping=rules.to_document() if rules else {}, **{**defaults, **fields})
    password = renew_secret(channel)
    channel.save()
    return channel, password


def take(
    channel: InboundChannel, content: bytes, *recipients: str, sender: str = "bi@example.com"
) -> tuple[str, list[int]]:
    """Hand in a mail. Return the answer to the sender and the runs that were handed out."""
    run_ids: list[int] = []
    signed_in = SignIn(channel.pk, channel.digest, "127.0.0.1")
    answer = Intake(run_ids.extend).accept_mail(signed_in, ReceivedMail(sender, recipients, content))
    return answer, run_ids


def mail(text: str = "hello", *, message_id: str = "<1@bi>", lines: tuple[str, ...] = ()) -> bytes:
    head = (f"Message-ID: {message_id}", "From: bi@example.com", "Subject: 日报", *lines)
    return "".join(f"{line}\r\n" for line in head).encode() + f"\r\n{text}\r\n".encode()
