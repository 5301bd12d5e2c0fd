"""A whole mail, in a frame on the page of the message that was made of it."""

from __future__ import annotations

import zlib

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.html import escape
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.cache import cache_control
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_safe

from accounts.models import User
from notifications.delivery.runs import inbox
from notifications.inbound.mail import html
from notifications.inbound.mail.parse import UnreadableMailError, parse
from notifications.models import IncomingMessage, Receipt, Run

# The frame that shows it has no origin and runs nothing; it loads nothing but the pictures that stand in it. Links open
# beside it.
SANDBOX = ["allow-popups", "allow-popups-to-escape-sandbox"]
_POLICY = {
    "default-src": ["'none'"],
    "img-src": ["data:"],
    "style-src": ["'unsafe-inline'"],
    "base-uri": ["'none'"],
    "frame-ancestors": ["'self'"],
    "sandbox": SANDBOX,
}
# As mails are meant to look: on white paper, whatever the page around it does.
_HEAD = """<!doctype html><html><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>:root{color-scheme:light}body{margin:12px;background:#fff;color:#1d2129;font:15px/1.6 sans-serif;
overflow-wrap:anywhere}img{max-width:100%;height:auto}pre{white-space:pre-wrap}img[src=""]{display:none}</style>
"""


@require_safe
@login_required
@xframe_options_sameorigin
@cache_control(private=True, no_store=True)
def whole_mail(request: HttpRequest, mark: str) -> HttpResponse:
    """The mail of a message, for the people it was sent to. Raises Http404."""
    receipt = inbox.receipt_for(request.user, mark=mark) if isinstance(request.user, User) else None
    message_id = None if receipt is None else mail_of(receipt)
    if message_id is None:
        raise Http404
    return page_of(message_id)


def mail_of(receipt: Receipt) -> int | None:
    """The message that was made of a mail; None for any other message."""
    runs = Run.objects.filter(pk=receipt.run_id, message__origin=IncomingMessage.Origin.MAIL)
    return runs.values_list("message_id", flat=True).first()


def page_of(message_id: int) -> HttpResponse:
    """For whoever may see the message. Raises Http404 where it was no mail."""
    original = IncomingMessage.objects.filter(pk=message_id).values_list("original", flat=True).first()
    if not original:
        raise Http404
    headers = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
    response = HttpResponse(_page(bytes(original)), headers=headers)
    response._csp_replace = _POLICY  # type: ignore[attr-defined]  # the place where django-csp looks
    return response


def _page(original: bytes) -> str:
    try:
        mail = parse(zlib.decompress(original))
    except UnreadableMailError:  # what is read today was once accepted by other limits
        return f"{_HEAD}<p>{escape(_('This mail cannot be shown.'))}</p>"
    shown = mark_safe(html.shown(mail.html, mail.text, mail.pictures))  # noqa: S308  # cleaned there
    return f"{_HEAD}<title>{escape(mail.subject)}</title></head><body>{shown}</body></html>"
