"""One message as the phone draws it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone

from integrations.sandbox.messages.inbox import Message
from integrations.sandbox.pages import drawing, richtext

_PREVIEW_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Bubble:
    """`template` below templates/; `content` is all that it needs."""

    message: Message
    template: str
    content: dict[str, Any]
    sent_at: datetime

    @property
    def mine(self) -> bool:
        return bool(self.message.sender)


def bubble(message: Message, folded: str) -> Bubble:
    """As this person sees it: a recalled message is gone, a card may have changed for her alone."""
    name = "recalled" if message.recalled else message.msgtype
    content = {} if message.recalled else _content(message, folded)
    return Bubble(message, f"sandbox/messages/{name}.html", content, local_time(message.sent_at))


def _content(message: Message, folded: str) -> dict[str, Any]:
    content: dict[str, Any] = dict(message.content)
    kind = message.msgtype
    if kind == "text":
        content["body"] = richtext.text_html(content["content"])
    elif kind == "markdown":
        content["body"] = richtext.markdown_html(content["content"])
    elif kind == "textcard":
        content |= {"body": richtext.card_html(content["description"]), "href": drawing.href(content["url"])}
    elif kind == "news":
        content["articles"] = drawing.articles(content)
    elif kind == "template_card":
        content = drawing.card(content, message.views.get(folded))
    return content


def preview(message: Message) -> str:
    """One line for the list of conversations."""
    content: dict[str, Any] = dict(message.content)
    if message.recalled:
        return ""
    articles = content.get("articles")
    if isinstance(articles, list) and articles:
        content = articles[0]
    title = content.get("main_title", {})
    for text in (content.get("content"), content.get("title"), title.get("title"), content.get("filename")):
        if isinstance(text, str) and text:
            return " ".join(text.split())[:_PREVIEW_LENGTH]
    return str(content.get("sub_title_text", ""))[:_PREVIEW_LENGTH]


def local_time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone(timezone.get_default_timezone())
