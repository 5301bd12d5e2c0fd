"""Sign-in with WeCom (OAuth): `start` sends the browser to WeCom, `callback` handles its return."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from celery.exceptions import OperationalError
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import authenticate, login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET

from accounts import tasks
from accounts.authentication import backends, flow, sessions
from accounts.authentication.backends import AuthorizationCode, SignInRefused
from accounts.authentication.flow import Cause, SignInKind, detect_surface, find_requested_page, read_raw_query
from accounts.models import User
from accounts.views import confirmation, errors
from accounts.views.errors import ErrorDetails
from integrations import bi
from integrations.clients.errors import CodeRejectedError, ConfigurationError, IntegrationError, TransientError
from integrations.clients.wecom.errcodes import IP_NOT_TRUSTED
from integrations.companies import links
from integrations.core.http import HOME, choose_safe_path
from integrations.core.redis import Limit, allows, valkey
from integrations.models import Corp
from integrations.models.companies import HomePage

logger = logging.getLogger(__name__)
_DOMAIN_NOT_TRUSTED = 50001


@require_GET
@never_cache
@errors.needs_store
def start(request: HttpRequest, corp_id: int) -> HttpResponse:
    """Redirect to WeCom; or to `next`, if the person is signed in through this corp and `next` is not the page that
    asks for a confirmation."""
    target = choose_safe_path(request.GET.get("next", ""))
    session = sessions.describe_session(request, corp_id=corp_id)
    request_limit = _choose_request_limit(request, session)
    corp = Corp.objects.load_for_start(corp_id)
    if corp is None or not (corp.is_enabled and corp.sign_in_enabled):
        if request_limit is not None and not request_limit.allows():
            return _show_too_many(request, corp_id, target)
        if corp is None:
            return errors.render_error_page(request, ErrorDetails(Cause.UNKNOWN_COMPANY, target=target))
        return errors.render_error_page(request, _describe_refusal(Cause.COMPANY_DISABLED, corp, target))
    if session.is_of_this_corp and not confirmation.is_confirmation(target):
        return _redirect_to_target(corp, target)
    attempt = flow.SECOND_ATTEMPT if request.GET.get("again") else flow.FIRST_ATTEMPT
    return _authorise(request, corp, target=target, attempt=attempt, request_limit=request_limit)


@require_GET
@never_cache
@errors.needs_store
@sensitive_variables("code", "state_text")
def callback(request: HttpRequest, corp_id: int) -> HttpResponse:
    """Handle the return from WeCom, with a code. Always redirects, so that the address with the code is not shown."""
    target = bi.find_landing_page(find_requested_page(read_raw_query(request)))
    corp = Corp.objects.load_for_callback(corp_id)
    if corp is None:
        return errors.redirect_to_error(ErrorDetails(Cause.UNKNOWN_COMPANY, target=target))
    if not (corp.is_enabled and corp.sign_in_enabled):
        return errors.redirect_to_error(_describe_refusal(Cause.COMPANY_DISABLED, corp, target))
    code, state_text = request.GET.get("code", ""), request.GET.get("state", "")
    session = sessions.describe_session(request, corp_id=corp.pk)
    browser_ids = flow.read_browser_ids(request)
    # Only codes that consume a state count against the company. A malformed code is never sent to WeCom.
    code_limit = Limit(f"sign-ins:corp:{corp.pk}", settings.SIGN_INS_PER_COMPANY)
    step: flow.NextStep | HttpResponse = flow.decide_next_step(
        returned=flow.consume_state(
            text=state_text,
            browser_ids=browser_ids,
            corp_id=corp.pk,
            code=code,
            request_limit=_choose_request_limit(request, session),
            code_limit=code_limit if backends.is_well_formed(code) else None,
        ),
        requested_page=target,
        has_code=bool(code),
        has_state=bool(state_text),
        has_cookie=bool(browser_ids),
        session=session,
    )
    if isinstance(step, flow.RedeemCode):
        step = _redeem_code(request, corp, step, AuthorizationCode(code))
    elif isinstance(step, flow.GoToTarget | flow.RestartSignIn | flow.ShowError) and step.refuses_code:
        _redeem_refused_code_later(corp, code)
    response = step if isinstance(step, HttpResponse) else _carry_out_step(request, corp, step)
    # The address contains a code, so the browser must not send it on as Referer. Other pages need the Referer for
    # Django's CSRF check.
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _choose_request_limit(request: HttpRequest, session: flow.CurrentSession) -> Limit | None:
    """Return the limit of requests, or None for people signed in through this corp: they cause no calls to WeCom, and a
    whole company may open a link at once."""
    return None if session.is_of_this_corp else flow.make_request_limit(request)


# Outcomes in the log for steps other than errors.
_OUTCOMES = {flow.GoToTarget: "land", flow.RestartSignIn: "restart", flow.ReturnToLogin: "giveup"}


def _carry_out_step(request: HttpRequest, corp: Corp, step: flow.NextStep) -> HttpResponse:
    outcome = step.cause.value if isinstance(step, flow.ShowError) else _OUTCOMES[type(step)]
    logger.info("sign-in corp=%s outcome=%s", corp.pk, outcome)
    match step:
        case flow.RestartSignIn():
            corp = Corp.objects.load_for_start(corp.pk) or corp  # with the columns that _authorise needs
            return _authorise(request, corp, target=step.target, attempt=step.attempt)
        case flow.ShowError():
            return errors.redirect_to_error(_describe_refusal(step.cause, corp, step.target))
        case flow.ReturnToLogin():
            return redirect(f"{reverse('login')}?{urlencode({'next': step.target, 'stay': '1', 'declined': '1'})}")
        case _:
            return _redirect_to_target(corp, step.target)


def _redirect_to_target(corp: Corp, target: str) -> HttpResponseRedirect:
    """Redirect to the target; the home page is replaced by the page that the company has chosen."""
    if target == HOME and corp.home_page == HomePage.BI and bi.is_open():
        target = bi.build_own_address(corp.home_bi_page)
    return HttpResponseRedirect(target)


@sensitive_variables("code")
def _redeem_code(
    request: HttpRequest, corp: Corp, step: flow.RedeemCode, code: AuthorizationCode
) -> HttpResponse | flow.NextStep:
    """Redeem a code and sign the person in. Return a response; the next step if the code is malformed or rejected."""
    if not backends.is_well_formed(code.value):
        return flow.decide_after_rejected_code(attempt=step.attempt, target=step.target)
    began_at = time.monotonic()
    # authenticate() returns None after PermissionDenied, so the backend reports the reason by calling `explain`.
    refused: list[SignInRefused] = []
    try:
        user = authenticate(request, corp=corp, code=code, explain=refused.append)
    except CodeRejectedError:
        return flow.decide_after_rejected_code(attempt=step.attempt, target=step.target)
    except IntegrationError as error:
        logger.warning(
            "sign-in corp=%s outcome=%s operation=%s code=%s",
            corp.pk,
            type(error).__name__,
            error.operation,
            error.code,
        )
        return errors.redirect_to_error(_describe_error(error, corp, step.target))
    milliseconds = round((time.monotonic() - began_at) * 1000)
    if not isinstance(user, User):
        refusal = refused[0]
        logger.info("sign-in corp=%s outcome=%s ms=%d", corp.pk, refusal.reason, milliseconds)
        return errors.redirect_to_error(
            _describe_refusal(Cause(refusal.reason.value), corp, step.target, userid=refusal.userid)
        )
    if request.user.is_authenticated and confirmation.is_confirmation(step.target):
        # A signed-in person scanned to confirm: keep the session and its open forms. Without proof the page asks again.
        if user != request.user:
            messages.error(request, _("Somebody else has scanned the code: {name}.").format(name=user.get_full_name()))
        elif sessions.proves_presence(user, corp=corp, kind=step.kind):
            confirmation.record_confirmation(request, user)
        return HttpResponseRedirect(step.target)
    login(request, user)
    sessions.mark_as_wecom_session(request, user, corp, kind=step.kind)
    logger.info("sign-in corp=%s user=%s outcome=signed-in ms=%d", corp.pk, user.pk, milliseconds)
    response = _redirect_to_target(corp, step.target)
    sessions.remember_corp_id(response, request, corp.pk)
    return response


def _authorise(
    request: HttpRequest, corp: Corp, *, target: str, attempt: int, request_limit: Limit | None = None
) -> HttpResponse:
    """Redirect to WeCom with a new state. If the request came to another address, redirect to the corp's site address
    first: WeCom returns there, and the cookie must be set there."""
    if not flow.is_at_site_address(request, corp):
        if request_limit is not None and not request_limit.allows():
            return _show_too_many(request, corp.pk, target)
        if request.GET.get("moved"):  # the redirect below was followed, and the host still differs
            return errors.redirect_to_error(_describe_refusal(Cause.ADDRESS_DIFFERS, corp, target))
        query = {"next": target, "moved": "1", **({"again": "1"} if attempt > flow.FIRST_ATTEMPT else {})}
        address = corp.find_site_address()
        return redirect(f"{address.absolute(reverse('wecom-start', args=[corp.pk]))}?{urlencode(query)}")
    surface = detect_surface(request.headers.get("User-Agent", ""))
    is_silent = surface.is_inside_wecom and not confirmation.is_confirmation(target)
    kind = SignInKind.SILENT if is_silent else SignInKind.QR
    begun = flow.begin_sign_in(request, corp, kind=kind, target=target, attempt=attempt, request_limit=request_limit)
    if begun is None:
        return _show_too_many(request, corp.pk, target)
    state, browser_id = begun
    if is_silent:
        page = links.build_authorize_link(corp, state)
    else:
        page = links.build_qr_link(corp, state, language=flow.find_wecom_language())
    response = HttpResponseRedirect(page)
    flow.set_browser_id(response, request, browser_id)
    logger.info("sign-in corp=%s outcome=sent-to-wecom kind=%s surface=%s attempt=%d", corp.pk, kind, surface, attempt)
    return response


def _show_too_many(request: HttpRequest, corp_id: int, target: str) -> HttpResponse:
    return errors.render_error_page(request, ErrorDetails(Cause.TOO_MANY, corp_id=corp_id, target=target))


def _redeem_refused_code_later(corp: Corp, code: str) -> None:
    """Mark a code as refused, and redeem it in the background, so that nobody else can redeem it. If the task queue is
    unreachable, or too many codes were refused this minute, it is only marked, and expires at WeCom within minutes."""
    if not backends.is_well_formed(code):
        return
    valkey().set(flow.make_refused_code_key(code), 1, ex=flow.CODE_SECONDS)
    if not allows(f"refused-codes:{corp.pk}", at_most=backends.CODES_REDEEMED_PER_MINUTE):
        return
    sealed = flow.seal_values(backends.SEALED_CODE, code)
    try:
        tasks.redeem_refused_code.apply_async((corp.pk, sealed), expires=flow.CODE_SECONDS, retry=False)
    except OperationalError as error:
        logger.warning("refused code not redeemed corp=%s error=%s", corp.pk, type(error).__name__)


def _describe_refusal(cause: Cause, corp: Corp, target: str, *, userid: str = "") -> ErrorDetails:
    return ErrorDetails(cause, corp_id=corp.pk, corp_name=corp.name, userid=userid, target=target)


def _describe_error(error: IntegrationError, corp: Corp, target: str) -> ErrorDetails:
    cause = {IP_NOT_TRUSTED: Cause.IP_NOT_TRUSTED, _DOMAIN_NOT_TRUSTED: Cause.DOMAIN_NOT_TRUSTED}.get(error.code or 0)
    if cause is None and isinstance(error, ConfigurationError):
        cause = Cause.MISCONFIGURED
    elif cause is None:
        cause = Cause.WECOM_UNREACHABLE if isinstance(error, TransientError) else Cause.UNEXPECTED_ANSWER
    return replace(
        _describe_refusal(cause, corp, target),
        operation=error.operation,
        errcode=error.code,
        hint=error.hint,
        caller_ip=error.caller_ip,
    )
