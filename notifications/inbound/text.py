"""Text of other systems as a message form may show it: nothing in it is obeyed but the Markdown that is let through.

Pure. Kept of Markdown: headings, quotes, bold, code, and links with http or https. Everything else that WeCom could
take for markup, as a tag, a mention or <@all>, has a look-alike in its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from integrations.clients.wecom.builders import in_reading_order
from notifications.models import IncomingMessage, MessageForm
from notifications.models.messages import LINK_CHARACTERS, TEXT_CHARACTERS, TITLE_CHARACTERS
from notifications.reports.templates.escaping import escaped

# Also halves of surrogate pairs, which no database takes. Lines and tabs stay.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
_LINE_ENDS = re.compile("\r\n?")
_START = re.compile(r"(?P<quote>(?:>[ \t]?)*)(?P<heading>#{1,6}[ \t]+)?(?P<bullet>[*+-][ \t]+)?")
# What may stand between two pieces of plain text; a picture becomes a link.
_INLINE = re.compile(
    r"!?\[(?P<label>[^\[\]]+)\]\((?P<url>https?://[^\s()<>]+)\)"
    r"|<(?P<bare>https?://[^\s<>]+)>"
    r"|\*\*(?P<bold>[^*]+)\*\*"
    r"|`(?P<code>[^`]+)`"
)
_LOOK_ALIKES = str.maketrans({"<": "＜", ">": "＞", "[": "［", "]": "］"})  # noqa: RUF001  # on purpose


def safe_title(title: str) -> str:
    """One line without markup of any form's, as long as a title may be; empty where nothing of it can be shown."""
    line = " ".join(in_reading_order(_CONTROLS.sub(" ", title)).split())
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1].rstrip() + "…"


def safe_text(text: str) -> str:
    """The text with plain line ends and without characters that nothing can show; the first TEXT_CHARACTERS of it."""
    plain = in_reading_order(_CONTROLS.sub("", _LINE_ENDS.sub("\n", text[: 2 * TEXT_CHARACTERS]))).strip()
    return plain if len(plain) <= TEXT_CHARACTERS else plain[: TEXT_CHARACTERS - 1] + "…"


def safe_link(link: str) -> str:
    """`link`, if it is an address with http or https as a message may have it; else empty."""
    if len(link) > LINK_CHARACTERS or not link.isprintable() or " " in link:
        return ""
    try:
        found = urlsplit(link)
    except ValueError:
        return ""
    return link if found.scheme in {"http", "https"} and found.hostname else ""


def text_for(form: str, text: str, markup: str) -> str:
    """A tidied text as a message of this form says it."""
    if markup != IncomingMessage.Markup.MARKDOWN:
        return "\n".join(_plain(line, form) for line in text.split("\n"))
    if form == MessageForm.MARKDOWN:
        return "\n".join(_marked(line) for line in text.split("\n"))
    return "\n".join(_plain(_unmarked(line), form) for line in text.split("\n"))


def _plain(line: str, form: str) -> str:
    return escaped(line, form)


def _marked(line: str) -> str:
    """A line of Markdown with the marks that are let through."""
    start = _START.match(line)
    quote, heading, bullet = (start["quote"], start["heading"], start["bullet"]) if start else ("", "", "")
    rest = line[start.end() :] if start else line
    return ("> " if quote else "") + (heading or "") + ("- " if bullet else "") + _each_piece(rest, _let_through)


def _unmarked(line: str) -> str:
    """A line of Markdown in plain words, an address behind what leads to it."""
    start = _START.match(line)
    bullet = "- " if start and start["bullet"] else ""
    return bullet + _INLINE.sub(_in_words, line[start.end() :] if start else line)


def _each_piece(line: str, shown: Callable[[re.Match[str]], str]) -> str:
    """What is between marks with look-alikes, marks as `shown` has them."""
    pieces, end = [], 0
    for mark in _INLINE.finditer(line):
        pieces += [_between(line[end : mark.start()]), shown(mark)]
        end = mark.end()
    return "".join([*pieces, _between(line[end:])])


def _between(text: str) -> str:
    return text.translate(_LOOK_ALIKES)


def _let_through(mark: re.Match[str]) -> str:
    if mark["url"]:
        return f"[{_between(mark['label'])}]({mark['url']})"
    if mark["bare"]:
        return mark["bare"]
    return f"**{_between(mark['bold'])}**" if mark["bold"] else f"`{_between(mark['code'])}`"


def _in_words(mark: re.Match[str]) -> str:
    if mark["url"]:
        return mark["url"] if mark["label"] == mark["url"] else f"{mark['label']} ({mark['url']})"
    return mark["bare"] or mark["bold"] or mark["code"]
