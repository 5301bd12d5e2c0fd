"""One message as the phone draws it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone
from django.utils.safestring import SafeString

from integrations.sandbox.messages.inbox import CardView, Message
from integrations.sandbox.pages import richtext

_PREVIEW_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Bubble:
    """`template` below templates/sandbox/messages/; `body` is escaped HTML where the type has one text."""

    message: Message
    template: str
    content: dict[str, Any]
    sent_at: datetime
    body: SafeString | str = ""
    view: CardView | None = None

    @property
    def mine(self) -> bool:
        return bool(self.message.sender)


def bubble(message: Message, folded: str) -> Bubble:
    content: dict[str, Any] = dict(message.content)
    view = message.views.get(folded)
    body: SafeString | str
    if message.recalled:
        template, body = "recalled", SafeString("")
    else:
        template = message.msgtype
        reader = _BODIES.get(message.msgtype)
        body = reader(content) if reader is not None else ""
    if view is not None and view.card is not None:
        content = dict(view.card)
    return Bubble(message, f"sandbox/messages/{template}.html", content, local_time(message.sent_at), body, view)


_BODIES: dict[str, Callable[[dict[str, Any]], SafeString | str]] = {
    "text": lambda content: richtext.text_html(content["content"]),
    "markdown": lambda content: richtext.markdown_html(content["content"]),
    "textcard": lambda content: richtext.card_html(content["description"]),
}


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
