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

from accounts.authentication import sessions, totp
from accounts.models import User
from integrations.core.http import needs_no_session

logger = logging.getLogger(__name__)

# Pages that administrators may open before they have given a code of their app, beside the one that asks for it.
_OPEN_WITHOUT_CODE = frozenset({"login", "logout", "jsi18n"})


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
            request.session = sessions.SessionStore()
        key = sessions.signed_in_key(request)
        response = self.get_response(request)
        if sessions.signed_in_key(request) not in {None, key}:
            sessions.tie_to_browser(request, response)
        return response


class SessionMiddleware:
    """Ends the session or takes its rights where it must, and writes down in which browsers people are signed in.

    After AuthenticationMiddleware, which makes nobody of a disabled user, but leaves the session.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if needs_no_session(request):
            return self.get_response(request)
        key = sessions.signed_in_key(request)
        _check(request)
        response = _lead_to_second_factor(request) or self.get_response(request)
        if key is not None and sessions.signed_in_key(request) is None:
            sessions.forget(sessions.stored_key(key))
        sessions.note_use(request, was_signed_in=key is not None, now=timezone.now())
        return response


def _check(request: HttpRequest) -> None:
    """Sign out who was disabled, came through a corp that was, has no account there any more, or whose time is over.

    Make an employee of who came through a corp whose sign-in carries no rights that reach beyond it.
    """
    session = request.session
    match sessions.standing_of(request):
        case sessions.Standing.OUTLIVED:
            logger.info("session ended corp=%s user=%s", session.get(sessions.CORP_KEY), session.get(SESSION_KEY))
            logout(request)
        case sessions.Standing.WITHOUT_RIGHTS if isinstance(request.user, User):
            request.user.withhold_rights()
    if not isinstance(request.user, User):
        return
    if sessions.has_ended(request.session, is_staff=request.user.is_staff, now=timezone.now()):
        logger.info("session reached its end user=%s", request.user.pk)
        logout(request)


def _lead_to_second_factor(request: HttpRequest) -> HttpResponse | None:
    """Lead administrators whose session lacks a code of their app, or who must set one up, to the page for that.

    Outside the administration they are employees meanwhile.
    """
    if not (isinstance(request.user, User) and request.user.is_staff):
        return None
    if sessions.needs_code(request.session):
        route, pages = totp.CODE_ROUTE, {"second-factor-code"}
    elif sessions.needs_device(request.session):
        route, pages = totp.OWN_ROUTE, {"second-factor", "confirm"}
    else:
        return None
    if not request.path_info.startswith(reverse("admin:index")):
        request.user.withhold_rights()
        return None
    try:
        page = resolve(request.path_info).url_name
    except Resolver404:
        page = None
    if page in pages | _OPEN_WITHOUT_CODE:
        return None
    target = request.get_full_path() if request.method in {"GET", "HEAD"} else reverse("admin:index")
    return HttpResponseRedirect(f"{reverse(route)}?{urlencode({'next': target})}")
