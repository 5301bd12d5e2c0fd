"""Converts a mail into the parts of a message, and shows the whole mail as a page of its own.

HTML from outside is hostile: a parser needs time that grows with the square of the nesting. So mails are converted in a
process with limited time (notifications.inbound.mail.reader), which first hands over the words that `strip_tags` finds.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Sequence
from contextlib import suppress
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import nh3
from django.http import Http404, HttpResponse
from django.utils.html import escape, urlize
from django.utils.translation import gettext as _
from markdownify import MarkdownConverter

from integrations.clients.wecom.builders import drop_direction_marks
from notifications.inbound.content import CheckedFile, InboundError, check_file
from notifications.inbound.mail.parse import MailRules, ParsedMail
from notifications.models import IncomingMessage, Medium, MessageForm
from notifications.reports.templates.values import escape_markup

if TYPE_CHECKING:
    from notifications.inbound.mail.parse import MailPart


# Characters of a mail's HTML that are read. A message in WeCom holds 2048 bytes, and this is enough for a mail's page.
HTML_CHARACTERS = 400_000
# Longest text of a message. WeCom's forms hold less: there it is cut again, with a link to the rest.
TEXT_CHARACTERS = 20_000
SHOWN_PICTURE_BYTES = 12_000_000

_BLOCK_TAGS = {"p", "div", "br", "hr", "ul", "ol", "li", "blockquote", "pre", "table", "tr", "td", "th"}
_HEADING_TAGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
_READ_TAGS = _BLOCK_TAGS | _HEADING_TAGS | {"b", "strong", "a"}
_SHOWN_TAGS = nh3.ALLOWED_TAGS | {"font", "section", "tfoot"}
# Tags that are dropped with all that is in them.
_DROPPED_TAGS = {
    *("script", "style", "title", "head", "template", "noscript", "svg", "math", "iframe", "object", "textarea"),
}
_LAYOUT_ATTRIBUTES = {
    *("align", "valign", "width", "height", "bgcolor", "colspan", "rowspan", "cellpadding", "cellspacing", "border"),
}
_STYLE_PROPERTIES = {
    *("color", "background", "background-color", "font", "font-size", "font-weight", "font-family", "font-style"),
    *("text-align", "vertical-align", "text-decoration", "line-height", "white-space", "width", "max-width", "height"),
    *("border", "border-top", "border-bottom", "border-left", "border-right", "border-collapse", "border-color"),
    *("border-radius", "border-spacing", "border-style", "border-width", "display"),
    *(f"{space}{side}" for space in ("margin", "padding") for side in ("", "-top", "-bottom", "-left", "-right")),
}
_ANY_TAG = re.compile(r"<[/!?a-zA-Z][^<>]{0,5000}>?")
_DROPPED_BLOCK = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|head|title|svg|template)\b[^<>]*>.*?(?:</\1\s*>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
# Gives the links that Django makes of plain text the attributes of those in HTML: a new window, and no referrer.
_URLIZED_LINK = re.compile(r'(<a href="[^"]*")>')
_IN_NEW_WINDOW = r'\1 target="_blank" rel="noopener noreferrer nofollow">'
# Functions that a style may call; others may load something.
_STYLE_FUNCTIONS = {"rgb", "rgba", "hsl", "hsla", "calc", "linear-gradient", "radial-gradient"}
_FUNCTION_CALL = re.compile(r"([^\s,:;(]*)\(")
_CID = re.compile(r'src="cid:([^"]{1,300})"')
_LINK = re.compile(r"https?://[^\s()<>\[\]\"'＜＞［］]{1,1500}")
# A table's row during conversion: each cell ends with a NUL.
_ROW = re.compile("\n*\1([^\1\2]*)\2")
_BLANK_LINES, _BLANKS = re.compile(r"\n{3,}"), re.compile(r"[^\S\n]+")


def render_page(html: str, text: str, pictures: Sequence[MailPart]) -> str:
    """Return the mail as a page: no script, nothing loaded from elsewhere, links in a new window, inline pictures as
    data. Without HTML, the plain text."""
    html = _limit_html(html)
    if not html.strip():
        return f"<pre>{_URLIZED_LINK.sub(_IN_NEW_WINDOW, urlize(escape(text[:HTML_CHARACTERS])))}</pre>"
    cleaned = nh3.clean(
        html,
        tags=_SHOWN_TAGS,
        clean_content_tags=_DROPPED_TAGS,
        attributes={
            "*": _LAYOUT_ATTRIBUTES | {"style"},
            "a": {"href"},
            "img": {"src", "alt"},
            "font": {"color", "size"},
        },
        set_tag_attribute_values={"a": {"target": "_blank"}},
        link_rel="noopener noreferrer nofollow",
        url_schemes={"http", "https", "mailto", "cid"},
        url_relative="deny",
        filter_style_properties=_STYLE_PROPERTIES,
        attribute_filter=_filter_attribute,
    )
    by_cid = {part.cid: part for part in pictures}
    pieces, end, room_bytes = list[str](), 0, SHOWN_PICTURE_BYTES
    for match in _CID.finditer(cleaned):
        name = unescape(match[1])
        part = by_cid.get(name) or by_cid.get(unquote(name))
        kind = None if part is None else detect_picture_type(part.content)
        url = ""
        if part is not None and kind is not None and len(part.content) <= room_bytes:
            room_bytes -= len(part.content)
            url = f"data:{kind};base64,{base64.b64encode(part.content).decode()}"
        pieces += [cleaned[end : match.start()], f'src="{url}"']
        end = match.end()
    return "".join([*pieces, cleaned[end:]])


def _filter_attribute(_tag: str, name: str, value: str) -> str | None:
    """Return the attribute if it loads nothing from elsewhere. The page's policy would not load it either."""
    if name == "src":
        return value if value.startswith("cid:") else ""
    is_loading = "\\" in value or not {called.lower() for called in _FUNCTION_CALL.findall(value)} <= _STYLE_FUNCTIONS
    return None if name == "style" and is_loading else value


