"""Previews a message from the bytes that would be sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from integrations.clients.wecom.builders import MessageError
from integrations.companies import links
from integrations.models import Corp, SiteAddress
from notifications.delivery.rendering import markdown, message_builder
from notifications.delivery.rendering.freeze import words_of
from notifications.models import MessageForm, Report
from notifications.sources import Content, RenderingError

_LINK = re.compile(r"&lt;a href=&quot;(https?://[^\s&]+)&quot;&gt;([^\n]*?)&lt;/a&gt;")


@dataclass(frozen=True)
class Line:
    """A name and its value."""

    name: str
    value: str


@dataclass(frozen=True)
class Preview:
    """One message as WeCom draws it. `kind`: its msgtype, or its type of card; what it does not have is empty.

    `picture`: the address of its picture; `has_picture`: also where that is not drawn yet. `large`: the emphasised
    figure, with what it is in `below_large`. `file_name`: of a file.
    """

    kind: str
    content: SafeString
    title: str = ""
    button: str = ""
    byte_count: int = 0
    is_cut: bool = False
    is_title_cut: bool = False
    has_picture: bool = False
    picture: str = ""
    large: str = ""
    below_large: str = ""
    lines: tuple[Line, ...] = ()
    jumps: tuple[str, ...] = ()
    file_name: str = ""


def preview(report: Report, form: MessageForm) -> Preview:
    """The message of a `report` without data. Raises RenderingError, with a sentence, for what cannot be one."""
    content = Content(message_builder.tidy_title(report.title), message_builder.tidy_text(report.body))
    return preview_of(content, form, report.corp)


def preview_of(content: Content, form: MessageForm, corp: Corp | None, *, file_name: str = "") -> Preview:
    """The message of a content. `corp`: whose people get it; None: people of every company. `file_name`: of the file
    that it carries. Raises RenderingError."""
    address, mark = _address(corp), "0" * 32
    words = replace(words_of(content, address, mark), picture_url=address.absolute(f"/p/{mark}.png"), task_id=mark)
    try:
        body = message_builder.body(form, words, agentid=1, userids=["preview"])
    except MessageError as error:
        raise RenderingError.of(error) from error
    found = shown(body, text=words.text, file_name=file_name)
    return replace(found, is_title_cut=content.title != (found.title or words.title))


def shown(body: bytes, *, text: str, picture: str = "", file_name: str = "") -> Preview:
    """Bytes that were, or would be, sent, by whatever channel. `text`: the whole text, to tell whether it was cut;
    `picture`: where the administration finds the message's picture."""
    payload: dict[str, Any] = json.loads(body)
    kind = str(payload.get("msgtype", ""))
    preview = _READERS[kind](payload.get(kind, payload), text) if kind in _READERS else _mail(payload, text)
    found = replace(preview, byte_count=len(body))
    if found.has_picture or (not kind and picture):
        found = replace(found, has_picture=True, picture=picture)
    return replace(found, file_name=file_name) if kind == "file" else found


def _textcard(card: dict[str, Any], text: str) -> Preview:
    description = str(card["description"])
    html = mark_safe(str(escape(description)).replace("&lt;br&gt;", "<br>"))  # noqa: S308  # escaped, but for breaks
    is_cut = description.endswith("…") and not text.endswith("…")
    return Preview("textcard", html, card["title"], card.get("btntxt", ""), is_cut=is_cut)


def _text(content: dict[str, Any], text: str) -> Preview:
    return Preview("text", _with_link(content["content"]), is_cut=text not in content["content"])


def _markdown(content: dict[str, Any], text: str) -> Preview:
    whole = content["content"]
    return Preview("markdown", markdown.shown(whole, MessageForm.MARKDOWN), is_cut=text not in whole)


def _news(content: dict[str, Any], text: str) -> Preview:
    [article] = content["articles"]
    description = str(article.get("description", ""))
    has_picture = bool(article.get("picurl"))
    return Preview("news", _lines(description), article["title"], is_cut=description != text, has_picture=has_picture)


def _image(_content: dict[str, Any], _text: str) -> Preview:
    return Preview("image", SafeString(""), has_picture=True)


def _file(_content: dict[str, Any], _text: str) -> Preview:
    return Preview("file", SafeString(""))


def _card(card: dict[str, Any], text: str) -> Preview:
    emphasis, title = card.get("emphasis_content", {}), card.get("main_title", {})
    below = " ".join(str(each.get("desc") or each["title"]) for each in card.get("vertical_content_list", ()))
    said = str(card.get("sub_title_text") or below)
    first = [title["desc"]] if title.get("desc") else []
    return Preview(
        str(card["card_type"]),
        _lines("\n".join([*first, said]).strip()),
        title.get("title", ""),
        is_cut=said.endswith(message_builder.cut_here()),
        has_picture="card_image" in card,
        large=emphasis.get("title", ""),
        below_large=emphasis.get("desc", ""),
        lines=tuple(Line(row["keyname"], row.get("value", "")) for row in card.get("horizontal_content_list", ())),
        jumps=tuple(row["title"] for row in card.get("jump_list", ())),
    )


def _mail(mail: dict[str, Any], _text: str) -> Preview:
    return Preview("mail", _lines(str(mail["text"])), mail["subject"])


_READERS: dict[str, Callable[[dict[str, Any], str], Preview]] = {
    "textcard": _textcard,
    "text": _text,
    "markdown": _markdown,
    "news": _news,
    "image": _image,
    "file": _file,
    "template_card": _card,
}


def _lines(text: str) -> SafeString:
    return mark_safe(str(escape(text)).replace("\n", "<br>"))  # noqa: S308  # escaped, but for breaks


def _with_link(content: str) -> SafeString:
    linked = _LINK.sub(r'<a href="\1" rel="noopener noreferrer">\2</a>', str(escape(content)))
    return mark_safe(linked.replace("\n", "<br>"))  # noqa: S308  # escaped, but for the link that we wrote ourselves


def _address(corp: Corp | None) -> SiteAddress:
    return SiteAddress.objects.default() if corp is None else links.site_address_for(corp)
