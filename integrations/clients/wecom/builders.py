"""Messages: build the payload and its bytes from a content and its recipients. Pure.

Each msgtype has one builder. It refuses a required value that WeCom would refuse or cut without an error, and its error
names the field; the caller keeps optional texts within their limits. The module `cards` builds template cards. Source:
"发送应用消息", developer.work.weixin.qq.com/document/path/90236 (page of 2025-09-24); group chats of an application
90245 to 90248; updating a card 94945 (page of 2025-07-24); group robots (now called 消息推送) 91770.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

Payload = dict[str, Any]
MediaKind = Literal["image", "file"]

USERS_AT_MOST = 1000
EVERYBODY = "@all"
LINK_BYTES = 2048
TEXT_BYTES = 2048
MARKDOWN_BYTES = 2048
TITLE_BYTES = 128
DESCRIPTION_BYTES = 512
DUPLICATE_CHECK_SECONDS = 14_400  # WeCom's maximum
_CHATID = re.compile(r"[0-9A-Za-z]{1,32}")
# Invisible marks that change the reading direction (Unicode UAX #9): with them "fdp.exe" reads as "exe.pdf".
_DIRECTION_MARKS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
ROBOT_MARKDOWN_BYTES = 4096
ROBOT_PICTURE_BYTES = 2 * 1024 * 1024
_ROBOT_PICTURE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
JSON_TYPE = "application/json; charset=UTF-8"


class MessageError(ValueError):
    """A value that WeCom would refuse or cut. `field`: its name in the documentation."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


# --- Checks; sizes are bytes of UTF-8 unless a name says characters ---------------------------------------------------


def check_bytes(field: str, value: str, limit_bytes: int) -> None:
    """Raise MessageError unless `value` has 1 to `limit_bytes` bytes of UTF-8, without half of a surrogate pair."""
    if not drop_direction_marks(value):
        raise MessageError(field, "is empty")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise MessageError(field, "holds half of a surrogate pair") from None
    if size > limit_bytes:
        raise MessageError(field, f"{size} bytes of UTF-8, at most {limit_bytes}")


def check_count(field: str, count: int, limit: int) -> None:
    """Raise MessageError unless `count` is from 1 to `limit`."""
    if not 1 <= count <= limit:
        raise MessageError(field, f"{count} entries, 1 to {limit} are allowed")


def check_link(field: str, url: str, limit_bytes: int = LINK_BYTES) -> None:
    """Raise MessageError unless `url` is a full address with http or https, of at most `limit_bytes` bytes."""
    check_bytes(field, url, limit_bytes)
    try:
        parts = urlsplit(url)
    except ValueError:
        raise MessageError(field, "is not an address") from None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise MessageError(field, "is not a full address with http or https")


def drop_direction_marks(text: str) -> str:
    """Drop marks that change the reading direction."""
    return _DIRECTION_MARKS.sub("", text)


def clip_utf8(text: str, limit_bytes: int, suffix: str = "…") -> str:
    """Return `text`, cut to `limit_bytes` bytes of UTF-8 if it is longer: between two characters, with `suffix` behind.

    WeCom itself cuts without an error, and possibly inside a character. Raises ValueError if `suffix` alone is longer
    than the limit, MessageError for half of a surrogate pair.
    """
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise MessageError("text", "holds half of a surrogate pair") from None
    if len(encoded) <= limit_bytes:
        return text
    room = limit_bytes - len(suffix.encode())
    if room < 0:
        raise ValueError("the suffix is longer than the limit")
    return encoded[:room].decode(errors="ignore") + suffix


# --- Contents ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Content:
    """A checked content: `msgtype`, and the object under this name in the payload."""

    msgtype: str
    fields: dict[str, Any]


def build_text_content(content: str) -> Content:
    r"""Build plain text; at most 2048 bytes, may hold `\n` and `<a href="…">`."""
    check_bytes("text.content", content, TEXT_BYTES)
    return Content("text", {"content": content})


def build_markdown_content(content: str, limit_bytes: int = MARKDOWN_BYTES) -> Content:
    """Build Markdown: headings, bold, links, code, quotes, three colours. A robot may mention people by `<@userid>`.

    `limit_bytes`: MARKDOWN_BYTES, or ROBOT_MARKDOWN_BYTES for a robot.
    """
    check_bytes("markdown.content", content, limit_bytes)
    return Content("markdown", {"content": content})


def build_media_content(kind: MediaKind, media_id: str) -> Content:
    """Build a message of an uploaded picture or file."""
    return Content(kind, {"media_id": media_id})


def build_textcard_content(*, title: str, description: str, url: str, button_text: str = "") -> Content:
    """Build a card with a link.

    `title`: at most 128 bytes, `description`: 512 (may hold `<br>` and `<div class="gray|normal|highlight">`), `url`:
    2048 with its scheme, `button_text`: 4 characters, by default WeCom shows 详情. The page of 2025 counts title and
    description in characters, older pages in bytes: bytes are safe under both.
    """
    check_bytes("textcard.title", title, TITLE_BYTES)
    check_bytes("textcard.description", description, DESCRIPTION_BYTES)
    check_link("textcard.url", url)
    return Content(
        "textcard", drop_empty_fields({"title": title, "description": description, "url": url, "btntxt": button_text})
    )


