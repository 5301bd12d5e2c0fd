"""Pages that explain why a sign-in stopped, or whom to ask for access to an administration page."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import wraps
from http import HTTPStatus
from typing import TYPE_CHECKING

import redis
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.authentication import flow
from accounts.authentication.flow import Cause
from accounts.explanations import CAUSES_WITH_COMPANY_CHOICE, GUIDES
from accounts.models import User
from accounts.users.roles import describe_contacts
from integrations.core.http import choose_safe_path
from integrations.core.redis import LIMIT_SECONDS
from integrations.core.sentences import translate_explanation
from integrations.hooks import Registry
from integrations.models import Corp

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise


logger = logging.getLogger(__name__)
TOO_MANY_STATUS = 429
# For so long a page's address can be reloaded, or sent to an administrator.
SHOWN_SECONDS = 3600
# A longer target is left out: gunicorn accepts request lines of up to 4094 bytes, and sealing adds a third.
TARGET_BYTES_AT_MOST = 1000


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """A refusal with the facts that an administrator needs, never a code or a state. `missing`, `where`: what the user
    lacks, and the sentence that says who sets it."""

    cause: Cause
    corp_id: int | None = None
    corp_name: str = ""
    userid: str = ""
    target: str = ""
    operation: str = ""
    errcode: int | None = None
    hint: str = ""
    caller_ip: str = ""
    missing: str = ""
    where: str = ""


def unseal_details(sealed: str) -> ErrorDetails | None:
    """Decrypt the details. Returns None if they are foreign, of another version, or older than SHOWN_SECONDS."""
    try:
        [values] = flow.unseal_values("sign-in-trouble", sealed, seconds=SHOWN_SECONDS)
        return ErrorDetails(**{**values, "cause": Cause(values["cause"])})
    except (ValueError, TypeError, KeyError):
        return None


@require_safe
@never_cache
def show_error(request: HttpRequest) -> HttpResponse:
    """Show the page for a sealed error; redirect to the login page if it is missing or stale."""
    found = unseal_details(request.GET.get("t", ""))
    return redirect("login") if found is None else render_error_page(request, found)


def render_error_page(request: HttpRequest, found: ErrorDetails) -> HttpResponse:
    """Explain at once. Use it only if the address holds neither code nor state."""
    target = choose_safe_path(found.target)
    if found.corp_id is not None and found.corp_name:  # the company may have been renamed since the error was sealed
        name = Corp.objects.filter(pk=found.corp_id).values_list("name", flat=True).first()
        found = replace(found, corp_name=name or found.corp_name)
    query = urlencode({"next": target})
    guide = translate_explanation(GUIDES[found.cause], {**asdict(found), "corp": found.corp_name})
    context = {
        "error": found,
        "guide": guide,
        "title": gettext(guide.title),
        "shows_ip": found.cause is Cause.IP_NOT_TRUSTED and found.caller_ip,
        "query": urlencode({"next": target, "stay": "1"}),
        "retry_url": f"{reverse('wecom-start', args=[found.corp_id])}?{query}" if found.corp_id is not None else "",
        "is_choosing": found.cause in CAUSES_WITH_COMPANY_CHOICE and Corp.objects.signing_in()[:2].count() > 1,
    }
    response = render(request, "accounts/error.html", context, status=guide.status)
    if guide.status == TOO_MANY_STATUS:
        response.headers["Retry-After"] = str(LIMIT_SECONDS)
    return response


def redirect_to_error(found: ErrorDetails) -> HttpResponse:
    """Redirect to a page that explains: the address that WeCom called holds a code. The details travel encrypted in the
    page's address, so that it needs neither store nor cookie."""
    if len(found.target.encode()) > TARGET_BYTES_AT_MOST:
        found = replace(found, target="")
    sealed = flow.seal_values("sign-in-trouble", asdict(found))
    return redirect(f"{reverse('sign-in-error')}?{urlencode({'t': sealed})}")


def needs_store(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Explain if Valkey is unreachable: no sign-in can begin or end without it."""

    @wraps(view)
    def guarded(request: HttpRequest, corp_id: int) -> HttpResponse:
        try:
            return view(request, corp_id)
        except redis.RedisError as error:
            logger.error("sign-in corp=%s outcome=store-unreachable error=%s", corp_id, type(error).__name__)
            return redirect_to_error(ErrorDetails(Cause.STORE_UNREACHABLE, corp_id=corp_id))

    return guarded


# --- A page of the administration that the user may not open ----------------------------------------------------------

_ADMIN_PAGE = re.compile(r"(?P<app>[a-z]+)_(?P<model>[a-z]+)_(?P<page>add|change|delete|changelist)")


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Say whom to ask for a form or list of the administration."""
    match, user, ask = request.resolver_match, getattr(request, "user", None), ""
    found = _ADMIN_PAGE.fullmatch(match.url_name or "") if match is not None and "admin" in match.app_names else None
    if found is not None and isinstance(user, User) and user.is_staff:
        verb = "view" if found["page"] == "changelist" else found["page"]
        permission = f"{found['app']}.{verb}_{found['model']}"
        # A user with the permission lacks a company.
        ask = describe_contacts(user, permission, () if user.has_perm(permission) else None)
    return render(request, "403.html", {"ask": ask}, status=HTTPStatus.FORBIDDEN)


# The pages that every employee has: URL name, without arguments, and label.
tabs: Registry[tuple[str, str | _StrPromise]] = Registry()
