"""Escapes cell values for a message's markup. Pure.

WeCom knows no way to write a mark so that it is shown: what would be one has a look-alike in its place.
"""

from __future__ import annotations

import re

from notifications.models.subscriptions import MessageForm

# Tags of text messages and cards, a mention as <@all>, and what a Markdown message obeys within a line.
_TAG = re.compile(r"<(?=@|[\s/!]*[A-Za-z])")
_MARKDOWN = str.maketrans(
    {"<": "＜", ">": "＞", "*": "＊", "`": "ˋ", "[": "［", "]": "］", "#": "＃", "_": "＿", "~": "～"}
)  # noqa: RUF001  # look-alikes on purpose
# Control characters, also those that turn the direction of reading: PostgreSQL refuses the first, people are fooled
# by the others.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]+")


def escaped(text: str, form: str) -> str:
    """`text` on one line, of which nothing is markup in a message of this form.

    Where the form is empty the line stays plain text: a title is also the subject of a mail, the name of a file and a
    heading of our own pages. It is escaped when a message is composed of it.
    """
    line = _CONTROLS.sub(" ", text)
    if form == MessageForm.MARKDOWN:
        return line.translate(_MARKDOWN)
    return _TAG.sub("＜", line) if form else line  # noqa: RUF001  # see above
