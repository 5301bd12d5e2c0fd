"""The page that redirects a signed-in person into the BI, with a token made for this request."""

from __future__ import annotations

import logging

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET

from accounts.authentication.flow import Cause, is_phone, read_raw_query
from accounts.users.bi_identity import find_entry_company
from accounts.views import errors
from accounts.views.errors import ErrorDetails
from integrations import bi
from integrations.bi import CannotEnter, Obstacle

logger = logging.getLogger(__name__)

_CAUSES = {
    Obstacle.OFF: Cause.BI_OFF,
    Obstacle.NO_PAGE: Cause.BI_NO_PAGE,
    Obstacle.NO_EXTERNAL_ID: Cause.BI_NO_EXTERNAL_ID,
}


@require_GET
@never_cache
def enter_bi(request: HttpRequest, page: str = "") -> HttpResponse:
    """Redirect the person to `page` of the BI, signed in there. The page gets the query of this address."""
    if not request.user.is_authenticated:
        return redirect(f"{reverse('login')}?{urlencode({'next': request.get_full_path()})}")
    corp = find_entry_company(request)
    try:
        if corp is None and bi.is_open():
            return _show_refusal(request, ErrorDetails(Cause.BI_NOT_ALLOWED))
        # Do not tell the BI from which page the person came.
        response = HttpResponseRedirect(_build_address(request, page), headers={"Referrer-Policy": "no-referrer"})
    except CannotEnter as refusal:
        cause = _CAUSES.get(refusal.obstacle, Cause.BI_UNUSABLE)
        if refusal.source is None:
            return _show_refusal(request, ErrorDetails(cause, hint=refusal.obstacle.value))
        missing, where = str(refusal.source.label), str(refusal.source.where)
        return _show_refusal(request, ErrorDetails(cause, missing=missing, where=where))
    logger.info("bi sign-in corp=%s user=%s outcome=passed-on", corp.pk if corp else None, request.user.pk)
    return response


@sensitive_variables()
def _build_address(request: HttpRequest, page: str) -> str:
    """Return the BI's address with a token, which must appear only in the Location header. Raises CannotEnter."""
    connection = bi.load_enabled_connection()
    return bi.build_entrance(
        connection,
        lambda: bi.find_external_id(connection, request.user),
        page=page,
        query=read_raw_query(request),
        on_phone=is_phone(request.headers.get("User-Agent", "")),
        now=timezone.now(),
    )


def _show_refusal(request: HttpRequest, details: ErrorDetails) -> HttpResponse:
    logger.info("bi sign-in user=%s outcome=%s", request.user.pk, details.cause)
    return errors.render_error_page(request, details)
