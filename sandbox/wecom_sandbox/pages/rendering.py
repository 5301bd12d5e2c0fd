"""A page from a template, in the reader's language, under a strict Content-Security-Policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aiohttp import web
from django.template import Engine
from django.utils import translation

from wecom_sandbox.pages import browser

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
# The sandbox has templates and libraries of its own, whatever settings it runs under.
_ENGINE = Engine(dirs=[str(TEMPLATES)], libraries={"i18n": "django.templatetags.i18n"})
# Pictures of messages may stand on the site under development; nothing else is loaded from anywhere.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "img-src 'self' data: http://localhost:* http://127.0.0.1:*; form-action 'self' http: https:; "
)


def page(
    request: web.Request,
    template: str,
    context: Mapping[str, object] | None = None,
    *,
    status: int = 200,
    embeddable: bool = False,
    frames: bool = False,
) -> web.Response:
    """`template` below templates/sandbox/.

    `embeddable`: other sites may show it in a frame (the QR page); `frames`: it shows pages of the sandbox in frames.
    """
    code = browser.language(request)
    other = "en" if code != "en" else "zh-hans"
    query = {name: value for name, value in request.query.items() if name != "lang"}
    values = {"language": code, "other_language": str(request.rel_url.with_query({**query, "lang": other}))}
    with translation.override(code):
        text = _ENGINE.render_to_string(f"sandbox/{template}", {**values, **(context or {})})
    response = web.Response(text=text, status=status, content_type="text/html")
    ancestors = "*" if embeddable else "'none'"
    frame_rule = "frame-src 'self'; " if frames else ""
    response.headers["Content-Security-Policy"] = f"{_POLICY}{frame_rule}frame-ancestors {ancestors}"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    browser.remember_language(request, response)
    return response
