"""From a report's words to the exact bytes of a message. Pure: values in, bytes out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from integrations.wecom import messages, robots
from notifications.models import MessageForm

OPTIONS = messages.Options(duplicate_check_seconds=messages.DUPLICATE_CHECK_SECONDS)
# A card's description knows tags. Ours has only <br>: what looks like a tag in the text is shown, not obeyed.
_NO_TAGS = str.maketrans({"<": "＜", ">": "＞"})  # noqa: RUF001  # full-width on purpose
_CUT_BREAK = re.compile(r"<(b(r)?)?…$")


@dataclass(frozen=True)
class Words:
    """What a message says. `url` is the page that shows it whole; it carries the mark that makes the body unique."""

    title: str
    text: str
    url: str


def tidy_title(title: str) -> str:
    """A title on one line."""
    return " ".join(title.split())


def tidy_text(text: str) -> str:
    """A text with plain line ends and no space around it."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def body(form: MessageForm, words: Words, *, agentid: int, userids: Sequence[str]) -> bytes:
    """The bytes to send to `userids` (1 to 1000). What is too long is cut between two characters; the link stays.

    Raises messages.MessageError for what cannot be a message, as an empty title.
    """
    to = messages.Recipients(userids=userids)
    payload = _BUILDERS[form](words, agentid, to)
    return messages.body_bytes(payload)


def _text(words: Words, agentid: int, to: messages.Recipients) -> messages.Payload:
    label = _("View all")
    link = f'<a href="{words.url}">{label}</a>'
    content = _around(f"{words.title}\n", words.text, f"\n{link}", messages.TEXT_BYTES)
    return messages.text_message(agentid=agentid, to=to, content=content, options=OPTIONS)


def _markdown(words: Words, agentid: int, to: messages.Recipients) -> messages.Payload:
    label = _("View all")
    link = f"[{label}]({words.url})"
    content = _around(f"**{words.title}**\n", words.text, f"\n{link}", messages.MARKDOWN_BYTES)
    return messages.markdown_message(agentid=agentid, to=to, content=content, options=OPTIONS)


def _textcard(words: Words, agentid: int, to: messages.Recipients) -> messages.Payload:
    broken = words.text.translate(_NO_TAGS).replace("\n", "<br>")
    description = messages.clip_utf8(broken, messages.TEXTCARD_DESCRIPTION_BYTES).text
    return messages.textcard_message(
        agentid=agentid,
        to=to,
        title=messages.clip_utf8(words.title, messages.TEXTCARD_TITLE_BYTES).text,
        description=_CUT_BREAK.sub("…", description),
        url=words.url,
        button_text=pgettext("button of a card, at most 4 characters", "View"),
        options=OPTIONS,
    )


def robot_body(form: MessageForm, words: Words) -> bytes:
    """The bytes for a group's robot; a card becomes Markdown, which is the closest that it knows. `words.url` may be
    empty: a message's own page is for its recipients, and a group has none that we know."""
    label = _("View all")
    if form == MessageForm.TEXT:
        tail = f"\n{words.url}" if words.url else ""
        payload = robots.robot_text(_around(f"{words.title}\n", words.text, tail, robots.TEXT_BYTES))
    else:
        tail = f"\n[{label}]({words.url})" if words.url else ""
        payload = robots.robot_markdown(_around(f"**{words.title}**\n", words.text, tail, robots.MARKDOWN_BYTES))
    return messages.body_bytes(payload)


def mail_body(words: Words, *, sender: str, to: str, message_id: str) -> bytes:
    """What a mail is made of at each attempt (notifications.channels.mail)."""
    text = f"{words.text}\n\n{_('View all')}: {words.url}\n"
    mail = {"from": sender, "to": to, "subject": words.title, "text": text, "message_id": message_id}
    return json.dumps(mail, ensure_ascii=False).encode()


_BUILDERS = {MessageForm.TEXT: _text, MessageForm.MARKDOWN: _markdown, MessageForm.TEXTCARD: _textcard}


def _around(head: str, text: str, tail: str, limit_bytes: int) -> str:
    """`text` between `head` and `tail`, cut so that the whole fits."""
    room = limit_bytes - len(head.encode()) - len(tail.encode())
    return head + messages.clip_utf8(text, room).text + tail
