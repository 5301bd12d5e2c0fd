"""Pages that explain why a sign-in stopped, and pages of the administration that a user may not open."""

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
# Validity of the address of an error page, which people can reload or send to an administrator.
SHOWN_SECONDS = 3600
# A longer target is left out of the address: gunicorn accepts 4094 bytes, and sealing adds a third.
TARGET_BYTES_AT_MOST = 1000


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """The reason why a sign-in stopped, with the facts that an administrator needs. It must not contain a code or a
    state. `missing`: the value that the user lacks; `where`: a sentence on who can set it."""

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
    """Decrypt the details. Returns None if they are invalid, of another version of this site, or older than
    SHOWN_SECONDS."""
    try:
        [values] = flow.unseal_values("sign-in-trouble", sealed, seconds=SHOWN_SECONDS)
        return ErrorDetails(**{**values, "cause": Cause(values["cause"])})
    except (ValueError, TypeError, KeyError):
        return None


@require_safe
@never_cache
def show_error(request: HttpRequest) -> HttpResponse:
    """Show the page for the sealed details in the address. Redirect to the login page if they are missing or too
    old."""
    details = unseal_details(request.GET.get("t", ""))
    return redirect("login") if details is None else render_error_page(request, details)


def render_error_page(request: HttpRequest, details: ErrorDetails) -> HttpResponse:
    """Render the page that explains an error. The address of the request must not contain a code or a state."""
    target = choose_safe_path(details.target)
    if details.corp_id is not None and details.corp_name:  # the company may have been renamed since
        name = Corp.objects.filter(pk=details.corp_id).values_list("name", flat=True).first()
        details = replace(details, corp_name=name or details.corp_name)
    query = urlencode({"next": target})
    guide = translate_explanation(GUIDES[details.cause], {**asdict(details), "corp": details.corp_name})
    context = {
        "error": details,
        "guide": guide,
        "title": gettext(guide.title),
        "shows_ip": details.cause is Cause.IP_NOT_TRUSTED and details.caller_ip,
        "query": urlencode({"next": target, "stay": "1"}),
        "retry_url": f"{reverse('wecom-start', args=[details.corp_id])}?{query}" if details.corp_id is not None else "",
        "is_choosing": details.cause in CAUSES_WITH_COMPANY_CHOICE and Corp.objects.signing_in()[:2].count() > 1,
    }
    response = render(request, "accounts/error.html", context, status=guide.status)
    if guide.status == TOO_MANY_STATUS:
        response.headers["Retry-After"] = str(LIMIT_SECONDS)
    return response


def redirect_to_error(details: ErrorDetails) -> HttpResponse:
    """Redirect to the page that explains an error, because the address that WeCom called contains a code. The details
    are encrypted in the page's address, so that it needs neither store nor cookie."""
    if len(details.target.encode()) > TARGET_BYTES_AT_MOST:
        details = replace(details, target="")
    sealed = flow.seal_values("sign-in-trouble", asdict(details))
    return redirect(f"{reverse('sign-in-error')}?{urlencode({'t': sealed})}")


def needs_store(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Decorate a view that needs Valkey: if Valkey is unreachable, redirect to the page that explains it."""

    @wraps(view)
    def wrapper(request: HttpRequest, corp_id: int) -> HttpResponse:
        try:
            return view(request, corp_id)
        except redis.RedisError as error:
            logger.error("sign-in corp=%s outcome=store-unreachable error=%s", corp_id, type(error).__name__)
            return redirect_to_error(ErrorDetails(Cause.STORE_UNREACHABLE, corp_id=corp_id))

    return wrapper


# --- A page of the administration that the user may not open ----------------------------------------------------------

_ADMIN_PAGE = re.compile(r"(?P<app>[a-z]+)_(?P<model>[a-z]+)_(?P<page>add|change|delete|changelist)")


def render_forbidden_page(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Render the page for status 403. For a page of the administration it says whom to ask."""
    match, user, ask = request.resolver_match, getattr(request, "user", None), ""
    page = _ADMIN_PAGE.fullmatch(match.url_name or "") if match is not None and "admin" in match.app_names else None
    if page is not None and isinstance(user, User) and user.is_staff:
        verb = "view" if page["page"] == "changelist" else page["page"]
        permission = f"{page['app']}.{verb}_{page['model']}"
        # If the user has the permission, the row belongs to a company that the user does not manage.
        ask = describe_contacts(user, permission, () if user.has_perm(permission) else None)
    return render(request, "403.html", {"ask": ask}, status=HTTPStatus.FORBIDDEN)


# Tabs of employees' pages: URL name, without arguments, and label.
tabs: Registry[tuple[str, str | _StrPromise]] = Registry()
