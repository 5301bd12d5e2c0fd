"""Messages: build the payload and its bytes from a content and its recipients. Pure.

Each msgtype has one builder. It refuses what WeCom would refuse or cut in silence; the error names the field.
The module `cards` builds template cards. Source: "发送应用消息", developer.work.weixin.qq.com/document/path/90236
(page of 2025-09-24); group chats of an application 90248; updating a card 94945 (page of 2025-07-24); group robots (now
called 消息推送) 91770.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Payload = dict[str, Any]

USERS_AT_MOST = 1000
EVERYBODY = "@all"
LINK_BYTES = 2048
TEXT_BYTES = 2048
MARKDOWN_BYTES = 2048
TITLE_BYTES = 128
DESCRIPTION_BYTES = 512
TEXTCARD_BUTTON_CHARACTERS = 4
ARTICLES_AT_MOST = 8
MEDIA_ID_BYTES = 512
DUPLICATE_CHECK_SECONDS = 14_400  # WeCom's maximum
RESPONSE_CODE_BYTES = 512
CHAT_KINDS = frozenset({"text", "image", "file", "textcard", "news", "markdown"})
_CHATID = re.compile(r"[0-9A-Za-z]{1,32}")
# Invisible marks that change the reading direction (Unicode UAX #9): with them "fdp.exe" reads as "exe.pdf".
_DIRECTION_MARKS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
ROBOT_MARKDOWN_BYTES = 4096
ROBOT_PICTURE_BYTES = 2 * 1024 * 1024
_ROBOT_PICTURE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_ROBOT_KINDS = frozenset({"news", "file"})
_ROBOT_CARD_KINDS = frozenset({"text_notice", "news_notice"})
JSON_TYPE = "application/json; charset=UTF-8"


class MessageError(ValueError):
    """A value that WeCom would refuse or cut. `field`: its name in the documentation."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


# --- Checks; sizes are bytes of UTF-8 unless a name says characters ---------------------------------------------------


def utf8_size(field: str, value: str) -> int:
    """Count the bytes of a text. Raises MessageError for half of a surrogate pair."""
    try:
        return len(value.encode())
    except UnicodeEncodeError:
        raise MessageError(field, "holds half of a surrogate pair") from None


def check_bytes(field: str, value: str, limit_bytes: int, *, is_optional: bool = False) -> None:
    """Raise MessageError unless `value` has at most `limit_bytes` bytes of UTF-8, and at least one if not optional."""
    if not in_reading_order(value) and not is_optional:
        raise MessageError(field, "is empty")
    size = utf8_size(field, value)
    if size > limit_bytes:
        raise MessageError(field, f"{size} bytes of UTF-8, at most {limit_bytes}")


def check_count(field: str, count: int, limit: int, *, at_least: int = 0) -> None:
    """Raise MessageError unless `count` is from `at_least` to `limit`."""
    if not at_least <= count <= limit:
        raise MessageError(field, f"{count}, {at_least} to {limit}" if at_least else f"{count}, at most {limit}")


def check_link(field: str, url: str, limit_bytes: int = LINK_BYTES, *, is_optional: bool = False) -> None:
    """Raise MessageError unless `url` is a full address with http or https, of at most `limit_bytes` bytes."""
    check_bytes(field, url, limit_bytes, is_optional=is_optional)
    if not url:
        return
    try:
        parts = urlsplit(url)
    except ValueError:
        raise MessageError(field, "not an address") from None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise MessageError(field, "a full address with http or https")


def in_reading_order(text: str) -> str:
    """Drop marks that change the reading direction."""
    return _DIRECTION_MARKS.sub("", text)


def clip_utf8(text: str, limit_bytes: int, suffix: str = "…") -> str:
    """Return `text`, if longer than `limit_bytes` bytes of UTF-8 cut between two characters and ended by `suffix`.

    WeCom itself cuts in silence and possibly inside a character. Raises ValueError if `suffix` alone is longer,
    MessageError for half of a surrogate pair.
    """
    utf8_size("text", text)
    encoded = text.encode()
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


def text_content(content: str) -> Content:
    r"""Build plain text; at most 2048 bytes, may hold `\n` and `<a href="…">`."""
    check_bytes("text.content", content, TEXT_BYTES)
    return Content("text", {"content": content})


def markdown_content(content: str) -> Content:
    """Build Markdown: headings, bold, links, code, quotes, three colours; at most 2048 bytes."""
    check_bytes("markdown.content", content, MARKDOWN_BYTES)
    return Content("markdown", {"content": content})


def image_content(media_id: str) -> Content:
    """Build a message of an uploaded picture."""
    return Content("image", _media("image", media_id))


def file_content(media_id: str) -> Content:
    """Build a message of an uploaded file."""
    return Content("file", _media("file", media_id))