def detect_picture_type(content: bytes) -> str | None:
    """Return the type of a PNG, JPEG or GIF by its first bytes; None for a picture that we neither show nor send."""
    for start, kind in ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif")):
        if content.startswith(start):
            return kind
    return None


def _limit_html(html: str) -> str:
    return html if len(html) <= HTML_CHARACTERS else _DROPPED_BLOCK.sub("", html)[:HTML_CHARACTERS]


def convert_html(html: str, *, is_markdown: bool = False, has_links: bool = True) -> str:
    """Convert the HTML to plain text, in which a link's address follows its words, or is left out. `is_markdown`: to
    WeCom's Markdown (headings, bold, links to http and https, quotes), with look-alikes for characters that would be
    markup."""
    cleaned = nh3.clean(
        _limit_html(html),
        tags=_READ_TAGS,
        clean_content_tags=_DROPPED_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"http", "https"},
    )
    # Blanks are joined: markdownify's time grows with the square of a run of them. A tag cut in two is dropped.
    converter = _Converter(is_markdown=is_markdown, has_links=has_links)
    return _tidy(converter.convert(_BLANKS.sub(" ", cleaned)[: 4 * TEXT_CHARACTERS]))


def strip_tags(html: str) -> str:
    """Return the HTML's words on one line, without a parser: the time grows only with the length."""
    return _tidy(unescape(_ANY_TAG.sub(" ", _DROPPED_BLOCK.sub("", _limit_html(html)))))


def _tidy(text: str) -> str:
    lines = (" ".join(line.split()) for line in drop_direction_marks(text).split("\n"))
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()[:TEXT_CHARACTERS]


