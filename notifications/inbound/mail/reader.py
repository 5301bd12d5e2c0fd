"""Reads each mail in a process of its own, which may use one second of processor time.

No list of hostile contents is complete: parsers of MIME and HTML need time and memory that grow with the square of some
nesting, and they hold the interpreter's lock. The process hands over more of the mail at each step. If it is ended
early, the last step handed over becomes the message.
"""

from __future__ import annotations

import logging
import multiprocessing
import resource
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from django.utils import translation
from django.utils.html import escape
from django.utils.translation import gettext as _

from notifications.inbound.content import CheckedFile
from notifications.inbound.mail import html
from notifications.inbound.mail.html import convert_mail
from notifications.inbound.mail.parse import MailRules, ParsedMail, UnreadableMailError, parse_mail
from notifications.models import IncomingMessage

logger = logging.getLogger(__name__)

PROCESSOR_SECONDS = 1
# Memory for the program itself, and for each byte of a mail.
MEMORY_BYTES, MEMORY_PER_BYTE = 768 * 1024**2, 12
# Bytes read of a mail that cannot be read whole.
BEGINNING_BYTES = 128 * 1024
# On a busy machine one second of processor time takes longer.
WAIT_SECONDS = 60

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["notifications.inbound.mail.fork_server"])


@dataclass(frozen=True, slots=True)
class MailReading:
    """Result of reading a mail: an unsaved message and its files. `page`: body of the page that shows the whole
    mail."""

    message: IncomingMessage
    files: tuple[CheckedFile, ...]
    page: str
    is_automatic: bool
    is_forwarded_by_us: bool


def read_mail(content: bytes, rules: MailRules, form: str) -> MailReading:
    """Read a mail within the limits, in the current language. Raise UnreadableMailError, and OSError if no process can
    be started."""
    receiver, sender = _PROCESSES.Pipe(duplex=False)
    arguments = (sender, content, rules, form, translation.get_language())
    process = _PROCESSES.Process(target=_send_readings, args=arguments)
    process.start()
    sender.close()
    reading, error = None, UnreadableMailError("it takes too long")
    # An OSError means that the process ended in the middle of a step.
    with receiver, suppress(EOFError, OSError):
        while receiver.poll(WAIT_SECONDS):
            step = receiver.recv()
            reading, error = (step, error) if isinstance(step, MailReading) else (reading, step)
        process.kill()
    process.join()
    if process.exitcode:
        logger.warning("a mail of %d bytes costs too much to read it whole: %d", len(content), process.exitcode)
    process.close()
    if reading is None:
        raise error
    return reading


def _send_readings(sender: Connection, content: bytes, rules: MailRules, form: str, language: str) -> None:
    """Send a reading for each step, or UnreadableMailError: the beginning as plain text, the whole mail as plain text
    with its files, and the mail with its HTML. Runs in the mail's own process."""
    memory = MEMORY_BYTES + MEMORY_PER_BYTE * len(content)
    for limit, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, PROCESSOR_SECONDS),
    ):
        resource.setrlimit(limit, (most, most))
    translation.activate(language)
    try:
        if len(content) > BEGINNING_BYTES:
            mail = parse_mail(content[:BEGINNING_BYTES])
            note = _(
                "Reading the whole mail would take too long: this is its beginning, without pictures and attachments."
            )
            text = f"{mail.text or html.strip_tags(mail.html)}\n\n{note}".strip()
            beginning = replace(mail, text=text, pictures=(), files=(), left_out=())
            sender.send(_make_plain_reading(beginning, rules, form))
        mail = parse_mail(content)
        sender.send(_make_plain_reading(mail, rules, form))
        page = html.render_page(mail.html, mail.text, mail.pictures)
        sender.send(MailReading(*convert_mail(mail, rules, form), page, mail.is_automatic, mail.is_forwarded_by_us))
    except UnreadableMailError as error:
        sender.send(error)
    except (MemoryError, RecursionError):
        raise SystemExit(1) from None


def _make_plain_reading(mail: ParsedMail, rules: MailRules, form: str) -> MailReading:
    mail = replace(mail, html="", text=mail.text or html.strip_tags(mail.html))
    page = f"<pre>{escape(mail.text)}</pre>"
    return MailReading(*convert_mail(mail, rules, form), page, mail.is_automatic, mail.is_forwarded_by_us)
