"""What the login page's script asks for before it shows WeCom's panel with the QR code, and again before it expires."""

from __future__ import annotations

import logging

import redis
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts import arrival, beginning, browser, rate_limits
from accounts.login_state import Kind
from accounts.targets import safe_path
from integrations import links
from integrations.models import Corp

logger = logging.getLogger(__name__)

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
    if not beginning.is_at_home(request, corp):
        return JsonResponse({"error": "address"}, status=409)
    target = safe_path(request.POST.get("next", ""))
    try:
        if not rate_limits.allows_step(request):
            return JsonResponse({"error": "too-many"}, status=429)
        begun = beginning.begin(request, corp, kind=Kind.QR, target=target, attempt=arrival.FIRST_ATTEMPT)
    except redis.RedisError as error:
        logger.error("sign-in corp=%s outcome=store-unreachable error=%s", corp.pk, type(error).__name__)
        return JsonResponse({"error": "store"}, status=503)
    response = JsonResponse(
        {
            "params": links.panel_params(corp, begun.state, language=beginning.wecom_language()),
            "page": links.panel_page(corp, begun.state, language=beginning.wecom_language()),
            "is_official": links.has_official_panel(corp),
            "renew_after_ms": round(settings.LOGIN_STATE_SECONDS * RENEWED_AFTER * 1000),
        }
    )
    browser.keep_browser_id(response, request, begun.browser_id)
    logger.info("sign-in corp=%s outcome=panel-shown", corp.pk)
    return response
