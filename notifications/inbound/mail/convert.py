"""Makes of a mail what a message is made of: title, text or Markdown, the first picture, files. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from notifications.inbound.files import CheckedFile, FileRefusedError, checked
from notifications.inbound.mail import html
from notifications.inbound.mail.parse import ParsedMail
from notifications.inbound.mail.rules import MailRules
from notifications.models import IncomingMessage, Medium, MessageForm
from notifications.reports.templates.escaping import escaped

# What is smaller is an icon or a logo, in pixels.
PICTURE_WIDTH, PICTURE_HEIGHT = 200, 100
# WeCom would show each as a message of its own.
SENT_FILES_AT_MOST = 10


@dataclass(frozen=True, slots=True)
class Converted:
    """`text`: names the files that are not sent, too. `files`: the picture first, where there is one."""

    title: str
    text: str
    markup: str
    link: str
    files: tuple[CheckedFile, ...]


def convert(mail: ParsedMail, rules: MailRules, form: str) -> Converted:
    """What `rules` take of the mail. `form`: of the message, empty for automatic: with a picture a news card, which
    knows no Markdown."""
    picture = _picture(mail) if rules.takes_picture else None
    is_markdown = form == MessageForm.MARKDOWN or (not form and picture is None)
    text, markup = _text(mail, rules, form, is_markdown=is_markdown) if rules.takes_text else ("", "plain")
    files, left_out = files_of(mail, rules)
    if line := not_sent(left_out):
        text = f"{text}\n\n{escaped(line, MessageForm.MARKDOWN) if markup == 'markdown' else line}".strip()
    return Converted(
        title=mail.subject,
        text=text,
        markup=markup,
        link=html.first_link(mail.html, mail.text),
        files=((picture,) if picture else ()) + files,
    )


def not_sent(names: Sequence[str]) -> str:
    """A line that names the files; empty where there are none."""
    return _("Not sent: %(names)s") % {"names": ", ".join(names)} if names else ""


def _text(mail: ParsedMail, rules: MailRules, form: str, *, is_markdown: bool) -> tuple[str, str]:
    """The words without their footer, and their markup. Cards have no room for addresses: they lead to the page."""
    text, markup = "", IncomingMessage.Markup.PLAIN
    if is_markdown and (text := html.markdown(mail.html)):
        markup = IncomingMessage.Markup.MARKDOWN
    elif not is_markdown:
        text = html.html_text(mail.html, with_links=form == MessageForm.TEXT)
    markers = [*rules.footers, *(escaped(marker, MessageForm.MARKDOWN) for marker in rules.footers)]
    return html.before_marker(text or mail.text, markers), markup


def _picture(mail: ParsedMail) -> CheckedFile | None:
    """The first in the mail that is no icon, as one that WeCom shows."""
    for part in mail.pictures:
        try:
            found = checked(part.name, part.content)
        except FileRefusedError:
            continue
        if found.kind == Medium.Kind.PICTURE and found.width >= PICTURE_WIDTH and found.height >= PICTURE_HEIGHT:
            return found
    return None


def files_of(mail: ParsedMail, rules: MailRules) -> tuple[tuple[CheckedFile, ...], tuple[str, ...]]:
    """Those that are sent, and the names of those that are not."""
    files: list[CheckedFile] = []
    left_out = list(mail.left_out)
    for part in mail.files:
        extension = part.name.rpartition(".")[2].lower()
        try:
            if extension not in rules.attachments or len(files) >= SENT_FILES_AT_MOST:
                left_out.append(part.name)
            else:
                files.append(checked(part.name, part.content))
        except FileRefusedError:
            left_out.append(part.name)
    return tuple(files), tuple(left_out) if rules.attachments else ()