class _Converter(MarkdownConverter):
    """Converter of HTML to words and lines for `convert_html`. WeCom's Markdown:
    developer.work.weixin.qq.com/document/path/90236, read 2026-11-26."""

    def __init__(self, *, is_markdown: bool, has_links: bool) -> None:
        super().__init__(bullets="-")
        self._is_markdown, self._has_links = is_markdown, has_links

    def escape(self, text: str, parent_tags: set[str]) -> str:
        if not self._is_markdown:
            return text
        return "\n".join(escape_markup(line, MessageForm.MARKDOWN) for line in text.split("\n"))

    def convert_a(self, el: Any, text: str, parent_tags: set[str]) -> str:
        label, link = text.strip(), str(el.get("href") or "").strip()
        if not self._has_links or not _LINK.fullmatch(link):
            return text
        if self._is_markdown:
            label = " ".join(label.split()).replace("**", "") or escape_markup(link, MessageForm.MARKDOWN)
            return f"[{label}]({link})"
        return text if label == link else f"{label} {link}".strip()

    def convert_b(self, el: Any, text: str, parent_tags: set[str]) -> str:
        line = " ".join(text.split())
        is_inside = parent_tags & (_HEADING_TAGS | {"a", "b", "strong"})
        is_plain = not line or "\n" in text.strip() or "**" in line or is_inside
        return text if is_plain or not self._is_markdown else f"**{line}**"

    convert_strong = convert_b

    def convert_hN(self, n: int, el: Any, text: str, parent_tags: set[str]) -> str:  # markdownify's name
        line = " ".join(text.split())
        if line and self._is_markdown:
            line = f"{'#' * min(n, 3)} {line.replace('**', '')}"
        return f"\n\n{line}\n\n" if line else ""

    def convert_hr(self, el: Any, text: str, parent_tags: set[str]) -> str:
        return "\n\n"

    def convert_br(self, el: Any, text: str, parent_tags: set[str]) -> str:
        return "\n"

    def convert_p(self, el: Any, text: str, parent_tags: set[str]) -> str:
        return f"\n\n{text.strip()}\n\n"

    def convert_div(self, el: Any, text: str, parent_tags: set[str]) -> str:
        return f"\n{text.strip()}\n"

    def convert_pre(self, el: Any, text: str, parent_tags: set[str]) -> str:
        return f"\n\n{self.escape(text.strip(), parent_tags)}\n\n"

    def convert_blockquote(self, el: Any, text: str, parent_tags: set[str]) -> str:
        lines = [line for line in text.strip().split("\n") if line.strip()]
        quoted = "\n".join(f"> {line.lstrip('> ')}" for line in lines)
        return f"\n\n{quoted if self._is_markdown else text.strip()}\n\n"

    def convert_table(self, el: Any, text: str, parent_tags: set[str]) -> str:
        """Write a row of data as one line with bars between its cells, also empty ones. A table whose rows never have
        two filled cells, and rows with cells of several lines, are layout: their cells become lines."""
        found = [(row, [cell.strip() for cell in row[1].split("\0")[:-1]]) for row in _ROW.finditer(text)]
        is_data = any(len(list(filter(None, cells))) > 1 and "\n" not in "".join(cells) for _row, cells in found)
        pieces, end = list[str](), 0
        for row, cells in found:
            is_layout = "\n" in "".join(cells)
            kept = cells if is_data and not is_layout and any(cells) else filter(None, cells)
            pieces += [text[end : row.start()], "\n", ("\n" if is_layout else " | ").join(kept)]
            end = row.end()
        return f"\n\n{''.join([*pieces, text[end:]]).strip()}\n\n"

    def convert_td(self, el: Any, text: str, parent_tags: set[str]) -> str:
        """End a cell with a mark, which the table replaces."""
        return f"{text.strip()}\0"

    convert_th = convert_td

    def convert_tr(self, el: Any, text: str, parent_tags: set[str]) -> str:
        return f"\1{text}\2"


# In pixels. Smaller pictures are icons or logos.
PICTURE_WIDTH, PICTURE_HEIGHT = 200, 100
# WeCom shows each file as a message of its own.
SENT_FILES_AT_MOST = 10


