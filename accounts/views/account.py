"""A person's own page: who they are here and in WeCom, and the browsers in which they are signed in."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import redis
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts import browser, own_sessions
from accounts.models import User, WeComAccount

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

logger = logging.getLogger(__name__)


@require_safe
@never_cache
@login_required
def show(request: HttpRequest) -> HttpResponse:
    person = person_of(request.user)
    sessions = own_sessions.of_person(person, current_key=request.session.session_key, now=timezone.now())
    accounts = WeComAccount.objects.filter(user=person).select_related("corp").order_by("-is_primary", "pk")
    return render(request, "accounts/account.html", {"accounts": accounts, "sessions": sessions})


@require_POST
@never_cache
@login_required
def end_session(request: HttpRequest, pk: int) -> HttpResponse:
    """End one of the person's own sessions; others' numbers end nothing."""
    person = person_of(request.user)
    try:
        is_ended = own_sessions.end(user=person, pk=pk)
    except redis.RedisError as error:
        logger.error("session not ended by its person user=%s error=%s", person.pk, type(error).__name__)
        messages.error(request, _("That device could not be signed out just now. Please try again in a minute."))
        return redirect("account")
    if is_ended:
        logger.info("session ended by its person user=%s", person.pk)
        messages.success(request, _("That device is signed out."))
    else:
        messages.info(request, _("That device was signed out already."))
    return redirect("account")


@require_POST
@never_cache
@login_required
def end_all_sessions(request: HttpRequest) -> HttpResponse:
    """End every session of the person, this one too."""
    person = person_of(request.user)
    own_sessions.end_all(user=person)
    logger.info("all sessions ended by their person user=%s", person.pk)
    logout(request)
    response = redirect(f"{reverse('login')}?{urlencode({'stay': '1', 'left': 'everywhere'})}")
    browser.forget_browser_ids(response, request)
    return response


def person_of(user: User | AnonymousUser) -> User:
    """The signed-in person, for the type checker: views for employees let nobody else this far."""
    if not isinstance(user, User):
        raise TypeError("nobody is signed in")
    return user
