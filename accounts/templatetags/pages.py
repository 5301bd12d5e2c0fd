"""Filters and tags that every template has without loading them (settings.TEMPLATES)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from accounts.authentication.flow import detect_surface
from accounts.authentication.sessions import CORP_KEY
from accounts.views import errors

register = template.Library()


class GroupedCount(int):
    """A count that is written with separators (12,340) and still chooses between singular and plural."""

    def __str__(self) -> str:
        return f"{self:,}"


@register.filter
def grouped(count: Any) -> Any:
    """Return a whole number as GroupedCount, anything else unchanged."""
    return GroupedCount(count) if isinstance(count, int) else count


@register.filter
def in_words(moment: datetime) -> SafeString:
    """Return a <time> element that reads "today 07:59", "yesterday 18:30", else the date. Its tooltip has the full
    date."""
    local = timezone.localtime(moment)
    patterns = {0: gettext("today %(time)s"), -1: gettext("yesterday %(time)s"), 1: gettext("tomorrow %(time)s")}
    pattern = patterns.get((local.date() - timezone.localdate()).days)
    exact = f"{local:%Y-%m-%d %H:%M}"
    words = exact if pattern is None else pattern % {"time": f"{local:%H:%M}"}
    return format_html('<time datetime="{}" title="{}">{}</time>', local.isoformat(timespec="seconds"), exact, words)


@register.simple_tag
def tabs() -> list[tuple[str, Any]]:
    """Return the tabs of employees' pages."""
    return list(errors.tabs)


@register.simple_tag(takes_context=True)
def share_off_url(context: dict[str, Any]) -> str:
    """Return the URL that signs the page's address, with which the page's script hides WeCom's sharing menu. Empty
    unless the person is inside WeCom and signed in through a company."""
    request = context.get("request")  # missing on some error pages
    if request is None or not hasattr(request, "session"):
        return ""
    is_inside = detect_surface(request.headers.get("User-Agent", "")).is_inside_wecom
    return reverse("wecom-signature") if is_inside and CORP_KEY in request.session else ""
