"""The QR panel of the login page, and JS-SDK signatures for pages inside WeCom."""

from __future__ import annotations

import logging
import secrets

import redis
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.authentication import flow, sessions, state
from accounts.authentication.state import Kind
from integrations.clients.errors import IntegrationError
from integrations.clients.wecom.oauth import sign
from integrations.companies import links
from integrations.core.client_factory import wecom_client
from integrations.core.http import safe_path
from integrations.models import Corp

logger = logging.getLogger(__name__)


LONGEST_ADDRESS = 4096


@require_safe
@never_cache
def signature(request: HttpRequest) -> JsonResponse:
    """What `ww.register` needs for the page `page`. 403 without a session of a company, 400 for another site's page.

    The ticket is kept for all processes, so WeCom is asked once in two hours.
    """
    corp_id = request.session.get(sessions.CORP_KEY) if request.user.is_authenticated else None
    corp = Corp.objects.signing_in().filter(pk=corp_id).first() if corp_id is not None else None
    if corp is None:
        return JsonResponse({"error": "session"}, status=403)
    page = request.GET.get("page", "")
    if len(page) > LONGEST_ADDRESS or not page.startswith(request.build_absolute_uri("/")):
        return JsonResponse({"error": "page"}, status=400)
    try:
        ticket = wecom_client(corp).jsapi_ticket()
    except (IntegrationError, redis.RedisError) as error:
        logger.warning("page not signed corp=%s error=%s", corp.pk, type(error).__name__)
        return JsonResponse({"error": "wecom"}, status=503)
    now = int(timezone.now().timestamp())
    signed = sign(ticket=ticket, nonce=secrets.token_hex(8), timestamp=now, url=page)
    return JsonResponse(
        {
            "corpid": corp.corpid,
            "agentid": corp.agentid,
            "timestamp": signed.timestamp,
            "nonceStr": signed.nonce,
            "signature": signed.signature,
        }
    )


# --- What the login page's script asks for before it shows WeCom's panel with the QR code, and again before it expires

# A state is replaced after this part of its life: a scan that is under way then still has time to arrive.
RENEWED_AFTER = 0.8


@require_POST
@never_cache
def begin(request: HttpRequest, corp_id: int) -> JsonResponse:
    """A fresh state, and what the panel needs beside it. The states before it stay good for their own time.

    409 where the page stands under another address than the one WeCom returns to: the page's plain link moves there.
    """
    corp = Corp.objects.signing_in().select_related("site_address").filter(pk=corp_id).first()
    if corp is None:
        return JsonResponse({"error": "company"}, status=404)
    if not flow.is_at_home(request, corp):
        return JsonResponse({"error": "address"}, status=409)
    target = safe_path(request.POST.get("next", ""))
    try:
        begun = flow.begin(
            request,
            corp,
            kind=Kind.QR,
            target=target,
            attempt=flow.FIRST_ATTEMPT,
            step_limit=state.step_limit(request),
        )
    except redis.RedisError as error:
        logger.error("sign-in corp=%s outcome=store-unreachable error=%s", corp.pk, type(error).__name__)
        return JsonResponse({"error": "store"}, status=503)
    if begun is None:
        return JsonResponse({"error": "too-many"}, status=429)
    response = JsonResponse(
        {
            "params": links.panel_params(corp, begun.state, language=flow.wecom_language()),
            "page": links.panel_page(corp, begun.state, language=flow.wecom_language()),
            "is_official": links.has_official_panel(corp),
            "renew_after_ms": round(state.STATE_SECONDS * RENEWED_AFTER * 1000),
        }
    )
    state.keep_browser_id(response, request, begun.browser_id)
    logger.info("sign-in corp=%s outcome=panel-shown", corp.pk)
    return response
