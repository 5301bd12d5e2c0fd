"""What of a message is uploaded, under which name, and where it goes in the body."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.utils import translation

from integrations.clients.wecom.builders import robot_image
from notifications.delivery.attachments.spreadsheets import file_name
from notifications.models import Channel, Delivery, MessageForm

_UPLOADED = {
    Channel.WECOM: frozenset({MessageForm.IMAGE, MessageForm.XLSX, MessageForm.CSV, MessageForm.FILE}),
    Channel.ROBOT: frozenset({MessageForm.XLSX, MessageForm.CSV, MessageForm.FILE}),
}
_MEDIA_TYPES = {
    MessageForm.IMAGE: "image/png",
    MessageForm.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    MessageForm.CSV: "text/csv",
}
_EXTENSIONS = {MessageForm.XLSX: "xlsx", MessageForm.CSV: "csv"}


def is_uploaded(delivery: Delivery) -> bool:
    """Else it goes in the body itself, or by its address."""
    return delivery.message_form in _UPLOADED.get(Channel(delivery.channel), ())


def name_of(delivery: Delivery) -> str:
    """As it came, or in the message's language by its title."""
    with translation.override(delivery.language):
        extension = _EXTENSIONS.get(MessageForm(delivery.message_form), "png")
        medium = delivery.medium
        return (medium.name if medium else "") or file_name(delivery.title, delivery.created_at, extension)


def media_id_of(delivery: Delivery) -> str:
    """Empty before its first upload."""
    body = json.loads(bytes(delivery.body))
    return str(body[body["msgtype"]].get("media_id", ""))


def with_media_id(body: dict[str, Any], media_id: str) -> dict[str, Any]:
    """The body after an upload."""
    return body | {body["msgtype"]: {**body[body["msgtype"]], "media_id": media_id}}


def filled(body: dict[str, Any], held: Delivery, content: bytes) -> dict[str, Any]:
    """A robot's picture stands in the message itself; news and cards have its address already."""
    if _holds_picture(held):
        return robot_image(content)
    if held.channel == Channel.EMAIL:
        digest = hashlib.sha256(content).hexdigest()
        return body | {"medium": {"id": held.medium_id, "name": name_of(held), "digest": digest}}
    return body


def size_in_body(held: Delivery, content: bytes) -> int:
    """How many bytes of the content `filled` writes into the body."""
    return len(content) if _holds_picture(held) else 0


def _holds_picture(held: Delivery) -> bool:
    return held.channel == Channel.ROBOT and held.message_form == MessageForm.IMAGE


def media_type_of(delivery: Delivery) -> str:
    """As it came with the message, or by its form."""
    given = delivery.medium.content_type if delivery.medium else ""
    return given or _MEDIA_TYPES[MessageForm(delivery.message_form)]
