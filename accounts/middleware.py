"""Ends sessions whose person or WeCom account may not sign in any more, or takes their rights; names who is at work for
the audit trail."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.contrib.auth import SESSION_KEY, logout
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts import audit, own_sessions, sessions
from accounts.models import User
from integrations.without_session import needs_no_session

logger = logging.getLogger(__name__)


class WeComSessionMiddleware:
    """Signs out, at the next request, who was disabled, came through a corp that was, or has no account there any more.
    Makes an employee of who came through a corp whose sign-in carries no rights that reach beyond it.

    Stands after AuthenticationMiddleware, which makes nobody of a disabled user, but leaves the session.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not needs_no_session(request):
            self._check(request)
        return self.get_response(request)

    def _check(self, request: HttpRequest) -> None:
        match sessions.standing_of(request):
            case sessions.Standing.OUTLIVED:
                session = request.session
                logger.info("session ended corp=%s user=%s", session.get(sessions.CORP_KEY), session.get(SESSION_KEY))
                logout(request)
            case sessions.Standing.WITHOUT_RIGHTS if isinstance(request.user, User):
                request.user.withhold_rights()


class SessionRecordMiddleware:
    """Writes down in which browsers people are signed in, for their account page.

    Inside SessionMiddleware, which saves what it notes, and around whatever may end a session.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if needs_no_session(request):
            return self.get_response(request)
        key = own_sessions.signed_in_key(request)
        response = self.get_response(request)
        if key is not None and own_sessions.signed_in_key(request) is None:
            own_sessions.forget(session_key=key)
        own_sessions.note_use(request, was_signed_in=key is not None, now=timezone.now())
        return response


class AuditMiddleware:
    """Names the person and the address behind every change of the audit trail. After AuthenticationMiddleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with audit.at_work(request):
            return self.get_response(request)
