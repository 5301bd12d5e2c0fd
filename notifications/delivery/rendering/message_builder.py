"""Builds the exact bytes of a message, and draws WeCom's Markdown as HTML. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from integrations.clients.wecom import builders, cards
from integrations.core.http import choose_safe_path
from notifications.charts.drawing import CARD_RATIO
from notifications.models import MessageForm
from notifications.reports.templates.values import escape_markup
from notifications.sources import Figure

# A card's description may hold tags. Ours has only <br>; other text that looks like a tag is shown as text.
_NO_TAGS = str.maketrans({"<": "＜", ">": "＞"})  # full-width on purpose
# Markup of each form: tags, whose text may span lines, and marks within a line. No cut falls inside one.
_MARKS = {
    MessageForm.TEXTCARD: re.compile(r"<br>"),
    MessageForm.TEXT: re.compile(r"</?a\b[^<>\n]*>"),
    MessageForm.MARKDOWN: re.compile(r"</?font\b[^<>\n]*>|\[[^\[\]\n]+\]\([^\s()]+\)|\*\*|`"),
}
# The closing mark of each opening mark.
_ENDS = {"<a": "</a>", "<font": "</font>", "**": "**", "`": "`"}
# Forms that show the key figures beside the text; those of other forms are on the message's page only.
FORMS_WITH_FIGURES = (MessageForm.TEXT_NOTICE, MessageForm.NEWS_NOTICE)
_FILES = frozenset({MessageForm.XLSX, MessageForm.CSV, MessageForm.FILE})
# A placeholder for the media_id of a message that is being prepared.
NOT_UPLOADED = "-"
# Length of any message's title on our own pages and in mails.
TITLE_CHARACTERS = 128
# WeCom's recommended lengths for cards, in characters. WeCom shortens longer texts, which must not happen to a figure.
CARD_TITLE, CARD_DESCRIPTION, CARD_TEXT = 36, 44, 160
EMPHASIS_TITLE, EMPHASIS_TEXT = 14, 22
ITEM_NAME, ITEM_VALUE = 5, 30
VERTICAL_TITLE = 38


@dataclass(frozen=True)
class Words:
    """The words of a message. `url`: the page that shows the whole message; its path is a digest, which makes the body
    unique.

    `title`: plain text; `text`: in the markup of the message's form, with escaped cell values. `figures`: for cards,
    which show the first one large. `picture_url`: of the picture, if WeCom fetches it by address.
    """

    title: str
    text: str
    url: str
    figures: tuple[Figure, ...] = ()
    picture_url: str = ""
    task_id: str = ""


def tidy_title(title: str) -> str:
    """Return the title on one line, without characters that change the direction of reading."""
    return " ".join(builders.drop_direction_marks(title).split())


def tidy_text(text: str) -> str:
    """Return the text stripped, with plain line ends, without characters that change the direction of reading."""
    return builders.drop_direction_marks(text).replace("\r\n", "\n").replace("\r", "\n").strip()


def build_body(form: MessageForm, words: Words, *, agentid: int, userids: Sequence[str]) -> bytes:
    """Return the bytes to send to `userids` (1 to 1000). A long text is cut between two characters; the link stays.

    Raises MessageError for content that cannot be a message, such as an empty title.
    """
    message = builders.build_app_message(
        agentid=agentid, userids=userids, content=_build_content(form, words), drops_duplicates=True
    )
    return builders.encode_body(message)


def _build_content(form: MessageForm, words: Words) -> builders.Content:
    match form:
        case MessageForm.TEXT:
            # The title is plain text that may hold a cell value: escape it in a message that has markup.
            head, link = escape_markup(words.title, form), f'<a href="{words.url}">{_("View all")}</a>'
            text = _fit_around(f"{head}\n", words.text, f"\n{link}", builders.TEXT_BYTES, MessageForm.TEXT)
            return builders.build_text_content(text)
        case MessageForm.MARKDOWN:
            return builders.build_markdown_content(_write_markdown(words, builders.MARKDOWN_BYTES))
        case MessageForm.TEXTCARD:
            # WeCom wants a description.
            with_breaks = (words.text or words.title).translate(_NO_TAGS).replace("\n", "<br>")
            return builders.build_textcard_content(
                title=builders.clip_utf8(words.title, builders.TITLE_BYTES),
                description=_cut_text(with_breaks, builders.DESCRIPTION_BYTES, MessageForm.TEXTCARD),
                url=words.url,
                button_text=pgettext("button of a card, at most 4 characters", "View"),
            )
        case MessageForm.NEWS:
            return builders.build_news_content(
                title=builders.clip_utf8(words.title, builders.TITLE_BYTES),
                description=builders.clip_utf8(words.text, builders.DESCRIPTION_BYTES, make_cut_suffix()),
                url=words.url,
                picture_url=words.picture_url,
            )
        case MessageForm.TEXT_NOTICE | MessageForm.NEWS_NOTICE:
            return _build_card(form, words)
        case MessageForm.IMAGE:
            return builders.build_media_content("image", NOT_UPLOADED)
        case MessageForm.XLSX | MessageForm.CSV | MessageForm.FILE:
            return builders.build_media_content("file", NOT_UPLOADED)


def _write_markdown(words: Words, limit_bytes: int) -> str:
    head = escape_markup(words.title, MessageForm.MARKDOWN)
    link = f"\n[{_('View all')}]({words.url})" if words.url else ""
    return _fit_around(f"**{head}**\n", words.text, link, limit_bytes, MessageForm.MARKDOWN)


def _build_card(form: MessageForm, words: Words) -> builders.Content:
    """Build a card with the figures as lines. TEXT_NOTICE: the first figure large, and the text above the others;
    NEWS_NOTICE: a large picture, which needs `words.picture_url`."""
    title, jumps = clip_text(words.title, CARD_TITLE), [(_("View all"), words.url)]
    head = cards.Head(title=title, task_id=words.task_id, url=words.url)
    if form == MessageForm.TEXT_NOTICE:
        # Only whole words are large, never half a number. A figure without a word that fits stays among the others.
        emphasis, figures, large = ("", ""), words.figures, ""
        remaining = figures[0].words.split() if figures else []
        while remaining and len(f"{large} {remaining[0]}".strip()) <= EMPHASIS_TITLE:
            large = f"{large} {remaining.pop(0)}".strip()
        if large:
            emphasis = large, clip_text(" ".join([figures[0].caption, *remaining]), EMPHASIS_TEXT)
            figures = figures[1:]
        return cards.build_text_notice(
            head,
            emphasis=emphasis,
            sub_title=clip_text(words.text, CARD_TEXT, make_cut_suffix()),
            lines=_build_lines(figures),
            jumps=jumps,
        )
    first, _end, rest = words.text.partition("\n")
    is_short = len(first) <= CARD_DESCRIPTION
    text = rest.strip() if is_short else words.text
    paragraphs = [(text, "")] if text else []
    if len(text) > VERTICAL_TITLE:
        paragraphs = [(_("Summary"), clip_text(text, CARD_TEXT, make_cut_suffix()))]
    return cards.build_news_notice(
        replace(head, description=first if is_short else ""),
        picture_url=words.picture_url,
        aspect_ratio=CARD_RATIO,
        lines=_build_lines(words.figures),
        paragraphs=paragraphs,
        jumps=jumps,
    )


def _build_lines(figures: Sequence[Figure]) -> list[cards.Pair]:
    """Build a line for each figure. WeCom shows six; the last one tells how many more there are."""
    at_most = cards.LINES_AT_MOST
    shown = figures if len(figures) <= at_most else figures[: at_most - 1]
    lines = [(clip_text(figure.caption, ITEM_NAME) or "–", clip_text(figure.words, ITEM_VALUE)) for figure in shown]
    if len(shown) < len(figures):
        lines.append(("…", _("%(count)d more: View all") % {"count": len(figures) - len(shown)}))
    return lines


def make_cut_suffix() -> str:
    """Return the suffix of a text that was cut."""
    return "… " + _("View all")


def clip_text(text: str, characters: int, suffix: str = "…") -> str:
    """Return `text` in at most so many characters; a cut ends with `suffix`."""
    return text if len(text) <= characters else text[: max(0, characters - len(suffix))] + suffix


def build_robot_body(form: MessageForm, words: Words) -> bytes:
    """Return the bytes for a group robot, in this form or the closest that robots have. `words.url` may be empty: only
    recipients can open a message's own page, and the members of a group are unknown. A card then leads to its picture.
    A picture or file is added when the message is prepared."""
    url = words.url or words.picture_url
    if form == MessageForm.IMAGE:
        return builders.encode_body({"msgtype": "image", "image": {"base64": NOT_UPLOADED, "md5": NOT_UPLOADED}})
    if form in _FILES:
        return builders.encode_body(builders.build_robot_message(builders.build_media_content("file", NOT_UPLOADED)))
    if form in _ROBOT_FORMS and url:
        return builders.encode_body(builders.build_robot_message(_build_content(form, replace(words, url=url))))
    # Markdown is made only from text written as Markdown. Other text could turn into links or mentions such as <@all>,
    # which robots obey, and alerts bring text from outside.
    if form == MessageForm.MARKDOWN:
        limit_bytes = builders.ROBOT_MARKDOWN_BYTES
        content = builders.build_markdown_content(_write_markdown(words, limit_bytes), limit_bytes)
        payload = builders.build_robot_message(content)
    else:
        tail = f"\n{words.url}" if words.url else ""
        text = f"{words.title}\n{words.text}".translate(_NO_TAGS)
        payload = builders.build_robot_text(_fit_around("", text, tail, builders.TEXT_BYTES))
    return builders.encode_body(payload)


_ROBOT_FORMS = frozenset({MessageForm.NEWS, MessageForm.TEXT_NOTICE, MessageForm.NEWS_NOTICE})


# The form to use without the picture or file.
PLAIN_FORMS = {
    MessageForm.NEWS: MessageForm.TEXTCARD,
    MessageForm.IMAGE: MessageForm.TEXTCARD,
    MessageForm.NEWS_NOTICE: MessageForm.TEXT_NOTICE,
    **dict.fromkeys(_FILES, MessageForm.TEXTCARD),
}


def _fit_around(head: str, text: str, tail: str, limit_bytes: int, form: MessageForm | None = None) -> str:
    """Cut `text` so that it fits between `head` and `tail`. `form`: the form whose markup the text may contain. Raises
    MessageError if head and tail leave no room."""
    room = limit_bytes - len(head.encode()) - len(tail.encode())
    if room < len("…".encode()):
        raise builders.MessageError("url", f"leaves no room for a text within {limit_bytes} bytes")
    return head + _cut_text(text, room, form) + tail


def _cut_text(text: str, room: int, form: MessageForm | None) -> str:
    """Cut `text` to at most `room` bytes, with an ellipsis, but not inside a mark of markup; close open markup."""
    plain = builders.clip_utf8(text, room)
    if form is None or plain == text:
        return plain
    spare = len("…".encode())
    while True:
        kept = builders.clip_utf8(text, max(0, room - spare), "")
        found = [mark for mark in _MARKS[form].finditer(text) if mark.start() < len(kept)]
        if found and found[-1].end() > len(kept):
            kept = text[: found.pop().start()]
        line_start, ends = kept.rfind("\n") + 1, list[str]()
        for mark in found:
            end = _ENDS.get(mark[0].partition(" ")[0].rstrip(">"))
            if mark[0] in ends:
                del ends[ends.index(mark[0]) :]
            elif end and (end.startswith("<") or mark.start() >= line_start):
                ends.append(end)
        cut = f"{kept}…{''.join(reversed(ends))}"
        excess = len(cut.encode()) - room
        if excess <= 0:
            return cut
        spare += excess


# --- WeCom's Markdown as HTML on our own page, escaped first. Pure ---

_HEADING = re.compile(r"(#{1,6})\s+(.+)")
_QUOTE = re.compile(r"&gt;\s?(.*)")
# Marks of Markdown and tags of text messages, left out of excerpts in lists; the label of a link stays.
MARKUP = re.compile(
    r"^#{1,6}\s|^>\s?|\*\*|`|</?(?:a|font)\b[^>]*>|\[(?=[^\[\]\n]+\]\(https?:)|\]\(https?://[^\s()]+\)", re.MULTILINE
)
# These patterns run on escaped text, so their output cannot end an attribute or open a tag.
_INLINE = (
    (re.compile(r"\[([^\[\]\n]+)\]\((https?://[^\s()]+)\)"), r'<a href="\2" rel="noopener noreferrer">\1</a>'),
    (re.compile(r"\*\*([^*\n]+)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"`([^`\n]+)`"), r"<code>\1</code>"),
    (
        re.compile(r"&lt;font color=&quot;(info|comment|warning)&quot;&gt;(.*?)&lt;/font&gt;"),
        r'<span class="font-\1">\2</span>',
    ),
)


def render_markdown(text: str, form: str) -> SafeString:
    """Return `text` as HTML: Markdown of a Markdown message, paragraphs of any other."""
    is_markdown = form == MessageForm.MARKDOWN
    # Adjacent lines of one kind form a block; empty lines separate blocks.
    groups: list[tuple[str, list[str]]] = []
    for line in str(escape(text)).split("\n"):
        kind = "text" if line.strip() else ""
        if is_markdown and _HEADING.match(line):
            kind = "heading"
        elif is_markdown and _QUOTE.match(line):
            kind = "quote"
        if not groups or groups[-1][0] != kind:
            groups.append((kind, []))
        groups[-1][1].append(line)
    blocks = list[str]()
    for kind, lines in groups:
        match kind:
            case "heading":  # the page's own title is its h1
                blocks += [_HEADING.sub(lambda found: f"<h2>{_render_inline(found[2])}</h2>", line) for line in lines]
            case "quote":
                quoted = [_render_inline(_QUOTE.sub(r"\1", line, count=1)) for line in lines]
                blocks.append(f"<blockquote>{'<br>'.join(quoted)}</blockquote>")
            case "text":
                blocks.append(f"<p>{'<br>'.join(map(_render_inline, lines) if is_markdown else lines)}</p>")
    return mark_safe("\n".join(blocks))  # noqa: S308  # made of escaped text and our own tags


def draw_markdown(text: str) -> SafeString:
    """Return Markdown as HTML line by line, as WeCom's phone draws it: no lines are joined, and empty ones stay."""
    drawn = []
    for line in str(escape(text)).split("\n"):
        if (heading := _HEADING.fullmatch(line.strip())) is not None:
            drawn.append(f'<div class="phone-h{len(heading[1])}">{_render_inline(heading[2])}</div>')
        elif (quote := _QUOTE.fullmatch(line.strip())) is not None:
            drawn.append(f'<div class="phone-quote">{_render_inline(quote[1])}</div>')
        else:
            drawn.append(f"<div>{_render_inline(line) or '&nbsp;'}</div>")
    return mark_safe("".join(drawn))  # noqa: S308  # made of escaped text and our own tags


def find_link_target(link: str) -> str:
    """Return `link` if it is an http or https address or a page of this site, else an empty string."""
    if link.startswith("/"):
        return link if choose_safe_path(link) == link else ""
    try:
        parts = urlsplit(link)
    except ValueError:
        return ""
    return link if parts.scheme in {"http", "https"} and parts.netloc else ""


def _render_inline(line: str) -> str:
    """Render one line: in WeCom markup does not span lines."""
    for pattern, replacement in _INLINE:
        line = pattern.sub(replacement, line)
    return line
