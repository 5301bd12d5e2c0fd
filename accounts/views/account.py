"""A person's own page: their accounts, and the browsers in which they are signed in."""

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

from accounts.authentication import session_records
from accounts.authentication.flow import inner_page, raw_query_of
from accounts.authentication.state import forget_browser_ids
from accounts.models import User, WeComAccount
from accounts.views import wecom
from integrations import bi
from integrations.models import Corp

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


logger = logging.getLogger(__name__)


@require_safe
@never_cache
@login_required
def show(request: HttpRequest) -> HttpResponse:
    person = person_of(request.user)
    opened = session_records.of_person(person, current_key=request.session.session_key, now=timezone.now())
    accounts = WeComAccount.objects.filter(user=person).select_related("corp").order_by("-is_primary", "pk")
    return render(request, "accounts/account.html", {"accounts": accounts, "sessions": opened})


@require_POST
@never_cache
@login_required
def end_session(request: HttpRequest, pk: int) -> HttpResponse:
    """End one of the person's own sessions; others' numbers end nothing."""
    person = person_of(request.user)
    try:
        is_ended = session_records.end(user=person, pk=pk)
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
    session_records.end_all(user=person)
    logger.info("all sessions ended by their person user=%s", person.pk)
    logout(request)
    response = redirect(f"{reverse('login')}?{urlencode({'stay': '1', 'left': 'everywhere'})}")
    forget_browser_ids(response, request)
    return response


def person_of(user: User | AnonymousUser) -> User:
    """The signed-in person, for the type checker: views for employees let nobody else this far."""
    if not isinstance(user, User):
        raise TypeError("nobody is signed in")
    return user


# --- Links in the specification's own words: they name the site's first page, and the inner page in its query ---


def arrival(request: HttpRequest) -> HttpResponse | None:
    """The answer where the first page is asked for an inner page, or with WeCom's code; None for any other query.

    The code is treated as that of the home page link: never used. Without a company to tell it to it dies by itself,
    and stands in no further address.
    """
    has_code = "code" in request.GET and "state" in request.GET
    if not has_code and "path_url" not in request.GET:
        return None
    corp = _corp_of(request) if has_code else None
    if corp is not None:
        return wecom.callback(request, corp.pk)
    target = bi.landing_of(inner_page(raw_query_of(request)))
    is_in = request.user.is_authenticated
    response = redirect(target if is_in else f"{reverse('login')}?{urlencode({'next': target})}")
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _corp_of(request: HttpRequest) -> Corp | None:
    """Whose link it was: the company with the link's `domain`, also one that signs nobody in; else the only one."""
    domain = request.GET.get("domain", "").replace("\x00", "")
    named = list(Corp.objects.filter(domain_id=domain)[:2]) if domain else []
    found = named or list(Corp.objects.signing_in()[:2])
    return found[0] if len(found) == 1 else None