def build_news_content(*, title: str, description: str, url: str, picture_url: str = "") -> Content:
    """Build an article with a picture and a link. `title`: at most 128 bytes, `description`: 512, addresses: 2048."""
    check_bytes("news.articles[0].title", title, TITLE_BYTES)
    check_link("news.articles[0].url", url)
    article = drop_empty_fields({"title": title, "description": description, "url": url, "picurl": picture_url})
    return Content("news", {"articles": [article]})


def drop_empty_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Drop empty fields: WeCom takes a missing field as its default. 0 stays."""
    return {name: value for name, value in fields.items() if value not in ("", None, [], {}) and value is not False}


# --- Messages of the application --------------------------------------------------------------------------------------


def check_userids(userids: Sequence[str]) -> None:
    """Raise MessageError for too many userids, for none, and for one that WeCom would split or take for everybody."""
    check_count("touser", len(userids), USERS_AT_MOST)
    if any(not userid or "|" in userid or userid.strip() != userid for userid in userids):
        raise MessageError("touser", 'a userid is empty, has spaces around it or contains "|"')
    if EVERYBODY in userids:
        raise MessageError("touser", "must name persons, not everybody")


def build_app_message(
    *, agentid: int, userids: Sequence[str], content: Content, drops_duplicates: bool = False
) -> Payload:
    """Build a message of the application to at most 1000 members. `drops_duplicates`: WeCom drops an identical body for
    four hours. Raises MessageError."""
    check_userids(userids)
    payload: Payload = {
        "touser": "|".join(userids),
        "msgtype": content.msgtype,
        "agentid": agentid,
        content.msgtype: content.fields,
    }
    if drops_duplicates:
        payload |= {"enable_duplicate_check": 1, "duplicate_check_interval": DUPLICATE_CHECK_SECONDS}
    return payload


def build_chat_message(*, chatid: str, content: Content) -> Payload:
    """Build a message to a group chat that the application owns. A template card cannot go there. Raises MessageError.

    Source: document/path/90248.
    """
    check_chatid(chatid)
    if content.msgtype == "template_card":
        raise MessageError("msgtype", "a template card cannot go into a group chat")
    return {"chatid": chatid, "msgtype": content.msgtype, content.msgtype: content.fields}


def check_chatid(chatid: str) -> None:
    """Raise MessageError unless the id of a group chat has 1 to 32 letters and digits."""
    if not _CHATID.fullmatch(chatid):
        raise MessageError("chatid", "must have 1 to 32 letters and digits")


def build_card_update(*, agentid: int, response_code: str, card: Content) -> Payload:
    """Build the update that replaces a sent card by `card` for everybody who got it.

    `response_code`: from message/send or from a click; works once and for 72 h.
    """
    return {"agentid": agentid, "response_code": response_code, "atall": 1, "template_card": card.fields}


# --- Messages of group robots -----------------------------------------------------------------------------------------


def build_robot_text(
    content: str, *, mentioned_userids: Sequence[str] = (), mentioned_mobiles: Sequence[str] = ()
) -> Payload:
    """Build plain text of at most 2048 bytes. It mentions members by userid or mobile, or everybody by `@all`."""
    check_bytes("text.content", content, TEXT_BYTES)
    mentioned = {"mentioned_list": list(mentioned_userids), "mentioned_mobile_list": list(mentioned_mobiles)}
    return {"msgtype": "text", "text": drop_empty_fields({"content": content, **mentioned})}


def build_robot_image(picture: bytes) -> Payload:
    """Build a message that contains a JPG or PNG of at most 2 MB. Raises MessageError."""
    if not picture.startswith(_ROBOT_PICTURE_STARTS):
        raise MessageError("image", "is neither JPG nor PNG")
    if len(picture) > ROBOT_PICTURE_BYTES:
        raise MessageError("image", f"{len(picture)} bytes, at most {ROBOT_PICTURE_BYTES}")
    digest = hashlib.md5(picture, usedforsecurity=False).hexdigest()
    return {"msgtype": "image", "image": {"base64": base64.b64encode(picture).decode(), "md5": digest}}


def build_robot_message(content: Content) -> Payload:
    """Build Markdown, news, a file uploaded by this robot, or a card of type text_notice or news_notice."""
    return {"msgtype": content.msgtype, content.msgtype: content.fields}


# --- Bodies -----------------------------------------------------------------------------------------------------------


def encode_body(payload: Mapping[str, Any]) -> bytes:
    """Return a payload's JSON bytes: compact, keys in the payload's order, no marks that change the reading direction.

    Characters are not escaped, because WeCom rejects `\\uXXXX` (40033). Raises MessageError for half of a surrogate
    pair, which UTF-8 cannot encode, and for a number like NaN.
    """
    try:
        text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return drop_direction_marks(text).encode()
    except UnicodeEncodeError as error:
        raise MessageError("body", "a text holds half of a surrogate pair") from error
    except ValueError as error:
        raise MessageError("body", "holds a value that JSON cannot express") from error
