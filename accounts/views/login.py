"""Login pages, choice of company, sign-out, the page for people who are locked out, and data for scripts of pages."""

from __future__ import annotations

import logging
import re
import secrets
from typing import Any, cast

import redis
from django.contrib.admin import AdminSite
from django.contrib.auth import logout as end_session
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.audit import services
from accounts.authentication import flow, passwords, sessions
from accounts.authentication.flow import SignInKind, detect_surface
from accounts.authentication.forms import CodeForm, LoginForm
from accounts.authentication.passwords import Lock, find_lock
from accounts.authentication.sessions import SignInMethod
from accounts.models import TotpDevice, User
from integrations.clients.errors import IntegrationError
from integrations.clients.wecom.oauth import sign_page
from integrations.companies import links
from integrations.core import http
from integrations.core.client_factory import wecom_client
from integrations.core.http import HOME, choose_safe_path
from integrations.models import Corp

logger = logging.getLogger(__name__)

# Number of companies from which the list has a search field.
SEARCHED_FROM = 11
LONGEST_ADDRESS = 4096
# Part of a state's lifetime after which the script replaces it, so that a scan under way can still be completed.
RENEWED_AFTER = 0.8


@method_decorator(never_cache, name="dispatch")
class Login(LoginView):
    """Login page with password and WeCom. Inside WeCom it redirects to WeCom at once, unless the query has `stay`."""

    template_name = "accounts/login.html"
    authentication_form = LoginForm

    # URL name and heading of the page.
    route = "login"
    heading = gettext_lazy("Sign in")
    may_frame_panel = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Refuse with status 403 if passwords are off."""
        if passwords.is_password_enabled():
            return super().post(request, *args, **kwargs)
        context = self.get_context_data(form=self.get_form_class()(request), refused=True)
        response = self.render_to_response(context)
        response.status_code = 403
        return response

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        # Show the page to signed-in people: if they lack a permission for the target, redirects would never end.
        is_inside = detect_surface(request.headers.get("User-Agent", "")).is_inside_wecom
        if not is_inside or "stay" in request.GET or request.user.is_authenticated:
            return super().get(request, *args, **kwargs)
        # Redirect to WeCom for the requested, only or last company; otherwise to the choice of a company.
        target, requested = self._read_target(), request.GET.get("corp")
        if requested is not None and re.fullmatch(r"[0-9]{1,18}", requested):
            return _redirect_to_start(int(requested), target)
        corps = list(Corp.objects.signing_in().order_by("name"))
        corp = _find_only_or_remembered(request, corps)
        if corp is not None:
            return _redirect_to_start(corp.pk, target)
        name, query = ("choose-company", {"next": target}) if corps else ("login", {"next": target, "stay": "1"})
        return redirect(f"{reverse(name)}?{urlencode(query)}")

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        response = super().form_valid(form)
        session = self.request.session
        # Django keeps the session's data if the same person signs in again: remove the company of an earlier sign-in.
        session.pop(sessions.CORP_KEY, None)
        session[sessions.METHOD_KEY] = SignInMethod.PASSWORD.value
        # Without `remember` the session lasts until the browser is closed.
        session.set_expiry(sessions.REMEMBERED_SECONDS if form.cleaned_data["remember"] else 0)
        passwords.record_right_password(response, self.request, form.get_user())
        return response

    def get_redirect_url(self, request: HttpRequest | None = None) -> str:
        return self._read_target()

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        """Allow a frame with WeCom's QR panel, which other pages do not allow. Remember the company chosen in the
        query."""
        response = super().render_to_response(context, **kwargs)
        corp = context["corp"]
        if context["panel"]:
            http.allow_sources(response, "frame-src", filter(None, [http.read_origin(corp.qr_base_url)]))
        if corp is not None and self.request.GET.get("corp") == str(corp.pk):
            sessions.remember_corp_id(response, self.request, corp.pk)
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        corps = list(Corp.objects.signing_in().select_related("site_address").order_by("name"))
        corp = next(
            (one for one in corps if str(one.pk) == self.request.GET.get("corp")), None
        ) or _find_only_or_remembered(self.request, corps)
        panel = ""
        if corp is not None and self.may_frame_panel and not self.request.user.is_authenticated:
            panel = reverse("wecom-panel", args=[corp.pk]) if flow.is_at_site_address(self.request, corp) else ""
        return super().get_context_data(
            **kwargs,
            target=self._read_target(),
            corp=corp,
            corps=corps,
            # The address at which the script of the panel gets a state; empty for a page without the panel.
            panel=panel,
            query=urlencode({"next": self._read_target()}),
            password_enabled=passwords.is_password_enabled(),
            action=reverse(self.route),
            heading=self.heading,
        )

    def _read_target(self) -> str:
        return choose_safe_path(self.request.POST.get("next") or self.request.GET.get("next") or "")


@require_safe
@never_cache
def choose_company(request: HttpRequest) -> HttpResponse:
    """List the companies whose people can sign in with WeCom. If there is only one, redirect to WeCom."""
    target, words = choose_safe_path(request.GET.get("next", "")), request.GET.get("q", "").strip()
    corps = list(Corp.objects.signing_in().order_by("name"))
    if len(corps) == 1:
        return _redirect_to_start(corps[0].pk, target)
    last = _find_only_or_remembered(request, corps)
    matching = [corp for corp in corps if words.lower() in corp.name.lower()]
    context = {
        "corps": sorted(matching, key=lambda corp: corp != last),
        "last": last,
        "is_searched": len(corps) >= SEARCHED_FROM,
        "words": words,
        "target": target,
        "query": urlencode({"next": target}),
        "is_inside_wecom": detect_surface(request.headers.get("User-Agent", "")).is_inside_wecom,
        "password_enabled": passwords.is_password_enabled(),
        "password_query": urlencode({"next": target, "stay": "1"}),
    }
    return render(request, "accounts/choose_company.html", context)


@require_POST
@never_cache
def logout(request: HttpRequest) -> HttpResponseBase:
    """Sign out, and redirect to the login page with `stay`: inside WeCom it would otherwise sign the person in
    again."""
    end_session(request)
    response = redirect(f"{reverse('login')}?{urlencode({'stay': '1', 'left': '1'})}")
    flow.delete_browser_ids(response, request)
    return response


def _find_only_or_remembered(request: HttpRequest, corps: list[Corp]) -> Corp | None:
    if len(corps) == 1:
        return corps[0]
    remembered = request.COOKIES.get(sessions.CORP_COOKIE, "")
    return next((corp for corp in corps if str(corp.pk) == remembered), None)


def _redirect_to_start(corp_id: int, target: str) -> HttpResponse:
    return redirect(f"{reverse('wecom-start', args=[corp_id])}?{urlencode({'next': target})}")


# --- Login to the administration, for staff only ---------------------------------------------------------------------


@method_decorator(never_cache, name="dispatch")
class AdminLogin(Login):
    """Login page of the administration. Afterwards it redirects to the requested page."""

    route = "admin:login"
    heading = gettext_lazy("Sign in to the administration")
    may_frame_panel = False
    admin_site: AdminSite | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        site = cast("AdminSite", self.admin_site)
        if request.method == "GET" and site.has_permission(request):
            return HttpResponseRedirect(self._read_target())
        if request.method == "GET" and request.user.is_authenticated and sessions.has_all_rights(request):
            return render(request, "accounts/not_staff.html", status=403)
        return super().dispatch(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Check the code of a person whom WeCom has signed in; otherwise a password."""
        person = self._find_person_for_code()
        if person is None or "code" not in request.POST:
            return super().post(request, *args, **kwargs)
        form = CodeForm(request.POST, person=person)
        if form.is_valid():
            # The session now has all rights of the person. It still ends once the company no longer allows sign-in, or
            # WeCom bars the person's account there.
            sessions.record_totp_code(request.session)
            sessions.record_opening(request.session, timezone.now())
            request.session[sessions.METHOD_KEY] = SignInMethod.WECOM_AND_CODE.value
            user = User.objects.get(pk=person.pk)
            if user.is_staff:
                services.record_sign_in(user=user, note=services.WECOM_AND_CODE)
            return HttpResponseRedirect(self._read_target())
        context = self.get_context_data(form=self.get_form_class()(request), code_form=form)
        return self.render_to_response(context)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Offer password and code, but not WeCom, to people whom WeCom has signed in without their rights."""
        context = super().get_context_data(**kwargs)
        if sessions.has_all_rights(self.request):
            return context
        person = self._find_person_for_code()
        code_form = kwargs.get("code_form") or (person and CodeForm(person=person))
        return {**context, "lacks_rights": True, "code_form": code_form, "corps": [], "corp": None, "panel": ""}

    def _find_person_for_code(self) -> User | None:
        """Return the person whom WeCom has signed in without rights, if a code of their app can add the rights
        (TotpDevice.is_independent). None otherwise."""
        person = self.request.user
        if sessions.has_all_rights(self.request) or not isinstance(person, User):
            return None
        return person if TotpDevice.objects.filter(user=person, is_independent=True).exists() else None

    def _read_target(self) -> str:
        target = super()._read_target()
        return reverse("admin:index") if target == HOME else target


# --- The page for people who are locked out after wrong passwords -----------------------------------------------------


def show_lock(request: HttpRequest, _response: Any = None, credentials: dict[str, Any] | None = None) -> HttpResponse:
    """Show how long the lock lasts, and other ways to sign in. Unknown usernames get the same page as known ones."""
    now = timezone.now()
    username = (credentials or {}).get("username", "")
    lock = find_lock(request=request, username=username, now=now) or Lock(until=now)
    minutes = lock.minutes_left(now)
    wait = ngettext("Try again in %(count)d minute.", "Try again in %(count)d minutes.", minutes)
    context = {
        "wait": wait % {"count": minutes},
        "lock": lock,
        "until": timezone.localtime(lock.until),
        "has_wecom": Corp.objects.signing_in().exists(),
        "query": urlencode({"next": choose_safe_path(request.POST.get("next", ""))}),
    }
    response = render(request, "accounts/locked.html", context, status=429)
    response.headers["Retry-After"] = str(lock.seconds_left(now))
    add_never_cache_headers(response)
    return response


# --- Data for the pages' scripts --------------------------------------------------------------------------------------


@require_safe
@never_cache
def sign_page_address(request: HttpRequest) -> JsonResponse:
    """Return the arguments of WeCom's `ww.register` for the address in `page`. Status 403 without a session of a
    company, 400 for an address of another site. All processes share WeCom's ticket, which is fetched once in two
    hours."""
    corp_id = request.session.get(sessions.CORP_KEY) if request.user.is_authenticated else None
    corp = Corp.objects.signing_in().filter(pk=corp_id).first() if corp_id is not None else None
    if corp is None:
        return JsonResponse({"error": "session"}, status=403)
    page = request.GET.get("page", "")
    if len(page) > LONGEST_ADDRESS or not page.startswith(request.build_absolute_uri("/")):
        return JsonResponse({"error": "page"}, status=400)
    try:
        ticket = wecom_client(corp).find_jsapi_ticket()
    except (IntegrationError, redis.RedisError) as error:
        logger.warning("page not signed corp=%s error=%s", corp.pk, type(error).__name__)
        return JsonResponse({"error": "wecom"}, status=503)
    now = int(timezone.now().timestamp())
    nonce = secrets.token_hex(8)
    app = {"corpid": corp.corpid, "agentid": corp.agentid}
    signature = sign_page(ticket=ticket, nonce=nonce, timestamp=now, url=page)
    return JsonResponse({**app, "timestamp": now, "nonceStr": nonce, "signature": signature})


@require_POST
@never_cache
def open_panel(request: HttpRequest, corp_id: int) -> JsonResponse:
    """Return a new state and the parameters of WeCom's QR panel. Earlier states stay valid until they expire.

    The script requests a new state before the last one expires. Status 409 if the page's address is not the one to
    which WeCom returns; the page's link without the panel leads there."""
    corp = Corp.objects.signing_in().select_related("site_address").filter(pk=corp_id).first()
    if corp is None:
        return JsonResponse({"error": "company"}, status=404)
    if not flow.is_at_site_address(request, corp):
        return JsonResponse({"error": "address"}, status=409)
    target = choose_safe_path(request.POST.get("next", ""))
    limit = flow.make_request_limit(request)
    try:
        begun = flow.begin_sign_in(
            request, corp, kind=SignInKind.QR, target=target, attempt=flow.FIRST_ATTEMPT, request_limit=limit
        )
    except redis.RedisError as error:
        logger.error("sign-in corp=%s outcome=store-unreachable error=%s", corp.pk, type(error).__name__)
        return JsonResponse({"error": "store"}, status=503)
    if begun is None:
        return JsonResponse({"error": "too-many"}, status=429)
    state, browser_id = begun
    response = JsonResponse(
        {
            **links.describe_qr_panel(corp, state, language=flow.find_wecom_language()),
            "renew_after_ms": round(flow.STATE_SECONDS * RENEWED_AFTER * 1000),
        }
    )
    flow.set_browser_id(response, request, browser_id)
    logger.info("sign-in corp=%s outcome=panel-shown", corp.pk)
    return response
