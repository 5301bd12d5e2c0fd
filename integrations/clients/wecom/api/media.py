"""Files. Source of each call: developer.work.weixin.qq.com, page given there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

from integrations.clients.wecom.api.base import Answer, Call, Calls, Reply, optional_text, text, typed
from integrations.clients.wecom.messages.limits import MessageError, multipart

MediaKind = Literal["image", "voice", "video", "file"]

SMALLEST_BYTES = 6  # "more than 5 bytes"
LARGEST_BYTES: dict[MediaKind, int] = {
    "image": 10 * 1024 * 1024,
    "voice": 2 * 1024 * 1024,
    "video": 10 * 1024 * 1024,
    "file": 20 * 1024 * 1024,
}
PICTURE_BYTES = 2 * 1024 * 1024
_PLAIN_NAME = re.compile(r'filename="((?:[^"\\]|\\.)*)"|filename=([^;\s]+)', re.IGNORECASE)
_ENCODED_NAME = re.compile(r"filename\*=utf-8''([^;\s]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Media:
    """A temporary file: every application of the company may use it for three days. `created_at`: Unix seconds."""

    media_id: str
    created_at: int | None


def media_from(answer: Answer) -> Media:
    """media/upload and webhook/upload_media; `created_at` is text in the documentation, a number in older answers."""
    created = optional_text(answer, "created_at")
    return Media(text(answer, "media_id"), int(created) if created.isascii() and created.isdigit() else None)


def picture_url_from(answer: Answer) -> str:
    """media/uploadimg."""
    return text(answer, "url")


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file that was fetched. `name` comes from the other side: never use it as a path."""

    content: bytes = field(repr=False)
    content_type: str
    name: str


class MediaCalls(Calls):
    """Uploading and fetching."""

    def media_upload(
        self, content: bytes, *, kind: MediaKind, file_name: str, media_type: str = "application/octet-stream"
    ) -> Media:
        """A file for messages, for three days. The recipient sees `file_name`.

        `content`: more than 5 bytes; image (JPG, PNG) and video (MP4) 10 MB, voice (AMR, 60 s) 2 MB, file 20 MB. Raises
        MessageError for any other size, and for a name with line breaks. Source: document/path/90253.
        """
        check_media("media", content, LARGEST_BYTES[kind])
        body, content_type = multipart(content, file_name=file_name, media_type=media_type)
        params = {"type": kind}
        call = Call("media_upload", "/cgi-bin/media/upload", "POST", params, body, content_type, is_transfer=True)
        return typed("media_upload", media_from, self._call(call))

    def media_uploadimg(self, content: bytes, *, file_name: str, media_type: str = "image/png") -> str:
        """A picture of at most 2 MB for mpnews, for ever; gives its address. 1000 a day.

        Raises MessageError for a larger one. Source: document/path/90256.
        """
        check_media("media", content, PICTURE_BYTES)
        body, content_type = multipart(content, file_name=file_name, media_type=media_type)
        path = "/cgi-bin/media/uploadimg"
        call = Call("media_uploadimg", path, "POST", body=body, content_type=content_type, is_transfer=True)
        return typed("media_uploadimg", picture_url_from, self._call(call))

    def media_get(self, media_id: str) -> MediaFile:
        """A file that was uploaded, or sent by a member. Source: document/path/90254."""
        return self._file("media_get", "/cgi-bin/media/get", media_id)

    def media_get_jssdk(self, media_id: str) -> MediaFile:
        """The clearer form (speex) of a voice recording uploaded by the JS-SDK. Source: document/path/90255."""
        return self._file("media_get_jssdk", "/cgi-bin/media/get/jssdk", media_id)

    def _file(self, operation: str, path: str, media_id: str) -> MediaFile:
        reply = self._download(Call(operation, path, params={"media_id": media_id}, is_transfer=True))
        return MediaFile(reply.content, reply.content_type, file_name_of(reply))


def check_media(field: str, content: bytes, largest: int) -> None:
    """Raises MessageError, with `field`, unless `content` has SMALLEST_BYTES to `largest` bytes."""
    if not SMALLEST_BYTES <= len(content) <= largest:
        raise MessageError(field, f"{len(content)} bytes, {SMALLEST_BYTES} to {largest}")


def file_name_of(reply: Reply) -> str:
    """The name in Content-Disposition: raw UTF-8 or encoded; empty without one."""
    # latin-1: the header's bytes come as such characters; a name in raw UTF-8 is behind them.
    disposition = reply.disposition.encode("latin-1", "replace").decode(errors="replace")
    encoded = _ENCODED_NAME.search(disposition)
    if encoded:
        return unquote(encoded[1], errors="replace")
    plain = _PLAIN_NAME.search(disposition)
    return (plain[1] or plain[2] or "") if plain else ""
