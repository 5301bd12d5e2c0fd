"""Message text as HTML: everything is escaped but the few marks that WeCom itself honours."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable

from markupsafe import Markup

_LINK = re.compile(r"""<a\s+href\s*=\s*(?:"([^"<>]*)"|'([^'<>]*)')\s*>(.*?)</a>""", re.IGNORECASE | re.DOTALL)
_CARD_MARK = re.compile(r"""<br\s*/?>|<div\s+class\s*=\s*["'](gray|normal|highlight)["']\s*>|</div>""", re.IGNORECASE)
_HTTP = re.compile(r"https?://[^\s\"'<>\\]+", re.IGNORECASE)
_MENTION = re.compile(r"<@([0-9A-Za-z_\-@.]{1,64})>")
# The name of a member, by userid; what is no member's stays as it is.
NameOf = Callable[[str], str]
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


def anchor(url: str, label_html: str, css: str = "link") -> str:
    """A link that a tap opens; only http and https, else the label alone. `label_html` is already escaped."""
    if not _HTTP.fullmatch(url):
        return label_html
    return f'<a class="{css}" href="{_escape(url)}" target="_blank" rel="noopener noreferrer">{label_html}</a>'


def text_html(content: str, name_of: NameOf = str, mentioned: Iterable[str] = ()) -> Markup:
    """text: line ends, <a href>, <@userid>, and behind it who was mentioned besides."""
    parts: list[str] = []
    position = 0
    for match in _LINK.finditer(content):
        parts.append(_with_mentions(content[position : match.start()], name_of))
        url = html.unescape(match.group(1) or match.group(2) or "")
        parts.append(anchor(url, _escape(re.sub(r"<[^>]*>", "", match.group(3)))))
        position = match.end()
    parts.append(_with_mentions(content[position:], name_of))
    parts += [f" {_mention(one, name_of)}" for one in mentioned]
    return Markup("".join(parts).replace("\n", "<br>"))  # noqa: S704  # every piece was escaped above


def _with_mentions(text: str, name_of: NameOf) -> str:
    """Escaped, with names for <@userid>."""
    pieces = _MENTION.split(text)
    return "".join(_mention(one, name_of) if index % 2 else _escape(one) for index, one in enumerate(pieces))


def _mention(userid: str, name_of: NameOf) -> str:
    return f'<span class="link">@{_escape(name_of(userid.removeprefix("@")))}</span>'


def text_plain(content: str) -> str:
    """The same without its marks, for one line."""
    return _LINK.sub(lambda match: re.sub(r"<[^>]*>", "", match.group(3)), content)


def names_plain(text: str, name_of: NameOf) -> str:
    """Names for <@userid>, without marks."""
    return _MENTION.sub(lambda match: f"@{name_of(match.group(1))}", text)


def card_html(description: str) -> Markup:
    """textcard: <br> and <div class="gray|normal|highlight">, closed where the text forgets it."""
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


def markdown_html(content: str, name_of: NameOf = str) -> Markup:
    """The subset that WeCom draws: titles, bold, links, code, quotes, three colours, <@userid>."""
    lines: list[str] = []
    for line in content.split("\n"):
        heading = _HEADING.fullmatch(line.strip())
        if heading:
            level = len(heading.group(1))
            lines.append(f'<div class="h{level}">{_inline(heading.group(2), name_of)}</div>')
        elif line.lstrip().startswith(">"):
            lines.append(f'<div class="quote">{_inline(line.lstrip()[1:].strip(), name_of)}</div>')
        else:
            lines.append(f"<div>{_inline(line, name_of) or '&nbsp;'}</div>")
    return Markup("".join(lines))  # noqa: S704  # every piece was escaped in _inline


def markdown_plain(content: str) -> str:
    """The same without its marks, for one line."""

    def bare(match: re.Match[str]) -> str:
        inner = match["bold"] or match["colored"]
        return markdown_plain(inner) if inner else match["code"] or match["label"] or ""

    return _INLINE.sub(bare, _LINE_MARK.sub("", content))


def _inline(text: str, name_of: NameOf) -> str:
    parts: list[str] = []
    position = 0
    for match in _INLINE.finditer(text):
        parts.append(_with_mentions(text[position : match.start()], name_of))
        position = match.end()
        if match["code"] is not None:
            parts.append(f"<code>{_escape(match['code'])}</code>")
        elif match["bold"] is not None:
            parts.append(f"<b>{_inline(match['bold'], name_of)}</b>")
        elif match["url"] is not None:
            parts.append(anchor(match["url"], _escape(match["label"])))
        else:
            parts.append(f'<span class="{match["color"]}">{_inline(match["colored"], name_of)}</span>')
    parts.append(_with_mentions(text[position:], name_of))
    return "".join(parts)
