"""Signs an address of this site for WeCom's JS-SDK, for somebody who came through a company."""

from __future__ import annotations

import logging
import secrets

import redis
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts import sessions
from integrations.clients import wecom_client
from integrations.errors import IntegrationError
from integrations.models import Corp
from integrations.wecom.jssdk import sign

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