def textcard_content(*, title: str, description: str, url: str, button_text: str = "") -> Content:
    """Build a card with a link.

    `title`: at most 128 bytes, `description`: 512 (may hold `<br>` and `<div class="gray|normal|highlight">`), `url`:
    2048 with its scheme, `button_text`: 4 characters, by default WeCom shows 详情. The page of 2025 counts title and
    description in characters, older pages in bytes: bytes are safe under both.
    """
    check_bytes("textcard.title", title, TITLE_BYTES)
    check_bytes("textcard.description", description, DESCRIPTION_BYTES)
    check_link("textcard.url", url)
    utf8_size("textcard.btntxt", button_text)
    check_count("textcard.btntxt", len(in_reading_order(button_text)), TEXTCARD_BUTTON_CHARACTERS)
    return Content(
        "textcard", drop_empty({"title": title, "description": description, "url": url, "btntxt": button_text})
    )


@dataclass(frozen=True, slots=True)
class Article:
    """An article of a news message. `title`: at most 128 bytes, `description`: 512, `url` and `picture_url`: 2048."""

    title: str
    description: str
    url: str
    picture_url: str = ""

    def fields(self, where: str) -> dict[str, Any]:
        """Return an entry of `news.articles`. Raises MessageError."""
        check_bytes(f"{where}.title", self.title, TITLE_BYTES)
        check_bytes(f"{where}.description", self.description, DESCRIPTION_BYTES, is_optional=True)
        check_link(f"{where}.url", self.url)
        check_link(f"{where}.picurl", self.picture_url, is_optional=True)
        return drop_empty(
            {"title": self.title, "description": self.description, "url": self.url, "picurl": self.picture_url}
        )


def news_content(articles: Sequence[Article]) -> Content:
    """Build one to eight articles with pictures and links."""
    check_count("news.articles", len(articles), ARTICLES_AT_MOST, at_least=1)
    return Content("news", {"articles": [article.fields(f"news.articles[{i}]") for i, article in enumerate(articles)]})


def drop_empty(fields: dict[str, Any]) -> dict[str, Any]:
    """Drop empty fields: WeCom takes a missing field as its default. 0 stays."""
    return {name: value for name, value in fields.items() if value not in ("", None, [], {}) and value is not False}


def _media(msgtype: str, media_id: str) -> dict[str, Any]:
    check_bytes(f"{msgtype}.media_id", media_id, MEDIA_ID_BYTES)
    return {"media_id": media_id}


# --- Messages of the application --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recipients:
    """The people who get a message: at most 1000 userids, or EVERYBODY."""

    userids: Sequence[str] | str

    def fields(self) -> Payload:
        """Return the userids as `touser`. Raises MessageError."""
        self.check()
        return {"touser": self.userids if isinstance(self.userids, str) else "|".join(self.userids)}

    def check(self) -> None:
        """Raise MessageError for too many recipients, for none, and for a userid that would be split."""
        if self.userids == EVERYBODY:
            return
        if isinstance(self.userids, str):
            raise MessageError("touser", 'a sequence of userids, or "@all"')
        check_count("touser", len(self.userids), USERS_AT_MOST, at_least=1)
        if any(not userid or "|" in userid or userid.strip() != userid for userid in self.userids):
            raise MessageError("touser", 'a userid is empty, has spaces around it or contains "|"')
        if EVERYBODY in self.userids:
            raise MessageError("touser", '"@all" stands alone')


def app_message(*, agentid: int, to: Recipients, content: Content, duplicate_check_seconds: int = 0) -> Payload:
    """Build a message of the application to members. WeCom drops an identical body for `duplicate_check_seconds`, at
    most 14400; 0 is off. Raises MessageError."""
    if not 0 <= duplicate_check_seconds <= DUPLICATE_CHECK_SECONDS:
        raise MessageError("duplicate_check_interval", f"0 to {DUPLICATE_CHECK_SECONDS} seconds")
    payload: Payload = {
        **to.fields(),
        "msgtype": content.msgtype,
        "agentid": agentid,
        content.msgtype: content.fields,
    }
    if duplicate_check_seconds:
        payload |= {"enable_duplicate_check": 1, "duplicate_check_interval": duplicate_check_seconds}
    return payload


def chat_message(*, chatid: str, content: Content) -> Payload:
    """Build a message to a group chat that the application owns. Raises MessageError."""
    check_chatid(chatid)
    if content.msgtype not in CHAT_KINDS:
        raise MessageError("msgtype", f"{content.msgtype} cannot go into a group chat")
    return {"chatid": chatid, "msgtype": content.msgtype, content.msgtype: content.fields}


