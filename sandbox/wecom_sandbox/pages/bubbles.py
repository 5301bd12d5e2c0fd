"""Messages as the phone draws them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup

from wecom_sandbox.messages.inbox import CardView, Message
from wecom_sandbox.pages.rendering import gettext_noop as _

_LINK = re.compile(r"""<a\s+href\s*=\s*(?:"([^"<>]*)"|'([^'<>]*)')\s*>(.*?)</a>""", re.IGNORECASE | re.DOTALL)
_CARD_MARK = re.compile(r"""<br\s*/?>|<div\s+class\s*=\s*["'](gray|normal|highlight)["']\s*>|</div>""", re.IGNORECASE)
_HTTP = re.compile(r"https?://[^\s\"'<>\\]+", re.IGNORECASE)
_MENTION = re.compile(r"<@([0-9A-Za-z_\-@.]{1,64})>")
# Function that returns the name of a userid's member; other texts are returned unchanged.
NameFinder = Callable[[str], str]
_HEADING = re.compile(r"(#{1,6})\s+(.*)")
_LINE_MARK = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]*)", re.MULTILINE)
_INLINE = re.compile(
    r"`(?P<code>[^`\n]+)`"
    r"|\*\*(?P<bold>[^*\n]+)\*\*"
    r"|\[(?P<label>[^\]\n]*)\]\((?P<url>[^)\s]+)\)"
    r"""|<font\s+color=["'](?P<color>info|comment|warning)["']>(?P<colored>.*?)</font>""",
    re.DOTALL,
)


def _escape(text: str) -> str:
    return html.escape(text, quote=True)


def make_link(url: str, label_html: str, css: str = "link") -> str:
    """Make a link that a tap opens, for http and https; else return the label. `label_html` is escaped already."""
    if not _HTTP.fullmatch(url):
        return label_html
    return f'<a class="{css}" href="{_escape(url)}" target="_blank" rel="noopener noreferrer">{label_html}</a>'


def render_text(content: str, find_name: NameFinder = str, mentioned: Iterable[str] = ()) -> Markup:
    """Draw a text: line ends, <a href>, <@userid>, then other mentioned people."""
    parts: list[str] = []
    position = 0
    for match in _LINK.finditer(content):
        parts.append(_render_mentions(content[position : match.start()], find_name))
        url = html.unescape(match.group(1) or match.group(2) or "")
        parts.append(make_link(url, _escape(re.sub(r"<[^>]*>", "", match.group(3)))))
        position = match.end()
    parts.append(_render_mentions(content[position:], find_name))
    parts += [f" {_render_mention(one, find_name)}" for one in mentioned]
    return Markup("".join(parts).replace("\n", "<br>"))  # noqa: S704  # every piece was escaped above


def _render_mentions(text: str, find_name: NameFinder) -> str:
    """Escape the text and replace <@userid> by names."""
    pieces = _MENTION.split(text)
    return "".join(_render_mention(one, find_name) if index % 2 else _escape(one) for index, one in enumerate(pieces))


def _render_mention(userid: str, find_name: NameFinder) -> str:
    return f'<span class="link">@{_escape(find_name(userid.removeprefix("@")))}</span>'


def strip_links(content: str) -> str:
    """Return the text with each link replaced by its label."""
    return _LINK.sub(lambda match: re.sub(r"<[^>]*>", "", match.group(3)), content)


def replace_mentions(text: str, find_name: NameFinder) -> str:
    """Return the text with each <@userid> replaced by "@" and the name, without HTML."""
    return _MENTION.sub(lambda match: f"@{find_name(match.group(1))}", text)


def render_textcard(description: str) -> Markup:
    """Draw a textcard: <br> and <div class="gray|normal|highlight">; missing end tags are added."""
    parts: list[str] = []
    position = depth = 0
    for match in _CARD_MARK.finditer(description):
        parts.append(_escape(description[position : match.start()]))
        position = match.end()
        mark = match.group(0).lower()
        if mark.startswith("<br"):
            parts.append("<br>")
        elif mark.startswith("<div"):
            parts.append(f'<div class="{match.group(1).lower()}">')
            depth += 1
        elif depth:
            parts.append("</div>")
            depth -= 1
    parts.append(_escape(description[position:]) + "</div>" * depth)
    return Markup("".join(parts).replace("\n", "<br>"))  # noqa: S704  # every piece was escaped above


def render_markdown(content: str, find_name: NameFinder = str) -> Markup:
    """Draw WeCom's Markdown subset: titles, bold, links, code, quotes, three colours, <@userid>."""
    lines: list[str] = []
    for line in content.split("\n"):
        heading = _HEADING.fullmatch(line.strip())
        if heading:
            level = len(heading.group(1))
            lines.append(f'<div class="h{level}">{_render_inline(heading.group(2), find_name)}</div>')
        elif line.lstrip().startswith(">"):
            lines.append(f'<div class="quote">{_render_inline(line.lstrip()[1:].strip(), find_name)}</div>')
        else:
            lines.append(f"<div>{_render_inline(line, find_name) or '&nbsp;'}</div>")
    return Markup("".join(lines))  # noqa: S704  # every piece was escaped in _render_inline


