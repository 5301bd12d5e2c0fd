"""One message as the phone draws it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from wecom_sandbox.messages.inbox import Message
from wecom_sandbox.pages import drawing, richtext
from wecom_sandbox.pages.drawing import Part
from wecom_sandbox.pages.translation import gettext_noop as _

# WeCom's own time; China has no other.
_CHINA = timezone(timedelta(hours=8))
_PREVIEW_LENGTH = 40
_PLAIN = {"text": richtext.text_plain, "markdown": richtext.markdown_plain}
_LABELS = {
    "image": _("Picture"),
    "voice": _("Voice"),
    "video": _("Video"),
    "file": _("File"),
}


@dataclass(frozen=True, slots=True)
class Bubble:
    """`template` below templates/; `content` is all that it needs."""

    message: Message
    template: str
    content: Part
    sent_at: datetime

    @property
    def mine(self) -> bool:
        return bool(self.message.sender)


def bubble(message: Message, folded: str, name_of: richtext.NameOf = str) -> Bubble:
    """As this person sees it: a recalled message is gone, a card may have changed for her alone."""
    name = "recalled" if message.recalled else message.msgtype
    content = Part() if message.recalled else _content(message, folded, name_of)
    return Bubble(message, f"messages/{name}.html", content, local_time(message.sent_at))


def _content(message: Message, folded: str, name_of: richtext.NameOf) -> Part:
    content = Part(message.content)
    kind = message.msgtype
    if kind == "text":
        mentioned = [*content.get("mentioned_list", ()), *content.get("mentioned_mobile_list", ())]
        content["body"] = richtext.text_html(content["content"], name_of, mentioned)
    elif kind == "markdown":
        content["body"] = richtext.markdown_html(content["content"], name_of)
    elif kind == "textcard":
        content.update(body=richtext.card_html(content["description"]), href=drawing.href(content["url"]))
    elif kind == "news":
        content["articles"] = drawing.articles(content)
    elif kind == "template_card":
        content = drawing.card(content, message.views.get(folded))
    return content


@dataclass(frozen=True, slots=True)
class Preview:
    """A message in one line of the list of conversations. `label`: what it is, where its text does not say that."""

    text: str = ""
    label: str = ""
    recalled: bool = False


def preview(message: Message, name_of: richtext.NameOf = str) -> Preview:
    content: dict[str, Any] = dict(message.content)
    if message.recalled:
        return Preview(recalled=True)
    articles = content.get("articles")
    if isinstance(articles, list) and articles:
        content = articles[0]
    plain = _PLAIN.get(message.msgtype)
    text = plain(str(content["content"])) if plain else _title(content)
    text = richtext.names_plain(text, name_of)
    return Preview(" ".join(text.split())[:_PREVIEW_LENGTH], _LABELS.get(message.msgtype, ""))


def _title(content: dict[str, Any]) -> str:
    found = (drawing.part(content, "main_title").get("title"), content.get("title"), content.get("filename"))
    return str(next((text for text in found if text), content.get("sub_title_text", "")))


def local_time(seconds: float) -> datetime:
    """Unix seconds in WeCom's time zone."""
    return datetime.fromtimestamp(seconds, _CHINA)
