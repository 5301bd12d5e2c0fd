"""Messages: a content, to whom it goes, and how; the result is the payload to send. Pure.

There is one builder for each msgtype. It refuses what WeCom would refuse or cut in silence; the error names the field.
Template cards have a module of their own. Source: "发送应用消息", developer.work.weixin.qq.com/document/path/90236
(page of 2025-09-24); group chats of an application 90248; updating a card 94945 (page of 2025-07-24).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from integrations.clients.wecom.messages.limits import (
    USERS_AT_MOST,
    MessageError,
    check_bytes,
    check_characters,
    check_count,
    check_link,
    utf8_size,
)

Payload = dict[str, Any]

TEXT_BYTES = 2048
MARKDOWN_BYTES = 2048
TITLE_BYTES = 128
DESCRIPTION_BYTES = 512
TEXTCARD_BUTTON_CHARACTERS = 4
ARTICLES_AT_MOST = 8
MEDIA_ID_BYTES = 512
EVERYBODY = "@all"
DUPLICATE_CHECK_SECONDS = 14_400  # WeCom's longest
RESPONSE_CODE_BYTES = 512
CHAT_KINDS = frozenset({"text", "image", "file", "textcard", "news", "markdown"})
_CHATID = re.compile(r"[0-9A-Za-z]{1,32}")


@dataclass(frozen=True, slots=True)
class Content:
    """A checked content: `msgtype`, and the object that goes under this name."""

    msgtype: str
    fields: dict[str, Any]


def text_content(content: str) -> Content:
    r"""Plain text; at most 2048 bytes, may hold `\n` and `<a href="…">`."""
    check_bytes("text.content", content, TEXT_BYTES)
    return Content("text", {"content": content})


def markdown_content(content: str) -> Content:
    """Markdown: headings, bold, links, code, quotes, three colours; at most 2048 bytes."""
    check_bytes("markdown.content", content, MARKDOWN_BYTES)
    return Content("markdown", {"content": content})


def image_content(media_id: str) -> Content:
    """A picture that was uploaded."""
    return Content("image", _media("image", media_id))


def file_content(media_id: str) -> Content:
    """A file that was uploaded."""
    return Content("file", _media("file", media_id))


def textcard_content(*, title: str, description: str, url: str, button_text: str = "") -> Content:
    """A card with a link.

    `title`: at most 128 bytes, `description`: 512 (may hold `<br>` and `<div class="gray|normal|highlight">`), `url`:
    2048 with its scheme, `button_text`: 4 characters, WeCom shows 详情 where it is empty. The page of 2025 counts
    title and description in characters, older pages in bytes: bytes are safe under both.
    """
    check_bytes("textcard.title", title, TITLE_BYTES)
    check_bytes("textcard.description", description, DESCRIPTION_BYTES)
    check_link("textcard.url", url)
    check_characters("textcard.btntxt", button_text, 0, TEXTCARD_BUTTON_CHARACTERS)
    return Content("textcard", used({"title": title, "description": description, "url": url, "btntxt": button_text}))


@dataclass(frozen=True, slots=True)
class Article:
    """One article of a news message. `title`: at most 128 bytes, `description`: 512, `url` and `picture_url`: 2048."""

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
        return used({"title": self.title, "description": self.description, "url": self.url, "picurl": self.picture_url})


def news_content(articles: Sequence[Article]) -> Content:
    """One to eight articles with pictures and links."""
    check_count("news.articles", len(articles), ARTICLES_AT_MOST, at_least=1)
    return Content("news", {"articles": [article.fields(f"news.articles[{i}]") for i, article in enumerate(articles)]})


def used(fields: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is empty: WeCom takes a missing field as its default. 0 stays."""
    return {name: value for name, value in fields.items() if value not in ("", None, [], {}) and value is not False}


def _media(msgtype: str, media_id: str) -> dict[str, Any]:
    check_bytes(f"{msgtype}.media_id", media_id, MEDIA_ID_BYTES)
    return {"media_id": media_id}


# --- Messages ---------------------------------------------------------------------------------------------------------


def clip_utf8(text: str, limit_bytes: int, suffix: str = "…") -> str:
    """`text` in at most `limit_bytes` bytes of UTF-8, cut between two characters and then ending in `suffix`.

    WeCom cuts by itself, in silence and possibly inside a character. Raises ValueError if `suffix` alone is longer,
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


@dataclass(frozen=True, slots=True)
class Recipients:
    """The people who get a message: at most 1000 userids, or EVERYBODY."""

    userids: Sequence[str] | str

    def fields(self) -> Payload:
        """Return `touser`. Raises MessageError."""
        self.check()
        return {"touser": self.userids if isinstance(self.userids, str) else "|".join(self.userids)}

    def check(self) -> None:
        """Raises MessageError for too many, for none, and for a userid that would become two."""
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
    """A message of the application to members. WeCom drops an identical body for `duplicate_check_seconds`, at most
    14400; 0 is off. Raises MessageError."""
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
    """A message into a group chat that the application owns. Raises MessageError."""
    check_chatid(chatid)
    if content.msgtype not in CHAT_KINDS:
        raise MessageError("msgtype", f"{content.msgtype} cannot go into a group chat")
    return {"chatid": chatid, "msgtype": content.msgtype, content.msgtype: content.fields}


def check_chatid(chatid: str) -> None:
    """Raises MessageError for what cannot be the id of a group chat."""
    if not _CHATID.fullmatch(chatid):
        raise MessageError("chatid", "1 to 32 letters and digits")


def card_update(*, agentid: int, response_code: str, card: Content) -> Payload:
    """Put `card` in the place of one that was sent, for everybody who got it.

    `response_code`: from message/send or from a click; works once and for 72 h. Raises MessageError.
    """
    check_bytes("response_code", response_code, RESPONSE_CODE_BYTES)
    if card.msgtype != "template_card":
        raise MessageError("template_card", "not a template card")
    return {"agentid": agentid, "response_code": response_code, "atall": 1, "template_card": card.fields}