def strip_markdown(content: str) -> str:
    """Return Markdown content without its syntax, for a preview of one line."""

    def strip(match: re.Match[str]) -> str:
        inner = match["bold"] or match["colored"]
        return strip_markdown(inner) if inner else match["code"] or match["label"] or ""

    return _INLINE.sub(strip, _LINE_MARK.sub("", content))


def _render_inline(text: str, find_name: NameFinder) -> str:
    parts: list[str] = []
    position = 0
    for match in _INLINE.finditer(text):
        parts.append(_render_mentions(text[position : match.start()], find_name))
        position = match.end()
        if match["code"] is not None:
            parts.append(f"<code>{_escape(match['code'])}</code>")
        elif match["bold"] is not None:
            parts.append(f"<b>{_render_inline(match['bold'], find_name)}</b>")
        elif match["url"] is not None:
            parts.append(make_link(match["url"], _escape(match["label"])))
        else:
            parts.append(f'<span class="{match["color"]}">{_render_inline(match["colored"], find_name)}</span>')
    parts.append(_render_mentions(text[position:], find_name))
    return "".join(parts)


_COLOURS = ("gray", "black", "red", "green")
_LOOPBACK = ("localhost", "127.0.0.1")


class Part(dict[str, Any]):
    """An object inside a message's content, for a template. A name that it lacks gives an empty text."""

    def __missing__(self, name: str) -> str:
        return ""


def check_href(url: object) -> str:
    """Return the address if a tap may open it (http and https), else ""."""
    text = url if isinstance(url, str) else ""
    return text if text.lower().startswith(("http://", "https://")) else ""


def make_picture(url: object) -> dict[str, str]:
    """Return `src` if the picture is on this machine (no others are loaded), and its host."""
    text = check_href(url)
    try:
        host = urlsplit(text).hostname or ""
    except ValueError:
        host = ""
    return {"src": text if host in _LOOPBACK else "", "host": host}


def make_articles(content: Mapping[str, Any]) -> list[Part]:
    return [
        Part(article, href=check_href(article.get("url")), picture=make_picture(article.get("picurl")))
        for article in _read_rows(content, "articles")
    ]


def make_card(content: Mapping[str, Any], view: CardView | None) -> Part:
    """Prepare a template card for templates/messages/template_card.html."""
    shown = view.card if view is not None and view.card is not None else content
    selected = view.selected if view is not None else {}
    submit = read_part(shown, "submit_button")
    greyed_text = (view.replace_name if view is not None else "") or str(shown.get("replace_text", ""))
    return Part(
        source=_make_source(read_part(shown, "source")),
        menu=_make_menu(read_part(shown, "action_menu")),
        title=read_part(shown, "main_title"),
        emphasis=read_part(shown, "emphasis_content"),
        quote=_add_href(read_part(shown, "quote_area")),
        text=shown.get("sub_title_text", ""),
        image=make_picture(read_part(shown, "card_image").get("url")) if shown.get("card_image") else None,
        ratio=_compute_ratio(read_part(shown, "card_image").get("aspect_ratio")),
        area=_make_area(read_part(shown, "image_text_area")),
        vertical=_read_rows(shown, "vertical_content_list"),
        rows=[_make_horizontal_row(row) for row in _read_rows(shown, "horizontal_content_list")],
        jumps=[_add_href(row) for row in _read_rows(shown, "jump_list")],
        href=check_href(read_part(shown, "card_action").get("url")),
        questions=_make_questions(shown, selected),
        buttons=[_make_button(row, greyed_text) for row in _read_rows(shown, "button_list")],
        submit={"key": submit.get("key", ""), "text": submit.get("text") or "提交"} if submit else None,
        greyed_text=greyed_text,
    )


def read_part(card: Mapping[str, Any], name: str) -> Part:
    """Return an object inside a card; an empty one if there is none."""
    value = card.get(name)
    return Part(value) if isinstance(value, Mapping) else Part()


