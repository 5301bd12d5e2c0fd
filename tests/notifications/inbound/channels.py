"""Inbound channels, and calls to them as senders make them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.test import Client

from accounts.models import User
from notifications.inbound.channels import kept_of
from notifications.inbound.mapping import PRESETS, Mapping
from notifications.models import InboundChannel
from tests.rows import join, put

SECRET = "gwi_secret"
EXAMPLES = Path(__file__).parents[2] / "fixtures" / "inbound"
JSON, MULTIPART = "application/json", "multipart/form-data; boundary=boundary"


def make_channel(owner: User, *people: User, **fields: Any) -> InboundChannel:
    """Create an enabled channel with SECRET for these people."""
    mapping: Mapping = fields.pop("mapping", Mapping(title="{{ payload.title }}", text="{{ payload.text }}"))
    defaults = {
        "name": "数据平台",
        "owner": owner,
        "is_enabled": True,
        "scheme": "bearer",
        "mapping": mapping.document(),
    }
    channel = InboundChannel(**{**defaults, **fields})
    kept = kept_of(SECRET, channel.scheme)
    channel.secret, channel.digest = kept.secret, kept.digest
    put(channel)
    join(channel, "users", people)
    return channel


def example(sender: str) -> tuple[bytes, str]:
    """Return the body that a sender posts, and its content type."""
    [path] = EXAMPLES.glob(f"{sender}.*")
    return path.read_bytes(), MULTIPART if path.suffix == ".multipart" else JSON


def preset_channel(sender: str, owner: User, *people: User) -> InboundChannel:
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
