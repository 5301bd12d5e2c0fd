"""The page for somebody who is locked out after wrong passwords."""

from __future__ import annotations

from math import ceil
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.http import urlencode
from django.utils.translation import ngettext

from accounts.lockout import Lock, lock_on
from accounts.targets import safe_path
from integrations.models import Corp


def page(request: HttpRequest, _response: Any = None, credentials: dict[str, Any] | None = None) -> HttpResponse:
    """For how long, and the ways that stay open. The same for usernames that exist and those that do not."""
    now = timezone.now()
    username = (credentials or {}).get("username", "")
    lock = lock_on(request=request, username=username, now=now) or Lock(until=now)
    seconds = lock.seconds_left(now)
    minutes = ceil(seconds / 60)
    context = {
        "wait": ngettext("Try again in %(count)d minute.", "Try again in %(count)d minutes.", minutes)
        % {"count": minutes},
        "lock": lock,
        "until": timezone.localtime(lock.until),
        "has_wecom": Corp.objects.signing_in().exists(),
        "query": urlencode({"next": safe_path(request.POST.get("next", ""))}),
    }
    response = render(request, "accounts/locked.html", context, status=429)
    response.headers["Retry-After"] = str(seconds)
    add_never_cache_headers(response)
    return response
