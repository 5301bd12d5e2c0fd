"""A whole mail as a page of its own, for a frame on the pages that show it."""

from __future__ import annotations

import zlib

from django.http import Http404, HttpResponse
from django.utils.html import escape

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
    mail = IncomingMessage.objects.filter(pk=message_id, origin=IncomingMessage.Origin.MAIL)
    message = mail.only("title", "text", "page").first()
    if message is None:
        raise Http404
    # Empty of a mail that came before pages were stored.
    body = zlib.decompress(message.page).decode() if message.page else f"<pre>{escape(message.text)}</pre>"
    page = f"{_HEAD}<title>{escape(message.title)}</title></head><body>{body}</body></html>"
    headers = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
    response = HttpResponse(page, headers=headers)
    response._csp_replace = _POLICY  # type: ignore[attr-defined]  # the place where django-csp looks
    return response
