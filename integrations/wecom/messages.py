"""Messages of an application: values in, a payload out. Pure.

Builders refuse what WeCom would refuse or cut in silence; the error names the field. `body_bytes` makes the bytes
that are sent: raw UTF-8, because WeCom rejects `\\uXXXX` escapes (40033).

Source: "发送应用消息", developer.work.weixin.qq.com/document/path/90236 (page of 2025-09-24).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Payload = dict[str, Any]

EVERYBODY = "@all"
USERS_AT_MOST = 1000
PARTIES_AT_MOST = 100
TAGS_AT_MOST = 100
TEXT_BYTES = 2048
MARKDOWN_BYTES = 2048
TEXTCARD_TITLE_BYTES = 128
TEXTCARD_DESCRIPTION_BYTES = 512
TEXTCARD_BUTTON_CHARACTERS = 4
LINK_BYTES = 2048
DUPLICATE_CHECK_SECONDS = 14_400  # WeCom's longest


class MessageError(ValueError):
    """A value that WeCom would refuse or cut. `field` names it as the documentation does."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Clipped:
    """A text that fits, and whether something was cut off."""

    text: str
    was_clipped: bool


def clip_utf8(text: str, limit_bytes: int, suffix: str = "…") -> Clipped:
    """`text` in at most `limit_bytes` bytes of UTF-8, cut between two characters and then ending in `suffix`.

    WeCom cuts by itself, in silence and possibly inside a character. Raises ValueError if `suffix` alone is longer.
    """
    encoded = text.encode()
    if len(encoded) <= limit_bytes:
        return Clipped(text, was_clipped=False)
    room = limit_bytes - len(suffix.encode())
    if room < 0:
        raise ValueError("the suffix is longer than the limit")
    return Clipped(encoded[:room].decode(errors="ignore") + suffix, was_clipped=True)


@dataclass(frozen=True, slots=True)
class Recipients:
    """Who gets a message: userids (at most 1000, or EVERYBODY), department ids and tag ids (at most 100 each)."""

    userids: Sequence[str] | str = ()
    party_ids: Sequence[int] = ()
    tag_ids: Sequence[int] = ()

    def fields(self) -> Payload:
        """As `touser`, `toparty`, `totag`; only those that are used."""
        if self.userids == EVERYBODY:
            return {"touser": EVERYBODY}
        if isinstance(self.userids, str):
            raise MessageError("touser", 'a sequence of userids, or "@all"')
        _check_count("touser", len(self.userids), USERS_AT_MOST)
        _check_count("toparty", len(self.party_ids), PARTIES_AT_MOST)
        _check_count("totag", len(self.tag_ids), TAGS_AT_MOST)
        if any(not userid or "|" in userid or userid.strip() != userid for userid in self.userids):
            raise MessageError("touser", 'a userid is empty, has spaces around it or contains "|"')
        joined = {
            "touser": "|".join(self.userids),
            "toparty": "|".join(map(str, self.party_ids)),
            "totag": "|".join(map(str, self.tag_ids)),
        }
        if not any(joined.values()):
            raise MessageError("touser", "nobody: userids, departments or tags are needed")
        return {name: value for name, value in joined.items() if value}


@dataclass(frozen=True, slots=True)
class Options:
    """What goes beside the content. `duplicate_check_seconds`: WeCom drops an identical body that long, 0 is off."""

    duplicate_check_seconds: int = 0
    is_confidential: bool = False
    translates_ids: bool = False

    def fields(self) -> Payload:
        if not 0 <= self.duplicate_check_seconds <= DUPLICATE_CHECK_SECONDS:
            raise MessageError("duplicate_check_interval", f"0 to {DUPLICATE_CHECK_SECONDS} seconds")
        fields: Payload = {}
        if self.is_confidential:
            fields["safe"] = 1
        if self.translates_ids:
            fields["enable_id_trans"] = 1
        if self.duplicate_check_seconds:
            fields |= {"enable_duplicate_check": 1, "duplicate_check_interval": self.duplicate_check_seconds}
        return fields


PLAIN = Options()


def text_message(*, agentid: int, to: Recipients, content: str, options: Options = PLAIN) -> Payload:
    r"""Plain text; `content`: at most 2048 bytes, may hold `\n` and `<a href="…">`."""
    check_bytes("text.content", content, TEXT_BYTES)
    return _message("text", {"content": content}, agentid, to, options)


def markdown_message(*, agentid: int, to: Recipients, content: str, options: Options = PLAIN) -> Payload:
    """Markdown (headings, bold, links, code, quotes, three colours); `content`: at most 2048 bytes."""
    check_bytes("markdown.content", content, MARKDOWN_BYTES)
    _refuse_confidential("markdown", options)
    return _message("markdown", {"content": content}, agentid, to, options)


def textcard_message(
    *,
    agentid: int,
    to: Recipients,
    title: str,
    description: str,
    url: str,
    button_text: str = "",
    options: Options = PLAIN,
) -> Payload:
    """A card with a link.

    `title`: at most 128 bytes, `description`: 512 (may hold `<br>` and `<div class="gray|normal|highlight">`), `url`:
    2048 with its scheme, `button_text`: 4 characters, WeCom shows 详情 where it is empty. The page of 2025 counts
    title and description in characters, older pages in bytes: bytes are safe under both.
    """
    check_bytes("textcard.title", title, TEXTCARD_TITLE_BYTES)
    check_bytes("textcard.description", description, TEXTCARD_DESCRIPTION_BYTES)
    check_link("textcard.url", url)
    if len(button_text) > TEXTCARD_BUTTON_CHARACTERS:
        raise MessageError("textcard.btntxt", f"at most {TEXTCARD_BUTTON_CHARACTERS} characters")
    _refuse_confidential("textcard", options)
    card: Payload = {"title": title, "description": description, "url": url}
    if button_text:
        card["btntxt"] = button_text
    return _message("textcard", card, agentid, to, options)


def body_bytes(payload: Mapping[str, Any]) -> bytes:
    """The JSON bytes of a payload: compact, keys in their order, non-ASCII characters as they are.

    Raises MessageError where a text holds half of a surrogate pair, which UTF-8 cannot say.
    """
    try:
        return json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise MessageError("body", "a text holds half of a surrogate pair") from error


def check_bytes(field: str, value: str, limit_bytes: int) -> None:
    """A text that must be there and fit. Raises MessageError."""
    if not value:
        raise MessageError(field, "is empty")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise MessageError(field, "holds half of a surrogate pair") from None
    if size > limit_bytes:
        raise MessageError(field, f"{size} bytes of UTF-8, at most {limit_bytes}")


def check_link(field: str, url: str, limit_bytes: int = LINK_BYTES) -> None:
    """A full address with http or https. Raises MessageError."""
    check_bytes(field, url, limit_bytes)
    try:
        parts = urlsplit(url)
    except ValueError:
        raise MessageError(field, "not an address") from None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise MessageError(field, "a full address with http or https")


def _check_count(field: str, count: int, limit: int) -> None:
    if count > limit:
        raise MessageError(field, f"{count}, at most {limit}")


def _refuse_confidential(msgtype: str, options: Options) -> None:
    if options.is_confidential:
        raise MessageError("safe", f"not possible for {msgtype}")


def _message(msgtype: str, content: Payload, agentid: int, to: Recipients, options: Options) -> Payload:
    return {**to.fields(), "msgtype": msgtype, "agentid": agentid, msgtype: content, **options.fields()}