def check_chatid(chatid: str) -> None:
    """Raise MessageError for an invalid id of a group chat."""
    if not _CHATID.fullmatch(chatid):
        raise MessageError("chatid", "1 to 32 letters and digits")


def card_update(*, agentid: int, response_code: str, card: Content) -> Payload:
    """Build the update that replaces a sent card by `card` for everybody who got it.

    `response_code`: from message/send or from a click; works once and for 72 h. Raises MessageError.
    """
    check_bytes("response_code", response_code, RESPONSE_CODE_BYTES)
    if card.msgtype != "template_card":
        raise MessageError("template_card", "not a template card")
    return {"agentid": agentid, "response_code": response_code, "atall": 1, "template_card": card.fields}


# --- Messages of group robots -----------------------------------------------------------------------------------------


def robot_text(
    content: str, *, mentioned_userids: Sequence[str] = (), mentioned_mobiles: Sequence[str] = ()
) -> Payload:
    """Build plain text of at most 2048 bytes; mentions members, or everybody as `@all`."""
    check_bytes("text.content", content, TEXT_BYTES)
    text: Payload = {"content": content}
    if mentioned_userids:
        text["mentioned_list"] = list(mentioned_userids)
    if mentioned_mobiles:
        text["mentioned_mobile_list"] = list(mentioned_mobiles)
    return {"msgtype": "text", "text": text}


def robot_markdown(content: str) -> Payload:
    """Build Markdown of at most 4096 bytes; mentions members with `<@userid>`."""
    check_bytes("markdown.content", content, ROBOT_MARKDOWN_BYTES)
    return {"msgtype": "markdown", "markdown": {"content": content}}


def robot_image(picture: bytes) -> Payload:
    """Build a message that contains a JPG or PNG of at most 2 MB. Raises MessageError."""
    if not picture.startswith(_ROBOT_PICTURE_STARTS):
        raise MessageError("image", "neither JPG nor PNG")
    if len(picture) > ROBOT_PICTURE_BYTES:
        raise MessageError("image", f"{len(picture)} bytes, at most {ROBOT_PICTURE_BYTES}")
    digest = hashlib.md5(picture, usedforsecurity=False).hexdigest()
    return {"msgtype": "image", "image": {"base64": base64.b64encode(picture).decode(), "md5": digest}}


def robot_content(content: Content) -> Payload:
    """Build news, a file uploaded by this robot, or a card of type text_notice or news_notice."""
    if content.msgtype == "template_card":
        if content.fields.get("card_type") not in _ROBOT_CARD_KINDS:
            raise MessageError("template_card.card_type", "a robot sends text_notice and news_notice only")
    elif content.msgtype not in _ROBOT_KINDS:
        raise MessageError("msgtype", f"{content.msgtype} is not made from a content here")
    return {"msgtype": content.msgtype, content.msgtype: content.fields}


# --- Bodies -----------------------------------------------------------------------------------------------------------


def body_bytes(payload: Mapping[str, Any]) -> bytes:
    """Return the JSON bytes of a payload: compact, keys in order, without marks that change the reading direction.

    Characters are not escaped, because WeCom rejects `\\uXXXX` (40033). Raises MessageError for half of a surrogate
    pair, which UTF-8 cannot encode, and for a number like NaN.
    """
    try:
        text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return in_reading_order(text).encode()
    except UnicodeEncodeError as error:
        raise MessageError("body", "a text holds half of a surrogate pair") from error
    except ValueError as error:
        raise MessageError("body", "not possible in JSON") from error


def multipart(content: bytes, *, file_name: str, media_type: str = "application/octet-stream") -> tuple[bytes, str]:
    """Return a form with one part named `media`, as bytes and content type.

    requests cannot make it: the name must be raw UTF-8. WeCom does not understand `filename*=utf-8''…` (44001) and
    shows the recipient a percent-encoded name as it is. Raises MessageError for a name with line breaks.
    """
    if not file_name or any(ord(character) < 32 for character in file_name):
        raise MessageError("filename", "is empty or holds control characters")
    if any(ord(character) < 33 for character in media_type) or not media_type.isascii():
        raise MessageError("media_type", "not a media type")
    quoted = file_name.replace("\\", "_").replace('"', "_")
    try:
        name = quoted.encode()
    except UnicodeEncodeError as error:
        raise MessageError("filename", "holds half of a surrogate pair") from error
    boundary = secrets.token_hex(16).encode()
    head = (
        b"--" + boundary + b'\r\nContent-Disposition: form-data; name="media"; filename="' + name + b'"\r\n'
        b"Content-Type: " + media_type.encode() + b"\r\n\r\n"
    )
    body = head + content + b"\r\n--" + boundary + b"--\r\n"
    return body, f"multipart/form-data; boundary={boundary.decode()}"
