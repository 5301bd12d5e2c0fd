"""Files. Source of each call: developer.work.weixin.qq.com, page given there."""

from __future__ import annotations

from typing import Literal

from integrations.clients.wecom.api.base import Answer, Call, Calls, text, typed
from integrations.clients.wecom.builders import MessageError, multipart

MediaKind = Literal["image", "file"]

SMALLEST_BYTES = 6  # "more than 5 bytes"
LARGEST_BYTES: dict[MediaKind, int] = {"image": 10 * 1024 * 1024, "file": 20 * 1024 * 1024}


def media_id_from(answer: Answer) -> str:
    """media/upload and webhook/upload_media."""
    return text(answer, "media_id")


class MediaCalls(Calls):
    """Uploading."""

    def media_upload(
        self, content: bytes, *, kind: MediaKind, file_name: str, media_type: str = "application/octet-stream"
    ) -> str:
        """Upload a file for messages, for three days; returns its media_id. The recipient sees `file_name`.

        `content`: more than 5 bytes; image (JPG, PNG) 10 MB, file 20 MB. Raises MessageError for any other size, and
        for a name with line breaks. Source: document/path/90253.
        """
        check_media("media", content, LARGEST_BYTES[kind])
        body, content_type = multipart(content, file_name=file_name, media_type=media_type)
        params = {"type": kind}
        call = Call("media_upload", "/cgi-bin/media/upload", "POST", params, body, content_type, is_transfer=True)
        return typed("media_upload", media_id_from, self._call(call))


def check_media(field: str, content: bytes, largest: int) -> None:
    """Raises MessageError, with `field`, unless `content` has SMALLEST_BYTES to `largest` bytes."""
    if not SMALLEST_BYTES <= len(content) <= largest:
        raise MessageError(field, f"{len(content)} bytes, {SMALLEST_BYTES} to {largest}")
