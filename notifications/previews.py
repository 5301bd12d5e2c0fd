"""How a message will look, made from the very bytes that would be sent."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from integrations import links
from integrations.models import Corp, SiteAddress
from integrations.wecom.messages import MessageError
from notifications import composing, markup
from notifications.freezing import RenderingError, words_of
from notifications.models import MessageForm, Report
from notifications.reports.content import Content

_LINK = re.compile(r"&lt;a href=&quot;(https?://[^\s&]+)&quot;&gt;([^\n]*?)&lt;/a&gt;")


@dataclass(frozen=True)
class Preview:
    """One message as WeCom draws it. `title` and `button` belong to cards alone."""

    form: MessageForm
    content: SafeString
    title: str
    button: str
    byte_count: int
    is_cut: bool


def preview(report: Report, form: MessageForm) -> Preview:
    """The message of a `report` without data. Raises RenderingError, with a sentence, for what cannot be one."""
    content = Content(composing.tidy_title(report.title), composing.tidy_text(report.body))
    return preview_of(content, form, report.corp)


def preview_of(content: Content, form: MessageForm, corp: Corp | None) -> Preview:
    """The message of a content. `corp`: whose people get it; None: people of every company. Raises RenderingError."""
    words = words_of(content, _address(corp), "0" * 32)
    try:
        body = composing.body(form, words, agentid=1, userids=["preview"])
    except MessageError as error:
        raise RenderingError.of(error) from error
    return shown(form, body, text=words.text)


def shown(form: MessageForm, body: bytes, *, text: str) -> Preview:
    """Bytes that were, or would be, sent. `text`: the whole text, to tell whether it was cut."""
    content = json.loads(body)[form.value]
    if form == MessageForm.TEXTCARD:
        description = content["description"]
        html = mark_safe(str(escape(description)).replace("&lt;br&gt;", "<br>"))  # noqa: S308  # escaped, but for breaks
        is_cut = description.endswith("…") and not text.endswith("…")
        return Preview(form, html, content["title"], content.get("btntxt", ""), len(body), is_cut)
    whole = content["content"]
    html = markup.shown(whole, form) if form == MessageForm.MARKDOWN else _with_link(whole)
    return Preview(form, html, "", "", len(body), text not in whole)


def _with_link(content: str) -> SafeString:
    linked = _LINK.sub(r'<a href="\1" rel="noopener noreferrer">\2</a>', str(escape(content)))
    return mark_safe(linked.replace("\n", "<br>"))  # noqa: S308  # escaped, but for the link that we wrote ourselves


def _address(corp: Corp | None) -> SiteAddress:
    return SiteAddress.objects.default() if corp is None else links.site_address_for(corp)
