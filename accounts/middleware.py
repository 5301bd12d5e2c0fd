"""Ends sessions whose WeCom account may not sign in any more; names who is at work for the audit trail."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse

from accounts import audit, sessions

logger = logging.getLogger(__name__)


class WeComSessionMiddleware:
    """Signs out, at the next request, who came through a corp that was disabled or whose account was unlinked.

    Stands after AuthenticationMiddleware, which itself ends the sessions of disabled users.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if sessions.is_outlived(request):
            logger.info("session ended corp=%s user=%s", request.session[sessions.CORP_KEY], request.user.pk)
            logout(request)
        return self.get_response(request)


class AuditMiddleware:
    """Names the person and the address behind every change of the audit trail. After AuthenticationMiddleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with audit.at_work(request):
            return self.get_response(request)
