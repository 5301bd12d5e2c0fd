"""Template tags of the employees' page frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template
from django.urls import reverse

from accounts.authentication.flow import surface_of
from accounts.authentication.sessions import CORP_KEY
from accounts.views import errors

if TYPE_CHECKING:
    from accounts.views.errors import Tab

register = template.Library()


@register.simple_tag
def tabs() -> list[Tab]:
    return list(errors.tabs)


@register.simple_tag(takes_context=True)
def share_off_url(context: dict[str, Any]) -> str:
    """Where the page's script has its address signed to take WeCom's sharing out of the menu; else empty.

    Inside WeCom, for somebody who came through a company; there is no request on some error pages.
    """
    request = context.get("request")
    if request is None or not hasattr(request, "session"):
        return ""
    is_inside = surface_of(request.headers.get("User-Agent", "")).is_inside_wecom
    return reverse("wecom-signature") if is_inside and CORP_KEY in request.session else ""