def _read_rows(card: Mapping[str, Any], name: str) -> list[Part]:
    value = card.get(name)
    return [Part(row) for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def _compute_ratio(value: object) -> int:
    """Return width to height in tenths, 13 to 22: the style sheet has one rule for each. The value is limited before it
    is multiplied: in a card without a picture it is unchecked, and in a passive reply it may be infinite or not a
    number."""
    return int(min(2.2, max(1.3, value)) * 10) if isinstance(value, int | float) else 13


def _make_menu(menu: Part) -> Part:
    return Part(menu, action_list=_read_rows(menu, "action_list"))


def _make_source(source: Part) -> Part:
    colour = source.get("desc_color")
    name = _COLOURS[colour] if isinstance(colour, int) and 0 <= colour < len(_COLOURS) else _COLOURS[0]
    return Part(source, colour=name, icon=make_picture(source.get("icon_url")))


def _add_href(block: Part) -> Part:
    return Part(block, href=check_href(block.get("url"))) if block else block


def _make_area(area: Part) -> Part:
    return Part(_add_href(area), picture=make_picture(area.get("image_url"))) if area else area


def _make_horizontal_row(row: Part) -> Part:
    kind = row.get("type", 0)
    link = check_href(row.get("url")) if kind == 1 else ""
    return Part(row, href=f"/sandbox/media/{row.get('media_id')}" if kind == 2 else link)


def _make_button(button: Part, greyed_text: str) -> Part:
    is_link = button.get("type") == 1
    return Part(
        button,
        style=button.get("style", 1),
        href=check_href(button.get("url")) if is_link else "",
        disabled=bool(greyed_text) and not is_link,
    )


def _make_questions(shown: Mapping[str, Any], selected: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """Return votes as boxes and selections as lists, with the chosen (or suggested) options marked."""
    found = []
    parts = [(read_part(shown, "checkbox"), True), (read_part(shown, "button_selection"), False)]
    parts += [(row, False) for row in _read_rows(shown, "select_list")]
    for question, is_vote in parts:
        if not question:
            continue
        name = str(question.get("question_key", ""))
        chosen = selected.get(name)
        suggested = {str(question.get("selected_id", ""))}
        options = [
            {
                "id": option.get("id", ""),
                "text": option.get("text", ""),
                "chosen": (str(option.get("id")) in chosen)
                if chosen is not None
                else (option.get("is_checked") is True or str(option.get("id")) in suggested),
            }
            for option in _read_rows(question, "option_list")
        ]
        kind = ("checkbox" if question.get("mode") == 1 else "radio") if is_vote else "select"
        found.append(
            {
                "key": name,
                "title": question.get("title", ""),
                "kind": kind,
                "options": options,
                "disabled": question.get("disable") is True,
            }
        )
    return found


# WeCom's time zone; China has no other.
_CHINA = timezone(timedelta(hours=8))
_PREVIEW_LENGTH = 40
_STRIPPERS = {"text": strip_links, "markdown": strip_markdown}
_LABELS = {
    "image": _("Picture"),
    "voice": _("Voice"),
    "video": _("Video"),
    "file": _("File"),
}


@dataclass(frozen=True, slots=True)
class Bubble:
    """A drawn message. `template`: below templates/; `content`: all that it needs."""

    message: Message
    template: str
    content: Part
    sent_at: datetime

    @property
    def is_own(self) -> bool:
        return bool(self.message.sender)  # only the sender sees such a message


def make_bubble(message: Message, folded: str, find_name: NameFinder = str) -> Bubble:
    """Draw the message for the person with this folded userid. A recalled one is empty; a card may differ by person."""
    name = "recalled" if message.recalled else message.msgtype
    content = Part() if message.recalled else _make_content(message, folded, find_name)
    return Bubble(message, f"messages/{name}.html", content, read_time(message.sent_at))


def _make_content(message: Message, folded: str, find_name: NameFinder) -> Part:
    content = Part(message.content)
    kind = message.msgtype
    if kind == "text":
        mentioned = [*content.get("mentioned_list", ()), *content.get("mentioned_mobile_list", ())]
        content["body"] = render_text(content["content"], find_name, mentioned)
    elif kind == "markdown":
        content["body"] = render_markdown(content["content"], find_name)
    elif kind == "textcard":
        content.update(body=render_textcard(content["description"]), href=check_href(content["url"]))
    elif kind == "news":
        content["articles"] = make_articles(content)
    elif kind == "template_card":
        content = make_card(content, message.views.get(folded))
    return content


@dataclass(frozen=True, slots=True)
class Preview:
    """A message as one line in the list of conversations. `label`: its kind, if the text does not show it."""

    text: str = ""
    label: str = ""
    recalled: bool = False


def make_preview(message: Message, find_name: NameFinder = str) -> Preview:
    content: dict[str, Any] = dict(message.content)
    if message.recalled:
        return Preview(recalled=True)
    articles = content.get("articles")
    if isinstance(articles, list) and articles:
        content = articles[0]
    strip = _STRIPPERS.get(message.msgtype)
    text = strip(str(content["content"])) if strip else _find_title(content)
    text = replace_mentions(text, find_name)
    return Preview(" ".join(text.split())[:_PREVIEW_LENGTH], _LABELS.get(message.msgtype, ""))


def _find_title(content: dict[str, Any]) -> str:
    found = (read_part(content, "main_title").get("title"), content.get("title"), content.get("filename"))
    return str(next((text for text in found if text), content.get("sub_title_text", "")))


def read_time(seconds: float) -> datetime:
    """Return unix seconds as a time in WeCom's time zone."""
    return datetime.fromtimestamp(seconds, _CHINA)
