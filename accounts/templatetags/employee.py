"""Template tags of the employees' page frame."""

from __future__ import annotations

from typing import Any

from django import template
from django.urls import reverse

from accounts.authentication.flow import detect_surface
from accounts.authentication.sessions import CORP_KEY
from accounts.views import errors

register = template.Library()


@register.simple_tag
def tabs() -> list[tuple[str, Any]]:
    return list(errors.tabs)


@register.simple_tag(takes_context=True)
def share_off_url(context: dict[str, Any]) -> str:
    """Return the URL that signs the page's address, so that its script can hide WeCom's sharing menu; else empty. It is
    for people inside WeCom who signed in through a company. Some error pages have no request."""
    request = context.get("request")
    if request is None or not hasattr(request, "session"):
        return ""
    is_inside = detect_surface(request.headers.get("User-Agent", "")).is_inside_wecom
    return reverse("wecom-signature") if is_inside and CORP_KEY in request.session else ""
