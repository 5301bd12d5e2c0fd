"""Pages of one's own account: WeCom accounts, sessions, password and authenticator app; and links to the first page."""

from __future__ import annotations

import base64
import logging
import secrets
from typing import Any
from urllib.parse import quote, urlencode

import redis
import segno
from django.contrib import messages
from django.contrib.auth import logout, update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import PasswordChangeView
from django.contrib.sessions.models import Session
from django.db.models import F
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse, reverse_lazy
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.authentication import sessions, totp
from accounts.authentication.flow import (
    delete_browser_ids,
    describe_device,
    find_requested_page,
    read_raw_query,
    seal_values,
    unseal_values,
)
from accounts.authentication.forms import CodeForm, OwnPasswordForm
from accounts.models import SignedInSession, User, WeComAccount
from accounts.views import wecom
from accounts.views.confirmation import ROUTE, get_signed_in_person, render_admin_page
from integrations import bi
from integrations.core.http import HOME, choose_safe_path
from integrations.models import Corp

logger = logging.getLogger(__name__)

# The name of this site in authenticator apps.
ISSUER = "guanwecom"
# Validity of the page that shows a new key.
KEY_SECONDS = 3600
SESSIONS_SHOWN = 50
# The purpose of flow.seal_values for a key that is shown but not yet stored.
_SEALED_KEY = "authenticator app"


@require_safe
@never_cache
@login_required
def show_account(request: HttpRequest) -> HttpResponse:
    person = get_signed_in_person(request)
    # The valid sessions, the current one first, then by last use.
    now, key = timezone.now(), request.session.session_key
    valid = Session.objects.filter(expire_date__gt=now).values("session_key")
    rows = SignedInSession.objects.filter(user=person, session_key__in=valid).select_related("corp")
    current = None if key is None else sessions.hash_session_key(key)
    opened: list[Any] = [
        row
        for row in rows.order_by(F("last_used_at").desc())[:SESSIONS_SHOWN]
        if not sessions.is_past_limits(
            opened_at=row.began_at, used_at=row.last_used_at, is_staff=person.is_staff, now=now
        )
    ]
    for row in opened:
        row.device, row.is_current = describe_device(row.user_agent), row.session_key == current
    opened.sort(key=lambda row: not row.is_current)
    accounts = WeComAccount.objects.filter(user=person).select_related("corp").order_by("-is_primary", "pk")
    return render(request, "accounts/account.html", {"accounts": accounts, "sessions": opened})


@require_POST
@never_cache
@login_required
def end_session(request: HttpRequest, pk: int) -> HttpResponse:
    """End one of the person's own sessions. `pk`: the key of its SignedInSession."""
    person = get_signed_in_person(request)
    try:
        is_ended = sessions.end_session(user=person, pk=pk)
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
    """End every session of the person, including this one."""
    person = get_signed_in_person(request)
    sessions.end_all_sessions(user=person)
    logger.info("all sessions ended by their person user=%s", person.pk)
    logout(request)
    response = redirect(f"{reverse('login')}?{urlencode({'stay': '1', 'left': 'everywhere'})}")
    delete_browser_ids(response, request)
    return response


# --- Links to the site's first page with the requested page, or WeCom's code, in the query ---------------------------


def redirect_from_first_page(request: HttpRequest) -> HttpResponse | None:
    """Answer a request for the site's first page whose query has a requested page (`path_url`) or WeCom's code. Return
    None for other queries.

    The code is handled by the callback view as one without a state of this browser, so it is never redeemed for a
    sign-in. If the company is unknown, the code is left to expire.
    """
    has_code = "code" in request.GET and "state" in request.GET
    if not has_code and "path_url" not in request.GET:
        return None
    if has_code:
        # Find the company whose domain_id is the link's `domain`, even if sign-in is off there; else the only company.
        domain = request.GET.get("domain", "").replace("\x00", "")
        with_domain = list(Corp.objects.filter(domain_id=domain)[:2]) if domain else []
        corps = with_domain or list(Corp.objects.signing_in()[:2])
        if len(corps) == 1:
            return wecom.callback(request, corps[0].pk)
    target = bi.find_landing_page(find_requested_page(read_raw_query(request)))
    is_signed_in = request.user.is_authenticated
    response = redirect(target if is_signed_in else f"{reverse('login')}?{urlencode({'next': target})}")
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