def convert_mail(mail: ParsedMail, rules: MailRules, form: str) -> tuple[IncomingMessage, tuple[CheckedFile, ...]]:
    """Convert the parts of the mail that `rules` allow to an unsaved message and its files, the picture first. The text
    also names the files that are not sent. `form`: of the message; if empty, a mail with a picture becomes a news card,
    which cannot show Markdown."""
    picture: CheckedFile | None = None  # the first that is no icon, if WeCom can show it
    for part in mail.pictures if rules.takes_picture else ():
        with suppress(InboundError):
            file = check_file(part.name, part.content)
            if file.kind == Medium.Kind.PICTURE and file.width >= PICTURE_WIDTH and file.height >= PICTURE_HEIGHT:
                picture = file
                break
    is_markdown = form == MessageForm.MARKDOWN or (not form and picture is None)
    links = re.findall(r"""\bhref\s*=\s*["']?(https?://[^\s"'<>]{1,1500})""", _limit_html(mail.html))
    urls = (found[0] for one in [*links, mail.text] if (found := _LINK.search(unescape(one))))
    link = next(urls, "").rstrip(".,;:!?。，；：")
    message = IncomingMessage(title=mail.subject, link=link)
    if rules.takes_text:
        # Cards have no room for addresses: they link to the page.
        has_links = is_markdown or form == MessageForm.TEXT
        text = convert_html(mail.html, is_markdown=is_markdown, has_links=has_links)
        if is_markdown and text:
            message.markup = IncomingMessage.Markup.MARKDOWN
        footers = [*rules.footers, *(escape_markup(footer, MessageForm.MARKDOWN) for footer in rules.footers)]
        # The first line that begins with a marker begins a footer, which is cut off.
        markers = tuple(footer.strip() for footer in footers if footer.strip())
        message.text = text or mail.text
        lines = message.text.split("\n")
        for number, line in enumerate(lines):
            if line.strip(" *#>\t").startswith(markers):
                message.text = "\n".join(lines[:number]).rstrip()
                break
    files, left_out = choose_files(mail, rules)
    if line := describe_unsent_files(left_out):
        if message.markup == IncomingMessage.Markup.MARKDOWN:
            line = escape_markup(line, MessageForm.MARKDOWN)
        message.text = f"{message.text}\n\n{line}".strip()
    return message, ((picture,) if picture else ()) + files


def describe_unsent_files(names: Sequence[str]) -> str:
    """Return a line that names the files that are not sent; empty without any."""
    return _("Not sent: %(names)s") % {"names": ", ".join(names)} if names else ""


def choose_files(mail: ParsedMail, rules: MailRules) -> tuple[tuple[CheckedFile, ...], tuple[str, ...]]:
    """Return the files that are sent, and the names of those that are not; no names if `rules` allow no files."""
    files: list[CheckedFile] = []
    left_out = list(mail.left_out)
    for part in mail.files:
        extension = part.name.rpartition(".")[2].lower()
        try:
            if extension not in rules.attachments or len(files) >= SENT_FILES_AT_MOST:
                left_out.append(part.name)
            else:
                files.append(check_file(part.name, part.content))
        except InboundError:
            left_out.append(part.name)
    return tuple(files), tuple(left_out) if rules.attachments else ()


# The frame has no origin, runs nothing and loads nothing but the pictures in it. Links open in a new window.
SANDBOX = ["allow-popups", "allow-popups-to-escape-sandbox"]
_POLICY = {
    "default-src": ["'none'"],
    "img-src": ["data:"],
    "style-src": ["'unsafe-inline'"],
    "base-uri": ["'none'"],
    "frame-ancestors": ["'self'"],
    "sandbox": SANDBOX,
}
# Mails are designed for a white background, even where the page around them is dark.
_HEAD = """<!doctype html><html><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>:root{color-scheme:light}body{margin:12px;background:#fff;color:#1d2129;font:15px/1.6 sans-serif;
overflow-wrap:anywhere}img{max-width:100%;height:auto}pre{white-space:pre-wrap}img[src=""]{display:none}</style>
"""


def answer_with_page(message_id: int) -> HttpResponse:
    """Return the mail's page. The caller checks the rights to see it. Raise Http404 if it is no mail."""
    mail = IncomingMessage.objects.filter(pk=message_id, origin=IncomingMessage.Origin.MAIL)
    message = mail.only("title", "page").first()
    if message is None:
        raise Http404
    body = zlib.decompress(message.page).decode()
    page = f"{_HEAD}<title>{escape(message.title)}</title></head><body>{body}</body></html>"
    headers = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
    response = HttpResponse(page, headers=headers)
    response._csp_replace = _POLICY  # type: ignore[attr-defined]  # the place where django-csp looks
    return response
