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
    PARTIES_AT_MOST,
    TAGS_AT_MOST,
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
PAGEPATH_BYTES = 128
MEDIA_ID_BYTES = 512
APPID_BYTES = 64
EVERYBODY = "@all"
DUPLICATE_CHECK_SECONDS = 14_400  # WeCom's longest
RESPONSE_CODE_BYTES = 512
BUTTON_TEXT_BYTES = 512
CHAT_KINDS = frozenset({"text", "image", "file", "textcard", "news", "markdown"})
_CHATID = re.compile(r"[0-9A-Za-z]{1,32}")
_TRANSLATES_IDS = frozenset({"text", "textcard", "news", "template_card"})
_MAY_BE_SAFE = frozenset({"text", "image", "file"})


@dataclass(frozen=True, slots=True)
class Content:
    """A checked content: `msgtype`, and the object that goes under this name."""

    msgtype: str
    fields: dict[str, Any]

    @property
    def may_be_safe(self) -> bool:
        """Whether WeCom can keep this kind inside the company (`safe`)."""
        return self.msgtype in _MAY_BE_SAFE

    @property
    def may_translate_ids(self) -> bool:
        """Whether WeCom puts names for ids in this kind (`enable_id_trans`)."""
        return self.msgtype in _TRANSLATES_IDS


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
    """A file that was uploaded. As `safe` only txt, pdf, office files, xml and pictures."""
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
    """One article of a news message.

    `title`: at most 128 bytes, `description`: 512, `url` and `picture_url`: 2048, `appid` with `pagepath` (128):
    a page of a mini-program, in place of the url.
    """

    title: str
    description: str = ""
    url: str = ""
    picture_url: str = ""
    appid: str = ""
    pagepath: str = ""

    def fields(self, where: str) -> dict[str, Any]:
        """As `news.articles` takes it. Raises MessageError."""
        check_bytes(f"{where}.title", self.title, TITLE_BYTES)
        check_bytes(f"{where}.description", self.description, DESCRIPTION_BYTES, is_optional=True)
        check_link(f"{where}.url", self.url, is_optional=True)
        check_link(f"{where}.picurl", self.picture_url, is_optional=True)
        check_bytes(f"{where}.appid", self.appid, APPID_BYTES, is_optional=True)
        check_bytes(f"{where}.pagepath", self.pagepath, PAGEPATH_BYTES, is_optional=True)
        if bool(self.appid) != bool(self.pagepath):
            raise MessageError(f"{where}.pagepath", "appid and pagepath go together")
        if not self.url and not self.appid:
            raise MessageError(f"{where}.url", "a url or a page of a mini-program is needed")
        return used(
            {
                "title": self.title,
                "description": self.description,
                "url": self.url,
                "picurl": self.picture_url,
                "appid": self.appid,
                "pagepath": self.pagepath,
            }
        )


def news_content(articles: Sequence[Article]) -> Content:
    """One to eight articles with pictures and links."""
    check_count("news.articles", len(articles), ARTICLES_AT_MOST, at_least=1)
    return Content("news", {"articles": [article.fields(f"news.articles[{i}]") for i, article in enumerate(articles)]})


