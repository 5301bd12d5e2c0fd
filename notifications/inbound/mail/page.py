"""A whole mail as a page of its own, for a frame on the pages that show it."""

from __future__ import annotations

import zlib

from django.http import Http404, HttpResponse
from django.utils.html import escape
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _

from notifications.inbound.mail import html
from notifications.inbound.mail.parse import UnreadableMailError, parse
from notifications.models import IncomingMessage

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
