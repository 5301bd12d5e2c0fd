"""A page from a template, in the reader's language, under a strict Content-Security-Policy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from urllib.parse import quote

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from wecom_sandbox.pages import browser
from wecom_sandbox.pages.translation import translations

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
# Pictures of messages may stand on the site under development; nothing else is loaded from anywhere.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "img-src 'self' data: http://localhost:* http://127.0.0.1:*; form-action 'self' http: https:; "
)


@cache
def environment(language: str) -> Environment:
    """What the templates of a language are drawn with: everything is escaped, and a name without a value fails."""
    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
    )
    found.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]  # by i18n
    found.filters["quoted"] = partial(quote, safe="")
    found.filters["lines"] = _lines
    return found


def _lines(text: object) -> Markup:
    """With its line ends shown."""
    return Markup("<br>").join(escape(line) for line in str(text).splitlines())


def page(
    request: web.Request,
    template: str,
    context: Mapping[str, object] | None = None,
    *,
    status: int = 200,
    embeddable: bool = False,
    frames: bool = False,
) -> web.Response:
    """`template` below templates/.

    `embeddable`: other sites may show it in a frame (the QR page); `frames`: it shows pages of the sandbox in frames.
    """
    code = browser.language(request)
    other = "en" if code != "en" else "zh-hans"
    query = {name: value for name, value in request.query.items() if name != "lang"}
    values = {"language": code, "other_language": str(request.rel_url.with_query({**query, "lang": other}))}
    text = environment(code).get_template(template).render(values, **(context or {}))
    response = web.Response(text=text, status=status, content_type="text/html")
    ancestors = "*" if embeddable else "'none'"
    frame_rule = "frame-src 'self'; " if frames else ""
    response.headers["Content-Security-Policy"] = f"{_POLICY}{frame_rule}frame-ancestors {ancestors}"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    browser.remember_language(request, response)
    return response
