"""Renders WeCom's Markdown as HTML on our own page, escaped first. Pure."""

from __future__ import annotations

import re
from itertools import groupby

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from notifications.models import MessageForm

_HEADING = re.compile(r"(#{1,6})\s+(.+)")
_QUOTE = re.compile(r"&gt;\s?(.*)")
_MARKS = re.compile(r"^#{1,6}\s|^>\s?|\*\*|`|</?font[^>]*>", re.MULTILINE)
# On escaped text, so what they let through cannot end an attribute or open a tag.
_INLINE = (
    (re.compile(r"\[([^\[\]\n]+)\]\((https?://[^\s()]+)\)"), r'<a href="\2" rel="noopener noreferrer">\1</a>'),
    (re.compile(r"\*\*([^*\n]+)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"`([^`\n]+)`"), r"<code>\1</code>"),
    (
        re.compile(r"&lt;font color=&quot;(info|comment|warning)&quot;&gt;(.*?)&lt;/font&gt;"),
        r'<span class="font-\1">\2</span>',
    ),
)


def shown(text: str, form: str) -> SafeString:
    """`text` as HTML: Markdown of a Markdown message, paragraphs of any other."""
    if form == MessageForm.MARKDOWN:
        blocks = [_block(kind, lines) for kind, lines in _grouped(str(escape(text)).split("\n"))]
    else:
        blocks = [_paragraph(lines) for kind, lines in _grouped(str(escape(text)).split("\n"), plain=True) if kind]
    return mark_safe("\n".join(filter(None, blocks)))  # noqa: S308  # made of escaped text and our own tags


def excerpt(text: str) -> str:
    """`text` on one line without marks, for lists."""
    return " ".join(_MARKS.sub("", text).split())


def _grouped(lines: list[str], *, plain: bool = False) -> list[tuple[str, list[str]]]:
    """Lines of one kind that follow each other; each heading stands alone, an empty kind separates paragraphs."""
    numbered = [(_kind(line, plain), line) for line in lines]
    groups = groupby(enumerate(numbered), key=lambda at: (at[1][0], at[0] if at[1][0] == "heading" else 0))
    return [(kind, [line for _position, (_kind_again, line) in group]) for (kind, _number), group in groups]


def _kind(line: str, plain: bool) -> str:
    if not line.strip():
        return ""
    if plain:
        return "text"
    if _HEADING.match(line):
        return "heading"
    return "quote" if _QUOTE.match(line) else "text"


def _block(kind: str, lines: list[str]) -> str:
    match kind:
        case "heading":
            found = _HEADING.match(lines[0])
            # The page's own title is its h1.
            return f"<h2>{_inline(found[2])}</h2>" if found else ""
        case "quote":
            inner = [_QUOTE.sub(r"\1", line, count=1) for line in lines]
            return f"<blockquote>{'<br>'.join(map(_inline, inner))}</blockquote>"
        case "text":
            return f"<p>{'<br>'.join(map(_inline, lines))}</p>"
    return ""


def _paragraph(lines: list[str]) -> str:
    return f"<p>{'<br>'.join(lines)}</p>"


def _inline(escaped: str) -> str:
    """One line: in WeCom, too, no mark goes beyond its end."""
    for pattern, replacement in _INLINE:
        escaped = pattern.sub(replacement, escaped)
    return escaped
