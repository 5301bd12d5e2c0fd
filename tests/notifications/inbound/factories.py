"""Rows and values for the tests of incoming messages."""

import struct
import zlib
from datetime import timedelta
from itertools import count
from typing import Any

from accounts.models import User
from integrations.models import Corp
from notifications.api import tokens
from notifications.inbound.accept import IncomingDraft
from notifications.inbound.recipients import Address, AddressKind
from notifications.models import ApiToken, InboundChannel, IncomingMessage
from tests.notifications.factories import NOW

_numbers = count(1)


def make_sender(owner: User, **fields: Any) -> ApiToken:
    """Create a token that may send to everyone its owner may reach."""
    corps: list[Corp] = fields.pop("send_corps", [])
    number = next(_numbers)
    defaults = {"name": "数据仓库", "may_send": True, "sends_to": "everyone", "expires_at": NOW + timedelta(days=1000)}
    token = ApiToken(owner=owner, form_key=f"{number:032d}", **{**defaults, **fields})
    tokens.make_secret(token, now=NOW)
    token.save()
    token.send_corps.set(corps)
    return token


def make_incoming(sender: ApiToken | InboundChannel, *people: User, **fields: Any) -> IncomingDraft:
    """Return a message addressed to these people by their user names."""
    addresses = [Address(AddressKind.USER, person.username) for person in people]
    message = {"origin": "api", "key": f"api:test:{next(_numbers)}", "title": "磁盘快满了"}
    files, addresses = fields.pop("files", ()), fields.pop("addresses", addresses)
    return IncomingDraft(sender, IncomingMessage(**{**message, **fields}), addresses, files)


def png(width: int = 2, height: int = 2, *, seed: int = 0) -> bytes:
    rows = b"".join(b"\0" + bytes([seed % 256, 120, 200]) * width for _row in range(height))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in [*chunks, (b"IEND", b"")])


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
