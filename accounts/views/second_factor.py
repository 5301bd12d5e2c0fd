"""Pages of the authenticator app: entering a code after sign-in, and setting it up."""

from __future__ import annotations

from typing import Any

import segno
from django.contrib import admin, messages
from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from accounts.authentication import session_records, sessions, totp
from accounts.authentication.forms import CodeForm
from accounts.models import User
from accounts.views.confirmation import to_page
from integrations.core.http import HOME, safe_path


def code_page(request: HttpRequest) -> HttpResponse:
    """Asks for the code that a session lacks."""
    person = _person(request)
    target = safe_path(request.GET.get("next", ""))
    target = reverse("admin:index") if target == HOME else target
    if not sessions.needs_code(request.session):
        return HttpResponseRedirect(target)
    form = CodeForm(request.POST if request.method == "POST" else None, person=person)
    if form.is_valid():
        sessions.note_code(request.session)
        return HttpResponseRedirect(target)
    title = _("Code of your authenticator app")
    return _page(request, "code", title=title, form=form, has_permission=False, is_nav_sidebar_enabled=False)


def own_page(request: HttpRequest) -> HttpResponse:
    """Sets an app up, and for one that is: renews its recovery codes, or removes it."""
    person = _person(request)
    if not sessions.is_confirmed(request.session, timezone.now()):
        return to_page(request)
    if request.method == "POST":
        return _act(request, person)
    device = totp.device_of(person)
    if device is not None:
        left = len(device.recovery_digests)
        return _page(request, "own", title=_("Authenticator app"), device=device, codes_left=left)
    return _set_up_page(request, person, totp.new_key(), CodeForm(person=person))


def _act(request: HttpRequest, person: User) -> HttpResponse:
    is_set_up = totp.device_of(person) is not None
    if is_set_up and "renew" in request.POST:
        return _codes_page(request, totp.renew_recovery_codes(person))
    if is_set_up and "remove" in request.POST:
        totp.remove(person)
        sessions.forget_code(request.session)
        messages.success(request, _("The authenticator app is removed."))
        return HttpResponseRedirect(reverse(totp.OWN_ROUTE))
    key = totp.unseal(request.POST.get("key", ""), person=person)
    if is_set_up or key is None:
        messages.error(request, _("This took too long, or was done in another tab meanwhile. Please look again."))
        return HttpResponseRedirect(reverse(totp.OWN_ROUTE))
    codes = totp.set_up(
        person=person,
        key=key,
        code=request.POST.get("code", ""),
        now=timezone.now(),
        is_independent=sessions.is_independent_of_wecom(request),
    )
    if codes is None:
        wrong = _("The code is wrong. Enter the one that the app shows now.")
        return _set_up_page(request, person, key, CodeForm(person=person), error=wrong)
    _end_other_sessions(request, person)
    sessions.note_code(request.session)
    return _codes_page(request, codes)


def _end_other_sessions(request: HttpRequest, person: User) -> None:
    """They were opened without a code. As when a password changes, this one goes on."""
    session_records.end_all(user=person)
    person.refresh_from_db(fields=["session_epoch"])
    update_session_auth_hash(request, person)


def _set_up_page(request: HttpRequest, person: User, key: str, form: CodeForm, **more: Any) -> HttpResponse:
    return _page(
        request,
        "set_up",
        title=_("Set up an authenticator app"),
        form=form,
        key=" ".join(key[place : place + 4] for place in range(0, len(key), 4)),
        sealed=totp.seal(key, person=person),
        picture=_picture(totp.address_of(key, person=person)),
        **more,
    )


def _codes_page(request: HttpRequest, codes: list[str]) -> HttpResponse:
    return _page(request, "codes", title=_("Recovery codes"), codes=codes)


def _picture(address: str) -> SafeString:
    """White around, whatever the page's colours: cameras need it."""
    drawn = segno.make(address, error="m").svg_inline(scale=5, light="#fff", title=_("QR code"))
    return mark_safe(drawn)  # noqa: S308  # segno's own drawing; what it encodes is no part of its markup


def _page(request: HttpRequest, step: str, **more: Any) -> HttpResponse:
    context = {**admin.site.each_context(request), "step": step, **more}
    request.current_app = admin.site.name  # as Django's own admin views do
    response = TemplateResponse(request, "admin/accounts/second_factor.html", context)
    add_never_cache_headers(response)
    return response


def _person(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise TypeError("the administration lets nobody else in")
    return request.user