def used(fields: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty: WeCom takes a missing field as its default. 0 stays."""
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
    """Who gets a message: userids (at most 1000, or EVERYBODY), department ids and tag ids (at most 100 each)."""

    userids: Sequence[str] | str = ()
    party_ids: Sequence[int] = ()
    tag_ids: Sequence[int] = ()

    def fields(self) -> Payload:
        """As `touser`, `toparty`, `totag`; only those that are used. Raises MessageError."""
        if self.userids == EVERYBODY:
            return {"touser": EVERYBODY}
        if isinstance(self.userids, str):
            raise MessageError("touser", 'a sequence of userids, or "@all"')
        self.check()
        joined = {
            "touser": "|".join(self.userids),
            "toparty": "|".join(map(str, self.party_ids)),
            "totag": "|".join(map(str, self.tag_ids)),
        }
        return {name: value for name, value in joined.items() if value}

    def check(self) -> None:
        """Raises MessageError for too many, for none, and for a userid that would become two."""
        check_count("touser", len(self.userids), USERS_AT_MOST)
        check_count("toparty", len(self.party_ids), PARTIES_AT_MOST)
        check_count("totag", len(self.tag_ids), TAGS_AT_MOST)
        if any(not userid or "|" in userid or userid.strip() != userid for userid in self.userids):
            raise MessageError("touser", 'a userid is empty, has spaces around it or contains "|"')
        if EVERYBODY in self.userids:
            raise MessageError("touser", '"@all" stands alone')
        if not self.userids and not self.party_ids and not self.tag_ids:
            raise MessageError("touser", "nobody: userids, departments or tags are needed")


@dataclass(frozen=True, slots=True)
class Options:
    """What goes beside the content.

    `duplicate_check_seconds`: so long WeCom drops an identical body, at most 14400, 0 is off. `safe`: 1 not to be
    shared, and watermarked. `translates_ids`: names for ids (third parties).
    """

    duplicate_check_seconds: int = 0
    safe: int = 0
    translates_ids: bool = False

    def fields(self, content: Content) -> Payload:
        """As message/send takes them for this content. Raises MessageError."""
        if not 0 <= self.duplicate_check_seconds <= DUPLICATE_CHECK_SECONDS:
            raise MessageError("duplicate_check_interval", f"0 to {DUPLICATE_CHECK_SECONDS} seconds")
        fields: Payload = {}
        if self.safe:
            fields["safe"] = _checked_safe(self.safe, content)
        if self.translates_ids:
            if not content.may_translate_ids:
                raise MessageError("enable_id_trans", f"not possible for {content.msgtype}")
            fields["enable_id_trans"] = 1
        if self.duplicate_check_seconds:
            fields |= {"enable_duplicate_check": 1, "duplicate_check_interval": self.duplicate_check_seconds}
        return fields


PLAIN = Options()


def _checked_safe(safe: int, content: Content) -> int:
    if not content.may_be_safe:
        raise MessageError("safe", f"not possible for {content.msgtype}")
    if safe != 1:
        raise MessageError("safe", "0 or 1")
    return safe


def app_message(*, agentid: int, to: Recipients, content: Content, options: Options = PLAIN) -> Payload:
    """A message of the application to members. Raises MessageError."""
    return {
        **to.fields(),
        "msgtype": content.msgtype,
        "agentid": agentid,
        content.msgtype: content.fields,
        **options.fields(content),
    }


def text_message(*, agentid: int, to: Recipients, content: str, options: Options = PLAIN) -> Payload:
    """See `text_content`."""
    return app_message(agentid=agentid, to=to, content=text_content(content), options=options)


def markdown_message(*, agentid: int, to: Recipients, content: str, options: Options = PLAIN) -> Payload:
    """See `markdown_content`."""
    return app_message(agentid=agentid, to=to, content=markdown_content(content), options=options)


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
    """See `textcard_content`."""
    card = textcard_content(title=title, description=description, url=url, button_text=button_text)
    return app_message(agentid=agentid, to=to, content=card, options=options)


def chat_message(*, chatid: str, content: Content, safe: int = 0) -> Payload:
    """A message into a group chat that the application owns. Raises MessageError."""
    check_chatid(chatid)
    if content.msgtype not in CHAT_KINDS:
        raise MessageError("msgtype", f"{content.msgtype} cannot go into a group chat")
    payload: Payload = {"chatid": chatid, "msgtype": content.msgtype, content.msgtype: content.fields}
    if safe:
        payload["safe"] = _checked_safe(safe, content)
    return payload


def check_chatid(chatid: str) -> None:
    """Raises MessageError for what cannot be the id of a group chat."""
    if not _CHATID.fullmatch(chatid):
        raise MessageError("chatid", "1 to 32 letters and digits")


def card_update(
    *,
    agentid: int,
    response_code: str,
    userids: Sequence[str] = (),
    party_ids: Sequence[int] = (),
    tag_ids: Sequence[int] = (),
    is_for_all: bool = False,
    replace_name: str = "",
    card: Content | None = None,
) -> Payload:
    """Change a card that was sent: grey its buttons and show `replace_name`, or put `card` in its place.

    `response_code`: from message/send or from a click; works once and for 72 h. At most 1000 userids, 100
    departments, 100 tags. Raises MessageError.
    """
    check_bytes("response_code", response_code, RESPONSE_CODE_BYTES)
    check_count("userids", len(userids), USERS_AT_MOST)
    check_count("partyids", len(party_ids), PARTIES_AT_MOST)
    check_count("tagids", len(tag_ids), TAGS_AT_MOST)
    payload: Payload = {"agentid": agentid, "response_code": response_code}
    if is_for_all:
        payload["atall"] = 1
    elif not userids and not party_ids and not tag_ids:
        raise MessageError("userids", "nobody: userids, departments, tags or all are needed")
    lists = {"userids": list(userids), "partyids": list(party_ids), "tagids": list(tag_ids)}
    payload |= {name: values for name, values in lists.items() if values}
    return payload | _replacement(replace_name, card)


def _replacement(replace_name: str, card: Content | None) -> Payload:
    if bool(replace_name) == (card is not None):
        raise MessageError("template_card", "either a text for the buttons or another card")
    if card is None:
        check_bytes("button.replace_name", replace_name, BUTTON_TEXT_BYTES)
        return {"button": {"replace_name": replace_name}}
    if card.msgtype != "template_card":
        raise MessageError("template_card", "not a template card")
    return {"template_card": card.fields}
