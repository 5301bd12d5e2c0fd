"""What a message holds, apart from to whom it goes: one builder for each msgtype. Pure.

Builders refuse what WeCom would refuse or cut in silence; the error names the field. Template cards have a module of
their own. Source: "发送应用消息", developer.work.weixin.qq.com/document/path/90236 (page of 2025-09-24).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from integrations.clients.wecom.messages.limits import (
    MessageError,
    check_bytes,
    check_characters,
    check_count,
    check_link,
)

TEXT_BYTES = 2048
MARKDOWN_BYTES = 2048
TITLE_BYTES = 128
DESCRIPTION_BYTES = 512
TEXTCARD_BUTTON_CHARACTERS = 4
ARTICLES_AT_MOST = 8
PAGEPATH_BYTES = 128
MEDIA_ID_BYTES = 512
APPID_BYTES = 64

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