class OwnPasswordView(PasswordChangeView):
    """Page to change one's own password."""

    form_class = OwnPasswordForm
    success_url = reverse_lazy("admin:password_change_done")

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "request": self.request, "label_suffix": ""}


def ask_for_code(request: HttpRequest) -> HttpResponse:
    """Ask for a code of the authenticator app, if the session needs one."""
    person = get_signed_in_person(request)
    target = choose_safe_path(request.GET.get("next", ""))
    target = reverse("admin:index") if target == HOME else target
    if not sessions.needs_totp_code(request.session):
        return HttpResponseRedirect(target)
    form = CodeForm(request.POST if request.method == "POST" else None, person=person)
    if form.is_valid():
        sessions.record_totp_code(request.session)
        return HttpResponseRedirect(target)
    title = _("Code of your authenticator app")
    return _render_step(request, "code", title=title, form=form, has_permission=False, is_nav_sidebar_enabled=False)


def manage_authenticator_app(request: HttpRequest) -> HttpResponse:
    """Set up an app; if there is one, renew its recovery codes or remove it."""
    person = get_signed_in_person(request)
    if not sessions.is_confirmed(request.session, timezone.now()):
        # Ask for a confirmation first: the page shows secrets.
        return HttpResponseRedirect(f"{reverse(ROUTE)}?{urlencode({'next': request.get_full_path()})}")
    device = totp.find_device(person)
    if request.method != "POST":
        if device is None:
            new_key = base64.b32encode(secrets.token_bytes(totp.KEY_BYTES)).decode()
            return _show_key(request, person, new_key, CodeForm(person=person))
        left = len(device.recovery_digests)
        return _render_step(request, "own", title=_("Authenticator app"), device=device, codes_left=left)
    if device is not None and "renew" in request.POST:
        return _show_recovery_codes(request, totp.renew_recovery_codes(person))
    if device is not None and "remove" in request.POST:
        totp.remove_device(person)
        sessions.forget_totp_code(request.session)
        messages.success(request, _("The authenticator app is removed."))
        return HttpResponseRedirect(reverse(totp.SETUP_ROUTE))
    # The page that showed the key sends it back sealed. It is stored only with a right code.
    key = None
    match unseal_values(_SEALED_KEY, request.POST.get("key", ""), seconds=KEY_SECONDS):
        case [person.pk, str(shown_key)]:
            key = shown_key
    if device is not None or key is None:
        messages.error(request, _("This took too long, or was done in another tab meanwhile. Please look again."))
        return HttpResponseRedirect(reverse(totp.SETUP_ROUTE))
    codes = totp.set_up_device(
        person=person,
        key=key,
        code=request.POST.get("code", ""),
        now=timezone.now(),
        is_independent=sessions.is_independent_of_wecom(request),
    )
    if codes is None:
        wrong = _("The code is wrong. Enter the one that the app shows now.")
        return _show_key(request, person, key, CodeForm(person=person), error=wrong)
    # End the other sessions, which were opened without a code, and keep this one, as after a change of password.
    sessions.end_all_sessions(user=person)
    person.refresh_from_db(fields=["session_epoch"])
    update_session_auth_hash(request, person)
    sessions.record_totp_code(request.session)
    return _show_recovery_codes(request, codes)


def _show_key(request: HttpRequest, person: User, key: str, form: CodeForm, **more: Any) -> HttpResponse:
    """Show a new key in base32, as apps expect it, and as a QR code of its otpauth:// address."""
    label = quote(f"{ISSUER}:{person.get_username()}")
    address = f"otpauth://totp/{label}?{urlencode({'secret': key, 'issuer': ISSUER})}"
    # Cameras need a white margin, which `light` fills.
    picture = segno.make(address, error="m").svg_inline(scale=5, light="#fff", title=_("QR code"))
    return _render_step(
        request,
        "set_up",
        title=_("Set up an authenticator app"),
        form=form,
        key=" ".join(key[place : place + 4] for place in range(0, len(key), 4)),
        sealed=seal_values(_SEALED_KEY, person.pk, key),
        picture=mark_safe(picture),  # noqa: S308  # safe: segno's drawing does not contain the encoded text
        **more,
    )


def _show_recovery_codes(request: HttpRequest, codes: list[str]) -> HttpResponse:
    return _render_step(request, "codes", title=_("Recovery codes"), codes=codes)


def _render_step(request: HttpRequest, step: str, **more: Any) -> HttpResponse:
    return render_admin_page(request, "admin/accounts/second_factor.html", {"step": step, **more})
