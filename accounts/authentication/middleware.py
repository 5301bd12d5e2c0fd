"""Ends sessions at the next request: of leavers, of disabled people and companies, and those whose time is over. Takes
rights from sessions that do not carry them."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.contrib.auth import SESSION_KEY, logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import Resolver404, resolve, reverse
from django.utils import timezone
from django.utils.http import urlencode

from accounts.authentication import session_records, sessions, totp
from accounts.authentication.session_store import SessionStore
from accounts.models import User
from integrations.core.http import needs_no_session

logger = logging.getLogger(__name__)


class SessionBindingMiddleware:
    """Makes nobody of a session that was tied to another browser, and ties each to the browser that signs in with it.

    Directly inside SessionMiddleware: nothing else may have read the session before.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if needs_no_session(request):
            return self.get_response(request)
        if not sessions.is_of_browser(request):
            logger.warning("session of another browser left alone user=%s", request.session.get(SESSION_KEY))
            request.session = SessionStore()
        key = sessions.signed_in_key(request)
        response = self.get_response(request)
        if sessions.signed_in_key(request) not in {None, key}:
            sessions.tie_to_browser(request, response)
        return response


class SessionLifetimeMiddleware:
    """Signs out whose session has reached its end .

    After WeComSessionMiddleware, which decides whether the session is one of staff.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not needs_no_session(request) and SESSION_KEY in request.session and isinstance(request.user, User):
            self._check(request, request.user)
        return self.get_response(request)

    def _check(self, request: HttpRequest, user: User) -> None:
        now, session = timezone.now(), request.session
        opened_at = sessions.opened_at(session)
        if opened_at is None:
            sessions.note_opened(session, now)
            return
        used_at = max(opened_at, session_records.last_noted(session) or opened_at)
        if sessions.is_over(opened_at=opened_at, used_at=used_at, is_staff=user.is_staff, now=now):
            logger.info("session reached its end user=%s", user.pk)
            logout(request)


class SecondFactorMiddleware:
    """Leads administrators whose session lacks a code of their app, or who must set one up, to the page for that.

    Everywhere else they are employees meanwhile. After WeComSessionMiddleware.
    """

    # Beside the page itself.
    OPEN = frozenset({"login", "logout", "jsi18n"})

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not needs_no_session(request) and isinstance(request.user, User) and request.user.is_staff:
            answer = self._answer(request, request.user)
            if answer is not None:
                return answer
        return self.get_response(request)

    def _answer(self, request: HttpRequest, user: User) -> HttpResponse | None:
        if sessions.needs_code(request.session):
            route, is_open = totp.CODE_ROUTE, {"second-factor-code", *self.OPEN}
        elif sessions.needs_device(request.session):
            route, is_open = totp.OWN_ROUTE, {"second-factor", "confirm", *self.OPEN}
        else:
            return None
        if not request.path_info.startswith(reverse("admin:index")):
            user.withhold_rights()
            return None
        if _name_of(request.path_info) in is_open:
            return None
        target = request.get_full_path() if request.method in {"GET", "HEAD"} else reverse("admin:index")
        return HttpResponseRedirect(f"{reverse(route)}?{urlencode({'next': target})}")


def _name_of(path: str) -> str | None:
    try:
        return resolve(path).url_name
    except Resolver404:
        return None


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
        key = sessions.signed_in_key(request)
        response = self.get_response(request)
        if key is not None and sessions.signed_in_key(request) is None:
            session_records.forget(session_key=key)
        session_records.note_use(request, was_signed_in=key is not None, now=timezone.now())
        return response
