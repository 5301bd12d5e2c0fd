"""The Content-Security-Policy of every answer: settings.CONTENT_SECURITY_POLICY, and what sign-in needs beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from csp.middleware import CSPMiddleware, PolicyParts

from integrations import origins

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponseBase


class ContentPolicyMiddleware(CSPMiddleware):
    """Lets the forms of a page end where sign-in begins.

    Why? Chromium holds each redirect after a form's POST against `form-action`, not the first address only. Inside
    WeCom a session that has ended turns any saved form, and the language switch, into a silent sign-in: login page,
    our start, open.weixin.qq.com. Without this the browser would stay where it is and say nothing.
    """

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if not report_only and response.headers.get("Content-Type", "").startswith("text/html"):
            allowed = dict(parts.update or {})
            allowed["form-action"] = [*allowed.get("form-action", ()), *origins.of_sign_in().leaving]
            parts.update = allowed
        return parts


def allow(response: HttpResponseBase, directive: str, sources: Iterable[str]) -> None:
    """Let this one answer take `sources` in `directive`, beside what all answers may."""
    update: dict[str, list[str]] = getattr(response, "_csp_update", {})
    added = {**update, directive: [*update.get(directive, ()), *sources]}
    response._csp_update = added  # type: ignore[attr-defined]  # the place where django-csp looks
